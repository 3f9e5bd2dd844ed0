package cells

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"carom.dev/carom/pipeline/state"
	"carom.dev/carom/schema"
)

// The state formats begin with a version byte. Integrity (checksums) is the snapshot's matter; what is read here is checked
// so far that a wrong state is an error and no panic.
const (
	sourceFormat = 1
	mergeFormat  = 1
)

// AppendState appends the whole state in one canonical form: equal states give equal bytes. Numbers of cells are not part of
// it, since no output depends on them.
func (s *Source) AppendState(b []byte) []byte {
	b = append(b, sourceFormat)
	b = binary.AppendVarint(b, s.openMinutes)
	b = binary.AppendVarint(b, int64(s.limit))
	b = binary.AppendVarint(b, s.pruned)
	b = binary.AppendVarint(b, s.forced)
	live := make([]*cell, 0, len(s.index))
	for i := range s.cells {
		if s.cells[i].live {
			live = append(live, &s.cells[i])
		}
	}
	slices.SortFunc(live, func(a, b *cell) int { return a.key.Compare(b.key) })
	b = binary.AppendUvarint(b, uint64(len(live)))
	for _, c := range live {
		b = appendKey(b, c.key)
		b = binary.AppendVarint(b, c.openedAt)
		b = appendSum(b, c.sum)
		b = append(b, byte(number(c.changed)))
	}
	return b
}

// LoadState replaces the state by one that AppendState wrote. On error the Source is unchanged.
func (s *Source) LoadState(b []byte) error {
	r := reader{state.NewReader(b)}
	if v := r.Byte(); r.Err() == nil && v != sourceFormat {
		return fmt.Errorf("load source cells: format %d, this version reads %d", v, sourceFormat)
	}
	next := NewSource(r.Varint(), int(r.Varint()))
	next.pruned, next.forced = r.Varint(), r.Varint()
	for range r.Count(1) {
		c := cell{key: r.key(), openedAt: r.Varint(), sum: r.sum(), changed: r.Bool(), live: true}
		if r.Err() != nil {
			break
		}
		next.index[c.key] = uint32(len(next.cells))
		next.cells = append(next.cells, c)
	}
	if err := r.end(); err != nil {
		return fmt.Errorf("load source cells: %w", err)
	}
	if len(next.index) != len(next.cells) {
		return errors.New("load source cells: a key twice")
	}
	*s = *next
	return nil
}

// AppendState appends the whole state in one canonical form: equal states give equal bytes.
func (m *Merge) AppendState(b []byte) []byte {
	b = append(b, mergeFormat)
	b = binary.AppendVarint(b, m.openMinutes)
	for _, n := range []int64{m.stats.Repeated, m.stats.Refused, m.stats.Pruned} {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendUvarint(b, uint64(len(m.sources)))
	for _, s := range m.sources {
		b = append(b, byte(number(s.seen)))
		b = binary.AppendVarint(b, s.offset)
		b = binary.AppendUvarint(b, uint64(s.index))
		b = binary.AppendVarint(b, s.watermarkUs)
	}
	open := make([]*row, 0, len(m.rows))
	for _, r := range m.rows {
		open = append(open, r)
	}
	b = appendRows(b, open)
	return appendRows(b, slices.Clone(m.closed))
}

func appendRows(b []byte, rows []*row) []byte {
	slices.SortFunc(rows, compareRows)
	b = binary.AppendUvarint(b, uint64(len(rows)))
	for _, r := range rows {
		b = appendKey(b, r.key)
		b = binary.AppendVarint(b, r.openedAt)
		b = binary.AppendVarint(b, r.version)
		b = append(b, byte(number(r.changed)))
		b = appendSum(b, r.closed)
		b = binary.AppendUvarint(b, uint64(len(r.parts)))
		for _, p := range r.parts {
			b = binary.AppendVarint(b, int64(p.source))
			b = binary.AppendVarint(b, p.openedAt)
			b = appendSum(b, p.sum)
		}
	}
	return b
}

// LoadState replaces the state by one that AppendState wrote. On error the Merge is unchanged.
func (m *Merge) LoadState(b []byte) error {
	r := reader{state.NewReader(b)}
	if v := r.Byte(); r.Err() == nil && v != mergeFormat {
		return fmt.Errorf("load merged cells: format %d, this version reads %d", v, mergeFormat)
	}
	next := NewMerge(0, r.Varint())
	next.stats.Repeated, next.stats.Refused, next.stats.Pruned = r.Varint(), r.Varint(), r.Varint()
	for range r.Count(1) {
		next.sources = append(next.sources, mark{
			seen: r.Bool(), offset: r.Varint(), index: uint32(r.Uvarint()), watermarkUs: r.Varint(),
		})
	}
	open := r.rows()
	for _, x := range open {
		next.rows[x.key] = x
	}
	next.closed = r.rows()
	if err := r.end(); err != nil {
		return fmt.Errorf("load merged cells: %w", err)
	}
	if len(next.rows) != len(open) {
		return errors.New("load merged cells: a key twice")
	}
	*m = *next
	return nil
}

func appendSum(b []byte, s sum) []byte {
	b = binary.AppendVarint(b, s.events)
	b = binary.AppendVarint(b, s.firstAttempts)
	return binary.AppendVarint(b, s.delayMs)
}

// reader takes a state apart.
type reader struct{ *state.Reader }

func (r reader) key() Key {
	return Key{
		Minute: r.Varint(), Provider: r.String(), Outcome: schema.Outcome(r.Varint()), Class: r.String(),
		SourceIP: r.String(), Acceptance: schema.Acceptance(r.Varint()), Backfill: r.Bool(),
	}
}

func (r reader) sum() sum {
	return sum{events: r.Varint(), firstAttempts: r.Varint(), delayMs: r.Varint()}
}

func (r reader) rows() []*row {
	var out []*row
	for range r.Count(1) {
		x := &row{key: r.key(), openedAt: r.Varint(), version: r.Varint(), changed: r.Bool(), closed: r.sum()}
		for range r.Count(1) {
			x.parts = append(x.parts, part{source: int32(r.Varint()), openedAt: r.Varint(), sum: r.sum()})
		}
		if r.Err() != nil {
			return nil
		}
		out = append(out, x)
	}
	return out
}

func (r reader) end() error {
	if r.Err() == nil && r.Len() > 0 {
		return fmt.Errorf("%d bytes too many", r.Len())
	}
	return r.Err()
}
