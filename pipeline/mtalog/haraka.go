package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// Haraka's own format is "STAMP [LEVEL] [ID] [PLUGIN] WORDS". A transaction UUID.N names its sender, recipients and
// Message-ID; its outbound part UUID.N.M delivers to the M-th of its domains, in the order of their first recipient, and
// names recipients only where RCPT was refused. "Temp failing" and "bouncing mail" speak of all that are left. A bounce
// of Haraka's own is UUID with UUID.1, and none of its lines names a recipient. outbound/hmail.js.

// harakaStart tells what Haraka prints past its logger.
func harakaStart(b []byte) bool {
	return hasPrefix(b, "loglevel: ") || hasPrefix(b, "log format: ") || hasPrefix(b, "Starting up Haraka ") ||
		hasPrefix(b, "Using iconv-lite ") || hasPrefix(b, "Reloaded file: ") || hasPrefix(b, "loaded TLD files: ") ||
		hasPrefix(b, "loaded Public Suffixes: ")
}

func (c *Correlator) haraka(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if harakaStart(l.msg) {
		return KindNoise, ReasonMTA
	}
	var part [3][]byte // level, id, plugin
	rest := l.msg
	for k := range part {
		if len(rest) == 0 || rest[0] != '[' {
			return KindUnparsed, ReasonShape
		}
		end := bytes.IndexByte(rest, ']')
		if end < 0 {
			return KindUnparsed, ReasonCut
		}
		part[k], rest = rest[1:end], bytes.TrimLeft(rest[end+1:], " ")
	}
	id := part[1]
	if len(id) > maxKey {
		return KindUnparsed, ReasonShape
	}
	l.msg = rest
	switch {
	case string(part[2]) == "core" && len(id) > 36:
		return c.harakaInbound(l, string(id))
	case string(part[2]) != "outbound":
		return KindNoise, ReasonMTA
	case len(id) >= 36:
		return c.harakaOutbound(l, emit, string(id))
	case hasPrefix(rest, "Created transaction: ") && len(rest) <= maxKey:
		e := c.open(l.host, l.key('m', l.text()[len("Created transaction: "):]), &l.in)
		e.known, e.hasSender = true, true // a bounce: null sender (RFC 5321, section 4.5.5)
		c.bound()
		return KindState, ReasonNone
	}
	return KindNoise, ReasonMTA
}

// harakaInbound keeps who sends what to whom.
func (c *Correlator) harakaInbound(l *mtaLine, id string) (Kind, Reason) {
	begin, recipient := hasPrefix(l.msg, "sender <"), hasPrefix(l.msg, "recipient <")
	if !begin && !recipient && !hasPrefix(l.msg, "message mid=") {
		return KindNoise, ReasonMTA
	}
	s := l.text()
	key := l.key('m', id)
	e := c.lookup(l.host, key)
	if !begin && !recipient {
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		mid, _, _ := strings.Cut(s[len("message mid="):], " ")
		c.queue.setString(e, &e.messageID, mid)
		c.queue.touch(e)
		c.bound()
		return KindState, ReasonNone
	}
	addr, rest, ok := cutAddress(s[strings.IndexByte(s, '<'):])
	if !ok || (recipient && addr == "") {
		return KindUnparsed, ReasonCut
	}
	if !strings.HasPrefix(rest, " code=OK ") && !strings.HasPrefix(rest, " code=CONT ") {
		return KindNoise, ReasonMTA // refused
	}
	switch {
	case begin:
		if e != nil {
			c.stats.Replaced++
			c.queue.remove(e)
		}
		e = c.open(l.host, key, &l.in)
		e.known, e.hasSender = true, true
		c.queue.setString(e, &e.sender, addr)
	case e == nil:
		return KindState, ReasonUnknownEntry
	default:
		if r := (recipientID{address: addr}); e.find(r) < 0 {
			c.queue.wait(e, r)
		}
		c.queue.touch(e)
	}
	c.bound()
	return KindState, ReasonNone
}

// harakaEntry returns the entry of an outbound id, which takes over its share of the transaction's recipients when it is
// first seen.
func (c *Correlator) harakaEntry(l *mtaLine, id string) *entry {
	if e := c.lookup(l.host, l.key('o', id)); e != nil {
		c.queue.touch(e)
		return e
	}
	dot := strings.LastIndexByte(id, '.')
	var parent *entry
	if dot > 0 {
		parent = c.lookup(l.host, l.key('m', id[:dot]))
	}
	e := c.open(l.host, l.key('o', id), &l.in)
	if parent == nil {
		return e
	}
	e.known, e.hasSender = parent.known, parent.hasSender
	c.queue.setString(e, &e.sender, parent.sender)
	c.queue.setString(e, &e.messageID, parent.messageID)
	nth, _ := readInt([]byte(id[dot+1:]))
	order := map[string]int64{}
	for i := range parent.waiting {
		r := parent.waiting[i].recipientID
		d := domainOf(r.address)
		if order[d] == 0 {
			order[d] = int64(len(order) + 1)
		}
		if order[d] == nth {
			c.queue.wait(e, r)
		}
	}
	if parent.done++; parent.done >= int64(len(order)) {
		c.queue.remove(parent)
	}
	return e
}

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
	}
	phase, ip, ok := harakaTrouble(words)
	if !ok {
		return KindNoise, ReasonMTA
	}
	c.queue.hint(c.harakaEntry(l, id), phase, words, "", ip)
	c.bound()
	return KindState, ReasonHint
}

// harakaTrouble reads what goes wrong with one of the hosts; "Tried all MXs" refers to it.
func harakaTrouble(words string) (phase schema.Phase, ip string, ok bool) {
	if rest, found := strings.CutPrefix(words, "Failed to get socket: "); found {
		if k := strings.LastIndexByte(rest, ' '); k >= 0 {
			ip = rest[k+1:]
		}
		return schema.Phase_CONNECT, withoutPort(ip), true
	}
	if rest, found := strings.CutPrefix(words, "Ongoing connection failed to "); found {
		ip, reason, _ := strings.Cut(rest, " : ")
		if what, found := strings.CutPrefix(reason, "socket timeout waiting on "); found {
			phase = harakaPhase(what)
		} else if strings.Contains(reason, "SSL routines") || strings.Contains(reason, "TLS") {
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
	return 0, "", strings.HasPrefix(words, "Unrecognized response from upstream server: ")
}

// harakaPhase maps the states of Haraka's client. "connect" is a connection that has not greeted yet.
func harakaPhase(what string) schema.Phase {
	switch strings.TrimSpace(what) {
	case "connect":
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
	case "dot", "mailbody":
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
	a.run = c.harakaEntry(l, id).nrcpt + 1
	l.key('o', id)
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// harakaDelivered ends those recipients that were not refused in this attempt. nrcpt counts the entry's attempts.
func (c *Correlator) harakaDelivered(l *mtaLine, emit emitFunc, id, words string) (Kind, Reason) {
	a := attempt{queueID: id, outcome: schema.Outcome_DELIVERED, origin: schema.Origin_REMOTE_REPLY}
	head, tail, ok := strings.Cut(words, ` response="`)
	if !ok {
		return KindUnparsed, ReasonCut
	}
	k := strings.LastIndex(tail, `" delay=`)
	if k < 0 {
		return KindUnparsed, ReasonCut
	}
	a.text = tail[:k] // the reply without its codes
	delay, _, _ := strings.Cut(tail[k+len(`" delay=`):], " ")
	a.delayMS, a.hasDelay = readMillis([]byte(delay))
	for f := range strings.FieldsSeq(head) {
		switch key, value, _ := strings.Cut(f, "="); key {
		case "host":
			a.host, a.relay = value, value
		case "ip":
			a.ip = value
		case "port":
			port, _ := readInt([]byte(value))
			a.port = int32(port & 0xffff)
		}
	}
	e := c.harakaEntry(l, id)
	a.run = e.nrcpt + 1
	events := 0
	l.key('o', id)
	for k := len(e.waiting) - 1; k >= 0; k-- {
		if r := &e.waiting[k]; r.run != a.run {
			a.recipient = r.address
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

// harakaEnd reads the end of an attempt for all recipients that are left.
func (c *Correlator) harakaEnd(l *mtaLine, emit emitFunc, id, reason string, outcome schema.Outcome) (Kind, Reason) {
	e := c.harakaEntry(l, id)
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
	for k := len(e.waiting) - 1; k >= 0; k-- {
		switch {
		case expired && told:
			c.give(l, emit, e, k, id, reason, nil)
		case expired:
			c.give(l, emit, e, k, id, reason, &a)
		default:
			a.recipient = e.waiting[k].address
			c.record(l, emit, &a)
		}
	}
	if len(e.waiting) == 0 {
		c.queue.remove(e)
	}
	return KindEvent, ReasonNone
}

// harakaWords judges a reason. Haraka does not say which command a reply to the whole message answers.
func harakaWords(a *attempt, why string, e *entry) {
	a.text = why
	const unread = "Unrecognized response from upstream server: "
	switch {
	case strings.HasPrefix(why, "Tried all MXs"):
		if e.note != "" {
			a.text, a.phase, a.ip = e.note, e.phase, e.peerIP
		}
	case strings.HasPrefix(why, "Upstream error: "):
		a.text, a.origin = why[len("Upstream error: "):], schema.Origin_REMOTE_REPLY
	case strings.HasPrefix(why, unread):
		a.text, a.origin = strings.TrimRight(strings.TrimSuffix(why[len(unread):], `\r`), "\r"), schema.Origin_REMOTE_REPLY
	case strings.HasPrefix(why, "DNS lookup failure"), strings.HasPrefix(why, "Nowhere to deliver mail to"),
		strings.Contains(why, "NULL MX"): // RFC 7505
		a.phase = schema.Phase_DNS
	case replyCode(why):
		a.origin = schema.Origin_REMOTE_REPLY
	}
}
