package automaton

import "slices"

// frozen is a view that is never written.
type frozen struct {
	view
	states int
}

// freeze returns everything in old, which may be nil, and t, in about 4 bytes a transition: what identifies the states,
// and is needed to add to them, is left out.
//
// The two are put together without identities: states reached by the same text are the same state. States that no
// common text shows to be the same stay apart, which costs room and nothing else.
func freeze(old *frozen, t *table) *frozen {
	g := t.graph()
	if old != nil {
		g = union(g, &old.view)
	}
	r, bases := g.pack(false)
	slots := slices.Clone(r.slots[:min(int(r.top+r.width)+1, len(r.slots))])
	return &frozen{view{slots: slots, start: g.entry(g.start, bases), decided: g.decided}, len(g.ends)}
}

func (f *frozen) bytes() int { return 4 * cap(f.slots) }

// union adds the states and transitions of v to g.
func union(g *graph, v *view) *graph {
	if g.start <= g.decided {
		return g
	}
	u := &graph{decided: g.decided, width: g.width, start: g.start}
	// node of the union by base of v; the union's nodes begin with those of g.
	node := map[uint32]uint32{v.start >> symbolBits: g.start}
	base := make([]uint32, len(g.ends)) // and back; 0 if there is none
	base[g.start-g.decided-1] = v.start >> symbolBits
	same := []uint32{g.start}
	for len(same) > 0 {
		n := same[len(same)-1] - g.decided - 1
		same = same[:len(same)-1]
		for _, e := range g.node(int(n)) {
			next, ok := v.lookup(base[n], e.sym)
			if !ok || e.to <= g.decided || base[e.to-g.decided-1] != 0 {
				continue
			}
			node[next>>symbolBits] = e.to
			base[e.to-g.decided-1] = next >> symbolBits
			same = append(same, e.to)
		}
	}
	// Now all of v, from those on: base grows by the states that only v has.
	for n := 0; n < len(base); n++ {
		var known []edge
		if n < len(g.ends) {
			known = g.node(n)
		}
		for sym := uint32(1); sym <= g.width; sym++ {
			if len(known) > 0 && known[0].sym == sym {
				u.edges = append(u.edges, known[0])
				known = known[1:]
				continue
			}
			if base[n] == 0 {
				continue
			}
			next, ok := v.lookup(base[n], sym)
			if !ok {
				continue
			}
			to := next >> symbolBits
			if to > g.decided {
				m, ok := node[to]
				if !ok {
					m = g.decided + 1 + uint32(len(base))
					node[to] = m
					base = append(base, to)
				}
				to = m
			}
			u.edges = append(u.edges, edge{sym, to})
		}
		u.ends = append(u.ends, uint32(len(u.edges)))
	}
	return u
}
