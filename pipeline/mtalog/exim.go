package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// Exim's main log is "ID FLAG ADDRESS FIELDS", in its own file or through syslog. Exim specification, chapter "Log files".

// eximID returns the length of the message id that b begins with, or 0: 16 characters, or 23 since Exim 4.97.
func eximID(b []byte) int {
	for _, id := range [2]struct{ n, dash int }{{16, 13}, {23, 18}} {
		if len(b) > id.n && b[id.n] == ' ' && b[6] == '-' && b[id.dash] == '-' && alphanumeric(b[:6]) &&
			alphanumeric(b[7:id.dash]) && alphanumeric(b[id.dash+1:id.n]) {
			return id.n
		}
	}
	return 0
}

func alphanumeric(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 && c|0x20-'a' > 25 {
			return false
		}
	}
	return true
}

func (c *Correlator) exim(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if len(l.msg) > 0 && l.msg[0] == '[' {
		if kind, reason, done := c.eximPiece(l); done {
			return kind, reason
		}
	}
	l.msg = l.msg[eximStamp(l.msg):] // syslog_timestamp: Exim's own stamp within syslog's
	if len(l.msg) > 2 && l.msg[0] == '[' {
		if _, n := readInt(l.msg[1:]); n > 0 && hasPrefix(l.msg[1+n:], "] ") {
			l.msg = l.msg[n+3:] // log_selector +pid
		}
	}
	n := eximID(l.msg)
	if n == 0 {
		return KindNoise, ReasonMTA // what belongs to no message: daemons, rejections, warnings
	}
	rest := l.msg[n+1:]
	if len(rest) > 3 && rest[2] == ' ' {
		switch string(rest[:2]) {
		case "<=":
			return c.eximArrival(l, n)
		case "=>", "->", ">>":
			return c.eximDelivered(l, emit, n)
		case "**", "==":
			return c.eximFailed(l, emit, n)
		case "*>":
			return KindNoise, ReasonMTA // -N: nothing was sent
		}
		if strings.IndexByte("<>=*-", rest[0]) >= 0 {
			return KindUnparsed, ReasonShape // a flag that is not known
		}
	}
	if hasPrefix(rest, "Completed") || hasPrefix(rest, "removed by ") || hasPrefix(rest, "cancelled by ") {
		e := c.lookup(l.host, l.key('m', string(l.msg[:n])))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.stats.Waiting += uint64(len(e.waiting))
		c.queue.remove(e)
		return KindState, ReasonNone
	}
	return KindNoise, ReasonMTA
}

// eximStamp returns the length of Exim's stamp and the blank behind it, or 0.
func eximStamp(b []byte) int {
	if len(b) < 21 || b[4] != '-' || b[7] != '-' || b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0
	}
	n := 19
	for n < len(b) && (b[n] == '.' || b[n]-'0' <= 9) {
		n++
	}
	if n+6 < len(b) && (b[n+1] == '+' || b[n+1] == '-') {
		n += 6
	}
	if n >= len(b) || b[n] != ' ' {
		return 0
	}
	return n + 1
}

// eximPiece joins the pieces "[k/n] " into which Exim cuts a long line for syslog (src/log.c, write_syslog). A backslash
// for the slash says that the piece ended a line. done is false if the line is no piece, or the last of all.
func (c *Correlator) eximPiece(l *mtaLine) (kind Kind, reason Reason, done bool) {
	k, a := readInt(l.msg[1:])
	if a == 0 || len(l.msg) < a+4 || (l.msg[a+1] != '/' && l.msg[a+1] != '\\') {
		return 0, 0, false
	}
	n, b := readInt(l.msg[a+2:])
	if b == 0 || !hasPrefix(l.msg[a+2+b:], "] ") || k < 1 || k > n {
		return 0, 0, false
	}
	piece := l.msg[a+2+b+2:]
	pid := c.frame.pid.of(l.in.Line)
	if len(pid) > maxKey {
		return KindUnparsed, ReasonShape, true
	}
	key := l.key('p', string(pid))
	e := c.lookup(l.host, key)
	switch {
	case k == 1 && e == nil:
		e = c.open(l.host, key, &l.in)
	case k == 1:
		c.queue.setString(e, &e.note, "")
	case e == nil:
		return KindUnparsed, ReasonCut, true // its begin was never seen
	case e.done != k-1:
		c.queue.remove(e)
		return KindUnparsed, ReasonCut, true
	}
	c.queue.touch(e)
	if len(e.note)+len(piece) < MaxLineBytes/4 {
		text := e.note + clean(piece)
		if l.msg[a+1] == '\\' {
			text += "\n"
		}
		c.queue.setString(e, &e.note, text)
	}
	if e.done = k; k < n {
		c.bound()
		return KindState, ReasonHint, true
	}
	l.joined = true
	l.msg = []byte(e.note)
	c.queue.remove(e)
	return 0, 0, false
}

// eximArrival reads "ID <= SENDER ... S=SIZE id=MESSAGE-ID T=...".
func (c *Correlator) eximArrival(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	sender, rest := eximWord(s[n+4:])
	key := l.key('m', s[:n])
	if e := c.lookup(l.host, key); e != nil && e.known {
		c.stats.Replaced++
		c.queue.remove(e)
	}
	e := c.open(l.host, key, &l.in)
	e.known, e.hasSender = true, true
	if sender == "<>" {
		sender = ""
	}
	c.queue.setString(e, &e.sender, sender)
	if k := strings.Index(rest, " S="); k >= 0 {
		size, digits := readInt([]byte(rest[k+3:]))
		e.size = size
		if id, ok := strings.CutPrefix(rest[k+3+digits:], " id="); ok {
			id, _, _ = strings.Cut(id, " ")
			c.queue.setString(e, &e.messageID, "<"+id+">") // Exim cuts the brackets off
		}
	}
	c.bound()
	return KindState, ReasonNone
}

// eximWord cuts an address off: up to the first blank behind its quoted local part, if it has one.
func eximWord(s string) (word, rest string) {
	i := quotedEnd(s, 0)
	k := strings.IndexByte(s[i:], ' ')
	if k < 0 {
		return s, ""
	}
	return s[:i+k], s[i+k:]
}

// eximAddress reads "ADDRESS [<ORIGINAL>]" and returns what follows: a blank and the fields, or a colon and the words.
// Pipes and files may hold blanks: there the angle bracket ends them.
func eximAddress(s string) (addr, original, rest string) {
	addr, rest = eximWord(s)
	if bare, ok := strings.CutSuffix(addr, ":"); ok && len(bare) > 0 && bare[0] != ':' {
		return bare, "", ": " + strings.TrimPrefix(rest, " ")
	}
	if addr != "" && strings.IndexByte("|/>", addr[0]) >= 0 {
		if k := strings.Index(s, " <"); k > 0 {
			addr, rest = s[:k], s[k:]
		}
	}
	if o, after, ok := cutAddress(strings.TrimPrefix(rest, " ")); ok {
		return addr, o, after
	}
	return addr, "", rest
}

// eximFields reads " R=r T=t H=host [ip]:port X=..." into a and returns the words behind the first ": " outside of
// quotes, if there are any.
func eximFields(s string, a *attempt) (words string, ok bool) {
	for s != "" {
		if w, found := strings.CutPrefix(s, ": "); found {
			return w, true
		}
		if s[0] != ' ' { // the end of a field that is of no interest
			k := strings.IndexByte(s, ' ')
			if k < 0 {
				return "", true
			}
			if k > 0 && s[k-1] == ':' {
				return s[k+1:], true
			}
			s = s[k:]
			continue
		}
		s = s[1:]
		switch {
		case strings.HasPrefix(s, "H="):
			a.host, s = eximWord(s[2:])
			if bare, found := strings.CutSuffix(a.host, ":"); found {
				a.host = bare
				return strings.TrimPrefix(s, " "), true
			}
			if ip, found := strings.CutPrefix(s, " ["); found {
				if a.ip, a.port, s, ok = eximPeer(ip); !ok {
					return "", false
				}
			}
		case strings.HasPrefix(s, "I=["):
			if a.source, _, s, ok = eximPeer(s[3:]); !ok {
				return "", false
			}
		case strings.HasPrefix(s, "F=<"):
			if a.sender, s, ok = cutAddress(s[2:]); !ok {
				return "", false
			}
			a.hasSender = true
		case strings.HasPrefix(s, "P=<"):
			if _, s, ok = cutAddress(s[2:]); !ok {
				return "", false
			}
		case strings.HasPrefix(s, "QT="):
			v, rest := eximWord(s[3:])
			bare, last := strings.CutSuffix(v, ":")
			a.delayMS, a.hasDelay = unitDelay(bare)
			if s = rest; last {
				return strings.TrimPrefix(rest, " "), true
			}
		default:
			if k := strings.IndexAny(s, "\" "); k >= 0 && s[k] == '"' { // DN="...", which may hold anything but quotes
				if q := strings.IndexByte(s[k+1:], '"'); q >= 0 {
					s = s[k+q+2:]
				} else {
					return "", false
				}
			} else if k < 0 {
				return "", true
			} else if k > 0 && s[k-1] == ':' {
				return s[k+1:], true
			} else {
				s = s[k:]
			}
		}
	}
	return "", true
}

// eximPeer reads "IP]" or "IP]:PORT".
func eximPeer(s string) (ip string, port int32, rest string, ok bool) {
	ip, rest, ok = strings.Cut(s, "]")
	if len(rest) > 1 && rest[0] == ':' && rest[1]-'0' <= 9 {
		v, n := readInt([]byte(rest[1:]))
		port, rest = int32(v&0xffff), rest[1+n:]
	}
	return ip, port, rest, ok
}

// eximDelivered reads "ID => ADDRESS [<ORIGINAL>] FIELDS [C="REPLY"] [QT=..]".
func (c *Correlator) eximDelivered(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	a := attempt{queueID: s[:n], outcome: schema.Outcome_DELIVERED}
	var rest string
	a.recipient, a.original, rest = eximAddress(s[n+4:])
	if a.recipient == "" || rest == "" {
		return KindUnparsed, ReasonCut
	}
	if before, reply, ok := strings.Cut(rest, ` C="`); ok {
		rest = before
		if k := strings.LastIndexByte(reply, '"'); k >= 0 {
			rest += reply[k+1:]
			reply = reply[:k]
		}
		a.text, a.origin = unescape(reply), schema.Origin_REMOTE_REPLY
	}
	if _, ok := eximFields(rest, &a); !ok {
		return KindUnparsed, ReasonFields
	}
	a.relay = a.host
	l.key('m', a.queueID)
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// eximFailed reads "ID ** ADDRESS [<ORIGINAL>] FIELDS: WORDS" and
// "ID == ADDRESS [<ORIGINAL>] FIELDS defer (ERRNO)[ FIELDS]: WORDS".
func (c *Correlator) eximFailed(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	a := attempt{queueID: s[:n], outcome: schema.Outcome_BOUNCED, origin: schema.Origin_LOCAL_MTA}
	deferred := s[n+1] == '='
	var rest string
	a.recipient, a.original, rest = eximAddress(s[n+4:])
	if a.recipient == "" || rest == "" {
		return KindUnparsed, ReasonCut
	}
	errno := int64(0)
	if deferred {
		a.outcome = schema.Outcome_DEFERRED
		fields, after, ok := strings.Cut(rest, " defer (")
		if !ok {
			return KindUnparsed, ReasonCut
		}
		eximFields(fields, &a)
		number, after, ok := strings.Cut(after, ")")
		digits, minus := strings.CutPrefix(number, "-")
		v, used := readInt([]byte(digits))
		if !ok || used == 0 || used != len(digits) {
			return KindUnparsed, ReasonCut
		}
		if errno = v; minus {
			errno = -v
		}
		rest = after
	}
	words, ok := eximFields(rest, &a)
	if !ok {
		return KindUnparsed, ReasonFields
	}
	a.relay = a.host
	key := l.key('m', a.queueID)
	const gaveUp = "retry timeout exceeded"
	if before, ended := strings.CutSuffix(words, gaveUp); ended && !deferred {
		e := c.open(l.host, key, &l.in)
		k := c.eximWaiting(e, a.recipient, a.original)
		var fresh *attempt
		if before = strings.TrimSuffix(before, ": "); before != "" {
			eximWords(before, 0, &a)
			a.text = unescape(a.text)
			fresh = &a
		}
		c.give(l, emit, e, k, a.queueID, gaveUp, fresh)
		c.bound()
		return KindEvent, ReasonNone
	}
	eximWords(words, errno, &a)
	a.text = unescape(a.text)
	if (errno <= -51 && errno >= -56) || strings.HasPrefix(words, "retry time not reached") {
		// ERRNO_RRETRY to ERRNO_TRETRY in src/macros.h: nothing was tried.
		a.outcome, a.suspended, a.phase = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE
	}
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// eximWaiting finds a recipient by its whole name, else by its address; one that was never heard of is added.
func (c *Correlator) eximWaiting(e *entry, addr, original string) int {
	id := recipientID{addr, original}
	if k := e.find(id); k >= 0 {
		return k
	}
	if original == "" {
		// QUIRK: where the router gives up, the line names the address as submitted and nothing else; before, it stood in
		// angle brackets behind the lower-case one (testdata/exim).
		for k := range e.waiting {
			if r := &e.waiting[k]; strings.EqualFold(r.address, addr) || strings.EqualFold(r.original, addr) {
				return k
			}
		}
	}
	return c.queue.wait(e, id)
}
