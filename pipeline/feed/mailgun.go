package feed

import (
	"cmp"
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
	headerTo, agent, bot                 string
	delayedBounce, testMode, hasEnvelope bool
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
	if e.testMode {
		return p.noise(NoiseHandshake) // taken over and thrown away
	}
	ev := p.newEvent()
	ev.Final = true
	words := ""
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
			return p.unknownType(e.kind + " " + cut(e.severity, maxType))
		}
		if e.delayedBounce {
			ev.Outcome, ev.Final = schema.Outcome_ASYNC_BOUNCE, true
		}
	case "rejected": // before there was a message for each recipient: the header may be all that names one
		ev.Outcome = schema.Outcome_BOUNCED
		e.to = cmp.Or(e.to, soleAddress(e.headerTo))
	case "complained":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "accepted":
		return p.noise(NoiseAccepted)
	case "opened":
		ev.Outcome, ev.Machine = schema.Outcome_OPENED, e.bot != "" || prefetched(e.agent)
	case "clicked":
		ev.Outcome, ev.Machine = schema.Outcome_CLICKED, e.bot != ""
	case "unsubscribed":
		ev.Outcome, words = schema.Outcome_UNSUBSCRIBED, e.kind
	case "stored":
		return p.noise(NoiseInbound)
	case "list_member_uploaded", "list_member_upload_error", "list_uploaded":
		return p.noise(NoiseAccount)
	case "":
		return ReasonFormat
	default:
		return p.unknownType(e.kind)
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
	if e.id != "" {
		ev.FeedEventId = cut(e.id+"/"+e.at, maxString) // the id alone is unique within a day
	}
	switch ev.Outcome {
	case schema.Outcome_COMPLAINT, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED:
		p.quiet(ev, words)
	default:
		p.mailgunAnswer(ev, &e)
	}
	p.send(ev, e.to, r.s[p.from:r.i])
	return reasonNone
}

func (p *Parser) readMailgun(r *reader, e *mailgunEvent) {
	p.look(placeTop, r)
	switch r.key {
	case "event":
		e.kind = r.str()
	case "severity":
		e.severity = r.str()
	case "reason":
		e.reason = r.str()
	case "id":
		e.id = r.scalar()
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
				switch r.key {
				case "message-id":
					e.messageID = r.str()
				case "to":
					e.headerTo = r.str()
				case "subject":
					p.subject(r.str())
				}
			}
		}
	case "flags":
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "is-delayed-bounce":
				e.delayedBounce = isTrue(r.scalar())
			case "is-test-mode":
				e.testMode = isTrue(r.scalar())
			}
		}
	case "reject":
		for ok := r.object(); ok; ok = r.more() {
			if r.key == "reason" {
				e.message = r.str()
			}
		}
	case "client-info":
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "bot":
				e.bot = r.str()
			case "user-agent":
				e.agent = r.str()
			}
		}
	case "user-variables":
		p.lookIn(placeVariables, r)
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

// mailgunAnswer reads delivery-status. Its code is the remote's only where a remote was reached: Mailgun has its own for what it
// finds by itself, 498 and 499 and those from 600 on (605 previously bounced, 606 unsubscribed, 607 complained).
func (p *Parser) mailgunAnswer(ev *schema.DeliveryEvent, e *mailgunEvent) {
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
	p.unsent = strings.HasPrefix(e.reason, "suppress-") || e.kind == "rejected"
	code := number(e.code)
	quoted, _ := smtpreply.Codes(words)
	own := code == 498 || code == 499 || code >= 600 || (code < 200 && quoted == 0) ||
		p.unsent || e.reason == "old"
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
