package feed

import (
	"strconv"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// Amazon SES tells one message's fate in one JSON object, which comes bare, as a string within an SNS notification, or as
// the detail of an EventBridge event. "notificationType" is the word of identity notifications, "eventType" that of
// configuration sets; the contents are the same. Amazon SES developer guide, "Notification contents" and "Event
// publishing".

// sesEvent is a notification, as far as it matters here.
type sesEvent struct {
	kind, envelopeID               string
	at                             string // of mail, which is when it was sent
	messageID, messageHeader       string
	source                         string
	hasSource                      bool
	destination                    []recipient
	outgoingIP, tenant, stream     string
	bounceType, bounceSubType      string
	hasComplaint                   bool
	complaintSubType, feedbackType string
	partAt, feedbackID             string
	reportingMTA, remoteIP         string
	smtpResponse, millis           string
	reason                         string // of reject, failure and delay
	addressed                      []recipient
	tooMany                        bool
}

func (p *Parser) ses(r *reader) Reason {
	var e sesEvent
	var snsType, message string
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "Type":
			snsType = r.str()
		case "Message":
			message = r.str()
		case "MessageId", "id":
			e.envelopeID = r.str()
		case "detail":
			for ok := r.object(); ok; ok = r.more() {
				p.readSES(r, &e)
			}
		default:
			p.readSES(r, &e)
		}
	}
	text := r.s[p.from:r.i]
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
		// Only the message is signed: what stands beside it in the envelope is nobody's word.
		e = sesEvent{envelopeID: e.envelopeID}
		for ok := inner.object(); ok; ok = inner.more() {
			p.readSES(&inner, &e)
		}
		text = message
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		return p.noise(NoiseHandshake)
	default:
		return ReasonType
	}
	return p.sendSES(&e, text)
}

func (p *Parser) readSES(r *reader, e *sesEvent) {
	switch r.key {
	case "notificationType", "eventType":
		e.kind = r.str()
	case "mail":
		p.readSESMail(r, e)
	case "bounce", "complaint", "delivery", "deliveryDelay", "reject", "failure":
		e.hasComplaint = e.hasComplaint || r.key == "complaint"
		p.readSESPart(r, e)
	}
}

func (p *Parser) readSESMail(r *reader, e *sesEvent) {
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "timestamp":
			e.at = r.str()
		case "messageId":
			e.messageID = r.str()
		case "source":
			e.hasSource = r.kind() == '"'
			e.source = bare(r.str())
		case "destination":
			e.readRecipients(r, &e.destination)
		case "commonHeaders":
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "messageId" {
					e.messageHeader = r.str()
				}
			}
		case "tags":
			for ok := r.object(); ok; ok = r.more() {
				// mail.sourceIp is the client that called SES; the address that SES sent from is a tag.
				if r.key == "ses:outgoing-ip" {
					e.outgoingIP = firstScalar(r)
				} else {
					p.readName(r, &e.tenant, &e.stream)
				}
			}
		}
	}
}

// readSESPart reads the object that is named like the event.
func (p *Parser) readSESPart(r *reader, e *sesEvent) {
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "bounceType":
			e.bounceType = r.str()
		case "bounceSubType":
			e.bounceSubType = r.str()
		case "complaintSubType":
			e.complaintSubType = r.str()
		case "complaintFeedbackType":
			e.feedbackType = r.str()
		case "timestamp":
			e.partAt = r.str()
		case "feedbackId":
			e.feedbackID = r.str()
		case "reportingMTA":
			_, e.reportingMTA = cutDiagnostic(r.str())
		case "remoteMtaIp":
			e.remoteIP = r.str()
		case "smtpResponse":
			e.smtpResponse = r.str()
		case "processingTimeMillis":
			e.millis = r.scalar()
		case "reason", "errorMessage", "delayType":
			e.reason = r.str()
		case "bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients":
			e.readRecipients(r, &e.addressed)
		}
	}
}

// readRecipients reads an array of addresses, or of objects with their own status and diagnostic.
func (e *sesEvent) readRecipients(r *reader, into *[]recipient) {
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
		if len(*into) == MaxRecipients {
			e.tooMany = true
		} else if to.address != "" {
			*into = append(*into, to)
		}
	}
}

// sendSES turns a notification into events, one for each recipient.
func (p *Parser) sendSES(e *sesEvent, text string) Reason {
	recipients := e.addressed
	outcome, final := schema.Outcome_BOUNCED, true
	switch e.kind {
	case "Bounce":
		if e.reportingMTA != "" && !strings.HasSuffix("."+e.reportingMTA, ".amazonses.com") {
			outcome = schema.Outcome_ASYNC_BOUNCE // the report of another server, which had taken the message
		}
	case "Complaint":
		outcome = schema.Outcome_COMPLAINT
		if e.complaintSubType == "OnAccountSuppressionList" {
			outcome = schema.Outcome_BOUNCED // never sent, because of an earlier complaint
		}
		if len(recipients) == 0 {
			return p.noise(NoiseNobody)
		}
	case "Delivery":
		outcome = schema.Outcome_DELIVERED
	case "DeliveryDelay":
		outcome, final = schema.Outcome_DEFERRED, false
	case "Reject", "Rendering Failure", "RenderingFailure":
		recipients = e.destination
	case "Send":
		return p.noise(NoiseAccepted)
	case "Open", "Click":
		return p.noise(NoiseEngagement)
	case "Subscription":
		return p.noise(NoiseUnsubscribe)
	case "AmazonSnsSubscriptionSucceeded":
		return p.noise(NoiseHandshake)
	case "":
		return ReasonFormat
	default:
		return ReasonType
	}
	at, ok := stamp(e.partAt)
	if !ok {
		if at, ok = stamp(e.at); !ok {
			return ReasonTime
		}
	}
	switch {
	case e.tooMany:
		return ReasonTooMany
	case len(recipients) == 0:
		return ReasonRecipient
	}
	id := e.feedbackID
	if id == "" {
		id = e.envelopeID
	}
	for _, to := range recipients {
		ev := p.newEvent()
		ev.OccurredAtUs, ev.Outcome, ev.Final = at, outcome, final
		ev.QueueId, ev.MessageId = cut(e.messageID, maxString), cut(e.messageHeader, maxString)
		ev.Sender, ev.HasSender = cut(e.source, maxString), e.hasSource
		ev.Tenant, ev.Stream = cut(e.tenant, maxString), cut(e.stream, maxString)
		ev.SourceIp = cut(e.outgoingIP, maxString)
		p.sesAnswer(ev, e, to)
		p.send(ev, to.address, text, id)
	}
	return reasonNone
}

// sesAnswer fills in what the notification says about one recipient.
func (p *Parser) sesAnswer(ev *schema.DeliveryEvent, e *sesEvent, to recipient) {
	switch {
	case ev.Outcome == schema.Outcome_COMPLAINT:
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
		ev.Text = cut(e.feedbackType, maxText)
		return
	case ev.Outcome == schema.Outcome_DELIVERED:
		ev.RemoteIp = cut(e.remoteIP, maxString)
		if ms, err := strconv.ParseInt(e.millis, 10, 40); err == nil && ms >= 0 {
			ev.DelayMs, ev.HasDelay = ms, true
		}
		a := apiAnswer(e.smtpResponse, "")
		if a.origin == schema.Origin_REMOTE_REPLY {
			a.phase = schema.Phase_EOM
		}
		fill(ev, a)
		return
	case e.hasComplaint:
		fill(ev, answer{text: "Complaint/" + e.complaintSubType, origin: schema.Origin_ESP})
		return
	}
	smtp, words := cutDiagnostic(to.diagnostic)
	a := answer{text: words, enhanced: to.status, origin: schema.Origin_ESP}
	if code, _ := smtpreply.Codes(words); smtp && code != 0 {
		a.origin = schema.Origin_REMOTE_REPLY
	}
	if words == "" {
		a.text = e.reason
		if e.bounceType != "" {
			a.text = e.bounceType + "/" + e.bounceSubType
		}
	}
	switch {
	case e.suppressed():
		a.origin = schema.Origin_ESP
	case ev.Outcome == schema.Outcome_ASYNC_BOUNCE:
		a.origin, a.phase = schema.Origin_ASYNC_DSN, schema.Phase_ASYNC
	default:
		a = sesOwn(a)
	}
	if a.origin == schema.Origin_REMOTE_REPLY {
		ev.RemoteIp = cut(e.remoteIP, maxString)
	}
	fill(ev, a)
	if ev.Outcome == schema.Outcome_BOUNCED && expiredStatus(ev.EnhancedCode) {
		p.sesExpired(ev, words)
	}
}

// suppressed reports a bounce of a message that SES never sent: the address is on SES's own list or the account's.
func (e *sesEvent) suppressed() bool {
	return e.bounceSubType == "Suppressed" || e.bounceSubType == "OnAccountSuppressionList"
}

// sesOwn takes a reply for SES's own words if its codes speak of the network, which the remote server cannot see: "550
// 4.4.7 Message expired: ...", "421 4.4.1 Unable to connect to remote host".
func sesOwn(a answer) answer {
	_, enhanced := smtpreply.Codes(a.text)
	if a.origin == schema.Origin_REMOTE_REPLY && networkStatus(enhanced) {
		a.origin = schema.Origin_ESP
	}
	if a.origin == schema.Origin_ESP {
		a.phase = apiPhase(a.text)
	}
	return a
}

// sesExpired reads "Message expired: unable to deliver in 840 minutes.<421 4.4.1 Unable to connect to remote host>".
func (p *Parser) sesExpired(ev *schema.DeliveryEvent, words string) {
	ev.Outcome, ev.Phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
	if _, last, ok := strings.Cut(words, "<"); ok {
		if last = strings.TrimSuffix(last, ">"); last != "" {
			p.blame(ev, sesOwn(apiAnswer(last, "")))
		}
	}
}
