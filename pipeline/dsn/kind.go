package dsn

import "strings"

// maxSearched is how much of a text is searched for phrases: a report says what it is at its beginning.
const maxSearched = 64 << 10

// readWords handles a mail without machine-readable parts: a bounce in words only, an automatic reply, a challenge, or an
// ordinary mail.
func (p *parser) readWords() {
	r := &p.report
	text := p.plainText()
	low := strings.ToLower(text[:min(len(text), maxSearched)])
	subject := strings.ToLower(r.Subject)

	if i := strings.Index(text, "Feedback-Type:"); i >= 0 && (i == 0 || text[i-1] == '\n') {
		p.readFeedback([]byte(text[i:]))
		p.finishFeedback()
		return
	}
	if p.statusInText(text) {
		r.Format = "rfc3464"
		p.complete()
		return
	}
	machine := p.fromMachine()
	automatic := p.automatic(subject)
	// A person who quotes or forwards a bounce is no mail system.
	format := ""
	if machine || !forwarded(subject) && containsAny(subject, bounceSubjects[:]) {
		format = formatOf(low, &p.top)
	}
	bounce := format != "" || p.top.has("X-Failed-Recipients")
	if !bounce {
		inSubject, inBody := containsAny(subject, bounceSubjects[:]), containsAny(low, bouncePhrases[:])
		switch {
		case automatic: // so call themselves bounces and the answers of people alike
			bounce = inSubject && machineName(p.top.get("From"))
		case machine:
			bounce = inSubject || inBody
		default:
			bounce = inSubject && inBody && !forwarded(subject)
		}
	}
	if bounce {
		if format == "" {
			format = "text"
		}
		r.Format = format
		p.readBounce(text, subject)
		if len(r.Recipients) > 0 || machine || format != "text" {
			return
		}
		r.Format = ""
	}
	switch {
	case p.challenges(subject, low, machine || automatic):
		r.Kind, r.Format = Challenge, "text"
	case automatic && strings.Contains(subject, "unsubscribe"), subject == "unsubscribe":
		r.Kind, r.Format = Unsubscribe, "text"
	case automatic:
		r.Kind, r.Format = AutoReply, "rfc3834"
	default:
		r.Kind = Ordinary
	}
}

// readBounce reads the recipients of a bounce in words.
func (p *parser) readBounce(text, subject string) {
	r := &p.report
	reading := p.words()
	if r.ReportingMTA == "" {
		r.ReportingMTA = p.clip(reading.server)
	}
	if r.ReportingMTA == "" {
		r.ReportingMTA = p.clip(selfName(strings.ToLower(text[:min(len(text), 4096)])))
	}
	if reading.original != "" {
		h, _, _ := parseHeader([]byte(strings.TrimLeft(reading.original, "\r\n-= \t")), &p.lim)
		p.readOriginal(&h)
	}
	act := "failed"
	own := strings.ToLower(text[:min(len(text)-len(reading.original), maxSearched)])
	if containsAny(subject, delayWords[:]) || containsAny(own, delayWords[:]) {
		act = "delayed"
	}
	// X-Failed-Recipients (Exim, Gmail) names who failed, in one field or several.
	for i := range p.top.fields {
		if !equalFold(p.top.fields[i].name, "X-Failed-Recipients") {
			continue
		}
		for _, item := range strings.Split(unfold(p.top.fields[i].value), ",") {
			if addr := fieldAddress(item); plausible(addr) && !p.has(addr) {
				p.add(Recipient{Recipient: p.clip(addr), Action: act})
			}
		}
	}
	if len(r.Recipients) == 0 {
		for i := range reading.blocks {
			p.add(Recipient{Recipient: p.clip(reading.blocks[i].recipient), Action: act})
		}
	}
	if len(r.Recipients) == 0 {
		p.guessRecipient(act, reading)
	}
	for i := range r.Recipients {
		rec := &r.Recipients[i]
		words := ""
		b := reading.find(rec.Recipient)
		if b == nil && len(r.Recipients) == 1 && len(reading.blocks) == 1 {
			b = &reading.blocks[0]
		}
		if b != nil {
			words = b.wordsFor(reading)
		} else {
			words = reading.sharedWords()
		}
		p.setWords(rec, readAnswer(words))
		if b != nil {
			b.addTo(p, rec)
		}
	}
}

func (p *parser) has(addr string) bool {
	for i := range p.report.Recipients {
		if same(p.report.Recipients[i].Recipient, addr) {
			return true
		}
	}
	return false
}

// guessRecipient looks for the recipient of a bounce whose list was not recognised: the address in the words that is neither the
// sender's nor the server's, or else the one the message was sent to.
func (p *parser) guessRecipient(act string, reading *reading) {
	from, _ := firstAddress(p.top.get("From"))
	for _, line := range reading.shared {
		for _, word := range strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t<>()[]\"',;:", c) }) {
			word = strings.TrimRight(word, ".")
			if plausible(word) && !same(word, p.returnedTo) && !same(word, p.report.OriginalSender) && !same(word, from) && !p.has(word) && !machineName(word) {
				p.add(Recipient{Recipient: p.clip(word), Action: act})
				return
			}
		}
	}
	verp := fromVERP(p.returnedTo, nil)
	if verp == "" {
		verp = p.originalTo
	}
	if verp != "" {
		p.add(Recipient{Recipient: p.clip(verp), Action: act})
	}
}

// selfName finds the name by which the reporting server introduces itself.
func selfName(low string) string {
	for _, mark := range [...]string{"this is the mail system at host ", "qmail-send program at ", "mailer program at ", "mail agent v0.13 at ", "message from ", "program at "} {
		if i := strings.Index(low, mark); i >= 0 && i < 2000 {
			return leadingHost(low[i+len(mark):])
		}
	}
	return ""
}

// fromMachine reports whether the mail's sender is a mail system.
func (p *parser) fromMachine() bool {
	from := strings.ToLower(p.top.get("From"))
	if from == "" || from == "<>" || machineName(from) {
		return true
	}
	path, ok := p.top.raw("Return-Path"), p.top.has("Return-Path")
	return ok && (strings.TrimSpace(string(path)) == "<>" || machineName(strings.ToLower(string(path))))
}

func machineName(low string) bool {
	return containsAny(strings.ToLower(low), machineNames[:])
}

// automatic reports whether the mail says that no person wrote it as an answer. RFC 3834, section 5, and what came before it.
func (p *parser) automatic(subject string) bool {
	if v := strings.ToLower(p.top.get("Auto-Submitted")); v != "" && !strings.HasPrefix(v, "no") {
		return true
	}
	for _, name := range [...]string{"X-Autoreply", "X-Autorespond", "X-Autogenerated", "X-Vacation", "X-Mail-Autoreply", "X-AutoReply-From", "X-Autoresponder"} {
		if p.top.has(name) {
			return true
		}
	}
	switch strings.ToLower(p.top.get("Precedence")) {
	case "auto_reply", "auto-reply":
		return true
	}
	return containsAny(subject, autoSubjects[:])
}

// forwarded reports whether a subject begins as people's answers and forwarded mails do.
func forwarded(subject string) bool {
	for _, prefix := range [...]string{"re:", "fw:", "fwd:", "aw:", "wg:", "tr:", "rv:", "sv:", "i:"} {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// challenges reports whether the mail asks its reader to prove to be a person. Words in the text alone prove nothing.
func (p *parser) challenges(subject, low string, machine bool) bool {
	if containsAny(subject, challengeWords[:]) {
		return true
	}
	path := strings.ToLower(p.top.get("Return-Path") + p.top.get("From"))
	return containsAny(low[:min(len(low), 4096)], challengeWords[:]) && (machine || strings.Contains(path, "challenge") ||
		strings.Contains(path, "spamarrest") || strings.Contains(path, "boxbe") || strings.Contains(path, "verif"))
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}
