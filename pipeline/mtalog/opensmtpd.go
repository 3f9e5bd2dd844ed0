package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// OpenSMTPD (6.4 and later) names each recipient by an envelope id: "SESSION smtp envelope evpid=E from=<s> to=<r>" on
// arrival, "SESSION mta delivery evpid=E ... result="R" stat="TEXT"" per attempt, and "relay: Expire for E: ..." in the
// end. No line names the Message-ID. What ends a session before its first message is told by "mta error reason=" of the
// session alone; the delivery line then says "Network error on destination MXs" and names the domain only.

func (c *Correlator) opensmtpd(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if !hexID(l.msg, ' ') {
		return c.opensmtpdFate(l, emit)
	}
	rest := l.msg[17:]
	switch {
	case hasPrefix(rest, "mta delivery "):
		return c.opensmtpdDelivery(l, emit)
	case hasPrefix(rest, "smtp envelope evpid="):
		return c.opensmtpdEnvelope(l)
	case hasPrefix(rest, "mta connecting address="):
		return c.opensmtpdConnecting(l)
	case hasPrefix(rest, "mda delivery "):
		return c.opensmtpdLocal(l, emit)
	case hasPrefix(rest, "mta connected"):
		return c.opensmtpdStage(l, schema.Phase_BANNER)
	case hasPrefix(rest, "mta starttls "):
		return c.opensmtpdStage(l, schema.Phase_TLS)
	case hasPrefix(rest, "mta tls "), hasPrefix(rest, "mta cert-check "), hasPrefix(rest, "mta server-cert-check "):
		return c.opensmtpdStage(l, schema.Phase_EHLO) // it greets anew (RFC 3207, section 4.2)
	case hasPrefix(rest, "mta error reason="):
		return c.opensmtpdError(l)
	case hasPrefix(rest, "mta disconnected"):
		e := c.lookup(l.host, l.key('s', string(l.msg[:16])))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.queue.remove(e)
		return KindState, ReasonNone
	case hasPrefix(rest, "smtp connected "), hasPrefix(rest, "smtp authentication "), hasPrefix(rest, "smtp disconnected"):
		return c.opensmtpdClient(l)
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

// opensmtpdError ends a session. What it says is kept by host, and under the domain above the host's name, for a delivery
// line that says nothing but "Network error on destination MXs" and names a domain alone.
func (c *Correlator) opensmtpdError(l *mtaLine) (Kind, Reason) {
	s := l.text()
	session := c.lookup(l.host, l.key('s', s[:16]))
	if session == nil {
		return KindState, ReasonUnknownEntry
	}
	host, ip, stage := session.peerHost, session.peerIP, session.phase
	c.queue.remove(session)
	reason := s[17+len("mta error reason="):]
	phase := opensmtpdPhase(reason)
	if phase == 0 && (stage == schema.Phase_CONNECT || stage == schema.Phase_EHLO || strings.HasPrefix(reason, "Connection timeout")) {
		phase = stage
	}
	name := strings.ToLower(host)
	_, domain, _ := strings.Cut(name, ".")
	for _, k := range [...]struct {
		kind byte
		name string
	}{{'h', name}, {'d', domain}} {
		if k.name == "" || len(k.name) > maxKey || (k.kind == 'd' && (strings.IndexByte(domain, '.') < 0 || host == ip)) {
			continue
		}
		e := c.open(l.host, l.key(k.kind, k.name), &l.in)
		e.known = true
		e.size = c.frame.at // of the error
		c.queue.hint(e, phase, reason, host, ip)
		c.bound()
	}
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
		strings.HasPrefix(reason, "IO Error: No TLS error"), strings.Contains(reason, "TLS required"),
		strings.Contains(reason, "certificate verification failed"):
		return schema.Phase_TLS
	case strings.HasPrefix(reason, "AUTH rejected: "), strings.HasPrefix(reason, "AUTH not advertised"),
		strings.HasPrefix(reason, "no supported AUTH method"), strings.HasPrefix(reason, "Refuse to AUTH "):
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
	if c.site.Labels() {
		c.learnSender(e, FormatOpenSMTPD)
		if client := c.lookup(l.host, l.key('s', l.text()[:16])); client != nil {
			c.learn(e, FormatOpenSMTPD, site.FactUser, "", client.note)
			c.learn(e, FormatOpenSMTPD, site.FactClient, "", client.peerHost+" ["+client.peerIP+"]")
		}
	}
	c.bound()
	return KindState, ReasonNone
}

// opensmtpdClient keeps who submits in a session: "smtp connected address=IP host=HOST" and "smtp authentication user=U
// result=ok", for as long as it lasts, if a label asks for that.
func (c *Correlator) opensmtpdClient(l *mtaLine) (Kind, Reason) {
	if !c.wants(site.FactUser) && !c.wants(site.FactClient) {
		return KindNoise, ReasonMTA
	}
	s := l.text()
	words := s[17:]
	key := l.key('s', s[:16])
	e := c.lookup(l.host, key)
	switch {
	case strings.HasPrefix(words, "smtp connected address="):
		ip, host, _ := strings.Cut(words[len("smtp connected address="):], " host=")
		e = c.open(l.host, key, &l.in)
		e.known = true
		c.queue.hint(e, 0, "", host, strings.Trim(ip, "[]"))
	case e == nil:
		return KindState, ReasonUnknownEntry
	case strings.HasPrefix(words, "smtp authentication user="):
		if user, ok := strings.CutSuffix(words[len("smtp authentication user="):], " result=ok"); ok {
			c.queue.setString(e, &e.note, user)
		}
		c.queue.touch(e)
	default:
		c.queue.remove(e)
	}
	c.bound()
	return KindState, ReasonNone
}
