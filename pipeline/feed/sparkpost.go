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
	kind, at, id                   string
	messageID, recipient, address  string
	sender, reason, rawReason      string
	code, retries, queueTime       string
	sourceIP, remoteIP, pool       string
	subaccount, customer           string
	transactional, tenant, ownName string
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
			p.readSpark(r, &e)
		}
	}
	switch {
	case !wrapped:
		return ReasonFormat
	case !found:
		return p.noise(NoiseHandshake) // an empty event tests the endpoint
	}
	ev := p.newEvent()
	ev.Final = true
	switch e.kind {
	case "delivery":
		ev.Outcome = schema.Outcome_DELIVERED
	case "delay":
		ev.Outcome, ev.Final = schema.Outcome_DEFERRED, false
	case "bounce", "policy_rejection", "generation_failure", "generation_rejection":
		ev.Outcome = schema.Outcome_BOUNCED
	case "out_of_band":
		ev.Outcome = schema.Outcome_ASYNC_BOUNCE
	case "spam_complaint":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "injection", "sms_status":
		return p.noise(NoiseAccepted)
	case "open", "initial_open", "click", "amp_open", "amp_initial_open", "amp_click":
		return p.noise(NoiseEngagement)
	case "list_unsubscribe", "link_unsubscribe":
		return p.noise(NoiseUnsubscribe)
	case "relay_injection", "relay_rejection", "relay_delivery", "relay_tempfail", "relay_permfail":
		return p.noise(NoiseInbound)
	case "success", "error", "ab_test_completed", "ab_test_cancelled": // ingest and test reports of the account
		return p.noise(NoiseAccount)
	default:
		return ReasonType
	}
	at, ok := stamp(e.at)
	if !ok {
		return ReasonTime
	}
	if e.address == "" {
		e.address = e.recipient
	}
	if e.address == "" {
		if ev.Outcome == schema.Outcome_COMPLAINT {
			return p.noise(NoiseNobody)
		}
		return ReasonRecipient
	}
	ev.OccurredAtUs = at
	ev.QueueId = cut(e.messageID, maxString)
	ev.Sender, ev.HasSender = cut(e.sender, maxString), e.sender != ""
	ev.SourceIp, ev.Instance = cut(e.sourceIP, maxString), cut(e.pool, maxString)
	e.setTenant(ev)
	if e.retries != "" && ev.Outcome != schema.Outcome_ASYNC_BOUNCE && ev.Outcome != schema.Outcome_COMPLAINT {
		ev.Attempt = count(e.retries) + 1
	}
	if ms, err := strconv.ParseInt(e.queueTime, 10, 40); err == nil && ms >= 0 {
		ev.DelayMs, ev.HasDelay = ms, true
	}
	if ev.Outcome == schema.Outcome_COMPLAINT {
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	} else {
		p.sparkAnswer(ev, &e)
	}
	p.send(ev, bare(e.address), r.s[p.from:r.i], e.id)
	return reasonNone
}

func (p *Parser) readSpark(r *reader, e *sparkEvent) {
	for ok := r.object(); ok; ok = r.more() {
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
		case "rcpt_meta":
			p.readNames(r, &e.tenant, &e.ownName)
		}
	}
}

// readNames reads an object for what Config asks for. A value that is an array gives its first element.
func (p *Parser) readNames(r *reader, tenant, stream *string) {
	for ok := r.object(); ok; ok = r.more() {
		p.readName(r, tenant, stream)
	}
}

// readName reads the member at hand if Config asks for it.
func (p *Parser) readName(r *reader, tenant, stream *string) bool {
	switch key := r.key; {
	case key == "":
		return false
	case key == p.cfg.TenantKey:
		*tenant = firstScalar(r)
	case key == p.cfg.StreamKey:
		*stream = firstScalar(r)
	default:
		return false
	}
	return true
}

func firstScalar(r *reader) (first string) {
	if r.kind() != '[' {
		return r.scalar()
	}
	for ok := r.array(); ok; ok = r.next() {
		if s := r.scalar(); first == "" {
			first = s
		}
	}
	return first
}

// setTenant takes the subaccount for the tenant, else the account.
func (e *sparkEvent) setTenant(ev *schema.DeliveryEvent) {
	switch {
	case e.tenant != "":
		ev.Tenant = cut(e.tenant, maxString)
	case e.subaccount != "" && e.subaccount != "0":
		ev.Tenant = cut(e.subaccount, maxString)
	default:
		ev.Tenant = cut(e.customer, maxString)
	}
	switch {
	case e.ownName != "":
		ev.Stream = cut(e.ownName, maxString)
	case e.transactional == "1", e.transactional == "true":
		ev.Stream = "transactional"
	case e.transactional == "0", e.transactional == "false":
		ev.Stream = "bulk"
	}
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
			a.code, _ = strconv.Atoi(e.code)
		}
	case e.kind != "bounce" && e.kind != "delay" && e.kind != "delivery", internal:
		a.origin = schema.Origin_ESP
		a.phase = apiPhase(words)
	default:
		a.code, _ = strconv.Atoi(e.code)
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
