package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

var testGenesis = &schema.Genesis{Epoch: "e1", EventPartitions: 3, RawTopics: []string{"mta.other", "mta.raw"}}

// noon is when the lines of these tests were written.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// driver folds raw records and spoils their bytes after the batch, as the next fetch does.
type driver struct {
	t      fatal
	m      *machine
	reader *sdkmetric.ManualReader
	count  *counters
	sent   []broker.Message

	secrets site.Keys
}

func newDriver(t fatal) *driver {
	t.Helper()
	d := &driver{t: t, reader: sdkmetric.NewManualReader()}
	var err error
	d.count, err = newCounters(sdkmetric.NewMeterProvider(sdkmetric.WithReader(d.reader)).Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	d.fresh()
	return d
}

func (d *driver) fresh() {
	d.t.Helper()
	cfg := DefaultConfig()
	if err := cfg.Validate(); err != nil {
		d.t.Fatal(err)
	}
	cfg.Source.Keys = d.secrets
	var err error
	d.m, err = newMachine(cfg, testGenesis, address.Keyer{}, "mta.raw", 2, d.count)
	if err != nil {
		d.t.Fatal(err)
	}
}

// keys puts a machine of the same state beside these keys.
func (d *driver) keys(keys site.Keys) {
	d.t.Helper()
	state := d.m.AppendState(nil)
	d.secrets = keys
	d.fresh()
	if err := d.m.LoadState(state); err != nil {
		d.t.Fatal(err)
	}
}

func mustParse(t fatal, text string) *site.Site {
	t.Helper()
	s, err := site.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

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

// raw is a raw record; written is its time of writing, after noon.
type raw struct {
	offset  int64
	host    string
	text    string
	written time.Duration
	headers []broker.Header
}

func (d *driver) step(r raw) []broker.Message {
	d.t.Helper()
	rec := &broker.Record{
		Offset: r.offset, TimeMs: noon.Add(r.written).UnixMilli(), Key: []byte(r.host), Value: []byte(r.text), Headers: r.headers,
	}
	var out fold.Outbox
	if err := d.m.Step(rec, &out); err != nil {
		d.t.Fatal(err)
	}
	sent := make([]broker.Message, len(out.Messages))
	for i, m := range out.Messages {
		sent[i] = m
		sent[i].Key, sent[i].Value = bytes.Clone(m.Key), bytes.Clone(m.Value)
	}
	for _, b := range [][]byte{rec.Key, rec.Value} {
		for i := range b {
			b[i] = 0xaa
		}
	}
	d.sent = append(d.sent, sent...)
	return sent
}

// lines returns how many lines were counted under a kind.
func (d *driver) lines(kind string) (n int64) {
	d.t.Helper()
	var all metricdata.ResourceMetrics
	if err := d.reader.Collect(context.Background(), &all); err != nil {
		d.t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			data, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "carom.ingest.lines" {
				continue
			}
			for _, p := range data.DataPoints {
				if v, _ := p.Attributes.Value("kind"); v.AsString() == kind {
					n += p.Value
				}
			}
		}
	}
	return n
}

// output is what was sent, taken apart: every message once, clocks as if sent to one partition.
type output struct {
	events []*schema.DeliveryEvent
	clocks []*schema.HostClock
	dead   []*schema.DeadLetter
	places []*schema.RawPosition // of events and clocks, in the order of sending
}

func take(t fatal, sent []broker.Message) (o output) {
	t.Helper()
	told := int32(0)
	for _, m := range sent {
		if m.Topic == schema.TopicDeadLetter {
			d := &schema.DeadLetter{}
			if err := d.UnmarshalVT(m.Value); err != nil {
				t.Fatal(err)
			}
			o.dead = append(o.dead, d)
			continue
		}
		var env schema.Envelope
		if err := env.UnmarshalVT(m.Value); err != nil || m.Topic != schema.TopicEvents {
			t.Fatalf("message for %s: %v", m.Topic, err)
		}
		switch k := env.Kind.(type) {
		case *schema.Envelope_Event:
			ev := &schema.DeliveryEvent{}
			if err := ev.UnmarshalVT(k.Event); err != nil {
				t.Fatal(err)
			}
			if want := broker.PartitionOf(ev.RecipientKey, 3); m.Partition != want || !bytes.Equal(m.Key, ev.RecipientKey) {
				t.Fatalf("event of %s in partition %d under key %q, want %d", ev.RecipientKey, m.Partition, m.Key, want)
			}
			o.events = append(o.events, ev)
			o.places = append(o.places, ev.Raw)
		case *schema.Envelope_Clock:
			if m.Partition != told || m.Key != nil {
				t.Fatalf("clock for partition %d under key %q, want partition %d", m.Partition, m.Key, told)
			}
			if told = (told + 1) % 3; told == 0 {
				o.clocks = append(o.clocks, k.Clock)
				o.places = append(o.places, k.Clock.Raw)
			}
		default:
			t.Fatalf("sent a %T", k)
		}
	}
	if told != 0 {
		t.Fatalf("a clock went to %d of 3 partitions", told)
	}
	return o
}

func stamp(after time.Duration) string {
	return noon.Add(after).Format("2006-01-02T15:04:05.000000Z07:00")
}

// delivery is the line of a delivery attempt, some time after noon.
func delivery(after time.Duration, host, queueID, to, status string) string {
	return fmt.Sprintf("%s %s postfix/smtp[9]: %s: to=<%s>, relay=mx.x.example[192.0.2.7]:25, delay=1, delays=0/0/0.5/0.5, dsn=2.0.0, status=%s",
		stamp(after), host, queueID, to, status)
}

const sent = "sent (250 2.0.0 ok)"

// sample returns the real log that pipeline/mtalog keeps, as raw records of a few lines.
func sample(t testing.TB) (lines []string) {
	t.Helper()
	f, err := os.Open("../mtalog/testdata/postfix/mail.iso.log.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
