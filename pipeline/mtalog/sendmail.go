package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// Sendmail 8 writes "QID: from=<s>, ..., nrcpts=N, msgid=<id>, ..." on arrival and, per attempt and host, "QID: to=<r>[,<r>],
// [ctladdr=..,] delay=, xdelay=, mailer=, pri=, relay=host [ip], dsn=, [reply=..,] stat=..". An expiry is a line of its own,
// "QID: QID2: sender notify: Cannot send message for ...", without a recipient. sendmail/deliver.c, logdelivery.

func (c *Correlator) sendmail(l *mtaLine, emit emitFunc) (Kind, Reason) {
	n := bytes.IndexByte(l.msg[:min(len(l.msg), 24)], ':')
	if n < 8 || !hasPrefix(l.msg[n:], ": ") || !alphanumeric(l.msg[:n]) || !bytes.ContainsAny(l.msg[:n], "0123456789") {
		return KindNoise, ReasonMTA // daemons, STARTTLS, NOQUEUE, rulesets
	}
	rest := l.msg[n+2:]
	switch {
	case hasPrefix(rest, "from="):
		return c.sendmailArrival(l, n)
	case hasPrefix(rest, "to="):
		return c.sendmailTo(l, emit, n)
	case hasPrefix(rest, "timeout waiting for input from "), hasPrefix(rest, "ruleset=tls_"),
		hasPrefix(rest, "SYSERR(") && bytes.Contains(rest[:min(len(rest), 80)], []byte("): timeout writing message to ")):
		return c.sendmailHint(l, n)
	case hasPrefix(rest, "done; "):
		e := c.lookup(l.host, l.key('m', string(l.msg[:n])))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.queue.remove(e)
		return KindState, ReasonNone
	}
	return c.sendmailNotice(l, emit, n)
}

// sendmailArrival reads "from=<s>, size=, class=, nrcpts=, msgid=<id>, ...". A queue run may repeat it.
func (c *Correlator) sendmailArrival(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	rest := s[n+2+len("from="):]
	sender, after, ok := cutAddress(rest)
	if !ok {
		sender, after, _ = strings.Cut(rest, ",")
		after = "," + after
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
		id, _, _ := strings.Cut(after[k+len(", msgid="):], ", ")
		c.queue.setString(e, &e.messageID, id)
	}
	if e.nrcpt == 0 {
		c.queue.remove(e) // every recipient was refused: nothing will follow
	}
	c.bound()
	return KindState, ReasonNone
}

// sendmailHint keeps where a conversation broke for the delivery line that follows it.
func (c *Correlator) sendmailHint(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	phase := schema.Phase_PHASE_UNSPECIFIED
	switch words := s[n+2:]; {
	case strings.HasPrefix(words, "SYSERR("):
		phase = schema.Phase_DATA // the message was being written
	case strings.HasPrefix(words, "ruleset=tls_"):
		phase = schema.Phase_TLS
	default:
		if _, what, ok := strings.Cut(words, " during client "); ok {
			phase = sendmailPhase(what)
		}
	}
	e := c.open(l.host, l.key('m', s[:n]), &l.in)
	c.queue.hint(e, phase, "", "", "")
	c.bound()
	return KindState, ReasonHint
}

// sendmailPhase maps SmtpPhase of sendmail/usersmtp.c.
func sendmailPhase(what string) schema.Phase {
	switch {
	case strings.HasPrefix(what, "greeting"):
		return schema.Phase_BANNER
	case strings.HasPrefix(what, "DATA status"):
		return schema.Phase_EOM
	}
	return phaseOf(what)
}

// sendmailTo reads a delivery line: an event for each of its recipients.
func (c *Correlator) sendmailTo(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	list, rest, ok := sendmailList(s[n+2+len("to="):])
	if !ok {
		return KindUnparsed, ReasonCut
	}
	a := attempt{queueID: s[:n], origin: schema.Origin_LOCAL_MTA}
	if rest, ok = sendmailFields(rest, &a); !ok {
		return KindUnparsed, ReasonCut
	}
	reply, stat := sendmailStat(rest)
	key := l.key('m', a.queueID)
	e := c.lookup(l.host, key)
	switch {
	case strings.HasPrefix(stat, "Sent"):
		a.outcome = schema.Outcome_DELIVERED
		if text, ok := strings.CutPrefix(stat, "Sent ("); ok {
			// The reply without its code and, mostly, without its enhanced code.
			a.text, a.origin = unescape(strings.TrimSuffix(text, ")")), schema.Origin_REMOTE_REPLY
		}
	case strings.HasPrefix(stat, "queued"):
		a.outcome, a.suspended, a.phase, a.text = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE, stat
		if a.enhanced == "4.4.3" {
			// QUIRK: when the MX lookup fails before the message is accepted, this is the only line that says so: queue
			// runs look it up again without a word (testdata/sendmail).
			a.outcome, a.suspended, a.phase = schema.Outcome_DEFERRED, false, schema.Phase_DNS
		}
	case strings.HasPrefix(stat, "Deferred"), strings.HasPrefix(stat, "Transient "):
		a.outcome = schema.Outcome_DEFERRED
		sendmailWords(&a, reply, stat)
	default:
		a.outcome = schema.Outcome_BOUNCED
		sendmailWords(&a, reply, stat)
	}
	if e != nil {
		if a.outcome != schema.Outcome_DELIVERED && a.phase == 0 {
			a.phase = e.phase
		}
		c.queue.hint(e, 0, "", "", "")
	}
	for list != "" {
		if a.recipient, list, ok = cutAddress(list); !ok {
			a.recipient, list, _ = strings.Cut(list, ",")
		}
		list = strings.TrimPrefix(list, ",")
		c.record(l, emit, &a)
	}
	if e != nil && e.nrcpt > 0 && e.done >= e.nrcpt && len(e.waiting) == 0 && c.lookup(l.host, key) == e {
		c.queue.remove(e)
	}
	return KindEvent, ReasonNone
}

// sendmailList returns the addresses and the fields behind them. Remote ones stand in angle brackets.
func sendmailList(s string) (list, rest string, ok bool) {
	i := 0
	for i < len(s) && s[i] == '<' {
		end := addressEnd(s, i+1)
		if end < 0 {
			return "", "", false
		}
		if i = end + 1; !strings.HasPrefix(s[i:], ",<") {
			break
		}
		i++
	}
	k := strings.Index(s[i:], ", ")
	if k < 0 || i+k == 0 || strings.Contains(s[:i+k], ",<>") {
		return "", "", false
	}
	return s[:i+k], s[i+k+2:], true
}

// sendmailFields reads the fields up to "reply=" or "stat=", whose place it returns.
func sendmailFields(s string, a *attempt) (rest string, ok bool) {
	for !strings.HasPrefix(s, "reply=") && !strings.HasPrefix(s, "stat=") {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return "", false
		}
		if name == "ctladdr" { // an address, which may hold a comma, and perhaps (uid/gid)
			if _, after, ok := cutAddress(value); ok {
				value = after
			}
		}
		if value, s, ok = strings.Cut(value, ", "); !ok {
			return "", false
		}
		switch name {
		case "delay":
			a.delayMS, a.hasDelay = clockDelay(value)
		case "pri":
			// The priority grows with each attempt and is the same in all lines of one: hosts are tried one by one.
			a.run, _ = readInt([]byte(value))
			a.run++ // 0 would say that each line is an attempt
		case "relay":
			host, ip, _ := strings.Cut(value, " ")
			if strings.HasPrefix(host, "[") {
				host, ip = "", host
			}
			a.relay = strings.TrimSuffix(host, ".")
			if ip = strings.Trim(ip, "[]"); ip != "" {
				a.host, a.ip = a.relay, strings.TrimPrefix(ip, "IPv6:")
			}
		case "dsn":
			if validDSN([]byte(value)) {
				a.enhanced = value
			}
		}
	}
	return s, true
}

// sendmailStat takes "reply=R, stat=S" apart. R may hold ", stat=" itself: where S repeats R, that tells, else R ends at
// the last one, because the words of S are then Sendmail's own.
func sendmailStat(s string) (reply, stat string) {
	if stat, ok := strings.CutPrefix(s, "stat="); ok {
		return "", stat
	}
	s = strings.TrimPrefix(s, "reply=")
	const key = ", stat="
	for i := 0; ; {
		k := strings.Index(s[i:], key)
		if k < 0 {
			break
		}
		if s[i+k+len(key):] == "Deferred: "+s[:i+k] {
			return s[:i+k], s[i+k+len(key):]
		}
		i += k + 1
	}
	k := strings.LastIndex(s, key)
	if k < 0 {
		return s, ""
	}
	return s[:k], s[k+len(key):]
}

// sendmailWords judges a failure. Only the first line of a reply is logged, and no command: EX_NOUSER ("User unknown")
// of a remote mailer comes from RCPT alone (sendmail/usersmtp.c, smtprcptstat), the rest may have been any.
func sendmailWords(a *attempt, reply, stat string) {
	if reply != "" {
		a.text = unescape(reply)
		if a.relay != "" { // a local mailer's reply is Sendmail's own
			a.origin = schema.Origin_REMOTE_REPLY
			if strings.HasPrefix(stat, "User unknown") {
				a.phase = schema.Phase_RCPT
			}
		}
		return
	}
	a.text = unescape(stat)
	words := strings.TrimPrefix(strings.TrimPrefix(stat, "Deferred"), ": ")
	switch {
	case strings.HasPrefix(words, "Connection refused"), strings.HasSuffix(words, "No route to host"),
		strings.HasSuffix(words, "Network is unreachable"), strings.HasSuffix(words, "Host is down"):
		a.phase = schema.Phase_CONNECT
	case strings.HasPrefix(stat, "Host unknown"), strings.HasPrefix(words, "Name server"), strings.HasPrefix(stat, "Domain name "):
		a.phase = schema.Phase_DNS
	case strings.Contains(words, "TLS handshake failed"), strings.Contains(words, "encryption too weak"):
		a.phase = schema.Phase_TLS
	}
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

// clockDelay reads "00:01:33" or "1+02:03:04".
func clockDelay(s string) (ms int64, ok bool) {
	days := int64(0)
	if d, rest, found := strings.Cut(s, "+"); found {
		v, n := readInt([]byte(d))
		if n == 0 || n != len(d) || v > 1e6 {
			return 0, false
		}
		days, s = v, rest
	}
	hour, minute, second, _, n := readClock([]byte(s))
	if n != len(s) || n == 0 {
		return 0, false
	}
	return ((days*24+int64(hour))*3600 + int64(minute)*60 + int64(second)) * 1000, true
}
