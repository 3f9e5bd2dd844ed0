package envelope

import (
	"bytes"
	"strings"
	"testing"
)

// BenchmarkEnvelope reads what each shipper makes of one line, 100 of them a value, beside the search for newlines alone.
func BenchmarkEnvelope(b *testing.B) {
	run := func(name string, value []byte, lines func() int) {
		b.Run(name, func(b *testing.B) {
			n := 0
			b.SetBytes(int64(len(value)))
			b.ReportAllocs()
			for b.Loop() {
				n += lines()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/line")
		})
	}
	many := []byte(strings.Repeat(header+message+"\n", 100))
	run("newlines", many, func() (n int) {
		for rest := many; len(rest) > 0; n++ {
			rest = rest[bytes.IndexByte(rest, '\n')+1:]
		}
		return n
	})
	var r Reader
	shipment := func(name string, value []byte) {
		run(name, value, func() (n int) {
			if err := r.Lines(value, func(Line) { n++ }); err != nil {
				b.Fatal(err)
			}
			return n
		})
	}
	shipment("plain", many)
	for name, v := range shipments(b) {
		shipment(name, bytes.Repeat(append(bytes.TrimRight(v, "\n"), '\n'), 100))
	}
	shipment("gzip", compressed(b, many))
	shipment("zstd", zstandard(b, many))
}
