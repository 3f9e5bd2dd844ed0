package ingest

import (
	"strings"
	"testing"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
)

// BenchmarkIngest folds a real log, 60 lines a record, into encoded events: everything but Kafka.
func BenchmarkIngest(b *testing.B) {
	text := sample(b)
	var records []*broker.Record
	for i := 0; i < len(text); i += 60 {
		records = append(records, &broker.Record{
			Offset: int64(len(records)), TimeMs: noon.UnixMilli(), Key: []byte("mta1"), Value: []byte(strings.Join(text[i:min(i+60, len(text))], "\n")),
		})
	}
	d := newDriver(b)
	d.fresh()
	bytes := 0
	for _, r := range records {
		bytes += len(r.Value)
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	lines := 0
	for b.Loop() {
		b.StopTimer()
		d.fresh() // or all lines but the first round's were repeats
		b.StartTimer()
		var out fold.Outbox // one a batch, as pipeline/fold has it
		for _, r := range records {
			if err := d.m.Step(r, &out); err != nil {
				b.Fatal(err)
			}
		}
		lines += len(text)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}
