package automaton

import (
	"hash/maphash"
	"sync/atomic"
)

// learner extends the table. All its methods need Set.mu.
type learner struct {
	set      *Set
	prog     *program
	subset   *subset
	maxBytes int
	seed     maphash.Seed // of the index only; no answer depends on it

	t      *table
	frozen *frozen // what was learned before the bound was reached; nil if nothing
	shown  *view   // the view of t that readers have

	now config // scratch
	key []byte // scratch
}

func newLearner(p *program, maxBytes int, s *Set) *learner {
	l := &learner{set: s, prog: p, subset: newSubset(p), maxBytes: maxBytes, seed: maphash.MakeSeed()}
	l.reset()
	l.publish()
	return l
}

// reset starts an empty table.
func (l *learner) reset() {
	l.t = newTable(uint32(l.prog.patterns()), l.prog.endSymbol)
	var c config
	l.subset.start(&c)
	l.t.start = entryTo(l.base(&c, l.prog.endSymbol))
}

// publish shows readers the current tables, unless they have them.
func (l *learner) publish() {
	l.set.stats.tableBytes.Store(int64(l.bytes()))
	l.set.stats.states.Store(int64(l.states()))
	if l.shown != nil && l.current(l.shown) && l.shown.start == l.t.start {
		return
	}
	l.shown = l.t.view()
	first := l.shown
	if l.frozen != nil {
		old := l.frozen.view
		old.next = l.shown
		first = &old
	}
	l.set.published.Store(first)
}

func (l *learner) bytes() int {
	if l.frozen == nil {
		return l.t.bytes()
	}
	return l.t.bytes() + l.frozen.bytes()
}

func (l *learner) states() int {
	if l.frozen == nil {
		return len(l.t.states)
	}
	return len(l.t.states) + l.frozen.states
}

// base is the base of the state for c, which is added if it is new, with room for an entry for symbol first; or that of
// the verdict, if c has one.
func (l *learner) base(c *config, first uint32) uint32 {
	if l.subset.decided(c) {
		return l.verdict(c.best)
	}
	l.key = c.appendKey(l.key[:0])
	return l.t.states[l.t.intern(l.key, uint32(maphash.Bytes(l.seed, l.key)), first)].base
}

// verdict is the base that stands for the final answer best.
func (l *learner) verdict(best uint32) uint32 {
	if best == uint32(l.prog.patterns()) {
		return 0
	}
	return best + 1
}

// finish matches the rest of text, from byte i in the state that entry at of v leads to, and learns what it needs.
func (l *learner) finish(v *view, at uint32, i int, text []byte) int {
	if !l.current(v) {
		at, i = l.t.start, 0 // its bases mean nothing any more
	}
	for at>>symbolBits > l.t.decided {
		base, sym := at>>symbolBits, l.symbol(text, i)
		next, ok := l.t.lookup(base, sym)
		if !ok {
			n := l.t.owner[base]
			if now := l.t.states[n].base; now != base {
				l.repair(text[:min(i, len(text))], base, now)
				at = entryTo(now)
				continue
			}
			next = l.transition(n, sym, l.symbol(text, i+1))
		}
		at = next
		i++
	}
	const worthPacking = 1024 // states
	if n := len(l.t.states); n >= worthPacking && n >= 2*l.t.packedAt {
		l.t = l.t.packed()
	}
	l.publish()
	return int(at>>symbolBits) - 1
}

// current reports whether v is the view of the table.
func (l *learner) current(v *view) bool { return &v.slots[0] == &l.t.slots[0] }

func (l *learner) symbol(text []byte, i int) uint32 {
	if i < len(text) {
		return uint32(l.prog.symbols[text[i]])
	}
	return l.prog.endSymbol
}

// repair redirects the walk of prefix, which ends in the abandoned base from, to the base now.
func (l *learner) repair(prefix []byte, from, now uint32) {
	if l.t.start>>symbolBits == from {
		l.t.start = entryTo(now)
		return
	}
	at := l.t.start
	for _, b := range prefix {
		base, sym := at>>symbolBits, uint32(l.prog.symbols[b])
		next, ok := l.t.lookup(base, sym)
		if !ok {
			return // the walk began in a table that was dropped since
		}
		if next>>symbolBits == from {
			next = entryTo(now) | sym
			atomic.StoreUint32(&l.t.slots[base+sym], next)
		}
		at = next
	}
}

// transition computes and enters the transition of state n for sym; the text goes on with symbol first.
func (l *learner) transition(n, sym, first uint32) uint32 {
	l.set.stats.misses.Add(1)
	c := &l.now
	c.setKey(l.t.key(n))
	if sym == l.prog.endSymbol {
		base := l.verdict(l.subset.verdict(c))
		l.t.set(n, sym, base)
		return entryTo(base)
	}
	l.subset.feed(c, l.prog.representative[sym])
	base := l.base(c, first)
	l.t.set(n, sym, base)
	if full := l.bytes() > l.maxBytes || l.t.top > maxSlots-4*l.t.width; full && len(l.t.states) > 3 {
		l.flush()
		base = l.base(c, first)
	}
	return entryTo(base)
}

// flush makes room for more. What was learned stays readable, in the frozen part, until that fills most of the bound
// itself: with a table of a quarter of the size that the texts call for, everything is still there in the end.
func (l *learner) flush() {
	l.set.stats.flushes.Add(1)
	l.frozen = freeze(l.frozen, l.t)
	if l.frozen.bytes() > l.maxBytes/4*3 {
		l.frozen = nil
	}
	l.reset()
}
