package fold

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/schema"
)

// The process is ready when it is in the group and every partition that it was given is restored, not before; and the
// orderly end of one member leaves nothing to be done again by the next.
func TestReadyWhenAllPartitionsAreRestored(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.topic("in", 2)
	r.topic("out", 1)
	r.write("in", words("a b c d")...)
	missing := func() string { return strings.Join(r.process.Health.Missing(), "; ") }

	restored := map[int32]chan struct{}{0: make(chan struct{}), 1: make(chan struct{})}
	owned := make(chan int32, 2)
	cfg := Config{
		Stage: "s", Topic: "in", Group: "g", Member: "m", Dir: t.TempDir(), SnapshotEvery: time.Hour,
		Observe: r.observe, Logger: r.process.Log,
		New: func(partition int32) (Machine, error) {
			<-restored[partition]
			return &chain{}, nil
		},
		Publish: func(ctx context.Context, _ Machine, b Batch) error { return r.client.Produce(ctx, b.Outbox.Messages) },
		While: func(ctx context.Context, partition int32, _ Machine) {
			owned <- partition
			<-ctx.Done()
			<-owned
		},
	}
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- Run(ctx, r.client, cfg) }()
		return func() {
			t.Helper()
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if missing() == "" {
		t.Fatal("ready before it is a member of the group")
	}
	stop := run()
	within(t, "partitions assigned", func() bool { return strings.Contains(missing(), "0 of 2 partitions restored") })
	close(restored[1])
	within(t, "one restored", func() bool { return strings.Contains(missing(), "1 of 2 partitions restored") })
	close(restored[0])
	within(t, "ready", func() bool { return missing() == "" })
	within(t, "the hint to be committed", func() bool {
		committed, err := r.client.Committed(t.Context(), "g", "in", 2)
		return err == nil && committed[0] == 4
	})
	within(t, "While to run for both", func() bool { return len(owned) == 2 })
	stop()
	if len(owned) != 0 {
		t.Error("While was still running when the fold had ended")
	}
	if missing() == "" {
		t.Error("still ready after the end")
	}

	// The next member: nothing is published twice.
	r.write("in", words("e f")...)
	stop = run()
	log := words("a b c d e f")
	want, wantOut := directFold(log)
	within(t, "the rest to be committed", func() bool {
		committed, err := r.client.Committed(t.Context(), "g", "in", 2)
		return err == nil && committed[0] == 6
	})
	stop()
	reader := r.client.NewReader("out", 0, 0)
	var got []string
	for {
		records, end, err := reader.Fetch(t.Context(), 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			got = append(got, string(rec.Value))
		}
		if int64(len(got)) >= end {
			break
		}
	}
	if !slices.Equal(got, wantOut) {
		t.Errorf("output log %s\nwant %s (state %016x)", short(got), short(wantOut), want.sum)
	}
}

func TestDeadLetterSaysWhatAndWhere(t *testing.T) {
	t.Parallel()
	out := &Outbox{}
	value := bytes.Repeat([]byte{0xff, 'x'}, maxDeadLetterBytes)
	cause := fmt.Errorf("unreadable \xff byte")
	if err := DeadLetter(out, "classify", "mail.events", 3, &broker.Record{Offset: 42, Value: value}, cause); err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) != 1 || out.Messages[0].Topic != schema.TopicDeadLetter || out.Messages[0].Partition != 0 {
		t.Fatalf("messages %+v", out.Messages)
	}
	var d schema.DeadLetter
	if err := d.UnmarshalVT(out.Messages[0].Value); err != nil {
		t.Fatal(err)
	}
	if d.Stage != "classify" || d.Topic != "mail.events" || d.Partition != 3 || d.Offset != 42 || d.Reason != "unreadable \uFFFD byte" ||
		d.ValueBytes != int64(len(value)) || !bytes.Equal(d.Value, value[:maxDeadLetterBytes]) {
		t.Errorf("dead letter %s %s/%d at %d: %q, %d of %d bytes", d.Stage, d.Topic, d.Partition, d.Offset, d.Reason, len(d.Value), d.ValueBytes)
	}
}
