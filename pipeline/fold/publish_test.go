package fold

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/service"
)

// failures returns how often the process has counted a failure of a kind.
func failures(t *testing.T, p *service.Process, what string) (n float64) {
	t.Helper()
	families, err := p.Telemetry.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "carom_fold_failures_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "what" && l.GetValue() == what {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// A batch that cannot be published is tried again until it is, as it is; no later one goes before it.
func TestFailedPublishIsTriedAgainAndNothingOvertakes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	log := randomLog(2, 20)
	r.write("in", log...)
	_, want := directFold(log)
	out := &sink{}
	var refused *Batch
	var refusedText []string
	fails := 0
	w, err := r.fold(Config{Stage: "s", Topic: "in", Dir: t.TempDir(), Publish: func(_ context.Context, _ Machine, b Batch) error {
		if refused != nil && (b.From != refused.From || b.To != refused.To || b.Records != refused.Records || !slices.Equal(texts(b.Outbox.Messages), refusedText)) {
			t.Errorf("after [%d, %d) was refused came [%d, %d)", refused.From, refused.To, b.From, b.To)
		}
		if fails < 3 && (b.From > 0 || refused != nil) {
			fails++
			refused, refusedText = &b, texts(b.Outbox.Messages)
			return errors.New("the sink is down")
		}
		refused = nil
		out.append(texts(b.Outbox.Messages)...)
		return nil
	}}, int64(len(log)))
	if err != nil || fails != 3 {
		t.Fatalf("err = %v after %d refusals, want none after 3", err, fails)
	}
	if got := out.all(); !slices.Equal(got, want) {
		t.Errorf("published %s\nwant %s", short(got), short(want))
	}
	if n := failures(t, r.process, "publish"); n != 3 {
		t.Errorf("%v failures counted, want 3", n)
	}
	if w.saved != int64(len(log)) {
		t.Errorf("saved up to %d, want %d", w.saved, len(log))
	}
}

// Whatever is not published is not saved: a restart would believe that it was.
func TestNothingIsSavedBeforeItIsPublished(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	log := randomLog(3, 30)
	r.write("in", log...)
	published := int64(0)
	dir := t.TempDir()
	_, err := r.fold(Config{Stage: "s", Topic: "in", Dir: dir, SnapshotEvery: time.Nanosecond, Publish: func(_ context.Context, _ Machine, b Batch) error {
		files, err := snapshots{dir: dir, stage: "s", topic: "in"}.list()
		if err != nil {
			t.Error(err)
		}
		for _, f := range files {
			h, err := snapshots{dir: dir, stage: "s", topic: "in"}.read(f, &chain{})
			if err != nil || h.Next > published {
				t.Errorf("saved up to %d (err %v) when only what is before %d was published", h.Next, err, published)
			}
		}
		if b.From != published {
			t.Errorf("published from %d on, want from %d on", b.From, published)
		}
		published = b.To
		return nil
	}}, int64(len(log)))
	if err != nil || published != int64(len(log)) {
		t.Fatalf("published up to %d, err %v", published, err)
	}
}

// The offset that a stateless fold starts from next time is never ahead of what is published.
func TestCommitFollowsPublish(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	log := randomLog(5, 30)
	r.write("in", log...)
	published, commits := int64(0), 0
	w := r.worker(Config{Stage: "s", Topic: "in"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.cfg.Publish = func(_ context.Context, _ Machine, b Batch) error {
		published = b.To
		return nil
	}
	w.assignment.Commit = func(next int64) error {
		w.hintedAt = time.Time{} // the next batch may commit at once
		if commits++; next > published {
			t.Errorf("committed %d when only what is before %d was published", next, published)
		}
		if next == int64(len(log)) {
			cancel()
		}
		return nil
	}
	if err := w.run(ctx); err != nil || commits < 3 {
		t.Errorf("%d commits, err %v; want some, to the end", commits, err)
	}
}

// A partition that cannot be restored keeps the process from being ready, and is counted.
func TestRefusedStartIsCountedAndNotReady(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	w := r.worker(Config{Stage: "s", Topic: "in", Dir: t.TempDir(), New: func(int32) (Machine, error) { return nil, errBad }})
	r.observe.joined(1)
	if err := w.run(t.Context()); !errors.Is(err, errBad) {
		t.Errorf("err = %v, want the machine's", err)
	}
	if n := failures(t, r.process, "start"); n != 1 || len(r.process.Health.Missing()) == 0 {
		t.Errorf("%v failures counted, missing %v; want 1, and not ready", n, r.process.Health.Missing())
	}
}

// An orderly end publishes and saves what is folded, also when it comes in the middle of a publish; it has a bound to do so.
func TestEndDuringPublishStillPublishesAndSaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b c")...)
	for _, linger := range []time.Duration{0, time.Nanosecond} {
		dir := t.TempDir()
		var calls, committed atomic.Int64
		began := make(chan struct{}, 1)
		w := r.worker(Config{Stage: "s", Topic: "in", Dir: dir, Linger: linger, Publish: func(ctx context.Context, _ Machine, b Batch) error {
			if calls.Add(1) == 1 {
				began <- struct{}{}
				<-ctx.Done() // as a produce request does that is under way when the process is told to end
				return ctx.Err()
			}
			deadline, ok := ctx.Deadline()
			if !ok || time.Until(deadline) > drainFor {
				t.Errorf("the last publish has no bound of %s", drainFor)
			}
			return nil
		}})
		w.assignment.Commit = func(next int64) error { committed.Store(next); return nil }
		stop, _ := r.run(w)
		<-began
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		again := r.worker(Config{Stage: "s", Topic: "in", Dir: dir})
		if err := again.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if again.next != 3 || committed.Load() != 3 {
			t.Errorf("linger %s: saved up to %d, committed %d; want 3 and 3", linger, again.next, committed.Load())
		}
	}
}

// With Linger small batches grow; MaxPending and the end cut them short.
func TestLingerGathersBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	log := randomLog(4, 30)
	r.write("in", log...)
	type span struct {
		from, to int64
		records  int
	}
	run := func(linger time.Duration, maxPending int, until func([]span) bool) []span {
		got := make(chan span, 100)
		w := r.worker(Config{
			Stage: "s", Topic: "in", Linger: linger, MaxPending: maxPending,
			Publish: func(_ context.Context, _ Machine, b Batch) error {
				got <- span{b.From, b.To, b.Records}
				return nil
			},
		})
		var folded atomic.Int64
		w.cfg.New = func(int32) (Machine, error) { return counting{&chain{}, &folded}, nil }
		stop, _ := r.run(w)
		var spans []span
		if until == nil {
			within(t, "all records folded", func() bool { return folded.Load() == int64(len(log)) })
		} else {
			for !until(spans) {
				select {
				case s := <-got:
					spans = append(spans, s)
				case <-time.After(20 * time.Second):
					t.Fatal("nothing is published")
				}
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		close(got)
		for s := range got {
			spans = append(spans, s)
		}
		next := int64(0)
		for _, s := range spans {
			if s.from != next || s.to != s.from+int64(s.records) {
				t.Errorf("batches %v are not contiguous", spans)
			}
			next = s.to
		}
		if next != int64(len(log)) {
			t.Errorf("published up to %d, want %d", next, len(log))
		}
		return spans
	}
	all := func(s []span) bool { return len(s) > 0 && s[len(s)-1].to == int64(len(log)) }
	if got := run(time.Hour, 1000, nil); len(got) != 1 {
		t.Errorf("a long linger gives batches %v, want one, at the end", got)
	}
	if got := run(20*time.Millisecond, 1000, all); len(got) == 0 {
		t.Errorf("a short linger publishes nothing before the end")
	}
	for _, s := range run(time.Hour, 7, nil)[:2] {
		if s.records < 7 || s.records > 7+len(log)/2 {
			t.Errorf("a batch of %d records, want about 7", s.records)
		}
	}
	if got := run(0, 0, all); len(got) < 3 {
		t.Errorf("without linger the log gives batches %v, want one a fetch", got)
	}
}

// counting counts the records that a machine has folded.
type counting struct {
	*chain
	n *atomic.Int64
}

func (c counting) Step(r *broker.Record, out *Outbox) error {
	defer c.n.Add(1)
	return c.chain.Step(r, out)
}

// A volatile machine changes by itself (an alert is acknowledged); it is saved although no record comes. Another is not.
func TestVolatileMachineIsSavedWithoutRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	dir := t.TempDir()
	saves := func(volatile bool) *atomic.Int64 {
		var n atomic.Int64
		w := r.worker(Config{
			Stage: "s", Topic: "in", Dir: dir, SnapshotEvery: time.Millisecond, Volatile: volatile,
			New: func(int32) (Machine, error) { return &chain{save: func() { n.Add(1) }}, nil },
		})
		looked := make(chan struct{}, 10)
		w.assignment.Commit = func(int64) error { looked <- struct{}{}; return nil }
		stop, _ := r.run(w)
		<-looked // the commit comes after the snapshot
		if volatile {
			within(t, "a second snapshot", func() bool { return n.Load() >= 2 })
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		return &n
	}
	if n := saves(false).Load(); n != 0 {
		t.Errorf("saved %d times without a change", n)
	}
	saves(true)
	if files := listing(t, dir); len(files) != 1 {
		t.Errorf("files %v, want one snapshot at offset 0", files)
	}
}

// A snapshot that cannot be written costs a longer restart and nothing else.
func TestFailedSnapshotDoesNotStopTheFold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b c")...)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := r.worker(Config{Stage: "s", Topic: "in", Dir: t.TempDir(), SnapshotEvery: time.Nanosecond})
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.cfg.Dir = filepath.Join(file, "below a file")
	w.next = 3
	w.save(false)
	if n := failures(t, r.process, "snapshot"); n != 1 || w.saved == 3 {
		t.Errorf("%v failures counted, saved %d; want 1, and what is not saved not taken for saved", n, w.saved)
	}
}

// An error of Step ends the worker before anything of the batch leaves.
func TestFailedStepPublishesNothingOfItsBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b bad c")...)
	w := r.worker(Config{
		Stage: "s", Topic: "in", Dir: t.TempDir(), New: func(int32) (Machine, error) { return picky{&chain{}}, nil },
		Publish: func(_ context.Context, _ Machine, b Batch) error {
			if b.To > 2 {
				t.Errorf("published [%d, %d)", b.From, b.To)
			}
			return nil
		},
	})
	if err := w.run(t.Context()); !errors.Is(err, errBad) {
		t.Errorf("err = %v, want the machine's", err)
	}
	if w.saved > 2 {
		t.Errorf("saved up to %d", w.saved)
	}
}

var errBad = errors.New("bad")

type picky struct{ *chain }

func (p picky) Step(r *broker.Record, out *Outbox) error {
	if string(r.Value) == "bad" {
		return errBad
	}
	return p.chain.Step(r, out)
}

// What Alloc has given stays what it is while the outbox grows, and the pieces do not overlap.
func TestOutboxKeepsWhatItGave(t *testing.T) {
	t.Parallel()
	out := &Outbox{}
	for range 2 {
		var given [][]byte
		for i := range 3000 {
			b := out.Alloc(1 + i%1500)
			for j := range b {
				b[j] = byte(i)
			}
			out.Send("t", 0, nil, b)
			given = append(given, b)
		}
		_ = append(given[0], 'x') // beyond its end is somebody else's
		for i, b := range given {
			for _, c := range b {
				if c != byte(i) {
					t.Fatalf("piece %d has changed", i)
				}
			}
		}
		if len(out.Messages) != 3000 {
			t.Fatalf("%d messages, want 3000", len(out.Messages))
		}
		out.reset()
		if len(out.Messages) != 0 {
			t.Fatal("messages are left")
		}
	}
}
