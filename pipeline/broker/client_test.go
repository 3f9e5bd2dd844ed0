package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/embedded"
)

func open(t *testing.T, topics ...broker.Topic) *broker.Client {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	cfg := broker.DefaultConfig()
	cfg.Brokers = b.Addr()
	cfg.SessionTimeout, cfg.RebalanceTimeout = 6*time.Second, 3*time.Second
	c, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(t.Context(), topics); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestProduceThenFetchKeepsOrderAndBytes(t *testing.T) {
	c := open(t, broker.Topic{Name: "t", Partitions: 2})
	var msgs []broker.Message
	for i := range 5000 {
		msgs = append(msgs, broker.Message{
			Topic: "t", Partition: int32(i % 2), Key: []byte{byte(i)}, Value: fmt.Appendf(nil, "value %d %0500d", i, i),
			Headers: []broker.Header{{Key: "traceparent", Value: []byte("00-x")}},
		})
	}
	if err := c.Produce(t.Context(), msgs); err != nil { // several batches a partition
		t.Fatal(err)
	}
	for p := range int32(2) {
		r := c.NewReader("t", p, 0)
		n := 0
		for n < 2500 {
			records, end, err := r.Fetch(t.Context(), time.Second)
			if err != nil || end != 2500 || len(records) == 0 {
				t.Fatalf("%d records, end %d, err %v after %d", len(records), end, err, n)
			}
			for _, rec := range records {
				want := msgs[2*n+int(p)]
				if rec.Offset != int64(n) || string(rec.Value) != string(want.Value) || string(rec.Key) != string(want.Key) || string(rec.Header("traceparent")) != "00-x" {
					t.Fatalf("partition %d offset %d: got offset %d %.20q", p, n, rec.Offset, rec.Value)
				}
				if d := time.Since(time.UnixMilli(rec.TimeMs)); d < 0 || d > time.Minute {
					t.Fatalf("written %s ago", d)
				}
				n++
			}
		}
		if records, _, err := r.Fetch(t.Context(), 50*time.Millisecond); err != nil || len(records) != 0 {
			t.Fatalf("at the end: %d records, err %v; want nothing and no error", len(records), err)
		}
	}
}

// Reading on from somewhere else would skip or repeat records without a word.
func TestOffsetOutsideTheLogIsAnError(t *testing.T) {
	c := open(t, broker.Topic{Name: "t", Partitions: 1})
	if err := c.Produce(t.Context(), []broker.Message{{Topic: "t", Value: []byte("a")}}); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.NewReader("t", 0, 7).Fetch(t.Context(), 100*time.Millisecond)
	var oe *broker.OffsetError
	if !errors.As(err, &oe) || oe.Offset != 7 || oe.First != 0 || oe.Last != 1 || broker.Retryable(err) {
		t.Fatalf("err = %v, want an OffsetError for 7 of [0, 1) that is not retryable", err)
	}
}

func TestPartitionCountIsFixed(t *testing.T) {
	c := open(t, broker.Topic{Name: "t", Partitions: 2})
	if err := c.EnsureTopics(t.Context(), []broker.Topic{{Name: "t", Partitions: 2}}); err != nil {
		t.Fatalf("the same again: %v", err)
	}
	if err := c.EnsureTopics(t.Context(), []broker.Topic{{Name: "t", Partitions: 3}}); err == nil {
		t.Fatal("another partition count was accepted")
	}
}

func TestProduceGivesUpWithItsContext(t *testing.T) {
	cfg := broker.DefaultConfig()
	cfg.Brokers = "127.0.0.1:1"
	c, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Produce(ctx, []broker.Message{{Topic: "t", Value: []byte("a")}}); err == nil {
		t.Fatal("no broker, and no error")
	}
}

// Two members share the partitions; when one leaves, the other gets them all. A worker that fails is started again and
// does not end the generation for its neighbours.
func TestGroupHandsPartitionsOver(t *testing.T) {
	c := open(t, broker.Topic{Name: "t", Partitions: 4})
	var mu sync.Mutex
	owners := map[int32]string{}
	failures := 0
	work := func(member string) func(context.Context, broker.Assignment) error {
		return func(ctx context.Context, a broker.Assignment) error {
			mu.Lock()
			if a.Partition == 0 && failures == 0 {
				failures++
				mu.Unlock()
				return errors.New("first start fails")
			}
			owners[a.Partition] = member
			mu.Unlock()
			if err := a.Commit(int64(a.Partition)); err != nil && ctx.Err() == nil {
				t.Errorf("commit: %v", err)
			}
			<-ctx.Done()
			mu.Lock()
			delete(owners, a.Partition)
			mu.Unlock()
			return nil
		}
	}
	counts := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		out := map[string]int{}
		for _, m := range owners {
			out[m]++
		}
		return out
	}
	wait := func(what string, ok func(map[string]int) bool) {
		t.Helper()
		for range 400 {
			if ok(counts()) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s: owners are %v", what, counts())
	}
	run := func(member string) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- c.Run(ctx, broker.GroupConfig{ID: "g", Topic: "t", Member: member, Logger: slog.New(slog.DiscardHandler)}, work(member))
		}()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("member %s: %v", member, err)
			}
		}
	}
	stopA := run("a")
	wait("one member", func(n map[string]int) bool { return n["a"] == 4 })
	stopB := run("b")
	wait("two members", func(n map[string]int) bool { return n["a"] == 2 && n["b"] == 2 })
	stopA()
	wait("one left", func(n map[string]int) bool { return n["b"] == 4 && n["a"] == 0 })
	stopB()
	if failures != 1 {
		t.Errorf("worker of partition 0 failed %d times, want once", failures)
	}
}
