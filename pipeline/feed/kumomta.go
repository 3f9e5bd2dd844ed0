package feed

import (
	"strconv"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// KumoMTA writes one JSON object a line: its manual, "log record".

// kumoRecord is a log record, as far as it matters here.
type kumoRecord struct {
	kind, id, sender, queue, pool, node, messageID string
	hasSender                                      bool
	tenant, stream                                 string
	peerName, peerIP, sourceIP                     string
	code, enhanced, content, command               string
	at, event, created, createdAt                  string
	attempts                                       string
	report                                         bool // there is a feedback report
}

// lines reads a body line by line.
func (p *Parser) lines(all *reader) (Result, error) {
	s := all.s
	for i := 0; i < len(s); {
		end := lineEnd(s, i)
		r := reader{s: s[i:end], dirty: all.dirty}
		p.from, i = i, end
		if r.kind() == 0 && r.i == len(r.s) {
			continue
		}
		if p.res.Records == MaxRecords {
			return p.tooMany()
		}
		p.res.Records++
		from := r.i
		why := p.readKumo(&r)
		to := r.i
		if !r.bad && (r.kind() != 0 || r.i < len(r.s)) {
			r.fail(ReasonSyntax)
		}
		switch {
		case r.bad:
			p.fault(r.why, p.from+r.i, strings.TrimRight(r.s, "\r\n"))
			continue
		case why == reasonNone:
			why = p.sendKumo(r.s[from:to])
		}
		if why != reasonNone {
			p.fault(why, p.from, strings.TrimRight(r.s, "\r\n"))
		}
	}
	return p.res, nil
}

// kumo reads one record of an array, which is how webhooks send batches.
func (p *Parser) kumo(r *reader) Reason {
	if why := p.readKumo(r); why != reasonNone {
		return why
	}
	return p.sendKumo(r.s[p.from:r.i])
}

// readKumo reads a record into p.kumoRecord and p.recipients.
func (p *Parser) readKumo(r *reader) Reason {
	p.kumoRecord = kumoRecord{}
	p.recipients = p.recipients[:0]
	k := &p.kumoRecord
	why := reasonNone
	var addressed []recipient // of the feedback report: whom the complaint is about
	for ok := r.object(); ok; ok = r.more() {
		switch r.key {
		case "type":
			k.kind = r.str()
		case "id":
			k.id = r.str()
		case "sender":
			k.hasSender = r.kind() == '"'
			k.sender = r.str()
		case "recipient":
			p.recipients, why = readAddresses(r, p.recipients[:0])
		case "queue":
			k.queue = r.str()
		case "egress_pool":
			k.pool = r.str()
		case "nodeid":
			k.node = r.str()
		case "timestamp":
			k.at = r.scalar()
		case "event_time":
			k.event = r.scalar()
		case "created":
			k.created = r.scalar()
		case "created_time":
			k.createdAt = r.scalar()
		case "num_attempts":
			k.attempts = r.scalar()
		case "response":
			k.readResponse(r)
		case "peer_address":
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
				case "name":
					k.peerName = r.str()
				case "addr":
					k.peerIP = r.str()
				}
			}
		case "source_address":
			for ok := r.object(); ok; ok = r.more() {
				if r.key == "address" {
					k.sourceIP = cutPort(r.str())
				}
			}
		case "meta", "headers":
			p.readKumoNames(r)
		case "feedback_report":
			k.report = r.kind() == '{'
			for ok := r.object(); ok; ok = r.more() {
				switch r.key {
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
			k.code = r.scalar()
		case "content":
			k.content = r.str()
		case "command":
			k.command = r.str()
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

// readKumoNames reads meta or headers for what Config and the event ask for. Headers are logged where the policy says so
// (log_hooks, headers = { ... }).
func (p *Parser) readKumoNames(r *reader) {
	k := &p.kumoRecord
	for ok := r.object(); ok; ok = r.more() {
		switch {
		case r.key == p.cfg.TenantKey && r.key != "":
			k.tenant = r.scalar()
		case r.key == p.cfg.StreamKey && r.key != "":
			k.stream = r.scalar()
		case len(r.key) == len("Message-ID") && strings.EqualFold(r.key, "Message-ID"):
			k.messageID = r.str()
		}
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
func (p *Parser) sendKumo(text string) Reason {
	k := &p.kumoRecord
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
		outcome = schema.Outcome_COMPLAINT
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
		return ReasonType
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
	ev := p.newEvent()
	ev.OccurredAtUs, ev.Outcome = at, outcome
	ev.Final = true
	ev.MtaHost, ev.QueueId, ev.MessageId = cut(k.node, maxString), cut(k.id, maxString), cut(k.messageID, maxString)
	if outcome != schema.Outcome_COMPLAINT { // whose sender is that of the report
		ev.Sender, ev.HasSender = cut(k.sender, maxString), k.hasSender
	}
	ev.Instance = cut(k.pool, maxString)
	ev.Tenant, ev.Stream = kumoQueue(cut(k.queue, maxString))
	if k.tenant != "" {
		ev.Tenant = cut(k.tenant, maxString)
	}
	if k.stream != "" {
		ev.Stream = cut(k.stream, maxString)
	}
	switch outcome {
	case schema.Outcome_COMPLAINT:
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	case schema.Outcome_ASYNC_BOUNCE:
		// The response is put together from the report's Status and Diagnostic-Code: its code is the remote's only if
		// there are words.
		a := answer{text: k.content, origin: schema.Origin_ASYNC_DSN, phase: schema.Phase_ASYNC, enhanced: k.enhanced}
		if k.content != "" {
			a.code, _ = strconv.Atoi(k.code)
		}
		fill(ev, a)
	default:
		k.attempt(ev)
	}
	for _, to := range p.recipients {
		p.send(ev, to.address, text, "")
	}
	return reasonNone
}

// attempt fills in what the records of deliveries and failures say.
func (k *kumoRecord) attempt(ev *schema.DeliveryEvent) {
	ev.SourceIp = cut(k.sourceIP, maxString)
	ev.RemoteHost, ev.RemoteIp = cut(strings.TrimSuffix(k.peerName, "."), maxString), cut(k.peerIP, maxString)
	born, ok := stamp(k.createdAt)
	if !ok {
		born, ok = stamp(k.created)
	}
	if ok {
		setDelay(ev, ev.OccurredAtUs-born)
	}
	a := k.answer(ev.Outcome)
	fill(ev, a)
	remote := a.origin == schema.Origin_REMOTE_REPLY
	if remote && k.enhanced != "" {
		// KumoMTA has taken the code out of the reply; it makes up none for a remote's.
		ev.EnhancedCode, ev.EnhancedSource = k.enhanced, schema.EnhancedSource_ENHANCED_REMOTE
	}
	if ev.Outcome == schema.Outcome_DEFERRED {
		ev.Final = false
		if kumoNoAttempt(k.content) && !remote {
			ev.Outcome = schema.Outcome_SUSPENDED
		}
	}
	// num_attempts is raised when a message goes back into its queue, behind the record: it counts the earlier attempts.
	if n := count(k.attempts); k.attempts != "" {
		ev.Attempt = n
		if ev.Outcome != schema.Outcome_SUSPENDED && ev.Outcome != schema.Outcome_EXPIRED && k.kind != "AdminBounce" {
			ev.Attempt++
		}
	}
}

// kumoInternal marks most of what KumoMTA finds by itself.
const kumoInternal = "KumoMTA internal: "

// answer tells the remote's reply from KumoMTA's own words, which are marked, or have no command that they answer.
func (k *kumoRecord) answer(outcome schema.Outcome) answer {
	a := answer{text: k.reply(), origin: schema.Origin_REMOTE_REPLY, enhanced: k.enhanced}
	a.code, _ = strconv.Atoi(k.code)
	phase, own := kumoOwn(k.content)
	switch {
	case outcome == schema.Outcome_DELIVERED && k.peerIP != "":
		a.phase = schema.Phase_EOM
	case strings.HasPrefix(k.content, kumoInternal):
		a.origin, a.phase = schema.Origin_LOCAL_MTA, phase
		if phase == schema.Phase_PHASE_UNSPECIFIED {
			a.phase = commandPhase(k.command)
		}
	case k.command != "" && outcome != schema.Outcome_EXPIRED:
		a.phase = commandPhase(k.command)
	case outcome == schema.Outcome_EXPIRED, k.kind == "AdminBounce":
		a.origin, a.phase = schema.Origin_LOCAL_MTA, schema.Phase_QUEUE
	default:
		if own || k.peerIP == "" {
			a.origin, a.phase = schema.Origin_LOCAL_MTA, phase
		}
	}
	return a
}

// reply writes the response as it stood on the wire.
func (k *kumoRecord) reply() string {
	switch {
	case len(k.code) != 3:
		return k.content
	case k.enhanced == "":
		return k.code + " " + k.content
	}
	return k.code + " " + k.enhanced + " " + k.content
}

// commandPhase maps a command, as it was sent or as KumoMTA's sources name it, to its phase; "." is the final dot.
func commandPhase(command string) schema.Phase {
	for _, c := range [...]struct {
		verb  string
		phase schema.Phase
	}{
		{"RCPT", schema.Phase_RCPT},
		{".", schema.Phase_EOM},
		{"DataDot", schema.Phase_EOM},
		{"MAIL", schema.Phase_MAIL},
		{"DATA", schema.Phase_DATA},
		{"EHLO", schema.Phase_EHLO},
		{"HELO", schema.Phase_EHLO},
		{"LHLO", schema.Phase_EHLO},
		{"STARTTLS", schema.Phase_TLS},
		{"AUTH", schema.Phase_AUTH},
		{"QUIT", schema.Phase_QUIT},
	} {
		if len(command) >= len(c.verb) && strings.EqualFold(command[:len(c.verb)], c.verb) {
			return c.phase
		}
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// kumoOwn recognises KumoMTA's own words and the phase that they speak of.
func kumoOwn(content string) (phase schema.Phase, own bool) {
	words, internal := strings.CutPrefix(content, kumoInternal)
	switch {
	case strings.HasPrefix(words, "failed to connect to any candidate hosts"):
		return connectPhase(words), true
	case internal:
		if _, command, ok := strings.Cut(words, "for response to "); ok {
			return commandPhase(strings.TrimLeft(command, "[\" ")), true
		}
		return schema.Phase_PHASE_UNSPECIFIED, true
	case kumoNoAttempt(content), strings.HasPrefix(content, "Next delivery time would be "):
		return schema.Phase_QUEUE, true
	case strings.HasPrefix(content, "MX consisted solely of hosts on the skip_hosts list"),
		strings.HasPrefix(content, "MX didn't resolve to any hosts"),
		strings.HasPrefix(content, "Recipient address has a null MX"):
		return schema.Phase_DNS, true
	}
	return schema.Phase_PHASE_UNSPECIFIED, false
}

// connectPhase judges the list of candidates that failed: by the last failure in it, which was the last try.
func connectPhase(words string) schema.Phase {
	phase, last := schema.Phase_CONNECT, -1
	for _, w := range [...]struct {
		words string
		phase schema.Phase
	}{
		{"read initial banner", schema.Phase_BANNER},
		{"TLS handshake", schema.Phase_TLS},
		{"DANE TLSA lookup", schema.Phase_TLS},
		{"Connection refused", schema.Phase_CONNECT},
		{"Network is unreachable", schema.Phase_CONNECT},
	} {
		if k := strings.LastIndex(words, w.words); k > last {
			phase, last = w.phase, k
		}
	}
	return phase
}

// kumoNoAttempt recognises the words of a message that was put off without an attempt.
func kumoNoAttempt(content string) bool {
	content = strings.TrimPrefix(content, kumoInternal)
	for _, w := range [...]string{"bulk delay of ready queue", "throttled message rate", "ready queue throttled"} {
		if strings.HasPrefix(content, w) {
			return true
		}
	}
	return strings.Contains(content, "scheduled queue is suspended: ")
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
