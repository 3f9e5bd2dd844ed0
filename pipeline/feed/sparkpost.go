package feed

import (
	"strconv"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// SparkPost and Momentum wrap every event: {"msys":{"message_event":{...}}}. The wrapper's key names the family, the
// event's type the kind. SparkPost, "Webhooks: event reference".

// sparkEvent is an event, as far as it matters here.
type sparkEvent struct {
	kind, at, id                  string
	messageID, recipient, address string
	sender, reason, rawReason     string
	code, retries, queueTime      string
	sourceIP, remoteIP, pool      string
	subaccount, customer          string
	transactional, campaign       string
	class, feedback               string
	agent, prefetched             string
	relayed                       bool // mail from outside, which has no type
}

func (p *Parser) sparkPost(r *reader) Reason {
	var e sparkEvent
	wrapped, found := false, false
	for ok := r.object(); ok; ok = r.more() {
		if r.key != "msys" {
			continue
		}
		wrapped = true
		for ok := r.object(); ok; ok = r.more() {
			found = true
			e.relayed = r.key == "relay_message"
			p.readSpark(r, &e)
		}
	}
	switch {
	case !wrapped:
		return ReasonFormat
	case !found:
		return p.noise(NoiseHandshake) // an empty event tests the endpoint
	case e.relayed:
		return p.noise(NoiseInbound)
	}
	ev := p.newEvent()
	ev.Final = true
	words := ""
	switch e.kind {
	case "delivery":
		ev.Outcome = schema.Outcome_DELIVERED
	case "delay":
		ev.Outcome, ev.Final = schema.Outcome_DEFERRED, false
	case "bounce":
		ev.Outcome = schema.Outcome_BOUNCED
	case "policy_rejection", "generation_failure", "generation_rejection":
		ev.Outcome, p.unsent = schema.Outcome_BOUNCED, true
	case "out_of_band":
		// SparkPost has read the mail that came back, and does not quote it where it found no failure in it.
		switch e.class {
		case "60", "100": // auto-reply, challenge
			return p.noise(NoiseNotice)
		case "80":
			return p.noise(NoiseSubscription)
		case "90":
			ev.Outcome, words = schema.Outcome_UNSUBSCRIBED, e.kind
		default:
			ev.Outcome = schema.Outcome_ASYNC_BOUNCE
		}
	case "spam_complaint":
		var noise Noise
		if ev.Outcome, noise = feedback(e.feedback); ev.Outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
		words = e.feedback
	case "open", "initial_open", "amp_open", "amp_initial_open":
		// initial_open is the picture at the top of the message, open the one at its end: a person's as well.
		ev.Outcome, ev.Machine = schema.Outcome_OPENED, isTrue(e.prefetched) || prefetched(e.agent)
	case "click", "amp_click":
		ev.Outcome, ev.Machine = schema.Outcome_CLICKED, isTrue(e.prefetched)
	case "list_unsubscribe", "link_unsubscribe":
		ev.Outcome, words = schema.Outcome_UNSUBSCRIBED, e.kind
	case "injection", "sms_status":
		return p.noise(NoiseAccepted)
	case "relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail", "relay_permfail":
		return p.noise(NoiseInbound)
	case "success", "error", "ab_test_completed", "ab_test_cancelled": // ingest and test reports of the account
		return p.noise(NoiseAccount)
	case "":
		return ReasonFormat
	default:
		return p.unknownType(e.kind)
	}
	at, ok := stamp(e.at)
	if !ok {
		return ReasonTime
	}
	if e.address == "" {
		e.address = e.recipient
	}
	if e.address == "" {
		if e.kind == "spam_complaint" {
			return p.noise(NoiseNobody)
		}
		return ReasonRecipient
	}
	ev.OccurredAtUs = at
	ev.QueueId, ev.FeedEventId = cut(e.messageID, maxString), cut(e.id, maxString)
	ev.Sender, ev.HasSender = cut(e.sender, maxString), e.sender != ""
	ev.SourceIp, ev.Instance = cut(e.sourceIP, maxString), cut(e.pool, maxString)
	e.setLabels(ev)
	switch ev.Outcome {
	case schema.Outcome_COMPLAINT, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED:
		p.quiet(ev, words)
	default:
		if e.retries != "" && ev.Outcome != schema.Outcome_ASYNC_BOUNCE {
			ev.Attempt = count(e.retries) + 1
		}
		if ms, err := strconv.ParseInt(e.queueTime, 10, 40); err == nil && ms >= 0 {
			ev.DelayMs, ev.HasDelay = ms, true
		}
		p.sparkAnswer(ev, &e)
	}
	p.send(ev, bare(e.address), r.s[p.from:r.i])
	return reasonNone
}

// isTrue reads a flag, which comes as true, as 1, or as either in quotes.
func isTrue(s string) bool { return s == "true" || s == "1" }

func (p *Parser) readSpark(r *reader, e *sparkEvent) {
	for ok := r.object(); ok; ok = r.more() {
		p.look(placeTop, r)
		switch r.key {
		case "type":
			e.kind = r.str()
		case "timestamp":
			e.at = r.scalar()
		case "event_id":
			e.id = r.scalar()
		case "message_id":
			e.messageID = r.scalar()
		case "rcpt_to":
			e.recipient = r.str()
		case "raw_rcpt_to":
			e.address = r.str()
		case "msg_from":
			e.sender = r.str()
		case "reason":
			e.reason = r.str()
		case "raw_reason":
			e.rawReason = r.str()
		case "error_code":
			e.code = r.scalar()
		case "num_retries":
			e.retries = r.scalar()
		case "queue_time":
			e.queueTime = r.scalar()
		case "sending_ip":
			e.sourceIP = r.str()
		case "ip_address":
			e.remoteIP = r.str()
		case "ip_pool":
			e.pool = r.str()
		case "subaccount_id":
			e.subaccount = r.scalar()
		case "customer_id":
			e.customer = r.scalar()
		case "transactional":
			e.transactional = r.scalar()
		case "campaign_id":
			e.campaign = r.scalar()
		case "bounce_class":
			e.class = r.scalar()
		case "fbtype":
			e.feedback = r.str()
		case "user_agent":
			e.agent = r.str()
		case "user_agent_parsed":
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "is_prefetched" {
					e.prefetched = r.scalar()
				}
			}
		case "subject":
			if p.wants.subject {
				p.subject(r.str())
			}
		case "rcpt_meta":
			p.lookIn(placeRcptMeta, r)
		}
	}
}

// setLabels takes the subaccount for the tenant, else the account.
func (e *sparkEvent) setLabels(ev *schema.DeliveryEvent) {
	tenant, stream := e.customer, ""
	if e.subaccount != "" && e.subaccount != "0" {
		tenant = e.subaccount
	}
	switch e.transactional {
	case "1", "true":
		stream = "transactional"
	case "0", "false":
		stream = "bulk"
	}
	setLabels(ev, tenant, stream, e.campaign)
}

// sparkAnswer reads the reason. Momentum writes its own findings as replies marked with [internal].
func (p *Parser) sparkAnswer(ev *schema.DeliveryEvent, e *sparkEvent) {
	words := e.rawReason
	if words == "" {
		words = e.reason
	}
	a := answer{text: words, origin: schema.Origin_REMOTE_REPLY}
	own := smtpreply.Parse(words)
	internal := strings.HasPrefix(own.Text, "[internal]")
	switch {
	case ev.Outcome == schema.Outcome_ASYNC_BOUNCE:
		a.origin, a.phase = schema.Origin_ASYNC_DSN, schema.Phase_ASYNC
		if internal { // "550 [internal] [oob] ...": no reply was found in the report
			a.text, a.enhanced = own.Text, own.Enhanced
		} else {
			a.code = number(e.code)
		}
	case e.kind != "bounce" && e.kind != "delay" && e.kind != "delivery", internal:
		a.origin = schema.Origin_ESP
		a.phase = apiPhase(words)
	default:
		a.code = number(e.code)
		ev.RemoteIp = cut(e.remoteIP, maxString)
		switch {
		case ev.Outcome == schema.Outcome_DELIVERED && e.remoteIP != "":
			a.phase = schema.Phase_EOM
		case ev.Outcome == schema.Outcome_DELIVERED && words == "":
			a.origin = schema.Origin_ESP
		case own.Code == 0 && a.code == 0:
			a.origin = schema.Origin_ESP
		}
	}
	fill(ev, a)
	const expiry, last = "message timeout", "last transfail: "
	if !internal || ev.Outcome != schema.Outcome_BOUNCED || !strings.Contains(own.Text, expiry) {
		return
	}
	ev.Outcome, ev.Phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
	if _, reply, ok := strings.Cut(own.Text, last); ok {
		reply = strings.TrimSuffix(reply, ")")
		c := apiAnswer(reply, "")
		if strings.HasPrefix(smtpreply.Parse(reply).Text, "[internal]") {
			c.origin, c.phase = schema.Origin_ESP, apiPhase(reply)
		}
		p.blame(ev, c)
	}
}
