package feed

import (
	"strconv"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// mailgunEvent is the event-data of a webhook, or an event of the Events API, as far as it matters here.
type mailgunEvent struct {
	kind, severity, reason, id, at, to   string
	sender, sourceIP                     string
	messageID                            string
	code, enhanced, message, description string
	attempt, mxHost                      string
	tenant, stream                       string
	delayedBounce, hasEnvelope           bool
}

// mailgun reads {"signature":{...},"event-data":{...}}, or a bare event.
func (p *Parser) mailgun(r *reader) Reason {
	var e mailgunEvent
	for ok := r.object(); ok; ok = r.more() {
		if r.key != "event-data" {
			p.readMailgun(r, &e)
			continue
		}
		for ok := r.object(); ok; ok = r.more() {
			p.readMailgun(r, &e)
		}
	}
	ev := p.newEvent()
	ev.Final = true
	switch e.kind {
	case "delivered":
		ev.Outcome = schema.Outcome_DELIVERED
	case "failed":
		ev.Outcome = schema.Outcome_BOUNCED
		switch e.severity {
		case "temporary":
			ev.Outcome, ev.Final = schema.Outcome_DEFERRED, false
		case "permanent":
		default:
			return ReasonType
		}
		if e.delayedBounce {
			ev.Outcome, ev.Final = schema.Outcome_ASYNC_BOUNCE, true
		}
	case "rejected":
		ev.Outcome = schema.Outcome_BOUNCED
	case "complained":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "accepted":
		return p.noise(NoiseAccepted)
	case "opened", "clicked":
		return p.noise(NoiseEngagement)
	case "unsubscribed":
		return p.noise(NoiseUnsubscribe)
	case "stored":
		return p.noise(NoiseInbound)
	case "list_member_uploaded", "list_member_upload_error", "list_uploaded":
		return p.noise(NoiseAccount)
	case "":
		return ReasonFormat
	default:
		return ReasonType
	}
	var ok bool
	if ev.OccurredAtUs, ok = stamp(e.at); !ok {
		return ReasonTime
	}
	if e.to == "" {
		return ReasonRecipient
	}
	ev.MessageId = cut(e.messageID, maxString)
	ev.Sender, ev.HasSender = cut(e.sender, maxString), e.hasEnvelope
	ev.Tenant, ev.Stream = cut(e.tenant, maxString), cut(e.stream, maxString)
	e.answer(ev)
	p.send(ev, e.to, r.s[p.from:r.i], e.id)
	return reasonNone
}

func (p *Parser) readMailgun(r *reader, e *mailgunEvent) {
	switch r.key {
	case "event":
		e.kind = r.str()
	case "severity":
		e.severity = r.str()
	case "reason":
		e.reason = r.str()
	case "id":
		e.id = r.str()
	case "timestamp":
		e.at = r.scalar()
	case "recipient":
		e.to = bare(r.str())
	case "envelope":
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "sender":
				e.hasEnvelope = r.kind() == '"'
				e.sender = bare(r.str())
			case "sending-ip":
				e.sourceIP = r.str()
			}
		}
	case "message":
		for ok := r.object(); ok; ok = r.more() {
			if r.key != "headers" {
				continue
			}
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "message-id" {
					e.messageID = r.str()
				}
			}
		}
	case "flags":
		for ok := r.object(); ok; ok = r.more() {
			if r.key == "is-delayed-bounce" {
				e.delayedBounce = r.scalar() == "true"
			}
		}
	case "reject":
		for ok := r.object(); ok; ok = r.more() {
			if r.key == "reason" {
				e.message = r.str()
			}
		}
	case "user-variables":
		p.readNames(r, &e.tenant, &e.stream)
	case "delivery-status":
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "code":
				e.code = r.scalar()
			case "enhanced-code":
				e.enhanced = r.str()
			case "message":
				e.message = r.str()
			case "description":
				e.description = r.str()
			case "attempt-no":
				e.attempt = r.scalar()
			case "mx-host":
				e.mxHost = r.str()
			}
		}
	}
}

// answer reads delivery-status. Its code is the remote's only where a remote was reached: Mailgun has its own for what it
// finds by itself, 498 and 499 and those from 600 on (605 previously bounced, 606 unsubscribed, 607 complained).
func (e *mailgunEvent) answer(ev *schema.DeliveryEvent) {
	if ev.Outcome == schema.Outcome_COMPLAINT {
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
		return
	}
	ev.SourceIp = cut(e.sourceIP, maxString)
	ev.RemoteHost = cut(e.mxHost, maxString)
	ev.Attempt = count(e.attempt)
	words := e.message
	if words == "" {
		words = e.description
	}
	if words == "" {
		words = e.reason
	}
	code, _ := strconv.Atoi(e.code)
	quoted, _ := smtpreply.Codes(words)
	own := code == 498 || code == 499 || code >= 600 || (code < 200 && quoted == 0) ||
		strings.HasPrefix(e.reason, "suppress-") || e.reason == "old" || e.kind == "rejected"
	a := answer{text: words, origin: schema.Origin_ESP, enhanced: e.enhanced, phase: apiPhase(words)}
	if !own {
		a = answer{text: words, origin: schema.Origin_REMOTE_REPLY, enhanced: e.enhanced, code: code}
	}
	switch {
	case ev.Outcome == schema.Outcome_ASYNC_BOUNCE:
		a.origin, a.phase = schema.Origin_ASYNC_DSN, schema.Phase_ASYNC
	case ev.Outcome == schema.Outcome_DELIVERED && !own:
		a.phase = schema.Phase_EOM
	case ev.Outcome == schema.Outcome_BOUNCED && e.reason == "old":
		ev.Outcome, a.phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
	}
	fill(ev, a)
}
