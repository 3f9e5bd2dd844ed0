package dsn

import "strings"

// readFeedback reads the body of a message/feedback-report part. RFC 5965, section 3.
func (p *parser) readFeedback(b []byte) {
	for len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
		_, b = cutLine(b)
	}
	h, _, err := parseHeader(b, &p.lim)
	if err != nil {
		p.note(err.What, err.Limit)
	}
	if !h.has("Feedback-Type") && p.report.Feedback != nil {
		return
	}
	f := &Feedback{
		Type:           p.clip(strings.ToLower(h.get("Feedback-Type"))),
		UserAgent:      p.clip(h.get("User-Agent")),
		SourceIP:       p.clip(strings.Trim(h.get("Source-IP"), "[]")),
		ReportedDomain: p.clip(h.get("Reported-Domain")),
	}
	r := &p.report
	r.Feedback, r.Format = f, "arf"
	if r.ReportingMTA == "" {
		_, host := typed(h.get("Reporting-MTA"))
		r.ReportingMTA = p.clip(host)
	}
	if r.OriginalEnvelopeID == "" {
		r.OriginalEnvelopeID = p.clip(h.get("Original-Envelope-Id"))
	}
	if from, _ := firstAddress(h.get("Original-Mail-From")); from != "" && r.OriginalSender == "" {
		r.OriginalSender = p.clip(from)
	}
	r.ArrivalDate = parseDate(h.get("Arrival-Date"))
	if r.ArrivalDate.IsZero() {
		r.ArrivalDate = parseDate(h.get("Received-Date"))
	}
	for i := range h.fields {
		switch name := h.name(i); {
		case equalFold(name, "Original-Rcpt-To"), equalFold(name, "Removal-Recipient"):
			p.addComplainant(fieldAddress(unfold(h.value(i))))
		}
	}
	switch f.Type {
	case "auth-failure":
		r.Kind = AuthFailure
	case "not-spam":
		r.Kind = NotSpam
	case "opt-out", "opt-out-list":
		r.Kind = Unsubscribe
	default:
		r.Kind = Complaint
	}
}

// addComplainant adds the recipient who complained, unless the reporter hid it (RFC 6590).
func (p *parser) addComplainant(addr string) {
	if !plausible(addr) || redacted(addr) {
		p.report.Feedback.Redacted = true
		return
	}
	if addr = p.clip(addr); !p.has(addr) {
		p.add(Recipient{Recipient: addr})
	}
}

// redacted reports whether an address is what a reporter wrote in the place of another: a word for it, or the digest of RFC 6590,
// section 3.
func redacted(addr string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(addr), "@")
	if len(local) == 28 && strings.HasSuffix(local, "=") || strings.HasPrefix(domain, "redacted.") {
		return true
	}
	local = strings.Trim(local, "<>[]()*x-_ ")
	return local == "" || strings.HasPrefix(local, "redacted") || local == "removed" || local == "hidden" || local == "nobody" || local == "anonymous"
}

// finishFeedback looks for the recipient of a feedback report in the returned message.
func (p *parser) finishFeedback() {
	r, f := &p.report, p.report.Feedback
	f.FeedbackID = p.clip(r.original.get("Feedback-ID"))
	f.ListID = p.clip(r.original.get("List-Id"))
	if f.SourceIP == "" {
		f.SourceIP = p.clip(strings.Trim(r.original.get("X-Originating-IP"), "[]"))
	}
	if len(r.Recipients) > 0 {
		return
	}
	if addr := p.ownMark(); addr != "" {
		p.addComplainant(addr)
	}
}
