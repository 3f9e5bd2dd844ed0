package main

import (
	"encoding/json"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/survey"
)

func TestExplainShowsLayersRuleAndReasons(t *testing.T) {
	code, out, errs := carom(t, "", "explain", "-mx", "mx01.mail.icloud.com", "-phase", "rcpt", "550 5.1.1", "<jane@example.com>: inactive email address")
	if code != 0 || errs != "" {
		t.Fatalf("status %d, err %q", code, errs)
	}
	for _, want := range []string{"recipient.inactive", "provider    apple", "phase rcpt", "=>  provider (apple)", "enhanced.unknown", "retry ", "suppress    windowed", "source "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours without a terminal")
	}
}

func TestExplainTakesCodesFromFlagsAndTextFromStandardInput(t *testing.T) {
	code, out, _ := carom(t, "no words that anybody knows\n", "explain", "-json", "-code", "452", "-enhanced", "4.2.2", "-domain", "gmail.com", "-")
	var e survey.Explanation
	if err := json.Unmarshal([]byte(out), &e); code != 0 || err != nil {
		t.Fatalf("status %d, %v: %s", code, err, out)
	}
	if e.Class != "mailbox.full" || e.Confidence != "enhanced" || e.Provider != "google" || !strings.HasPrefix(e.Subject, "452 4.2.2 ") {
		t.Errorf("%s", out)
	}
}
