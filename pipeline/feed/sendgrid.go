package feed

import (
	"cmp"

	"carom.dev/carom/schema"
)

// sendGridEvent is one event of SendGrid's Event Webhook, as far as it matters here.
type sendGridEvent struct {
	kind, bounceType, at, id, to      string
	messageID, smtpID                 string
	reason, response, status, attempt string
	ip, pool, agent, machine, group   string
	campaignID, campaign, singleSend  string
	singleSendID                      string
}

// sendGrid reads one event, which come in arrays. A bounce may come without status, reason and message id.
func (p *Parser) sendGrid(r *reader) Reason {
	var e sendGridEvent
	for ok := r.object(); ok; ok = r.more() {
		p.readSendGrid(r, &e)
	}
	ev := p.newEvent()
	ev.Final = true
	words := e.reason
	switch e.kind {
	case "delivered":
		ev.Outcome, words = schema.Outcome_DELIVERED, e.response
	case "deferred":
		ev.Outcome, ev.Final = schema.Outcome_DEFERRED, false
		if e.response != "" {
			words = e.response
		}
	case "bounce", "blocked", "dropped":
		ev.Outcome = schema.Outcome_BOUNCED
		if words == "" {
			words = e.response
		}
	case "spamreport":
		ev.Outcome, words = schema.Outcome_COMPLAINT, ""
	case "open":
		ev.Outcome, words = schema.Outcome_OPENED, ""
		ev.Machine = e.machine == "true" || prefetched(e.agent)
	case "click":
		ev.Outcome, words = schema.Outcome_CLICKED, ""
		ev.Machine = e.machine == "true"
	case "unsubscribe", "group_unsubscribe":
		ev.Outcome, words = schema.Outcome_UNSUBSCRIBED, e.kind
		if e.group != "" {
			words += " asm_group_id=" + e.group
		}
	case "group_resubscribe":
		return p.noise(NoiseSubscription)
	case "processed":
		return p.noise(NoiseAccepted)
	case "account_status_change":
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
	ev.QueueId, ev.MessageId = cut(e.messageID, maxString), cut(e.smtpID, maxString)
	ev.Instance, ev.Attempt = cut(e.pool, maxString), count(e.attempt)
	ev.FeedEventId = e.eventID()
	p.unsent = e.kind == "dropped"
	setLabels(ev, "", "", cmp.Or(e.campaign, e.singleSend, e.campaignID, e.singleSendID))
	p.sendGridAnswer(ev, &e, words)
	p.send(ev, e.to, r.s[p.from:r.i])
	return reasonNone
}

func (p *Parser) readSendGrid(r *reader, e *sendGridEvent) {
	p.look(placeTop, r)
	p.look(placeArgs, r) // custom arguments stand beside the rest
	switch r.key {
	case "event":
		e.kind = r.str()
	case "type":
		e.bounceType = r.str()
	case "timestamp":
		e.at = r.scalar()
	case "sg_event_id":
		e.id = r.scalar()
	case "sg_message_id":
		e.messageID = r.scalar()
	case "smtp-id":
		e.smtpID = r.str()
	case "email":
		e.to = bare(r.str())
	case "reason":
		e.reason = r.str()
	case "response":
		e.response = r.str()
	case "status":
		e.status = r.scalar()
	case "attempt":
		e.attempt = r.scalar()
	case "ip":
		e.ip = r.str()
	case "useragent":
		e.agent = r.str()
	case "sg_machine_open":
		e.machine = r.scalar()
	case "asm_group_id":
		e.group = r.scalar()
	case "marketing_campaign_id":
		e.campaignID = r.scalar()
	case "marketing_campaign_name":
		e.campaign = r.scalar()
	case "singlesend_id":
		e.singleSendID = r.scalar()
	case "singlesend_name":
		e.singleSend = r.scalar()
	case "pool":
		if r.kind() != '{' {
			e.pool = r.scalar()
			return
		}
		for ok := r.object(); ok; ok = r.more() {
			if r.key == "name" {
				e.pool = r.str()
			}
		}
	case "unique_args", "custom_args":
		p.lookIn(placeArgs, r)
	}
}

// eventID is SendGrid's own; what comes without is known by its message and time.
func (e *sendGridEvent) eventID() string {
	switch {
	case e.id != "":
		return cut(e.id, maxString)
	case e.messageID != "":
		return cut(e.messageID+"/"+e.at, maxString)
	}
	return ""
}

func (p *Parser) sendGridAnswer(ev *schema.DeliveryEvent, e *sendGridEvent, words string) {
	switch ev.Outcome {
	case schema.Outcome_COMPLAINT, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED:
		p.quiet(ev, words)
		return
	}
	a := apiAnswer(words, e.status)
	if e.kind == "dropped" {
		// Never sent: on one of SendGrid's lists, or refused there. The reason may quote an older reply.
		a.origin, a.phase = schema.Origin_ESP, schema.Phase_PHASE_UNSPECIFIED
	} else {
		ev.SourceIp = cut(e.ip, maxString) // of opens and clicks it would be the reader's
		if a.origin == schema.Origin_REMOTE_REPLY && e.kind == "delivered" {
			a.phase = schema.Phase_EOM
		}
	}
	if e.bounceType == "expired" || (e.kind == "bounce" && a.origin == schema.Origin_ESP && expiredStatus(e.status)) {
		ev.Outcome, a.phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
	}
	fill(ev, a)
}
