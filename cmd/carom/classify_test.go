package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestClassifyAnswersTheContract(t *testing.T) {
	code, out, errs := carom(t, `{"id":"x","kind":"response","smtp_code":"452","enhanced":"4.2.2","text":"452 4.2.2 mailbox full","provider_hint":null,"mail":null}`+"\n", "classify")
	if code != 0 || errs != "" {
		t.Fatalf("status %d, err %q", code, errs)
	}
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "class", "permanence", "scope", "origin", "phase", "provider", "retry", "suppress", "rule", "ruleset", "confidence"} {
		if _, ok := v[name]; !ok {
			t.Errorf("no %s in %s", name, out)
		}
	}
	if len(v) != 12 || v["id"] != "x" || v["class"] != "mailbox.full" || v["suppress"] != "windowed" || v["rule"] == "" {
		t.Errorf("%s", out)
	}
}

// Nothing is lost in silence: the others go on, the line is named, and the status says that something was wrong.
func TestClassifyEndsWithOneAfterBadLines(t *testing.T) {
	code, out, errs := carom(t, "{\"id\":\"1\",\"text\":\"452 full\"}\n{]\n{\"id\":\"3\",\"kind\":\"dsn\",\"mail\":\"UmV0\"}\n", "classify")
	if code != 1 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `{"id":"3","class":"undetermined"`) {
		t.Errorf("status %d, out %s", code, out)
	}
	for _, want := range []string{"carom classify: -: line 2: ", "1 malformed lines got no verdict", "1 lines of kind dsn are undetermined"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in %q", want, errs)
		}
	}
}

func TestClassifyReadsWhatParseWrites(t *testing.T) {
	_, events, _ := carom(t, "", "parse", postfixLog)
	code, out, errs := carom(t, events, "classify")
	if code != 0 || errs != "" || strings.Count(out, "\n") != strings.Count(events, "\n") {
		t.Fatalf("status %d, %d verdicts for %d events, err %q", code, strings.Count(out, "\n"), strings.Count(events, "\n"), errs)
	}
	if !strings.Contains(out, `"class":"queue.expired"`) || !strings.Contains(out, `"cause_class":"remote.rate_limited"`) {
		t.Error("no expiry with its cause")
	}
}
