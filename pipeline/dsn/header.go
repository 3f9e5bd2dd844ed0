package dsn

import (
	"bytes"
	"iter"
	"math"
	"strings"
)

// header is a block of header fields, in order. It keeps positions only: a mail has a hundred fields, and few are looked at.
type header struct {
	block  []byte // the bytes that the fields lie in, the mail's
	fields []field
	long   bool // a field was cut at Limits.LineBytes
}

// field is where a field lies in the block.
type field struct {
	name, nameEnd   int32 // without the colon
	value, valueEnd int32 // still folded
}

// name returns the name of a field.
func (h *header) name(i int) []byte { return h.block[h.fields[i].name:h.fields[i].nameEnd] }

// value returns the folded value of a field.
func (h *header) value(i int) []byte { return h.block[h.fields[i].value:h.fields[i].valueEnd] }

// values returns the folded values of all fields of that name.
func (h *header) values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range h.fields {
			if equalFold(h.name(i), name) && !yield(h.value(i)) {
				return
			}
		}
	}
}

// unixLines returns b with LF for each line end: LF, CRLF, CRCRLF. It reads no more than 2*limit bytes and returns no more than limit;
// b itself where there is nothing to change. Everything behind it sees one kind of line end.
func unixLines(b []byte, limit int) []byte {
	limit = min(limit, math.MaxInt32/2) // positions have 32 bits
	in := b[:min(len(b), 2*limit)]
	at := bytes.IndexByte(in[:min(len(in), limit)], '\r')
	if at < 0 {
		return in[:min(len(in), limit)]
	}
	out := make([]byte, 0, min(len(in), limit))
	for at >= 0 && len(out) < limit {
		out = append(out, in[:at]...)
		end := at
		for end < len(in) && in[end] == '\r' {
			end++
		}
		if end == len(in) || in[end] != '\n' {
			out = append(out, in[at:end]...) // no line end
		}
		in = in[end:]
		at = bytes.IndexByte(in, '\r')
	}
	out = append(out, in...)
	return out[:min(len(out), limit)]
}

// parseHeader reads fields up to the first empty line, and returns what follows it. A line that is no field ends the block too:
// then it is the first of what follows, as mails come that lack the empty line.
//
// QUIRK: an mbox line "From sender date" in front is skipped.
func parseHeader(b []byte, lim *Limits) (h header, rest []byte, err *LimitError) {
	if bytes.HasPrefix(b, []byte("From ")) || bytes.HasPrefix(b, []byte(">From ")) {
		_, b = cutLine(b)
	}
	h, next, err := parseFields(b, 0, lim, false)
	return h, b[next:], err
}

// parseFields reads fields of block from at up to the first empty line, and returns where it stopped. With strays, a line that is no field
// is taken for a fold that lacks its blank; it ends the block only at its beginning.
func parseFields(block []byte, at int, lim *Limits, strays bool) (h header, next int, err *LimitError) {
	h.block = block
	start := at
	for at < len(block) {
		end, next := len(block), len(block)
		if i := bytes.IndexByte(block[at:], '\n'); i >= 0 {
			end, next = at+i, at+i+1
		}
		line := block[at:end]
		if len(line) == 0 {
			return h, next, nil
		}
		if next-start > lim.HeaderBytes {
			return h, at, &LimitError{LimitHeaderBytes, lim.HeaderBytes}
		}
		n := 0
		if line[0] != ' ' && line[0] != '\t' {
			if n = nameLen(line); n == 0 && !strays {
				return h, at, nil
			}
		}
		if n == 0 { // a fold
			if len(h.fields) == 0 {
				return h, at, nil
			}
			if last := &h.fields[len(h.fields)-1]; end-int(last.value) <= lim.LineBytes {
				last.valueEnd = int32(end)
			} else {
				h.long = true
			}
			at = next
			continue
		}
		if len(h.fields) == lim.HeaderFields {
			return h, at, &LimitError{LimitHeaderFields, lim.HeaderFields}
		}
		if h.fields == nil {
			h.fields = make([]field, 0, fewFields(strays))
		}
		f := field{name: int32(at), nameEnd: int32(at + len(bytes.TrimRight(line[:n], " \t"))), value: int32(at + n + 1), valueEnd: int32(end)}
		if end-int(f.value) > lim.LineBytes {
			h.long = true
			f.valueEnd = f.value + int32(lim.LineBytes)
		}
		h.fields = append(h.fields, f)
		at = next
	}
	return h, len(block), nil
}

// fewFields is the room for the fields of a mail, or of a group within a status.
func fewFields(group bool) int {
	if group {
		return 6
	}
	return 16
}

// nameLen returns the length of the field name that line begins with, up to its colon, or 0. RFC 5322, section 2.2;
// a blank in front of the colon is the obsolete syntax of section 4.5.
func nameLen(line []byte) int {
	for i, c := range line {
		switch {
		case c == ':':
			return i
		case c <= ' ':
			if rest := bytes.TrimLeft(line[i:], " \t"); i > 0 && len(rest) > 0 && rest[0] == ':' {
				return len(line) - len(rest)
			}
			return 0
		case c >= 127 || i > 76:
			return 0
		}
	}
	return 0
}

// raw returns the folded value of the first field of that name; nil if there is none.
func (h *header) raw(name string) []byte {
	for i := range h.fields {
		if equalFold(h.name(i), name) {
			return h.value(i)
		}
	}
	return nil
}

// get returns the unfolded value of the first field of that name.
func (h *header) get(name string) string { return unfold(h.raw(name)) }

func (h *header) has(name string) bool {
	for i := range h.fields {
		if equalFold(h.name(i), name) {
			return true
		}
	}
	return false
}

// equalFold compares an ASCII name without regard to case.
func equalFold(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if b[i] != name[i] && lower(b[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// unfold joins the lines of a value and its runs of blanks, by one blank each.
func unfold(b []byte) string {
	b = bytes.TrimSpace(b)
	plain := true
	for i, c := range b {
		if c == '\n' || c == '\r' || c == '\t' || c == ' ' && b[i-1] == ' ' {
			plain = false
			break
		}
	}
	if plain {
		return string(b)
	}
	return joinFields(string(b))
}

// joinFields joins the words of s by one blank each. Only ASCII white space counts: a byte of a text in another character set
// is no blank.
func joinFields(s string) string {
	var out strings.Builder
	out.Grow(len(s))
	gap := false
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			gap = out.Len() > 0
			continue
		}
		if gap {
			out.WriteByte(' ')
			gap = false
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// cutLine returns the first line without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, nil
	}
	return b[:i], b[i+1:]
}
