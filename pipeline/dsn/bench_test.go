package dsn

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// benchmark parses the mails in turn and reports how many of them a second of one processor reads, garbage collection included.
func benchmark(b *testing.B, all [][]byte) {
	size := 0
	for _, mail := range all {
		size += len(mail)
	}
	b.ReportAllocs()
	b.SetBytes(int64(size / len(all)))
	i := 0
	started := cpuTime(b)
	for b.Loop() {
		if _, err := Parse(all[i], Limits{}); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(all) {
			i = 0
		}
	}
	b.ReportMetric(float64(b.N)/(cpuTime(b)-started).Seconds(), "mails/cpu-s")
}

// stored are the mails of testdata, in order.
func stored(b *testing.B) (all [][]byte) {
	b.Helper()
	for _, pattern := range []string{"testdata/mails/*.eml", "testdata/shapes/*.eml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			b.Fatalf("%s: %d mails, %v", pattern, len(names), err)
		}
		for _, name := range names {
			mail, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, mail)
		}
	}
	return all
}

// BenchmarkParseSamples parses what six real mail servers sent back, each as often as it was there, and all of it with the mails of testdata
// in between.
func BenchmarkParseSamples(b *testing.B) {
	var mix [][]byte
	for _, mta := range []string{"postfix", "exim", "sendmail", "opensmtpd", "haraka", "dma"} {
		all := mails(b, filepath.Join(samplesDir, mta, "dsn.tar.gz"))
		names := make([]string, 0, len(all))
		for name := range all {
			names = append(names, name)
		}
		slices.Sort(names)
		var list [][]byte
		for _, name := range names {
			list = append(list, all[name])
		}
		mix = append(mix, list...)
		b.Run(mta, func(b *testing.B) { benchmark(b, list) })
	}
	b.Run("mix", func(b *testing.B) { benchmark(b, append(mix, stored(b)...)) })
}

// BenchmarkParseKinds needs nothing beside the project: the mails of testdata by what they are and how they say it.
func BenchmarkParseKinds(b *testing.B) {
	groups := map[string][][]byte{}
	for _, mail := range stored(b) {
		r, err := Parse(mail, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		name := string(r.Kind)
		if r.Kind == Failure || r.Kind == Delay {
			if name += "-in-words"; r.Format == "rfc3464" {
				name = string(r.Kind) + "-in-fields"
			}
		}
		groups[name] = append(groups[name], mail)
	}
	names := make([]string, 0, len(groups))
	for name := range groups {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) { benchmark(b, groups[name]) })
	}
	b.Run("all", func(b *testing.B) { benchmark(b, stored(b)) })
}
