package cells

import (
	"slices"

	"carom.dev/carom/schema"
)

// Source counts the events of one partition of mail.classified. It is not safe for concurrent use.
type Source struct {
	openMinutes int64
	limit       int
	index       map[Key]uint32 // -> number in cells
	cells       []cell
	free        []uint32
	pruned      int64
	forced      int64
}

type cell struct {
	key      Key
	openedAt int64
	sum      sum
	live     bool
	changed  bool // since it was last emitted
}

// NewSource returns an empty Source. A cell stays open until its minute is more than openMinutes behind the watermark; limit
// bounds the open cells. Both shape the state and must come from the log (the genesis record).
func NewSource(openMinutes int64, limit int) *Source {
	return &Source{openMinutes: openMinutes, limit: limit, index: make(map[Key]uint32)}
}

// Add counts one event, found at an offset of mail.classified; offsets rise. firstAttempt says that it was the first attempt
// of its message and recipient; delayMs is the delay so far, 0 when unknown. The strings of the key are not kept.
func (s *Source) Add(k Key, offset int64, firstAttempt bool, delayMs int64) {
	n, ok := s.index[k]
	if !ok {
		n = s.open(k.own(), offset)
	}
	c := &s.cells[n]
	c.sum.add(sum{events: 1, firstAttempts: number(firstAttempt), delayMs: delayMs})
	c.changed = true
}

func (s *Source) open(k Key, offset int64) uint32 {
	var n uint32
	if last := len(s.free) - 1; last >= 0 {
		n = s.free[last]
		s.free = s.free[:last]
	} else {
		n = uint32(len(s.cells))
		s.cells = append(s.cells, cell{})
	}
	s.cells[n] = cell{key: k, openedAt: offset, live: true}
	s.index[k] = n
	return n
}

// Full says that more cells are open than the limit allows. The caller then calls Close after this record, which makes room;
// it is a function of the log like everything here.
func (s *Source) Full() bool { return len(s.index) > s.limit }

// Close emits every cell that changed since it was last emitted, in the order of keys, as absolute counts. A cell whose minute
// is more than openMinutes behind the watermark and that did not change since the last Close is emitted as final and
// forgotten. With force all are. When Full, the oldest cells are final too, down to three quarters of the limit.
//
// emit owns the cell it gets.
func (s *Source) Close(watermarkMinute int64, force bool, emit func(c *schema.Cell, final bool)) {
	var out []uint32
	excess := s.excess()
	for n := range s.cells {
		c := &s.cells[n]
		old := c.key.Minute < watermarkMinute-s.openMinutes && !c.changed
		if c.live && (c.changed || old || force || excess != nil) {
			out = append(out, uint32(n))
		}
	}
	slices.SortFunc(out, func(a, b uint32) int { return s.cells[a].key.Compare(s.cells[b].key) })
	for _, n := range out {
		c := &s.cells[n]
		final := force || !c.changed && c.key.Minute < watermarkMinute-s.openMinutes
		if !final && excess != nil && c.key.Compare(*excess) <= 0 {
			final = true
			s.forced++
		}
		if !final && !c.changed {
			continue
		}
		c.changed = false
		emit(wire(c.key, c.openedAt, c.sum), final)
		if final {
			s.pruned++
			delete(s.index, c.key)
			*c = cell{}
			s.free = append(s.free, n)
		}
	}
}

// excess returns the last key, in order, of the cells that must go to make room; nil when there is room.
func (s *Source) excess() *Key {
	if !s.Full() {
		return nil
	}
	keys := make([]Key, 0, len(s.index))
	for i := range s.cells {
		if s.cells[i].live {
			keys = append(keys, s.cells[i].key)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	return &keys[len(keys)-s.limit*3/4-1]
}

// Len is the number of open cells.
func (s *Source) Len() int { return len(s.index) }

// SourceStats counts since the partition began.
type SourceStats struct {
	Open   int
	Closed int64
	Forced int64 // closed early to make room
}

// Stats returns the counters.
func (s *Source) Stats() SourceStats {
	return SourceStats{Open: len(s.index), Closed: s.pruned, Forced: s.forced}
}
