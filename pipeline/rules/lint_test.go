package rules

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"carom.dev/carom/schema"
)

// The embedded set has no problem.
func TestEmbeddedRulesAreClean(t *testing.T) {
	for _, p := range Lint(os.DirFS("data")) {
		t.Error(p.Error())
	}
}

const goodHead = "layer: text\nsource: RFC 5321\n"

// Every way to write a rule wrong is refused, with the place and the reason.
func TestLintRefuses(t *testing.T) {
	rule := goodHead + "[a]\nclass: recipient.unknown\n"
	for name, c := range map[string]struct{ text, want string }{
		"no file":                   {"", "no *.rules file"},
		"unknown key":               {rule + "match: gone\ncolour: red\n+ 550 gone\n", `x.rules:6: a: unknown key "colour"`},
		"unknown key in the head":   {"colour: red\n" + rule + "match: gone\n+ 550 gone\n", `unknown key "colour" in the file's head`},
		"unknown class":             {goodHead + "[a]\nclass: recipient.gone\nmatch: gone\n+ 550 gone\n", `class "recipient.gone" is not in the taxonomy`},
		"no class":                  {goodHead + "[a]\nmatch: gone\n+ 550 gone\n", "a: no class"},
		"no source":                 {"layer: text\n[a]\nclass: recipient.unknown\nmatch: gone\n+ 550 gone\n", "no source"},
		"no sample":                 {rule + "match: gone\n", "no positive sample"},
		"no pattern":                {rule + "+ 550 gone\n", "no pattern"},
		"unmatchable":               {rule + "match: gone away\n+ 550 gone\n", "no rule of its layer does"},
		"capitals":                  {rule + "match: Gone\n+ 550 Gone\n", "lower case"},
		"bad pattern":               {rule + "match: (gone\n+ 550 gone\n", "missing closing"},
		"anchor inside":             {rule + "match: gone|^away\n+ 550 gone\n", "^ is allowed at the very start only"},
		"negative sample won":       {rule + "match: gone\n+ 550 gone\n- 550 long gone\n", "wins its negative sample"},
		"shadowed":                  {rule + "match: gone\n+ 550 gone\n[b]\nclass: mailbox.full\nmatch: long gone\n+ 550 long gone\n", "b: does not win its sample \"550 long gone\": rule a stands before it"},
		"same id":                   {rule + "match: gone\n+ 550 gone\n[a]\nclass: mailbox.full\nmatch: full\n+ 550 full\n", "id a is taken"},
		"same pattern":              {rule + "match: gone\nmatch: full\n+ 550 gone\n[b]\nclass: mailbox.full\nmatch: full\n+ 550 full\n", "same pattern as rule a"},
		"unknown condition":         {rule + "when: friday\nmatch: gone\n+ 550 gone\n", `unknown condition "friday"`},
		"condition never true":      {rule + "when: 4xx\nmatch: gone\n+ 550 gone\n", "does not win its sample"},
		"unknown layer":             {"layer: rumour\n", `unknown layer "rumour"`},
		"no layer":                  {"source: RFC 5321\n[a]\n", "before the file's layer"},
		"provider without layer":    {"layer: text\nprovider: apple\n[a]\n", "only there"},
		"layer without provider":    {"layer: provider\n[a]\n", "only there"},
		"bad override":              {rule + "retry: maybe\nmatch: gone\n+ 550 gone\n", `retry "maybe"`},
		"code rule with pattern":    {"layer: code\nsource: RFC 5321\n[a]\nclass: mailbox.full\nwhen: 552\nmatch: full\n+ 552 full\n", "has conditions and no pattern"},
		"not a line of the format":  {goodHead + "hello\n", "want key: value"},
		"large file":                {goodHead + strings.Repeat("# x\n", maxFileBytes/4), "bytes, at most"},
		"large pattern":             {rule + "match: " + strings.Repeat("x", maxPatternSize+1) + "\n+ 550 gone\n", "pattern of 1001 bytes"},
		"unknown phase of a sample": {rule + "match: gone\n+ @noon 550 gone\n", `unknown phase "noon"`},
	} {
		fsys := fstest.MapFS{}
		if c.text != "" {
			fsys["x.rules"] = &fstest.MapFile{Data: []byte(c.text)}
		}
		problems := Lint(fsys)
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Error(), c.want)
		}
		if !found {
			t.Errorf("%s: want %q, have %v", name, c.want, problems)
		}
		if _, err := LoadFS(fsys); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: LoadFS gives %v", name, err)
		}
	}
}

// A good file loads; overrides replace what the class says; the version follows the content.
func TestLoadFS(t *testing.T) {
	text := goodHead + "# comment\n[a]\nclass: recipient.unknown\nwhen: 5xx 5.1.x rcpt\nmatch: gone\nmatch: ^away\nscope: domain\nsuppress: never\nretry: later\npermanence: transient\n+ @rcpt 550 5.1.1 gone\n+ @rcpt 550 5.1.9 away\n- @rcpt 550 5.1.9 far away\n- @rcpt 450 5.1.1 gone\n- @eom 550 5.1.1 gone\n- @rcpt 550 5.7.1 gone\n"
	set, err := LoadFS(fstest.MapFS{"x.rules": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	var v schema.Verdict
	set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Text: "550 5.1.1 gone", Phase: schema.Phase_RCPT}, &v)
	if v.Rule != "a" || v.Scope != schema.Scope_SCOPE_DOMAIN || v.Suppress != never || v.Retry != later || v.Permanence != transient {
		t.Errorf("verdict %v", &v)
	}
	again, err := LoadFS(fstest.MapFS{"x.rules": {Data: []byte(text)}})
	if err != nil || again.Version() != set.Version() || len(set.Version()) != 12 {
		t.Errorf("version %q, then %q, %v", set.Version(), again.Version(), err)
	}
	changed, err := LoadFS(fstest.MapFS{"x.rules": {Data: []byte(text + "# more\n")}})
	if err != nil || changed.Version() == set.Version() {
		t.Errorf("another text has version %q, %v", changed.Version(), err)
	}
}

// A slug is unique, and has an act.
func TestTaxonomy(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Classes() {
		if seen[c.Slug] || c.Suppress == 0 {
			t.Errorf("class %+v", c)
		}
		seen[c.Slug] = true
		if c.Suppress == candidate && c.Scope != schema.Scope_SCOPE_RECIPIENT {
			t.Errorf("%s: only recipient scope may be enough alone", c.Slug)
		}
	}
}

// Explain names the deciding rule, its words and source, and what the layers behind it would have said.
func TestExplain(t *testing.T) {
	set := mustLoad(t)
	e := set.Explain(&Input{Outcome: schema.Outcome_BOUNCED, Domain: "icloud.com", Text: "550 5.1.1 <u@icloud.com>: Inactive email address"})
	if e.Verdict.GetClass() != "recipient.inactive" || len(e.Layers) != int(layers) {
		t.Fatalf("%+v", e)
	}
	p := e.Layers[LayerProvider]
	if p.Rule != "apple.inactive" || p.Words != "inactive" || p.Provider != "apple" || p.File != "20-apple.rules" || p.Source == "" || p.Pattern != "inactive" {
		t.Errorf("provider layer: %+v", p)
	}
	if e.Layers[LayerLocal].Asked {
		t.Error("a reply is not asked for in the local layer")
	}
	if have := e.Layers[LayerEnhanced].Class; have != "recipient.unknown" {
		t.Errorf("enhanced layer would have said %q", have)
	}
	if e.Retry == "" || e.Suppress == "" {
		t.Error("no reasons")
	}
}

// Counts says what each layer holds, in the order in which the layers are asked.
func TestCounts(t *testing.T) {
	var sum Count
	var last Count
	for i, c := range mustLoad(t).Counts() {
		if i > 0 && (c.Layer < last.Layer || c.Layer == last.Layer && c.Provider <= last.Provider) {
			t.Errorf("%+v stands behind %+v", c, last)
		}
		if (c.Provider != "") != (c.Layer == LayerProvider) || c.Patterns < c.Rules || c.Samples < c.Rules {
			t.Errorf("%+v", c)
		}
		sum.Rules += c.Rules
		last = c
	}
	if sum.Rules != mustLoad(t).Len() {
		t.Errorf("%d rules counted, %d there", sum.Rules, mustLoad(t).Len())
	}
}

// Every code of IANA's registry of enhanced status codes that a failure can carry is known to the layer, except those
// whose meaning is "other or undefined".
func TestEnhancedRegistryIsCovered(t *testing.T) {
	set := mustLoad(t)
	details := map[int][]int{ // by subject
		1: {0, 1, 2, 3, 4, 6, 7, 8, 9, 10},
		2: {1, 2, 3, 4},
		3: {1, 2, 3, 4, 5},
		4: {1, 2, 3, 4, 5, 6, 7},
		5: {1, 2, 3, 4, 5, 6},
		6: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10},
		7: {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30},
	}
	for subject, all := range details {
		for _, detail := range all {
			for _, class := range []int{4, 5} {
				in := Input{Outcome: schema.Outcome_BOUNCED, Text: fmt.Sprintf("%d50 %d.%d.%d zzz", class, class, subject, detail)}
				var v schema.Verdict
				set.Classify(&in, &v)
				if !strings.HasPrefix(v.Rule, "enhanced.") {
					t.Errorf("%s: %s by %q", in.Text, v.Class, v.Rule)
				}
				if class == 4 && v.Suppress == candidate {
					t.Errorf("%s: a candidate under a temporary code", in.Text)
				}
			}
		}
	}
	for code, want := range map[string]string{
		"5.7.27": "auth.sender_rejected", "5.1.10": "domain.null_mx", "5.7.13": "recipient.disabled", "5.7.17": "recipient.moved",
		"5.7.19": "remote.temp_error", "5.7.12": "auth.smtp_auth", "5.7.26": "auth.unauthenticated", "5.7.25": "auth.ptr",
	} {
		var v schema.Verdict
		set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Text: "550 " + code + " zzz"}, &v)
		if v.Class != want {
			t.Errorf("%s: %s, want %s", code, v.Class, want)
		}
	}
}
