package dsn

import (
	"path/filepath"
	"testing"
)

// BenchmarkParseSamples parses what six real mail servers sent back, each as often as it was there.
func BenchmarkParseSamples(b *testing.B) {
	for _, mta := range []string{"all", "postfix", "exim", "sendmail", "opensmtpd", "haraka", "dma"} {
		b.Run(mta, func(b *testing.B) {
			list := []string{mta}
			if mta == "all" {
				list = []string{"postfix", "exim", "sendmail", "opensmtpd", "haraka", "dma"}
			}
			var all [][]byte
			size := 0
			for _, name := range list {
				for _, mail := range mails(b, filepath.Join(samplesDir, name, "dsn.tar.gz")) {
					all = append(all, mail)
					size += len(mail)
				}
			}
			benchmark(b, all, size)
		})
	}
}

// BenchmarkParseFixtures needs nothing beside the project: one mail of each kind, most of them without machine-readable parts.
func BenchmarkParseFixtures(b *testing.B) {
	var all [][]byte
	size := 0
	for _, mail := range fixtures(b) {
		all = append(all, mail)
		size += len(mail)
	}
	benchmark(b, all, size)
}

// benchmark parses the mails in turn and reports how many of them a second of one processor reads.
func benchmark(b *testing.B, all [][]byte, size int) {
	b.ReportAllocs()
	b.SetBytes(int64(size / len(all)))
	i := 0
	started := cpuTime(b)
	defer func() { b.ReportMetric(float64(b.N)/(cpuTime(b)-started).Seconds(), "mails/cpu-s") }()
	for b.Loop() {
		if _, err := Parse(all[i], Limits{}); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(all) {
			i = 0
		}
	}
}
