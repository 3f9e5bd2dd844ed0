package feed

import (
	"fmt"
	"slices"
	"strings"

	"carom.dev/carom/pipeline/site"
)

// CSV reads one PowerMTA accounting file that comes in pieces: RFC 4180 with a header row. The header of the file, and a
// record whose quoted field goes on in the next piece, are its state; keep one CSV for each file (or host, as Files does), in
// the order of its lines. A header below the first one replaces it: the next file began. A row above any header is a
// fault with ReasonHeader: which columns a file has is its configuration's choice, and nothing is guessed.
//
// It is not safe for concurrent use. Make one with NewCSV.
type CSV struct {
	p      *Parser
	header string // the header row with a line end; empty before the first
	open   string // begin of a record that is not complete

	first   string          // name of the first column
	columns [numColumns]int // column -> field; -1 if the file has none
	width   int

	site  *site.Site   // whose rules chose facts
	facts []columnFact // columns that label rules ask for
}

// columnFact is a column that is a fact for label rules.
type columnFact struct {
	column int
	kind   site.FactKind
	name   string
}

// maxColumns bounds a header.
const maxColumns = 512

// stateVersion begins a written state.
const stateVersion = "carom powermta csv 1\n"

// NewCSV returns a reader that waits for a header. It works with the buffers, site and feed of p; any number of readers may
// share a Parser, one at a time.
func NewCSV(p *Parser) *CSV { return &CSV{p: p} }

// Parse reads the next piece of the file: one row or many, cut anywhere between lines. Rows end with CRLF, LF or the end of
// the piece. A record whose quoted field is still open at the end waits for the next piece.
//
// A row that is broken costs only itself: after a fault in a record of several lines, reading goes on at its second
// line. The error is nil, or an *Error with ReasonTooLarge or ReasonTooMany about the piece; then nothing (too large), or all up
// to its offset, has been read.
func (c *CSV) Parse(body []byte, h Handler) (Result, error) {
	return c.piece(body, h, false)
}

// Close says that the file ends here: a record that waits for its rest is a fault, and the lines behind its first are read
// by themselves. The header stays.
func (c *CSV) Close(h Handler) Result {
	res, _ := c.piece(nil, h, true) // at most MaxRecordBytes, hence fewer records than the bound
	return res
}

// piece reads the next piece; last tells that nothing will follow.
func (c *CSV) piece(body []byte, h Handler, last bool) (Result, error) {
	if len(body) > MaxBodyBytes {
		return Result{}, &Error{Format: PowerMTA, Reason: ReasonTooLarge, Offset: MaxBodyBytes}
	}
	c.p.begin(PowerMTA, h)
	if c.header != "" && c.site != c.p.site {
		c.row(c.header, 0)
		c.learnFacts()
	}
	s := c.open + string(body)
	base := len(c.open)
	c.open = ""
	n, ok := c.read(s, base, last)
	if !ok {
		return c.p.res, &Error{Format: PowerMTA, Reason: ReasonTooMany, Record: c.p.res.Records + 1, Offset: n - base}
	}
	if n < len(s) {
		// Shippers that send lines take their ends off.
		c.open = strings.Clone(s[n:])
		if c.open[len(c.open)-1] != '\n' {
			c.open += "\n"
		}
	}
	return c.p.res, nil
}

// read reads the rows of s, of which the first base bytes belong to an earlier body. It returns where an open record begins,
// or len(s); not ok: where the first row beyond the bound begins.
func (c *CSV) read(s string, base int, last bool) (n int, ok bool) {
	text := newReader(s)
	for i := 0; i < len(s); {
		if s[i] == '\n' || s[i] == '\r' {
			i++
			continue
		}
		if n := bomLen(s[i:]); n > 0 {
			i += n
			continue
		}
		next, why := c.row(s, i)
		if next < 0 {
			if !last {
				return i, true
			}
			why = ReasonQuote
		}
		if why == ReasonNUL && wide(s[i:]) {
			why = ReasonEncoding
		}
		c.p.from = i - base
		if !c.p.next() {
			return i, false
		}
		if why == reasonNone {
			if text.dirty {
				c.mend()
			}
			if c.isHeader() {
				if why = c.setHeader(s[i:next]); why == reasonNone {
					c.p.noise(NoiseHandshake)
				}
			} else {
				why = c.record(trimEnd(s[i:next]))
			}
		}
		if why != reasonNone {
			end := lineEnd(s, i)
			c.p.fault(why, i-base, trimEnd(s[i:end]))
			next = end
		}
		i = next
	}
	return len(s), true
}

// lineEnd returns the place behind the physical line that begins at i.
func lineEnd(s string, i int) int {
	if k := strings.IndexByte(s[i:], '\n'); k >= 0 {
		return i + k + 1
	}
	return len(s)
}

// trimEnd takes one line end off.
func trimEnd(line string) string {
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
}

// row reads the record at i into c.p.fields: RFC 4180, section 2. It returns the place behind its line end, or -1 if a quoted
// field is still open at the end of s.
func (c *CSV) row(s string, i int) (next int, why Reason) {
	c.p.fields = c.p.fields[:0]
	from, limit := i, min(len(s), i+MaxRecordBytes)
	for {
		if len(c.p.fields) > maxColumns {
			return 0, ReasonColumns
		}
		if i < len(s) && s[i] == '"' {
			value, end := quotedField(s, i, limit)
			if end < 0 {
				if limit < len(s) {
					return 0, ReasonTooLong
				}
				return -1, reasonNone
			}
			c.p.fields = append(c.p.fields, value)
			i = end
		} else {
			start := i
			for i < limit && s[i] != ',' && s[i] != '\n' {
				i++
			}
			if i == limit && limit < len(s) {
				return 0, ReasonTooLong
			}
			end := i
			if end > start && s[end-1] == '\r' && (i == len(s) || s[i] == '\n') {
				end--
			}
			c.p.fields = append(c.p.fields, s[start:end])
		}
		if i < len(s) && s[i] == ',' {
			i++
			continue
		}
		if i < len(s) && s[i] == '\r' {
			i++
		}
		switch {
		case i < len(s) && s[i] != '\n':
			return 0, ReasonQuote
		case strings.IndexByte(s[from:i], 0) >= 0:
			return 0, ReasonNUL
		}
		return min(i+1, len(s)), reasonNone
	}
}

// quotedField reads the quoted field at i and returns the place behind its closing quote, or -1 if there is none before
// limit.
func quotedField(s string, i, limit int) (value string, end int) {
	from := i + 1
	doubled := false
	for i = from; ; {
		k := -1
		if i < limit {
			k = strings.IndexByte(s[i:limit], '"')
		}
		if k < 0 {
			return "", -1
		}
		i += k + 1
		if i == len(s) || s[i] != '"' {
			break
		}
		doubled = true
		i++
	}
	value = s[from : i-1]
	if doubled {
		value = strings.ReplaceAll(value, `""`, `"`)
	}
	return value, i
}

// mend puts U+FFFD in place of what is no UTF-8.
func (c *CSV) mend() {
	for i, f := range c.p.fields {
		c.p.fields[i] = strings.ToValidUTF8(f, "\uFFFD")
	}
}

// isHeader tells a header by the name of its first column. It is "type" as PowerMTA writes it; a file that was rewritten
// may have another, which is believed if it stands above everything else, or comes again.
func (c *CSV) isHeader() bool {
	has := func(name string) bool {
		return slices.ContainsFunc(c.p.fields, func(f string) bool { return strings.EqualFold(f, name) })
	}
	switch {
	case strings.EqualFold(c.p.fields[0], "type"):
		return true
	case c.header == "":
		return has("type") && (has("rcpt") || has("timeLogged"))
	}
	return c.p.fields[0] == c.first && has("type")
}

// setHeader takes c.p.fields as the header of what follows.
func (c *CSV) setHeader(row string) Reason {
	if len(c.p.fields) > maxColumns || len(row) > MaxRecordBytes {
		return ReasonHeader
	}
	c.header, c.first, c.width = trimEnd(row)+"\r\n", strings.Clone(c.p.fields[0]), len(c.p.fields)
	for k := range c.columns {
		c.columns[k] = -1
	}
	for i, name := range c.p.fields {
		if k, ok := columnByName(name); ok && c.columns[k] < 0 {
			c.columns[k] = i
		}
	}
	c.learnFacts()
	return reasonNone
}

// learnFacts finds the columns of the header in c.p.fields that label rules ask for.
func (c *CSV) learnFacts() {
	c.site, c.facts = c.p.site, c.facts[:0]
	w := &c.p.wants
	for i, name := range c.p.fields {
		for _, f := range w.fields[placeTop] {
			if strings.EqualFold(f.name, name) {
				c.facts = append(c.facts, columnFact{i, site.FactField, f.name})
			}
		}
		field, ok := cutHeaderPrefix(name)
		if !ok {
			continue
		}
		for _, want := range w.headers {
			if strings.EqualFold(want, field) {
				c.facts = append(c.facts, columnFact{i, site.FactHeader, want})
			}
		}
		if w.subject && strings.EqualFold(field, "Subject") {
			c.facts = append(c.facts, columnFact{i, site.FactSubject, ""})
		}
	}
}

// cutHeaderPrefix takes a header field's name out of a column's: "header_X-Tenant".
func cutHeaderPrefix(column string) (field string, ok bool) {
	const prefix = "header_"
	if len(column) <= len(prefix) || !strings.EqualFold(column[:len(prefix)], prefix) {
		return "", false
	}
	return column[len(prefix):], true
}

// get returns a column of the row at hand; empty if the file has no such column.
func (c *CSV) get(k column) string {
	if i := c.columns[k]; i >= 0 {
		return c.p.fields[i]
	}
	return ""
}

// AppendState appends the header and an open record to b. With the position of the next piece, this is all that LoadState
// needs to go on as if nothing had happened.
func (c *CSV) AppendState(b []byte) []byte {
	return appendString(appendString(append(b, stateVersion...), c.header), c.open)
}

// LoadState replaces the state by one that AppendState wrote; b is not kept. An error wraps ErrState and leaves c as
// it was.
func (c *CSV) LoadState(b []byte) error {
	s, ok := strings.CutPrefix(string(b), stateVersion)
	if !ok {
		return fmt.Errorf("load csv state: version: %w", ErrState)
	}
	d := decoder{s: s}
	header, open := d.string(), d.string()
	if d.bad || d.s != "" {
		return fmt.Errorf("load csv state: %d bytes from the end: %w", len(d.s), ErrState)
	}
	loaded := CSV{p: c.p}
	if !loaded.load(header, open) {
		return fmt.Errorf("load csv state: header: %w", ErrState)
	}
	*c = loaded
	return nil
}

// load takes a header row and an open record; false if they cannot be.
func (c *CSV) load(header, open string) bool {
	if len(header) > MaxRecordBytes+2 || len(open) > MaxRecordBytes+2 {
		return false
	}
	if header != "" {
		next, why := c.row(header, 0)
		if next != len(header) || why != reasonNone || !c.isHeader() || c.setHeader(header) != reasonNone {
			return false
		}
	}
	c.open = open
	return true
}
