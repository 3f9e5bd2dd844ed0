package feed

import (
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// quoted reads a string and takes its escapes off. It allocates only if there are any, or what is no UTF-8.
func (r *reader) quoted() string {
	from, to, escaped := r.span()
	if escaped || r.dirty {
		return r.mend(from, to, escaped)
	}
	return r.s[from:to]
}

// mend takes the escapes off a string and puts U+FFFD in place of what is no UTF-8.
func (r *reader) mend(from, to int, escaped bool) string {
	s := r.s[from:to]
	if escaped {
		s = unescape(s)
	}
	if r.dirty {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}

// span reads a string and returns where its content is: RFC 8259, section 7.
func (r *reader) span() (from, to int, escaped bool) {
	s := r.s
	from = r.i + 1
	for i := from; ; {
		for len(s)-i >= 8 {
			if m := special(word(s[i : i+8])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= ' ' {
			i++
		}
		switch {
		case i == len(s) || s[i] < ' ':
			r.i = i
			r.fail(ReasonSyntax)
			return 0, 0, false
		case s[i] == '"':
			r.i = i + 1
			return from, i, escaped
		}
		escaped = true
		n := escape(s[i:])
		if n == 0 {
			r.i = i
			r.fail(ReasonSyntax)
			return 0, 0, false
		}
		i += n
	}
}

// word loads eight bytes; the compiler makes one load of it.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// special returns a word whose lowest set bit is the top bit of the first byte that is a quote, a backslash or a
// control character; 0 if there is none.
func special(w uint64) uint64 {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, back := w^('"'*ones), w^('\\'*ones)
	return ((w-' '*ones)&^w | (quote-ones)&^quote | (back-ones)&^back) & tops
}

// escape returns the length of the escape that s begins with; 0 if it is none.
func escape(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(s); ok {
			return 6
		}
	}
	return 0
}

// hex4 reads \uXXXX.
func hex4(s string) (v rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range []byte(s[2:6]) {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20-'a' <= 5:
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, true
}

// unescape takes the escapes off a string that span has accepted. Half a surrogate pair becomes U+FFFD.
func unescape(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		k := strings.IndexByte(s, '\\')
		if k < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:k])
		s = s[k:]
		if s[1] != 'u' {
			b.WriteByte(plain(s[1]))
			s = s[2:]
			continue
		}
		v, _ := hex4(s)
		s = s[6:]
		if utf16.IsSurrogate(v) {
			low, _ := hex4(s)
			if v = utf16.DecodeRune(v, low); v != utf8.RuneError {
				s = s[6:]
			}
		}
		b.WriteRune(v)
	}
	return b.String()
}

// plain returns what an escape of two bytes stands for.
func plain(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}
