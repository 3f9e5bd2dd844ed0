package dsn

import (
	"bytes"
	"strings"
)

// header is a block of header fields, in order. The bytes are the mail's.
type header struct {
	fields []field
}

type field struct {
	name  []byte // without the colon
	value []byte // still folded
}

// parseHeader reads fields up to the first empty line, and returns what follows it. A line that is no field ends the block too:
// then it is the first of what follows, as mails come that lack the empty line.
//
// QUIRK: an mbox line "From sender date" in front is skipped.
func parseHeader(b []byte, lim *Limits) (h header, rest []byte, err *LimitError) {
	if bytes.HasPrefix(b, []byte("From ")) || bytes.HasPrefix(b, []byte(">From ")) {
		_, b = cutLine(b)
	}
	used := 0
	for len(b) > 0 {
		line, next := cutLine(b)
		if len(line) == 0 {
			return h, next, nil
		}
		if used += len(b) - len(next); used > lim.HeaderBytes {
			return h, b, &LimitError{"header bytes", lim.HeaderBytes}
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(h.fields) == 0 {
				return h, b, nil
			}
			last := &h.fields[len(h.fields)-1]
			// Both slices run to the end of one array: the difference of their capacities is where line begins.
			if end := cap(last.value) - cap(line) + len(line); end <= lim.LineBytes {
				last.value = last.value[:end]
			}
			b = next
			continue
		}
		n := nameLen(line)
		if n == 0 {
			return h, b, nil
		}
		if len(h.fields) == lim.HeaderFields {
			return h, b, &LimitError{"header fields", lim.HeaderFields}
		}
		value := line[n+1:]
		h.fields = append(h.fields, field{bytes.TrimRight(line[:n], " \t"), value[:min(len(value), lim.LineBytes)]})
		b = next
	}
	return h, nil, nil
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

// cutLine returns the first line without its end, and what follows. Lines end in LF, CRLF or CRCRLF.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return bytes.TrimRight(b, "\r"), nil
	}
	line = b[:i]
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, b[i+1:]
}

// parameters reads "type/subtype; name=value; ..." of RFC 2045, section 5.1, leniently: the value in lower case and a lookup.
func parameters(value string) (mediaType string, get func(name string) string) {
	mediaType, rest, _ := strings.Cut(value, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	// QUIRK: "text/plain charset=..." lacks the semicolon.
	if word, more, found := strings.Cut(mediaType, " "); found {
		mediaType, rest = word, more+";"+rest
	}
	return mediaType, func(name string) string { return parameter(rest, name) }
}

func parameter(s, name string) string {
	for s != "" {
		s = strings.TrimLeft(s, "; \t")
		key, rest, found := strings.Cut(s, "=")
		if !found {
			return ""
		}
		if semi := strings.IndexByte(key, ';'); semi >= 0 { // a parameter without a value
			s = s[semi+1:]
			continue
		}
		key = strings.TrimSpace(key)
		rest = strings.TrimLeft(rest, " ")
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s = quoted(rest[1:])
		} else if end := strings.IndexAny(rest, "; \t"); end >= 0 {
			value, s = rest[:end], rest[end:]
		} else {
			value, s = rest, ""
		}
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// quoted reads a quoted string behind its opening quote. RFC 5322, section 3.2.4.
func quoted(s string) (value, rest string) {
	if end := strings.IndexByte(s, '"'); end >= 0 && strings.IndexByte(s[:end], '\\') < 0 {
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '"':
			return b.String(), s[i+1:]
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
