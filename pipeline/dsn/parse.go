package dsn

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// parser holds what Parse knows so far.
type parser struct {
	lim    Limits
	report Report
	top    header
	parts  []part

	haveOriginal bool
	original     header // of the returned message
	originalTo   string // its only To address
	returnedTo   string // the envelope recipient of the report: the sender's return path

	text    *string // decoded, on demand
	reading *reading
}

// Parse reads one mail. Errors are [ErrNotMail] and, for a header beyond the limits, a *[LimitError]; there is no report then.
// What is merely too long leaves a report, with Report.Cut.
func Parse(mail []byte, lim Limits) (*Report, error) {
	p := &parser{lim: lim.withDefaults()}
	mail = skipBlankLines(mail)
	h, body, err := parseHeader(mail, &p.lim)
	if err != nil {
		return nil, err
	}
	if len(h.fields) == 0 {
		return nil, ErrNotMail
	}
	p.top = h
	if len(body) > p.lim.BodyBytes {
		body = body[:p.lim.BodyBytes]
		p.note("body bytes", p.lim.BodyBytes)
	}
	w := walker{lim: &p.lim, cut: p.report.Cut}
	w.walk(h, body, 0)
	p.parts, p.report.Cut = w.parts, w.cut

	p.readTop()
	p.readParts()
	return &p.report, nil
}

// skipBlankLines skips what some programs put in front of a mail that they save.
func skipBlankLines(mail []byte) []byte {
	for {
		line, rest := cutLine(mail[:min(len(mail), 4096)])
		if rest == nil || len(bytes.TrimSpace(line)) > 0 {
			return mail
		}
		mail = mail[len(mail[:min(len(mail), 4096)])-len(rest):]
	}
}

func (p *parser) clip(s string) string { return clip(s, p.lim.TextBytes) }

func (p *parser) note(what string, limit int) {
	w := walker{cut: p.report.Cut}
	w.note(what, limit)
	p.report.Cut = w.cut
}

func (p *parser) add(rec Recipient) {
	if len(p.report.Recipients) >= p.lim.Recipients {
		p.note("recipients", p.lim.Recipients)
		return
	}
	p.report.Recipients = append(p.report.Recipients, rec)
}

func (p *parser) readTop() {
	r := &p.report
	r.MessageID = p.clip(p.top.get("Message-ID"))
	r.Date = parseDate(p.top.get("Date"))
	r.Subject = p.clip(decodeHeader(p.top.get("Subject")))
	for _, name := range [...]string{"X-Original-To", "Delivered-To", "To"} {
		if addr, _ := firstAddress(p.top.get(name)); addr != "" {
			p.returnedTo = p.clip(addr)
			break
		}
	}
}

// readParts reads the machine-readable parts first, and the text only for what they leave open.
func (p *parser) readParts() {
	r := &p.report
	var originals []*part
	disposition := false
	for i := range p.parts {
		part := &p.parts[i]
		switch part.mediaType {
		case "message/delivery-status", "message/global-delivery-status":
			p.readStatus(decodeBody(part.body, part.encoding))
		case "message/feedback-report":
			p.readFeedback(decodeBody(part.body, part.encoding))
		case "message/disposition-notification", "message/global-disposition-notification":
			disposition = true
		case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers":
			originals = append(originals, part)
		}
	}
	for _, o := range originals {
		h, _, _ := parseHeader(decodeBody(o.body, o.encoding), &p.lim)
		p.readOriginal(&h)
	}
	switch {
	case r.Feedback != nil:
		p.finishFeedback()
	case len(r.Recipients) > 0:
		r.Format = "rfc3464"
		p.complete()
	case disposition:
		r.Kind, r.Format = Disposition, "rfc8098"
		return
	case p.top.has("X-HmXmrOriginalRecipient"):
		// QUIRK: old complaints of Hotmail are the message itself, with this field.
		r.Kind, r.Format, r.Feedback = Complaint, "jmrp", &Feedback{Type: "abuse"}
		p.readOriginal(&p.top)
		r.OriginalSender = ""
		p.finishFeedback()
	default:
		p.readWords()
	}
	if r.Kind == "" {
		r.Kind = kindOf(r.Recipients)
	}
	if r.OriginalSender == "" && p.returnedTo != "" {
		switch r.Kind {
		case Failure, Delay, Relay, Delivered, Expanded:
			r.OriginalSender = p.returnedTo // RFC 5321, section 4.5.5: reports go to the return path
			// QUIRK: dma's own X-Original-To names the recipient that failed.
			if to, _ := firstAddress(p.top.get("To")); to != "" && p.has(p.returnedTo) {
				r.OriginalSender = p.clip(to)
			}
		}
	}
	if r.QueueID == "" && p.reading != nil {
		r.QueueID = p.clip(p.reading.queueID)
	}
	p.attribute()
	for i := range r.Recipients {
		if rec := &r.Recipients[i]; rec.Origin == 0 {
			rec.Origin = schema.Origin_ASYNC_DSN
		}
	}
}

// kindOf is the worst of what happened to the recipients.
func kindOf(recipients []Recipient) Kind {
	rank := func(action string) int { return strings.Index("expanded delivered relayed delayed failed", action) }
	worst := ""
	for i := range recipients {
		if a := recipients[i].Action; worst == "" || a != "" && rank(a) > rank(worst) {
			worst = a
		}
	}
	switch worst {
	case "delayed":
		return Delay
	case "relayed":
		return Relay
	case "delivered":
		return Delivered
	case "expanded":
		return Expanded
	}
	return Failure
}

// complete fills what the fields of a delivery status leave open from the text in front of them.
func (p *parser) complete() {
	r := &p.report
	for i := range r.Recipients {
		rec := &r.Recipients[i]
		if rec.Action == "delivered" || rec.Action == "relayed" || rec.Action == "expanded" {
			continue
		}
		broken := len(rec.Diagnostic) > 3 && rec.Diagnostic[3] == '-' && rec.SMTPCode != 0 && !strings.Contains(rec.Diagnostic[4:], rec.Diagnostic[:3]+" ")
		if rec.Diagnostic == "" || broken || rec.Phase == 0 && rec.SMTPCode != 0 && rec.DiagnosticType == "smtp" || rec.Action == "" {
			p.completeOne(rec, broken)
		}
		if rec.Action == "" {
			rec.Action = actionOf(rec.Status)
		}
		// QUIRK: OpenSMTPD calls the end of the queue's lifetime "delayed".
		if rec.Action == "delayed" && rec.Status == "4.4.7" && strings.HasPrefix(strings.ToLower(rec.Diagnostic), "envelope expired") {
			rec.Action = "failed"
		}
	}
}

func (p *parser) completeOne(rec *Recipient, broken bool) {
	reading := p.words()
	b := reading.find(rec.Recipient)
	if b == nil && rec.Original != "" {
		b = reading.find(rec.Original)
	}
	if b == nil {
		for i := range reading.blocks { // the report speaks of the address before the alias
			if same(reading.blocks[i].original, rec.Recipient) {
				b = &reading.blocks[i]
				rec.Original, rec.Recipient = rec.Recipient, p.clip(b.recipient)
				break
			}
		}
	}
	if b == nil && len(p.report.Recipients) == 1 && len(reading.blocks) == 1 && rec.Diagnostic == "" {
		b = &reading.blocks[0]
	}
	if b == nil {
		return
	}
	words := b.wordsFor(reading)
	a := readAnswer(words)
	if a.text == "" {
		return
	}
	if broken {
		// Sendmail's field holds the first line of the reply only.
		if strings.HasPrefix(a.text, rec.Diagnostic) {
			rec.Diagnostic = p.clip(a.text)
		}
	}
	if rec.Diagnostic != "" && a.text != rec.Diagnostic {
		return // about another answer
	}
	p.setWords(rec, a)
	b.addTo(p, rec)
}

func (b *block) addTo(p *parser, rec *Recipient) {
	if rec.RemoteMTA == "" {
		rec.RemoteMTA = p.clip(b.remote)
	}
	if rec.Phase == 0 && b.command != "" {
		// A reply behind DATA may answer the RCPT command that was sent with it (RFC 2920): it tells no phase.
		rec.Phase = phaseIn(strings.ToLower(b.command))
	}
	if rec.Original == "" {
		rec.Original = p.clip(b.original)
	}
}

// wordsFor are the block's own, or those that apply to all.
func (b *block) wordsFor(r *reading) string {
	if len(b.words) == 0 {
		return r.sharedWords()
	}
	words := strings.Join(b.words, "\n")
	// Sendmail: (reason: 550 5.1.1 unknown)
	if rest, ok := after(words, "(reason: "); ok {
		words = strings.TrimSuffix(rest, ")")
	} else if rest, ok := after(words, "(reason:"); ok {
		words = strings.TrimSuffix(rest, ")")
	}
	return words
}

func actionOf(status string) string {
	if strings.HasPrefix(status, "4") {
		return "delayed"
	}
	if strings.HasPrefix(status, "2") {
		return "delivered"
	}
	return "failed"
}

// words reads the text on demand.
func (p *parser) words() *reading {
	if p.reading == nil {
		p.reading = p.readText(p.plainText())
	}
	return p.reading
}

// plainText joins the parts that a person reads: plain text, or HTML where there is no plain text.
func (p *parser) plainText() string {
	if p.text != nil {
		return *p.text
	}
	var out strings.Builder
	for _, kind := range [...]string{"text/plain", "text/html"} {
		for i := range p.parts {
			if part := &p.parts[i]; part.mediaType == kind || kind == "text/plain" && unknownText(part.mediaType) {
				out.WriteString(part.text())
				out.WriteByte('\n')
			}
		}
		if len(strings.TrimSpace(out.String())) > 0 {
			break
		}
		out.Reset()
	}
	s := out.String()
	p.text = &s
	return s
}

func unknownText(mediaType string) bool {
	return mediaType == "text" || mediaType == "" || mediaType == "text/us-ascii" || mediaType == "report/delivery-status"
}

// statusInText finds the fields of a delivery status within a text.
func (p *parser) statusInText(text string) bool {
	b := []byte(text)
	if !looksLikeStatus(b) {
		return false
	}
	start := bytes.Index(b, []byte("Reporting-MTA:"))
	if i := bytes.Index(b, []byte("inal-Recipient:")); start < 0 || start > i {
		start = bytes.LastIndexByte(b[:max(i, 0)], '\n') + 1
		// The group may begin with another field.
		for start > 1 {
			prev := bytes.LastIndexByte(b[:start-1], '\n') + 1
			if nameLen(b[prev:start-1]) == 0 {
				break
			}
			start = prev
		}
	}
	p.readStatus(b[start:])
	return len(p.report.Recipients) > 0
}
