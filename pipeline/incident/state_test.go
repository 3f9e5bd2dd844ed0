package incident

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"carom.dev/carom/schema"
)

// The same minutes give the same incidents, in whatever order samples come and wherever the state was saved and loaded.
func TestRestartGivesTheSameAnswers(t *testing.T) {
	s := newSender(19, 600)
	one, two := refuse("apple", "recipient.unknown", 0.3, 300, 340), refuse("yahoo", "net.connect_timeout", 0.4, 320, 400)
	s.trouble = func(m int64, c *cell) { one(m, c); two(m, c) }
	const end = 460
	world := make([][]Sample, end)
	want := make([][]*schema.Incident, end)
	reference := NewDetector(DefaultConfig())
	revisions := 0
	for m := range int64(end) {
		world[m] = s.minute(m)
		want[m] = reference.Minute(start+m, world[m], true)
		revisions += len(want[m])
	}
	if revisions < 6 {
		t.Fatalf("only %d revisions to compare", revisions)
	}
	final := reference.AppendState(nil)
	const quiet = 290
	early := NewDetector(DefaultConfig())
	for m := range int64(quiet) {
		early.Minute(start+m, world[m], true)
	}
	beginning := early.AppendState(nil)
	rapid.Check(t, func(rt *rapid.T) {
		cuts := rapid.SliceOfN(rapid.IntRange(quiet, end-1), 1, 3).Draw(rt, "cuts")
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 1))
		d := NewDetector(DefaultConfig())
		if err := d.LoadState(beginning); err != nil {
			rt.Fatal(err)
		}
		for m := int64(quiet); m < end; m++ {
			if slices.Contains(cuts, int(m)) {
				saved := d.AppendState([]byte("prefix"))[len("prefix"):]
				d = NewDetector(DefaultConfig())
				if err := d.LoadState(saved); err != nil {
					rt.Fatal(err)
				}
				if !bytes.Equal(saved, d.AppendState(nil)) {
					rt.Fatal("a loaded state is saved as other bytes")
				}
			}
			samples := slices.Clone(world[m])
			shuffle.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
			if got := d.Minute(start+m, samples, true); !slices.EqualFunc(got, want[m], func(a, b *schema.Incident) bool { return proto.Equal(a, b) }) {
				rt.Fatalf("minute %d: %v, want %v", m, got, want[m])
			}
		}
		if !bytes.Equal(final, d.AppendState(nil)) {
			rt.Fatal("final states differ")
		}
	})
}

func TestDamagedStateIsRefused(t *testing.T) {
	s := newSender(20, 600)
	s.trouble = refuse("apple", "recipient.unknown", 0.3, 60, 80)
	d := NewDetector(DefaultConfig())
	s.play(d, 75)
	state := d.AppendState(nil)
	for n := 0; n < len(state); n += 1 + len(state)/500 {
		fresh := NewDetector(DefaultConfig())
		if err := fresh.LoadState(state[:n]); err == nil {
			t.Fatalf("%d of %d bytes were accepted", n, len(state))
		}
		if fresh.Last() != 0 {
			t.Fatal("a refused state left traces")
		}
	}
	if err := NewDetector(DefaultConfig()).LoadState(append(state, 0)); err == nil {
		t.Error("a byte too many was accepted")
	}
}

// A rebuild reads the last hours again and goes on with what was published, under the same ids.
func TestRebuildGoesOnWithPublishedIncidents(t *testing.T) {
	s := newSender(21, 1000)
	s.trouble = refuse("apple", "recipient.unknown", 0.3, lead, lead+60)
	var world [][]Sample
	for m := range int64(lead + 120) {
		world = append(world, s.minute(m))
	}
	original := NewDetector(DefaultConfig())
	for m := range int64(lead + 40) {
		original.Minute(start+m, world[m], true)
	}
	published := original.Open()
	for _, hours := range []int64{8, 2} {
		d := NewDetector(DefaultConfig())
		for m := int64(lead + 40 - hours*60); m < lead+40; m++ {
			d.Minute(start+m, world[m], true)
		}
		d.Adopt(published)
		if open := d.Open(); len(open) != 1 || open[0].Id != published[0].Id || open[0].Revision != published[0].Revision {
			t.Fatalf("%d hours re-read: open %v", hours, open)
		}
		var all []*schema.Incident
		for m := int64(lead + 40); m < lead+120; m++ {
			all = append(all, d.Minute(start+m, world[m], true)...)
		}
		for i, inc := range all {
			if inc.Id != published[0].Id || inc.Revision != published[0].Revision+uint32(i)+1 {
				t.Errorf("%d hours re-read: unexpected revision %v", hours, inc)
			}
		}
		if n := len(all); n == 0 || all[n-1].State != schema.IncidentState_RESOLVED {
			t.Errorf("%d hours re-read: not resolved", hours)
		}
	}
}
