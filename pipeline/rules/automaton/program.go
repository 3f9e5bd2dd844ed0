package automaton

import (
	"cmp"
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"unicode"
)

// Bounds on the compiled patterns. The slowest possible step looks at every live instruction, so they bound time too.
const (
	maxPatterns            = 1 << 16
	maxInstructions        = 1 << 13 // of one pattern; x{1000} needs about 1,000
	maxProgramInstructions = 1 << 19 // of all patterns together
)

// PatternError says which pattern Compile refused, and why.
type PatternError struct {
	Index   int    // position in the list given to Compile
	Pattern string // the pattern as given
	Err     error  // a *syntax.Error, or what is too large
}

func (e *PatternError) Error() string {
	return fmt.Sprintf("compile pattern %d %.100q: %v", e.Index, e.Pattern, e.Err)
}

func (e *PatternError) Unwrap() error { return e.Err }

type opcode uint8

const (
	opFail  opcode = iota
	opRune         // consume a rune of set, go to out
	opMatch        // pattern arg matches
	opLook         // go to out if the surroundings satisfy look
	opSplit        // go to out and to arg
	opJump         // go to out
)

// inst is an instruction of the joined program. Instructions of one pattern are contiguous and patterns are in order,
// so that a bound on instruction numbers is a bound on patterns.
type inst struct {
	op   opcode
	look syntax.EmptyOp // of opLook
	asks syntax.EmptyOp // of opLook: every assertion of its pattern, hence all that may follow it without a rune between
	set  uint32
	out  uint32
	arg  uint32
}

// Assertions that are decided by what precedes a position, and those that also need the rune that follows.
const (
	looksBack  = syntax.EmptyBeginLine | syntax.EmptyBeginText
	looksAhead = syntax.EmptyEndLine | syntax.EmptyEndText | syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
	looksWord  = syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
)

// program is the nondeterministic automaton of all patterns.
type program struct {
	insts  []inst
	sets   []runeSet
	first  []uint32 // first[p] is the lowest instruction of pattern p; first[len(patterns)] == len(insts)
	starts []uint32 // where pattern p begins

	symbols        [256]uint16 // byte -> symbol of its class, from 1
	representative []byte      // symbol -> a byte of the class; index 0 unused
	endSymbol      uint32      // the symbol that ends a text, above all others
}

func (p *program) patterns() int { return len(p.starts) }

func compileProgram(patterns []string) (*program, error) {
	p := &program{first: make([]uint32, 0, len(patterns)+1), starts: make([]uint32, 0, len(patterns))}
	if len(patterns) > maxPatterns {
		return nil, &PatternError{maxPatterns, patterns[maxPatterns], fmt.Errorf("more than %d patterns", maxPatterns)}
	}
	sets := setTable{index: map[string]uint32{}}
	for i, pattern := range patterns {
		if err := p.add(pattern, uint32(i), &sets); err != nil {
			return nil, &PatternError{i, pattern, err}
		}
	}
	p.first = append(p.first, uint32(len(p.insts)))
	p.sets = sets.sets
	p.classify()
	return p, nil
}

// add appends the instructions of one pattern.
func (p *program) add(pattern string, index uint32, sets *setTable) error {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return err
	}
	if n := len(prog.Inst); n > maxInstructions {
		return fmt.Errorf("too large: %d instructions, at most %d allowed", n, maxInstructions)
	}
	if n := len(p.insts) + len(prog.Inst); n > maxProgramInstructions {
		return fmt.Errorf("too large: %d instructions up to here, at most %d allowed in a set", n, maxProgramInstructions)
	}
	base := uint32(len(p.insts))
	p.first = append(p.first, base)
	p.starts = append(p.starts, base+uint32(prog.Start))
	var asks syntax.EmptyOp
	for i := range prog.Inst {
		from := &prog.Inst[i]
		in := inst{out: base + from.Out}
		switch from.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			in.op, in.arg = opSplit, base+from.Arg
		case syntax.InstCapture, syntax.InstNop:
			in.op = opJump
		case syntax.InstEmptyWidth:
			in.op, in.look = opLook, syntax.EmptyOp(from.Arg)
		case syntax.InstMatch:
			in.op, in.arg = opMatch, index
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			in.op, in.set = opRune, sets.add(runesOf(from))
		case syntax.InstFail:
			in.op = opFail
		}
		p.insts = append(p.insts, in)
		asks |= in.look
	}
	for i := range p.insts[base:] {
		if in := &p.insts[base+uint32(i)]; in.op == opLook {
			in.asks = asks
		}
	}
	return nil
}

// runeRange is inclusive at both ends.
type runeRange struct{ lo, hi rune }

// runeSet is a set of runes.
type runeSet struct {
	ascii  [2]uint64   // bit per rune below 0x80
	ranges []runeRange // the rest: sorted, disjoint
}

func (s *runeSet) contains(r rune) bool {
	if r < 0x80 {
		return s.ascii[r>>6]>>(r&63)&1 != 0
	}
	_, found := slices.BinarySearchFunc(s.ranges, r, func(x runeRange, r rune) int {
		switch {
		case x.hi < r:
			return -1
		case x.lo > r:
			return 1
		}
		return 0
	})
	return found
}

// runesOf lists the runes that an instruction of regexp/syntax consumes. It mirrors syntax.Inst.MatchRunePos.
func runesOf(in *syntax.Inst) []runeRange {
	switch {
	case in.Op == syntax.InstRuneAny:
		return []runeRange{{0, unicode.MaxRune}}
	case in.Op == syntax.InstRuneAnyNotNL:
		return []runeRange{{0, '\n' - 1}, {'\n' + 1, unicode.MaxRune}}
	case len(in.Rune) == 1:
		r := in.Rune[0]
		ranges := []runeRange{{r, r}}
		if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				ranges = append(ranges, runeRange{f, f})
			}
		}
		return ranges
	}
	ranges := make([]runeRange, 0, len(in.Rune)/2)
	for i := 0; i+1 < len(in.Rune); i += 2 {
		ranges = append(ranges, runeRange{in.Rune[i], in.Rune[i+1]})
	}
	return ranges
}

// setTable holds every distinct set once.
type setTable struct {
	sets  []runeSet
	index map[string]uint32
}

func (t *setTable) add(ranges []runeRange) uint32 {
	slices.SortFunc(ranges, func(a, b runeRange) int { return cmp.Compare(a.lo, b.lo) })
	key := make([]byte, 0, 8*len(ranges))
	for _, r := range ranges {
		key = fmt.Appendf(key, "%x-%x,", r.lo, r.hi)
	}
	if i, ok := t.index[string(key)]; ok {
		return i
	}
	var s runeSet
	for _, r := range ranges {
		for c := r.lo; c <= min(r.hi, 0x7f); c++ {
			s.ascii[c>>6] |= 1 << (c & 63)
		}
		if r.hi >= 0x80 {
			s.ranges = append(s.ranges, runeRange{max(r.lo, 0x80), r.hi})
		}
	}
	i := uint32(len(t.sets))
	t.sets = append(t.sets, s)
	t.index[string(key)] = i
	return i
}

// sparse is a set of instruction numbers with constant-time clear (Briggs and Torczon, 1993); a generation number per
// member stands in for the cross-link.
type sparse struct {
	members []uint32
	mark    []uint32
	round   uint32
}

func newSparse(n int) *sparse { return &sparse{mark: make([]uint32, n), round: 1} }

func (s *sparse) clear() {
	s.members = s.members[:0]
	if s.round == math.MaxUint32 {
		clear(s.mark)
		s.round = 0
	}
	s.round++
}

// add reports whether pc was not a member yet.
func (s *sparse) add(pc uint32) bool {
	if s.mark[pc] == s.round {
		return false
	}
	s.mark[pc] = s.round
	s.members = append(s.members, pc)
	return true
}
