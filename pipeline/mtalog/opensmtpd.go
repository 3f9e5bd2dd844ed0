package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// OpenSMTPD (6.4 and later) names each recipient by an envelope id: "SESSION smtp envelope evpid=E from=<s> to=<r>" on
// arrival, "SESSION mta delivery evpid=E ... result="R" stat="TEXT"" per attempt, and "relay: Expire for E: ..." in the
// end. No line names the Message-ID. What ends a session before its first message is told by "mta error reason=" of the
// session alone; the delivery line then says "Network error on destination MXs" and names the domain only.

func (c *Correlator) opensmtpd(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if !hexID(l.msg, ' ') {
		const expire = ": Expire for "
		if i := bytes.Index(l.msg[:min(len(l.msg), 24)], []byte(expire)); i > 0 {
			return c.opensmtpdExpired(l, emit, i+len(expire))
		}
		return KindNoise, ReasonMTA
	}
	rest := l.msg[17:]
	switch {
	case hasPrefix(rest, "mta delivery "):
		return c.opensmtpdDelivery(l, emit)
	case hasPrefix(rest, "smtp envelope evpid="):
		return c.opensmtpdEnvelope(l)
	case hasPrefix(rest, "mta connecting address="):
		return c.opensmtpdConnecting(l)
	case hasPrefix(rest, "mta connected"):
		return c.opensmtpdStage(l, schema.Phase_BANNER)
	case hasPrefix(rest, "mta tls "), hasPrefix(rest, "mta server-cert-check "), hasPrefix(rest, "mta starttls "):
		return c.opensmtpdStage(l, schema.Phase_PHASE_UNSPECIFIED)
	case hasPrefix(rest, "mta error reason="):
		return c.opensmtpdError(l)
	case hasPrefix(rest, "mta disconnected"):
		e := c.lookup(l.host, l.key('s', string(l.msg[:16])))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.queue.remove(e)
		return KindState, ReasonNone
	case hasPrefix(rest, "mta "), hasPrefix(rest, "smtp "), hasPrefix(rest, "mda "), hasPrefix(rest, "lmtp "),
		hasPrefix(rest, "ca "), hasPrefix(rest, "bounce "), hasPrefix(rest, "filter "):
		return KindNoise, ReasonMTA
	}
	return KindUnparsed, ReasonShape
}

// hexID reports whether b begins with 16 lower-case hexadecimal digits and end.
func hexID[T string | []byte](b T, end byte) bool {
	if len(b) < 18 || b[16] != end {
		return false
	}
	for i := range 16 {
		if b[i]-'0' > 9 && b[i]-'a' > 5 {
			return false
		}
	}
	return true
}

// opensmtpdConnecting reads "mta connecting address=smtp://IP:PORT host=HOST", a session's first line.
func (c *Correlator) opensmtpdConnecting(l *mtaLine) (Kind, Reason) {
	s := l.text()
	address, host, ok := strings.Cut(s[17+len("mta connecting address="):], " host=")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	if _, after, ok := strings.Cut(address, "://"); ok {
		address = after
	}
	e := c.open(l.host, l.key('s', s[:16]), &l.in)
	e.known = true
	c.queue.hint(e, schema.Phase_CONNECT, "", host, withoutPort(address))
	c.bound()
	return KindState, ReasonNone
}

// withoutPort returns the address of "IP:PORT" or "[IP]:PORT".
func withoutPort(s string) string {
	if k := strings.LastIndexByte(s, ':'); k > 0 {
		s = s[:k]
	}
	return strings.Trim(s, "[]")
}

func (c *Correlator) opensmtpdStage(l *mtaLine, phase schema.Phase) (Kind, Reason) {
	e := c.lookup(l.host, l.key('s', string(l.msg[:16])))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(e)
	e.phase = phase
	return KindState, ReasonNone
}

// opensmtpdError ends a session. What it says is kept under the domain above the host's name, for a delivery line of
// that domain which says nothing but "Network error". A host outside its domain (a provider's) is not found again: then
// the log does not say.
func (c *Correlator) opensmtpdError(l *mtaLine) (Kind, Reason) {
	s := l.text()
	session := c.lookup(l.host, l.key('s', s[:16]))
	if session == nil {
		return KindState, ReasonUnknownEntry
	}
	host, ip, stage := session.peerHost, session.peerIP, session.phase
	c.queue.remove(session)
	_, domain, ok := strings.Cut(host, ".")
	if !ok || len(domain) > maxKey || strings.IndexByte(domain, '.') < 0 {
		return KindState, ReasonHint
	}
	reason := s[17+len("mta error reason="):]
	phase := opensmtpdPhase(reason)
	if phase == 0 && (stage == schema.Phase_CONNECT || strings.HasPrefix(reason, "Connection timeout")) {
		phase = stage
	}
	e := c.open(l.host, l.key('d', strings.ToLower(domain)), &l.in)
	e.known = true
	c.queue.hint(e, phase, reason, host, ip)
	c.bound()
	return KindState, ReasonHint
}

// opensmtpdPhase judges a session's end: usr.sbin/smtpd/mta_session.c.
func opensmtpdPhase(reason string) schema.Phase {
	switch {
	case strings.HasPrefix(reason, "BANNER rejected: "):
		return schema.Phase_BANNER
	case strings.HasPrefix(reason, "EHLO rejected: "), strings.HasPrefix(reason, "HELO rejected: "), strings.HasPrefix(reason, "LHLO rejected: "):
		return schema.Phase_EHLO
	case strings.HasPrefix(reason, "STARTTLS rejected: "), strings.Contains(reason, "SSL routines"),
		strings.HasPrefix(reason, "IO Error: No TLS error"), strings.Contains(reason, "TLS required"):
		return schema.Phase_TLS
	case strings.HasPrefix(reason, "AUTH rejected: "):
		return schema.Phase_AUTH
	case strings.HasSuffix(reason, "Connection refused"), strings.HasSuffix(reason, "No route to host"),
		strings.HasSuffix(reason, "Network is unreachable"), strings.HasSuffix(reason, "Operation timed out"):
		return schema.Phase_CONNECT
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

func (c *Correlator) opensmtpdEnvelope(l *mtaLine) (Kind, Reason) {
	s := l.text()
	s = s[17+len("smtp envelope evpid="):]
	if !hexID(s, ' ') {
		return KindUnparsed, ReasonShape
	}
	sender, rest, ok := cutAddress(strings.TrimPrefix(s[17:], "from="))
	if !ok || !strings.HasPrefix(rest, " to=<") {
		return KindUnparsed, ReasonCut
	}
	e := c.open(l.host, l.key('m', s[:16]), &l.in)
	e.known, e.hasSender = true, true
	c.queue.setString(e, &e.sender, sender)
	c.bound()
	return KindState, ReasonNone
}

// opensmtpdDelivery reads
// evpid=E from=<s> to=<r> rcpt=<o> source="IP" relay="IP (HOST)" delay=D result="R" stat="TEXT".
func (c *Correlator) opensmtpdDelivery(l *mtaLine, emit emitFunc) (Kind, Reason) {
	s, ok := strings.CutPrefix(l.text()[17+len("mta delivery "):], "evpid=")
	if !ok || !hexID(s, ' ') {
		return KindUnparsed, ReasonShape
	}
	a := attempt{queueID: s[:16], hasSender: true, origin: schema.Origin_LOCAL_MTA}
	rest := s[17:]
	if a.sender, a.recipient, a.original, rest, ok = opensmtpdAddresses(rest, " "); !ok {
		return KindUnparsed, ReasonCut
	}
	var relay, delay, result string
	for _, f := range [...]struct {
		value     *string
		key, stop string
	}{{&a.source, ` source="`, `"`}, {&relay, ` relay="`, `"`}, {&delay, " delay=", " "}, {&result, `result="`, `"`}} {
		if *f.value, rest, ok = field(rest, f.key, f.stop); !ok {
			return KindUnparsed, ReasonCut
		}
	}
	if a.text, ok = strings.CutPrefix(rest, ` stat="`); !ok {
		return KindUnparsed, ReasonCut
	}
	a.text = strings.TrimSuffix(a.text, `"`)
	if a.source == "-" {
		a.source = ""
	}
	if ip, host, ok := strings.Cut(relay, " ("); ok {
		a.ip, a.host = strings.Trim(ip, "[]"), strings.TrimSuffix(host, ")")
		relay = a.host
	}
	a.relay = relay
	a.delayMS, a.hasDelay = unitDelay(delay)
	switch result {
	case "Ok":
		a.outcome = schema.Outcome_DELIVERED
	case "TempFail":
		a.outcome = schema.Outcome_DEFERRED
	case "PermFail", "LoopFail":
		a.outcome = schema.Outcome_BOUNCED
	default:
		return KindUnparsed, ReasonFields
	}
	switch {
	case a.ip != "" && replyCode(a.text):
		a.origin = schema.Origin_REMOTE_REPLY
	case a.ip != "" && strings.HasPrefix(a.text, "message too large for peer"):
		a.phase = schema.Phase_MAIL // found from the SIZE announced: RFC 1870, section 6
	case a.ip == "" && a.outcome != schema.Outcome_DELIVERED:
		c.opensmtpdNoHost(l, &a)
	}
	key := l.key('m', a.queueID)
	c.record(l, emit, &a)
	if e := c.lookup(l.host, key); e != nil && a.outcome != schema.Outcome_DEFERRED {
		c.queue.remove(e) // an envelope has one recipient
	}
	return KindEvent, ReasonNone
}

// opensmtpdNoHost judges a failure before any session took the message.
func (c *Correlator) opensmtpdNoHost(l *mtaLine, a *attempt) {
	switch {
	case strings.HasPrefix(a.text, "No MX found"), strings.HasPrefix(a.text, "Temporary failure in MX lookup"),
		strings.HasPrefix(a.text, "Domain does not exist"), strings.HasPrefix(a.text, "Loop detected"):
		a.phase = schema.Phase_DNS
		return
	case !strings.HasPrefix(a.text, "Network error on destination MXs") || len(a.relay) > maxKey:
		return
	}
	e := c.lookup(l.host, l.key('d', strings.ToLower(a.relay)))
	if e == nil {
		return
	}
	c.queue.touch(e)
	a.text, a.phase, a.host, a.ip = e.note, e.phase, e.peerHost, e.peerIP
	if _, reply, ok := strings.Cut(e.note, " rejected: "); ok {
		a.text, a.origin = reply, schema.Origin_REMOTE_REPLY
	}
}

// opensmtpdAddresses reads "from=<s>SEPto=<r>SEPrcpt=<o>".
func opensmtpdAddresses(s, sep string) (sender, to, original, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, "from="); !ok {
		return "", "", "", "", false
	}
	if sender, s, ok = cutAddress(s); !ok {
		return "", "", "", "", false
	}
	if s, ok = strings.CutPrefix(s, sep+"to="); !ok {
		return "", "", "", "", false
	}
	if to, s, ok = cutAddress(s); !ok || to == "" {
		return "", "", "", "", false
	}
	if after, found := strings.CutPrefix(s, sep+"rcpt="); found {
		if original, s, ok = cutAddress(after); !ok {
			return "", "", "", "", false
		}
	}
	if original == "-" {
		original = ""
	}
	return sender, to, original, s, true
}

// opensmtpdExpired reads "relay: Expire for E: from=<s>, to=<r>, rcpt=<o>, delay=D, stat=TEXT".
func (c *Correlator) opensmtpdExpired(l *mtaLine, emit emitFunc, i int) (Kind, Reason) {
	s := l.text()
	if i > len(s) || !hexID(s[i:], ':') {
		return KindUnparsed, ReasonShape
	}
	id := s[i : i+16]
	sender, to, original, rest, ok := opensmtpdAddresses(s[i+18:], ", ")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	text := ""
	if k := strings.LastIndex(rest, ", stat="); k >= 0 {
		text = rest[k+len(", stat="):]
	}
	e := c.open(l.host, l.key('m', id), &l.in)
	if !e.hasSender {
		c.queue.setString(e, &e.sender, sender)
		e.hasSender = true
	}
	r := recipientID{to, original}
	k := e.find(r)
	if k < 0 {
		k = c.queue.wait(e, r)
	}
	c.give(l, emit, e, k, id, text, nil)
	c.queue.remove(e)
	return KindEvent, ReasonNone
}
