package automaton

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"testing"
)

// testingT is what *testing.T, *testing.B and *rapid.T share.
type testingT interface {
	Helper()
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

// firstMatch is the oracle: the patterns, one after the other, through the standard library.
func firstMatch(patterns []*regexp.Regexp, text []byte) int {
	for i, re := range patterns {
		if re.Match(text) {
			return i
		}
	}
	return -1
}

func compileBoth(t testingT, patterns []string, opt Options) (*Set, []*regexp.Regexp) {
	t.Helper()
	set, err := Compile(patterns, opt)
	if err != nil {
		t.Fatalf("Compile(%q): %v", patterns, err)
	}
	oracle := make([]*regexp.Regexp, len(patterns))
	for i, p := range patterns {
		oracle[i] = regexp.MustCompile(p)
	}
	return set, oracle
}

func checkAgrees(t testingT, set *Set, oracle []*regexp.Regexp, text string) {
	t.Helper()
	want := firstMatch(oracle, []byte(text))
	// Twice: once while learning, once on what was learned.
	for _, pass := range []string{"cold", "warm"} {
		if got := set.Match([]byte(text)); got != want {
			t.Errorf("%s: patterns %q, text %q: got %d, want %d", pass, oracle, text, got, want)
		}
	}
	if got := set.MatchString(text); got != want {
		t.Errorf("MatchString: patterns %q, text %q: got %d, want %d", oracle, text, got, want)
	}
}

func TestFirstPatternThatMatchesWins(t *testing.T) {
	check := func(name string, patterns []string, texts map[string]int) {
		t.Run(name, func(t *testing.T) {
			set, oracle := compileBoth(t, patterns, Options{})
			for text, want := range texts {
				checkAgrees(t, set, oracle, text)
				if got := set.MatchString(text); got != want {
					t.Errorf("%q: got %d, want %d", text, got, want)
				}
			}
		})
	}
	check("no patterns", nil, map[string]int{"": -1, "a": -1})
	check("empty pattern", []string{"a", "", "b"}, map[string]int{"": 1, "b": 1, "xa": 0})
	check("order, not position", []string{"late", "early"}, map[string]int{"early late": 0, "early": 1, "neither": -1})
	check("order, not length", []string{"ab", "abc"}, map[string]int{"xabc": 0})
	check("same pattern twice", []string{"x", "x"}, map[string]int{"x": 0})
	check("anchors", []string{"^a$", `\Ab`, `c\z`, "^$"}, map[string]int{"a": 0, "ba": 1, "ac": 2, "": 3, "xa": -1, "a\n": -1})
	check("lines", []string{"(?m)^b$", "(?m)c$"}, map[string]int{"a\nb\nc": 0, "ab\nc\n": 1, "b": 0, "bc": 1, "ab\n": -1})
	check("words", []string{`\bno\b`, `\Bno\b`, "no"}, map[string]int{"no": 0, "a no!": 0, "piano": 1, "nope": 2, "éno": 0, "no\xff": 0})
	check("assertions in odd places", []string{`\b^a`, `$\bx`, `b$\b`, `$^`}, map[string]int{"a": 0, "ba": -1, "b": 2, "": 3, "x": -1})
	check("dot", []string{"a.b", "(?s)a.c"}, map[string]int{"axb": 0, "a\nb": -1, "a\nc": 1, "a€b": 0, "a\xffb": 0, "a\xe2\x82b": -1})
	check("repeats", []string{"^a{2,3}$", "^(ab){2,}$", "^x?y+?$"}, map[string]int{"aa": 0, "aaaa": -1, "ababab": 1, "yy": 2, "xy": 2})
	check("folding", []string{"(?i)kiss", "(?i)ÄPFEL", "(?i)[a-c]+ß"}, map[string]int{"\u212ai\u017fS": 0, "äpfel": 1, "ABCẞ": 2, "apfel": -1})
	check("classes beyond ASCII", []string{"[à-ÿ]{2}", "^[^é]$", `\p{Cyrillic}+`}, map[string]int{"éè": 0, "é": -1, "e": 1, "€": 1, "\xc3": 1, "прочь": 2})
	check("invalid bytes are U+FFFD", []string{`^\x{FFFD}$`, `^\x{FFFD}{2}$`, `^\x{FFFD}{3}a$`}, map[string]int{
		"\xff": 0, "\ufffd": 0, "\xe2\x82": 1, "\xed\xa0\x80a": 2, "\xf0\x9f\x98a": 2, "\xc0\x80": 1, "\xe2\x82\xac": -1,
	})
	check("SMTP replies", []string{
		`(?i)^5\d\d[ -].*\buser unknown\b`, `(?i)mailbox (?:is )?full|over quota`, `^4`, `(?i)unknown`,
	}, map[string]int{
		"550 5.1.1 User unknown": 0, "550 mailbox is full; user unknown": 0, "452 4.2.2 Over Quota": 1, "421 try later": 2,
		"550 superuser unknown": 3, "250 ok": -1,
	})
}

func TestCompileRefuses(t *testing.T) {
	check := func(name string, patterns []string, index int, says string) {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(patterns, Options{})
			var refused *PatternError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a *PatternError", err)
			}
			if refused.Index != index || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), fmt.Sprintf("pattern %d ", index)) {
				t.Errorf("got %v, want pattern %d and %q", err, index, says)
			}
		})
	}
	large := strings.Repeat("[ab]{1000}", 8)
	check("syntax", []string{"a", "b", "(c"}, 2, "missing closing )")
	check("what only Perl can do", []string{`(?=a)`}, 0, "invalid or unsupported")
	check("repeats beyond the syntax", []string{"a", "(?:a{1000}){1000}"}, 1, "invalid repeat count")
	check("invalid UTF-8", []string{"\xff"}, 0, "invalid UTF-8")
	check("one large pattern", []string{large + large}, 0, "too large")
	check("many large patterns", slices.Repeat([]string{large}, 100), 65, "in a set")
	check("too many patterns", make([]string, maxPatterns+1), maxPatterns, "more than")

	var cause *syntax.Error
	if _, err := Compile([]string{"["}, Options{}); !errors.As(err, &cause) {
		t.Errorf("got %v, want a wrapped *syntax.Error", err)
	}
}

// Patterns that make backtracking or eager subset construction explode are answered, within the bound.
func TestPathologicalPatternsStayBounded(t *testing.T) {
	const bound = 256 << 10
	patterns := []string{`^(a|a)*b$`, `(x+x+)+y`, `^(([a-z])+.)+[A-Z]([a-z])+$`, `q.{1000}z`, `(a?){500}a{500}c`, `[ab]*a[ab]{12}!`}
	set, oracle := compileBoth(t, patterns, Options{MaxTableBytes: bound})
	texts := []string{
		strings.Repeat("a", 2000), strings.Repeat("a", 2000) + "b", strings.Repeat("x", 2000), strings.Repeat("q", 1500) + "z",
		strings.Repeat("abbabaaabb", 200) + "!", strings.Repeat("a", 600) + "c",
	}
	for _, text := range texts {
		checkAgrees(t, set, oracle, text)
		if got := set.Stats().TableBytes; got > bound*5/4 {
			t.Errorf("table of %d bytes, bound is %d", got, bound)
		}
	}
	if set.Stats().Flushes == 0 {
		t.Error("the bound was never reached: the test does not test it")
	}
}

func TestSmallTableGivesTheSameAnswers(t *testing.T) {
	c := newReplyCorpus(40)
	want := c.answers()
	for _, bound := range []int{1, 10 << 10, 50 << 10, 200 << 10} {
		set := c.compile(t, bound)
		for pass := range 2 {
			for i, text := range c.texts {
				if got := set.Match(text); got != want[i] {
					t.Fatalf("bound %d, pass %d, %q: got %d, want %d", bound, pass, text, got, want[i])
				}
				if got := set.Stats().TableBytes; bound >= 50<<10 && got > bound*5/4 {
					t.Fatalf("bound %d: table of %d bytes", bound, got)
				}
			}
		}
		if set.Stats().Flushes == 0 {
			t.Errorf("bound %d: no flush", bound)
		}
	}
}

// A table of a quarter of the size must not fall off a cliff: what was learned before a flush is still in use.
func TestQuarterOfTheTableStillHoldsAllTransitions(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of learning")
	}
	c := newReplyCorpus(2000)
	full := c.compile(t, 0)
	full.Warm(c.texts)
	small := c.compile(t, full.Stats().TableBytes/4)
	small.Warm(c.texts)
	before := small.Stats()
	if before.Flushes == 0 {
		t.Error("the bound was never reached")
	}
	for i, text := range c.texts {
		if got, want := small.Match(text), full.Match(text); got != want {
			t.Errorf("text %d: got %d, want %d", i, got, want)
		}
	}
	if missed := small.Stats().Misses - before.Misses; missed != 0 {
		t.Errorf("%d misses on warm texts", missed)
	}
}

func TestWarmTextsNeedNoAllocation(t *testing.T) {
	c := newReplyCorpus(200)
	set := c.compile(t, 0)
	set.Warm(c.texts)
	before := set.Stats()
	i := 0
	if n := testing.AllocsPerRun(len(c.texts)*2, func() {
		set.Match(c.texts[i%len(c.texts)])
		i++
	}); n != 0 {
		t.Errorf("%v allocations a text", n)
	}
	if after := set.Stats(); after != before {
		t.Errorf("stats were %+v, are %+v", before, after)
	}
}

func TestStatsCountWhatWasLearned(t *testing.T) {
	set, _ := compileBoth(t, []string{"abc", "[0-4]"}, Options{})
	if got := set.Stats(); got.Misses != 0 || got.Flushes != 0 || got.States != 1 || got.TableBytes == 0 {
		t.Errorf("before the first text: %+v", got)
	}
	set.MatchString("xab") // three bytes and the end of the text
	got := set.Stats()
	if got.Misses != 4 || got.States != 3 {
		t.Errorf("after one text: %+v", got)
	}
	set.MatchString("xab")
	if again := set.Stats(); again != got {
		t.Errorf("the same text again: %+v, was %+v", again, got)
	}
	// a, b, c, 0-4, other ASCII, and bytes of UTF-8: three kinds of continuation, leads of two bytes, E0, ED, other
	// leads of three, F0, F4, other leads of four, and bytes in no encoding.
	if got.Classes != 5+11 {
		t.Errorf("%d classes", got.Classes)
	}
}

// Nothing is read, or learned, once no pattern can still win.
func TestDecidedTextIsNotReadToItsEnd(t *testing.T) {
	check := func(name string, patterns []string, text string, want int, misses uint64) {
		set, oracle := compileBoth(t, patterns, Options{})
		checkAgrees(t, set, oracle, text)
		if got := set.Stats().Misses; set.MatchString(text) != want || got != misses {
			t.Errorf("%s: %d misses, want %d", name, got, misses)
		}
	}
	check("first pattern has matched", []string{"b", "x.*y", "z"}, "ab-xaazb", 0, 2)
	check("anchored patterns have failed", []string{"^ab", `^ac`}, "adefghi", -1, 2)
	check("only worse patterns are left", []string{"^ab", "d", "z"}, "adefghi", 1, 2)
}

// A state that outgrows its row leaves entries behind that lead to the old one. Texts on such paths find their way back
// to where no lock is needed.
func TestTextsComeBackFromAbandonedRows(t *testing.T) {
	c := newReplyCorpus(20)
	set := c.compile(t, 0)
	for range 10 {
		for _, text := range c.texts {
			set.Match(text)
		}
	}
	for _, text := range c.texts {
		v := set.published.Load()
		if at, i := set.walk(v, text); at>>symbolBits > v.decided {
			t.Errorf("%q needs the lock at byte %d", text, i)
		}
	}
}

// Many readers learn and flush at once; each must get the answer for its own text. Meant for -race.
func TestConcurrentUse(t *testing.T) {
	c := newReplyCorpus(60)
	want := c.answers()
	for _, bound := range []int{0, 100 << 10} {
		set := c.compile(t, bound)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for k := range 2 * len(c.texts) {
					i := (k*(2*worker+1) + 71*worker) % len(c.texts)
					if got := set.Match(c.texts[i]); got != want[i] {
						t.Errorf("bound %d, %q: got %d, want %d", bound, c.texts[i], got, want[i])
					}
					if k%50 == worker {
						set.Warm(c.texts[:3])
						set.Stats()
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestReplyCorpusAgreesWithRegexp(t *testing.T) {
	c := newReplyCorpus(300)
	want := c.answers()
	set := c.compile(t, 0)
	set.Warm(c.fresh) // so that the texts meet a table that others made
	matched := 0
	for i, text := range c.texts {
		if got := set.Match(text); got != want[i] {
			t.Errorf("%q: got %d, want %d", text, got, want[i])
		}
		if want[i] >= 0 {
			matched++
		}
	}
	if matched < len(want)/2 {
		t.Errorf("%d of %d match: the corpus is no test", matched, len(want))
	}
}
