package dsn

import (
	"bytes"
	"strings"
)

// header is a block of header fields, in order. The bytes are the mail's.
type header struct {
	fields []field
	long   bool // a field was cut at Limits.LineBytes
}

type field struct {
	name  []byte // without the colon
	value []byte // still folded
}

// unixLines returns b with LF for each line end: LF, CRLF, CRCRLF. It reads no more than 2*limit bytes and returns no more than limit;
// b itself where there is nothing to change. Everything behind it sees one kind of line end.
func unixLines(b []byte, limit int) []byte {
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
	return parseFields(b, lim, false)
}

// parseFields reads fields up to the first empty line. With strays, a line that is no field is taken for a fold that lacks its
// blank; it ends the block only at its beginning.
func parseFields(b []byte, lim *Limits, strays bool) (h header, rest []byte, err *LimitError) {
	used := 0
	for len(b) > 0 {
		line, next := cutLine(b)
		if len(line) == 0 {
			return h, next, nil
		}
		if used += len(b) - len(next); used > lim.HeaderBytes {
			return h, b, &LimitError{LimitHeaderBytes, lim.HeaderBytes}
		}
		n := 0
		if line[0] != ' ' && line[0] != '\t' {
			if n = nameLen(line); n == 0 && !strays {
				return h, b, nil
			}
		}
		if n == 0 { // a fold
			if len(h.fields) == 0 {
				return h, b, nil
			}
			last := &h.fields[len(h.fields)-1]
			// Both slices run to the end of one array: the difference of their capacities is where line begins.
			if end := cap(last.value) - cap(line) + len(line); end <= lim.LineBytes {
				last.value = last.value[:end]
			} else {
				h.long = true
			}
			b = next
			continue
		}
		if len(h.fields) == lim.HeaderFields {
			return h, b, &LimitError{LimitHeaderFields, lim.HeaderFields}
		}
		if h.fields == nil {
			h.fields = make([]field, 0, fewFields(strays))
		}
		value := line[n+1:]
		if len(value) > lim.LineBytes {
			h.long = true
			value = value[:lim.LineBytes]
		}
		h.fields = append(h.fields, field{bytes.TrimRight(line[:n], " \t"), value})
		b = next
	}
	return h, nil, nil
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
		if equalFold(h.fields[i].name, name) {
			return h.fields[i].value
		}
	}
	return nil
}

// get returns the unfolded value of the first field of that name.
func (h *header) get(name string) string { return unfold(h.raw(name)) }

func (h *header) has(name string) bool {
	for i := range h.fields {
		if equalFold(h.fields[i].name, name) {
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
