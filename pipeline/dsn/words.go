package dsn

import (
	"strings"

	"carom.dev/carom/schema"
)

// answer reads what is said about the block's recipient: in the words that stand with the address, or in those that apply to all.
// single tells that the report is about this recipient alone.
func (b *block) answer(r *reading, single bool) answer {
	own := b.words
	if len(b.later) > 0 && (r.server != "" || !holdsReply(own) && holdsReply(b.later)) {
		own = b.later
	}
	if len(own) == 1 && isCue(own[0]) && afterColon(own[0]) == "" && len(own[0]) < 40 {
		own = nil
	}
	var a answer
	switch {
	case len(own) == 0:
		a = r.sharedAnswer()
	case single && !holdsReply(own) && (holdsReply(r.shared) || saysLittle(own)):
		if a = r.sharedAnswer(); a.code != 0 || reasonIn(a.text) {
			break
		}
		fallthrough
	default:
		a = readAnswer(ownWords(own))
		if b.local && a.origin == schema.Origin_REMOTE_REPLY {
			a.local, a.origin = true, schema.Origin_ASYNC_DSN
			if a.phase = phaseIn(strings.ToLower(a.text)); a.phase != 0 {
				a.origin = schema.Origin_LOCAL_MTA
			}
		}
	}
	if r.remote != "" && (a.remote == "" || single) {
		a.remote = r.remote
	}
	return a
}

// saysLittle reports whether lines say that a message could not be delivered, but not why.
func saysLittle(lines []string) bool {
	low := strings.ToLower(joinLines(lines))
	return containsAny(low, bouncePhrases[:]) && !containsAny(low, reasonPhrases[:])
}

func reasonIn(words string) bool { return containsAny(strings.ToLower(words), reasonPhrases[:]) }

func ownWords(lines []string) string {
	words := joinLines(lines)
	// Sendmail: (reason: 550 5.1.1 unknown)
	if rest, ok := after(words, "(reason:"); ok {
		words = strings.TrimSuffix(rest, ")")
	}
	return words
}

// joinLines joins lines as far as they are looked at.
func joinLines(lines []string) string {
	size := 0
	for i, line := range lines {
		if size += len(line) + 1; size > maxWords {
			lines = lines[:i]
			break
		}
	}
	return strings.Join(lines, "\n")
}

func holdsReply(lines []string) bool {
	for _, line := range lines {
		if findReply(line) >= 0 {
			return true
		}
	}
	return false
}

// takeAliases reads Postfix's "<jane@client.example> (expanded from <info@shop.example>): host ...", which may be folded.
func (r *reading) takeAliases() {
	for i := range r.blocks {
		b := &r.blocks[i]
		if len(b.words) == 0 || !strings.HasPrefix(b.words[0], "(expanded from") {
			continue
		}
		head := strings.Join(b.words[:min(len(b.words), 3)], " ")
		alias, rest, found := strings.Cut(head[len("(expanded from"):], ")")
		if alias = strings.Trim(alias, " :<>"); !found || !plausible(alias) {
			continue
		}
		b.original = alias
		b.words = append([]string{strings.TrimLeft(rest, " :")}, b.words[min(len(b.words), 3):]...)
		if b.words[0] == "" {
			b.words = b.words[1:]
		}
	}
}

// sharedAnswer reads the words that apply to all recipients of a list.
func (r *reading) sharedAnswer() answer {
	if r.common == nil {
		a := readAnswer(r.sharedWords())
		r.common = &a
	}
	return *r.common
}

// sharedWords returns a reply that is quoted below or above the list; else what stands behind a cue, else the lines that tell a
// reason, else all that stands below the list, else what stands next to it above.
func (r *reading) sharedWords() string {
	at := min(r.afterLast, len(r.shared))
	above, below := r.shared[:at], r.shared[at:]
	if words := aroundReply(below, 12); words != "" {
		return words
	}
	if words := aroundReply(above, 0); words != "" {
		return words
	}
	for _, lines := range [...][]string{below, above} {
		if words := behindCue(lines); words != "" {
			return words
		}
	}
	for _, lines := range [...][]string{below, above} {
		if words := telling(lines, reasonPhrases[:]); words != "" {
			return words
		}
	}
	if words := withoutBoilerplate(below); words != "" {
		return words
	}
	if words := telling(above, bouncePhrases[:]); words != "" {
		return words
	}
	return lastParagraph(above)
}

// aroundReply returns the first paragraph that holds a reply, up to its end or to a line that names a field of the message,
// with up to back lines from in front of it, where the reporting server tells of whose reply it is.
func aroundReply(lines []string, back int) string {
	for i, line := range lines {
		if findReply(line) < 0 {
			continue
		}
		start, end := i, i+1
		for start > 0 && lines[start-1] != "" && i-start < 12 {
			start--
		}
		start = max(min(start, i-back), 0)
		for end < len(lines) && end < i+20 && lines[end] != "" && !messageDetail(lines[end]) {
			end++
		}
		return joinLines(lines[start:end])
	}
	return ""
}

// behindCue returns what follows a cue's colon, on its line or below it.
func behindCue(lines []string) string {
	for i, line := range lines {
		if !isCue(line) {
			continue
		}
		if rest := afterColon(line); rest != "" {
			return rest + "\n" + paragraph(lines[i+1:])
		}
		next := lines[i+1:]
		for len(next) > 0 && next[0] == "" {
			next = next[1:]
		}
		if words := paragraph(next); words != "" {
			return words
		}
	}
	return ""
}

// isCue reports whether a line stands in front of the words about a list.
func isCue(line string) bool {
	low := strings.ToLower(strings.TrimLeft(line, "-=* "))
	if len(low) > 200 {
		return false
	}
	for _, cue := range cues {
		if strings.HasPrefix(low, cue) {
			return true
		}
	}
	return strings.HasSuffix(low, ":") && containsAny(low, innerCues[:])
}

func afterColon(line string) string {
	_, rest, _ := strings.Cut(line, ":")
	return strings.TrimSpace(rest)
}

// paragraph returns the lines up to the next gap, or to one that names a field of the message.
func paragraph(lines []string) string {
	end := 0
	for end < len(lines) && lines[end] != "" && !messageDetail(lines[end]) {
		end++
	}
	return joinLines(lines[:end])
}

// telling returns the lines that hold one of the phrases.
func telling(lines, phrases []string) string {
	var out []string
	for _, line := range lines {
		if line != "" && containsAny(strings.ToLower(line), phrases) {
			out = append(out, line)
		}
	}
	return joinLines(out)
}

// withoutBoilerplate returns the paragraphs that are not the same in every report.
func withoutBoilerplate(lines []string) string {
	var out []string
	skip := false
	for i, line := range lines {
		if i == 0 || lines[i-1] == "" {
			skip = containsAny(strings.ToLower(line), boilerplate[:])
		}
		if line != "" && !skip {
			out = append(out, line)
		}
	}
	return joinLines(out)
}

// lastParagraph returns the lines behind the last gap.
func lastParagraph(lines []string) string {
	end := len(lines)
	for end > 0 && lines[end-1] == "" {
		end--
	}
	start := end
	for start > 0 && lines[start-1] != "" {
		start--
	}
	return joinLines(lines[start:end])
}

func messageDetail(line string) bool {
	for _, name := range [...]string{
		"message details", "subject:", "from:", "cc:", "sent date:", "mail from:", "date:", "message-id:", "***", "betreff:", "objet:", "objet :", "asunto:", "assunto:", "oggetto:", "onderwerp:",
		"temat:", "тема:", "主题:", "主旨:", "件名:", "제목:",
	} {
		if _, found := after(line, name); found {
			return true
		}
	}
	return false
}
