package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// Sendmail 8 writes "QID: from=<s>, ..., nrcpts=N, msgid=<id>, ..." on arrival and, per attempt, "QID: to=<r>[,<r>],
// [ctladdr=..,] delay=, xdelay=, mailer=, pri=, relay=host [ip], dsn=, [reply=..,] stat=..". An expiry is a line of its own,
// "QID: QID2: sender notify: Cannot send message for ...", without a recipient. sendmail/deliver.c, logdelivery.

func (c *Correlator) sendmail(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if hasPrefix(l.msg, "AUTH=server, ") {
		return c.sendmailLogin(l)
	}
	n := bytes.IndexByte(l.msg[:min(len(l.msg), 32)], ':')
	if n > 0 && l.msg[n-1] == ']' {
		var kind Kind
		var reason Reason
		var done bool
		if n, kind, reason, done = c.sendmailPiece(l, n); done {
			return kind, reason
		}
	}
	if n < 8 || !hasPrefix(l.msg[n:], ": ") || !alphanumeric(l.msg[:n]) || !bytes.ContainsAny(l.msg[:n], "0123456789") {
		return KindNoise, ReasonMTA // daemons, STARTTLS, NOQUEUE, rulesets
	}
	if bytes.IndexByte(l.msg, '\\') >= 0 {
		l.str = sendmailPrinted(l.text())
	}
	rest := l.msg[n+2:]
	switch {
	case hasPrefix(rest, "from="):
		return c.sendmailArrival(l, n)
	case hasPrefix(rest, "to="):
		return c.sendmailTo(l, emit, n)
	case hasPrefix(rest, "done; "):
		e := c.lookup(l.host, l.key('m', string(l.msg[:n])))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.queue.remove(e)
		return KindState, ReasonNone
	}
	if hint, ok := sendmailTrouble(l.text()[n+2:]); ok {
		return c.sendmailHint(l, n, hint)
	}
	return c.sendmailNotice(l, emit, n)
}

// sendmailPiece joins the pieces "QID[k]: TEXT ..." into which Sendmail cuts a long line; the last one does not end in an
// ellipsis (sendmail/conf.c, sm_syslog). n is the length of what stands before the colon, in the end of the id alone.
func (c *Correlator) sendmailPiece(l *mtaLine, n int) (id int, kind Kind, reason Reason, done bool) {
	open := bytes.IndexByte(l.msg[:n], '[')
	if open < 8 || !alphanumeric(l.msg[:open]) || !hasPrefix(l.msg[n:], ": ") {
		return n, 0, 0, false
	}
	k, digits := readInt(l.msg[open+1:])
	if digits == 0 || open+1+digits+1 != n || k < 1 {
		return n, 0, 0, false
	}
	key := l.key('p', string(l.msg[:open]))
	e := c.lookup(l.host, key)
	switch {
	case k == 1 && e == nil:
		e = c.open(l.host, key, &l.in)
	case k == 1:
		c.queue.setString(e, &e.note, "")
	case e == nil:
		return n, KindUnparsed, ReasonCut, true // its begin was never seen
	case e.done != k-1:
		c.queue.remove(e)
		return n, KindUnparsed, ReasonCut, true
	}
	c.queue.touch(e)
	text, more := bytes.CutSuffix(l.msg[n+2:], []byte(" ..."))
	if len(e.note)+len(text) < MaxLineBytes/4 {
		c.queue.setString(e, &e.note, e.note+clean(text))
	}
	if e.done = k; more {
		c.bound()
		return n, KindState, ReasonHint, true
	}
	l.joined = true
	l.msg = []byte(string(l.msg[:open]) + ": " + e.note)
	c.queue.remove(e)
	return open, 0, 0, false
}

// sendmailPrinted undoes what sm_syslog does to every line (sendmail/util.c, str2prt).
func sendmailPrinted(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		switch next := s[i+1]; {
		case next == '\\':
			b = append(b, '\\')
			i++
		case next == 't':
			b = append(b, '\t')
			i++
		case next == 'n':
			b = append(b, '\n')
			i++
		case next == 'r':
			b = append(b, '\r')
			i++
		case i+3 < len(s) && next-'0' <= 3 && s[i+2]-'0' <= 7 && s[i+3]-'0' <= 7:
			b = append(b, (next-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
		default:
			b = append(b, '\\')
		}
	}
	return clean(b)
}

// sendmailArrival reads "from=<s>, size=, class=, nrcpts=, msgid=<id>, ...". A queue run may repeat it.
func (c *Correlator) sendmailArrival(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	rest := s[n+2+len("from="):]
	sender, after, ok := cutAddress(rest)
	if !ok {
		end := quotedEnd(rest, 0)
		k := strings.IndexByte(rest[end:], ',')
		if k < 0 {
			return KindUnparsed, ReasonCut
		}
		sender, after = rest[:end+k], rest[end+k:]
	}
	e := c.open(l.host, l.key('m', s[:n]), &l.in)
	e.known, e.hasSender = true, true
	c.queue.setString(e, &e.sender, sender)
	if k := strings.Index(after, ", size="); k >= 0 {
		e.size, _ = readInt([]byte(after[k+len(", size="):]))
	}
	if k := strings.Index(after, ", nrcpts="); k >= 0 {
		e.nrcpt, _ = readInt([]byte(after[k+len(", nrcpts="):]))
		after = after[k:]
	}
	if k := strings.Index(after, ", msgid="); k >= 0 {
		id, rest, _ := strings.Cut(after[k+len(", msgid="):], ", ")
		c.queue.setString(e, &e.messageID, id)
		after = ", " + rest
	}
	if c.site.Labels() {
		c.sendmailFacts(l, e, after)
	}
	if e.nrcpt == 0 {
		c.queue.remove(e) // every recipient was refused: nothing will follow
	}
	c.bound()
	return KindState, ReasonNone
}

// sendmailFacts takes what the end of an arrival says: ", proto=ESMTPA, daemon=.., relay=HOST [IP]" or, of what the host
// itself sends, "relay=USER@localhost". The name of who logged in is in another line of the same process.
func (c *Correlator) sendmailFacts(l *mtaLine, e *entry, fields string) {
	c.learnSender(e, FormatSendmail)
	var relay, proto string
	if k := strings.LastIndex(fields, ", relay="); k >= 0 {
		relay = fields[k+len(", relay="):]
	}
	if k := strings.Index(fields, ", proto="); k >= 0 {
		proto, _, _ = strings.Cut(fields[k+len(", proto="):], ",")
	}
	c.learn(e, FormatSendmail, site.FactClient, "", relay)
	if user, local := strings.CutSuffix(relay, "@localhost"); local {
		c.learn(e, FormatSendmail, site.FactUser, "", user)
		return
	}
	if !strings.HasSuffix(proto, "A") || !c.wants(site.FactUser) { // RFC 3848
		return
	}
	login := c.lookup(l.host, l.key('a', string(c.frame.pid.of(l.in.Line))))
	if login != nil && login.peerHost == relay {
		c.learn(e, FormatSendmail, site.FactUser, "", login.note)
	}
}

// sendmailLogin keeps "AUTH=server, relay=HOST [IP], authid=USER, mech=M, bits=N" by process: a process serves one session.
func (c *Correlator) sendmailLogin(l *mtaLine) (Kind, Reason) {
	pid := c.frame.pid.of(l.in.Line)
	if !c.wants(site.FactUser) || len(pid) == 0 || len(pid) > maxKey {
		return KindNoise, ReasonMTA
	}
	s := sendmailPrinted(l.text())
	relay, rest, ok := field(s, "AUTH=server, relay=", ", authid=")
	k := strings.LastIndex(rest, ", mech=")
	if !ok || k < 0 {
		return KindNoise, ReasonMTA
	}
	e := c.open(l.host, l.key('a', string(pid)), &l.in)
	e.known = true
	c.queue.hint(e, 0, rest[:k], relay, "")
	c.bound()
	return KindState, ReasonNone
}

// sendmailHint keeps what a line without a recipient says for the delivery line that follows it.
func (c *Correlator) sendmailHint(l *mtaLine, n int, h hint) (Kind, Reason) {
	e := c.open(l.host, l.key('m', l.text()[:n]), &l.in)
	if h.source != "" {
		c.queue.setString(e, &e.peerIP, h.source)
	} else {
		c.queue.hint(e, h.phase, h.reply, "", e.peerIP)
	}
	c.bound()
	return KindState, ReasonHint
}

// hint is what a line without a recipient says about the delivery line that follows it.
type hint struct {
	phase  schema.Phase
	reply  string // an answer that the delivery line does not repeat
	source string // our address
}

// sendmailTrouble reads such a line.
func sendmailTrouble(words string) (h hint, ok bool) {
	switch {
	case strings.HasPrefix(words, "timeout waiting for input from "):
		if _, what, ok := strings.Cut(words, " during client "); ok {
			h.phase = sendmailPhase(what)
		}
		return h, true
	case strings.HasPrefix(words, "SYSERR("):
		_, words, _ = strings.Cut(words, "): ")
		switch {
		case strings.HasPrefix(words, "timeout writing message to "):
			h.phase = schema.Phase_DATA // the message was being written
		case strings.HasPrefix(words, "MX list for "), strings.Contains(words, " config error: mail loops back to me "):
			h.phase = schema.Phase_DNS // it "points back to" this host
		default:
			return h, false
		}
		return h, true
	case strings.HasPrefix(words, "ruleset=tls_"):
		h.phase = schema.Phase_TLS
		return h, true
	case strings.HasPrefix(words, "SMTP outgoing connect on "): // LogLevel 14
		if k := strings.LastIndexByte(words, '['); k >= 0 && strings.HasSuffix(words, "]") {
			h.source = sendmailIP(words[k:])
		}
		return h, h.source != ""
	}
	const protocol = " protocol error: "
	if k := strings.Index(words, protocol); k > 0 {
		if i := strings.Index(words[:k], ": SMTP "); i > 0 && strings.IndexByte(words[:i], ' ') < 0 {
			return hint{phase: sendmailPhase(words[i+len(": SMTP ") : k]), reply: words[k+len(protocol):]}, true
		}
	}
	return h, false
}

// sendmailPhase maps SmtpPhase, the names in "protocol error", and those of stage=, which some builds have
// (_FFR_LOG_STAGE): sendmail/usersmtp.c, sendmail/deliver.c.
func sendmailPhase(what string) schema.Phase {
	switch {
	case strings.HasPrefix(what, "greeting"), what == "GREET":
		return schema.Phase_BANNER
	case strings.HasPrefix(what, "DATA status"), what == "DATA-2", what == "DATA-3", what == "DATA2", what == "EOM":
		return schema.Phase_EOM
	case what == "RCPT":
		return schema.Phase_RCPT
	case what == "MAIL":
		return schema.Phase_MAIL
	}
	if p := phaseOf(what); p != schema.Phase_PHASE_UNSPECIFIED {
		return p
	}
	verb, _, _ := strings.Cut(what, " ")
	switch verb {
	case "RCPT":
		return schema.Phase_RCPT
	case "MAIL":
		return schema.Phase_MAIL
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// sendmailNotice reads "QID2: DSN: ..." and "QID2: sender notify: ...". QID2 is a message of its own, and no other line
// names its sender (RFC 5321, section 4.5.5); "Cannot send message" ends all recipients that wait.
func (c *Correlator) sendmailNotice(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	rest := l.msg[n+2:]
	if len(rest) < n+4 || !hasPrefix(rest[n:], ": ") || !alphanumeric(rest[:n]) {
		return KindNoise, ReasonMTA
	}
	s := l.text()
	id, child, words := s[:n], s[n+2:n+2+n], s[n+2+n+2:]
	what, text, ok := strings.Cut(words, ": ")
	if !ok || (what != "DSN" && what != "sender notify" && what != "postmaster notify" && what != "return to sender") {
		return KindNoise, ReasonMTA
	}
	e := c.open(l.host, l.key('m', child), &l.in)
	e.known, e.hasSender, e.nrcpt = true, true, 1
	c.bound()
	if !strings.HasPrefix(text, "Cannot send message ") {
		return KindState, ReasonNone
	}
	if e = c.lookup(l.host, l.key('m', id)); e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(e)
	if len(e.waiting) == 0 {
		return KindState, ReasonNobody
	}
	for len(e.waiting) > 0 {
		c.give(l, emit, e, 0, id, text, nil)
	}
	c.queue.remove(e)
	return KindEvent, ReasonNone
}
