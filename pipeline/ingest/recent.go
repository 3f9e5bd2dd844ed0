package ingest

import (
	"encoding/binary"

	"carom.dev/carom/pipeline/state"
)

// recentLines is a set of the last n line hashes, first in, first out.
type recentLines struct {
	ring []uint64
	at   int // where the next one goes, once the ring is full
	max  int
	set  map[uint64]struct{}
}

func newRecentLines(n int) recentLines {
	return recentLines{max: n, set: map[uint64]struct{}{}}
}

// add reports whether h was not in the set; then it is.
func (r *recentLines) add(h uint64) bool {
	if _, ok := r.set[h]; ok {
		return false
	}
	r.set[h] = struct{}{}
	if len(r.ring) < r.max {
		r.ring = append(r.ring, h)
		return true
	}
	delete(r.set, r.ring[r.at])
	r.ring[r.at] = h
	r.at = (r.at + 1) % r.max
	return true
}

func (r *recentLines) appendState(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.ring)))
	for i := range r.ring { // the oldest first
		b = binary.BigEndian.AppendUint64(b, r.ring[(r.at+i)%len(r.ring)])
	}
	return b
}

func (r *recentLines) loadState(in *state.Reader) {
	r.ring, r.at = r.ring[:0], 0
	clear(r.set)
	n := in.Count(8)
	if n > r.max {
		in.Fail()
		return
	}
	for range n {
		r.add(in.Uint64())
	}
}
