package envelope

import (
	"bytes"
	"encoding/base64"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259) into the fields of an envelope, in one pass, and keeps nothing else. It takes every valid
// document within the bounds, and is lenient where shippers are: bytes that are no UTF-8 and bare control characters pass
// in strings. A bare newline does not, so that a document that was cut does not swallow the next one.
type scanner struct {
	b      []byte
	i      int
	from   int    // where the document began
	buf    []byte // strings that held escapes
	passed int    // bytes of strings and blanks, and elements, that were passed over: the work done
	reason Reason // set once, ends the scan
	path   [64]byte
}

const noPath = -1

// document reads the object at hand.
func (s *scanner) document(f *fields) {
	s.from = s.i
	s.object(f, 1, 0)
}

// object reads an object whose members' paths begin with path[:at]; with noPath its members are of no interest.
func (s *scanner) object(f *fields, depth, at int) {
	if !s.expect('{') {
		return
	}
	if depth > MaxDepth {
		s.fail(ReasonDepth)
		return
	}
	for first := true; ; first = false {
		s.space()
		if s.more('}', first) || s.reason != ReasonNone {
			return
		}
		s.space()
		key, escaped, ok := s.span()
		if !ok {
			return
		}
		s.space()
		if !s.expect(':') {
			return
		}
		s.space()
		end := noPath
		if at >= 0 && !escaped && at+len(key) < len(s.path) {
			end = at + len(key)
			for k, c := range key {
				if c-'A' <= 'Z'-'A' {
					c += 'a' - 'A'
				}
				s.path[at+k] = c
			}
		}
		s.value(f, depth, end)
		if s.i-s.from > MaxDocumentBytes {
			s.fail(ReasonTooLong)
		}
	}
}

// value reads the value of the member path[:end].
func (s *scanner) value(f *fields, depth, end int) {
	if s.i >= len(s.b) {
		s.fail(ReasonSyntax)
		return
	}
	c, w, start := s.b[s.i], nowhere, s.i
	if end > 0 && c != '{' {
		w = find(s.path[:end])
	}
	switch {
	case c == '"':
		raw, escaped, ok := s.span()
		if ok && f.wants(w) {
			if escaped {
				raw = s.unescape(raw)
			}
			f.set(w, raw)
		}
	case c == '{':
		if end >= 0 {
			s.path[end] = '.'
			end++
		}
		s.object(f, depth+1, end)
	case c == '[':
		if w.slot == slotMessage && f.wants(w) {
			s.message(f, w, depth+1)
			return
		}
		if depth == 1 && end > 0 && string(s.path[:end]) == "resourcelogs" {
			f.otlp = s.i
		}
		s.array(f, depth+1)
	case c == '-' || c-'0' <= 9:
		raw := s.number()
		if w.slot == slotReported || w.slot == slotReceived || w.slot == slotPID {
			if f.wants(w) {
				f.set(w, raw)
			}
		}
	default:
		s.literal()
		if w.slot == slotPiece && s.reason == ReasonNone {
			f.set(w, s.b[start:s.i])
		}
	}
	f.shipper = f.shipper || w.marks
	f.foreign = f.foreign || w.foreign
}

func (s *scanner) array(f *fields, depth int) {
	if depth > MaxDepth {
		s.fail(ReasonDepth)
		return
	}
	s.i++
	for first := true; ; first = false {
		s.space()
		if s.more(']', first) || s.reason != ReasonNone {
			return
		}
		s.space()
		s.value(f, depth, noPath)
		if s.i-s.from > MaxDocumentBytes {
			s.fail(ReasonTooLong)
		}
	}
}

// message reads a message that is an array: of bytes, as the journal's export writes what is no UTF-8 (source: systemd,
// docs/JOURNAL_EXPORT_FORMATS.md), or of strings, where the journal had the field several times: a line each.
func (s *scanner) message(f *fields, w where, depth int) {
	from := len(s.buf)
	s.i++
	for first := true; ; first = false {
		s.space()
		if s.more(']', first) || s.reason != ReasonNone {
			break
		}
		s.space()
		if s.i < len(s.b) && s.b[s.i] == '"' {
			raw, _, _ := s.span()
			if len(s.buf) > from {
				s.buf = append(s.buf, '\n')
			}
			s.unescape(raw)
			continue
		}
		start := s.i
		s.value(f, depth, noPath)
		if n, ok := digits(s.b[start:s.i]); ok && n <= 0xff {
			s.buf = append(s.buf, byte(n))
		}
		if s.i-s.from > MaxDocumentBytes {
			s.fail(ReasonTooLong)
		}
	}
	if len(s.buf) > from {
		f.set(w, s.buf[from:len(s.buf):len(s.buf)])
	}
}

// more reads what stands between two elements. It reports whether there is none left.
func (s *scanner) more(closing byte, first bool) (end bool) {
	s.passed++
	if s.i < len(s.b) && s.b[s.i] == closing {
		s.i++
		return true
	}
	if !first {
		s.expect(',')
	} else if s.i >= len(s.b) {
		s.fail(ReasonSyntax)
	}
	return false
}

// text reads a string.
func (s *scanner) text() ([]byte, bool) {
	raw, escaped, ok := s.span()
	if ok && escaped {
		raw = s.unescape(raw)
	}
	return raw, ok
}

// span reads a string and returns it as it stands between its quotes.
func (s *scanner) span() (raw []byte, escaped, ok bool) {
	if !s.expect('"') {
		return nil, false, false
	}
	from := s.i
	for i, c := range s.b[from:min(from+32, len(s.b))] { // names and most values
		if c == '"' {
			s.i = from + i + 1
			s.passed += i
			return s.b[from : from+i], false, true
		}
		if c == '\\' || c == '\n' {
			break
		}
	}
	for {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			s.passed += len(s.b) - s.i
			s.fail(ReasonSyntax)
			return nil, false, false
		}
		s.passed += n
		part := s.b[s.i : s.i+n]
		if bytes.IndexByte(part, '\n') >= 0 {
			s.fail(ReasonSyntax)
			return nil, false, false
		}
		s.i += n + 1
		slashes := 0
		for slashes < n && part[n-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			raw = s.b[from : s.i-1]
			return raw, escaped || bytes.IndexByte(part, '\\') >= 0, true
		}
		escaped = true
	}
}

// unescape appends a string's text to the buffer and returns it. RFC 8259, section 7. What is no escape stays as it is.
func (s *scanner) unescape(raw []byte) []byte {
	from := len(s.buf)
	for {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 || n+1 >= len(raw) {
			s.buf = append(s.buf, raw...)
			return s.buf[from:len(s.buf):len(s.buf)]
		}
		s.buf = append(s.buf, raw[:n]...)
		c := raw[n+1]
		raw = raw[n+2:]
		switch c {
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case '"', '\\', '/':
		case 'u':
			u, ok := hex4(raw)
			if !ok {
				s.buf = append(s.buf, '\\', 'u')
				continue
			}
			raw = raw[4:]
			if utf16.IsSurrogate(u) && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				if low, ok := hex4(raw[2:]); ok {
					if pair := utf16.DecodeRune(u, low); pair != utf8.RuneError {
						u, raw = pair, raw[6:]
					}
				}
			}
			s.buf = utf8.AppendRune(s.buf, u) // half a pair becomes U+FFFD
			continue
		default:
			s.buf = append(s.buf, '\\')
		}
		s.buf = append(s.buf, c)
	}
}

// base64 appends what text encodes (RFC 4648, section 4) to the buffer and returns it.
func (s *scanner) base64(text []byte) ([]byte, bool) {
	from := len(s.buf)
	out, err := base64.StdEncoding.AppendDecode(s.buf, text)
	if err != nil {
		return nil, false
	}
	s.buf = out
	return out[from:len(out):len(out)], true
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var u rune
	for _, c := range b[:4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}

// number reads what may be a number; its grammar is of no interest here.
func (s *scanner) number() []byte {
	from := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c-'0' <= 9, c == '-', c == '+', c == '.', c == 'e', c == 'E':
			s.i++
			continue
		}
		break
	}
	return s.b[from:s.i]
}

func (s *scanner) literal() {
	for _, word := range [...]string{"true", "false", "null"} {
		if rest := s.b[s.i:]; len(rest) >= len(word) && string(rest[:len(word)]) == word {
			s.i += len(word)
			return
		}
	}
	s.fail(ReasonSyntax)
}

// space passes over what may stand between tokens: nearly always nothing.
func (s *scanner) space() {
	if s.i < len(s.b) && s.b[s.i] > ' ' {
		return
	}
	from := s.i
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
	s.passed += s.i - from
}

func (s *scanner) expect(c byte) bool {
	if s.reason != ReasonNone {
		return false
	}
	if s.i >= len(s.b) || s.b[s.i] != c {
		s.fail(ReasonSyntax)
		return false
	}
	s.i++
	return true
}

func (s *scanner) fail(r Reason) {
	if s.reason == ReasonNone {
		s.reason = r
	}
}

// opensJSON reports whether b begins like an object or an array of what envelopes are made of. A log line may begin with
// a bracket; hardly one goes on like this.
func opensJSON(b []byte) bool {
	if len(b) < 2 || b[0] != '{' && b[0] != '[' {
		return false
	}
	s := scanner{b: b, i: 1}
	s.space()
	if s.i >= len(b) {
		return false
	}
	switch c := b[s.i]; c {
	case '"':
		return true
	case '}':
		return b[0] == '{'
	case '{', '[', ']':
		return b[0] == '['
	}
	return false
}
