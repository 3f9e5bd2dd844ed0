//go:build unix

package mtalog

import (
	"syscall"
	"testing"

	"carom.dev/carom/schema"
)

// BenchmarkFreshLine measures the readers over the fresh logs and the samples, each from its begin to its end. On a machine that others use, too,
// cpu-ns/line tells more than ns/op.
func BenchmarkFreshLine(b *testing.B) {
	for _, s := range append(freshSamples(), samples()...) {
		name := s.folder
		if name == "" {
			name = "sample-" + s.format.String()
		}
		b.Run(name, func(b *testing.B) {
			log := lines(readGzip(b, s.path(s.files[0])))
			in := Input{Host: "carrier", Reference: s.reference()}
			c := NewCorrelator(DefaultConfig())
			sum, n, k := 0, 0, 0
			emit := func(ev *schema.DeliveryEvent) { sum += len(ev.Recipient) }
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				in.Line = log[k]
				c.Line(in, emit)
				n += len(in.Line)
				if k++; k == len(log) {
					k, c = 0, NewCorrelator(DefaultConfig())
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/line")
			b.SetBytes(int64(n / b.N))
			if sum == 0 && b.N > len(log) {
				b.Fatal("nothing was read")
			}
		})
	}
}

// cpuTime returns the nanoseconds that this process has used.
func cpuTime(b *testing.B) int64 {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}
