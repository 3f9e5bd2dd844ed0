package cells

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"carom.dev/carom/schema"
	"pgregory.net/rapid"
)

const testOpen = 3

// sourcePartition is a Source with the log it folds and the records it wrote so far.
type sourcePartition struct {
	t       *rapid.T
	number  int32
	src     *Source
	log     []logged // mail.classified: events and closes
	written []*schema.CellRecord
	saved   []byte
	savedAt int // position in log of the saved state
}

// logged is one record of mail.classified: an event, or a clock that closes.
type logged struct {
	key       *Key
	first     bool
	delay     int64
	watermark int64
	force     bool
}

// fold folds log[offset] and returns what it writes.
func (p *sourcePartition) fold(offset int) (out []*schema.CellRecord) {
	record := func(r *schema.CellRecord) {
		r.SourcePartition, r.SourceOffset, r.Index = p.number, int64(offset), uint32(len(out))
		out = append(out, r)
	}
	closing := func(watermark int64, force bool) {
		var last *Key
		p.src.Close(watermark, force, func(c *schema.Cell, final bool) {
			if k := KeyOf(c); last != nil && last.Compare(k) >= 0 {
				p.t.Fatalf("cells out of order: %v after %v", k, *last)
			} else {
				last = &k
			}
			record(&schema.CellRecord{Cell: c, Final: final})
		})
	}
	x := p.log[offset]
	if x.key == nil {
		closing(x.watermark, x.force)
		record(&schema.CellRecord{WatermarkUs: x.watermark * minuteUs})
		return out
	}
	p.src.Add(*x.key, int64(offset), x.first, x.delay)
	if p.src.Full() {
		closing(x.watermark, false)
	}
	return out
}

// step draws one record, folds it and returns what is written.
func (p *sourcePartition) step(x logged) []*schema.CellRecord {
	p.log = append(p.log, x)
	out := p.fold(len(p.log) - 1)
	p.written = append(p.written, out...)
	return out
}

// restart loses everything since the last save, folds again and returns what is written again.
func (p *sourcePartition) restart() (again []*schema.CellRecord) {
	p.src = NewSource(0, 0)
	if err := p.src.LoadState(p.saved); err != nil {
		p.t.Fatal(err)
	}
	for offset := p.savedAt; offset < len(p.log); offset++ {
		again = append(again, p.fold(offset)...)
	}
	return again
}

func (p *sourcePartition) save() { p.saved, p.savedAt = p.src.AppendState(nil), len(p.log) }

// warehouse is a table that keeps the highest version of each row.
type warehouse struct {
	rows map[Key]map[int64]version
}

type version struct {
	n   int64
	sum sum
}

func (w *warehouse) upsert(c *schema.Cell, n int64) error {
	k := KeyOf(c)
	if w.rows[k] == nil {
		w.rows[k] = map[int64]version{}
	}
	now := version{n, sum{c.Events, c.FirstAttempts, c.DelayMsSum}}
	old, ok := w.rows[k][c.OpenedAt]
	if ok && old.n == n && old.sum != now.sum {
		return fmt.Errorf("row %v opened at %d: version %d with %v and with %v", k, c.OpenedAt, n, old.sum, now.sum)
	}
	if !ok || n >= old.n {
		w.rows[k][c.OpenedAt] = now
	}
	return nil
}

// Whatever the interleaving, repeats, restarts, late events and closings: the rows of a table that keeps the highest version
// add up to the brute-force count of the events.
func TestRowsAddUpToTheEvents(t *testing.T) {
	var pruned, repeated, forced, reopened int64
	rapid.Check(t, func(t *rapid.T) {
		parts := make([]*sourcePartition, rapid.IntRange(1, 3).Draw(t, "sources"))
		for i := range parts {
			parts[i] = &sourcePartition{t: t, number: int32(i), src: NewSource(testOpen, 4)}
			parts[i].save()
		}
		merge := NewMerge(len(parts), testOpen)
		saved, savedAt := merge.AppendState(nil), 0
		var cellLog []*schema.CellRecord // mail.cells
		table := &warehouse{rows: map[Key]map[int64]version{}}
		want := map[Key]sum{}
		drain := func() {
			var last *schema.Cell
			merge.Drain(func(c *schema.Cell, v int64) {
				if last != nil && KeyOf(last).Compare(KeyOf(c)) > 0 {
					t.Fatal("rows out of order")
				}
				last = c
				if err := table.upsert(c, v); err != nil {
					t.Fatal(err)
				}
			})
		}
		write := func(records []*schema.CellRecord) {
			for _, r := range records {
				cellLog = append(cellLog, r)
				merge.Apply(r, int64(len(cellLog)-1))
			}
		}
		watermark := make([]int64, len(parts))
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			p := parts[rapid.IntRange(0, len(parts)-1).Draw(t, "source")]
			switch kind := rapid.IntRange(0, 12).Draw(t, "kind"); kind {
			case 0:
				write(p.restart())
			case 1:
				p.save()
			case 2: // a producer writes an older run of its records again
				if n := len(p.written); n > 0 {
					from := rapid.IntRange(0, n-1).Draw(t, "from")
					write(slices.Clone(p.written[from:]))
				}
			case 3:
				drain()
			case 4:
				saved, savedAt = merge.AppendState(nil), len(cellLog)
			case 5: // the merge loses all since its save, and reads mail.cells again
				merge = NewMerge(0, 0)
				if err := merge.LoadState(saved); err != nil {
					t.Fatal(err)
				}
				for offset := savedAt; offset < len(cellLog); offset++ {
					merge.Apply(cellLog[offset], int64(offset))
				}
			case 6, 7:
				watermark[p.number] += int64(rapid.IntRange(0, 3).Draw(t, "minutes"))
				write(p.step(logged{watermark: watermark[p.number], force: rapid.IntRange(0, 9).Draw(t, "force") == 0}))
			default:
				k := Key{
					Minute:   max(0, watermark[p.number]-int64(rapid.IntRange(-1, 9).Draw(t, "late"))),
					Provider: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "provider"), Outcome: schema.Outcome_DELIVERED,
				}
				x := logged{key: &k, first: rapid.Bool().Draw(t, "first"), delay: int64(rapid.IntRange(0, 9).Draw(t, "delay")), watermark: watermark[p.number]}
				write(p.step(x))
				w := want[k]
				w.add(sum{1, number(x.first), x.delay})
				want[k] = w
			}
		}
		for _, p := range parts {
			write(p.step(logged{watermark: watermark[p.number], force: true}))
			forced += p.src.Stats().Forced
		}
		drain()
		for k, rows := range table.rows {
			var got sum
			for _, v := range rows {
				got.add(v.sum)
			}
			if got != want[k] {
				t.Fatalf("%v: rows add up to %v, the events to %v", k, got, want[k])
			}
			delete(want, k)
			if len(rows) > 1 {
				reopened++
			}
		}
		if len(want) > 0 {
			t.Fatalf("no rows for %v", want)
		}
		if got, lowest := merge.Progress(), slices.Min(watermark)*minuteUs; got != lowest {
			t.Fatalf("progress %d, the lowest watermark is %d", got, lowest)
		}
		pruned += merge.Stats().Pruned
		repeated += merge.Stats().Repeated
	})
	if pruned == 0 || repeated == 0 || forced == 0 || reopened == 0 {
		t.Errorf("the runs never met: pruned %d, repeated %d, forced %d, reopened %d", pruned, repeated, forced, reopened)
	}
}

// Saving and loading between any two records changes no output and no state.
func TestRestoredEqualsNeverSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, split := NewSource(testOpen, 5), NewSource(testOpen, 5)
		wholeMerge, splitMerge := NewMerge(1, testOpen), NewMerge(1, testOpen)
		watermark := int64(0)
		for i := range rapid.IntRange(1, 100).Draw(t, "records") {
			if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
				s, m := NewSource(0, 0), NewMerge(0, 0)
				if err := s.LoadState(split.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
				if err := m.LoadState(splitMerge.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
				split, splitMerge = s, m
			}
			closing := rapid.IntRange(0, 4).Draw(t, "close") == 0
			k := Key{Minute: watermark + int64(rapid.IntRange(-5, 1).Draw(t, "minute")), Class: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "class")}
			watermark += int64(rapid.IntRange(0, 1).Draw(t, "later"))
			run := func(s *Source, m *Merge) (out []string) {
				index := uint32(0)
				if closing {
					s.Close(watermark, false, func(c *schema.Cell, final bool) {
						out = append(out, fmt.Sprint(c, final))
						m.Apply(&schema.CellRecord{SourceOffset: int64(i), Index: index, Cell: c, Final: final}, int64(i)*100+int64(index))
						index++
					})
					m.Apply(&schema.CellRecord{SourceOffset: int64(i), Index: index, WatermarkUs: watermark * minuteUs}, int64(i)*100+99)
					m.Drain(func(c *schema.Cell, v int64) { out = append(out, fmt.Sprint(c, v)) })
				} else {
					s.Add(k, int64(i), true, 1)
				}
				return out
			}
			if a, b := run(whole, wholeMerge), run(split, splitMerge); !slices.Equal(a, b) {
				t.Fatalf("%v\nwhen split\n%v", a, b)
			}
		}
		if !bytes.Equal(whole.AppendState(nil), split.AppendState(nil)) || !bytes.Equal(wholeMerge.AppendState(nil), splitMerge.AppendState(nil)) {
			t.Fatal("the states differ")
		}
	})
}

// A cell is final only when its minute is old and it did not change since the previous Close; then a late event opens another.
func TestCellClosesBehindTheWatermark(t *testing.T) {
	s := NewSource(5, 100)
	k := Key{Minute: 10, Provider: "apple"}
	var got []string
	step := func(watermark int64) {
		got = append(got, "close")
		s.Close(watermark, false, func(c *schema.Cell, final bool) {
			got = append(got, fmt.Sprintf("%d events opened at %d final %v", c.Events, c.OpenedAt, final))
		})
	}
	s.Add(k, 7, true, 10)
	step(10)
	step(15)
	s.Add(k, 8, false, 10)
	step(16) // old, but touched
	step(16)
	s.Add(k, 9, false, 10)
	step(16)
	want := []string{
		"close", "1 events opened at 7 final false", "close", "close", "2 events opened at 7 final false",
		"close", "2 events opened at 7 final true", "close", "1 events opened at 9 final false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The number of open cells is bounded: when it is exceeded, Close ends the oldest minutes first.
func TestFullSourceClosesTheOldest(t *testing.T) {
	s := NewSource(5, 8)
	for i := range int64(9) {
		if s.Full() {
			t.Fatalf("full with %d cells", i)
		}
		s.Add(Key{Minute: 100 - i}, i, false, 0)
	}
	if !s.Full() {
		t.Fatal("not full")
	}
	var final []int64
	s.Close(100, false, func(c *schema.Cell, f bool) {
		if f {
			final = append(final, c.Minute)
		}
	})
	if !slices.Equal(final, []int64{92, 93, 94}) || s.Len() != 6 {
		t.Errorf("closed %v, %d open", final, s.Len())
	}
}

// Progress is zero until every source has reported, and records of unknown sources are refused.
func TestProgressWaitsForEverySource(t *testing.T) {
	m := NewMerge(2, 5)
	type call struct {
		source    int32
		watermark int64
		moved     bool
		progress  int64
	}
	for i, c := range []call{{0, 50, false, 0}, {2, 90, false, 0}, {-1, 90, false, 0}, {1, 70, true, 50}, {1, 80, false, 50}, {0, 60, true, 60}} {
		moved := m.Apply(&schema.CellRecord{SourcePartition: c.source, SourceOffset: int64(i), WatermarkUs: c.watermark}, int64(i))
		if moved != c.moved || m.Progress() != c.progress {
			t.Errorf("call %d: moved %v, progress %d", i, moved, m.Progress())
		}
	}
	if m.Stats().Refused != 2 {
		t.Errorf("refused %d", m.Stats().Refused)
	}
}

// Different keys have different partition keys, also where strings could run into each other; OpenedAt and counts do not matter.
func TestPartitionKeyTellsKeysApart(t *testing.T) {
	cells := []*schema.Cell{
		{Provider: "ab", Class: "c"},
		{Provider: "a", Class: "bc"},
		{Minute: 1},
		{Minute: -1},
		{Outcome: schema.Outcome_DELIVERED},
		{Acceptance: schema.Acceptance_ACCEPTED},
		{Backfill: true},
		{SourceIp: "1"},
	}
	seen := map[string]int{}
	for i, c := range cells {
		k := string(PartitionKey(c))
		if j, ok := seen[k]; ok {
			t.Errorf("cells %d and %d share a key", i, j)
		}
		seen[k] = i
		other := wire(KeyOf(c), 99, sum{5, 5, 5})
		if string(PartitionKey(other)) != k {
			t.Errorf("cell %d: the key depends on counts", i)
		}
	}
}

// A state cut anywhere, or with bytes to spare, is an error and leaves the receiver as it was.
func TestDamagedStateIsRefused(t *testing.T) {
	s, m := NewSource(5, 10), NewMerge(2, 5)
	s.Add(Key{Minute: 1, Provider: "apple"}, 1, true, 1)
	s.Close(1, false, func(c *schema.Cell, final bool) {
		m.Apply(&schema.CellRecord{SourcePartition: 1, SourceOffset: 1, Cell: c, Final: final}, 1)
	})
	type state interface {
		AppendState([]byte) []byte
		LoadState([]byte) error
	}
	for _, x := range []state{s, m} {
		good := x.AppendState(nil)
		for n := range good {
			if x.LoadState(good[:n]) == nil {
				t.Errorf("%T: %d of %d bytes are accepted", x, n, len(good))
			}
		}
		if x.LoadState(append(slices.Clone(good), 0)) == nil {
			t.Errorf("%T: a byte too many is accepted", x)
		}
		if x.LoadState(append([]byte{9}, good[1:]...)) == nil {
			t.Errorf("%T: another format is accepted", x)
		}
		if !bytes.Equal(x.AppendState(nil), good) {
			t.Errorf("%T: a refused state changed it", x)
		}
	}
}

// Strings of an event may lie in a buffer that is used again.
func TestKeysOwnTheirStrings(t *testing.T) {
	s := NewSource(5, 10)
	buf := []byte("apple")
	s.Add(Key{Provider: unsafeString(buf)}, 1, true, 0)
	copy(buf, "XXXXX")
	s.Close(0, true, func(c *schema.Cell, _ bool) {
		if c.Provider != "apple" {
			t.Errorf("provider %q", c.Provider)
		}
	})
}
