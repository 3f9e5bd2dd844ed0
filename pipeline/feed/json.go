package feed

import (
	"strings"
	"unicode/utf8"
)

// reader pulls values out of a JSON text (RFC 8259), one after the other and in one pass. encoding/json reads about
// 50 k of KumoMTA's lines a second; this reads each string in place.
//
// It nests as deep as the shapes that its callers know; what they leave alone is skipped without recursion, whatever its depth.
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
	r.i++
	if r.kind() == '}' {
		r.i++
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
		r.i++
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
	if !r.colon() {
		return false
	}
	r.value = r.i
	return true
}

// colon goes on to the value behind a key.
func (r *reader) colon() bool {
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
	return !r.bad
}

// array enters an array and stands before the first value. Any other value is skipped: false.
func (r *reader) array() bool {
	if r.kind() != '[' {
		r.skip()
		return false
	}
	r.i++
	if r.kind() == ']' {
		r.i++
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
		r.i++
	default:
		r.fail(ReasonSyntax)
	}
	return false
}

// skip reads the next value and forgets it.
func (r *reader) skip() {
	switch r.kind() {
	case '{', '[':
		r.skipNested()
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

// skipNested skips the object or array that comes next. It does not recurse, since the depth is the sender's choice: a level
// costs one bit.
func (r *reader) skipNested() {
	var open nesting
	for {
		c := r.kind()
		if c == '{' || c == '[' {
			r.i++
			if end := r.kind(); end == c+2 { // ']' and '}' are two behind their openers
				r.i++
			} else {
				open.push(c == '{')
				if c == '{' && !r.skipKey() {
					return
				}
				continue
			}
		} else {
			r.skip()
		}
		for { // behind a value
			if r.bad || open.depth == 0 {
				return
			}
			c, object := r.kind(), open.object()
			if c == ',' {
				r.i++
				if object && !r.skipKey() {
					return
				}
				break
			}
			if (object && c != '}') || (!object && c != ']') {
				r.fail(ReasonSyntax)
				return
			}
			r.i++
			open.depth--
		}
	}
}

// skipKey goes on to the value of the next member.
func (r *reader) skipKey() bool {
	if r.kind() != '"' {
		r.fail(ReasonSyntax)
		return false
	}
	r.span()
	return r.colon()
}

// nesting is a stack of bits: set for an object, clear for an array.
type nesting struct {
	depth int
	low   uint64   // the first 64 levels
	high  []uint64 // the others
}

func (n *nesting) push(object bool) {
	word := &n.low
	if k := n.depth/64 - 1; k >= 0 {
		if k == len(n.high) {
			n.high = append(n.high, 0)
		}
		word = &n.high[k]
	}
	bit := uint64(1) << (n.depth % 64)
	*word &^= bit
	if object {
		*word |= bit
	}
	n.depth++
}

// object tells what the innermost level is.
func (n *nesting) object() bool {
	word := n.low
	if k := (n.depth-1)/64 - 1; k >= 0 {
		word = n.high[k]
	}
	return word>>((n.depth-1)%64)&1 != 0
}

// str returns a string value; any other value is skipped and gives "".
func (r *reader) str() string {
	if r.kind() == '"' {
		return r.quoted()
	}
	r.skip()
	return ""
}

// clip returns a string value, cut. What several recipients of a record share is cut when it is read, not for each of them.
func (r *reader) clip(n int) string { return cut(r.str(), n) }

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
