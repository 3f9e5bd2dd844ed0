package automaton

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// preceding is what a state remembers of the rune before it, and then only if a live assertion may ask.
type preceding uint8

const (
	precedingOther preceding = iota
	precedingWord
	precedingNewline
	precedingNothing // beginning of text
	precedingKinds
)

func precedingOf(r rune) preceding {
	switch {
	case r == '\n':
		return precedingNewline
	case syntax.IsWordChar(r):
		return precedingWord
	}
	return precedingOther
}

// assertions that hold after k, whatever follows.
func (k preceding) assertions() syntax.EmptyOp {
	switch k {
	case precedingNothing:
		return syntax.EmptyBeginText | syntax.EmptyBeginLine
	case precedingNewline:
		return syntax.EmptyBeginLine
	case precedingOther, precedingWord, precedingKinds:
	}
	return 0
}

// noRune stands for the end of text where a rune is expected.
const noRune rune = -1

// assertionsBetween lists every assertion that holds between k and r.
func assertionsBetween(k preceding, r rune) syntax.EmptyOp {
	held := k.assertions()
	if (k == precedingWord) != syntax.IsWordChar(r) {
		held |= syntax.EmptyWordBoundary
	} else {
		held |= syntax.EmptyNoWordBoundary
	}
	switch r {
	case noRune:
		held |= syntax.EmptyEndText | syntax.EmptyEndLine
	case '\n':
		held |= syntax.EmptyEndLine
	}
	return held
}

// config is a state of the deterministic automaton, spelled out.
type config struct {
	// threads are the live instructions, ascending, of patterns below best: those that consume a rune, and
	// assertions that wait for the next rune. Those of program.restarts are implied and left out.
	threads []uint32
	best    uint32 // lowest pattern that has matched; the number of patterns if none has
	before  preceding
	pending [utf8.UTFMax - 1]byte // the begun encoding of a rune, by representatives of its bytes' classes
	npend   uint8
}

// appendKey appends an encoding of c that differs for different configs.
func (c *config) appendKey(key []byte) []byte {
	key = binary.AppendUvarint(key, uint64(c.best))
	key = append(key, byte(c.before)<<2|c.npend)
	key = append(key, c.pending[:c.npend]...)
	var last uint32
	for _, pc := range c.threads {
		key = binary.AppendUvarint(key, uint64(pc-last))
		last = pc
	}
	return key
}

// setKey makes c the config that key was made from.
func (c *config) setKey(key []byte) {
	best, n := binary.Uvarint(key)
	c.best = uint32(best)
	c.before, c.npend = preceding(key[n]>>2), key[n]&3
	key = key[n+1:]
	key = key[copy(c.pending[:c.npend], key):]
	c.threads = c.threads[:0]
	var last uint32
	for len(key) > 0 {
		delta, n := binary.Uvarint(key)
		last += uint32(delta)
		c.threads = append(c.threads, last)
		key = key[n:]
	}
}

// subset computes transitions between configs. It holds scratch space and is not safe for concurrent use.
type subset struct {
	prog *program

	restarts   []uint32 // what every unanchored pattern offers at every position, ascending
	isRestart  []bool   // by instruction
	lineStarts []uint32 // offered after a newline on top of restarts, ascending
	asksWord   uint32   // lowest of restarts that may ask whether a word character precedes; len(insts) if none
	asksBack   uint32   // lowest of restarts that may ask for the beginning of text or line; len(insts) if none

	// restarted caches what restarts lead to on an ASCII rune; lists ascend and may include opMatch.
	restarted [precedingKinds][utf8.RuneSelf][]uint32
	known     [precedingKinds][utf8.RuneSelf]bool

	here, next    *sparse // visited before and after the rune
	stack         []uint32
	opened, after []uint32
}

func newSubset(p *program) *subset {
	d := &subset{prog: p, here: newSparse(len(p.insts)), next: newSparse(len(p.insts))}
	d.isRestart = make([]bool, len(p.insts))
	d.restarts = d.closureOfStarts(precedingOther)
	d.asksWord, d.asksBack = uint32(len(p.insts)), uint32(len(p.insts))
	for _, pc := range slices.Backward(d.restarts) {
		d.isRestart[pc] = true
		if p.insts[pc].asks&looksWord != 0 {
			d.asksWord = pc
		}
		if p.insts[pc].asks&looksBack != 0 {
			d.asksBack = pc
		}
	}
	for _, pc := range d.closureOfStarts(precedingNewline) {
		if !d.isRestart[pc] {
			d.lineStarts = append(d.lineStarts, pc)
		}
	}
	return d
}

// closureOfStarts lists what all patterns offer at a position after k.
func (d *subset) closureOfStarts(k preceding) []uint32 {
	d.next.clear()
	var list []uint32
	for _, pc := range d.prog.starts {
		list = d.closure(d.next, list, pc, k.assertions(), false)
	}
	slices.Sort(list)
	return list
}

// closure appends to list what can be reached from pc without consuming a rune: opRune, opMatch, and assertions that
// are still open. held are the assertions known to hold here; all says that those not in held are known not to, else
// the ones that look ahead are open.
func (d *subset) closure(visited *sparse, list []uint32, pc uint32, held syntax.EmptyOp, all bool) []uint32 {
	stack := append(d.stack[:0], pc)
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !visited.add(pc) {
			continue
		}
		switch in := &d.prog.insts[pc]; in.op {
		case opRune, opMatch:
			list = append(list, pc)
		case opLook:
			switch missing := in.look &^ held; {
			case missing == 0:
				stack = append(stack, in.out)
			case !all && missing&looksBack == 0:
				list = append(list, pc)
			}
		case opSplit:
			stack = append(stack, in.arg, in.out)
		case opJump:
			stack = append(stack, in.out)
		case opFail:
		}
	}
	d.stack = stack
	return list
}

// start makes c the config before the first byte.
func (d *subset) start(c *config) {
	c.best, c.npend = uint32(d.prog.patterns()), 0
	c.threads = append(c.threads[:0], d.closureOfStarts(precedingNothing)...)
	d.settle(c, precedingNothing)
}

// settle brings c, whose threads are a raw union after a rune of kind k, into its one normal form, so that configs
// with the same future share a state.
func (d *subset) settle(c *config, k preceding) {
	p := d.prog
	for _, pc := range c.threads {
		if in := &p.insts[pc]; in.op == opMatch && in.arg < c.best {
			c.best = in.arg
		}
	}
	limit := p.first[c.best]
	kept := c.threads[:0]
	var asks syntax.EmptyOp
	for _, pc := range c.threads {
		// An opMatch below limit cannot be: it would have lowered best.
		if pc < limit && !d.isRestart[pc] {
			kept = append(kept, pc)
			asks |= p.insts[pc].asks
		}
	}
	slices.Sort(kept)
	c.threads = kept
	c.before = precedingOther
	if k == precedingWord && (asks&looksWord != 0 || d.asksWord < limit) ||
		k.assertions() != 0 && (asks&looksBack != 0 || d.asksBack < limit) {
		c.before = k
	}
}

// decided reports whether nothing that follows can change c.best.
func (d *subset) decided(c *config) bool {
	limit := d.prog.first[c.best]
	return len(c.threads) == 0 &&
		(len(d.restarts) == 0 || d.restarts[0] >= limit) &&
		(len(d.lineStarts) == 0 || d.lineStarts[0] >= limit)
}

// feed advances c by a byte of the class of b.
func (d *subset) feed(c *config, b byte) {
	var buf [utf8.UTFMax]byte
	n := copy(buf[:], c.pending[:c.npend])
	buf[n] = b
	rest := buf[:n+1]
	c.npend = 0
	for len(rest) > 0 && utf8.FullRune(rest) {
		r, size := utf8.DecodeRune(rest) // an invalid byte is U+FFFD of width 1, as in regexp
		d.step(c, r)
		rest = rest[size:]
	}
	c.npend = uint8(copy(c.pending[:], rest))
}

// verdict is the pattern that has won if the text ends here, or the number of patterns. It spoils c.
func (d *subset) verdict(c *config) uint32 {
	for range c.npend {
		d.step(c, utf8.RuneError) // what is begun and never completed is invalid, byte by byte
	}
	c.npend = 0
	d.step(c, noRune)
	return c.best
}

// step advances c by a rune.
func (d *subset) step(c *config, r rune) {
	limit := d.prog.first[c.best]
	restarted := d.restartedOn(c.before, r)
	d.next.clear()
	after := d.advance(c.threads, c.before, r)
	for _, pc := range restarted {
		if pc >= limit {
			break
		}
		if d.next.add(pc) {
			after = append(after, pc)
		}
	}
	c.threads = append(c.threads[:0], after...)
	d.settle(c, precedingOf(r))
}

// advance lists where threads lead between k and r and over r; d.next holds what was visited. opMatch reached before
// r is listed too. The result is valid until the next call.
func (d *subset) advance(threads []uint32, k preceding, r rune) []uint32 {
	p := d.prog
	between := assertionsBetween(k, r)
	held := precedingOf(r).assertions()
	d.here.clear()
	opened, after := d.opened[:0], d.after[:0]
	for _, pc := range threads {
		if in := &p.insts[pc]; in.op == opLook && in.look&^between == 0 {
			opened = d.closure(d.here, opened, in.out, between, true)
		}
	}
	for _, list := range [2][]uint32{threads, opened} {
		for _, pc := range list {
			switch in := &p.insts[pc]; in.op {
			case opRune:
				if r != noRune && p.sets[in.set].contains(r) {
					after = d.closure(d.next, after, in.out, held, false)
				}
			case opMatch:
				after = append(after, pc)
			case opFail, opLook, opSplit, opJump:
			}
		}
	}
	d.opened, d.after = opened, after
	return after
}

// restartedOn lists where the restarts lead between k and r and over r, and the extra starts after a newline.
func (d *subset) restartedOn(k preceding, r rune) []uint32 {
	ascii := r >= 0 && r < utf8.RuneSelf
	if ascii && d.known[k][r] {
		return d.restarted[k][r]
	}
	d.next.clear()
	list := slices.Clone(d.advance(d.restarts, k, r))
	if r == '\n' {
		list = append(list, d.lineStarts...)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	if ascii {
		d.known[k][r], d.restarted[k][r] = true, list
	}
	return list
}
