package feed

import (
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// reader pulls values out of a JSON text (RFC 8259), one after the other and in one pass. encoding/json reads about
// 50 k of KumoMTA's lines a second; this reads each string in place.
//
// After the first fault bad is set, and every method returns its zero value. Loops over objects and arrays must run to
// their end; a value that the loop's body leaves alone is skipped:
//
//	for ok := r.object(); ok; ok = r.more() {
//		switch r.key {
//		case "id":
//			id = r.str()
//		}
//	}
type reader struct {
	s     string
	i     int
	key   string // of the member at hand; only until the next call
	value int    // where the value at hand begins
	depth int
	bad   bool
	why   Reason
	dirty bool // s is not valid UTF-8: strings have to be mended
}

func newReader(s string) reader { return reader{s: s, dirty: !utf8.ValidString(s)} }

func (r *reader) fail(why Reason) {
	if !r.bad {
		r.bad, r.why = true, why
	}
}

// valid reports whether the rest is a sequence of JSON values, and reads it.
func (r *reader) valid() bool {
	for r.kind() != 0 {
		r.skip()
	}
	if !r.bad && r.i < len(r.s) {
		r.fail(ReasonSyntax) // a NUL byte
	}
	return !r.bad
}

// kind skips white space and returns the first byte of what follows; 0 at the end or behind a fault.
func (r *reader) kind() byte {
	if r.bad {
		return 0
	}
	for r.i < len(r.s) {
		c := r.s[r.i]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
			return c
		}
		r.i++
	}
	return 0
}

// object enters an object and reads the first key. Any other value is skipped: false.
func (r *reader) object() bool {
	if r.kind() != '{' {
		r.skip()
		return false
	}
	if !r.enter() {
		return false
	}
	if r.kind() == '}' {
		r.leave()
		return false
	}
	return r.member()
}

// more goes on to the next key.
func (r *reader) more() bool {
	if r.i == r.value {
		r.skip()
	}
	switch r.kind() {
	case ',':
		r.i++
		return r.member()
	case '}':
		r.leave()
	default:
		r.fail(ReasonSyntax)
	}
	return false
}

func (r *reader) member() bool {
	if r.kind() != '"' {
		r.fail(ReasonSyntax)
		return false
	}
	r.key = r.quoted()
	if r.i >= len(r.s) || r.s[r.i] != ':' {
		if r.kind() != ':' {
			r.fail(ReasonSyntax)
			return false
		}
	}
	r.i++
	if r.i < len(r.s) && r.s[r.i] <= ' ' {
		r.kind()
	}
	r.value = r.i
	return !r.bad
}

// array enters an array and stands before the first value. Any other value is skipped: false.
func (r *reader) array() bool {
	if r.kind() != '[' {
		r.skip()
		return false
	}
	if !r.enter() {
		return false
	}
	if r.kind() == ']' {
		r.leave()
		return false
	}
	r.value = r.i
	return true
}

// next goes on to the next value of an array.
func (r *reader) next() bool {
	if r.i == r.value {
		r.skip()
	}
	switch r.kind() {
	case ',':
		r.i++
		r.kind()
		r.value = r.i
		return true
	case ']':
		r.leave()
	default:
		r.fail(ReasonSyntax)
	}
	return false
}

func (r *reader) enter() bool {
	if r.depth == MaxDepth {
		r.fail(ReasonDepth)
		return false
	}
	r.depth++
	r.i++
	return true
}

func (r *reader) leave() {
	r.depth--
	r.i++
}

// skip reads the next value and forgets it.
func (r *reader) skip() {
	switch c := r.kind(); c {
	case '{':
		for ok := r.object(); ok; ok = r.more() {
			r.skip()
		}
	case '[':
		for ok := r.array(); ok; ok = r.next() {
			r.skip()
		}
	case '"':
		r.span()
	case 't':
		r.literal("true")
	case 'f':
		r.literal("false")
	case 'n':
		r.literal("null")
	default:
		r.number()
	}
}

// str returns a string value; any other value is skipped and gives "".
func (r *reader) str() string {
	if r.kind() == '"' {
		return r.quoted()
	}
	r.skip()
	return ""
}

// scalar returns a string, or a number, true or false as it is written; null, objects and arrays give "".
func (r *reader) scalar() string {
	switch c := r.kind(); c {
	case '"':
		return r.quoted()
	case 0, '{', '[', 'n':
		r.skip()
		return ""
	}
	from := r.i
	r.skip()
	if r.bad {
		return ""
	}
	return r.s[from:r.i]
}

func (r *reader) literal(w string) {
	if !strings.HasPrefix(r.s[r.i:], w) {
		r.fail(ReasonSyntax)
		return
	}
	r.i += len(w)
}

// number reads a number: RFC 8259, section 6.
func (r *reader) number() {
	from := r.i
	if r.i < len(r.s) && r.s[r.i] == '-' {
		r.i++
	}
	zero := r.i < len(r.s) && r.s[r.i] == '0'
	n := r.digits()
	if n == 0 || (zero && n > 1) {
		r.i = from
		r.fail(ReasonSyntax)
		return
	}
	if r.i < len(r.s) && r.s[r.i] == '.' {
		r.i++
		if r.digits() == 0 {
			r.fail(ReasonSyntax)
			return
		}
	}
	if r.i < len(r.s) && r.s[r.i]|0x20 == 'e' {
		r.i++
		if r.i < len(r.s) && (r.s[r.i] == '+' || r.s[r.i] == '-') {
			r.i++
		}
		if r.digits() == 0 {
			r.fail(ReasonSyntax)
		}
	}
}

func (r *reader) digits() (n int) {
	for r.i < len(r.s) && r.s[r.i]-'0' <= 9 {
		r.i++
		n++
	}
	return n
}

// quoted reads a string and takes its escapes off. It allocates only if there are any.
func (r *reader) quoted() string {
	from, to, escaped := r.span()
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
	if s[1] != 'u' {
		if strings.IndexByte(`"\/bfnrt`, s[1]) < 0 {
			return 0
		}
		return 2
	}
	if _, ok := hex4(s); !ok {
		return 0
	}
	return 6
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
			b.WriteByte("\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, s[1])])
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
