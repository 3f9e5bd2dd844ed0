package dsn

import (
	"bytes"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// readStatus reads the body of a message/delivery-status or message/global-delivery-status part: groups of fields, the first
// of the message, each further one of a recipient. RFC 3464, section 2.1.
//
// QUIRK: blank lines between the groups are missing or too many, and recipients' fields stand in the first group. So a group is
// what it holds: a further Final-Recipient begins a new recipient.
func (p *parser) readStatus(b []byte) {
	for len(b) > 0 {
		h, rest, err := parseHeader(b, &p.lim)
		if err != nil {
			p.note(err.What, err.Limit)
			return
		}
		if len(rest) == len(b) { // no field: a line of something else
			_, rest = cutLine(b)
		}
		p.readGroup(h)
		b = rest
	}
}

func (p *parser) readGroup(h header) {
	p.readMessageFields(&h)
	for len(h.fields) > 0 {
		end := len(h.fields)
		finals := 0
		for i := range h.fields {
			if equalFold(h.fields[i].name, "Final-Recipient") {
				if finals++; finals == 2 {
					end = i
					break
				}
			}
		}
		group := header{h.fields[:end]}
		h.fields = h.fields[end:]
		p.readRecipient(&group)
	}
}

func (p *parser) readMessageFields(h *header) {
	r := &p.report
	set := func(to *string, name string) {
		if v := h.raw(name); v != nil && *to == "" {
			_, value := typed(unfold(v))
			*to = p.clip(value)
		}
	}
	set(&r.ReportingMTA, "Reporting-MTA")
	set(&r.OriginalEnvelopeID, "Original-Envelope-Id")
	set(&r.QueueID, "X-Postfix-Queue-ID")
	set(&r.OriginalSender, "X-Postfix-Sender")
	if v := h.raw("Arrival-Date"); v != nil && r.ArrivalDate.IsZero() {
		r.ArrivalDate = parseDate(unfold(v))
	}
}

func (p *parser) readRecipient(h *header) {
	final, original, actual := h.raw("Final-Recipient"), h.raw("Original-Recipient"), h.raw("X-Actual-Recipient")
	if final == nil && original == nil && actual == nil {
		return
	}
	rec := Recipient{
		Recipient: p.clip(fieldAddress(unfold(final))),
		Original:  p.clip(fieldAddress(unfold(original))),
	}
	if !strings.Contains(rec.Recipient, "@") {
		// QUIRK: Final-Recipient names a mailbox of the system ("LOCAL; \user"); the address stands in another field.
		if a := p.clip(fieldAddress(unfold(actual))); strings.Contains(a, "@") {
			rec.Recipient = a
		} else if rec.Original != "" {
			rec.Recipient = rec.Original
		}
	}
	rec.Action = action(h.get("Action"))
	status := h.get("Status")
	var comment string
	rec.Status, comment = statusCode(status)

	kind, words := typed(h.get("Diagnostic-Code"))
	rec.DiagnosticType = p.clip(kind)
	if kind == "x-unix" && isNumber(words) {
		words = "" // the exit status of a program; the text may quote what it printed
	}
	if words == "" {
		words = comment // QUIRK: Haraka: Status: 5.1.2 (550 Tried all MXs)
	}
	// QUIRK: Oracle and Exchange have their own field, or continue there.
	if words == "" {
		words = h.get("X-Supplementary-Info")
	}
	_, remote := typed(h.get("Remote-MTA"))
	rec.RemoteMTA = p.clip(hostName(remote))
	rec.LastAttempt = parseDate(h.get("Last-Attempt-Date"))
	rec.WillRetryUntil = parseDate(h.get("Will-Retry-Until"))
	a := readAnswer(words)
	if kind == "smtp" && !strings.HasSuffix(a.wrapper, "said:") {
		a.text = joinFields(words) // the field is the reply, even where the server wrote something in front of its code
	}
	p.setWords(&rec, a)
	p.add(rec)
}

// statusCode finds the code in a Status field, and the comment behind it. RFC 3464, section 2.3.4.
func statusCode(s string) (code, comment string) {
	word, rest, _ := strings.Cut(s, " ")
	word = strings.TrimPrefix(word, "#")
	if !smtpreply.ValidEnhanced(word) {
		return "", ""
	}
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "(") {
		return word, strings.TrimSuffix(rest[1:], ")")
	}
	return word, ""
}

func action(s string) string {
	s, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(s)), " ")
	switch s = strings.TrimRight(s, ";,()"); s {
	case "failed", "delayed", "delivered", "relayed", "expanded":
		return s
	case "failure", "fail", "expired": // QUIRK: names of the NOTIFY parameter and others
		return "failed"
	case "delay", "deferred":
		return "delayed"
	case "deliverable":
		return "delivered"
	}
	return ""
}

// hostName takes a host out of "host", "host (1.2.3.4)", "host[1.2.3.4]" or "[1.2.3.4]".
func hostName(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return ""
	}
	if s[0] == '[' || s[0] == '(' {
		s = strings.TrimSpace(s[1:])
		if i := strings.IndexAny(s, "])"); i >= 0 {
			s = s[:i]
		}
		return strings.TrimSpace(s)
	}
	if i := strings.IndexAny(s, " ([,;"); i > 0 {
		s = s[:i]
	}
	return strings.TrimRight(s, ".:")
}

// setWords puts what the words about a recipient tell into the fields that are empty.
func (p *parser) setWords(rec *Recipient, a answer) {
	if rec.Diagnostic == "" {
		rec.Diagnostic = p.clip(a.text)
	}
	if rec.SMTPCode == 0 {
		rec.SMTPCode = a.code
	}
	if a.enhanced != "" && (rec.Status == "" || generic(rec.Status)) {
		rec.Status = a.enhanced
	}
	if rec.Status != "" && rec.StatusSource != schema.EnhancedSource_ENHANCED_REMOTE {
		rec.StatusSource = schema.EnhancedSource_ENHANCED_MTA
		if a.enhanced == rec.Status && !a.local {
			rec.StatusSource = schema.EnhancedSource_ENHANCED_REMOTE
		}
	}
	if rec.RemoteMTA == "" {
		rec.RemoteMTA = p.clip(a.remote)
	}
	if rec.Phase == 0 {
		rec.Phase = a.phase
	}
	if rec.Origin == 0 {
		rec.Origin = a.origin
	}
}

// generic reports whether a status says no more than its class. RFC 3463, section 3.1.
func generic(status string) bool {
	return len(status) == 5 && status[1:] == ".0.0"
}

// looksLikeStatus reports whether text holds the fields of a delivery status outside a part of that type.
func looksLikeStatus(b []byte) bool {
	return bytes.Contains(b, []byte("inal-Recipient:")) || bytes.Contains(b, []byte("inal-recipient:"))
}
