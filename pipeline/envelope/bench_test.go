package envelope

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpu is the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEnvelope reads what each shipper makes of one line, a hundred of them a value, beside the search for newlines
// alone. cpu-ns/line is processor time: other work on the machine hardly changes it.
func BenchmarkEnvelope(b *testing.B) {
	n := 0
	run := func(name string, value []byte, read func()) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			lines, before := n, cpu(b)
			for b.Loop() {
				read()
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(n-lines), "cpu-ns/line")
		})
	}
	many := []byte(strings.Repeat(header+message+"\n", 100))
	run("newlines", many, func() {
		for rest := many; len(rest) > 0; n++ {
			rest = rest[bytes.IndexByte(rest, '\n')+1:]
		}
	})
	var r Reader
	count := func(Line) { n++ }
	shipment := func(name string, value []byte) {
		run(name, value, func() {
			if err := r.Lines(value, count); err != nil {
				b.Fatal(err)
			}
		})
	}
	shipment("plain", many)
	for name, v := range shipments(b) {
		shipment(name, bytes.Repeat(append(bytes.TrimRight(v, "\n"), '\n'), 100))
	}
	shipment("gzip", compressed(b, many))
	shipment("zstd", zstandard(b, many))
}
