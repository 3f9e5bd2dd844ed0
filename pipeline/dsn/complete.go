package dsn

import (
	"bytes"
	"strings"
)

// finishStatus completes a report that has the fields of a delivery status.
func (p *parser) finishStatus() {
	p.report.Format = "rfc3464"
	p.complete()
	if !p.report.HasOriginal && p.words().original != "" {
		p.readReturned([]byte(p.reading.original))
	}
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
		if comment := p.comments[i]; rec.Diagnostic == "" && comment != "" {
			p.setWords(rec, readAnswer(comment))
		}
		if rec.Action == "" {
			rec.Action = actionOf(rec.Status)
		}
		// QUIRK: OpenSMTPD, and others, call the end of the queue's lifetime "delayed".
		if rec.Action == "delayed" && containsAny(strings.ToLower(rec.Diagnostic), finalWords[:]) {
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
	if b == nil { // the report speaks of the address before the alias
		if b = reading.findOriginal(rec.Recipient); b != nil {
			rec.Original, rec.Recipient = rec.Recipient, p.clip(b.recipient)
		}
	}
	if b == nil && len(p.report.Recipients) == 1 && len(reading.blocks) <= 1 && rec.Diagnostic == "" {
		if b = new(block); len(reading.blocks) == 1 {
			b = &reading.blocks[0]
		}
	}
	if b == nil {
		return
	}
	a := b.answer(reading, len(p.report.Recipients) == 1)
	if a.text == "" {
		return
	}
	// Sendmail's field holds the first line of the reply only.
	if broken && strings.HasPrefix(a.text, rec.Diagnostic) {
		rec.Diagnostic = p.clip(a.text)
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
	s := p.joinText("text/plain")
	if strings.IndexByte(s, '@') < 0 { // QUIRK: "this mail is to be read as HTML"
		if page := p.joinText("text/html"); strings.IndexByte(page, '@') >= 0 || strings.TrimSpace(s) == "" {
			s = page
		}
	}
	s = halfWidth(s)
	p.text = &s
	return s
}

func (p *parser) joinText(kind string) string {
	var out strings.Builder
	for i := range p.parts {
		if part := &p.parts[i]; part.mediaType == kind || kind == "text/plain" && unknownText(part.mediaType) {
			out.WriteString(part.text())
			out.WriteByte('\n')
		}
	}
	return out.String()
}

// halfWidth replaces the colons and blanks of East Asian type.
func halfWidth(s string) string {
	if strings.Contains(s, "：") || strings.Contains(s, "\u3000") || strings.Contains(s, "\u00a0") {
		return strings.NewReplacer("：", ": ", "\u3000", " ", "\u00a0", " ").Replace(s)
	}
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
