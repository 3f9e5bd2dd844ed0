package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/site"
)

// A transaction UUID.N names its sender, recipients and Message-ID; its outbound part UUID.N.M delivers to the M-th of its
// domains, in the order of their first recipient (with always_split to the M-th recipient), and names recipients only where
// RCPT was refused. "Temp failing" and "bouncing mail" speak of all that are left. A bounce of Haraka's own is UUID with
// UUID.1, and none of its lines names a recipient. outbound/hmail.js, outbound/index.js.

func (c *Correlator) haraka(l *mtaLine, emit emitFunc) (Kind, Reason) {
	l.msg = harakaPlain(l.msg)
	if harakaStart(l.msg) {
		return KindNoise, ReasonMTA
	}
	id, origin, words, reason := harakaParts(l.msg, harakaWanted)
	if reason != ReasonNone {
		return KindUnparsed, reason
	}
	if len(id) > maxKey {
		return KindUnparsed, ReasonShape
	}
	if !harakaWanted(id, origin) {
		return KindNoise, ReasonMTA
	}
	if l.msg[0] == '[' && len(words) > 0 && &words[len(words)-1] == &l.in.Line[len(l.in.Line)-1] {
		l.msg = words // the end of the line
	} else {
		l.text()
		l.msg, l.str = words, clean(words)
	}
	switch {
	case string(origin) == "core":
		return c.harakaInbound(l, string(id))
	case len(id) >= 36:
		kind, reason := c.harakaOutbound(l, emit, string(id))
		c.bound()
		return kind, reason
	case hasPrefix(words, "Transaction delivery for domain: "):
		return c.harakaPart(l)
	case hasPrefix(words, "Created transaction: ") && len(words) <= maxKey:
		e := c.open(l.host, l.key('m', l.text()[len("Created transaction: "):]), &l.in)
		e.known, e.hasSender = true, true // a bounce: null sender (RFC 5321, section 4.5.5)
		c.bound()
		return KindState, ReasonNone
	}
	return KindNoise, ReasonMTA
}

// harakaWanted tells whether lines with that id and origin may say something.
func harakaWanted(id, origin []byte) bool {
	return (string(origin) == "core" && len(id) >= 36) || string(origin) == "outbound"
}

// harakaInbound keeps who sends what to whom.
func (c *Correlator) harakaInbound(l *mtaLine, id string) (Kind, Reason) {
	switch {
	case hasPrefix(l.msg, "sender <"), hasPrefix(l.msg, "recipient <"), hasPrefix(l.msg, "message mid="):
	case hasPrefix(l.msg, "queue code="):
		return c.harakaQueued(l, id)
	case len(id) == 36 && (hasPrefix(l.msg, "connect ip=") || hasPrefix(l.msg, "disconnect ip=")):
		return c.harakaClient(l, id)
	default:
		return KindNoise, ReasonMTA
	}
	s := l.text()
	key := l.key('m', id)
	e := c.lookup(l.host, key)
	if strings.HasPrefix(s, "message mid=") {
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		mid, _ := harakaValue(s[len("message mid="):])
		c.queue.setString(e, &e.messageID, mid)
		c.queue.touch(e)
		c.bound()
		return KindState, ReasonNone
	}
	begin := s[0] == 's'
	addr, rest, ok := cutAddress(s[strings.IndexByte(s, '<'):])
	if !ok || (!begin && addr == "") {
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
		if c.site.Labels() {
			c.learnSender(e, FormatHaraka)
			if client := c.lookup(l.host, l.key('c', id[:36])); client != nil {
				c.learn(e, FormatHaraka, site.FactClient, "", client.peerIP)
			}
		}
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

// harakaClient keeps the address of a connection for as long as it lasts, if a label asks for it. Who logged in is not
// logged.
func (c *Correlator) harakaClient(l *mtaLine, id string) (Kind, Reason) {
	if !c.wants(site.FactClient) {
		return KindNoise, ReasonMTA
	}
	ip, connect := strings.CutPrefix(l.text(), "connect ip=")
	key := l.key('c', id)
	if !connect {
		if e := c.lookup(l.host, key); e != nil {
			c.queue.remove(e)
		}
		return KindState, ReasonNone
	}
	ip, _ = harakaValue(ip)
	e := c.open(l.host, key, &l.in)
	e.known = true
	c.queue.hint(e, 0, "", "", ip)
	c.bound()
	return KindState, ReasonNone
}

// How a host forms the parts of a transaction: outbound.ini, always_split. One setting holds for all messages, and the first
// message by which the two can be told apart tells.
const (
	harakaByDomain    = 1
	harakaByRecipient = 2
)

// harakaQueued counts the parts that are made of a transaction between its "queue code=CONT" and its "queue code=OK". Where
// another one comes between, nothing is learned from either.
func (c *Correlator) harakaQueued(l *mtaLine, id string) (Kind, Reason) {
	parent := c.lookup(l.host, l.key('m', id))
	if parent == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(parent)
	const forgotten = 10_000_000 // microseconds after which the end of a transaction must have been lost
	key := l.key('q', "")
	e := c.lookup(l.host, key)
	lost := e == nil || e.host.clock-e.touched > forgotten
	e = c.open(l.host, key, &l.in)
	if e.known = true; lost {
		e.done, e.size = 0, 0 // transactions that are being queued, and parts so far
		c.queue.setString(e, &e.note, "")
	}
	if hasPrefix(l.msg, "queue code=CONT ") {
		if e.done++; e.done > 1 {
			id = ""
		}
		e.size = 0
		c.queue.setString(e, &e.note, id)
		c.bound()
		return KindState, ReasonNone
	}
	if e.note == id {
		switch domains := harakaDomains(parent); {
		case domains == int64(len(parent.waiting)): // both ways are the same
		case e.size == domains:
			e.nrcpt = harakaByDomain
		case e.size == int64(len(parent.waiting)):
			e.nrcpt = harakaByRecipient
		}
	}
	e.done = max(e.done-1, 0)
	c.queue.setString(e, &e.note, "")
	c.bound()
	return KindState, ReasonNone
}

// harakaPart reads "Transaction delivery for domain: D", which does not say of which transaction: bounces have such lines,
// too. Those of the transaction's own domains count.
func (c *Correlator) harakaPart(l *mtaLine) (Kind, Reason) {
	e := c.lookup(l.host, l.key('q', ""))
	if e == nil || e.note == "" {
		return KindState, ReasonUnknownEntry
	}
	domain := address.NormalizeDomain(l.text()[len("Transaction delivery for domain: "):])
	if parent := c.lookup(l.host, l.key('m', e.note)); parent != nil {
		for i := range parent.waiting {
			if domainOf(parent.waiting[i].address) == domain {
				e.size++
				break
			}
		}
	}
	c.queue.touch(e)
	return KindState, ReasonNone
}

// harakaDomains counts the domains of a transaction.
func harakaDomains(e *entry) int64 {
	if len(e.waiting) < 2 {
		return int64(len(e.waiting))
	}
	seen := make(map[string]bool, len(e.waiting))
	for i := range e.waiting {
		seen[domainOf(e.waiting[i].address)] = true
	}
	return int64(len(seen))
}
