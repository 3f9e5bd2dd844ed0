package feed

import (
	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// sendGrid reads one event of SendGrid's Event Webhook, which sends arrays. A bounce may come without status, reason
// and message id.
func (p *Parser) sendGrid(r *reader) Reason {
	var kind, bounceType, at, id, messageID, smtpID, to, reason, response, status, attempt, ip, pool, tenant, stream string
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "event":
			kind = r.str()
		case "type":
			bounceType = r.str()
		case "timestamp":
			at = r.scalar()
		case "sg_event_id":
			id = r.str()
		case "sg_message_id":
			messageID = r.str()
		case "smtp-id":
			smtpID = r.str()
		case "email":
			to = bare(r.str())
		case "reason":
			reason = r.str()
		case "response":
			response = r.str()
		case "status":
			status = r.scalar()
		case "attempt":
			attempt = r.scalar()
		case "ip":
			ip = r.str()
		case "pool":
			if r.kind() != '{' {
				pool = r.scalar()
				continue
			}
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "name" {
					pool = r.str()
				}
			}
		case "unique_args", "custom_args":
			p.readNames(r, &tenant, &stream)
		default:
			p.readName(r, &tenant, &stream) // custom arguments stand beside the rest
		}
	}
	ev := p.newEvent()
	ev.Final = true
	words := reason
	switch kind {
	case "delivered":
		ev.Outcome, words = schema.Outcome_DELIVERED, response
	case "deferred":
		ev.Outcome, ev.Final = schema.Outcome_DEFERRED, false
		if response != "" {
			words = response
		}
	case "bounce", "blocked", "dropped":
		ev.Outcome = schema.Outcome_BOUNCED
		if words == "" {
			words = response
		}
	case "spamreport":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "processed":
		return p.noise(NoiseAccepted)
	case "open", "click":
		return p.noise(NoiseEngagement)
	case "unsubscribe", "group_unsubscribe", "group_resubscribe":
		return p.noise(NoiseUnsubscribe)
	case "account_status_change":
		return p.noise(NoiseAccount)
	case "":
		return ReasonFormat
	default:
		return ReasonType
	}
	var ok bool
	if ev.OccurredAtUs, ok = stamp(at); !ok {
		return ReasonTime
	}
	if to == "" {
		return ReasonRecipient
	}
	ev.QueueId, ev.MessageId = cut(messageID, maxString), cut(smtpID, maxString)
	ev.Tenant, ev.Stream, ev.Instance = cut(tenant, maxString), cut(stream, maxString), cut(pool, maxString)
	ev.Attempt = count(attempt)
	a := apiAnswer(words, status)
	switch {
	case kind == "spamreport":
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
		p.send(ev, to, r.s[p.from:r.i], id)
		return reasonNone
	case kind == "dropped":
		// Never sent: on one of SendGrid's lists, or refused there. The reason may quote an older reply.
		a.origin, a.phase = schema.Origin_ESP, schema.Phase_PHASE_UNSPECIFIED
	default:
		ev.SourceIp = cut(ip, maxString) // of opens and clicks it would be the reader's
		if a.origin == schema.Origin_REMOTE_REPLY && kind == "delivered" {
			a.phase = schema.Phase_EOM
		}
	}
	if bounceType == "expired" || (kind == "bounce" && a.origin == schema.Origin_ESP && expiredStatus(status)) {
		ev.Outcome, a.phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
	}
	if !smtpreply.ValidEnhanced(a.enhanced) {
		a.enhanced = ""
	}
	fill(ev, a)
	p.send(ev, to, r.s[p.from:r.i], id)
	return reasonNone
}
