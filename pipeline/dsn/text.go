package dsn

import "strings"

// block is what a text says about one recipient.
type block struct {
	recipient string
	original  string   // before an alias of the reporting server
	words     []string // lines
	later     []string // lines behind a second mention of the address: those for administrators follow those for people
	remote    string
	command   string // last command of a transcript
	local     bool   // the words are the reporting server's own, though a code may stand in front
}

// reading is what was found in the text of a report.
type reading struct {
	blocks    []block
	shared    []string // lines that belong to no recipient; an empty one for each gap between them
	afterLast int      // index into shared of the first line behind the last recipient's
	original  string   // what follows the separator: the returned message
	server    string   // "Generating server", "Reporting-MTA"
	remote    string   // "Receiving server", "Remote-MTA"
	queueID   string   // "Queue ID: ...", Exim's "The message identifier is: ..."
	limit     int      // of blocks
	common    *answer  // sharedAnswer, once found
	index     map[string]int
}

// find returns the block of a recipient, or nil.
func (r *reading) find(addr string) *block {
	if i := r.at(addr); i >= 0 {
		return &r.blocks[i]
	}
	return nil
}

func (r *reading) at(addr string) int {
	if r.index != nil {
		if i, ok := r.index[strings.ToLower(addr)]; ok {
			return i
		}
		return -1
	}
	for i := range r.blocks {
		if same(r.blocks[i].recipient, addr) {
			return i
		}
	}
	return -1
}

// findOriginal returns the block whose recipient had that address before an alias, or nil.
func (r *reading) findOriginal(addr string) *block {
	for i := range r.blocks {
		if r.blocks[i].original != "" && same(r.blocks[i].original, addr) {
			return &r.blocks[i]
		}
	}
	return nil
}

// add adds a block, or returns nil if there are too many.
func (r *reading) add(addr string) *block {
	const few = 8
	n := len(r.blocks)
	if n >= r.limit {
		return nil
	}
	r.blocks = append(r.blocks, block{recipient: addr})
	if n == few {
		r.index = map[string]int{}
		for i := range r.blocks {
			r.index[strings.ToLower(r.blocks[i].recipient)] = i
		}
	} else if n > few {
		r.index[strings.ToLower(addr)] = n
	}
	return &r.blocks[n]
}

// gap notes an empty line among the shared ones.
func (r *reading) gap() {
	if n := len(r.shared); n > 0 && r.shared[n-1] != "" {
		r.shared = append(r.shared, "")
	}
}

// reader reads a text line by line into a reading.
type reader struct {
	*reading
	transcript transcript
	open       int  // block that takes lines, or -1
	second     bool // they follow a second mention of the address
	indent     int  // of the line that opened it
}

// readText reads the text of a report, line by line. All formats that were seen have one shape: a line with the address, and the
// words about it behind it on the line, in the lines below it up to an empty one, or, if the list has no words, below the list.
func (p *parser) readText(text string) *reading {
	r := reader{reading: &reading{limit: p.lim.Recipients}, open: -1}
	r.transcript.reading = r.reading
	looked := 0 // lines that are not the beginning of the returned message
	for lines := 1; text != ""; lines++ {
		if lines > p.lim.TextLines {
			p.note(LimitTextLines, p.lim.TextLines)
			break
		}
		whole := text
		var raw string
		raw, text, _ = strings.Cut(text, "\n")
		raw = strings.TrimRight(raw, "\r \t")
		if len(raw) > p.lim.LineBytes {
			raw = raw[:p.lim.LineBytes]
			p.note(LimitLineBytes, p.lim.LineBytes)
		}
		line := strings.TrimLeft(raw, " \t")
		if isEnding(line) {
			r.original = text
			break
		}
		if lines > 3 && len(line) == len(raw) && line != "" {
			known := len(r.blocks) > 0 // some reports name the message before they name its recipients
			ahead := beginsTrace(whole, known)
			if !ahead && known && lines > looked {
				ahead, looked = returnedAhead(whole)
				looked += lines - 1
			}
			if ahead {
				r.original = whole
				break
			}
		}
		r.line(line, len(raw)-len(line))
	}
	r.transcript.finish()
	r.takeAliases()
	return r.reading
}

// line takes one line without the blanks around it; depth is how many stood in front.
func (r *reader) line(line string, depth int) {
	if line == "" || isRule(line) {
		if strings.Contains(line, "Transcript of session") {
			r.transcript.session = true
		}
		r.gap()
		if r.open >= 0 && len(r.lines()) > 0 {
			r.open = -1
		}
		return
	}
	if r.detail(line) {
		return
	}
	if r.transcript.line(line) {
		r.open = -1
		return
	}
	if addr, rest, ok := recipientLine(line); ok && r.recipient(addr, rest, depth) {
		return
	}
	if r.open >= 0 {
		b := &r.blocks[r.open]
		if from, ok := aliasLine(line); ok {
			b.original = from
			return
		}
		// A dedented line behind an indented list is the sentence that follows the list.
		if len(r.lines()) > 0 || (depth >= r.indent || depth > 0) && !messageDetail(line) && !containsAny(strings.ToLower(line), boilerplate[:]) {
			r.take(line)
			return
		}
		r.open = -1
	}
	r.shared = append(r.shared, line)
}

// lines are those that the open block has got so far.
func (r *reader) lines() []string {
	if b := &r.blocks[r.open]; r.second {
		return b.later
	}
	return r.blocks[r.open].words
}

// take gives a line to the open block.
func (r *reader) take(line string) {
	if b := &r.blocks[r.open]; r.second {
		b.later = append(b.later, line)
	} else {
		b.words = append(b.words, line)
	}
}

// recipient takes a line that names a recipient; false if it only mentions it.
func (r *reader) recipient(addr, rest string, depth int) bool {
	at := r.at(addr)
	nested := r.open >= 0 && depth > r.indent && len(r.lines()) > 0
	switch {
	case at < 0 && !nested:
		if r.add(addr) == nil {
			return false
		}
		r.open, r.second = len(r.blocks)-1, false
	case at >= 0 && at == r.open && rest != "" && len(r.lines()) == 0: // "<a@b>... Deferred: ..." below a list of one
	case at >= 0 && at != r.open && !nested && len(r.blocks[at].later) == 0:
		r.open, r.second = at, len(r.blocks[at].words) > 0
	default:
		return false
	}
	r.indent = depth
	r.afterLast = len(r.shared)
	if rest != "" && !isRule(rest) {
		r.take(rest)
	}
	return true
}

// detail takes a line that gives a name for the message or a server.
func (r *reader) detail(line string) bool {
	colon := strings.IndexByte(line, ':')
	if colon < 6 || colon > 40 {
		return false
	}
	value := strings.TrimSpace(line[colon+1:])
	switch strings.ToLower(strings.TrimSpace(line[:colon])) {
	case "the message identifier is", "queue id", "queue-id":
		r.queueID = firstWord(value)
	case "generating server", "reporting-mta", "dsn generated by", "generierender server", "serveur de génération", "servidor de generación",
		"servidor gerador", "server di generazione", "bronserver", "生成サーバー", "正在生成服务器":
		if _, value = typed(value); r.server == "" {
			r.server = hostName(strings.Trim(value, "<>"))
		}
		r.open = -1
	case "receiving server", "remote-mta", "remote mta", "remote server", "remote system":
		_, value = typed(value)
		h := leadingHost(value)
		if h == "" {
			return false
		}
		r.remote = h
	default:
		return false
	}
	return true
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

// after cuts a prefix without regard to case.
func after(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return strings.TrimSpace(s[len(prefix):]), true
}

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i]
	}
	return s
}
