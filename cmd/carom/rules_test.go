package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/service"
)

// caromRules runs "carom rules ARGS".
func caromRules(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = service.Exit(&errs, "carom rules", runRules(context.Background(), args, stdio{strings.NewReader(""), &out, &errs}))
	return code, out.String(), errs.String()
}

func ruleDir(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.rules"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const goodRules = "layer: text\nsource: RFC 5321\n[a]\nclass: recipient.unknown\nmatch: gone\n+ 550 gone\n"

func TestRulesLintNamesPlaceRuleAndSample(t *testing.T) {
	code, out, errs := caromRules(t, "lint", ruleDir(t, goodRules+"+ 550 away\n"))
	if code != service.ExitFailure {
		t.Errorf("status %d", code)
	}
	if want := `x.rules:7: a: does not win its sample "550 away"`; !strings.Contains(out, want) {
		t.Errorf("no %q in %q", want, out)
	}
	if !strings.Contains(errs, "1 problems") {
		t.Errorf("standard error: %q", errs)
	}
}

func TestRulesLintAsJSON(t *testing.T) {
	code, out, _ := caromRules(t, "lint", "-json", ruleDir(t, goodRules+"colour: red\n"))
	var l struct {
		Problems []struct {
			File, Rule, Problem string
			Line                int
		}
	}
	if err := json.Unmarshal([]byte(out), &l); code != service.ExitFailure || err != nil || len(l.Problems) != 1 {
		t.Fatalf("status %d, %v: %s", code, err, out)
	}
	if p := l.Problems[0]; p.File != "x.rules" || p.Line != 7 || p.Rule != "a" || !strings.Contains(p.Problem, "colour") {
		t.Errorf("%+v", p)
	}
}

func TestRulesLintCounts(t *testing.T) {
	code, out, errs := caromRules(t, "lint", "-stats")
	if code != service.ExitOK || errs != "" {
		t.Fatalf("status %d, %q", code, errs)
	}
	for _, want := range []string{"LAYER", "apple", "microsoft", "enhanced", "rules without a problem"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	code, out, _ = caromRules(t, "lint", "-stats", "-json", ruleDir(t, goodRules))
	var l struct {
		Rules  int
		Counts []struct{ Layer string }
	}
	if err := json.Unmarshal([]byte(out), &l); code != service.ExitOK || err != nil || l.Rules != 1 || len(l.Counts) != 1 || l.Counts[0].Layer != "text" {
		t.Errorf("status %d, %v: %s", code, err, out)
	}
}

func TestRulesRefusesWhatItCannotDo(t *testing.T) {
	file := filepath.Join(ruleDir(t, goodRules), "x.rules")
	for _, args := range [][]string{{}, {"colour"}, {"lint", "a", "b"}, {"lint", file}, {"lint", "-colour"}} {
		if code, _, errs := caromRules(t, args...); code != service.ExitUsage || errs == "" {
			t.Errorf("%q: status %d, %q", args, code, errs)
		}
	}
	if code, _, errs := caromRules(t, "lint", filepath.Join(t.TempDir(), "none")); code != service.ExitFailure || !strings.Contains(errs, "none") {
		t.Errorf("absent directory: status %d, %q", code, errs)
	}
	if code, out, _ := caromRules(t, "lint", "-help"); code != service.ExitOK || !strings.Contains(out, "-stats") {
		t.Errorf("help: status %d, %q", code, out)
	}
}
