package dsn

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// parser holds what Parse knows so far.
type parser struct {
	lim    Limits
	mail   []byte // with LF at the line ends, no longer than the limits allow
	report Report
	top    header
	parts  []part

	from       author
	passedOn   bool           // by a person: see isPassedOn
	paths      []string       // that may be the report's own envelope recipient
	originalTo string         // the only To address of the returned message
	comments   map[int]string // behind the Status of a recipient, by its index
	index      map[string]int // recipients by address, lower case; used where there are many

	text    *string // decoded, on demand
	reading *reading
}

// Parse reads one mail. Errors are [ErrNotMail] and, for a header beyond the limits, a *[LimitError]; there is no report then.
// What is merely too long leaves a report, with Report.Cut. Time and memory are linear in the bytes that the limits let through,
// whatever the mail holds.
func Parse(mail []byte, lim Limits) (*Report, error) {
	p := &parser{lim: lim.withDefaults()}
	p.report.textBytes = p.lim.TextBytes
	// More than the limits allow, so that a mail that is too long is seen to be.
	p.mail = skipBlankLines(unixLines(mail, p.lim.HeaderBytes+p.lim.BodyBytes+maxBlank+1))
	h, body, err := parseHeader(p.mail, &p.lim)
	if err != nil {
		return nil, err
	}
	if len(h.fields) == 0 {
		return nil, ErrNotMail
	}
	p.top = h
	if h.long {
		p.note(LimitLineBytes, p.lim.LineBytes)
	}
	if len(body) > p.lim.BodyBytes {
		body = body[:p.lim.BodyBytes]
		p.note(LimitBodyBytes, p.lim.BodyBytes)
	}
	p.walk(h, body)
	p.readTop()
	p.readParts()
	p.finish()
	return &p.report, nil
}

// walk finds the parts.
func (p *parser) walk(h header, body []byte) {
	w := walker{lim: &p.lim, cut: p.report.Cut}
	w.walk(h, body, 0)
	p.parts, p.report.Cut = w.parts, w.cut
}

// maxBlank bounds what may stand in front of a mail.
const maxBlank = 4096

// skipBlankLines skips what some programs put in front of a mail that they save: a byte order mark, blank lines.
func skipBlankLines(mail []byte) []byte {
	mail = bytes.TrimPrefix(mail, []byte("\xef\xbb\xbf"))
	for start := mail; len(start)-len(mail) < maxBlank; {
		line, rest := cutLine(mail)
		if rest == nil || len(bytes.TrimSpace(line)) > 0 {
			break
		}
		mail = rest
	}
	return mail
}

func (p *parser) clip(s string) string { return clip(s, p.lim.TextBytes) }

func (p *parser) note(what string, limit int) {
	w := walker{cut: p.report.Cut}
	w.note(what, limit)
	p.report.Cut = w.cut
}

// add adds a recipient; false if there are too many.
func (p *parser) add(rec Recipient) bool {
	const few = 8 // up to here a search from the front is cheaper than a map
	n := len(p.report.Recipients)
	if n >= p.lim.Recipients {
		p.note(LimitRecipients, p.lim.Recipients)
		return false
	}
	p.report.Recipients = append(p.report.Recipients, rec)
	switch {
	case n == few:
		p.index = map[string]int{}
		for i := range p.report.Recipients {
			p.index[strings.ToLower(p.report.Recipients[i].Recipient)] = i
		}
	case n > few:
		p.index[strings.ToLower(rec.Recipient)] = n
	}
	return true
}

// find returns a recipient's index, of the last one where there are several, or -1.
func (p *parser) find(addr string) int {
	if p.index != nil {
		if i, ok := p.index[strings.ToLower(addr)]; ok {
			return i
		}
		return -1
	}
	for i := len(p.report.Recipients) - 1; i >= 0; i-- {
		if same(p.report.Recipients[i].Recipient, addr) {
			return i
		}
	}
	return -1
}

func (p *parser) has(addr string) bool { return p.find(addr) >= 0 }

func (p *parser) readTop() {
	r := &p.report
	r.MessageID = p.clip(p.top.get("Message-ID"))
	r.Date = parseDate(p.top.get("Date"))
	r.Subject = p.clip(decodeHeader(p.top.get("Subject")))
	p.readPaths()
	p.from = p.findAuthor()
	p.passedOn = p.isPassedOn()
}

// readParts reads the machine-readable parts first, and the text only for what they leave open.
func (p *parser) readParts() {
	r := &p.report
	var notification *part
	if !p.passedOn {
		notification = p.readReports()
		if notification == nil && r.Feedback == nil && len(r.Recipients) == 0 && p.unwrap() {
			notification = p.readReports()
		}
	}
	for i := range p.parts {
		if part := &p.parts[i]; part.isReturned() {
			p.readReturned(part.decoded())
		}
	}
	switch {
	case r.Feedback != nil:
		p.finishFeedback()
	case len(r.Recipients) > 0:
		p.finishStatus()
	case p.aggregate():
	case notification != nil:
		p.readNotification(notification)
	case p.top.has("X-HmXmrOriginalRecipient"):
		// QUIRK: old complaints of Hotmail are the message itself, with this field.
		r.Kind, r.Format, r.Feedback = Complaint, "jmrp", &Feedback{Type: "abuse"}
		p.readReturned(p.mail)
		r.OriginalSender = ""
		p.finishFeedback()
	default:
		p.readWords()
	}
	if r.Kind == "" {
		r.Kind = kindOf(r.Recipients)
	}
}

// readReports reads the parts that are reports, and returns a notification of disposition where there is one.
func (p *parser) readReports() (notification *part) {
	found := false
	for i := range p.parts {
		part := &p.parts[i]
		switch part.mediaType {
		case "message/delivery-status", "message/global-delivery-status":
			found = true
			p.readStatus(part.decoded())
		case "message/feedback-report":
			found = true
			p.readFeedback(part.decoded())
		case "message/disposition-notification", "message/global-disposition-notification":
			notification = part
		}
	}
	if found && (len(p.report.Recipients) > 0 || p.report.Feedback != nil) {
		return notification
	}
	// QUIRK: the report is attached as text/plain or as a file of no type.
	for i := range p.parts {
		part := &p.parts[i]
		if part == notification || part.mediaType == "text/html" || strings.HasPrefix(part.mediaType, "image/") || part.isReturned() {
			continue
		}
		switch start := decodeBody(part.body[:min(len(part.body), 512)], part.encoding); {
		case beginsWithField(start, "Feedback-Type", "User-Agent", "Version"):
			part.mediaType = "message/feedback-report"
			p.readFeedback(part.decoded())
		case beginsWithField(start, "Reporting-MTA", "Final-Recipient", "Original-Recipient", "Original-Envelope-Id", "Arrival-Date", "Received-From-MTA"):
			part.mediaType = "message/delivery-status"
			p.readStatus(part.decoded())
		}
	}
	return notification
}

// unwrap takes the parts of a report that a mail system sent on whole, as the only message in a mail of its own.
func (p *parser) unwrap() bool {
	if p.from != machine {
		return false
	}
	for i := range p.parts {
		if p.parts[i].mediaType != "message/rfc822" {
			continue
		}
		h, body, err := parseHeader(p.parts[i].decoded(), &p.lim)
		if mediaType, _ := parameters(unfold(h.raw("Content-Type"))); err != nil || mediaType != "multipart/report" {
			return false
		}
		p.walk(h, body)
		return true
	}
	return false
}

// beginsWithField reports whether b begins with one of the header fields, blank lines aside.
func beginsWithField(b []byte, names ...string) bool {
	b = bytes.TrimLeft(b, "\r\n")
	line, _ := cutLine(b)
	n := nameLen(line)
	for _, name := range names {
		if n > 0 && equalFold(line[:n], name) {
			return true
		}
	}
	return false
}

// isReturned reports whether the part is the message that is reported, or its header. RFC 6522, section 4; RFC 6533, section 6.
func (p *part) isReturned() bool {
	switch p.mediaType {
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers",
		"text/rfc822-header", "text/rfc822", "message/rfc822-headers", "message/rfc822-header": // QUIRK
		return true
	}
	return strings.HasSuffix(p.name, ".eml") // QUIRK: application/octet-stream
}

// finish fills what depends on all the rest.
func (p *parser) finish() {
	r := &p.report
	if r.Kind == Ordinary || r.Kind == AggregateReport {
		// What such a mail has attached is not reported.
		r.HasOriginal, r.OriginalMessageID, r.OriginalFrom, r.OriginalSubject, r.OriginalDKIMDomains = false, "", "", "", nil
		r.OriginalSender, r.QueueID, r.original = "", "", header{}
		return
	}
	r.ReturnPath = p.returnPath()
	switch r.Kind {
	case Failure, Delay, Relay, Delivered, Expanded:
		if r.OriginalSender == "" {
			r.OriginalSender = r.ReturnPath // RFC 5321, section 4.5.5: reports go to the return path
		}
	}
	if r.OriginalMessageID == "" && r.Feedback == nil {
		if id := p.top.get("In-Reply-To"); strings.HasPrefix(id, "<") && strings.IndexByte(id, '>') == len(id)-1 {
			r.OriginalMessageID = p.clip(id) // RFC 3834, section 3.1.5
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
