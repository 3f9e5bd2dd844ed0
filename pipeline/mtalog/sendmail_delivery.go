package mtalog

import (
	"net/netip"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// sendmailLine is what a delivery line says besides its attempt.
type sendmailLine struct {
	ctladdr string       // on whose account a program, a file or an alias is served
	stage   schema.Phase // some builds log it
	many    bool         // several recipients share the line
}

// sendmailTo reads a delivery line: an event for each of its recipients.
func (c *Correlator) sendmailTo(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	list, rest, ok := sendmailList(s[n+2+len("to="):])
	if !ok {
		return KindUnparsed, ReasonCut
	}
	a := attempt{queueID: s[:n], origin: schema.Origin_LOCAL_MTA}
	var d sendmailLine
	if rest, ok = sendmailFields(rest, &a, &d); !ok {
		return KindUnparsed, ReasonCut
	}
	reply, stat := sendmailStat(rest)
	key := l.key('m', a.queueID)
	e := c.lookup(l.host, key)
	if a.transport == "relay" && sendmailHandedOver(&a, stat) {
		c.sendmailFinish(e, list)
		return KindState, ReasonNone
	}
	_, after, _ := sendmailNext(list)
	d.many = after != ""
	switch {
	case strings.HasPrefix(stat, "Sent"):
		a.outcome = schema.Outcome_DELIVERED
		if text, ok := strings.CutPrefix(stat, "Sent ("); ok {
			// The reply without its code and, mostly, without its enhanced code.
			a.text, a.origin = strings.TrimSuffix(text, ")"), schema.Origin_REMOTE_REPLY
		}
	case strings.HasPrefix(stat, "queued"), strings.HasPrefix(stat, "quarantined"):
		a.outcome, a.suspended, a.phase, a.text = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE, stat
		if a.enhanced == "4.4.3" {
			// QUIRK: when the MX lookup fails before the message is accepted, this is the only line that says so: queue
			// runs look it up again without a word (testdata/sendmail).
			a.outcome, a.suspended, a.phase = schema.Outcome_DEFERRED, false, schema.Phase_DNS
		}
	case sendmailTemporary(stat):
		a.outcome = schema.Outcome_DEFERRED
		sendmailWords(&a, &d, reply, stat, e)
	default:
		a.outcome = schema.Outcome_BOUNCED
		sendmailWords(&a, &d, reply, stat, e)
	}
	if e != nil {
		a.source = e.peerIP
		c.queue.hint(e, 0, "", "", e.peerIP)
	}
	for list != "" {
		if a.recipient, list, ok = sendmailNext(list); !ok {
			a.recipient = d.ctladdr
		}
		once := a
		if a.outcome == schema.Outcome_DEFERRED && reply == "" && e != nil && sendmailFromCache(&a, e) {
			once.outcome, once.suspended, once.phase = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE
		}
		c.record(l, emit, &once)
	}
	if e != nil && e.nrcpt > 0 && e.done >= e.nrcpt && len(e.waiting) == 0 && c.lookup(l.host, key) == e {
		c.queue.remove(e)
	}
	return KindEvent, ReasonNone
}

// sendmailTemporary knows the words for what is tried again: libsm/sysexits.c.
func sendmailTemporary(stat string) bool {
	return strings.HasPrefix(stat, "Deferred") || strings.HasPrefix(stat, "Transient ") ||
		strings.HasPrefix(stat, "Operating system error") || strings.HasPrefix(stat, "I/O error")
}

// sendmailHandedOver tells that the submission program has given the message to the daemon of the same host, where it has
// another queue id and is still to be delivered.
func sendmailHandedOver(a *attempt, stat string) bool {
	ip, err := netip.ParseAddr(a.ip)
	return err == nil && ip.IsLoopback() && strings.HasPrefix(stat, "Sent (") &&
		strings.HasSuffix(stat, " Message accepted for delivery)")
}

// sendmailFromCache tells a host that was not tried because it had failed a moment ago (TO_HOSTSTATUS): the line lacks the
// address that an attempt before had. A lookup that failed has none either, and an IPv6 address that refused.
func sendmailFromCache(a *attempt, e *entry) bool {
	if a.relay == "" || a.ip != "" || a.phase == schema.Phase_DNS {
		return false
	}
	k := e.find(recipientID{address: a.recipient})
	return k >= 0 && e.waiting[k].cause != nil && e.waiting[k].cause.ip != ""
}

// sendmailFinish takes recipients out of an entry without a word.
func (c *Correlator) sendmailFinish(e *entry, list string) {
	if e == nil {
		return
	}
	for list != "" {
		var to string
		to, list, _ = sendmailNext(list)
		if k := e.find(recipientID{address: to}); k >= 0 {
			c.queue.finish(e, k)
		}
		e.done++
	}
	if c.queue.touch(e); e.done >= e.nrcpt && len(e.waiting) == 0 {
		c.queue.remove(e)
	}
}

// sendmailList returns the recipients and the fields behind them. Remote ones stand in angle brackets, programs in quotes.
func sendmailList(s string) (list, rest string, ok bool) {
	i := 0
	for i < len(s) {
		i += sendmailElement(s[i:])
		if strings.HasPrefix(s[i:], ", ") {
			return s[:i], s[i+2:], i > 0
		}
		if i >= len(s) || s[i] != ',' || i == 0 {
			break
		}
		i++
	}
	return "", "", false
}

// sendmailElement returns the length of the first recipient.
func sendmailElement(s string) int {
	if s[0] == '<' {
		end := addressEnd(s, 1)
		if end < 0 {
			return len(s)
		}
		return end + 1
	}
	i := quotedEnd(s, 0)
	if k := strings.IndexByte(s[i:], ','); k >= 0 {
		return i + k
	}
	return len(s)
}

// sendmailNext cuts the first recipient off a list. ok is false if it is none: a program or a file.
func sendmailNext(list string) (to, rest string, ok bool) {
	if list == "" {
		return "", "", false
	}
	n := sendmailElement(list)
	to, rest = list[:n], strings.TrimPrefix(list[n:], ",")
	if bare, after, found := cutAddress(to); found && after == "" {
		return bare, rest, bare != ""
	}
	return to, rest, to != "" && !strings.HasPrefix(to, `"|`) && !strings.HasPrefix(to, "|") && !strings.HasPrefix(to, `"/`) &&
		(to[0] != '/' || strings.IndexByte(to, '@') > 0)
}

// sendmailFields reads the fields up to "reply=" or "stat=", whose place it returns.
func sendmailFields(s string, a *attempt, d *sendmailLine) (rest string, ok bool) {
	s = strings.TrimPrefix(s, "[more], ") // the list went on in another line
	for !strings.HasPrefix(s, "reply=") && !strings.HasPrefix(s, "stat=") {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return "", false
		}
		if name == "ctladdr" { // an address, which may hold a comma, and perhaps (uid/gid)
			if addr, after, ok := cutAddress(value); ok {
				d.ctladdr, value = addr, after
			} else {
				d.ctladdr, _, _ = strings.Cut(value, ",")
				d.ctladdr, _, _ = strings.Cut(d.ctladdr, " (")
			}
		}
		if value, s, ok = strings.Cut(value, ", "); !ok {
			return "", false
		}
		switch name {
		case "delay":
			a.delayMS, a.hasDelay = clockDelay(value)
		case "xdelay":
			a.tookMS, a.hasTook = clockDelay(value)
		case "mailer":
			a.transport = value
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
			if a.ip = sendmailIP(ip); a.ip != "" {
				a.host = a.relay
			}
		case "dsn":
			if validDSN([]byte(value)) {
				a.enhanced = value
			}
		case "stage":
			d.stage = sendmailPhase(value)
		}
	}
	return s, true
}

// sendmailIP reads "[IP]" or "[IPv6:...]", which Sendmail writes without "::".
func sendmailIP(s string) string {
	s = strings.TrimPrefix(strings.Trim(s, "[]"), "IPv6:")
	if strings.IndexByte(s, ':') >= 0 {
		if ip, err := netip.ParseAddr(s); err == nil {
			return ip.String()
		}
	}
	return s
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
		if said, ok := strings.CutPrefix(s[i+k+len(key):], "Deferred: "); ok && sendmailSame(s[:i+k], said) {
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

// sendmailSame tells whether two replies are the same but for the hyphen behind the code of the first of several lines.
func sendmailSame(a, b string) bool {
	return a == b || (len(a) > 3 && len(a) == len(b) && a[:3] == b[:3] && a[3] == ' ' && b[3] == '-' && a[4:] == b[4:])
}

// sendmailWords judges a failure. Only the first line of a reply is logged.
func sendmailWords(a *attempt, d *sendmailLine, reply, stat string, e *entry) {
	a.phase = d.stage
	own := sendmailOwnPhase(stat, a.enhanced)
	if reply == "" || own == schema.Phase_CONNECT || sendmailMadeUp(reply) {
		// QUIRK: reply= may be what a host said that was tried before, or words of Sendmail's own in place of an answer.
		a.text = stat
		if sendmailMadeUp(reply) {
			a.text = reply
			if a.phase == 0 && strings.HasPrefix(reply, "421 ") {
				a.phase = schema.Phase_RCPT // no other command leaves it as a reply
			}
		}
		if a.phase == 0 {
			a.phase = own
		}
		if e == nil {
			return
		}
		if a.phase == 0 {
			a.phase = e.phase
			if stat == "Deferred" && a.phase == schema.Phase_EHLO {
				a.phase = schema.Phase_TLS // no answer to STARTTLS: the name of the phase has not changed yet
			}
		}
		if e.note != "" { // a line that is no reply in place of one
			a.text, a.origin = e.note, schema.Origin_REMOTE_REPLY
		}
		return
	}
	a.text = reply
	if a.relay == "" && a.ip == "" {
		return // a local mailer's reply is Sendmail's own
	}
	a.origin = schema.Origin_REMOTE_REPLY
	if a.phase == 0 {
		a.phase = sendmailAnswered(a, d, stat, e)
	}
}

// sendmailMadeUp knows the replies that Sendmail writes where the remote closed without one (sendmail/usersmtp.c, reply).
func sendmailMadeUp(reply string) bool {
	return strings.HasPrefix(reply, "421 4.4.1 Connection reset by ") || strings.HasPrefix(reply, "451 4.4.1 reply: read error from ")
}

// sendmailOwnPhase judges Sendmail's own words, and the enhanced code that it gives them.
func sendmailOwnPhase(stat, enhanced string) schema.Phase {
	words := strings.TrimPrefix(strings.TrimPrefix(stat, "Deferred"), ": ")
	switch {
	case strings.HasPrefix(words, "Connection refused"), strings.HasSuffix(words, "No route to host"),
		strings.HasSuffix(words, "Network is unreachable"), strings.HasSuffix(words, "Host is down"),
		strings.HasPrefix(words, "Connection timed out") && enhanced == "4.4.1": // 4.4.2 in a conversation
		return schema.Phase_CONNECT
	case strings.HasPrefix(stat, "Host unknown"), strings.HasPrefix(words, "Name server"), strings.HasPrefix(stat, "Domain name "),
		enhanced == "5.1.10" && strings.HasPrefix(stat, "Service unavailable"): // RFC 7505
		return schema.Phase_DNS
	case strings.Contains(words, "TLS handshake failed"), strings.Contains(words, "encryption too weak"):
		return schema.Phase_TLS
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// sendmailAnswered finds the command that a reply answers. No line names it, but sendmail/usersmtp.c treats them
// differently: only an answer to RCPT is logged as it came, with a hyphen where more lines follow, and as "User unknown";
// only MAIL gives "Data format error"; before and at EHLO the remote's enhanced code is never taken over, but 4.5.0 or
// 5.5.0 put in its place; and DATA keeps the default of the exit status, whatever the reply. What several commands can
// have led to stays open.
func sendmailAnswered(a *attempt, d *sendmailLine, stat string, e *entry) schema.Phase {
	code, enhanced := smtpreply.Codes(a.text)
	switch {
	case strings.HasPrefix(stat, "Deferred: 403 4.7.0 "): // the policy that STARTTLS failed
		return schema.Phase_TLS
	case len(a.text) > 3 && a.text[3] == '-', strings.HasPrefix(stat, "User unknown"):
		return schema.Phase_RCPT
	case strings.HasPrefix(stat, "Data format error"):
		return schema.Phase_MAIL
	case (a.enhanced == "4.5.0" || a.enhanced == "5.5.0") && enhanced != a.enhanced:
		// The greeting or EHLO: as with Postfix, one name for both, unless the remote tells.
		if text := strings.ToLower(a.text); strings.Contains(text, "helo") || strings.Contains(text, "ehlo") {
			return schema.Phase_EHLO
		}
		return schema.Phase_BANNER
	case a.enhanced == "4.0.0" && enhanced != a.enhanced && (code == 450 || code == 451 || code == 452):
		return schema.Phase_DATA // any other command would have given 4.2.0, 4.3.0, 4.3.1 or the remote's own
	case code == 421 && enhanced != "" && enhanced == a.enhanced && enhanced != "4.0.0" &&
		strings.HasPrefix(stat, "Deferred: Connection reset by "):
		return schema.Phase_RCPT // the next command found the connection closed
	case strings.HasPrefix(stat, "Service unavailable") && enhanced == "":
		switch {
		case code == 550 && a.enhanced == "5.2.0", code == 551 && a.enhanced == "5.1.6", code == 553 && a.enhanced == "5.1.0":
			return schema.Phase_EOM
		case code == 552 && a.enhanced == "5.3.4":
			return schema.Phase_MAIL
		}
	}
	if e != nil {
		return e.phase // a line before said where the conversation broke
	}
	return schema.Phase_PHASE_UNSPECIFIED
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
