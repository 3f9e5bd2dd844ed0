package recipient

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

func hashOf(i int) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	return xxhash.Sum64(b[:])
}

// A delivery is never missed, also across growth; a recipient without one is hardly ever taken for another.
func TestAcceptanceNeverMissesADelivery(t *testing.T) {
	var a acceptance
	const n = 300_000
	for i := range n {
		a.put(hashOf(i), int32(20_000+i%60))
	}
	for i := range n {
		if day, ok := a.lookup(hashOf(i)); !ok || day < int32(20_000+i%60) {
			t.Fatalf("recipient %d: day %d, %v", i, day, ok)
		}
	}
	wrong := 0
	for i := range n {
		if _, ok := a.lookup(hashOf(n + i)); ok {
			wrong++
		}
	}
	if wrong > n/2000 {
		t.Errorf("%d of %d are taken for another", wrong, n)
	}
	t.Logf("%d of %d false, %.1f bytes each, %d buckets", wrong, n, float64(4*len(a.slots))/n, 1<<a.bits)
}

// Deliveries in any order of days: what lies within the table's reach is found with at least its day, and days that were
// dropped are announced.
func TestAcceptanceKeepsDaysInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a acceptance
		want := map[int]int32{}
		for range rapid.IntRange(1, 300).Draw(t, "puts") {
			who, day := rapid.IntRange(0, 200).Draw(t, "who"), int32(rapid.IntRange(19_000, 20_000).Draw(t, "day"))
			a.put(hashOf(who), day)
			want[who] = max(want[who], day)
		}
		for who, day := range want {
			got, ok := a.lookup(hashOf(who))
			if day > a.base && (!ok || got < day) || day <= a.base && !a.forgot && !ok {
				t.Fatalf("recipient %d: day %d, %v, want %d; base %d", who, got, ok, day, a.base)
			}
		}
	})
}

// Hashes made to fall into one bucket cost exactness there, not memory, and still none is missed.
func TestAcceptanceBearsCraftedHashes(t *testing.T) {
	var a acceptance
	const n = 20_000
	for i := range n {
		a.put(uint64(i)<<20, 20_000)
	}
	for i := range n {
		if _, ok := a.lookup(uint64(i) << 20); !ok {
			t.Fatalf("hash %d is lost", i)
		}
	}
	if len(a.slots) > 1<<20 {
		t.Errorf("%d slots for %d crafted hashes", len(a.slots), n)
	}
}

// A full queue of first deliveries moves the oldest on: accepted for good, never forgotten.
func TestFullProvisionalQueueMovesOn(t *testing.T) {
	st := &storyteller{t: t, s: NewStore()}
	st.run("deliver to=seed at=-100d msg=s")
	st.run("policy provisional=2")
	for i := range 5 {
		st.run(fmt.Sprintf("deliver to=r%d at=0d msg=m%d", i, i))
	}
	if n := st.s.Stats().Provisional; n != 2 {
		t.Errorf("%d provisional", n)
	}
	st.out.Reset()
	for i := range 5 {
		st.run(fmt.Sprintf("fail to=r%d at=0d1h msg=m%d class=content.spam outcome=async_bounce", i, i))
	}
	want := `fail r0: acceptance "accepted"
fail r1: acceptance "accepted"
fail r2: acceptance "accepted"
fail r3: acceptance "not_accepted"
fail r4: acceptance "not_accepted"
`
	if st.out.String() != want {
		t.Errorf("got\n%s", st.out.String())
	}
}
