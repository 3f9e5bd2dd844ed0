package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// deliver emits the event of a delivery line and updates the entry.
func (c *Correlator) deliver(host string, in *Input, emit func(*schema.DeliveryEvent)) {
	m := &c.msg
	line := newTextLine(in.Line)
	ev := c.newEvent(FormatPostfix, host, line.cut(c.frame.instance))
	ev.QueueId = line.cut(m.queueID)
	ev.Recipient = line.cut(m.recipient)
	ev.OriginalRecipient = line.cut(m.original)
	ev.Domain = domainOf(ev.Recipient)
	ev.Relay = line.cut(m.relayHost)
	ev.RelayPort = m.relayPort
	ev.DelayMs, ev.HasDelay = m.delayMS, m.hasDelay
	if m.hasDelays {
		c.delays.Reset()
		c.delays.BeforeQmgrMs, c.delays.InQmgrMs, c.delays.ConnectMs, c.delays.TransmitMs = m.delaysMS[0], m.delaysMS[1], m.delaysMS[2], m.delaysMS[3]
		ev.Delays = &c.delays
	}
	suspended := c.answer(ev, line)
	if !m.relayIP.empty() && ev.RemoteIp != "" {
		c.mx.saw(ev.Domain, ev.RemoteHost, c.cfg.MaxDomains)
	} else if ev.Relay == "none" && !suspended {
		c.recall(ev)
	}
	if ev.Outcome != schema.Outcome_DELIVERED {
		c.raw.Line = line.raw()
	}
	made := attemptMade{suspended: suspended}
	if suspended && c.behind.others {
		made.behind = &c.behind
	}
	c.account(ev, host, m.queueID.of(in.Line), in, made)
	c.emit(ev, emit)
}

// answer fills in what the status and its text say.
func (c *Correlator) answer(ev *schema.DeliveryEvent, line textLine) (suspended bool) {
	m := &c.msg
	remote := !m.relayIP.empty()
	if remote {
		ev.RemoteHost = ev.Relay
		if ip := line.cut(m.relayIP); strings.IndexByte(ip, '/') < 0 {
			ev.RemoteIp = ip
		}
	}
	dsn := line.cut(m.dsn)
	text := line.cut(m.text)
	var reply string
	if m.status == statusSent {
		ev.Outcome, ev.Final, ev.Text = schema.Outcome_DELIVERED, true, text
		ev.Origin = schema.Origin_LOCAL_MTA
		if remote {
			ev.Origin, ev.Phase, reply = schema.Origin_REMOTE_REPLY, schema.Phase_EOM, text
		}
	} else {
		f := readWords(text, ev.Relay == "none")
		if f.open && !m.cut && strings.HasSuffix(line.cut(span{m.text.from, m.text.to + 1}), ")") {
			f = readWords(line.cut(span{m.text.from, m.text.to + 1}), ev.Relay == "none") // cut right behind the remote's own ")"
		}
		ev.Text, ev.Phase, ev.Origin = f.text, f.phase, f.origin
		if !remote && f.host != "" && !strings.EqualFold(f.host, ev.Domain) {
			ev.RemoteHost, ev.RemoteIp = splitHost(f.host)
		}
		switch {
		case f.suspended:
			ev.Outcome, suspended = schema.Outcome_SUSPENDED, true
			c.lookBehind(ev, dsn)
		case m.status == statusBounced:
			ev.Outcome, ev.Final = schema.Outcome_BOUNCED, true
		default:
			ev.Outcome = schema.Outcome_DEFERRED
		}
		if f.origin == schema.Origin_REMOTE_REPLY {
			reply = f.text
		}
	}
	code, own := smtpreply.Codes(reply)
	ev.SmtpCode = int32(code)
	switch {
	case own != "":
		// QUIRK: where classes differ ("550 4.2.1") or a tab follows, Postfix overlooks the remote's code and writes 5.0.0 in
		// dsn=; where it keeps a message in spite of a 5yz, it writes 4.x.x. The remote's own word is the evidence.
		ev.EnhancedCode, ev.EnhancedSource = own, schema.EnhancedSource_ENHANCED_REMOTE
	case dsn == "":
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	case spokenBy(reply, dsn):
		ev.EnhancedCode, ev.EnhancedSource = dsn, schema.EnhancedSource_ENHANCED_REMOTE
	default:
		ev.EnhancedCode, ev.EnhancedSource = dsn, schema.EnhancedSource_ENHANCED_MTA
	}
	return suspended
}

// lookBehind reads what made Postfix suspend a destination: a failure of an attempt for another message. Only what happens
// before any recipient is named counts, since the words may be about another recipient.
func (c *Correlator) lookBehind(ev *schema.DeliveryEvent, dsn string) {
	c.behind = cause{}
	f := readWords(strings.TrimPrefix(ev.Text, suspendedWords), ev.Relay == "none")
	switch f.phase {
	case schema.Phase_DNS, schema.Phase_CONNECT, schema.Phase_BANNER, schema.Phase_EHLO, schema.Phase_TLS, schema.Phase_AUTH:
	default:
		return
	}
	b := &c.behind
	*b = cause{
		others: true, at: ev.OccurredAtUs, enhanced: dsn, source: schema.EnhancedSource_ENHANCED_NONE,
		text: cutText(f.text, maxRawBytes), phase: f.phase,
		origin: f.origin, host: ev.RemoteHost, ip: ev.RemoteIp, instance: ev.Instance,
	}
	if dsn != "" {
		b.source = schema.EnhancedSource_ENHANCED_MTA
	}
	if f.origin == schema.Origin_REMOTE_REPLY {
		code, own := smtpreply.Codes(f.text)
		if b.code = int32(code); own != "" {
			b.enhanced, b.source = own, schema.EnhancedSource_ENHANCED_REMOTE
		}
	}
}
