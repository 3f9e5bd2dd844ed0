package dsn

import (
	"bytes"
	"strings"
)

// maxDKIMDomains bounds Report.OriginalDKIMDomains.
const maxDKIMDomains = 10

// readReturned reads the header of the message that is reported, RFC 3464, section 2 calls it the third part, and keeps a copy of
// it. The first one counts.
func (p *parser) readReturned(b []byte) {
	if p.report.HasOriginal {
		return
	}
	b = bytes.TrimLeft(b, "\r\n-= \t") // what stands around the returned message in a text
	// Only the header is copied: it ends at the first empty line.
	end := bytes.Index(b[:min(len(b), p.lim.HeaderBytes)], []byte("\n\n"))
	if end < 0 {
		end = min(len(b), p.lim.HeaderBytes)
	}
	h, _, err := parseHeader(bytes.Clone(b[:end]), &p.lim)
	if err != nil {
		p.note(err.What, err.Limit)
	}
	if h.long {
		p.note(LimitLineBytes, p.lim.LineBytes)
	}
	if len(h.fields) == 0 {
		return
	}
	p.report.HasOriginal = true
	p.report.original = h
	p.readOriginal(&h)
}

// readOriginal takes what identifies the message that is reported from its header.
func (p *parser) readOriginal(h *header) {
	r := &p.report
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
	if addr, _ := firstAddress(h.get("From")); addr != "" {
		r.OriginalFrom = p.clip(addr)
	}
	if addr, several := firstAddress(h.get("To")); !several && addr != "" && !p.isOwn(h, addr) {
		p.originalTo = p.clip(addr)
	}
	p.readDKIM(h)
	p.readReceived(h)
}

// isOwn reports whether an address of the returned To names nobody who was mailed: the sender itself, who sent to others by Bcc,
// or the mailing list (RFC 2369, section 3.4) whose members were mailed.
func (p *parser) isOwn(h *header, addr string) bool {
	if same(addr, p.report.OriginalFrom) {
		return true
	}
	post := h.raw("List-Post")
	return post != nil && strings.Contains(strings.ToLower(unfold(post)), "mailto:"+strings.ToLower(addr))
}

func (p *parser) readDKIM(h *header) {
	r := &p.report
	for value := range h.values("DKIM-Signature") {
		if len(r.OriginalDKIMDomains) == maxDKIMDomains {
			return
		}
		domain := p.clip(strings.ToLower(tag(value, 'd')))
		if !plausible("x@"+domain) || contains(r.OriginalDKIMDomains, domain) {
			continue
		}
		r.OriginalDKIMDomains = append(r.OriginalDKIMDomains, domain)
	}
}

// tag returns the value of a tag with a name of one letter. RFC 6376, section 3.2.
func tag(list []byte, name byte) string {
	for len(list) > 0 {
		item, rest, _ := bytes.Cut(list, []byte(";"))
		key, value, found := bytes.Cut(item, []byte("="))
		if key = bytes.TrimSpace(key); found && len(key) == 1 && key[0] == name {
			return string(bytes.TrimSpace(value))
		}
		list = rest
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// maxTrace is how many trace fields of the returned message are read: the reporting server's are the newest, at the top.
const maxTrace = 20

// readReceived looks in the newest trace field (RFC 5321, section 4.4) of the returned message for the name that the reporting
// server gave it, and for its sender where servers write it there.
func (p *parser) readReceived(h *header) {
	r := &p.report
	seen := 0
	for value := range h.values("Received") {
		if seen++; seen > maxTrace || r.QueueID != "" && r.OriginalSender != "" {
			return
		}
		s := unfold(value)
		if r.OriginalSender == "" {
			r.OriginalSender = p.clip(envelopeFrom(s))
		}
		// Behind "id" Exchange writes the version of its software.
		if r.QueueID == "" && r.ReportingMTA != "" && !strings.Contains(s, "Microsoft SMTP Server") {
			r.QueueID = p.clip(idFrom(s, r.ReportingMTA))
		}
	}
}

// envelopeFrom finds the envelope sender that some servers write into their trace field.
func envelopeFrom(s string) string {
	for _, mark := range [...]string{"envelope-from ", "envelope-from=", "envelope sender: "} {
		if at := strings.Index(s, mark); at >= 0 {
			if addr := strings.Trim(firstWord(s[at+len(mark):]), "<>();,"); plausible(addr) {
				return addr
			}
		}
	}
	return ""
}

// idFrom returns the id in a trace field of the given host.
func idFrom(s, host string) string {
	before, by, found := strings.Cut(s, "by "+host)
	if !found {
		return ""
	}
	_, id, found := strings.Cut(by, " id ")
	if !found { // dma: from, id, by
		if _, id, found = strings.Cut(before, " id "); !found {
			return ""
		}
	}
	return strings.Trim(firstWord(id), "<>;")
}
