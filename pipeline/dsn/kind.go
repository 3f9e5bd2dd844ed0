package dsn

import (
	"bytes"
	"strings"
)

// maxSearched is how much of a text is searched for phrases: a report says what it is at its beginning.
const maxSearched = 64 << 10

// author is who a mail comes from, as far as its header tells.
type author int

const (
	person author = iota
	// nobody: the null return path, which bounces and automatic replies have (RFC 5321, section 4.5.5; RFC 3834, section 3.3).
	nobody
	// machine: the name of a mail system.
	machine
)

// readWords handles a mail without machine-readable parts: a bounce in words only, an automatic reply, a challenge, or an
// ordinary mail.
func (p *parser) readWords() {
	r := &p.report
	text := p.plainText()
	low := strings.ToLower(text[:min(len(text), maxSearched)])
	subject := strings.ToLower(r.Subject)
	from, passedOn := p.from, p.passedOn

	if i := strings.Index(text, "Feedback-Type:"); i >= 0 && (i == 0 || text[i-1] == '\n') && !passedOn {
		p.readFeedback([]byte(text[i:]))
		p.finishFeedback()
		return
	}
	if !passedOn && p.statusInText(text) {
		p.finishStatus()
		return
	}
	automatic := p.automatic(subject)
	if from != machine && p.challenges(subject, low, from != person || automatic) {
		r.Kind, r.Format = Challenge, "text"
		return
	}
	if format, ok := p.bounces(subject, low, from, automatic); ok && !passedOn {
		r.Format = format
		p.readBounce(text, low, subject)
		if len(r.Recipients) > 0 || from == machine || format != "text" {
			return
		}
		r.Format = ""
	}
	switch {
	case p.challenges(subject, low, from != person || automatic):
		r.Kind, r.Format = Challenge, "text"
	case automatic && strings.Contains(subject, "unsubscribe"), subject == "unsubscribe":
		r.Kind, r.Format = Unsubscribe, "text"
	case automatic, from == nobody && forwarded(subject): // an answer that nobody shall answer
		r.Kind, r.Format = AutoReply, "rfc3834"
	default:
		r.Kind = Ordinary
	}
}

// bounces reports whether the mail is a bounce in words, and in whose.
func (p *parser) bounces(subject, low string, from author, automatic bool) (format string, ok bool) {
	inSubject := containsAny(subject, bounceSubjects[:])
	// A person who quotes or forwards a bounce is no mail system.
	if from == machine || from == nobody && !automatic || inSubject && !forwarded(subject) && !automatic {
		format = formatOf(low, &p.top)
	}
	if format != "" || p.top.has("X-Failed-Recipients") {
		if format == "" {
			format = "text"
		}
		return format, true
	}
	inBody := func() bool { return containsAny(low, bouncePhrases[:]) || containsAny(low, reasonPhrases[:]) }
	switch {
	case automatic: // so call themselves bounces and the answers of people alike
		ok = inSubject && machineName(p.top.get("From"))
	case from == machine:
		ok = inSubject || inBody()
	case from == nobody:
		ok = inSubject && (inBody() || findReply(low) >= 0)
	default: // A person asks or tells about bounces: only what looks like a report is one.
		ok = inSubject && !forwarded(subject) && p.listsRecipients() && inBody()
	}
	return "text", ok
}

// listsRecipients reports whether the text has a recipient on a line of its own, as reports do.
func (p *parser) listsRecipients() bool { return len(p.words().blocks) > 0 }

// readBounce reads the recipients of a bounce in words.
func (p *parser) readBounce(text, low, subject string) {
	r := &p.report
	reading := p.words()
	if r.ReportingMTA == "" {
		r.ReportingMTA = p.clip(reading.server)
	}
	if r.ReportingMTA == "" {
		r.ReportingMTA = p.clip(selfName(low[:min(len(low), 4096)]))
	}
	if reading.original != "" {
		p.readReturned([]byte(reading.original))
	}
	act := "failed"
	// A few letters change their length in lower case: the end of the report's own words is not exact there.
	own := low[:min(len(text)-len(reading.original), len(low))]
	if containsAny(subject, delayWords[:]) || containsAny(own, delayWords[:]) {
		act = "delayed"
	}
	p.addFailed(act)
	// Exim's field names the first ones only; other programs write addresses into their texts that did not fail.
	if len(r.Recipients) == 0 || r.Format == "exim" && len(reading.blocks) > len(r.Recipients) {
		for i := range reading.blocks {
			if b := &reading.blocks[i]; !p.has(b.recipient) && !p.add(Recipient{Recipient: p.clip(b.recipient), Action: act}) {
				break
			}
		}
	}
	if len(r.Recipients) == 0 {
		p.guessRecipient(act, reading)
	}
	single := len(r.Recipients) == 1
	for i := range r.Recipients {
		rec := &r.Recipients[i]
		b := reading.find(rec.Recipient)
		if b == nil && single && len(reading.blocks) == 1 {
			b = &reading.blocks[0]
		}
		if b == nil {
			b = new(block)
		}
		p.setWords(rec, b.answer(reading, single))
		b.addTo(p, rec)
	}
}

// addFailed adds the recipients of X-Failed-Recipients (Exim, Gmail), in one field or several.
func (p *parser) addFailed(act string) {
	for value := range p.top.values("X-Failed-Recipients") {
		for _, item := range strings.Split(unfold(value), ",") {
			if addr := fieldAddress(item); plausible(addr) && !p.has(addr) && !p.add(Recipient{Recipient: p.clip(addr), Action: act}) {
				return
			}
		}
	}
}

// guessRecipient looks for the recipient of a bounce whose list was not recognised: the address in the words that is neither the
// sender's nor the server's, rather one outside the sender's domain, or else the one the message was sent to.
func (p *parser) guessRecipient(act string, reading *reading) {
	guess := ""
	for _, line := range reading.shared {
		for _, word := range strings.FieldsFunc(line, func(c rune) bool { return strings.ContainsRune(" \t<>()[]\"',;:", c) }) {
			word = strings.TrimRight(word, ".")
			if !plausible(word) || p.isSender(word) {
				continue
			}
			if !sameDomain(word, p.report.ReturnPath) {
				p.add(Recipient{Recipient: p.clip(word), Action: act})
				return
			}
			if guess == "" {
				guess = word
			}
		}
	}
	if verp := fromVERP(p.report.ReturnPath, nil); verp != "" {
		guess = verp
	}
	if p.originalTo != "" {
		guess = p.originalTo
	}
	if guess != "" {
		p.add(Recipient{Recipient: p.clip(guess), Action: act})
	}
}

// isSender reports whether an address is the message's sender, the report's own, or that of a mail system.
func (p *parser) isSender(addr string) bool {
	from, _ := firstAddress(p.top.get("From"))
	return machineName(addr) || same(addr, from) || same(addr, p.report.OriginalSender) || same(addr, p.report.OriginalFrom) || p.isPath(addr)
}

func (p *parser) isPath(addr string) bool {
	for _, path := range p.paths {
		if same(path, addr) {
			return true
		}
	}
	return false
}

// selfName finds the name by which the reporting server introduces itself.
func selfName(low string) string {
	for _, mark := range [...]string{
		"this is the mail system at host ", "qmail-send program at ", "mailer program at ", "james mail server at ", "delivery status notification from ", "message from ", "program at ",
	} {
		if i := strings.Index(low, mark); i >= 0 && i < 2000 {
			return leadingHost(low[i+len(mark):])
		}
	}
	if _, rest, found := strings.Cut(low[:min(len(low), 2000)], "dragonfly mail agent "); found { // v0.13 at df.example
		if _, host, found := strings.Cut(rest[:min(len(rest), 100)], " at "); found {
			return leadingHost(host)
		}
	}
	return ""
}

// findAuthor tells from the header who wrote the mail.
func (p *parser) findAuthor() author {
	from := p.top.get("From")
	if from == "" || from == "<>" || machineName(decodeHeader(from)) {
		return machine
	}
	if !p.top.has("Return-Path") {
		return person
	}
	switch path := p.top.get("Return-Path"); {
	case machineName(path):
		return machine
	case path == "<>":
		return nobody
	}
	return person
}

func machineName(s string) bool {
	return containsAny(strings.ToLower(s), machineNames[:])
}

// isPassedOn reports whether a person forwarded or answered what somebody else had got: its parts and words are not this mail's own.
func (p *parser) isPassedOn() bool {
	if p.from == machine || !forwarded(strings.ToLower(p.report.Subject)) {
		return false
	}
	mediaType, _ := parameters(unfold(p.top.raw("Content-Type")))
	return mediaType != "multipart/report"
}

// aggregate recognises reports about many messages, and sets the kind.
func (p *parser) aggregate() bool {
	mediaType, param := parameters(unfold(p.top.raw("Content-Type")))
	format := ""
	switch {
	case mediaType == "multipart/report" && strings.EqualFold(param("report-type"), "tlsrpt"), p.top.has("TLS-Report-Domain"):
		format = "tlsrpt"
	case strings.HasPrefix(strings.ToLower(p.report.Subject), "report domain:"): // RFC 7489, section 7.2.1.1
		format = "dmarc"
	}
	for i := range p.parts {
		part := &p.parts[i]
		switch {
		case strings.HasPrefix(part.mediaType, "application/tlsrpt"): // RFC 8460, section 6.4
			format = "tlsrpt"
		case format == "" && strings.Count(part.name, "!") >= 3: // receiver!domain!begin!end of RFC 7489, section 7.2.1.1
			format = "dmarc"
		}
	}
	if format == "" {
		return false
	}
	p.report.Kind, p.report.Format = AggregateReport, format
	return true
}

// readNotification reads a notification of disposition. RFC 8098.
//
// QUIRK: "reject" of the Sieve language (RFC 5429, section 2.1.2), and servers for a full mailbox, send one for a message that was not
// delivered at all; the words tell it from "deleted without being read".
func (p *parser) readNotification(part *part) {
	r := &p.report
	r.Kind, r.Format = Disposition, "rfc8098"
	h, _, err := parseHeader(bytes.TrimLeft(part.decoded(), "\n"), &p.lim)
	if err != nil {
		p.note(err.What, err.Limit)
	}
	if id := h.get("Original-Message-ID"); r.OriginalMessageID == "" {
		r.OriginalMessageID = p.clip(id)
	}
	if !strings.Contains(strings.ToLower(p.plainText()), "automatically rejected") {
		return
	}
	rec := Recipient{Recipient: p.clip(fieldAddress(h.get("Final-Recipient"))), Original: p.clip(fieldAddress(h.get("Original-Recipient"))), Action: "failed"}
	if rec.Recipient == "" {
		return
	}
	r.Kind = Failure
	p.add(rec)
	p.completeOne(&r.Recipients[0], false)
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
	for _, prefix := range [...]string{"re:", "fw:", "fwd:", "aw:", "wg:", "tr:", "rv:", "sv:", "vs:", "vb:", "i:", "enc:", "doorst:", "odp:", "pd:", "ynt:", "ilt:", "回复:", "回复：", "转发:", "转发：", "答复:", "轉寄:"} {
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

// containsAny reports whether s holds one of the words. Most texts are ASCII: what is not is not looked for there.
func containsAny(s string, words []string) bool {
	plain := isASCII(s)
	for _, w := range words {
		if plain && !isASCII(w) {
			continue
		}
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
