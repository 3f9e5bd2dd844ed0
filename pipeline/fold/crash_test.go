package fold

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// A death is a place in the order fetch, fold, publish, snapshot, commit behind which nothing more is executed.
type death int

const (
	beforePublish  death = iota
	duringPublish        // part of the outbox is out
	afterPublish         // all of it, and no snapshot
	duringSnapshot       // the state is being written
	afterSnapshot        // before the commit
	deaths
)

func (d death) String() string {
	return [deaths]string{"before publish", "during publish", "between publish and snapshot", "during snapshot", "after snapshot"}[d]
}

// owner is somebody who runs the fold in a directory and dies now and then.
type owner struct {
	rig   *rig
	topic string
	dir   string
	out   *sink
	rnd   *rand.Rand
	end   int64 // of the log
	dies  [deaths]int
}

// live runs one worker until it has published everything, or dies after a number of batches. It returns the state it ends
// with, nil when it died.
func (o *owner) live(dies bool) *chain {
	kind, left := death(o.rnd.IntN(int(deaths))), 1+o.rnd.IntN(6)
	die := func(here death) {
		if !dies || here != kind {
			return
		}
		if left--; left == 0 {
			o.dies[here]++
			runtime.Goexit() // nothing behind this line is executed, as after kill -9
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := o.rig.worker(Config{
		Stage: "s", Topic: o.topic, Dir: o.dir, SnapshotEvery: time.Nanosecond,
		New: func(int32) (Machine, error) { return &chain{save: func() { die(duringSnapshot) }}, nil },
		Publish: func(_ context.Context, _ Machine, b Batch) error {
			die(beforePublish)
			for rest := texts(b.Outbox.Messages); len(rest) > 0; {
				n := 1 + o.rnd.IntN(len(rest))
				o.out.append(rest[:n]...)
				rest = rest[n:]
				die(duringPublish)
				runtime.Gosched() // to another owner of the same partition
			}
			die(afterPublish)
			if b.To == o.end {
				cancel()
			}
			return nil
		},
	})
	w.assignment.Commit = func(next int64) error {
		die(afterSnapshot)
		if next == o.end { // the life before ended behind its last snapshot: there is nothing to publish
			cancel()
		}
		return nil
	}
	done := make(chan error, 1)
	go func() {
		err := errKilled
		defer func() { done <- err }()
		err = w.run(ctx)
	}()
	select {
	case err := <-done:
		if err == errKilled {
			return nil
		}
		if err != nil {
			o.rig.t.Errorf("worker: %v", err)
		}
	case <-time.After(30 * time.Second):
		o.rig.t.Error("worker is stuck")
		cancel()
		<-done
	}
	return w.machine.(*chain)
}

// State and output are those of the log, wherever and however often the process dies.
func TestDeathAnywhereLeavesTheFoldOfTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var dies [deaths]int
	repeats := 0
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		log := randomLog(seed, 40)
		o := &owner{rig: r, topic: fmt.Sprint("in", seed), dir: t.TempDir(), out: &sink{}, rnd: rnd, end: int64(len(log))}
		r.topic(o.topic, 1)
		r.write(o.topic, log...)
		var end *chain
		for life := 0; end == nil; life++ {
			end = o.live(life < 8)
		}
		for i := range dies {
			dies[i] += o.dies[i]
		}
		want, wantOut := directFold(log)
		if end.sum != want.sum || end.n != want.n {
			t.Fatalf("seed %d: state %016x after %d records, want %016x after %d", seed, end.sum, end.n, want.sum, want.n)
		}
		raw := o.out.all()
		if got := once(raw); !slices.Equal(got, wantOut) {
			t.Fatalf("seed %d: output differs from that of an undisturbed run\ngot  %s\nwant %s", seed, short(got), short(wantOut))
		}
		repeats += len(raw) - len(wantOut)
		// The saved state is the fold too: one more life finds nothing to do.
		again := r.worker(Config{Stage: "s", Topic: o.topic, Dir: o.dir})
		if err := again.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m := again.machine.(*chain); again.next != o.end || m.sum != want.sum {
			t.Fatalf("seed %d: saved state %016x at %d, want %016x at %d", seed, m.sum, again.next, want.sum, o.end)
		}
	}
	// The negative control: a reader without a high-water mark sees too much.
	if repeats == 0 {
		t.Error("no message was repeated: nothing was tested")
	}
	for d, n := range dies {
		if n == 0 {
			t.Errorf("nobody died %s", death(d))
		}
	}
}

// A process that was paused for longer than its session wakes up beside the new owner of its partition. Both write; the
// reader sees one.
func TestTwoOwnersAtOnceLookLikeOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for seed := range uint64(4) {
		log := randomLog(seed, 40)
		topic := fmt.Sprint("in", seed)
		r.topic(topic, 1)
		r.write(topic, log...)
		out := &sink{}
		var wg sync.WaitGroup
		ends := make([]*chain, 2)
		for i := range ends {
			o := &owner{rig: r, topic: topic, dir: t.TempDir(), out: out, rnd: rand.New(rand.NewPCG(seed, uint64(3+i))), end: int64(len(log))}
			wg.Go(func() {
				for life := 0; ends[i] == nil; life++ {
					ends[i] = o.live(life < 3)
				}
			})
		}
		wg.Wait()
		want, wantOut := directFold(log)
		for i, e := range ends {
			if e.sum != want.sum {
				t.Fatalf("seed %d: owner %d ends with %016x, want %016x", seed, i, e.sum, want.sum)
			}
		}
		raw := out.all()
		if got := once(raw); !slices.Equal(got, wantOut) {
			t.Fatalf("seed %d: output differs from that of one owner\ngot  %s\nwant %s", seed, short(got), short(wantOut))
		}
		if len(raw) < 2*len(wantOut) {
			t.Fatalf("seed %d: %d messages, want those of two owners (2 x %d) at least: nothing was tested", seed, len(raw), len(wantOut))
		}
	}
}
