package fold

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"carom.dev/carom/pipeline/broker"
)

func words(list string) (out [][]byte) {
	for _, w := range strings.Fields(list) {
		out = append(out, []byte(w))
	}
	return out
}

// ask sends a request that no client of this project makes.
func (r *rig) ask(ctx context.Context, req kmsg.Request) kmsg.Response {
	r.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(r.addr))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Request(ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

// forget deletes the records before an offset, as retention does.
func (r *rig) forget(topic string, before int64) {
	r.t.Helper()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = before
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 5000
	req.Topics = append(req.Topics, rt)
	res := r.ask(r.t.(*testing.T).Context(), req).(*kmsg.DeleteRecordsResponse)
	if err := kerr.ErrorForCode(res.Topics[0].Partitions[0].ErrorCode); err != nil {
		r.t.Fatal(err)
	}
}

// remake deletes a topic and makes it again.
func (r *rig) remake(topic string, partitions int) {
	r.t.Helper()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &topic
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	req.Topics, req.TopicNames = append(req.Topics, rt), []string{topic}
	res := r.ask(r.t.(*testing.T).Context(), req).(*kmsg.DeleteTopicsResponse)
	if err := kerr.ErrorForCode(res.Topics[0].ErrorCode); err != nil {
		r.t.Fatal(err)
	}
	r.topic(topic, partitions)
}

// fold folds everything in the topic with snapshots in dir, stops in order and returns the state and the offsets that
// were published.
func (r *rig) fold(cfg Config, end int64) (*worker, error) {
	r.t.Helper()
	w := r.worker(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	publish := w.cfg.Publish
	w.cfg.Publish = func(ctx context.Context, m Machine, b Batch) error {
		if publish != nil {
			if err := publish(ctx, m, b); err != nil {
				return err
			}
		}
		if b.To >= end {
			cancel()
		}
		return nil
	}
	return w, w.run(ctx)
}

func TestLogThatIsNotTheOneTheStateCameFromIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, tc := range []struct {
		name   string
		change func(topic string)
		want   string
	}{
		{"shorter than the snapshot", func(topic string) {
			r.remake(topic, 1)
			r.write(topic, words("a b")...)
		}, "offset 4 of shorter/0 is outside the log [0, 2)"},
		{"made again with other content", func(topic string) {
			r.remake(topic, 1)
			r.write(topic, words("a b c X e f")...)
		}, "the record at offset 3 is not the one that the state was folded from"},
		{"records that are not folded yet are gone", func(topic string) {
			r.write(topic, words("e f g")...)
			r.forget(topic, 6)
		}, "offset 4 of records/0 is outside the log [6, 7)"},
		{"more partitions", func(topic string) {
			p := kmsg.NewCreatePartitionsRequestTopic()
			p.Topic, p.Count = topic, 2
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.TimeoutMillis, req.Topics = 5000, append(req.Topics, p)
			r.ask(t.Context(), req)
		}, "taken with 1 partitions of more, there are 2 now"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			topic, _, _ := strings.Cut(tc.name, " ")
			r.topic(topic, 1)
			r.write(topic, words("a b c d")...)
			cfg := Config{Stage: "s", Topic: topic, Dir: t.TempDir()}
			if _, err := r.fold(cfg, 4); err != nil {
				t.Fatal(err)
			}
			tc.change(topic)
			before := listing(t, cfg.Dir)
			w := r.worker(cfg)
			err := w.run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one with %q", err, tc.want)
			}
			// Whoever mends the log finds the state where it was.
			if after := listing(t, cfg.Dir); !slices.Equal(before, after) {
				t.Errorf("the refusal changed the snapshots: %v, before %v", after, before)
			}
		})
	}
}

// A log that grew while nobody looked is no reason to refuse: the fold goes on where it was.
func TestFoldGoesOnWhereItWasSaved(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b c d")...)
	cfg := Config{Stage: "s", Topic: "in", Dir: t.TempDir()}
	if _, err := r.fold(cfg, 4); err != nil {
		t.Fatal(err)
	}
	r.write("in", words("e f")...)
	r.forget("in", 4) // what is folded may go
	from := int64(-1)
	cfg.Publish = func(_ context.Context, _ Machine, b Batch) error {
		if from < 0 {
			from = b.From
		}
		return nil
	}
	w, err := r.fold(cfg, 6)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := directFold(words("a b c d e f"))
	if m := w.machine.(*chain); m.sum != want.sum || from != 4 {
		t.Errorf("state %016x from offset %d on, want %016x from 4 on", m.sum, from, want.sum)
	}
}

func listing(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDamagedSnapshotsArePutAsideAndTheFoldIsExact(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	log := words("a b c d e f g h")
	r.write("in", log...)
	want, _ := directFold(log)

	flip := func(name string) error {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(name, b, 0o600)
	}
	cut := func(name string) error { return os.Truncate(name, 20) }
	empty := func(name string) error { return os.Truncate(name, 0) }
	for _, tc := range []struct {
		name      string
		newest    func(string) error
		before    func(string) error
		wantStart int64
	}{
		{name: "none", wantStart: 8},
		{name: "newest flipped", newest: flip, wantStart: 5},
		{name: "newest cut", newest: cut, wantStart: 5},
		{name: "newest empty", newest: empty, wantStart: 5},
		{name: "both", newest: cut, before: flip, wantStart: 0},
		{name: "older one only", before: flip, wantStart: 8},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			w := r.worker(Config{Stage: "s", Topic: "in", Dir: dir})
			for _, next := range []int64{3, 5, 8} { // the first of them is pruned
				m, _ := directFold(log[:next])
				h := w.header()
				h.Next, h.Last, h.LastCRC = next, next-1, recordCRC(&broker.Record{Value: log[next-1]})
				if _, err := w.snapshots().write(h, m); err != nil {
					t.Fatal(err)
				}
			}
			files, err := w.snapshots().list()
			if err != nil || len(files) != 2 {
				t.Fatalf("snapshots %v, err %v; want the last two", files, err)
			}
			// What a crash in the middle of a write leaves is no snapshot.
			if err := os.WriteFile(filepath.Join(dir, "s-in-0.00000000000000000009.snap.tmp"), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
			damaged := 0
			for i, damage := range []func(string) error{tc.newest, tc.before} {
				if damage == nil {
					continue
				}
				if err := damage(files[i]); err != nil {
					t.Fatal(err)
				}
				if i == 0 || tc.newest != nil { // an older one is not looked at without need
					damaged++
				}
			}
			if err := w.start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if w.next != tc.wantStart {
				t.Errorf("starts at %d, want %d", w.next, tc.wantStart)
			}
			aside := 0
			for _, name := range listing(t, dir) {
				if strings.HasSuffix(name, ".damaged") {
					aside++
				}
			}
			if aside != damaged {
				t.Errorf("%d files put aside, want %d: %v", aside, damaged, listing(t, dir))
			}
			if tc.wantStart < 8 { // else the restored state is the answer
				if w, err = r.fold(Config{Stage: "s", Topic: "in", Dir: dir}, 8); err != nil {
					t.Fatal(err)
				}
			}
			if m := w.machine.(*chain); m.sum != want.sum || m.n != want.n {
				t.Errorf("state %016x after %d records, want %016x after %d", m.sum, m.n, want.sum, want.n)
			}
		})
	}
}

// No byte of a snapshot can change, and no end can be missing, without being noticed.
func TestSnapshotWithAnyDamageIsNotLoaded(t *testing.T) {
	t.Parallel()
	s := snapshots{dir: t.TempDir(), stage: "s", topic: "in", partition: 3}
	if _, err := s.write(header{Stage: "s", Topic: "in", Partition: 3, Partitions: 4, Next: 7}, &chain{sum: 1, n: 7}); err != nil {
		t.Fatal(err)
	}
	files, err := s.list()
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, at int, b []byte) {
		t.Helper()
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := s.read(files[0], &chain{}); err == nil {
			t.Errorf("%s %d: loaded as %+v", what, at, h)
		}
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		refused("flipped byte", i, bad)
		refused("cut at", i, good[:i])
	}
	refused("a byte more than", len(good), append(slices.Clone(good), 0))
	if err := os.WriteFile(files[0], good, 0o600); err != nil {
		t.Fatal(err)
	}
	m := &chain{}
	if h, err := s.read(files[0], m); err != nil || h.Next != 7 || h.Partitions != 4 || m.n != 7 {
		t.Errorf("undamaged: %+v, %+v, err %v", h, m, err)
	}
}

// A snapshot under another partition's name would be another state: it is not loaded, and the log is folded instead.
func TestSnapshotOfAnotherPartitionIsNotLoaded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 2)
	log := words("a b c")
	r.write("in", log...)
	dir := t.TempDir()
	other := r.worker(Config{Stage: "s", Topic: "in", Dir: dir})
	other.partition, other.next = 1, 3
	if _, err := other.snapshots().write(other.header(), &chain{sum: 99, n: 99}); err != nil {
		t.Fatal(err)
	}
	from := other.snapshots().prefix() + "00000000000000000003.snap"
	if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, strings.Replace(from, "-1.", "-0.", 1))); err != nil {
		t.Fatal(err)
	}
	w, err := r.fold(Config{Stage: "s", Topic: "in", Dir: dir}, 3)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := directFold(log)
	if m := w.machine.(*chain); m.sum != want.sum {
		t.Errorf("state %016x, want %016x", m.sum, want.sum)
	}
	if names := listing(t, dir); !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".damaged") }) {
		t.Errorf("the foreign snapshot was not put aside: %v", names)
	}
}

// Without a snapshot, a log that has lost its beginning cannot give the state: that is said, not worked around.
func TestLostBeginningHasToBeAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b c d")...)
	r.forget("in", 2)
	cfg := Config{Stage: "s", Topic: "in", Dir: t.TempDir()}
	if err := r.worker(cfg).run(t.Context()); !errors.Is(err, ErrIncomplete) {
		t.Fatalf("err = %v, want ErrIncomplete", err)
	}
	cfg.AcceptIncomplete = true
	w, err := r.fold(cfg, 4)
	if err != nil {
		t.Fatal(err)
	}
	if m := w.machine.(*chain); m.n != 2 || w.next != 4 {
		t.Errorf("folded %d records up to %d, want the 2 that are left, up to 4", m.n, w.next)
	}
}

func TestStatelessFoldStartsAtTheCommittedOffset(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", words("a b c d e")...)
	r.forget("in", 1)
	for _, tc := range []struct{ committed, want int64 }{{-1, 1}, {1, 1}, {3, 3}, {5, 5}} {
		w := r.worker(Config{Stage: "s", Topic: "in"})
		w.assignment.Committed = tc.committed
		if err := w.start(t.Context()); err != nil || w.next != tc.want {
			t.Errorf("committed %d: starts at %d, err %v; want %d", tc.committed, w.next, err, tc.want)
		}
	}
	for _, committed := range []int64{0, 6} {
		w := r.worker(Config{Stage: "s", Topic: "in", Group: "g"})
		w.assignment.Committed = committed
		var oe *broker.OffsetError
		if err := w.run(t.Context()); !errors.As(err, &oe) || oe.Offset != committed || oe.First != 1 || oe.Last != 5 ||
			!strings.Contains(err.Error(), "committed position of group g") {
			t.Errorf("committed %d: err = %v, want an OffsetError for [1, 5) that names the group", committed, err)
		}
	}
}

// A hole in the offsets is a loss, unless the topic is compacted.
func TestHoleInTheOffsetsIsAnError(t *testing.T) {
	t.Parallel()
	records := func(offsets ...int64) (out []broker.Record) {
		for _, o := range offsets {
			out = append(out, broker.Record{Offset: o, Value: []byte{byte(o)}})
		}
		return out
	}
	for _, tc := range []struct {
		name      string
		compacted bool
		offsets   []int64
		wantErr   string
		wantN     int64
		markers   []broker.Range
	}{
		{"in order", false, []int64{4, 5, 6}, "", 3, nil},
		{"hole", false, []int64{4, 6}, "read offset 6, want 5", 1, nil},
		{"hole of a transaction marker", false, []int64{4, 6, 8}, "", 3, []broker.Range{{First: 5, Last: 5}, {First: 7, Last: 7}}},
		{"hole behind a transaction marker", false, []int64{4, 7}, "read offset 7, want 6", 1, []broker.Range{{First: 5, Last: 5}}},
		{"hole at the start", false, []int64{5}, "read offset 5, want 4", 0, nil},
		{"again", false, []int64{4, 4}, "read offset 4, want 5", 1, nil},
		{"hole, compacted", true, []int64{6, 9}, "", 2, nil},
		{"again, compacted", true, []int64{6, 5}, "read offset 5, want 7", 1, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &worker{cfg: &Config{Topic: "in", Compacted: tc.compacted}, machine: &chain{}, next: 4}
			err := w.fold(records(tc.offsets...), tc.markers, tc.offsets[len(tc.offsets)-1]+1)
			if n := w.machine.(*chain).n; n != tc.wantN {
				t.Errorf("folded %d records, want %d", n, tc.wantN)
			}
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("err = %v, want %q", err, tc.wantErr)
			}
		})
	}
}

// The log loses its beginning under a fold that is behind: it stops, and does not read on behind the hole.
func TestRetentionThatOvertakesARunningFoldStopsIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 1)
	r.write("in", randomLog(1, 30)...)
	cfg := Config{Stage: "s", Topic: "in", Dir: t.TempDir(), Publish: func(_ context.Context, _ Machine, b Batch) error {
		if b.From == 0 {
			r.forget("in", 25)
		}
		if b.To > 25 {
			t.Errorf("published [%d, %d)", b.From, b.To)
		}
		return nil
	}}
	var oe *broker.OffsetError
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.worker(cfg).run(ctx); !errors.As(err, &oe) || oe.First != 25 {
		t.Errorf("err = %v, want an OffsetError for a log that begins at 25", err)
	}
}
