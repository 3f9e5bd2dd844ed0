package feed

import (
	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// postmarkEvent is a webhook, as far as it matters here.
type postmarkEvent struct {
	record, id, code, messageID string
	to, email                   string
	details, description, name  string
	delivered, bounced          string
	server, stream              string
	tenant, ownStream           string
}

// postmark reads one webhook of Postmark's, told apart by RecordType.
func (p *Parser) postmark(r *reader) Reason {
	e := p.readPostmark(r)
	ev := p.newEvent()
	ev.Final = true
	to, at := e.email, e.bounced
	origin := schema.Origin_ORIGIN_UNSPECIFIED
	switch e.record {
	case "Delivery":
		ev.Outcome, to, at = schema.Outcome_DELIVERED, e.to, e.delivered
	case "Bounce":
		var noise Noise
		var ok bool
		ev.Outcome, origin, noise, ok = postmarkBounce(e.code)
		if !ok {
			return ReasonType
		}
		if ev.Outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
		ev.Final = ev.Outcome != schema.Outcome_DELAYED
	case "SpamComplaint":
		ev.Outcome = schema.Outcome_COMPLAINT
	case "SubscriptionChange":
		return p.noise(NoiseUnsubscribe)
	case "Open", "Click":
		return p.noise(NoiseEngagement)
	case "Inbound":
		return p.noise(NoiseInbound)
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
	ev.QueueId = cut(e.messageID, maxString)
	ev.Tenant, ev.Stream = cut(e.server, maxString), cut(e.stream, maxString)
	if e.tenant != "" {
		ev.Tenant = cut(e.tenant, maxString)
	}
	if e.ownStream != "" {
		ev.Stream = cut(e.ownStream, maxString)
	}
	if ev.Outcome == schema.Outcome_COMPLAINT {
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	} else {
		e.answer(ev, origin)
	}
	p.send(ev, to, r.s[p.from:r.i], e.id)
	return reasonNone
}

func (p *Parser) readPostmark(r *reader) (e postmarkEvent) {
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "RecordType":
			e.record = r.str()
		case "ID":
			e.id = r.scalar()
		case "TypeCode":
			e.code = r.scalar()
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
		case "ServerID":
			e.server = r.scalar()
		case "MessageStream":
			e.stream = r.str()
		case "Metadata":
			p.readNames(r, &e.tenant, &e.ownStream)
		}
	}
	return e
}

// postmarkBounce maps TypeCode: Postmark, "Bounce API", bounce types. No outcome is noise; not ok is a type that is not
// known. The origin is unspecified where Details decides.
func postmarkBounce(code string) (outcome schema.Outcome, origin schema.Origin, noise Noise, ok bool) {
	switch code {
	case "1", "512", "2048", "4096", "8192", "100006", "100009":
		// HardBounce, SpamNotification, Unknown, SoftBounce, VirusNotification, Blocked, DMARCPolicy
		return schema.Outcome_BOUNCED, 0, 0, true
	case "2": // Transient: the message was delayed
		return schema.Outcome_DELAYED, 0, 0, true
	case "128": // AddressChange: by mail
		return schema.Outcome_ASYNC_BOUNCE, schema.Origin_ASYNC_DSN, 0, true
	case "256", "100000", "100002", "100007":
		// DnsError, BadEmailAddress, ManuallyDeactivated, SMTPApiError: Postmark's own findings
		return schema.Outcome_BOUNCED, schema.Origin_ESP, 0, true
	case "100001": // SpamComplaint
		return schema.Outcome_COMPLAINT, 0, 0, true
	case "16", "32", "100003": // Unsubscribe, Subscribe, Unconfirmed
		return 0, 0, NoiseUnsubscribe, true
	case "64", "1024", "16384": // AutoResponder, OpenRelayTest, ChallengeVerification
		return 0, 0, NoiseNotice, true
	case "100008": // InboundError
		return 0, 0, NoiseInbound, true
	}
	return 0, 0, 0, false
}

// answer reads Details, which holds the remote's reply, and where it is empty Postmark's Description.
func (e *postmarkEvent) answer(ev *schema.DeliveryEvent, origin schema.Origin) {
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
	case e.code == "256":
		a.phase = schema.Phase_DNS
	case origin == schema.Origin_ASYNC_DSN:
		a.phase = schema.Phase_ASYNC
	case ev.Outcome == schema.Outcome_DELIVERED && a.origin == schema.Origin_REMOTE_REPLY:
		a.phase = schema.Phase_EOM
	}
	fill(ev, a)
}
