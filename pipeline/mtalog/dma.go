package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// The DragonFly Mail Agent writes its queue id in the tag's brackets: "dma[H]" for a message, "dma[H.R]" for each of its
// recipients. An attempt begins with "<r> trying delivery" and may fail at several hosts, one line each; a timeout or a
// lost connection is not logged at all, and neither is the reply to a success. dma.c, net.c.

func (c *Correlator) dma(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if hasPrefix(l.msg, "Server ") || hasPrefix(l.msg, "SSL initialization ") {
		return KindNoise, ReasonMTA // half of all lines
	}
	id := string(c.frame.pid.of(l.in.Line))
	if id == "" || len(id) > maxKey {
		return KindUnparsed, ReasonShape
	}
	switch {
	case hasPrefix(l.msg, "new mail from user="):
		return c.dmaArrival(l, id)
	case hasPrefix(l.msg, "mail to=<"):
		return c.dmaQueued(l, id)
	case hasPrefix(l.msg, "<"):
		return c.dmaRecipient(l, emit, id)
	case hasPrefix(l.msg, "trying remote delivery to "):
		host, ip, _ := dmaHost(l.text()[len("trying remote delivery to "):])
		e := c.lookup(l.host, l.key('m', id))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.queue.touch(e)
		c.queue.hint(e, 0, "", host, ip)
		return KindState, ReasonNone
	case hasPrefix(l.msg, "remote delivery succeeded but QUIT failed: "):
		return KindNoise, ReasonMTA // "delivery successful" follows
	case hasPrefix(l.msg, "connect to "), hasPrefix(l.msg, "remote delivery "), hasPrefix(l.msg, dmaGreeting):
		return c.dmaFailed(l, emit, id)
	case hasPrefix(l.msg, "delivery failed, bouncing as "):
		return c.dmaGivenUp(l, emit, id)
	}
	return KindNoise, ReasonMTA
}

func (c *Correlator) dmaArrival(l *mtaLine, id string) (Kind, Reason) {
	_, from, ok := strings.Cut(l.text(), " envelope_from=")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	sender, _, ok := cutAddress(from)
	if !ok {
		return KindUnparsed, ReasonCut
	}
	e := c.open(l.host, l.key('m', id), &l.in)
	e.known, e.hasSender = true, true
	c.queue.setString(e, &e.sender, sender)
	return KindState, ReasonNone
}

// dmaQueued reads "mail to=<r> queued as H.R" and makes the recipient's entry. An id comes back as soon as it is free.
func (c *Correlator) dmaQueued(l *mtaLine, id string) (Kind, Reason) {
	to, rest, ok := cutAddress(l.text()[len("mail to="):])
	if !ok || to == "" {
		return KindUnparsed, ReasonCut
	}
	child, ok := strings.CutPrefix(rest, " queued as ")
	if !ok || len(child) > maxKey {
		return KindUnparsed, ReasonShape
	}
	parent := c.lookup(l.host, l.key('m', id))
	if child == id {
		return KindUnparsed, ReasonShape
	}
	key := l.key('m', child)
	if e := c.lookup(l.host, key); e != nil {
		c.stats.Replaced++
		c.queue.remove(e)
	}
	e := c.open(l.host, key, &l.in)
	e.known = true
	if parent != nil {
		c.queue.touch(parent)
		e.hasSender = parent.hasSender
		c.queue.setString(e, &e.sender, parent.sender)
	}
	c.queue.wait(e, recipientID{address: to})
	return KindState, ReasonNone
}

// dmaRecipient reads "<r> trying delivery" and "<r> delivery successful".
func (c *Correlator) dmaRecipient(l *mtaLine, emit emitFunc, id string) (Kind, Reason) {
	to, words, ok := cutAddress(l.text())
	if !ok || to == "" {
		return KindUnparsed, ReasonShape
	}
	switch words {
	case " trying delivery":
		if message, _, ok := strings.Cut(id, "."); ok {
			if parent := c.lookup(l.host, l.key('m', message)); parent != nil {
				c.queue.remove(parent) // all recipients are queued before the first is tried
			}
		}
		e := c.open(l.host, l.key('m', id), &l.in)
		if len(e.waiting) == 0 {
			c.queue.wait(e, recipientID{address: to})
		}
		e.nrcpt++ // counts the attempts
		c.queue.hint(e, 0, "", "", "")
		return KindState, ReasonNone
	case " delivery successful":
		a := attempt{queueID: id, recipient: to, outcome: schema.Outcome_DELIVERED}
		e := c.lookup(l.host, l.key('m', id))
		if e != nil {
			a.host, a.ip, a.relay, a.run = e.peerHost, e.peerIP, e.peerHost, e.nrcpt
		}
		c.record(l, emit, &a)
		if e != nil {
			c.queue.remove(e)
		}
		return KindEvent, ReasonNone
	}
	return KindUnparsed, ReasonShape
}

// dmaHost reads "HOST [IP] ...".
func dmaHost(s string) (host, ip, rest string) {
	if host, after, ok := strings.Cut(s, " ["); ok {
		if ip, rest, ok := strings.Cut(after, "]"); ok {
			return host, ip, rest
		}
	}
	return "", "", s
}

// dmaFailed reads
//
//	connect to HOST [IP] failed: WORDS
//	remote delivery deferred: HOST [IP] failed after COMMAND: REPLY
//	remote delivery deferred: WORDS
//	remote delivery to HOST [IP] failed after COMMAND: REPLY
//	remote delivery failed: WORDS
//	Could not perform server greeting at HOST [IP]: REPLY
//
// The last three are final: "delivery failed, bouncing as" follows and tells the same.
func (c *Correlator) dmaFailed(l *mtaLine, emit emitFunc, id string) (Kind, Reason) {
	s := l.text()
	e := c.lookup(l.host, l.key('m', id))
	if e == nil || len(e.waiting) == 0 {
		return KindState, ReasonUnknownEntry
	}
	a := attempt{
		queueID: id, recipient: e.waiting[0].address, outcome: schema.Outcome_DEFERRED, origin: schema.Origin_LOCAL_MTA,
		host: e.peerHost, ip: e.peerIP, run: e.nrcpt,
	}
	if where, ok := strings.CutPrefix(s, "connect to "); ok {
		var rest string
		a.host, a.ip, rest = dmaHost(where)
		a.text, a.phase = strings.TrimPrefix(rest, " failed: "), schema.Phase_CONNECT
	} else if where, ok := strings.CutPrefix(s, "remote delivery deferred: "); ok {
		dmaWords(&a, where)
	} else if where, ok := strings.CutPrefix(s, "remote delivery to "); ok {
		a.outcome = schema.Outcome_BOUNCED
		dmaWords(&a, where)
	} else if where, ok := strings.CutPrefix(s, "remote delivery failed: "); ok {
		a.outcome = schema.Outcome_BOUNCED
		dmaWords(&a, where)
	} else if where, ok := strings.CutPrefix(s, dmaGreeting); ok {
		a.outcome, a.phase = schema.Outcome_BOUNCED, schema.Phase_EHLO
		var rest string
		a.host, a.ip, rest = dmaHost(where)
		dmaReply(&a, strings.TrimPrefix(rest, ": "))
	} else if s == "remote delivery deferred" {
		a.text, a.phase = s, schema.Phase_TLS // a certificate of its own that cannot be used: the line before says why
	} else {
		return KindUnparsed, ReasonShape
	}
	a.relay = a.host
	c.record(l, emit, &a)
	if a.outcome == schema.Outcome_BOUNCED {
		c.queue.remove(e)
	}
	return KindEvent, ReasonNone
}

// dmaWords reads "HOST [IP] failed after COMMAND: REPLY", or words of dma's own.
func dmaWords(a *attempt, s string) {
	host, ip, rest := dmaHost(s)
	after, ok := strings.CutPrefix(rest, " failed after ")
	if host != "" && ok {
		command, reply, _ := strings.Cut(after, ": ")
		a.host, a.ip, a.phase = host, ip, dmaPhase(command)
		dmaReply(a, reply)
		return
	}
	if reply, ok := strings.CutPrefix(s, "could not perform server greeting: "); ok {
		a.phase = schema.Phase_EHLO
		dmaReply(a, reply)
		return
	}
	a.text = s
	switch {
	case strings.HasPrefix(s, "DNS lookup failure"):
		a.phase, a.host, a.ip = schema.Phase_DNS, "", ""
	case strings.HasPrefix(s, "SSL "), strings.Contains(s, "STARTTLS"), strings.HasPrefix(s, "Peer did not provide certificate"):
		a.phase = schema.Phase_TLS
	case strings.HasPrefix(s, "AUTH "), strings.HasPrefix(s, "Authentication failed"), strings.HasPrefix(s, "SMTP login failed"):
		a.phase = schema.Phase_AUTH
		if _, reply, ok := strings.Cut(s, "failed: "); ok && replyCode(reply) {
			a.text, a.origin = reply, schema.Origin_REMOTE_REPLY
		}
	}
}

// dmaReply takes what the server said, or dma's own words about it ("invalid syntax in reply from server").
func dmaReply(a *attempt, reply string) {
	a.text = reply
	if replyCode(reply) {
		a.origin = schema.Origin_REMOTE_REPLY
	}
}

// dmaGreeting begins the refusal of EHLO and HELO, dma 0.14: net.c, deliver_to_host.
const dmaGreeting = "Could not perform server greeting at "

// dmaPhase maps the command named behind "failed after": net.c, deliver_to_host.
func dmaPhase(command string) schema.Phase {
	switch command {
	case "connect":
		return schema.Phase_BANNER
	case "final DATA":
		return schema.Phase_EOM
	}
	return phaseOf(command)
}

// dmaGivenUp ends a recipient whose last line was no final failure: the queue's lifetime is over.
func (c *Correlator) dmaGivenUp(l *mtaLine, emit emitFunc, id string) (Kind, Reason) {
	e := c.lookup(l.host, l.key('m', id))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	if len(e.waiting) == 0 {
		c.queue.remove(e)
		return KindState, ReasonNobody
	}
	for len(e.waiting) > 0 {
		c.give(l, emit, e, 0, id, l.text(), nil)
	}
	c.queue.remove(e)
	return KindEvent, ReasonNone
}
