package rules

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// judged is a line of the tables under testdata: an answer, and the classes that a reading of its words allows.
type judged struct {
	classes []string
	in      Input
	at      string
}

func readJudged(t *testing.T, file string) []judged {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	known := map[string]bool{}
	for _, c := range Classes() {
		known[c.Slug] = true
	}
	var all []judged
	scanner := bufio.NewScanner(f)
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.SplitN(line, " ", 4)
		if len(parts) != 4 {
			t.Fatalf("%s:%d: want class, phase, provider and reply", file, n)
		}
		j := judged{classes: strings.Split(parts[0], ","), at: fmt.Sprintf("%s:%d", file, n)}
		for _, c := range j.classes {
			if !known[c] {
				t.Fatalf("%s: no class %q", j.at, c)
			}
		}
		j.in = Input{Outcome: schema.Outcome_BOUNCED, Origin: schema.Origin_REMOTE_REPLY, Text: parts[3]}
		if parts[1] != "-" {
			phase, ok := schema.PhaseByName(parts[1])
			if !ok {
				t.Fatalf("%s: no phase %q", j.at, parts[1])
			}
			j.in.Phase = phase
		}
		if parts[2] != "-" {
			j.in.Provider = parts[2]
		}
		all = append(all, j)
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// What a server says about content, policy, reputation, rate, sender or itself is never enough to suppress a recipient,
// however many words it shares with "user unknown".
func TestOtherRefusalsAreNeverCandidates(t *testing.T) {
	set := mustLoad(t)
	all := readJudged(t, "not-hard.txt")
	if len(all) < 150 {
		t.Fatalf("only %d answers", len(all))
	}
	for _, j := range all {
		// The words decide: neither a missing phase nor a permanent code may make a candidate of them.
		for _, phase := range []schema.Phase{j.in.Phase, schema.Phase_PHASE_UNSPECIFIED, schema.Phase_RCPT} {
			in := j.in
			in.Phase = phase
			var v schema.Verdict
			set.Classify(&in, &v)
			if v.Suppress == candidate {
				t.Errorf("%s in phase %s: %s by %s is a candidate: %s", j.at, phase.Name(), v.Class, v.Rule, in.Text)
			}
		}
		var v schema.Verdict
		set.Classify(&j.in, &v)
		if !slices.Contains(j.classes, v.Class) {
			t.Errorf("%s: have %s by %s, want %v: %s", j.at, v.Class, v.Rule, j.classes, j.in.Text)
		}
	}
}

// What says for good that there is no such recipient is a candidate, in the wording of every server and several languages.
func TestFinalWordsAboutTheRecipientAreCandidates(t *testing.T) {
	set := mustLoad(t)
	all := readJudged(t, "hard.txt")
	if len(all) < 100 {
		t.Fatalf("only %d answers", len(all))
	}
	for _, j := range all {
		var v schema.Verdict
		set.Classify(&j.in, &v)
		if v.Suppress != candidate || !slices.Contains(j.classes, v.Class) {
			t.Errorf("%s: have %s, %s by %s, want %v: %s", j.at, v.Class, v.Suppress.Name(), v.Rule, j.classes, j.in.Text)
		}
	}
}

// Before RCPT the server knows no recipient: its words cannot be about one, whatever they are.
func TestNoCandidateBeforeTheRecipientIsNamed(t *testing.T) {
	set := mustLoad(t)
	for _, phase := range []schema.Phase{
		schema.Phase_CONNECT, schema.Phase_BANNER, schema.Phase_EHLO, schema.Phase_TLS, schema.Phase_AUTH, schema.Phase_MAIL,
	} {
		for _, from := range []string{"apple", "google", "other"} {
			in := Input{Outcome: schema.Outcome_BOUNCED, Origin: schema.Origin_REMOTE_REPLY, Phase: phase, Provider: from, Text: "550 5.1.1 user does not exist"}
			var v schema.Verdict
			if set.Classify(&in, &v); v.Suppress != never {
				t.Errorf("phase %s, %s: %s, %s by %s", phase.Name(), from, v.Class, v.Suppress.Name(), v.Rule)
			}
		}
	}
}

// What servers, filters and providers are publicly known to say gets the class that a reading of it gives.
func TestKnownReplies(t *testing.T) {
	set := mustLoad(t)
	all := readJudged(t, "replies.txt")
	if len(all) < 200 {
		t.Fatalf("only %d answers", len(all))
	}
	for _, j := range all {
		var v schema.Verdict
		set.Classify(&j.in, &v)
		if !slices.Contains(j.classes, v.Class) {
			t.Errorf("%s: have %s by %s, want %v: %s", j.at, v.Class, v.Rule, j.classes, j.in.Text)
		}
	}
}

// A sample of a rule that is not about unknown or closed recipients is no candidate at any other provider either.
func TestSamplesOfOtherRulesAreNeverCandidates(t *testing.T) {
	set := mustLoad(t)
	for _, r := range set.rules {
		if r.class.Suppress == candidate || r.layer == LayerEnhanced || r.layer == LayerCode {
			continue
		}
		if r.id == "apple.inactive" { // closed for good anywhere else
			continue
		}
		for _, from := range []string{"other", "apple", "google", "microsoft", "yahoo", "comcast", "charter", "cox", "godaddy", "tencent"} {
			for _, p := range r.positive {
				in := Input{Outcome: schema.Outcome_BOUNCED, Origin: schema.Origin_REMOTE_REPLY, Text: p.text, Phase: p.phase, Provider: from}
				var v schema.Verdict
				if set.Classify(&in, &v); v.Suppress == candidate {
					t.Errorf("%s, said by %s: %s by %s: %s", r.id, from, v.Class, v.Rule, p.text)
				}
			}
		}
	}
}
