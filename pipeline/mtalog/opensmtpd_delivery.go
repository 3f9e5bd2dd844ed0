package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

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
	if a.source = strings.Trim(a.source, "[]"); a.source == "-" {
		a.source = ""
	}
	if ip, host, ok := strings.Cut(relay, " ("); ok {
		a.ip, a.host = strings.Trim(ip, "[]"), strings.TrimSuffix(host, ")")
		relay = a.host
	}
	a.relay = relay
	a.delayMS, a.hasDelay = unitDelay(delay)
	if a.outcome, ok = opensmtpdResult(result); !ok {
		return KindUnparsed, ReasonFields
	}
	switch code, _ := smtpreply.Codes(a.text); {
	case a.ip != "" && code != 0:
		a.origin = schema.Origin_REMOTE_REPLY
	case a.ip != "" && strings.HasPrefix(a.text, "message too large for peer"):
		a.phase = schema.Phase_MAIL // found from the SIZE announced: RFC 1870, section 6
	case a.ip == "" && a.outcome != schema.Outcome_DELIVERED:
		c.opensmtpdNoHost(l, &a)
	}
	if a.ip != "" {
		c.opensmtpdLearnHost(l, &a)
	}
	c.opensmtpdRecord(l, emit, &a)
	return KindEvent, ReasonNone
}

// opensmtpdResult maps result=.
func opensmtpdResult(result string) (schema.Outcome, bool) {
	switch result {
	case "Ok":
		return schema.Outcome_DELIVERED, true
	case "TempFail":
		return schema.Outcome_DEFERRED, true
	case "PermFail", "LoopFail":
		return schema.Outcome_BOUNCED, true
	}
	return 0, false
}

// opensmtpdRecord emits the event; an envelope has one recipient.
func (c *Correlator) opensmtpdRecord(l *mtaLine, emit emitFunc, a *attempt) {
	key := l.key('m', a.queueID)
	c.record(l, emit, a)
	if e := c.lookup(l.host, key); e != nil && (a.outcome == schema.Outcome_DELIVERED || a.outcome == schema.Outcome_BOUNCED) {
		c.queue.remove(e)
	}
}

// opensmtpdLocal reads "mda delivery evpid=E from=<s> to=<r> [rcpt=<o> ]user=U delay=D result=R stat=TEXT".
func (c *Correlator) opensmtpdLocal(l *mtaLine, emit emitFunc) (Kind, Reason) {
	s, ok := strings.CutPrefix(l.text()[17+len("mda delivery "):], "evpid=")
	if !ok || !hexID(s, ' ') {
		return KindUnparsed, ReasonShape
	}
	a := attempt{queueID: s[:16], hasSender: true, origin: schema.Origin_LOCAL_MTA, relay: "local"}
	rest := s[17:]
	if a.sender, a.recipient, a.original, rest, ok = opensmtpdAddresses(rest, " "); !ok {
		return KindUnparsed, ReasonCut
	}
	if a.original == a.recipient {
		a.original = ""
	}
	var delay, result string
	if _, rest, ok = field(rest, " user=", " delay="); ok {
		if delay, rest, ok = strings.Cut(rest, " "); ok {
			result, rest, ok = field(rest, "result=", " stat=")
		}
	}
	if !ok {
		return KindUnparsed, ReasonCut
	}
	a.text = rest
	a.delayMS, a.hasDelay = unitDelay(delay)
	if a.outcome, ok = opensmtpdResult(result); !ok {
		return KindUnparsed, ReasonFields
	}
	c.opensmtpdRecord(l, emit, &a)
	return KindEvent, ReasonNone
}

// opensmtpdNoHost judges a failure before any session took the message.
func (c *Correlator) opensmtpdNoHost(l *mtaLine, a *attempt) {
	switch {
	case strings.HasPrefix(a.text, "No MX found"), strings.HasPrefix(a.text, "Temporary failure in MX lookup"),
		strings.HasPrefix(a.text, "Domain does not exist"), strings.HasPrefix(a.text, "Domain does not accept mail"),
		strings.HasPrefix(a.text, "Invalid domain name"), strings.HasPrefix(a.text, "Host not found"),
		strings.HasPrefix(a.text, "Loop detected"):
		a.phase = schema.Phase_DNS
		return
	case strings.HasPrefix(a.text, "All routes to destination blocked"), strings.HasPrefix(a.text, "Destination seem to reject all mails"):
		// By "smtpctl block", or because of other messages: this one was not tried.
		a.outcome, a.suspended, a.phase = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE
		return
	case !strings.HasPrefix(a.text, "Network error on destination MXs") || len(a.relay) > maxKey:
		return
	}
	e := c.opensmtpdLastError(l, strings.ToLower(a.relay))
	if e == nil {
		return
	}
	c.queue.touch(e)
	a.text, a.phase, a.host, a.ip = e.note, e.phase, e.peerHost, e.peerIP
	if _, reply, ok := strings.Cut(e.note, " rejected: "); ok {
		a.text, a.origin = reply, schema.Origin_REMOTE_REPLY
	}
}

// opensmtpdRoutePenalty is for how long a route that failed may stay closed (usr.sbin/smtpd/mta.c, DELAY_ROUTE_MAX): until
// then its last error is why nothing could be sent. A few minutes are for the queue.
const opensmtpdRoutePenalty = (60 + 10) * 60 * 1_000_000

// opensmtpdLastError finds the error of a domain's last session: of a host below the domain, of the host of that name, or
// of the host that took or refused its mail before. nil if the log does not say.
func (c *Correlator) opensmtpdLastError(l *mtaLine, domain string) *entry {
	e := c.lookup(l.host, l.key('d', domain))
	if e == nil {
		e = c.lookup(l.host, l.key('h', domain))
	}
	if e == nil {
		if known := c.lookup(l.host, l.key('r', domain)); known != nil {
			c.queue.touch(known)
			e = c.lookup(l.host, l.key('h', known.peerHost))
		}
	}
	if e == nil || c.frame.at-e.size > opensmtpdRoutePenalty {
		return nil
	}
	return e
}

// opensmtpdLearnHost remembers which host outside of its domain serves a domain.
func (c *Correlator) opensmtpdLearnHost(l *mtaLine, a *attempt) {
	domain, host := domainOf(a.recipient), strings.ToLower(a.host)
	below := len(host) > len(domain) && host[len(host)-len(domain)-1] == '.' && strings.HasSuffix(host, domain)
	if domain == "" || host == "" || below || host == domain || len(domain) > maxKey || len(host) > maxKey {
		return
	}
	e := c.open(l.host, l.key('r', domain), &l.in)
	e.known = true
	c.queue.setString(e, &e.peerHost, host)
	c.bound()
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
	if sender == "@" { // the null sender in the lines of the queue
		sender = ""
	}
	return sender, to, original, s, true
}

// opensmtpdFate reads "relay: Expire for E: from=<s>, to=<r>, rcpt=<o>, delay=D, stat=TEXT", or "delivery:" of a local
// recipient, and the same with Remove, for which the sender hears nothing.
func (c *Correlator) opensmtpdFate(l *mtaLine, emit emitFunc) (Kind, Reason) {
	_, rest, found := bytes.Cut(l.msg[:min(len(l.msg), 24)], []byte(": "))
	expire := hasPrefix(rest, "Expire for ")
	if !found || (!expire && !hasPrefix(rest, "Remove for ")) {
		return KindNoise, ReasonMTA
	}
	s := l.text()
	i := strings.Index(s, " for ") + len(" for ")
	if !hexID(s[i:], ':') {
		return KindUnparsed, ReasonShape
	}
	id := s[i : i+16]
	sender, to, original, after, ok := opensmtpdAddresses(s[i+18:], ", ")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	key := l.key('m', id)
	if !expire {
		e := c.lookup(l.host, key)
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.stats.Waiting++
		c.queue.remove(e)
		return KindState, ReasonNone
	}
	text := ""
	if k := strings.LastIndex(after, ", stat="); k >= 0 {
		text = after[k+len(", stat="):]
	}
	e := c.open(l.host, key, &l.in)
	if !e.hasSender {
		c.queue.setString(e, &e.sender, sender)
		e.hasSender = true
	}
	r := recipientID{to, original}
	k := e.find(r)
	if k < 0 && len(e.waiting) == 1 && e.waiting[0].address == to {
		k = 0 // a local delivery names the address written to where it is the same
	}
	if k < 0 {
		k = c.queue.wait(e, r)
	}
	c.give(l, emit, e, k, id, text, nil)
	c.queue.remove(e)
	return KindEvent, ReasonNone
}
