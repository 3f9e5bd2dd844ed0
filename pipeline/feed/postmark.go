package feed

import (
	"cmp"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// postmarkEvent is a webhook, as far as it matters here.
type postmarkEvent struct {
	record, id, code, kind, messageID string
	to, email                         string
	details, description, name        string
	delivered, bounced                string
	received, changed                 string
	server, stream, tag, agent        string
	suppress, why, who                string
}

// postmark reads one webhook of Postmark's, told apart by RecordType.
func (p *Parser) postmark(r *reader) Reason {
	var e postmarkEvent
	for ok := r.object(); ok; ok = r.more() {
		p.readPostmark(r, &e)
	}
	ev := p.newEvent()
	ev.Final = true
	to, at, words := e.email, e.bounced, ""
	origin := schema.Origin_ORIGIN_UNSPECIFIED
	switch e.record {
	case "Delivery":
		ev.Outcome, to, at = schema.Outcome_DELIVERED, e.to, e.delivered
	case "Bounce":
		var noise Noise
		var ok bool
		ev.Outcome, origin, noise, ok = postmarkBounce(e.code, e.kind)
		if !ok {
			return p.unknownType(e.record + " " + cut(cmp.Or(e.kind, e.code), maxType))
		}
		if ev.Outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
		ev.Final = ev.Outcome != schema.Outcome_DELAYED
		if ev.Outcome == schema.Outcome_UNSUBSCRIBED {
			words = cmp.Or(e.name, e.kind)
		}
	case "SpamComplaint":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "SubscriptionChange":
		var noise Noise
		if ev.Outcome, noise = e.subscription(); ev.Outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			if noise == NumNoises {
				return p.unknownType(e.record + " " + cut(e.why, maxType))
			}
			return p.noise(noise)
		}
		to, at, words = e.to, e.changed, e.why
	case "Open":
		ev.Outcome, to, at = schema.Outcome_OPENED, e.to, e.received
		ev.Machine = prefetched(e.agent)
	case "Click":
		ev.Outcome, to, at = schema.Outcome_CLICKED, e.to, e.received
	case "Inbound":
		return p.noise(NoiseInbound)
	case "":
		return ReasonFormat
	default:
		return p.unknownType(e.record)
	}
	var ok bool
	if ev.OccurredAtUs, ok = stamp(at); !ok {
		return ReasonTime
	}
	if to == "" {
		return ReasonRecipient
	}
	ev.QueueId = cut(e.messageID, maxString)
	if ev.FeedEventId = cut(e.id, maxString); e.id == "" && e.messageID != "" {
		ev.FeedEventId = cut(e.messageID+"/"+at, maxString)
	}
	setLabels(ev, e.server, e.stream, e.tag)
	switch ev.Outcome {
	case schema.Outcome_COMPLAINT, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED:
		p.quiet(ev, words)
	default:
		p.postmarkAnswer(ev, &e, origin)
	}
	p.send(ev, to, r.s[p.from:r.i])
	return reasonNone
}

// subscription judges a SubscriptionChange: the recipient's own wish is an unsubscription; suppressions because of bounces
// and complaints are told by their own webhooks. NumNoises is a reason that is not known.
func (e *postmarkEvent) subscription() (schema.Outcome, Noise) {
	if !isTrue(e.suppress) {
		return schema.Outcome_OUTCOME_UNSPECIFIED, NoiseSubscription
	}
	switch e.why {
	case "ManualSuppression":
		if e.who == "Customer" || e.who == "Admin" {
			return schema.Outcome_OUTCOME_UNSPECIFIED, NoiseSubscription
		}
		return schema.Outcome_UNSUBSCRIBED, 0
	case "HardBounce", "SpamComplaint":
		return schema.Outcome_OUTCOME_UNSPECIFIED, NoiseSubscription
	}
	return schema.Outcome_OUTCOME_UNSPECIFIED, NumNoises
}

func (p *Parser) readPostmark(r *reader, e *postmarkEvent) {
	p.look(placeTop, r)
	switch r.key {
	case "RecordType":
		e.record = r.str()
	case "ID":
		e.id = r.scalar()
	case "TypeCode":
		e.code = r.scalar()
	case "Type":
		e.kind = r.str()
	case "Name":
		e.name = r.str()
	case "MessageID":
		e.messageID = r.str()
	case "Recipient":
		e.to = bare(r.str())
	case "Email":
		e.email = bare(r.str())
	case "Details":
		e.details = r.str()
	case "Description":
		e.description = r.str()
	case "DeliveredAt":
		e.delivered = r.str()
	case "BouncedAt":
		e.bounced = r.str()
	case "ReceivedAt":
		e.received = r.str()
	case "ChangedAt":
		e.changed = r.str()
	case "SuppressSending":
		e.suppress = r.scalar()
	case "SuppressionReason":
		e.why = r.str()
	case "Origin":
		e.who = r.str()
	case "UserAgent":
		e.agent = r.str()
	case "ServerID":
		e.server = r.scalar()
	case "MessageStream":
		e.stream = r.str()
	case "Tag":
		e.tag = r.str()
	case "Subject":
		if p.wants.subject {
			p.subject(r.str())
		}
	case "Metadata":
		p.lookIn(placeMetadata, r)
	}
}

// postmarkBounce maps Type and its TypeCode, of which one is enough: Postmark, "Bounce API", bounce types. No outcome is
// noise; not ok is a type that is not known. The origin is unspecified where Details decides.
func postmarkBounce(code, kind string) (outcome schema.Outcome, origin schema.Origin, noise Noise, ok bool) {
	switch cmp.Or(code, kind) {
	case "1", "512", "2048", "4096", "8192", "100006", "100009",
		"HardBounce", "SpamNotification", "Unknown", "SoftBounce", "VirusNotification", "Blocked", "DMARCPolicy":
		return schema.Outcome_BOUNCED, 0, 0, true
	case "2", "Transient": // the message was delayed
		return schema.Outcome_DELAYED, 0, 0, true
	case "128", "AddressChange": // by mail
		return schema.Outcome_ASYNC_BOUNCE, schema.Origin_ASYNC_DSN, 0, true
	case "256", "100000", "100002", "100007", "100010", // Postmark's own findings
		"DnsError", "BadEmailAddress", "ManuallyDeactivated", "SMTPApiError", "TemplateRenderingFailed":
		return schema.Outcome_BOUNCED, schema.Origin_ESP, 0, true
	case "100001", "SpamComplaint":
		return schema.Outcome_COMPLAINT, 0, 0, true
	case "16", "Unsubscribe": // asked for by mail
		return schema.Outcome_UNSUBSCRIBED, 0, 0, true
	case "32", "100003", "Subscribe", "Unconfirmed":
		return 0, 0, NoiseSubscription, true
	case "64", "1024", "16384", "AutoResponder", "OpenRelayTest", "ChallengeVerification":
		return 0, 0, NoiseNotice, true
	case "100008", "InboundError":
		return 0, 0, NoiseInbound, true
	}
	return 0, 0, 0, false
}

// postmarkAnswer reads Details, which holds the remote's reply, and where it is empty Postmark's Description.
func (p *Parser) postmarkAnswer(ev *schema.DeliveryEvent, e *postmarkEvent, origin schema.Origin) {
	smtp, words := cutDiagnostic(e.details)
	if words == "" {
		words = e.description
	}
	if words == "" {
		words = e.name
	}
	a := answer{text: words, origin: schema.Origin_ESP}
	if code, _ := smtpreply.Codes(words); smtp && code != 0 {
		a.origin = schema.Origin_REMOTE_REPLY
	}
	if origin != schema.Origin_ORIGIN_UNSPECIFIED {
		a.origin = origin
	}
	switch {
	case e.code == "256" || e.kind == "DnsError":
		a.phase = schema.Phase_DNS
	case origin == schema.Origin_ASYNC_DSN:
		a.phase = schema.Phase_ASYNC
	case ev.Outcome == schema.Outcome_DELIVERED && a.origin == schema.Origin_REMOTE_REPLY:
		a.phase = schema.Phase_EOM
	}
	// Of Postmark's own findings only a DNS error comes from a try to deliver.
	p.unsent = origin == schema.Origin_ESP && a.phase == schema.Phase_PHASE_UNSPECIFIED
	fill(ev, a)
}
