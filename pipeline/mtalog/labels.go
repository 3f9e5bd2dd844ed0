package mtalog

import (
	"bytes"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// SetSite tells what only the sender knows: whose a message is by what its lines say, and what a log leaves out. It counts
// from the next line on; entries keep the labels that they have. nil, the default, knows nothing. The site is no part of
// the table: whoever restores a table sets it again.
func (c *Correlator) SetSite(s *site.Site) { c.site = s }

// wants reports whether a label may depend on facts of a kind.
func (c *Correlator) wants(k site.FactKind) bool { return c.site.Wants(k) }

// learn takes a fact about an entry's message. The value need not outlive the call.
func (c *Correlator) learn(e *entry, mta Format, k site.FactKind, name, value string) {
	if value == "" || !c.site.Labels() {
		return
	}
	l := e.labels
	c.site.Label(&l, site.Fact{Kind: k, MTA: mta.String(), Host: e.host.name, Name: name, Value: value})
	if l.Ranks == e.labels.Ranks {
		return
	}
	c.queue.setString(e, &e.labels.Tenant, l.Tenant)
	c.queue.setString(e, &e.labels.Stream, l.Stream)
	c.queue.setString(e, &e.labels.Campaign, l.Campaign)
	e.labels.Ranks = l.Ranks
}

// learnSender takes the envelope sender, by which return paths and domains tell.
func (c *Correlator) learnSender(e *entry, mta Format) {
	c.learn(e, mta, site.FactSender, "", e.sender)
}

// complete writes into an event what its message is labelled with, and what the site knows of its way. l is nil for an
// event without a queue entry; transport is what tried to deliver last, which need not have written this line.
func (c *Correlator) complete(ev *schema.DeliveryEvent, l *site.Labels, transport string) {
	if c.site == nil {
		return
	}
	var labels site.Labels
	if l != nil {
		labels = *l
	}
	if c.site.Labels() {
		f := site.Fact{MTA: ev.Mta, Host: ev.MtaHost}
		if f.Kind, f.Value = site.FactTransport, transport; c.wants(f.Kind) {
			c.site.Label(&labels, f)
		}
		if f.Kind, f.Value = site.FactHost, ev.MtaHost; c.wants(f.Kind) {
			c.site.Label(&labels, f)
		}
		if l == nil && ev.HasSender {
			f.Kind, f.Value = site.FactSender, ev.Sender
			c.site.Label(&labels, f)
		}
	}
	ev.Tenant, ev.Stream, ev.Campaign = labels.Tenant, labels.Stream, labels.Campaign
	if ev.SourceIp == "" {
		ev.SourceIp = c.site.SourceIP(ev.MtaHost, ev.Mta, transport)
	}
	ev.SourceIp = c.site.Translate(ev.SourceIp)
}

// postfixFacts takes what a line of Postfix other than a delivery says about whose the message is.
func (c *Correlator) postfixFacts(e *entry, line []byte) {
	m := &c.msg
	switch m.shape {
	case shapeActive:
		c.learnSender(e, FormatPostfix)
	case shapeArrival:
		if c.wants(site.FactUser) {
			if user := fieldOf(line, ", sasl_username="); user != nil {
				c.learn(e, FormatPostfix, site.FactUser, "", clean(user))
			}
		}
		if c.wants(site.FactClient) {
			if client := fieldOf(line, ": client="); client != nil {
				c.learn(e, FormatPostfix, site.FactClient, "", clean(client))
			}
		}
	case shapeHeader:
		name := clean(m.header.of(line))
		value := clean(m.value.of(line))
		c.learn(e, FormatPostfix, site.FactHeader, name, value)
		if len(name) == len("Subject") && bytes.EqualFold([]byte(name), []byte("Subject")) {
			c.learn(e, FormatPostfix, site.FactSubject, "", value)
		}
	}
}

// fieldOf returns what stands between key and the next comma, nil without the key.
func fieldOf(line []byte, key string) []byte {
	i := bytes.Index(line, []byte(key))
	if i < 0 {
		return nil
	}
	rest := line[i+len(key):]
	if k := bytes.IndexByte(rest, ','); k >= 0 {
		rest = rest[:k]
	}
	return rest
}

// scanHeader reads "info: header NAME: VALUE from CLIENT; from=<s> to=<r> ..." (the same with "warning:"), which cleanup
// writes for the actions INFO and WARN of header_checks(5). The value is the sender's text and may hold all of that, too,
// so what cleanup adds is looked for from the end; and so may an address, so CLIENT has to be "local" or HOST[ADDRESS].
// cleanup cuts name and value at 200 bytes together, and writes "?" for a line break within.
func scanHeader(line []byte, i int, m *message) bool {
	rest := line[i:]
	n := 0
	switch {
	case hasPrefix(rest, "info: header "):
		n = len("info: header ")
	case hasPrefix(rest, "warning: header "):
		n = len("warning: header ")
	default:
		return false
	}
	from := i + n
	colon := bytes.IndexByte(line[from:], ':')
	end := headerEnd(line[from:])
	if colon <= 0 || colon > end {
		return false
	}
	value := from + colon + 1
	for value < from+end && line[value] == ' ' {
		value++
	}
	m.shape = shapeHeader
	m.header, m.value = spanOf(from, from+colon), spanOf(value, from+end)
	return true
}

// headerEnd returns the place of the " from CLIENT; from=<" behind a logged header, or -1.
func headerEnd(b []byte) int {
	const longest = 200 + 1 // src/cleanup/cleanup_message.c: "%.200s", and the blank
	for end := len(b); ; {
		if end = bytes.LastIndex(b[:end], []byte("; from=<")); end < 0 {
			return -1
		}
		at := bytes.LastIndex(b[:end], []byte(" from "))
		if at < 0 {
			return -1
		}
		if client := b[at+len(" from ") : end]; len(client) > 0 && at < longest && bytes.IndexByte(client, ' ') < 0 &&
			(string(client) == "local" || (client[len(client)-1] == ']' && bytes.IndexByte(client, '[') > 0)) {
			return at
		}
	}
}
