package automaton

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var atoms = []string{
	"a", "b", "c", "k", "s", "A", "1", " ", `\n`, ".", "(?s:.)", "[ab]", "[^a]", `[^\n]`, `\d`, `\w`, `\W`, `\s`, "é", "д", "€", "😀", "K",
	"[à-ÿ]", `[^é]`, `\x{FFFD}`, `\pL`, `\PL`, `[\x{80}-\x{10FFFF}]`, `[a-\x{800}]`, `[\x{D000}-\x{F000}]`, "ab", "ba", "",
	"^", "$", `\b`, `\B`, `\A`, `\z`, "(?m:^)", "(?m:$)", `a^b`, `\b^`, `$\b`, "(?i:k)", "(?i:s)", "(?i:é)", "(?i:[a-k])", "(?i:ß)",
}

// drawPattern makes a pattern over a small alphabet, so that patterns and texts meet often.
func drawPattern(t *rapid.T, depth int) string {
	if depth == 0 {
		return rapid.SampledFrom(atoms).Draw(t, "atom")
	}
	sub := func() string { return drawPattern(t, rapid.IntRange(0, depth-1).Draw(t, "depth")) }
	switch rapid.IntRange(0, 7).Draw(t, "shape") {
	case 0:
		return sub() + sub()
	case 1:
		return sub() + sub() + sub()
	case 2:
		return "(" + sub() + "|" + sub() + ")"
	case 3:
		return "(?:" + sub() + ")" + rapid.SampledFrom([]string{"*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{2,}", "{0,2}"}).Draw(t, "repeat")
	case 4:
		return "(?i:" + sub() + ")"
	case 5:
		return "^" + sub()
	case 6:
		return sub() + "$"
	}
	return sub()
}

var pieces = []string{
	"a", "b", "c", "k", "K", "s", "S", "A", "B", "1", " ", "\n", "_", "ab", "é", "É", "д", "€", "😀", "\u212a", "\u017f", "ß", "ẞ", "\ufffd", "\u0800", "\uffff", "\U0010ffff",
	"\xff", "\x80", "\xc3", "\xe2", "\xe2\x82", "\xf0\x9f", "\xf0\x9f\x98", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "\xe0\x80", "\x00",
}

func genText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 10).Draw(t, "pieces"), "")
	})
}

// TestRandomPatternsAgreeWithRegexp is the guarantee of the package. Small bounds make the same texts run through
// flushing and frozen tables.
func TestRandomPatternsAgreeWithRegexp(t *testing.T) {
	pattern := rapid.Custom(func(t *rapid.T) string { return drawPattern(t, 3) })
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(pattern, 0, 6).Draw(t, "patterns")
		texts := rapid.SliceOfN(genText(), 1, 12).Draw(t, "texts")
		bound := rapid.SampledFrom([]int{0, 1, 3000, 6000, 20000}).Draw(t, "bound")
		set, oracle := compileBoth(t, patterns, Options{MaxTableBytes: bound})
		for _, text := range texts {
			checkAgrees(t, set, oracle, text)
		}
	})
}

func FuzzAgreesWithRegexp(f *testing.F) {
	f.Add(`(?i)^5\d\d .*user unknown`, `\bunknown\b`, "550 5.1.1 User Unknown", uint16(0))
	f.Add(`(a|a)*b`, `a.{3}$`, "aaaaaaab\xe2\x82", uint16(1))
	f.Add(`(?i)straße`, `[^k]\pL{2,}`, "STRASSE stra\u1e9ee \u212a\u017f", uint16(5000))
	f.Add(`(?m)^x$`, `\b^|$\b`, "y\nx\ny", uint16(3000))
	f.Fuzz(func(t *testing.T, first, second, text string, bound uint16) {
		if len(first)+len(second) > 200 || len(text) > 500 {
			t.Skip("only slow")
		}
		patterns := []string{first, second}
		for _, p := range patterns {
			if _, err := regexp.Compile(p); err != nil {
				if _, err := Compile(patterns, Options{}); err == nil {
					t.Fatalf("Compile accepts %q, regexp does not", patterns)
				}
				return
			}
		}
		set, err := Compile(patterns, Options{MaxTableBytes: int(bound)})
		if err != nil {
			t.Skip("too large") // a regexp may be; TestCompileRefuses says when
		}
		checkAgrees(t, set, []*regexp.Regexp{regexp.MustCompile(first), regexp.MustCompile(second)}, text)
	})
}
