package aggregate

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

const (
	minuteUs = 60_000_000
	hourUs   = 60 * minuteUs
	// startUs is 2026-03-01 00:00 UTC, a whole minute.
	startUs = 1_772_323_200_000_000
)

var testGenesis = &schema.Genesis{Epoch: "1", EventPartitions: 2, CellPartitions: 3, CellOpenMs: 5 * 60_000, RawTopics: []string{"mta.raw"}}

func noCounters(t testing.TB) *counters {
	t.Helper()
	c, err := newCounters(noop.NewMeterProvider().Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// gauge counts for real; read returns a counter's sum over its attributes.
func gauge(t *testing.T) (c *counters, read func(name string) int64) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	c, err := newCounters(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(""), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c, func(name string) (n int64) {
		t.Helper()
		var all metricdata.ResourceMetrics
		if err := reader.Collect(context.Background(), &all); err != nil {
			t.Fatal(err)
		}
		for _, s := range all.ScopeMetrics {
			for _, m := range s.Metrics {
				if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
					for _, p := range data.DataPoints {
						n += p.Value
					}
				}
			}
		}
		return n
	}
}

// fatal is what testing.T and rapid.T share here.
type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// driver folds a log with a machine as the fold package does, and spoils every record's bytes after its batch: what a
// machine keeps has to be its own.
type driver struct {
	t       fatal
	m       *machine
	count   *counters
	control func(int64) (*schema.Control, error)
	offset  int64
	sent    []broker.Message
}

func newDriver(t fatal, count *counters, control func(int64) (*schema.Control, error)) *driver {
	t.Helper()
	d := &driver{t: t, count: count, control: control}
	d.fresh()
	return d
}

func (d *driver) fresh() {
	d.t.Helper()
	m, err := newMachine(1, testGenesis, d.control, d.count)
	if err != nil {
		d.t.Fatal(err)
	}
	d.m = m
}

// restart saves the state and goes on with a new machine that loaded it.
func (d *driver) restart() {
	d.t.Helper()
	state := d.m.AppendState(nil)
	d.fresh()
	if err := d.m.LoadState(bytes.Clone(state)); err != nil {
		d.t.Fatal(err)
	}
	if !bytes.Equal(d.m.AppendState(nil), state) {
		d.t.Fatal("a state that was saved, loaded and saved again is another one")
	}
}

// step folds one record and returns what it sends.
func (d *driver) step(value []byte) []broker.Message {
	d.t.Helper()
	sent, err := d.try(value)
	if err != nil {
		d.t.Fatal(err)
	}
	return sent
}

func (d *driver) try(value []byte) ([]broker.Message, error) {
	record := bytes.Clone(value)
	var out fold.Outbox
	err := d.m.Step(&broker.Record{Offset: d.offset, Value: record}, &out)
	sent := make([]broker.Message, len(out.Messages))
	for i, m := range out.Messages {
		sent[i] = m
		sent[i].Key, sent[i].Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
	}
	for i := range record {
		record[i] = 0xaa
	}
	d.offset++
	d.sent = append(d.sent, sent...)
	return sent, err
}

func sameMessage(a, b broker.Message) bool {
	return a.Topic == b.Topic && a.Partition == b.Partition && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func encode(t fatal, e *schema.Envelope) []byte {
	t.Helper()
	b, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func encodeEvent(t fatal, ev *schema.DeliveryEvent, v *schema.Verdict) []byte {
	t.Helper()
	b, err := ev.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return encode(t, &schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{Event: b, Verdict: v}}})
}

func encodeClock(t fatal, host string, raw *schema.RawPosition, atUs, loggedMs int64) []byte {
	return encode(t, &schema.Envelope{Kind: &schema.Envelope_Clock{Clock: &schema.HostClock{Raw: raw, Host: host, AtUs: atUs, LoggedAtMs: loggedMs}}})
}

func encodeControl(t fatal, c *schema.Control) []byte {
	return encode(t, &schema.Envelope{Kind: &schema.Envelope_Control{Control: c}})
}

func encodeTick(t fatal, atUs int64) []byte {
	return encode(t, &schema.Envelope{Kind: &schema.Envelope_Tick{Tick: &schema.Tick{AtUs: atUs}}})
}

// event returns an event of recipient n at a source position, and its verdict.
func event(n int, raw *schema.RawPosition, atUs int64, outcome schema.Outcome) (*schema.DeliveryEvent, *schema.Verdict) {
	ev := &schema.DeliveryEvent{
		EventId:      fmt.Sprintf("1.0.%d.%d.%d", raw.Partition, raw.Offset, raw.Index),
		OccurredAtUs: atUs, RecipientKey: fmt.Appendf(nil, "r%d@x.example", n), Domain: "x.example", MtaHost: "mx1",
		QueueId: fmt.Sprintf("Q%d.%d", raw.Partition, raw.Offset), Outcome: outcome, Attempt: 1, SourceIp: "192.0.2.1",
		Raw: raw, DelayMs: 1000, EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
	}
	v := &schema.Verdict{Provider: "apple"}
	if outcome != schema.Outcome_DELIVERED && outcome != schema.Outcome_OPENED && outcome != schema.Outcome_CLICKED {
		v.Class, v.Scope, v.Suppress, v.Rule = "recipient.unknown", schema.Scope_SCOPE_RECIPIENT, schema.Suppress_SUPPRESS_CANDIDATE, "r1"
		ev.SmtpCode, ev.EnhancedCode = 550, "5.1.1"
	}
	return ev, v
}

// decisions, cells and progress take a partition's output apart.
func decisions(t fatal, sent []broker.Message) (out []*schema.Decision) {
	t.Helper()
	for _, m := range sent {
		if m.Topic == schema.TopicDecisions {
			d := &schema.Decision{}
			if err := d.UnmarshalVT(m.Value); err != nil {
				t.Fatal(err)
			}
			out = append(out, d)
		}
	}
	return out
}

func cellRecords(t fatal, sent []broker.Message) (out []*schema.CellRecord) {
	t.Helper()
	for _, m := range sent {
		if m.Topic == schema.TopicCells {
			c := &schema.CellRecord{}
			if err := c.UnmarshalVT(m.Value); err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
	}
	return out
}

// writer emits the messages of one raw partition in order, and now and then goes back, as a process does that died, was
// paused or was taken over.
type writer struct{ at int }

// emission draws what several writers put into one partition, each of them contiguous: indexes of messages, every one of
// them at least once.
func emission(t *rapid.T, messages, writers int) (order []int) {
	ws := make([]writer, writers)
	most := 0
	for most < messages {
		w := &ws[rapid.IntRange(0, writers-1).Draw(t, "writer")]
		if w.at >= messages || w.at > 0 && rapid.IntRange(0, 7).Draw(t, "dies") == 0 {
			w.at = rapid.IntRange(0, min(w.at, messages-1)).Draw(t, "restarts at")
		}
		order = append(order, w.at)
		w.at++
		most = max(most, w.at)
	}
	return order
}
