package main

import (
	"encoding/json"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/survey"
)

func TestTryShowsEverySection(t *testing.T) {
	code, out, errs := carom(t, "", "try", postfixLog)
	if code != 0 || errs != "" {
		t.Fatalf("status %d, err %q", code, errs)
	}
	for _, want := range []string{
		"\n  928 lines: ", "\nOutcomes\n", "\nProviders ", "\nReasons ", "\nFailures without an answer\n", "\nWords that no rule knows: ",
		"\nRecipients lost by a list ", "Such a list drops 71 recipients.",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestTryMasksAddressesUnlessAsked(t *testing.T) {
	const known = "Omar.Wilson" // a recipient of the sample whose message expired
	for _, args := range [][]string{{}, {"-json"}} {
		for _, show := range []bool{false, true} {
			command := append([]string{"try"}, args...)
			if show {
				command = append(command, "-show-addresses")
			}
			_, out, _ := carom(t, "Nov 21 08:28:19 mx1 postfix/smtp[1]: 4D40BA28CB1: to=<"+known+"@example.com>, relay=mx.example.com[192.0.2.1]:25, "+
				"delay=1, delays=0/0/0/1, dsn=5.7.1, status=bounced (host mx.example.com[192.0.2.1] said: 550 5.7.1 blocked, "+known+" (in reply to RCPT TO command))\n", append(command, "-")...)
			if strings.Contains(out, known) != show {
				t.Errorf("%v:\n%s", command, out)
			}
		}
	}
}

func TestTryAsJSON(t *testing.T) {
	code, out, errs := carom(t, "", "try", "-json", postfixLog)
	var r survey.Report
	if err := json.Unmarshal([]byte(out), &r); code != 0 || errs != "" || err != nil {
		t.Fatalf("status %d, err %q, %v", code, errs, err)
	}
	if r.Input.Lines != 928 || r.Naive.Dropped != 71 || len(r.Providers) == 0 || len(r.Codeless) == 0 {
		t.Errorf("%+v", r)
	}
}
