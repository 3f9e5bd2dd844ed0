package automaton

// An entry of the table packs the base of the state it leads to with the symbol it is for. A state with base B has its
// entry for symbol S in slot B+S, and rows of different states interleave: no two states share a base, so the symbol
// tells whose entry a slot holds. Zero is an empty slot, because no symbol is zero.
//
// Measured against dense rows of 16-bit state numbers on the benchmark's 20,000 states, this halves the time for a
// text: most states have one or two entries, so what a text touches stays in the cache.
const (
	symbolBits = 9 // 256 classes and the end of text, from 1
	symbolMask = 1<<symbolBits - 1
	maxSlots   = 1 << (32 - symbolBits)
)

func entryTo(base uint32) uint32 { return base << symbolBits }

// view is what readers walk. The learner writes slots in place, atomically: it fills empty ones and redirects filled
// ones to another base of the same state, nothing else.
type view struct {
	slots   []uint32
	start   uint32 // entry, of no symbol, that leads to the start state
	decided uint32 // bases up to here stand for verdicts (index + 1, or 0 for no match) and have no entries
	next    *view  // where to match a text from its beginning if this view lacks an entry; nil: learn
}

func (v *view) lookup(base, sym uint32) (entry uint32, ok bool) {
	entry = v.slots[base+sym]
	return entry, entry&symbolMask == sym
}

// wholeRow is the number of entries at which a state gets slots for all symbols, so that it never moves again.
const wholeRow = 8

// rows assigns slots to states.
type rows struct {
	slots   []uint32
	taken   []bool // by slot: filled or reserved
	based   []bool // by slot: a base, also an abandoned one
	width   uint32 // the highest symbol
	decided uint32 // as in view
	free    uint32 // gaps below are not looked at any more
	top     uint32 // all slots from here on are free
	patient bool   // look far for gaps, and for one entry too
}

func newRows(decided, width, slots uint32) rows {
	r := rows{width: width, decided: decided}
	r.top = decided + 1 + width + 1 // so that all bases, a symbol below a slot, are above decided
	r.free = r.top
	r.reach(r.top + max(slots, 2*width))
	return r
}

// reach makes room for slots below n.
func (r *rows) reach(n uint32) {
	if int(n) <= len(r.slots) {
		return
	}
	n = max(n, uint32(len(r.slots))/4*5)
	r.slots = append(make([]uint32, 0, n), r.slots...)[:n]
	r.taken = append(make([]bool, 0, n), r.taken...)[:n]
	r.based = append(make([]bool, 0, n), r.based...)[:n]
}

// place finds and reserves slots for the given symbols, ascending, and returns the base.
func (r *rows) place(symbols []uint32) uint32 {
	slot := r.top
	if len(symbols) > 1 || r.patient {
		slot = r.gap(symbols)
	}
	for !r.fits(slot-symbols[0], symbols) {
		slot++ // from top on only another state's base can be in the way
	}
	base := slot - symbols[0]
	r.reach(base + r.width + 1)
	r.based[base] = true
	for _, sym := range symbols {
		r.taken[base+sym] = true
	}
	r.top = max(r.top, base+symbols[len(symbols)-1]+1)
	return base
}

// gap returns a slot below top where symbols fit in between others, or top. Its time is bounded, so some gaps are lost.
func (r *rows) gap(symbols []uint32) uint32 {
	const forward = 8 // after a failure begin a little further up
	span := uint32(64)
	if r.patient {
		span = 1024
	}
	for r.free < r.top && r.taken[r.free] {
		r.free++
	}
	for slot := r.free; slot < min(r.free+span, r.top); slot++ {
		if !r.taken[slot] && r.fits(slot-symbols[0], symbols) {
			return slot
		}
	}
	r.free = min(r.free+forward, r.top)
	return r.top
}

func (r *rows) fits(base uint32, symbols []uint32) bool {
	if int(base) < len(r.based) && r.based[base] {
		return false
	}
	for _, sym := range symbols {
		if slot := base + sym; slot < r.top && r.taken[slot] {
			return false
		}
	}
	return true
}

// edge is a transition of a graph: to is a verdict if not above graph.decided, else a node, counted from decided+1.
type edge struct{ sym, to uint32 }

// graph is an automaton without an address for its states.
type graph struct {
	decided, width uint32
	start          uint32   // like edge.to
	ends           []uint32 // node n has edges[ends[n-1]:ends[n]], ascending by symbol
	edges          []edge
}

func (g *graph) node(n int) []edge {
	if n == 0 {
		return g.edges[:g.ends[0]]
	}
	return g.edges[g.ends[n-1]:g.ends[n]]
}

// entry is the entry, of no symbol, that leads to to.
func (g *graph) entry(to uint32, bases []uint32) uint32 {
	if to > g.decided {
		to = bases[to-g.decided-1]
	}
	return entryTo(to)
}

// pack lays out a graph tightly: first the states with many entries, which most texts pass, close together; then those
// with a few; then the chains of states with one or two, in the gaps, in the order of the nodes, which is the order in
// which texts first ran through them.
//
// With room, states with wholeRow entries get whole rows; without, nothing can be added to them.
func (g *graph) pack(room bool) (r rows, bases []uint32) {
	r = newRows(g.decided, g.width, uint32(len(g.edges)))
	r.patient = true
	bases = make([]uint32, len(g.ends))
	all := make([]uint32, g.width)
	for i := range all {
		all[i] = uint32(i) + 1
	}
	for _, tier := range [][2]int{{wholeRow, int(g.width)}, {3, wholeRow - 1}, {0, 2}} {
		for n := range g.ends {
			edges := g.node(n)
			if len(edges) < tier[0] || len(edges) > tier[1] {
				continue
			}
			symbols := all
			if !room || len(edges) < wholeRow {
				symbols = symbols[:0:0]
				for _, e := range edges {
					symbols = append(symbols, e.sym)
				}
			}
			if len(symbols) == 0 {
				symbols = all[:1] // reached, and never left so far
			}
			bases[n] = r.place(symbols)
		}
	}
	r.patient = false
	for n := range g.ends {
		for _, e := range g.node(n) {
			r.slots[bases[n]+e.sym] = g.entry(e.to, bases) | e.sym
		}
	}
	return r, bases
}
