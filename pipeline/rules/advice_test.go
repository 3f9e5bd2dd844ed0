package rules

import (
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// Every class has advice, and every class that Apple's rules give has Apple's own.
func TestAdviceCoversEveryClass(t *testing.T) {
	set := mustLoad(t)
	for _, c := range Classes() {
		if a := set.Advice(c.Slug, "other"); a.Class != c.Slug || a.Provider != "" || a.Cause == "" || len(a.Do) == 0 || a.Owner == "" || a.Retry == "" {
			t.Errorf("%s: %+v", c.Slug, a)
		}
	}
	for _, r := range set.rules {
		if r.provider != "apple" {
			continue
		}
		if a := set.Advice(r.class.Slug, "apple"); a.Provider != "apple" || a.Source == "" {
			t.Errorf("%s, class %s: no advice of Apple's own", r.id, r.class.Slug)
		}
	}
	if a := set.Advice("no.class", "apple"); a.Class != "" {
		t.Errorf("advice for no class: %+v", a)
	}
}

// Advice that could not be shown, or not be found, is refused with the line.
func TestParseAdviceRefuses(t *testing.T) {
	entry := "[mailbox.full]\ncause: c\ndo: d\nowner: sender\nretry: r\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown class":    {"[mailbox.empty]\n", "advice.txt:1: want [class]"},
		"unknown provider": {"[mailbox.full nobody]\n", `unknown provider "nobody"`},
		"an alias":         {"[mailbox.full gmail]\n", `unknown provider "gmail"`},
		"unknown key":      {"[mailbox.full]\ncolour: red\n", `advice.txt:2: unknown key "colour"`},
		"unknown owner":    {"[mailbox.full]\nowner: nobody\n", `owner "nobody"`},
		"twice":            {entry + entry + "[mailbox.full]\n", "second advice for mailbox.full"},
		"two causes":       {"[mailbox.full]\ncause: c\ncause: d\n", "second cause"},
		"incomplete":       {"[mailbox.full]\ncause: c\n[undetermined]\n", "lacks"},
		"before a class":   {"cause: c\n", "behind a [class]"},
		"no source":        {strings.Replace(entry, "full]", "full apple]", 1), "no source"},
		"a class missing":  {entry, "nothing about"},
	} {
		if _, err := parseAdvice(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Explain gives the advice for the provider that answered, and behind an expiry for its cause.
func TestExplainAdvises(t *testing.T) {
	set := mustLoad(t)
	full := Input{Outcome: schema.Outcome_BOUNCED, Domain: "icloud.com", Text: "552 5.2.2 <u@icloud.com>: user is over quota"}
	if a := set.Explain(&full).Advice; a.Class != "mailbox.full" || a.Provider != "apple" {
		t.Errorf("%+v", a)
	}
	expired := Input{Outcome: schema.Outcome_EXPIRED, Domain: "example.net", Cause: &Input{Outcome: schema.Outcome_DEFERRED, Text: "452 4.2.2 mailbox full"}}
	if a := set.Explain(&expired).Advice; a.Class != "mailbox.full" || a.Provider != "" {
		t.Errorf("%+v", a)
	}
}
