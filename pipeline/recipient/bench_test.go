package recipient

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"carom.dev/carom/schema"
)

const benchRecipients = 1_000_000

func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "recipient%d@d%d.example", i, i%5000)
	}
	return keys
}

func benchEvent(i int, key []byte, outcome schema.Outcome) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		EventId: fmt.Sprintf("1-0-%d-0", i), OccurredAtUs: storyStart.UnixMicro() + int64(i)*100, RecipientKey: key,
		Domain: "d.example", MtaHost: "mx1", QueueId: "4bXYZ12345", Outcome: outcome,
	}
}

var benchVerdict = &schema.Verdict{
	Class: "mailbox.full", Provider: "gmail", Rule: "gmail-full", Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_WINDOWED,
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// cpu is the processor time of the process: wall time means little on a shared machine.
func cpu() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkApply measures events of random order against a Store that knows a million recipients.
func BenchmarkApply(b *testing.B) {
	keys := benchKeys(benchRecipients)
	for _, c := range []struct {
		name    string
		fill    schema.Outcome
		outcome schema.Outcome
	}{
		{"failure/1M-with-failures", schema.Outcome_BOUNCED, schema.Outcome_BOUNCED},
		{"delivery/1M-with-failures", schema.Outcome_BOUNCED, schema.Outcome_DELIVERED},
		{"delivery/1M-accepted", schema.Outcome_DELIVERED, schema.Outcome_DELIVERED},
	} {
		b.Run(c.name, func(b *testing.B) {
			emit := func(*schema.Decision) {}
			before := heap()
			s := NewStore()
			fill := benchEvent(0, nil, c.fill)
			for i, k := range keys {
				fill.EventId, fill.RecipientKey = fmt.Sprintf("1-0-%d-0", i), k
				s.Apply(fill, benchVerdict, Position{Offset: int64(i)}, emit)
			}
			s.settle(1 << 62)
			bytesEach := float64(heap()-before) / benchRecipients
			ev := benchEvent(benchRecipients, nil, c.outcome)
			i := 0
			b.ReportAllocs()
			start := cpu()
			for b.Loop() {
				ev.RecipientKey = keys[i*7919%benchRecipients]
				s.Apply(ev, benchVerdict, Position{Offset: int64(i)}, emit)
				i++
			}
			b.ReportMetric(float64(cpu()-start)/float64(i), "cpu-ns/op")
			b.ReportMetric(bytesEach, "B/recipient")
			runtime.KeepAlive(s)
		})
	}
}

// BenchmarkState measures saving and loading of a million recipients with failures.
func BenchmarkState(b *testing.B) {
	s := NewStore()
	for i, k := range benchKeys(benchRecipients) {
		s.Apply(benchEvent(i, k, schema.Outcome_BOUNCED), benchVerdict, Position{}, func(*schema.Decision) {})
	}
	state := s.AppendState(nil)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(state)))
		for b.Loop() {
			state = s.AppendState(state[:0])
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(int64(len(state)))
		for b.Loop() {
			if err := NewStore().LoadState(state); err != nil {
				b.Fatal(err)
			}
		}
	})
}
