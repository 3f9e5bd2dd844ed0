package cells

import (
	"cmp"
	"slices"

	"carom.dev/carom/schema"
)

// Merge adds up the cells of all source partitions that fall into one partition of mail.cells. It is not safe for concurrent
// use.
type Merge struct {
	openMinutes int64
	sources     []mark
	rows        map[Key]*row
	closed      []*row // forgotten rows that a Drain has yet to emit
	stats       MergeStats
}

// mark is how far the records of one source partition were read.
type mark struct {
	seen        bool
	offset      int64
	index       uint32
	watermarkUs int64
}

type row struct {
	key      Key
	openedAt int64
	version  int64
	changed  bool
	closed   sum    // of all source cells that are final
	parts    []part // the others
}

// part is the latest absolute count of one open source cell.
type part struct {
	source   int32
	openedAt int64
	sum      sum
}

// MergeStats counts since the partition began.
type MergeStats struct {
	Rows     int
	Repeated int64 // records dropped because the source's high-water mark covers them
	Refused  int64 // records of a source partition that does not exist
	Pruned   int64
}

// NewMerge returns an empty Merge for so many source partitions. openMinutes is how long a row stays in memory behind the
// slowest source's watermark. Both must come from the log (the genesis record).
func NewMerge(sourcePartitions int, openMinutes int64) *Merge {
	return &Merge{openMinutes: openMinutes, sources: make([]mark, sourcePartitions), rows: make(map[Key]*row)}
}

const minuteUs = 60_000_000

// Apply folds one record found at an offset of mail.cells. It reports whether Progress moved. The record is not kept.
func (m *Merge) Apply(rec *schema.CellRecord, offset int64) (progress bool) {
	if rec.SourcePartition < 0 || int(rec.SourcePartition) >= len(m.sources) {
		m.stats.Refused++
		return false
	}
	src := &m.sources[rec.SourcePartition]
	if src.seen && cmp.Or(cmp.Compare(rec.SourceOffset, src.offset), cmp.Compare(rec.Index, src.index)) <= 0 {
		m.stats.Repeated++
		return false
	}
	src.seen, src.offset, src.index = true, rec.SourceOffset, rec.Index
	if rec.Cell != nil {
		m.add(rec, offset)
	}
	if rec.WatermarkUs <= src.watermarkUs {
		return false
	}
	before := m.Progress()
	src.watermarkUs = rec.WatermarkUs
	after := m.Progress()
	if after/minuteUs > before/minuteUs {
		m.prune(after / minuteUs)
	}
	return after > before
}

func (m *Merge) add(rec *schema.CellRecord, offset int64) {
	k := KeyOf(rec.Cell)
	r := m.rows[k]
	if r == nil {
		r = &row{key: k.own(), openedAt: offset}
		m.rows[r.key] = r
	}
	i := slices.IndexFunc(r.parts, func(p part) bool {
		return p.source == rec.SourcePartition && p.openedAt == rec.Cell.OpenedAt
	})
	if i < 0 {
		i = len(r.parts)
		r.parts = append(r.parts, part{source: rec.SourcePartition, openedAt: rec.Cell.OpenedAt})
	}
	now := sum{events: rec.Cell.Events, firstAttempts: rec.Cell.FirstAttempts, delayMs: rec.Cell.DelayMsSum}
	if r.parts[i].sum != now {
		r.parts[i].sum = now
		r.version = offset
		r.changed = true
	}
	if rec.Final {
		r.closed.add(now)
		r.parts = slices.Delete(r.parts, i, i+1)
	}
}

// Progress is the lowest watermark of all source partitions, in Unix microseconds: every event before it is in the rows. 0
// until all have reported.
func (m *Merge) Progress() int64 {
	if len(m.sources) == 0 {
		return 0
	}
	lowest := m.sources[0].watermarkUs
	for _, s := range m.sources[1:] {
		lowest = min(lowest, s.watermarkUs)
	}
	return lowest
}

// prune forgets rows that are old and whose every part is final. Only the latter matters for exactness: a source never writes
// to a final cell again. The number of rows with an open part is bounded by the sources' own limits.
func (m *Merge) prune(minute int64) {
	for k, r := range m.rows {
		if k.Minute >= minute-m.openMinutes || len(r.parts) > 0 {
			continue
		}
		delete(m.rows, k)
		m.stats.Pruned++
		if r.changed {
			m.closed = append(m.closed, r)
		}
	}
}

// Drain emits the rows that changed since the last Drain, in the order of key and OpenedAt, with absolute counts. version is
// the offset of the record that changed the row last: of two writes of one row the higher version is the later one. When to
// call it is the caller's choice and changes nothing but how often a row is written.
func (m *Merge) Drain(emit func(c *schema.Cell, version int64)) {
	out := m.closed
	for _, r := range m.rows {
		if r.changed {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRows)
	for _, r := range out {
		r.changed = false
		total := r.closed
		for _, p := range r.parts {
			total.add(p.sum)
		}
		emit(wire(r.key, r.openedAt, total), r.version)
	}
	m.closed = nil
}

func compareRows(a, b *row) int {
	return cmp.Or(a.key.Compare(b.key), cmp.Compare(a.openedAt, b.openedAt))
}

// Stats returns the counters.
func (m *Merge) Stats() MergeStats {
	st := m.stats
	st.Rows = len(m.rows)
	return st
}
