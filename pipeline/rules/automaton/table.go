package automaton

import (
	"bytes"
	"sync/atomic"
)

// state is one state of a table; its number is its place in table.states. It holds no pointers, like all of the table,
// so that the garbage collector has nothing to look at.
type state struct {
	base  uint32
	hash  uint32
	key   uint32 // offset in table.keys; up to that of the next state
	first uint16 // symbol whose slot is reserved already; 0 if none
	n     uint16 // entries; from wholeRow on all slots of the row are its own
}

const stateBytes = 16

// table holds states and transitions that can be added to.
type table struct {
	rows
	start  uint32   // entry, of no symbol, that leads to the start state
	owner  []uint32 // base -> state number, for abandoned bases too; meaningless elsewhere
	states []state
	keys   []byte
	index  []uint32 // hash table of state number + 1, open addressing

	packedAt int // states when the table was last packed
}

func newTable(decided, width uint32) *table {
	t := &table{rows: newRows(decided, width, 0), index: make([]uint32, 64)}
	t.owner = make([]uint32, len(t.slots))
	return t
}

// bytes is what the table holds, unused capacity included.
func (t *table) bytes() int {
	return 4*cap(t.slots) + cap(t.taken) + cap(t.based) + 4*cap(t.owner) + stateBytes*cap(t.states) + cap(t.keys) + 4*cap(t.index)
}

func (t *table) view() *view { return &view{slots: t.slots, start: t.start, decided: t.decided} }

func (t *table) key(n uint32) []byte {
	if int(n)+1 < len(t.states) {
		return t.keys[t.states[n].key:t.states[n+1].key]
	}
	return t.keys[t.states[n].key:]
}

func (t *table) lookup(base, sym uint32) (entry uint32, ok bool) {
	entry = t.slots[base+sym]
	return entry, entry&symbolMask == sym
}

// intern returns the number of the state with this key; a new one gets room for an entry for symbol first.
func (t *table) intern(key []byte, hash, first uint32) uint32 {
	if 4*(len(t.states)+1) > 3*len(t.index) {
		t.rehash()
	}
	mask := uint32(len(t.index) - 1)
	h := hash & mask
	for ; t.index[h] != 0; h = (h + 1) & mask {
		n := t.index[h] - 1
		if t.states[n].hash == hash && bytes.Equal(t.key(n), key) {
			return n
		}
	}
	n := uint32(len(t.states))
	t.index[h] = n + 1
	t.states = append(t.states, state{hash: hash, key: uint32(len(t.keys)), first: uint16(first)})
	t.keys = append(t.keys, key...)
	t.rebase(n, []uint32{first})
	return n
}

func (t *table) rehash() {
	index := make([]uint32, 2*len(t.index))
	mask := uint32(len(index) - 1)
	for i := range t.states {
		h := t.states[i].hash & mask
		for index[h] != 0 {
			h = (h + 1) & mask
		}
		index[h] = uint32(i) + 1
	}
	t.index = index
}

// rebase gives state n a base with slots for symbols.
func (t *table) rebase(n uint32, symbols []uint32) {
	base := t.place(symbols)
	if len(t.owner) < len(t.slots) {
		t.owner = append(make([]uint32, 0, len(t.slots)), t.owner...)[:len(t.slots)]
	}
	t.owner[base] = n
	t.states[n].base = base
}

// set enters a transition, moving the state to another base if the slot is not free.
func (t *table) set(n, sym, target uint32) {
	s := &t.states[n]
	switch slot := s.base + sym; {
	case s.n >= wholeRow:
	case uint32(s.first) == sym:
		s.first = 0
	case s.n+1 < wholeRow && !t.taken[slot]:
		t.taken[slot] = true
		t.top = max(t.top, slot+1)
	default:
		t.move(n, sym)
	}
	s.n++
	atomic.StoreUint32(&t.slots[s.base+sym], entryTo(target)|sym)
}

// move copies a state to a base where there is room for sym too. Readers may be in the old row, so it stays.
func (t *table) move(n, sym uint32) {
	s := &t.states[n]
	var symbols []uint32
	for c := uint32(1); c <= t.width; c++ {
		if _, ok := t.lookup(s.base, c); ok || c == sym || s.n+1 >= wholeRow {
			symbols = append(symbols, c)
		}
	}
	old := s.base
	s.first = 0
	t.rebase(n, symbols)
	for _, c := range symbols {
		if e, ok := t.lookup(old, c); ok {
			atomic.StoreUint32(&t.slots[s.base+c], e)
		}
	}
}

// target translates an entry to a graph's edge.to.
func (t *table) target(entry uint32) uint32 {
	base := entry >> symbolBits
	if base > t.decided {
		return t.decided + 1 + t.owner[base]
	}
	return base
}

// graph lists states, in order of their numbers, and transitions.
func (t *table) graph() *graph {
	g := &graph{decided: t.decided, width: t.width, start: t.target(t.start), ends: make([]uint32, 0, len(t.states))}
	for i := range t.states {
		for sym := uint32(1); sym <= t.width; sym++ {
			if e, ok := t.lookup(t.states[i].base, sym); ok {
				g.edges = append(g.edges, edge{sym, t.target(e)})
			}
		}
		g.ends = append(g.ends, uint32(len(g.edges)))
	}
	return g
}

// packed returns the same table, laid out anew and without abandoned rows. States keep their numbers.
func (t *table) packed() *table {
	g := t.graph()
	u := &table{states: t.states, keys: t.keys, index: t.index, packedAt: len(t.states)}
	var bases []uint32
	u.rows, bases = g.pack(true)
	u.start = g.entry(g.start, bases)
	u.owner = make([]uint32, len(u.slots))
	for i, base := range bases {
		u.owner[base] = uint32(i)
		u.states[i].base, u.states[i].first = base, 0
	}
	return u
}
