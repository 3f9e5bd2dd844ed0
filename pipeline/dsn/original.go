package dsn

import "strings"

// readOriginal takes what identifies the message that is reported from its returned header. RFC 3464, section 2 calls it the
// third part.
func (p *parser) readOriginal(h *header) {
	r := &p.report
	if p.haveOriginal || len(h.fields) == 0 {
		return
	}
	p.haveOriginal = true
	if v := h.raw("Message-ID"); v != nil {
		r.OriginalMessageID = p.clip(unfold(v))
	}
	if v := h.raw("Subject"); v != nil {
		r.OriginalSubject = p.clip(decodeHeader(unfold(v)))
	}
	if r.OriginalSender == "" {
		if addr, _ := firstAddress(h.get("Return-Path")); addr != "" {
			r.OriginalSender = p.clip(addr)
		}
	}
	if addr, several := firstAddress(h.get("To")); !several {
		p.originalTo = p.clip(addr)
	}
	p.readReceived(h)
	p.original = *h
}

// readReceived looks in the newest trace field (RFC 5321, section 4.4) of the returned message for the name that the reporting
// server gave it, and for its sender where servers write it there.
func (p *parser) readReceived(h *header) {
	r := &p.report
	for i := range h.fields {
		if !equalFold(h.fields[i].name, "Received") {
			continue
		}
		s := unfold(h.fields[i].value)
		if r.OriginalSender == "" {
			for _, mark := range [...]string{"envelope-from ", "envelope-from=", "envelope sender: "} {
				if at := strings.Index(s, mark); at >= 0 {
					word, _, _ := strings.Cut(s[at+len(mark):], " ")
					if addr := strings.Trim(word, "<>();,"); plausible(addr) {
						r.OriginalSender = p.clip(addr)
					}
				}
			}
		}
		// Behind "id" Exchange writes the version of its software.
		if r.QueueID == "" && r.ReportingMTA != "" && !strings.Contains(s, "Microsoft SMTP Server") {
			if _, by, found := strings.Cut(s, "by "+r.ReportingMTA); found {
				if _, id, found := strings.Cut(by, " id "); found {
					id, _, _ = strings.Cut(id, " ")
					r.QueueID = p.clip(strings.Trim(id, "<>;"))
				} else if before, _, found := strings.Cut(s, " by "+r.ReportingMTA); found { // dma: from, id, by
					if _, id, found := strings.Cut(before, " id "); found {
						id, _, _ = strings.Cut(id, " ")
						r.QueueID = p.clip(strings.Trim(id, "<>;"))
					}
				}
				if r.OriginalSender != "" {
					return
				}
			}
		}
	}
}

// attribute finds for each recipient the address that was mailed, where it is another than the one that failed: a message may
// have been forwarded on its way.
//
// The sender's own marks are trusted most: the variable envelope return path comes back in the report's own address or in
// the returned message. Then what the report says, then the only address in the returned To.
func (p *parser) attribute() {
	r := &p.report
	if len(r.Recipients) == 0 {
		return
	}
	known := make([]string, 0, 2*len(r.Recipients)+1)
	for i := range r.Recipients {
		known = append(known, r.Recipients[i].Recipient, r.Recipients[i].Original)
	}
	known = append(known, p.originalTo)
	verp := ""
	for _, path := range [...]string{r.OriginalSender, p.returnedTo} {
		if verp = p.clip(fromVERP(path, known)); verp != "" {
			break
		}
	}
	single := len(r.Recipients) == 1
	for i := range r.Recipients {
		rec := &r.Recipients[i]
		if rec.Recipient == "" {
			// A report that names nobody, or hides the name: the sender's marks are all there is.
			if rec.Recipient = verp; rec.Recipient == "" && single {
				rec.Recipient = p.originalTo
			}
			if p.report.Feedback == nil && rec.Recipient == "" {
				continue
			}
		}
		// QUIRK: xtext that was not undone; the decoded form is known from elsewhere.
		if rec.Original != "" && strings.IndexByte(rec.Original, '+') >= 0 && same(decodeXtext(rec.Original), rec.Recipient) {
			rec.Original = ""
		}
		// Where the report and the returned To name the same address, that one was mailed, whatever the return path says.
		confirmed := p.originalTo != "" && (same(p.originalTo, rec.Recipient) || same(p.originalTo, rec.Original))
		if single && verp != "" && !confirmed {
			rec.Original = verp
		}
		if rec.Original == "" && single && p.originalTo != "" && !same(p.originalTo, r.OriginalSender) {
			rec.Original = p.originalTo
		}
		if same(rec.Original, rec.Recipient) || !strings.Contains(rec.Original, "@") {
			rec.Original = ""
		}
	}
}
