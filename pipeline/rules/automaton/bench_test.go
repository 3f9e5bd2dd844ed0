package automaton

import (
	"syscall"
	"testing"
	"time"
)

// processTime is the CPU time of the process so far: unlike the clock it does not depend on who else is running.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// classLoop loads a table once a byte, each load independent of the one before: the least that can be done to every
// byte. No automaton can be as fast.
func classLoop(classes *[256]uint16, text []byte) int {
	n := 0
	for _, c := range text {
		n += int(classes[c])
	}
	return n
}

// chainLoop loads a table of 512 entries once a byte, each load at a place that depends on the one before: the least
// that an automaton can do to every byte.
func chainLoop(next *[512]uint16, text []byte) int {
	s := uint16(0)
	for _, c := range text {
		s = next[(s+uint16(c))%512]
	}
	return int(s)
}

// cpuPerText calls match with all texts, several times, and returns the CPU time of a call in ns.
func cpuPerText(b *testing.B, rounds int, texts [][]byte, match func([]byte) int) float64 {
	before, sum := processTime(b), 0
	for range rounds {
		for _, text := range texts {
			sum += match(text)
		}
	}
	if sum == -1<<62 {
		b.Fatal("keeps the calls alive")
	}
	return float64((processTime(b) - before).Nanoseconds()) / float64(rounds*len(texts))
}

// BenchmarkAgainstLimits measures a warm Set, one with a quarter of the table it asks for, the two limits and the loop
// over regexps in turns, so that they suffer alike from what else the machine does. Times are CPU time per text.
func BenchmarkAgainstLimits(b *testing.B) {
	c := newReplyCorpus(2000)
	full := c.compile(b, 0)
	full.Warm(c.texts)
	quarter := c.compile(b, full.Stats().TableBytes/4)
	quarter.Warm(c.texts)
	oracle := c.oracle()
	var chain [512]uint16
	for i := range chain {
		chain[i] = uint16(i*7) % 256
	}
	var class, dependent, warm, small, loop float64
	n := 0
	for b.Loop() {
		class += cpuPerText(b, 20, c.texts, func(text []byte) int { return classLoop(&full.symbols, text) })
		dependent += cpuPerText(b, 20, c.texts, func(text []byte) int { return chainLoop(&chain, text) })
		warm += cpuPerText(b, 20, c.texts, full.Match)
		small += cpuPerText(b, 20, c.texts, quarter.Match)
		loop += cpuPerText(b, 1, c.texts[:100], func(text []byte) int { return firstMatch(oracle, text) })
		n++
	}
	b.ReportMetric(class/float64(n), "class-ns/text")
	b.ReportMetric(dependent/float64(n), "chain-ns/text")
	b.ReportMetric(warm/float64(n), "match-ns/text")
	b.ReportMetric(small/float64(n), "quarter-ns/text")
	b.ReportMetric(loop/float64(n), "regexp-ns/text")
	b.ReportMetric(warm/class, "x-class")
	b.ReportMetric(warm/dependent, "x-chain")
	b.ReportMetric(small/warm, "x-quarter")
	b.ReportMetric(loop/warm, "x-regexp")
	b.Logf("%d patterns, %d texts of %d B on average, %+v", len(c.patterns), len(c.texts), c.bytes/len(c.texts), full.Stats())
}

func BenchmarkMatch(b *testing.B) {
	c := newReplyCorpus(2000)
	set := c.compile(b, 0)
	set.Warm(c.texts)
	b.ReportAllocs()
	b.SetBytes(int64(c.bytes / len(c.texts)))
	i := 0
	for b.Loop() {
		set.Match(c.texts[i])
		if i++; i == len(c.texts) {
			i = 0
		}
	}
}

// BenchmarkAnchored is the case of an early end: nothing can match after the first bytes.
func BenchmarkAnchored(b *testing.B) {
	c := newReplyCorpus(200)
	set, err := Compile([]string{`^550 `, `^(?:421|45\d)[ -]`, `(?i)^host mx`}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	set.Warm(c.texts)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		set.Match(c.texts[i])
		if i++; i == len(c.texts) {
			i = 0
		}
	}
}

// BenchmarkLearn is the cost of texts on a Set that has seen none, and then of as many more from the same templates.
func BenchmarkLearn(b *testing.B) {
	c := newReplyCorpus(2000)
	var cold, fresh float64
	var misses uint64
	n := 0
	for b.Loop() {
		set := c.compile(b, 0)
		cold += cpuPerText(b, 1, c.texts, set.Match)
		set.Warm(nil)
		before := set.Stats().Misses
		fresh += cpuPerText(b, 1, c.fresh, set.Match)
		misses += set.Stats().Misses - before
		n++
	}
	b.ReportMetric(cold/float64(n), "cold-ns/text")
	b.ReportMetric(fresh/float64(n), "fresh-ns/text")
	b.ReportMetric(float64(misses)/float64(n*len(c.fresh)), "fresh-misses/text")
}

func BenchmarkCompile(b *testing.B) {
	c := newReplyCorpus(1)
	for b.Loop() {
		c.compile(b, 0)
	}
}
