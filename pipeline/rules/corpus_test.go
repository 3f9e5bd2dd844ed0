package rules

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/schema"
)

var showMisses = flag.Bool("misses", false, "log every answer of the corpus that is judged otherwise than its label")

// corpusDir holds labelled answers beside the project; tests that need it are skipped where it is absent.
const corpusDir = "../../../shared/corpus"

type labelled struct {
	ID           string   `json:"id"`
	Kind         string   `json:"kind"`
	SMTPCode     *string  `json:"smtp_code"`
	Enhanced     *string  `json:"enhanced"`
	Text         string   `json:"text"`
	ProviderHint *string  `json:"provider_hint"`
	Label        string   `json:"label"`
	Accept       []string `json:"accept"`
	Coarse       string   `json:"coarse"`
	Scored       bool     `json:"scored"`
	Tier         string   `json:"tier"`
}

// input is what the command line makes of such a line: the code and enhanced code are given, the source is the remote.
func (l *labelled) input() *Input {
	in := &Input{Outcome: schema.Outcome_BOUNCED, Text: l.Text}
	if l.SMTPCode != nil {
		in.Code, _ = code(*l.SMTPCode)
	}
	if l.Enhanced != nil {
		in.Enhanced = *l.Enhanced
	}
	if l.ProviderHint != nil {
		if id, ok := provider.ByName(*l.ProviderHint); ok {
			in.Provider = id
		}
	}
	return in
}

func corpus(tb testing.TB, file string) []labelled {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpusDir, file))
	if os.IsNotExist(err) {
		tb.Skipf("no labelled corpus at %s", corpusDir)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []labelled
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		var l labelled
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		if l.Kind == "response" {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		tb.Fatalf("%s holds no response", file)
	}
	return all
}

var corpusFiles = []string{
	"sisimai-diag.jsonl", "sisimai-rhost.jsonl", "sisimai-reason.jsonl", "sisimai-strings.jsonl", "zone-mta.jsonl",
	"crisp.jsonl", "bounce-trainer.jsonl",
}

// Over real answers with labels set by other people, the engine stays above the floor reached so far. Labels are wider
// or narrower than classes: "lenient" counts every label that the source's own category allows.
func TestCorpusAccuracy(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(corpusDir, "classes.json"))
	if os.IsNotExist(err) {
		t.Skipf("no labelled corpus at %s", corpusDir)
	}
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	if err := json.Unmarshal(text, &labels); err != nil {
		t.Fatal(err)
	}
	for _, c := range Classes() {
		if labels[c.Slug] == "" {
			t.Errorf("class %s has no label", c.Slug)
		}
	}
	hard := []string{"invalid_recipient", "inactive_mailbox", "invalid_domain"}
	set := mustLoad(t)
	var all, allStrict, allLenient, soft, falseHard, falseCandidate int
	for _, file := range corpusFiles {
		var n, strict, lenient int
		for _, l := range corpus(t, file) {
			if !l.Scored {
				continue
			}
			n++
			var v schema.Verdict
			set.Classify(l.input(), &v)
			got := labels[v.Class]
			ok := got == l.Label || slices.Contains(l.Accept, got)
			if got == l.Label {
				strict++
			}
			if ok {
				lenient++
			}
			calledHard := false
			if l.Coarse != "hard" {
				soft++
				if calledHard = slices.Contains(hard, got) && !ok; calledHard {
					falseHard++
				}
				if v.Suppress == schema.Suppress_SUPPRESS_CANDIDATE && !ok {
					falseCandidate++
				}
			}
			if *showMisses && got != l.Label {
				mark := "near"
				if !ok {
					mark = "MISS"
				}
				if calledHard {
					mark = "HARD"
				}
				t.Logf("%s want %s, have %s by %s [%s] %v|%v|%s", mark, l.Label, v.Class, v.Rule, v.Provider, opt(l.SMTPCode), opt(l.Enhanced), l.Text[:min(300, len(l.Text))])
			}
		}
		t.Logf("%-22s %4d answers, strict %5.1f %%, lenient %5.1f %%", file, n, percent(strict, n), percent(lenient, n))
		all, allStrict, allLenient = all+n, allStrict+strict, allLenient+lenient
	}
	t.Logf("%-22s %4d answers, strict %5.1f %%, lenient %5.1f %%; of %d not hard, %.2f %% called hard, %.2f %% candidates for suppression", "all",
		all, percent(allStrict, all), percent(allLenient, all), soft, percent(falseHard, soft), percent(falseCandidate, soft))
	if percent(allLenient, all) < 92 || percent(allStrict, all) < 85 || percent(falseHard, soft) >= 1 {
		t.Error("below the floor: lenient 92 %, strict 85 %, fewer than 1 % of what is not hard called hard")
	}
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(whole) }

func opt(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

var loaded = sync.OnceValues(Load)

func mustLoad(tb testing.TB) *Set {
	tb.Helper()
	s, err := loaded()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
