package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"carom.dev/carom/schema"
)

// regexpMatcher asks one Go regexp after the other: the definition of a right answer.
type regexpMatcher []*regexp.Regexp

func compileRegexps(patterns []string) (matcher, error) {
	m := make(regexpMatcher, len(patterns))
	for i, p := range patterns {
		re, err := regexp.Compile(`(?s)` + p)
		if err != nil {
			return nil, fmt.Errorf("pattern %d: %w", i, err)
		}
		m[i] = re
	}
	return m, nil
}

func (m regexpMatcher) Match(subject []byte) int {
	for i, re := range m {
		if re.Match(subject) {
			return i
		}
	}
	return -1
}

// The automaton that serves gives the verdict of the plain regexp loop, over every sample and every corpus text.
func TestAutomatonEqualsRegexps(t *testing.T) {
	set := mustLoad(t)
	oracle, problems := load(os.DirFS("data"), compileRegexps)
	if oracle == nil {
		t.Fatal(problems)
	}
	for i, in := range answers(t) {
		var have, want schema.Verdict
		set.Classify(&in, &have)
		oracle.Classify(&in, &want)
		if !proto.Equal(&have, &want) {
			t.Fatalf("answer %d, %q:\n automaton %v\n regexps   %v", i, in.Text, &have, &want)
		}
	}
}

// One Set serves any number of goroutines.
func TestClassifyIsConcurrent(t *testing.T) {
	set, err := Load() // a fresh one, which still learns
	if err != nil {
		t.Fatal(err)
	}
	all := answers(t)
	want := make([]string, len(all))
	for i := range all {
		var v schema.Verdict
		mustLoad(t).Classify(&all[i], &v)
		want[i] = v.Class + v.Rule + v.Template
	}
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			var v schema.Verdict
			for n := range all {
				i := (n + g*len(all)/4) % len(all)
				set.Classify(&all[i], &v)
				if have := v.Class + v.Rule + v.Template; have != want[i] {
					t.Errorf("answer %d: %s, want %s", i, have, want[i])
				}
			}
		})
	}
	group.Wait()
}

// answers are the samples of all rules and, where present, the corpus.
func answers(tb testing.TB) []Input {
	tb.Helper()
	var all []Input
	for _, r := range mustLoad(tb).rules {
		for _, s := range append(r.positive, r.negative...) {
			all = append(all, Input{Outcome: schema.Outcome_BOUNCED, Text: s.text, Phase: s.phase, Provider: r.provider})
		}
	}
	if len(all) < 500 {
		tb.Fatalf("only %d samples", len(all))
	}
	for _, file := range corpusFiles {
		if _, err := os.Stat(filepath.Join(corpusDir, file)); err != nil {
			continue
		}
		for _, l := range corpus(tb, file) {
			all = append(all, *l.input())
		}
	}
	return all
}

func BenchmarkClassify(b *testing.B) {
	set := mustLoad(b)
	all := answers(b)
	var v schema.Verdict
	var bytes int
	for range 3 {
		for i := range all {
			set.Classify(&all[i], &v)
		}
	}
	for i := range all {
		bytes += len(all[i].Text)
	}
	b.SetBytes(int64(bytes / len(all)))
	b.ReportAllocs()
	i := 0
	before := cpuTime(b)
	for b.Loop() {
		set.Classify(&all[i], &v)
		if i++; i == len(all) {
			i = 0
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") // wall time lies on a shared machine
}

// cpuTime returns the CPU time of the process in nanoseconds.
func cpuTime(tb testing.TB) int64 {
	tb.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		tb.Fatal(err)
	}
	return r.Utime.Nano() + r.Stime.Nano()
}

func BenchmarkClassifyDelivery(b *testing.B) {
	set := mustLoad(b)
	in := Input{Outcome: schema.Outcome_DELIVERED, RemoteHost: "mx01.mail.icloud.com", Domain: "icloud.com", Text: "250 2.0.0 Ok: queued as 4F3A"}
	var v schema.Verdict
	b.ReportAllocs()
	for b.Loop() {
		set.Classify(&in, &v)
	}
}
