package mtalog

import (
	"strings"
	"unicode/utf8"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// emitFunc is what Line hands events to. It is passed on and never kept, so that a caller's closure stays off the heap.
type emitFunc = func(*schema.DeliveryEvent)

// mtaLine is a line of an MTA other than Postfix, behind its header.
type mtaLine struct {
	format   Format
	host     string
	instance string // the syslog tag; empty where no syslog daemon wrote the line
	in       Input
	msg      []byte // the end of in.Line, unless joined
	joined   bool   // msg was put together from the pieces of several lines
	whole    string // the line, and
	str      string // msg, as valid UTF-8: made when the first string of it is needed
	id       []byte // key of the entry in the table; in the Correlator's buffer, so that a line stays off the heap
}

// text returns the message as a string of valid UTF-8; all strings of the event are cut from it. It is a part of one copy
// of the whole line, which raw returns.
func (l *mtaLine) text() string {
	if l.str != "" {
		return l.str
	}
	if l.joined {
		l.str = clean(l.msg)
		l.whole = l.str
	} else if l.whole = string(l.in.Line); utf8.ValidString(l.whole) {
		l.str = l.whole[len(l.whole)-len(l.msg):]
	} else {
		l.whole, l.str = clean(l.in.Line), clean(l.msg)
	}
	return l.str
}

// raw returns the line as evidence.
func (l *mtaLine) raw() string {
	l.text()
	return cutText(l.whole, maxRawBytes)
}

// key makes the table's key of an MTA's own id. Ids of Postfix stand bare; the others begin with what none of those
// holds, so that two MTAs of one host never meet. It holds until the next call.
func (l *mtaLine) key(kind byte, id string) []byte {
	l.id = append(l.id[:0], '/', byte(l.format), kind)
	l.id = append(l.id, id...)
	return l.id
}

// maxKey bounds an id: a longer one is none.
const maxKey = 128

// attempt is what a line says about one recipient.
type attempt struct {
	queueID             string
	recipient, original string
	sender              string
	hasSender           bool
	outcome             schema.Outcome
	text                string
	phase               schema.Phase
	origin              schema.Origin
	host, ip, relay     string
	port                int32
	source              string // our address
	delayMS, tookMS     int64  // since the message came, and of this attempt
	hasDelay, hasTook   bool
	transport           string // what delivers, by the MTA's own name; empty where the line does not say
	enhanced            string // by the MTA, where the reply has none of its own
	run                 int64
	suspended           bool
}

// codes returns what the reply says, if there is one, and who made up the enhanced code.
func (a *attempt) codes() (code int32, enhanced string, source schema.EnhancedSource) {
	if a.origin == schema.Origin_REMOTE_REPLY {
		c, own := smtpreply.Codes(a.text)
		if code = int32(c); own != "" {
			return code, own, schema.EnhancedSource_ENHANCED_REMOTE
		}
	}
	if a.enhanced != "" {
		return code, a.enhanced, schema.EnhancedSource_ENHANCED_MTA
	}
	return code, "", schema.EnhancedSource_ENHANCED_NONE
}

// by returns what delivers: the MTA's transport, else the syslog tag.
func (l *mtaLine) by(a *attempt) string {
	if a.transport != "" {
		return a.transport
	}
	return l.instance
}

// record emits the event of an attempt and updates its entry, whose key is l.id.
func (c *Correlator) record(l *mtaLine, emit emitFunc, a *attempt) {
	ev := c.newEvent(l.format, l.host, l.by(a))
	ev.QueueId = a.queueID
	ev.Recipient, ev.OriginalRecipient, ev.Domain = a.recipient, a.original, domainOf(a.recipient)
	ev.Outcome = a.outcome
	ev.Final = a.outcome == schema.Outcome_DELIVERED || a.outcome == schema.Outcome_BOUNCED
	if a.outcome == schema.Outcome_DELIVERED {
		if a.ip != "" || a.origin == schema.Origin_REMOTE_REPLY {
			a.phase = schema.Phase_EOM
		}
		if a.origin == schema.Origin_ORIGIN_UNSPECIFIED {
			a.origin = schema.Origin_LOCAL_MTA // no reply is logged
		}
	}
	ev.Text, ev.Phase, ev.Origin = a.text, a.phase, a.origin
	ev.RemoteHost, ev.RemoteIp, ev.Relay, ev.RelayPort, ev.SourceIp = a.host, a.ip, a.relay, a.port, a.source
	ev.DelayMs, ev.HasDelay = a.delayMS, a.hasDelay
	if a.hasTook {
		// One number for the attempt as a whole, connection included: all of it stands as transmission.
		c.delays.Reset()
		c.delays.InQmgrMs, c.delays.TransmitMs = max(a.delayMS-a.tookMS, 0), a.tookMS
		ev.Delays = &c.delays
	}
	ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource = a.codes()
	if a.outcome != schema.Outcome_DELIVERED {
		c.raw.Line = l.raw()
	}
	c.account(ev, l.host, l.id, &l.in, attemptMade{suspended: a.suspended, run: a.run})
	if a.hasSender {
		ev.Sender, ev.HasSender = a.sender, true
	}
	c.emit(ev, emit)
}

// give emits the end of the k-th waiting recipient of e, which was given up. fresh, if not nil, is the failure that this
// very line tells.
func (c *Correlator) give(l *mtaLine, emit emitFunc, e *entry, k int, queueID, text string, fresh *attempt) {
	r := &e.waiting[k]
	if fresh != nil {
		if fresh.run == 0 || fresh.run != r.run {
			r.attempts++
		}
		code, enhanced, source := fresh.codes()
		c.queue.blame(e, k, cause{
			at: c.frame.at, code: code, enhanced: enhanced, source: source, text: cutText(fresh.text, maxRawBytes),
			phase: fresh.phase, origin: fresh.origin, host: fresh.host, ip: fresh.ip,
			instance: l.by(fresh),
		})
	}
	ev := c.newEvent(l.format, l.host, l.instance)
	ev.QueueId = queueID
	ev.Sender, ev.HasSender = e.sender, e.hasSender
	c.expired(ev, e, r, text)
	c.raw.Line = l.raw()
	c.emit(ev, emit)
	c.queue.finish(e, k)
	e.done++
}

// addressEnd returns the place of the ">" that ends the address that begins at i, or -1. Within a quoted local part
// nothing ends it (RFC 5321, section 4.1.2).
func addressEnd(s string, i int) int {
	i = quotedEnd(s, i)
	k := strings.IndexByte(s[i:], '>')
	if k < 0 {
		return -1
	}
	return i + k
}

// quotedEnd returns the place of the quote that ends the quoted-string that begins at i; i itself if none does.
func quotedEnd(s string, i int) int {
	if i >= len(s) || s[i] != '"' {
		return i
	}
	for k := i + 1; k < len(s); k++ {
		switch s[k] {
		case '\\':
			k++
		case '"':
			return k
		}
	}
	return i // a bare quote after all
}

// cutAddress reads "<address>" at the front of s.
func cutAddress(s string) (addr, rest string, ok bool) {
	if s == "" || s[0] != '<' {
		return "", s, false
	}
	end := addressEnd(s, 1)
	if end < 0 {
		return "", s, false
	}
	return s[1:end], s[end+1:], true
}

// field returns what stands behind key up to the next of stop, and the rest behind that. ok is false if s does not begin
// with key or stop never comes.
func field(s, key, stop string) (value, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(s, key); !ok {
		return "", s, false
	}
	return strings.Cut(rest, stop)
}

// unitDelay reads "1d2h3m4s" or "0.25s", as Exim and OpenSMTPD write durations.
func unitDelay(s string) (ms int64, ok bool) {
	for s != "" {
		n := 0
		for n < len(s) && (s[n]-'0' <= 9 || s[n] == '.') {
			n++
		}
		if n == 0 || n == len(s) {
			return 0, false
		}
		v, good := readMillis([]byte(s[:n]))
		if !good || v > 1e12 {
			return 0, false
		}
		switch s[n] {
		case 's':
		case 'm':
			v *= 60
		case 'h':
			v *= 3600
		case 'd':
			v *= 86400
		case 'w':
			v *= 7 * 86400
		default:
			return 0, false
		}
		ms += v
		s = s[n+1:]
		ok = true
	}
	return ms, ok
}

// unescape decodes the octal escapes that Exim and Sendmail write for bytes that are not printable ASCII. Neither escapes
// a backslash, so what would be printable stays: the remote wrote it so. A literal \n between the lines of a reply stays,
// too: smtpreply reads it.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1]-'0' <= 3 && s[i+2]-'0' <= 7 && s[i+3]-'0' <= 7 {
			if v := (s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'); v < ' ' || v >= 0x7f {
				b = append(b, v)
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	if n := escapeCut(s); n > 0 {
		for b = b[:len(b)-n]; len(b) > 0; b = b[:len(b)-1] {
			if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
				break
			}
		}
	}
	return clean(b)
}

// escapeCut returns how much of an escape s ends with, where the end was cut off: it follows a whole one.
func escapeCut(s string) int {
	for n := 1; n <= 3 && n+4 <= len(s); n++ {
		if i := len(s) - n; s[i] == '\\' {
			if s[i-4] == '\\' && s[i-3]-'2' <= 1 && s[i-2]-'0' <= 7 && s[i-1]-'0' <= 7 &&
				(n < 2 || s[i+1]-'0' <= 3) && (n < 3 || s[i+2]-'0' <= 7) {
				return n
			}
			return 0
		}
	}
	return 0
}

// replyCode reports whether s begins with a reply code (RFC 5321, section 4.2).
func replyCode(s string) bool {
	return len(s) >= 3 && s[0]-'2' <= 3 && s[1]-'0' <= 9 && s[2]-'0' <= 9 && (len(s) == 3 || s[3]-'0' > 9)
}
