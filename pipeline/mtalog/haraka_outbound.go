package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

func (c *Correlator) harakaOutbound(l *mtaLine, emit emitFunc, id string) (Kind, Reason) {
	words := l.text()
	switch {
	case strings.HasPrefix(words, "recipient <"):
		return c.harakaRecipient(l, emit, id, words)
	case strings.HasPrefix(words, "delivered file="):
		return c.harakaDelivered(l, emit, id, words)
	case strings.HasPrefix(words, "Temp failing "):
		_, reason, ok := strings.Cut(words, " seconds: ")
		if !ok {
			return KindUnparsed, ReasonCut
		}
		return c.harakaEnd(l, emit, id, reason, schema.Outcome_DEFERRED)
	case strings.HasPrefix(words, "bouncing mail: "):
		return c.harakaEnd(l, emit, id, words[len("bouncing mail: "):], schema.Outcome_BOUNCED)
	case strings.HasPrefix(words, "C: "): // level protocol: a command
		if e := c.lookup(l.host, l.key('o', id)); e != nil || strings.HasPrefix(words, "C: EHLO") {
			e = c.harakaEntry(l, id, 0)
			c.queue.hint(e, harakaCommand(words[len("C: "):], e.phase), "", "", e.peerIP)
		}
		return KindState, ReasonHint
	case strings.HasPrefix(words, "S: "): // level protocol: an answer, at first the greeting
		if e := c.lookup(l.host, l.key('o', id)); e != nil && e.phase == 0 && e.note == "" {
			e.phase = schema.Phase_BANNER
			c.queue.touch(e)
		}
		return KindState, ReasonHint
	case strings.HasPrefix(words, "deliver: "): // level debug: "deliver: OWN-NAME -> HOST (via DNS) (N) (N)"
		if _, to, ok := strings.Cut(words, " -> "); ok {
			host, _, _ := strings.Cut(to, " ")
			c.queue.hint(c.harakaEntry(l, id, 0), 0, "", "", strings.Trim(host, "[]"))
		}
		return KindState, ReasonHint
	}
	phase, ip, ok := harakaTrouble(words)
	if !ok {
		return KindNoise, ReasonMTA
	}
	e := c.harakaEntry(l, id, 0)
	if phase == 0 && e.note == "" {
		phase = e.phase // level protocol
	}
	c.queue.hint(e, phase, words, "", ip)
	for k := range e.waiting { // the next host is asked about all of them anew
		if r := &e.waiting[k]; r.run == e.nrcpt+1 {
			r.run = -r.run
		}
	}
	return KindState, ReasonHint
}

// harakaCommand maps a command that was sent.
func harakaCommand(command string, before schema.Phase) schema.Phase {
	verb, _, _ := strings.Cut(command, " ")
	if verb == "." {
		return schema.Phase_EOM
	}
	switch phase := harakaPhase(strings.ToLower(verb)); phase {
	case schema.Phase_PHASE_UNSPECIFIED, schema.Phase_QUIT: // a line of an AUTH dialogue; QUIT is sent before the reason is logged
		return before
	default:
		return phase
	}
}

// harakaEntry returns the entry of an outbound id, which takes over its share of the transaction's recipients when it is
// first seen. size is the number of recipients where the line tells it, else 0.
func (c *Correlator) harakaEntry(l *mtaLine, id string, size int64) *entry {
	if e := c.lookup(l.host, l.key('o', id)); e != nil {
		c.queue.touch(e)
		return e
	}
	dot := strings.LastIndexByte(id, '.')
	var parent *entry
	if dot > 0 {
		parent = c.lookup(l.host, l.key('m', id[:dot]))
	}
	how := int64(0)
	if q := c.lookup(l.host, l.key('q', "")); q != nil {
		how = q.nrcpt
	}
	e := c.open(l.host, l.key('o', id), &l.in)
	if parent == nil {
		return e
	}
	e.known, e.hasSender = parent.known, parent.hasSender
	c.queue.setString(e, &e.sender, parent.sender)
	c.queue.setString(e, &e.messageID, parent.messageID)
	c.queue.setString(e, &e.labels.Tenant, parent.labels.Tenant)
	c.queue.setString(e, &e.labels.Stream, parent.labels.Stream)
	c.queue.setString(e, &e.labels.Campaign, parent.labels.Campaign)
	e.labels.Ranks = parent.labels.Ranks
	nth, _ := readInt([]byte(id[dot+1:]))
	parts := c.harakaShare(e, parent, nth, how, size)
	if parent.done++; parent.done >= parts {
		c.queue.remove(parent)
	}
	return e
}

// harakaShare gives e the recipients of the nth part of a transaction, and returns how many parts there are.
func (c *Correlator) harakaShare(e, parent *entry, nth, how, size int64) (parts int64) {
	order := make(map[string]int64, 1)
	share := int64(0)
	for i := range parent.waiting {
		d := domainOf(parent.waiting[i].address)
		if order[d] == 0 {
			order[d] = int64(len(order) + 1)
		}
		if order[d] == nth {
			share++
		}
	}
	parts = int64(len(order))
	all := int64(len(parent.waiting))
	if nth > parts || (size == 1 && share > 1) {
		how = harakaByRecipient
	} else if size > 1 {
		how = harakaByDomain
	}
	if how == harakaByRecipient {
		if nth >= 1 && nth <= all {
			c.queue.wait(e, parent.waiting[nth-1].recipientID)
		}
		return all
	}
	for i := range parent.waiting {
		if r := parent.waiting[i].recipientID; order[domainOf(r.address)] == nth {
			c.queue.wait(e, r)
		}
	}
	return parts
}

// harakaTrouble reads what goes wrong with one of the hosts; "Tried all MXs" refers to it.
func harakaTrouble(words string) (phase schema.Phase, ip string, ok bool) {
	if rest, found := strings.CutPrefix(words, "Failed to get socket: "); found {
		return schema.Phase_CONNECT, harakaPeer(rest), true
	}
	if rest, found := strings.CutPrefix(words, "Ongoing connection failed to "); found {
		ip, reason, _ := strings.Cut(rest, " : ")
		if what, found := strings.CutPrefix(reason, "socket timeout waiting on "); found {
			phase = harakaPhase(what)
		} else if strings.Contains(reason, "SSL routines") || strings.Contains(reason, "TLS") || strings.Contains(reason, "certificate") {
			phase = schema.Phase_TLS
		}
		return phase, withoutPort(ip), true
	}
	if rest, found := strings.CutPrefix(words, "Remote end "); found {
		ip, _, _ := strings.Cut(rest, " ")
		return 0, withoutPort(ip), true
	}
	if strings.HasPrefix(words, "MX Lookup for ") {
		return schema.Phase_DNS, "", true
	}
	return 0, "", false
}

// harakaPeer finds the address in "connect ECONNREFUSED IP:PORT ..", "connection timed out to outbound::{"port":25,"host":"IP"}"
// and "connection timed out to outbound::25:IP".
func harakaPeer(s string) string {
	if _, rest, ok := strings.Cut(s, `"host":"`); ok {
		ip, _, _ := strings.Cut(rest, `"`)
		return ip
	}
	if k := strings.LastIndex(s, " outbound::"); k >= 0 {
		_, ip, _ := strings.Cut(s[k+len(" outbound::"):], ":")
		ip, _, _ = strings.Cut(ip, ":undefined")
		return ip
	}
	if rest, ok := strings.CutPrefix(s, "Error: "); ok {
		s = rest
	}
	if rest, ok := strings.CutPrefix(s, "connect "); ok {
		_, rest, _ = strings.Cut(rest, " ")
		ip, _, _ := strings.Cut(rest, " ")
		return withoutPort(strings.TrimSuffix(ip, ","))
	}
	return ""
}

// harakaPhase maps the states of Haraka's client. "connect" is a connection that has not greeted yet.
func harakaPhase(what string) schema.Phase {
	switch strings.TrimSpace(what) {
	case "connect", "connect_lmtp":
		return schema.Phase_BANNER
	case "ehlo", "helo", "lhlo", "xclient":
		return schema.Phase_EHLO
	case "starttls":
		return schema.Phase_TLS
	case "auth":
		return schema.Phase_AUTH
	case "mail":
		return schema.Phase_MAIL
	case "rcpt":
		return schema.Phase_RCPT
	case "data":
		return schema.Phase_DATA
	case "dot", "dot_lmtp", "mailbody":
		return schema.Phase_EOM
	case "quit", "rset":
		return schema.Phase_QUIT
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// harakaRecipient reads "recipient <r> deferred: REPLY" and "recipient <r> rejected: REPLY".
func (c *Correlator) harakaRecipient(l *mtaLine, emit emitFunc, id, words string) (Kind, Reason) {
	to, rest, ok := cutAddress(words[len("recipient "):])
	if !ok || to == "" {
		return KindUnparsed, ReasonCut
	}
	a := attempt{queueID: id, recipient: to, phase: schema.Phase_RCPT, origin: schema.Origin_REMOTE_REPLY}
	if a.text, ok = strings.CutPrefix(rest, " deferred: "); ok {
		a.outcome = schema.Outcome_DEFERRED
	} else if a.text, ok = strings.CutPrefix(rest, " rejected: "); ok {
		a.outcome = schema.Outcome_BOUNCED
	} else {
		return KindUnparsed, ReasonShape
	}
	e := c.harakaEntry(l, id, 0)
	if a.run = e.nrcpt + 1; e.note == "" {
		a.ip = e.peerIP // level debug; else it is that of a host that failed
	}
	c.harakaAgain(e, to, a.run)
	l.key('o', id)
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// harakaAgain prepares a recipient that another host of this attempt has refused already: it is the same attempt.
func (c *Correlator) harakaAgain(e *entry, to string, run int64) {
	if k := e.find(recipientID{address: to}); k >= 0 && e.waiting[k].run == -run {
		e.waiting[k].run = run
	}
}

// harakaDelivered ends those recipients that were not refused by this host. nrcpt counts the entry's attempts.
func (c *Correlator) harakaDelivered(l *mtaLine, emit emitFunc, id, words string) (Kind, Reason) {
	a := attempt{queueID: id, outcome: schema.Outcome_DELIVERED, origin: schema.Origin_REMOTE_REPLY}
	head, tail, ok := strings.Cut(words, ` response=`)
	k := strings.LastIndex(tail, ` delay=`)
	if !ok || k < 0 {
		return KindUnparsed, ReasonCut
	}
	a.text = tail[:k] // the reply without its codes
	if bare, quoted := strings.CutPrefix(a.text, `"`); quoted {
		a.text = harakaUnquote(strings.TrimSuffix(bare, `"`))
	}
	tail = tail[k+len(` delay=`):]
	delay, rest, _ := strings.Cut(tail, " ")
	a.delayMS, a.hasDelay = readMillis([]byte(delay))
	for f := range strings.FieldsSeq(head) {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "host":
			a.host, a.relay = value, value
		case "ip":
			a.ip = strings.Trim(value, "[]")
		case "port":
			port, _ := readInt([]byte(value))
			a.port = int32(port & 0xffff)
		}
	}
	size := int64(0)
	if _, counts, ok := strings.Cut(rest, "rcpts="); ok { // accepted/deferred/refused
		for n := range strings.SplitSeq(counts, "/") {
			v, _ := readInt([]byte(n))
			size += v
		}
	}
	e := c.harakaEntry(l, id, size)
	a.run = e.nrcpt + 1
	events := 0
	l.key('o', id)
	for k := len(e.waiting) - 1; k >= 0; k-- {
		if r := &e.waiting[k]; r.run != a.run {
			a.recipient = r.address
			c.harakaAgain(e, r.address, a.run)
			c.record(l, emit, &a)
			events++
		}
	}
	c.queue.hint(e, 0, "", "", "")
	if len(e.waiting) == 0 {
		c.queue.remove(e)
	}
	if events == 0 {
		return KindState, ReasonNobody
	}
	return KindEvent, ReasonNone
}

// harakaEnd reads the end of an attempt for all recipients that are left. One that was refused by the last host has had a
// line of its own.
func (c *Correlator) harakaEnd(l *mtaLine, emit emitFunc, id, reason string, outcome schema.Outcome) (Kind, Reason) {
	e := c.harakaEntry(l, id, 0)
	a := attempt{queueID: id, outcome: outcome, origin: schema.Origin_LOCAL_MTA, run: e.nrcpt + 1}
	e.nrcpt++
	why, expired := strings.CutPrefix(reason, "Too many failures (")
	if expired {
		why = strings.TrimSuffix(why, ")")
	}
	told := strings.HasPrefix(why, "Some recipients ") // each of them had a line of its own
	if told && !expired {
		if len(e.waiting) == 0 {
			c.queue.remove(e)
		}
		return KindState, ReasonNone
	}
	harakaWords(&a, why, e)
	c.queue.hint(e, 0, "", "", "")
	if len(e.waiting) == 0 {
		c.queue.remove(e)
		return KindState, ReasonNobody
	}
	l.key('o', id)
	events := 0
	for k := len(e.waiting) - 1; k >= 0; k-- {
		r := &e.waiting[k]
		said := r.run == a.run
		c.harakaAgain(e, r.address, a.run)
		switch {
		case expired && (told || said):
			c.give(l, emit, e, k, id, reason, nil)
		case expired:
			c.give(l, emit, e, k, id, reason, &a)
		case said && outcome == schema.Outcome_DEFERRED:
			continue
		default:
			a.recipient = r.address
			c.record(l, emit, &a)
		}
		events++
	}
	if len(e.waiting) == 0 {
		c.queue.remove(e)
	}
	if events == 0 {
		return KindState, ReasonNone
	}
	return KindEvent, ReasonNone
}

// harakaWords judges a reason. At the usual level Haraka does not say which command a reply to the whole message answers.
func harakaWords(a *attempt, why string, e *entry) {
	a.text = why
	const unread = "Unrecognized response from upstream server: "
	switch {
	case strings.HasPrefix(why, "Tried all MXs"):
		if a.phase = schema.Phase_DNS; e.note != "" { // else none was tried: no host of the MX had an address
			a.text, a.phase, a.ip = e.note, e.phase, e.peerIP
		}
		return
	case strings.HasPrefix(why, "Upstream error: "):
		a.text, a.origin = why[len("Upstream error: "):], schema.Origin_REMOTE_REPLY
	case strings.HasPrefix(why, unread):
		// The line end belongs to the words; the default format writes a carriage return as \r.
		a.text = strings.TrimRight(strings.TrimSuffix(strings.TrimRight(why[len(unread):], "\r\n "), `\r`), "\r\n ")
		a.origin = schema.Origin_REMOTE_REPLY
	case strings.HasPrefix(why, "DNS lookup failure"), strings.HasPrefix(why, "Nowhere to deliver mail to"),
		strings.Contains(why, "NULL MX"), // RFC 7505
		strings.HasPrefix(why, "No Such Domain: "), strings.HasPrefix(why, "No MX for "), strings.HasPrefix(why, "Temporary MX lookup error "):
		a.phase = schema.Phase_DNS
		return
	case strings.HasPrefix(why, "No TLS available but required "), strings.HasPrefix(why, "Host failed TLS verification "):
		a.phase = schema.Phase_TLS
	default:
		if code, _ := smtpreply.Codes(why); code != 0 {
			a.origin = schema.Origin_REMOTE_REPLY
		}
	}
	if e.note == "" { // levels debug and protocol: the host, and the command that was sent last
		a.ip = e.peerIP
		if a.phase == 0 {
			a.phase = e.phase
		}
	}
}
