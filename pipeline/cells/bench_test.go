package cells

import (
	"fmt"
	"testing"
	"unsafe"

	"carom.dev/carom/schema"
)

func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func benchKeys() []Key {
	var keys []Key
	for i := range 1024 {
		keys = append(keys, Key{
			Minute: int64(29_000_000 + i%8), Provider: []string{"gmail", "apple", "microsoft", "other"}[i/8%4],
			Outcome: schema.Outcome_BOUNCED, Class: []string{"recipient.unknown", "mailbox.full"}[i/32%2], SourceIP: fmt.Sprintf("192.0.2.%d", i/64),
		})
	}
	return keys
}

func BenchmarkAdd(b *testing.B) {
	s, keys := NewSource(5, 1<<16), benchKeys()
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		s.Add(keys[i&1023], int64(i), true, 120)
		i++
	}
	if s.Len() != len(keys) {
		b.Fatal("cells are missing")
	}
}

// TestAddAllocatesNothingWarm holds the promise that BenchmarkAdd measures.
func TestAddAllocatesNothingWarm(t *testing.T) {
	s, keys := NewSource(5, 1<<16), benchKeys()
	add := func() {
		for i, k := range keys {
			s.Add(k, int64(i), true, 120)
		}
	}
	add()
	if n := testing.AllocsPerRun(10, add); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkMergeApply(b *testing.B) {
	m, keys := NewMerge(1, 5), benchKeys()
	rec := &schema.CellRecord{Cell: &schema.Cell{}}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		k := keys[i&1023]
		c := rec.Cell
		c.Minute, c.Provider, c.Outcome, c.Class, c.SourceIp = k.Minute, k.Provider, k.Outcome, k.Class, k.SourceIP
		c.Events = int64(i)
		rec.SourceOffset = int64(i)
		m.Apply(rec, int64(i))
		i++
	}
}
