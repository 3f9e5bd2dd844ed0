package automaton

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// partition divides the 256 bytes into classes, refined one set of bytes at a time.
type partition struct {
	class [256]uint16
	n     int
}

// split puts the bytes of in into classes of their own.
func (p *partition) split(in func(b byte) bool) {
	if p.n == 256 {
		return
	}
	var moved [256]uint16 // old class -> class of its members in the set; 0 = none yet
	var members, total [256]int
	for b := range 256 {
		total[p.class[b]]++
		if in(byte(b)) {
			members[p.class[b]]++
		}
	}
	for b := range 256 {
		c := p.class[b]
		if !in(byte(b)) || members[c] == total[c] {
			continue
		}
		if moved[c] == 0 {
			moved[c] = uint16(p.n)
			p.n++
		}
		p.class[b] = moved[c]
	}
}

func (p *partition) splitRange(lo, hi byte) {
	p.split(func(b byte) bool { return lo <= b && b <= hi })
}

// classify computes the byte classes: two bytes share one if exchanging them can change no answer. Texts are decoded
// rune by rune, so beyond ASCII a class must also fix the place of a byte in a UTF-8 sequence, and the classes of a
// sequence must fix which sets hold its rune.
func (p *program) classify() {
	part := partition{n: 1}
	// Unicode standard, section 3.9, table 3-7: well-formed byte sequences.
	for _, r := range [][2]byte{
		{0x00, 0x7f},
		{0x80, 0x8f},
		{0x90, 0x9f},
		{0xa0, 0xbf},
		{0xc2, 0xdf},
		{0xe0, 0xe0},
		{0xed, 0xed},
		{0xe1, 0xef},
		{0xf0, 0xf0},
		{0xf1, 0xf3},
		{0xf4, 0xf4},
	} {
		part.splitRange(r[0], r[1])
	}
	var looks syntax.EmptyOp
	for i := range p.insts {
		looks |= p.insts[i].look
	}
	if looks&looksWord != 0 {
		part.split(func(b byte) bool { return syntax.IsWordChar(rune(b)) })
	}
	if looks&(syntax.EmptyBeginLine|syntax.EmptyEndLine) != 0 {
		part.splitRange('\n', '\n')
	}
	asciiSeen := map[[2]uint64]bool{}
	for i := range p.sets {
		if s := &p.sets[i]; !asciiSeen[s.ascii] {
			asciiSeen[s.ascii] = true
			part.split(func(b byte) bool { return b < 0x80 && s.contains(rune(b)) })
		}
	}
	byteRanges := map[[2]byte]bool{}
	for i := range p.sets {
		for _, r := range p.sets[i].ranges {
			eachByteRange(r.lo, r.hi, func(lo, hi byte) { byteRanges[[2]byte{lo, hi}] = true })
		}
	}
	ordered := make([][2]byte, 0, len(byteRanges))
	for r := range byteRanges {
		ordered = append(ordered, r)
	}
	slices.SortFunc(ordered, func(a, b [2]byte) int { return slices.Compare(a[:], b[:]) })
	for _, r := range ordered {
		part.splitRange(r[0], r[1])
	}

	p.endSymbol = uint32(part.n) + 1
	p.representative = make([]byte, part.n+1)
	for b := 255; b >= 0; b-- {
		p.symbols[b] = part.class[b] + 1
		p.representative[part.class[b]+1] = byte(b)
	}
}

// eachByteRange cuts the runes lo..hi, all beyond ASCII, into pieces whose UTF-8 encodings are a product of byte ranges,
// and calls f with every such range.
func eachByteRange(lo, hi rune, f func(lo, hi byte)) {
	const surrogateMin, surrogateMax = 0xd800, 0xdfff // have no encoding
	if lo > hi {
		return
	}
	if lo <= surrogateMax && hi >= surrogateMin {
		eachByteRange(lo, min(hi, surrogateMin-1), f)
		eachByteRange(max(lo, surrogateMax+1), hi, f)
		return
	}
	for _, last := range []rune{0x7ff, 0xffff} { // last runes of two and three bytes
		if lo <= last && last < hi {
			eachByteRange(lo, last, f)
			eachByteRange(last+1, hi, f)
			return
		}
	}
	for low := rune(0x3f); low < 1<<18; low = low<<6 | 0x3f { // the bits of the last one, two, three bytes
		if lo&^low == hi&^low {
			continue
		}
		if lo&low != 0 {
			eachByteRange(lo, lo|low, f)
			eachByteRange((lo|low)+1, hi, f)
			return
		}
		if hi&low != low {
			eachByteRange(lo, hi&^low-1, f)
			eachByteRange(hi&^low, hi, f)
			return
		}
	}
	var a, b [utf8.UTFMax]byte
	n := utf8.EncodeRune(a[:], lo)
	utf8.EncodeRune(b[:], hi)
	for i := range n {
		f(a[i], b[i])
	}
}
