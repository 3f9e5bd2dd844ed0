package dsn

import (
	"bytes"
	"slices"
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// readStatus reads the body of a message/delivery-status or message/global-delivery-status part: groups of fields, the first
// of the message, each further one of a recipient. RFC 3464, section 2.1.
//
// QUIRK: blank lines between the groups are missing or too many, recipients' fields stand in the first group or are torn apart, folds
// lack their blank. So a group is what it holds: a field that repeats begins a new recipient, and a group that names nobody goes on
// with the one before.
func (p *parser) readStatus(b []byte) {
	var pending header // of the recipient that was read last
	at := 0
	for at < len(b) && len(p.report.Recipients) < p.lim.Recipients {
		h, next, err := parseFields(b, at, &p.lim, true)
		if h.long {
			p.note(LimitLineBytes, p.lim.LineBytes)
		}
		if err != nil {
			p.note(err.What, err.Limit)
		}
		if next == at { // no field: a line of something else
			line, _ := cutLine(b[at:])
			next += len(line) + 1
		}
		p.readMessageFields(&h)
		for len(h.fields) > 0 {
			var group header
			group, h = cutGroup(h, len(pending.fields) > 0 && !pending.has("Action") && !pending.has("Status"))
			switch {
			case len(pending.fields) == 0 || len(pending.fields) >= maxGroupFields || repeats(&pending, &group):
				if namesRecipient(&group) {
					p.readRecipient(&pending)
					pending = group
				}
			default:
				pending.fields = slices.Concat(pending.fields, group.fields)
			}
		}
		at = next
	}
	if at < len(b) {
		p.note(LimitRecipients, p.lim.Recipients)
	}
	p.readRecipient(&pending)
}

// maxGroupFields is how many fields a recipient's group may have before another block is taken for its continuation; RFC 3464 knows ten.
const maxGroupFields = 100

// once are the fields that occur once in a recipient's group.
var once = [...]string{"Final-Recipient", "Original-Recipient", "X-Actual-Recipient", "Action", "Status", "Diagnostic-Code"}

// cutGroup cuts the fields of one recipient from the front: they end where one of those that occur once repeats. With torn, the group
// in front lacks its fields: then those that stand in front of the next recipient are cut.
func cutGroup(h header, torn bool) (group, rest header) {
	var seen [len(once)]bool
	for i := range h.fields {
		for k, name := range once {
			if !equalFold(h.name(i), name) {
				continue
			}
			recipient := k < 2
			if seen[k] && (seen[0] || seen[1]) || torn && recipient && i > 0 && !seen[0] && !seen[1] {
				return header{block: h.block, fields: h.fields[:i]}, header{block: h.block, fields: h.fields[i:]}
			}
			seen[k] = true
		}
	}
	return h, header{}
}

func namesRecipient(h *header) bool {
	return h.has("Final-Recipient") || h.has("Original-Recipient") || h.has("X-Actual-Recipient")
}

// repeats reports whether a group has a field that the recipient's group has already, or one of the message: then it does not go on with
// it. So does a group that names another recipient behind a complete one.
func repeats(pending, group *header) bool {
	for _, name := range once {
		if pending.has(name) && group.has(name) {
			return true
		}
	}
	return group.has("Reporting-MTA") || namesRecipient(group) && (pending.has("Action") || pending.has("Status"))
}

func (p *parser) readMessageFields(h *header) {
	r := &p.report
	set := func(to *string, name string) {
		if v := h.raw(name); v != nil && *to == "" {
			_, value := typed(unfold(v))
			*to = p.clip(value)
		}
	}
	if v := h.raw("Reporting-MTA"); v != nil && r.ReportingMTA == "" {
		_, value := typed(unfold(v))
		r.ReportingMTA = p.clip(hostName(value))
	}
	set(&r.OriginalEnvelopeID, "Original-Envelope-Id")
	set(&r.QueueID, "X-Postfix-Queue-ID")
	set(&r.OriginalSender, "X-Postfix-Sender")
	set(&r.OriginalMessageID, "X-Original-Message-ID")
	if v := h.raw("Arrival-Date"); v != nil && r.ArrivalDate.IsZero() {
		r.ArrivalDate = parseDate(unfold(v))
	}
}

func (p *parser) readRecipient(h *header) {
	if !namesRecipient(h) {
		return
	}
	rec := Recipient{
		Recipient: p.clip(fieldAddress(h.get("Final-Recipient"))),
		Original:  p.clip(fieldAddress(h.get("Original-Recipient"))),
	}
	// Sendmail: the address that failed behind an alias, or the program that stands for it.
	if actual := p.clip(fieldAddress(h.get("X-Actual-Recipient"))); plausible(actual) && !same(actual, rec.Recipient) {
		if rec.Original == "" && plausible(rec.Recipient) {
			rec.Original = rec.Recipient
		}
		rec.Recipient = actual
	}
	if strings.IndexByte(rec.Recipient, '@') <= 0 && rec.Original != "" {
		rec.Recipient = rec.Original // QUIRK: Final-Recipient names a mailbox of the system ("LOCAL; \user")
	}
	rec.Action = action(h.get("Action"))
	var comment string
	rec.Status, comment = statusCode(h.get("Status"))

	kind, words := typed(h.get("Diagnostic-Code"))
	rec.DiagnosticType = p.clip(kind)
	if kind == "x-unix" && isNumber(words) {
		words = "" // the exit status of a program; the text may quote what it printed
	}
	if words == "" && findReply(comment) >= 0 {
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
	if kind == "smtp" && !a.inner && !strings.HasSuffix(a.wrapper, "said:") {
		a.text = joinFields(words) // the field is the reply, even where the server wrote something in front of its code
	}
	p.setWords(&rec, a)
	if i := p.find(rec.Recipient); i >= 0 && rec == p.report.Recipients[i] {
		return // QUIRK: the same group twice, or two parts of the same content
	}
	if p.add(rec) && comment != "" {
		if p.comments == nil {
			p.comments = map[int]string{}
		}
		p.comments[len(p.report.Recipients)-1] = comment
	}
}

// statusCode finds the code in a Status field, and the comment behind it. RFC 3464, section 2.3.4.
func statusCode(s string) (code, comment string) {
	word, rest, _ := strings.Cut(s, " ")
	word = strings.Trim(word, "#;,.()")
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
	// The reporting server's own code is its reading of the reply: Sendmail writes 5.1.1 for any 550, Haraka 5.2.2 for an expired
	// 4.2.2. The reply's code is the remote server's word.
	if a.enhanced != "" && a.enhanced != rec.Status {
		switch {
		case rec.Status == "" || generic(rec.Status):
			rec.Status = a.enhanced
		case !a.local && !generic(a.enhanced):
			rec.ReportedStatus, rec.Status = rec.Status, a.enhanced
		}
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
