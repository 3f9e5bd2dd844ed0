package feed

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// sendSES turns a notification into events, one for each recipient. at reads the text that its parts are in.
func (p *Parser) sendSES(e *sesEvent, at reader, text, eventID string) Reason {
	outcome, part, noise, ok := sesKind(e.kind)
	switch {
	case e.kind == "":
		return ReasonFormat
	case !ok:
		return p.unknownType(e.kind)
	case outcome == schema.Outcome_OUTCOME_UNSPECIFIED:
		return p.noise(noise)
	}
	p.readSES(e, at, part)
	recipients := p.recipients
	switch part {
	case sesBounce:
		// The report of another server, which had taken the message.
		if e.reportingMTA != "" && e.remoteIP == "" && !strings.HasSuffix("."+e.reportingMTA, ".amazonses.com") {
			outcome = schema.Outcome_ASYNC_BOUNCE
		}
	case sesComplaint:
		if len(recipients) == 0 {
			return p.noise(NoiseNobody)
		}
		if e.complaintSubType == "OnAccountSuppressionList" {
			outcome = schema.Outcome_BOUNCED // never sent, because of an earlier complaint
		} else if outcome, noise = feedback(e.feedbackType); outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
	case sesReject, sesFailure:
		recipients = p.destinations
	case sesOpen, sesClick, sesSubscription:
		recipients = p.destinations
		if part == sesSubscription && !e.unsubscribed() {
			return p.noise(NoiseSubscription)
		}
		if len(recipients) > 1 {
			return p.noise(NoiseNobody) // all recipients have the same picture and links
		}
	}
	us, ok := stamp(e.partAt)
	if !ok {
		if us, ok = stamp(e.at); !ok {
			return ReasonTime
		}
	}
	switch {
	case e.tooMany:
		return ReasonTooMany
	case len(recipients) == 0:
		return ReasonRecipient
	}
	id := cut(cmp.Or(e.feedbackID, eventID), maxString)
	if id == "" && e.messageID != "" {
		id = cut(e.messageID+"/"+cmp.Or(e.partAt, e.at), maxString)
	}
	for _, to := range recipients {
		ev := p.newEvent()
		ev.OccurredAtUs, ev.Outcome, ev.Final = us, outcome, outcome != schema.Outcome_DEFERRED
		ev.QueueId, ev.MessageId, ev.FeedEventId = cut(e.messageID, maxString), cut(e.messageHeader, maxString), id
		ev.Sender, ev.HasSender = cut(e.source, maxString), e.hasSource
		ev.SourceIp = cut(e.outgoingIP, maxString)
		p.sesAnswer(ev, e, to, part)
		p.send(ev, to.address, text)
	}
	return reasonNone
}

// unsubscribed reports a change of preferences by which the recipient has left a topic, or all.
func (e *sesEvent) unsubscribed() bool { return e.after.all || e.leftTopic() != "" }

// leftTopic names the first topic that was left; empty if there is none.
func (e *sesEvent) leftTopic() string {
	for _, topic := range e.after.out {
		if !slices.Contains(e.before.out, topic) {
			return topic
		}
	}
	return ""
}

// sesAnswer fills in what the notification says about one recipient.
func (p *Parser) sesAnswer(ev *schema.DeliveryEvent, e *sesEvent, to recipient, part sesPart) {
	switch {
	case ev.Outcome == schema.Outcome_COMPLAINT, part == sesComplaint && ev.Outcome == schema.Outcome_UNSUBSCRIBED:
		words := e.feedbackType
		if n := len(p.recipients); n > 1 {
			// Many providers do not say who complained: SES then lists all of the message whose domain it may have been.
			// None of them may be suppressed for one: it counts as what nothing shows to be true.
			words = strings.TrimSpace(words + " (one of " + strconv.Itoa(n) + " recipients)")
			ev.Trust = schema.Trust_TRUST_NONE
		}
		p.quiet(ev, words)
		return
	case part == sesOpen:
		ev.Machine = prefetched(e.agent)
		p.quiet(ev, "")
		return
	case part == sesClick:
		p.quiet(ev, "")
		return
	case part == sesSubscription:
		words := "unsubscribeAll"
		if !e.after.all {
			words = "OptOut " + e.leftTopic()
		}
		p.quiet(ev, strings.TrimSpace(e.reason+" "+words))
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
	case part == sesComplaint:
		p.unsent = true
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
	case e.suppressed(), part == sesReject, part == sesFailure:
		p.unsent = true
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
