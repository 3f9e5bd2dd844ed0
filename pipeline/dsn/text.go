package dsn

import (
	"strings"
)

// block is what a text says about one recipient.
type block struct {
	recipient string
	original  string   // before an alias of the reporting server
	words     []string // lines
	remote    string
	command   string // last command of a transcript
	detailed  bool   // the words are those for administrators
}

// reading is what was found in the text of a report.
type reading struct {
	blocks    []block
	shared    []string // lines that belong to no recipient
	afterLast int      // index into shared of the first line behind the last recipient's
	original  string   // what follows the separator: the returned message
	server    string   // "Generating server"
	queueID   string   // "Queue ID: ...", Exim's "The message identifier is: ..."
	limit     int      // of blocks
	common    *string  // sharedWords, once found
}

// find returns the block of a recipient, or nil.
func (r *reading) find(addr string) *block {
	if i := r.index(addr); i >= 0 {
		return &r.blocks[i]
	}
	return nil
}

func (r *reading) index(addr string) int {
	for i := range r.blocks {
		if same(r.blocks[i].recipient, addr) {
			return i
		}
	}
	return -1
}

// endings begin the line behind which the returned message stands, in lower case and without leading dashes.
var endings = [...]string{
	"below this line is a copy", "this is a copy of", "original message", "message headers follow", "message header follow",
	"unsent message", "the header of the original", "included is a copy", "mensaje original", "returned message", "original mail",
	"below is a copy of the original", "below the first", "message contents", "the following is a copy", "original header",
	"original-nachricht", "message d'origine", "a copy of the original", "here is a copy", "enclosed is the original", "undelivered message",
}

// isEnding reports whether a line is such a separator. Without dashes around it must be a whole sentence ending in a mark.
func isEnding(line string) bool {
	t := strings.TrimLeft(line, "-=*_ ")
	dashes := len(line) - len(t)
	for _, e := range endings {
		if len(t) >= len(e) && strings.EqualFold(t[:len(e)], e) {
			if dashes > 1 && line[0] != ' ' {
				return true
			}
			last := strings.TrimRight(t, " ")
			if c := last[len(last)-1]; c == ':' || c == '.' {
				return !strings.EqualFold(strings.TrimRight(last, ":."), e) || e == "original message" || e == "message headers follow" || e == "original mail"
			}
		}
	}
	return false
}

// readText reads the text of a report, line by line. All formats that were seen have one shape: a line with the address, and the
// words about it behind it on the line, in the lines below it up to an empty one, or, if the list has no words, below the list.
func (p *parser) readText(text string) *reading {
	r := &reading{limit: p.lim.Recipients}
	open := -1 // block that takes lines
	indent := 0
	t := transcript{reading: r}
	lines := 0
	for text != "" {
		var raw string
		var found bool
		whole := text
		raw, text, found = strings.Cut(text, "\n")
		if !found {
			text = ""
		}
		if lines++; lines > 20000 {
			p.note("lines of text", 20000)
			break
		}
		raw = strings.TrimRight(raw, "\r \t")
		if len(raw) > p.lim.LineBytes {
			raw = raw[:p.lim.LineBytes]
		}
		line := strings.TrimLeft(raw, " \t\u00a0")
		if line == "" {
			if open >= 0 && len(r.blocks[open].words) > 0 {
				open = -1
			}
			continue
		}
		if isEnding(line) {
			r.original = text
			break
		}
		if lines > 3 && strings.HasPrefix(raw, "Received: ") && len(r.blocks) > 0 || strings.HasPrefix(raw, "Return-Path: <") && lines > 3 {
			r.original = whole
			break
		}
		if server, ok := after(line, "generating server: "); ok {
			r.server = hostName(server)
			open = -1
			continue
		}
		if id, ok := queueIDLine(line); ok {
			r.queueID = id
			continue
		}
		if t.line(line) {
			open = -1
			continue
		}
		depth := len(raw) - len(line)
		if addr, rest, ok := recipientLine(line); ok && len(r.blocks) < r.limit {
			b := r.find(addr)
			nested := open >= 0 && depth > indent && len(r.blocks[open].words) > 0
			if b == nil && !nested {
				r.blocks = append(r.blocks, block{recipient: addr})
				open, indent = len(r.blocks)-1, depth
				r.afterLast = len(r.shared)
				if rest != "" {
					r.blocks[open].words = append(r.blocks[open].words, rest)
				}
				continue
			}
			if b != nil && r.server != "" && !b.detailed { // Exchange: the words for administrators follow those for people
				b.detailed, b.words = true, nil
				open, indent = r.index(addr), depth
				if rest != "" {
					b.words = append(b.words, rest)
				}
				continue
			}
			if b != nil && open < 0 && rest != "" && len(b.words) == 0 {
				b.words = append(b.words, rest)
				continue
			}
		}
		if open >= 0 {
			b := &r.blocks[open]
			if from, ok := aliasLine(line); ok {
				b.original = from
				continue
			}
			// A dedented line behind an indented list is the sentence that follows the list.
			if len(b.words) == 0 && (depth < indent && depth == 0 || messageDetail(line)) {
				open = -1
			} else {
				b.words = append(b.words, line)
				continue
			}
		}
		r.shared = append(r.shared, line)
	}
	t.finish()
	return r
}

// aliasLine reads "(generated from a@b)" (Exim) and "(expanded from: <a@b>)" (Sendmail).
func aliasLine(line string) (string, bool) {
	for _, mark := range [...]string{"(generated from ", "(expanded from: ", "(expanded from "} {
		if rest, ok := after(line, mark); ok {
			addr := strings.Trim(rest, "<>() ")
			return addr, plausible(addr)
		}
	}
	return "", false
}

// queueIDLine reads a line that gives the reporting server's name for the message.
func queueIDLine(line string) (string, bool) {
	for _, mark := range [...]string{"the message identifier is:", "queue id:", "queue-id:"} {
		if rest, ok := after(line, mark); ok {
			return firstWord(rest), true
		}
	}
	return "", false
}

// after cuts a prefix without regard to case.
func after(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return strings.TrimSpace(s[len(prefix):]), true
}

// labels stand in front of an address on its line.
var labels = [...]string{
	"recipient address:", "intended recipients:", "intended recipient:", "final recipient:", "recipient:", "failed recipient:", "failed address:", "rcpt to:",
	"there was an error delivering your mail to", "could not deliver mail to", "undeliverable to", "unknown user:", "user unknown:",
	"user mailbox exceeds allowed size:", "invalid final delivery userid:", "undeliverable address:", "delivery failed:", "email address:",
	"could not be delivered to:", "your message to", "e-mail address:", "empfänger:", "destinataire:", "destinataire :",
}

// recipientLine recognises a line that names a recipient, and returns what follows the address on it.
func recipientLine(line string) (addr, rest string, ok bool) {
	if strings.IndexByte(line, '@') < 0 {
		return "", "", false
	}
	s := strings.TrimLeft(line, "*•·- ")
	label := ""
	for _, l := range labels {
		if r, found := after(s, l); found {
			s, label = r, strings.TrimRight(l, ":")
			break
		}
	}
	if strings.HasPrefix(s, ">>> ") { // Active!Hunter: >>> a@b <a@b>
		s = strings.TrimLeft(s, "> ")
		if !plausible(firstWord(s)) {
			return "", "", false
		}
	}
	s = strings.TrimPrefix(s, "[")
	if r, found := after(s, "smtp:"); found {
		s = r
	} else if r, found := after(s, "mailto:"); found {
		s = r
	} else if kind, r := typed(s); kind == "rfc822" {
		s = r
	}
	switch {
	case s == "":
		return "", "", false
	case s[0] == '<' || s[0] == '"':
		closing := byte('>')
		if s[0] == '"' {
			closing = '"'
		}
		end := strings.IndexByte(s[1:], closing)
		if end < 0 {
			return "", "", false
		}
		addr, rest = s[1:end+1], s[end+2:]
	default:
		end := strings.IndexAny(s, " \t:;,<>()[]")
		if end < 0 {
			end = len(s)
		}
		addr, rest = s[:end], s[end:]
		if label != "" {
			addr = strings.TrimRight(addr, ".")
		}
	}
	addr = strings.TrimSpace(addr)
	if r, found := after(addr, "mailto:"); found {
		addr = r
	}
	if !plausible(addr) {
		return "", "", false
	}
	rest = strings.TrimLeft(rest, "> \t")
	if label == "your message to" && !strings.Contains(rest, "could") && !strings.Contains(rest, "was not") && !strings.Contains(rest, "cannot") && !strings.Contains(rest, "couldn") {
		return "", "", false
	}
	// The address again: "a@b <a@b>" and "a@b<mailto:a@b>".
	for _, again := range [...]string{"<" + addr + ">", "<mailto:" + addr + ">", "(" + addr + ")", addr} {
		if r, found := after(rest, again); found {
			rest = r
		}
	}
	rest = strings.TrimLeft(rest, "] ")
	switch {
	case rest == "" || rest == "." || rest == ",":
		rest = ""
	case rest[0] == ':' || rest[0] == ';':
		rest = strings.TrimSpace(rest[1:])
	case rest[0] == '(' || rest[0] == '[' || strings.HasPrefix(rest, "- "):
		rest = strings.TrimLeft(rest, "- ")
		if rest[0] != '(' || !strings.Contains(rest, "#") {
			rest = strings.Trim(rest, "[]")
		}
	case strings.HasPrefix(rest, "on ") && strings.Contains(rest, ":"): // Exchange: a@b on Thu, 29 Apr 2010 12:00
		rest = ""
	case label != "":
	case strings.HasPrefix(rest, "..."):
		rest = strings.TrimSpace(rest[3:])
	case findReply(rest) >= 0:
	default:
		return "", "", false
	}
	if rest == "" {
		switch label { // the label is all the words there are
		case "unknown user", "user unknown", "user mailbox exceeds allowed size", "invalid final delivery userid":
			rest = label
		}
	}
	return addr, rest, true
}

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i]
	}
	return s
}

// cues stand in front of the words about all recipients of a list.
var cues = [...]string{
	"technical details", "because", "reason", "error message below", "server message", "failure reason", "the error that the other server returned",
	"the response from the remote server", "the response was", "diagnostic", "error:", "error is as follows", "the reason", "grund", "fehler", "raison",
	"motif", "erreur", "remote server", "details", "body of message generated response", "the error was", "message:", "server response", "reporting",
	"the following error", "エラー", "理由", "the server returned", "delivery attempt",
}

// sharedWords returns the words that apply to all recipients of a list: behind a cue below or above it, else a reply that is
// quoted below or above it, else all that stands below it.
func (r *reading) sharedWords() string {
	if r.common == nil {
		words := r.findSharedWords()
		r.common = &words
	}
	return *r.common
}

func (r *reading) findSharedWords() string {
	at := min(r.afterLast, len(r.shared))
	above, below := r.shared[:at], r.shared[at:]
	if words := behindCue(below); words != "" {
		return words
	}
	if words := fromReply(below); words != "" {
		return words
	}
	if words := fromReply(above); words != "" {
		return words
	}
	if words := strings.Join(below, "\n"); words != "" {
		return words
	}
	var telling []string
	for _, line := range above {
		if containsAny(strings.ToLower(line), bouncePhrases[:]) {
			telling = append(telling, line)
		}
	}
	return strings.Join(telling, "\n")
}

// behindCue returns what follows a cue's colon, on its line or below it.
func behindCue(lines []string) string {
	for i, line := range lines {
		low := strings.ToLower(strings.TrimLeft(line, "-=* "))
		for _, cue := range cues {
			if !strings.HasPrefix(low, cue) {
				continue
			}
			words := lines[i+1:]
			if _, rest, found := strings.Cut(line, ":"); found && strings.TrimSpace(rest) != "" {
				return strings.TrimSpace(rest) + "\n" + strings.Join(words, "\n")
			}
			if len(words) > 0 {
				return strings.Join(words, "\n")
			}
		}
	}
	return ""
}

// fromReply returns the lines from the first that holds a reply, up to one that names a field of the message.
func fromReply(lines []string) string {
	for i, line := range lines {
		if findReply(line) < 0 {
			continue
		}
		end := i + 1
		for end < len(lines) && end < i+20 && !messageDetail(lines[end]) {
			end++
		}
		return strings.Join(lines[i:end], "\n")
	}
	return ""
}

func messageDetail(line string) bool {
	for _, name := range [...]string{"message details", "subject:", "from:", "cc:", "sent date:", "mail from:", "date:", "---", "***"} {
		if _, found := after(line, name); found {
			return true
		}
	}
	return false
}
