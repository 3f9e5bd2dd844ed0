package feed

import (
	"cmp"
	"strings"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// KumoMTA writes one JSON object a line: its manual, "log record".

// kumoRecord is a log record, as far as it matters here.
type kumoRecord struct {
	kind, id, sender, queue, pool, node, messageID string
	hasSender                                      bool
	source                                         string // egress source
	peerName, peerIP, sourceIP                     string
	code, enhanced, content, command               string
	at, event, created, createdAt                  string
	attempts                                       string
	reply, eventID                                 string // composed
	report                                         bool   // there is a feedback report
	feedback, reportSender, reportIP, original     string
	reported                                       bool // it names a sender
}

// lines reads a body line by line.
func (p *Parser) lines(all *reader) (Result, error) {
	s := all.s
	for i := 0; i < len(s); {
		end := lineEnd(s, i)
		r := reader{s: s[i:end], i: bomLen(s[i:end]), dirty: all.dirty}
		p.from, i = i, end
		if r.kind() == 0 && r.i == len(r.s) {
			continue
		}
		if !p.next() {
			return p.tooMany()
		}
		from := r.i
		var k kumoRecord
		why := p.readKumo(&r, &k)
		to := r.i
		if !r.bad && (r.kind() != 0 || r.i < len(r.s)) {
			r.fail(ReasonSyntax)
		}
		switch {
		case r.bad && wide(r.s):
			p.fault(ReasonEncoding, p.from, strings.TrimRight(r.s, "\r\n"))
			continue
		case r.bad:
			p.fault(r.why, p.from+r.i, strings.TrimRight(r.s, "\r\n"))
			continue
		case why == reasonNone:
			why = p.sendKumo(&k, r.s[from:to])
		}
		if why != reasonNone {
			p.fault(why, p.from, strings.TrimRight(r.s, "\r\n"))
		}
	}
	return p.res, nil
}

// kumo reads one record of an array, which is how webhooks send batches.
func (p *Parser) kumo(r *reader) Reason {
	var k kumoRecord
	if why := p.readKumo(r, &k); why != reasonNone {
		return why
	}
	return p.sendKumo(&k, r.s[p.from:r.i])
}

// readKumo reads a record into k, which is empty, and p.recipients.
func (p *Parser) readKumo(r *reader, k *kumoRecord) Reason {
	p.recipients = p.recipients[:0]
	why := reasonNone
	var addressed []recipient // of the feedback report: whom the complaint is about
	looks := p.looks(placeTop)
	for ok := r.object(); ok; ok = r.more() {
		if looks {
			p.look(placeTop, r)
		}
		switch r.key {
		case "type":
			k.kind = r.clip(maxString)
		case "id":
			k.id = r.clip(maxString)
		case "sender":
			k.hasSender = r.kind() == '"'
			k.sender = r.clip(maxString)
		case "recipient":
			p.recipients, why = readAddresses(r, p.recipients[:0])
		case "queue":
			k.queue = r.clip(maxString)
		case "egress_pool":
			k.pool = r.clip(maxString)
		case "egress_source":
			k.source = r.clip(maxString)
		case "nodeid":
			k.node = r.clip(maxString)
		case "timestamp":
			k.at = cut(r.scalar(), maxNumber)
		case "event_time":
			k.event = cut(r.scalar(), maxNumber)
		case "created":
			k.created = cut(r.scalar(), maxNumber)
		case "created_time":
			k.createdAt = cut(r.scalar(), maxNumber)
		case "num_attempts":
			k.attempts = cut(r.scalar(), maxNumber)
		case "response":
			k.readResponse(r)
		case "peer_address":
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
				case "name":
					k.peerName = r.clip(maxString)
				case "addr":
					k.peerIP = r.clip(maxString)
				}
			}
		case "source_address":
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "address" {
					k.sourceIP = cutPort(r.clip(maxString))
				}
			}
		case "meta":
			p.readKumoMeta(r)
		case "headers":
			p.readKumoHeaders(r, k)
		case "feedback_report":
			k.report = r.kind() == '{'
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
				case "feedback_type":
					k.feedback = r.clip(maxString)
				case "original_mail_from":
					k.reported = r.kind() == '"'
					k.reportSender = bare(r.clip(maxString))
				case "source_ip":
					k.reportIP = r.clip(maxString)
				case "original_message":
					k.original = r.clip(maxHeader)
				case "original_rcpt_to":
					addressed, why = readAddresses(r, nil)
				case "supplemental_trace":
					for ok := r.object(); ok; ok = r.more() {
						if r.key == "recipient" && len(addressed) == 0 {
							addressed, why = readAddresses(r, nil)
						}
					}
				}
			}
		}
	}
	if k.report {
		// The record's own recipient is the mailbox that takes the reports.
		p.recipients = append(p.recipients[:0], addressed...)
	}
	return why
}

// readResponse reads {"code":550,"enhanced_code":{"class":5,"subject":1,"detail":1},"content":"...","command":"RCPT TO:<...>"}.
func (k *kumoRecord) readResponse(r *reader) {
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "code":
			k.code = cut(r.scalar(), maxNumber)
		case "content":
			k.content = r.clip(maxText)
		case "command":
			k.command = r.clip(maxString)
		case "enhanced_code":
			var class, subject, detail string
			found := false
			for ok := r.object(); ok; ok = r.more() {
				found = true
				switch r.key {
				case "class":
					class = r.scalar()
				case "subject":
					subject = r.scalar()
				case "detail":
					detail = r.scalar()
				}
			}
			if found {
				k.enhanced = enhancedCode(class, subject, detail)
			}
		}
	}
}

// enhancedCode joins the three numbers, without allocating for the codes that are seen most.
func enhancedCode(class, subject, detail string) string {
	if len(class) == 1 && len(subject) == 1 && len(detail) == 1 {
		for _, known := range [...]string{"2.0.0", "5.1.1", "4.2.2", "4.7.0", "5.7.1", "2.1.5", "4.4.1", "4.4.2", "5.2.1", "4.7.1"} {
			if known[0] == class[0] && known[2] == subject[0] && known[4] == detail[0] {
				return known
			}
		}
	}
	if s := class + "." + subject + "." + detail; smtpreply.ValidEnhanced(s) {
		return s
	}
	return ""
}

// readKumoMeta reads meta for what label rules ask for: log_hooks and configure_local_logs choose what it holds.
func (p *Parser) readKumoMeta(r *reader) {
	if !p.looks(placeMeta) && !p.wants.user && !p.wants.client {
		return
	}
	for ok := r.object(); ok; ok = r.more() {
		p.look(placeMeta, r)
		switch {
		case r.key == "authn_id" && p.wants.user:
			p.fact(site.FactUser, "", r.str())
		case r.key == "received_from" && p.wants.client:
			p.fact(site.FactClient, "", r.str())
		}
	}
}

// readKumoHeaders reads the header fields that the policy has logged.
func (p *Parser) readKumoHeaders(r *reader, k *kumoRecord) {
	for ok := r.object(); ok; ok = r.more() {
		id := len(r.key) == len("Message-ID") && strings.EqualFold(r.key, "Message-ID")
		if !id && !p.asksHeader(r.key) {
			continue
		}
		name, value := r.key, firstScalar(r)
		if id {
			k.messageID = value
		}
		p.header(name, value)
	}
}

// readAddresses reads a string, or an array of strings.
func readAddresses(r *reader, into []recipient) ([]recipient, Reason) {
	if r.kind() != '[' {
		if s := bare(r.str()); s != "" {
			into = append(into, recipient{address: s})
		}
		return into, reasonNone
	}
	why := reasonNone
	for ok := r.array(); ok; ok = r.next() {
		if s := bare(r.str()); s == "" {
			continue
		} else if len(into) == MaxRecipients {
			why = ReasonTooMany
		} else {
			into = append(into, recipient{address: s})
		}
	}
	return into, why
}

// sendKumo turns the record that was read into events, one for each recipient.
func (p *Parser) sendKumo(k *kumoRecord, text string) Reason {
	outcome := schema.Outcome_OUTCOME_UNSPECIFIED
	switch k.kind {
	case "Delivery":
		outcome = schema.Outcome_DELIVERED
	case "Bounce", "AdminBounce":
		outcome = schema.Outcome_BOUNCED
	case "TransientFailure":
		outcome = schema.Outcome_DEFERRED
	case "Expiration":
		outcome = schema.Outcome_EXPIRED
	case "OOB":
		outcome = schema.Outcome_ASYNC_BOUNCE
	case "Feedback":
		var noise Noise
		if outcome, noise = feedback(k.feedback); outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
		if len(p.recipients) == 0 {
			return p.noise(NoiseNobody)
		}
	case "Reception":
		return p.noise(NoiseAccepted)
	case "Rejection":
		return p.noise(NoiseInbound)
	case "Delayed", "AdminRebind", "DeferredInjectionRebind", "XferOut", "XferIn":
		return p.noise(NoiseQueue)
	case "":
		return ReasonFormat
	default:
		return p.unknownType(k.kind)
	}
	if len(p.recipients) == 0 {
		return ReasonRecipient
	}
	at, ok := stamp(k.event)
	if !ok {
		if at, ok = stamp(k.at); !ok {
			return ReasonTime
		}
	}
	k.compose()
	if k.kind == "OOB" || k.kind == "Feedback" {
		p.readOriginal(k)
	}
	for _, to := range p.recipients {
		ev := p.newEvent() // anew for each: the last was the handler's to change
		ev.OccurredAtUs, ev.Outcome, ev.Final = at, outcome, true
		p.fillKumo(ev, k)
		p.send(ev, to.address, text)
	}
	return reasonNone
}

// fillKumo writes what the record says of each of its recipients.
func (p *Parser) fillKumo(ev *schema.DeliveryEvent, k *kumoRecord) {
	if ev.MtaHost == "" {
		ev.MtaHost = cut(k.node, maxString)
	}
	ev.FeedEventId = cut(k.eventID, maxString)
	switch k.kind {
	case "Feedback":
		p.kumoFeedback(ev, k)
	case "OOB":
		k.async(ev)
	default:
		ev.QueueId, ev.MessageId = cut(k.id, maxString), cut(k.messageID, maxString)
		ev.Sender, ev.HasSender = cut(k.sender, maxString), k.hasSender
		ev.Instance = cut(cmp.Or(k.source, k.pool), maxString)
		tenant, campaign := kumoQueue(k.queue)
		setLabels(ev, tenant, "", campaign)
		k.attempt(ev)
	}
}

// kumoQueue takes "campaign:tenant@domain" apart; campaign and tenant may be missing.
func kumoQueue(queue string) (tenant, campaign string) {
	at := strings.LastIndexByte(queue, '@')
	if at < 0 {
		return "", ""
	}
	if campaign, tenant, ok := strings.Cut(queue[:at], ":"); ok {
		return tenant, campaign
	}
	return queue[:at], ""
}
