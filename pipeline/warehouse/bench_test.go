package warehouse_test

import (
	"fmt"
	"syscall"
	"testing"

	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// The server works on the same cores, so the wall time says little: cpu-ns/row is what this process spent.
func benchmarkRows(b *testing.B, rows int, insert func() error) {
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := insert(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N*rows), "cpu-ns/row")
}

func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

const benchRows = 50_000

func BenchmarkInsertFailures(b *testing.B) {
	db := open(b)
	rows := failures(0, benchRows)
	benchmarkRows(b, len(rows), func() error { return db.InsertFailures(b.Context(), rows, "") })
}

func BenchmarkInsertCells(b *testing.B) {
	db := open(b)
	rows := make([]warehouse.CellRow, benchRows)
	for i := range rows {
		c := delivered(minute+int64(i/500), fmt.Sprintf("provider%d", i%20), int64(i), 3)
		c.SourceIp = fmt.Sprintf("192.0.2.%d", i%25)
		rows[i] = warehouse.CellRow{Cell: c, Version: int64(i)}
	}
	benchmarkRows(b, len(rows), func() error { return db.InsertCells(b.Context(), 0, rows) })
}

func BenchmarkInsertDecisions(b *testing.B) {
	db := open(b)
	rows := make([]*schema.Decision, benchRows)
	for i := range rows {
		rows[i] = &schema.Decision{
			Id: fmt.Sprintf("d%d", i), RecipientKey: fmt.Appendf(nil, "user%d@example.org", i), Scope: "*", State: schema.RecipientState_STATE_SUPPRESSED,
			DecidedUs: epoch.UnixMicro(), Class: "recipient.unknown", Provider: "apple", Reason: "two hard answers", Policy: "p1", EventIds: []string{"e1", "e2"}, RuleIds: []string{"r1"}, Version: int64(i),
		}
	}
	benchmarkRows(b, len(rows), func() error { return db.InsertDecisions(b.Context(), rows) })
}
