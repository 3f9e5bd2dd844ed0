package feed

import (
	"strings"

	"carom.dev/carom/schema"
)

// Amazon SES tells one message's fate in one JSON object, which comes bare, as a string within an SNS notification, or as
// the detail of an EventBridge event. "notificationType" is the word of identity notifications, "eventType" that of
// configuration sets; the contents are the same. Amazon SES developer guide, "Notification contents" and "Event
// publishing".

// sesPart is one of the objects that say more about an event of a kind.
type sesPart uint8

const (
	sesBounce sesPart = iota
	sesComplaint
	sesDelivery
	sesDelay
	sesReject
	sesFailure
	sesOpen
	sesClick
	sesSubscription
	numSESParts
)

// sesPartOf knows the parts by their names.
func sesPartOf(key string) (sesPart, bool) {
	switch key {
	case "bounce":
		return sesBounce, true
	case "complaint":
		return sesComplaint, true
	case "delivery":
		return sesDelivery, true
	case "deliveryDelay":
		return sesDelay, true
	case "reject":
		return sesReject, true
	case "failure":
		return sesFailure, true
	case "open":
		return sesOpen, true
	case "click":
		return sesClick, true
	case "subscription":
		return sesSubscription, true
	}
	return 0, false
}

// sesEvent is a notification, as far as it matters here.
type sesEvent struct {
	kind  string
	mail  int              // where it begins; 0: there is none
	parts [numSESParts]int // likewise

	at                             string // of mail, which is when it was sent
	messageID, messageHeader       string
	source                         string
	hasSource                      bool
	outgoingIP                     string
	bounceType, bounceSubType      string
	complaintSubType, feedbackType string
	partAt, feedbackID             string
	reportingMTA, remoteIP         string
	smtpResponse, millis           string
	reason                         string // of reject, failure and delay; of a subscription, how it was changed
	agent                          string
	before, after                  sesPreferences
	tooMany                        bool
}

// sesPreferences are the topics of a contact list that a recipient has opted out of.
type sesPreferences struct {
	all bool
	out []string
}

func (p *Parser) ses(r *reader) Reason {
	var e sesEvent
	var snsType, snsID, message, eventID, detailType string
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "Type":
			snsType = r.str()
		case "Message":
			message = r.str()
		case "MessageId":
			snsID = r.scalar()
		case "id": // of EventBridge
			eventID = r.scalar()
		case "detail-type":
			detailType = r.str()
		case "detail":
			for ok := r.object(); ok; ok = r.more() {
				findSES(r, &e)
			}
		default:
			findSES(r, &e)
		}
	}
	text, at := r.s[p.from:r.i], *r
	switch snsType {
	case "":
	case "Notification":
		inner := newReader(message)
		if inner.kind() != '{' {
			if strings.HasPrefix(message, "Successfully validated SNS topic") {
				return p.noise(NoiseHandshake)
			}
			return ReasonFormat
		}
		if check := inner; !check.valid() {
			return check.why
		}
		// Only the message and its MessageId are signed: what else stands in the envelope is nobody's word.
		e, eventID = sesEvent{}, snsID
		for ok := inner.object(); ok; ok = inner.more() {
			findSES(&inner, &e)
		}
		text, at = message, inner
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		return p.noise(NoiseHandshake)
	default:
		return p.unknownType(snsType)
	}
	if e.kind == "" && (strings.HasPrefix(detailType, "Advisor Recommendation Status ") || strings.HasPrefix(detailType, "Sending Status ")) {
		return p.noise(NoiseAccount)
	}
	return p.sendSES(&e, at, text, eventID)
}

// findSES notes the kind of a notification and where its parts begin: the kind, which says which part counts, may come last.
func findSES(r *reader, e *sesEvent) {
	switch r.key {
	case "notificationType", "eventType":
		e.kind = r.str()
	case "mail":
		e.mail = r.i
	default:
		if part, ok := sesPartOf(r.key); ok {
			e.parts[part] = r.i
		}
	}
}

// readSES reads mail and the one part that belongs to the kind into e, p.destinations and p.recipients.
func (p *Parser) readSES(e *sesEvent, at reader, part sesPart) {
	p.recipients, p.destinations = p.recipients[:0], p.destinations[:0]
	if at.i = e.mail; e.mail > 0 {
		p.readSESMail(&at, e)
	}
	if at.i = e.parts[part]; at.i > 0 {
		p.readSESPart(&at, e)
	}
}

func (p *Parser) readSESMail(r *reader, e *sesEvent) {
	for ok := r.object(); ok; ok = r.more() {
		p.look(placeMail, r)
		switch r.key {
		case "timestamp":
			e.at = r.clip(maxString)
		case "messageId":
			e.messageID = r.clip(maxString)
		case "source":
			e.hasSource = r.kind() == '"'
			e.source = bare(r.clip(maxString))
		case "destination":
			p.destinations = e.readRecipients(r, p.destinations[:0])
		case "commonHeaders":
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
				case "messageId":
					e.messageHeader = r.clip(maxString)
				case "subject":
					p.subject(r.str())
				}
			}
		case "headers":
			if p.wantsHeaders() {
				p.readSESHeaders(r)
			}
		case "tags":
			for ok := r.object(); ok; ok = r.more() {
				p.look(placeTags, r)
				// mail.sourceIp is the client that called SES; the address that SES sent from is a tag.
				if r.key == "ses:outgoing-ip" {
					e.outgoingIP = cut(firstScalar(r), maxString)
				}
			}
		}
	}
}

// readSESHeaders reads [{"name":"X-Tenant","value":"t"}], which SES sends where original headers are asked for.
func (p *Parser) readSESHeaders(r *reader) {
	for ok := r.array(); ok; ok = r.next() {
		name, value := "", ""
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "name":
				name = r.str()
			case "value":
				value = r.str()
			}
		}
		p.header(name, value)
	}
}

// firstScalar reads a scalar, or the first of an array.
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

// readSESPart reads the object that is named like the event.
func (p *Parser) readSESPart(r *reader, e *sesEvent) {
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "bounceType":
			e.bounceType = r.clip(maxString)
		case "bounceSubType":
			e.bounceSubType = r.clip(maxString)
		case "complaintSubType":
			e.complaintSubType = r.clip(maxString)
		case "complaintFeedbackType":
			e.feedbackType = r.clip(maxString)
		case "timestamp":
			e.partAt = r.clip(maxString)
		case "feedbackId":
			e.feedbackID = r.clip(maxString)
		case "reportingMTA":
			_, e.reportingMTA = cutDiagnostic(r.clip(maxString))
		case "remoteMtaIp":
			e.remoteIP = r.clip(maxString)
		case "smtpResponse":
			e.smtpResponse = r.clip(maxText)
		case "processingTimeMillis":
			e.millis = cut(r.scalar(), maxNumber)
		case "userAgent":
			e.agent = r.clip(maxString)
		case "reason", "errorMessage", "delayType", "source":
			e.reason = r.clip(maxText)
		case "newTopicPreferences":
			e.after.read(r)
		case "oldTopicPreferences":
			e.before.read(r)
		case "bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients":
			p.recipients = e.readRecipients(r, p.recipients[:0])
		}
	}
}

// readRecipients reads an array of addresses, or of objects with their own status and diagnostic.
func (e *sesEvent) readRecipients(r *reader, into []recipient) []recipient {
	for ok := r.array(); ok; ok = r.next() {
		var to recipient
		if r.kind() == '{' {
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
				case "emailAddress":
					to.address = bare(r.str())
				case "status":
					to.status = r.str()
				case "diagnosticCode":
					to.diagnostic = r.str()
				}
			}
		} else {
			to.address = bare(r.str())
		}
		if len(into) == MaxRecipients {
			e.tooMany = true
		} else if to.address != "" {
			into = append(into, to)
		}
	}
	return into
}

// maxTopics is more than the topics that a contact list can have, which is 20.
const maxTopics = 64

// read reads {"unsubscribeAll":false,"topicSubscriptionStatus":[{"topicName":"News","subscriptionStatus":"OptOut"}]}.
func (t *sesPreferences) read(r *reader) {
	*t = sesPreferences{}
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "unsubscribeAll":
			t.all = isTrue(r.scalar())
		case "topicSubscriptionStatus":
			for ok := r.array(); ok; ok = r.next() {
				name, status := "", ""
				for ok := r.object(); ok; ok = r.more() {
					switch r.key {
					case "topicName":
						name = r.str()
					case "subscriptionStatus":
						status = r.str()
					}
				}
				if status == "OptOut" && len(t.out) < maxTopics {
					t.out = append(t.out, name)
				}
			}
		}
	}
}

// sesKind maps the kind of a notification. No outcome is noise; not ok is a kind that is not known.
func sesKind(kind string) (outcome schema.Outcome, part sesPart, noise Noise, ok bool) {
	switch kind {
	case "Bounce":
		return schema.Outcome_BOUNCED, sesBounce, 0, true
	case "Complaint":
		return schema.Outcome_COMPLAINT, sesComplaint, 0, true
	case "Delivery":
		return schema.Outcome_DELIVERED, sesDelivery, 0, true
	case "DeliveryDelay":
		return schema.Outcome_DEFERRED, sesDelay, 0, true
	case "Reject":
		return schema.Outcome_BOUNCED, sesReject, 0, true
	case "Rendering Failure", "RenderingFailure":
		return schema.Outcome_BOUNCED, sesFailure, 0, true
	case "Open":
		return schema.Outcome_OPENED, sesOpen, 0, true
	case "Click":
		return schema.Outcome_CLICKED, sesClick, 0, true
	case "Subscription":
		return schema.Outcome_UNSUBSCRIBED, sesSubscription, 0, true
	case "Send":
		return 0, 0, NoiseAccepted, true
	case "Received":
		return 0, 0, NoiseInbound, true
	case "AmazonSnsSubscriptionSucceeded":
		return 0, 0, NoiseHandshake, true
	}
	return 0, 0, 0, false
}
