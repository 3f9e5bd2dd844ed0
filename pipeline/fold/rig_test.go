package fold

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/service"
)

// rig is a broker with what a worker needs. Its client fetches as little at a time as it may, so that a log of a megabyte
// takes many batches.
type rig struct {
	t       testing.TB
	addr    string
	client  *broker.Client
	process *service.Process
	observe *Observer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	cfg := broker.DefaultConfig()
	cfg.Brokers = b.Addr()
	cfg.SessionTimeout, cfg.RebalanceTimeout = 6*time.Second, 3*time.Second
	cfg.FetchBytes = 64 << 10
	c, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	log := slog.New(slog.DiscardHandler)
	telemetry, err := service.NewTelemetry(t.Context(), "test", service.TraceOptions{}, log)
	if err != nil {
		t.Fatal(err)
	}
	p := &service.Process{Log: log, Telemetry: telemetry, Health: service.NewHealth()}
	o, err := NewObserver(p, "test")
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t: t, addr: b.Addr(), client: c, process: p, observe: o}
}

func (r *rig) topic(name string, partitions int) {
	r.t.Helper()
	if err := r.client.EnsureTopics(context.Background(), []broker.Topic{{Name: name, Partitions: partitions}}); err != nil {
		r.t.Fatal(err)
	}
}

// write appends the values to partition 0, each in a record batch of its own.
func (r *rig) write(topic string, values ...[]byte) {
	r.t.Helper()
	for _, v := range values {
		if err := r.client.Produce(context.Background(), []broker.Message{{Topic: topic, Value: v}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// worker returns a worker of partition 0 without a group around it: its deaths cost nothing then.
func (r *rig) worker(cfg Config) *worker {
	r.t.Helper()
	n, err := r.client.Partitions(context.Background(), cfg.Topic)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.Observe, cfg.Logger = r.observe, r.process.Log
	if cfg.New == nil {
		cfg.New = func(int32) (Machine, error) { return &chain{}, nil }
	}
	return &worker{
		cfg: &cfg, client: r.client, partitions: n, log: r.process.Log,
		assignment: broker.Assignment{Committed: -1, Commit: func(int64) error { return nil }},
	}
}

// run runs w until stop is called, which returns what run did; ended is closed when it is over, also when the worker's
// goroutine was killed.
func (r *rig) run(w *worker) (stop func() error, ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	err := errKilled
	go func() {
		defer close(done)
		err = w.run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	return func() error {
		cancel()
		<-done
		return err
	}, done
}

var errKilled = errors.New("killed")

// within waits until ok holds.
func within(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not come", what)
		}
	}
}

// chain is a machine all of whose outputs depend on all records before: what is lost, doubled or folded in another order
// shows in everything that follows.
type chain struct {
	sum  uint64
	n    int64
	save func() // called by AppendState
}

func (c *chain) Step(r *broker.Record, out *Outbox) error {
	var before [8]byte
	binary.BigEndian.PutUint64(before[:], c.sum)
	d := xxhash.New()
	_, _ = d.Write(before[:])
	_, _ = d.Write(r.Value)
	c.sum = d.Sum64()
	c.n++
	for i := range c.sum % 4 {
		text := fmt.Appendf(nil, "%d.%d %016x", r.Offset, i, c.sum)
		value := out.Alloc(len(text))
		copy(value, text)
		out.Send("out", 0, nil, value)
	}
	return nil
}

func (c *chain) AppendState(b []byte) []byte {
	if c.save != nil {
		c.save()
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, c.sum), uint64(c.n))
}

func (c *chain) LoadState(b []byte) error {
	if len(b) != 16 {
		return fmt.Errorf("%d bytes, want 16", len(b))
	}
	c.sum, c.n = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:]))
	return nil
}

// directFold is what the package promises: the fold of the log, without anything around it.
func directFold(log [][]byte) (*chain, []string) {
	c, out := &chain{}, &Outbox{}
	for i, v := range log {
		if err := c.Step(&broker.Record{Offset: int64(i), Value: v}, out); err != nil {
			panic(err)
		}
	}
	return c, texts(out.Messages)
}

func texts(msgs []broker.Message) []string {
	out := make([]string, len(msgs))
	for i, m := range msgs {
		out[i] = string(m.Value)
	}
	return out
}

// sink is an output partition: what was appended, in order.
type sink struct {
	mu  sync.Mutex
	log []string
}

func (s *sink) append(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, lines...)
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// once removes repeats as the reader of mail.classified does: what is not above the highest source position seen has been
// seen.
func once(lines []string) (out []string) {
	offset, index := int64(-1), int64(-1)
	for _, l := range lines {
		var o, i int64
		if _, err := fmt.Sscanf(l, "%d.%d ", &o, &i); err != nil {
			panic(err)
		}
		if o > offset || o == offset && i > index {
			offset, index = o, i
			out = append(out, l)
		}
	}
	return out
}

// randomLog returns n values, some of which fill a fetch; they do not compress.
func randomLog(seed uint64, n int) [][]byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	bytes := rand.NewChaCha8(key)
	log := make([][]byte, n)
	for i := range log {
		log[i] = make([]byte, 1000+rnd.IntN(20_000))
		_, _ = bytes.Read(log[i]) // never fails
	}
	return log
}

func short(lines []string) string {
	if len(lines) > 8 {
		lines = append(append([]string(nil), lines[:4]...), "...", lines[len(lines)-1])
	}
	return strings.Join(lines, ", ")
}
