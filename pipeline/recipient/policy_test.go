package recipient

import (
	"errors"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

func TestDefaultPolicyParses(t *testing.T) {
	p, err := ParsePolicy(DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	if p.Hard.WaitNotAccepted != time.Hour || p.Hard.WaitAccepted != 24*time.Hour || len(p.Windows) != 4 || len(p.Version) != 12 {
		t.Errorf("unexpected values: %+v", p)
	}
	if again, err := ParsePolicy(DefaultPolicy + "# a remark\n"); err != nil || again.Version == p.Version {
		t.Errorf("another text has the same version %s: %v", p.Version, err)
	}
	if named, err := ParsePolicy("version = v7\n" + DefaultPolicy); err != nil || named.Version != "v7" {
		t.Errorf("version: %v", err)
	}
}

// Every key is needed, and none may be unknown, repeated or contradictory; the error names the line.
func TestPolicyErrorsNameTheLine(t *testing.T) {
	replace := func(old, with string) string {
		if !strings.Contains(DefaultPolicy, old) {
			t.Fatalf("the default policy has no %q", old)
		}
		return strings.Replace(DefaultPolicy, old, with, 1)
	}
	lineOf := func(text, part string) int {
		before, _, _ := strings.Cut(text, part)
		return strings.Count(before, "\n") + 1
	}
	for _, c := range []struct{ name, text, want, at string }{
		{"empty", "", "format is missing", ""},
		{"no equals sign", replace("format = 1", "format 1"), "neither a section nor", "format 1"},
		{"other format", replace("format = 1", "format = 2"), "reads format 1", "format = 2"},
		{"unknown key", replace("format = 1", "format = 1\ncolour = red"), `unknown key "colour"`, "colour"},
		{"unknown key in a section", replace("[limits]", "[limits]\nevents = 3"), `unknown key "events" in section [limits]`, "events = 3\nrecords"},
		{"key without a name", replace("format = 1", "format = 1\n = 3"), "unknown key", " = 3\n"},
		{"unknown section", DefaultPolicy + "[colours]\n", "unknown section", "[colours]"},
		{"section not closed", DefaultPolicy + "[window x\n", "does not end", "[window x"},
		{"section twice", DefaultPolicy + "[limits]\n", "given in line", ""},
		{"window twice", DefaultPolicy + "[window full]\n", "given in line", ""},
		{"section missing", DefaultPolicy[:strings.Index(DefaultPolicy, "[limits]")], "[limits] is missing", ""},
		{"key twice", replace("wait_accepted = 24h", "wait_accepted = 24h\nwait_accepted = 25h"), "given in line", "wait_accepted = 25h"},
		{"key missing", replace("confirm_after = 2h\n", ""), "lacks confirm_after", "[hard]"},
		{"window incomplete", DefaultPolicy + "[window x]\nclasses = a.b\n", "lacks scope", "[window x]"},
		{"no unit", replace("90d", "90"), "not a duration", "= 90\n"},
		{"other unit", replace("90d", "90w"), "not a duration", "90w"},
		{"negative", replace("90d", "-90d"), "not a duration", "-90d"},
		{"fraction", replace("90d", "1.5d"), "not a duration", "1.5d"},
		{"too long", replace("90d", "40000d"), "longer than 100 years", "40000d"},
		{"acceptance beyond memory", replace("accepted_within = 90d", "accepted_within = 150d"), "shorter than 150 days", ""},
		{"suppression of nothing", replace("suppress_for = forever", "suppress_for = 0d"), `write "forever"`, "suppress_for = 0d"},
		{"maximum below the start", replace("suppress_for = 90d", "suppress_for = 900d"), "longer than suppress_max", ""},
		{"forever under a maximum", replace("suppress_max = forever", "suppress_max = 90d"), "longer than suppress_max", ""},
		{"count", replace("events = 5", "events = five"), "whole number from 1 to 8", "events = five"},
		{"count too large", replace("events = 5", "events = 9"), "whole number from 1 to 8", "events = 9"},
		{"no class", replace("classes = mailbox.full", "classes ="), "no class given", "classes =\n"},
		{"class in two groups", replace("classes = mailbox.full", "classes = recipient.moved"), "is in hard and in full", ""},
		{"scope", replace("scope = tenant", "scope = stream"), "not all, tenant or bulk", "scope = stream"},
		{"mode", replace("format = 1", "format = 1\nmode = on"), "neither observe nor enforce", "mode = on"},
		{"version", replace("format = 1", "format = 1\nversion = a b"), "printable", "version = a b"},
		{"size", strings.Repeat("#", maxPolicyBytes+1), "at most", ""},
	} {
		_, err := ParsePolicy(c.text)
		var pe *PolicyError
		if !errors.As(err, &pe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
			continue
		}
		if c.at != "" && pe.Line != lineOf(c.text, c.at) {
			t.Errorf("%s: line %d, want %d", c.name, pe.Line, lineOf(c.text, c.at))
		}
	}
}

func TestSuppressionDoublesToItsMaximum(t *testing.T) {
	p, err := ParsePolicy(DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	const day = int64(dayUs)
	for class, want := range map[string][]int64{
		"mailbox.full":       {30 * day, 60 * day, 90 * day, 90 * day},
		"recipient.inactive": {90 * day, 180 * day, 180 * day},
		"recipient.unknown":  {0, 0},
	} {
		for level, d := range want {
			if got := p.suppression(p.class(class), uint8(level)); got != d {
				t.Errorf("%s, level %d: %d days", class, level, got/day)
			}
		}
	}
	p.Windows[0].SuppressMax = Forever
	if got := p.suppression(p.class("mailbox.full"), maxLevel); got <= 0 {
		t.Errorf("doubling without a maximum overflows: %d", got)
	}
}

// What the classifier calls no evidence, or evidence about a domain, is in no group; nor is a class that no group names.
func TestOnlyNamedClassesCount(t *testing.T) {
	p, err := ParsePolicy(DefaultPolicy)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		class string
		s     schema.Suppress
		want  group
	}{
		{"recipient.unknown", schema.Suppress_SUPPRESS_CANDIDATE, groupHard},
		{"recipient.unknown", schema.Suppress_SUPPRESS_WINDOWED, groupDoubtful},
		{"recipient.unknown", schema.Suppress_SUPPRESS_NEVER, groupNone},
		{"recipient.unknown", schema.Suppress_SUPPRESS_DOMAIN, groupNone},
		{"recipient.unknown", schema.Suppress_SUPPRESS_UNSPECIFIED, groupNone},
		{"mailbox.full", schema.Suppress_SUPPRESS_CANDIDATE, groupWindows},
		{"undetermined", schema.Suppress_SUPPRESS_CANDIDATE, groupNone},
		{"", schema.Suppress_SUPPRESS_WINDOWED, groupNone},
	} {
		if got := p.groupOf(c.class, c.s); got != c.want {
			t.Errorf("%s %s: group %d, want %d", c.class, c.s.Name(), got, c.want)
		}
	}
}
