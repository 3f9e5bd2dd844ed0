package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseWritesEventsAndNothingElse(t *testing.T) {
	code, out, errs := carom(t, "", "parse", postfixLog)
	if code != 0 || errs != "" {
		t.Fatalf("status %d, err %q", code, errs)
	}
	outcomes := map[string]int{}
	for line := range strings.Lines(out) {
		var ev struct {
			Outcome string
			Raw     struct{ Topic string }
		}
		if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Raw.Topic != postfixLog {
			t.Fatalf("%v: %s", err, line)
		}
		outcomes[ev.Outcome]++
	}
	// As many as the servers that answered recorded (truth.jsonl.gz): of each recipient one end.
	if outcomes["bounced"] != 44 || outcomes["expired"] != 27 {
		t.Errorf("outcomes %v", outcomes)
	}
}

func TestParseCountsWhatBecameOfTheLines(t *testing.T) {
	text := sentLine + "garbage \x1b[31m\n" + "Nov 21 08:28:20 mx1 postfix/qmgr[2]: 4D40BA28CB1: removed\n"
	code, out, errs := carom(t, text, "parse", "--stats", "-year", "2026")
	if code != 0 || strings.Count(out, "\n") != 1 {
		t.Errorf("status %d, out %q", code, out)
	}
	for _, want := range []string{"lines 3 = event 1 + known 1 + unparsed 1; events 1\n", "unparsed  -        -       frame", "unparsed (frame): garbage ·[31m\n"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
}

func TestParseTakesTheYearFromTheFileUnlessTold(t *testing.T) {
	path := write(t, "mail.log", sentLine)
	old := time.Date(2019, 1, 5, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		flags []string
		want  string
	}{
		{nil, "2018-11-21T08:28:19.000000Z"},
		{[]string{"-year", "2021"}, "2021-11-21T08:28:19.000000Z"},
		{[]string{"-reference", "2022-01-01"}, "2021-11-21T08:28:19.000000Z"},
		{[]string{"-reference", "2022-12-01T00:00:00Z"}, "2022-11-21T08:28:19.000000Z"},
		{[]string{"-year", "2021", "-timezone", "Europe/Berlin"}, "2021-11-21T07:28:19.000000Z"},
	} {
		code, out, errs := carom(t, "", append(append([]string{"parse"}, tc.flags...), path)...)
		if code != 0 || !strings.Contains(out, `"occurred_at":"`+tc.want+`"`) {
			t.Errorf("%v: status %d\n%s%s", tc.flags, code, out, errs)
		}
	}
}

func TestParseReadsStandardInputAndSeveralFiles(t *testing.T) {
	for _, args := range [][]string{{"parse", "-year", "2026"}, {"parse", "-year", "2026", "-"}} {
		if code, out, errs := carom(t, sentLine, args...); code != 0 || !strings.Contains(out, `"raw":{"topic":"-","partition":0,"offset":0}`) {
			t.Errorf("%v: status %d\n%s%s", args, code, out, errs)
		}
	}
	// The message begins in one file and ends in the next.
	first := write(t, "1", "Nov 21 08:28:18 mx1 postfix/qmgr[2]: 4D40BA28CB1: from=<>, size=1, nrcpt=1 (queue active)\n")
	if code, out, errs := carom(t, sentLine, "parse", "-year", "2026", first, "-"); code != 0 || !strings.Contains(out, `"sender":""`) {
		t.Errorf("status %d\n%s%s", code, out, errs)
	}
}

func TestParseRefusesWhatIsNoMailLog(t *testing.T) {
	path := write(t, "access.log", strings.Repeat("192.0.2.1 - - [21/Nov/2026:08:43:00 +0000] \"GET / HTTP/1.1\" 200 12\n", 3))
	code, out, errs := carom(t, "", "parse", path)
	if code != 1 || out != "" || !strings.Contains(errs, "no line of a known mail server found in 3 lines") {
		t.Errorf("status %d, out %q, err %q", code, out, errs)
	}
	if code, _, errs = carom(t, "", "parse", "-format", "postfix", path); code != 0 {
		t.Errorf("told to: status %d, err %q", code, errs)
	}
}

// A damaged file is an error, after the events that could be read.
func TestParseTellsOfADamagedFile(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(strings.Repeat(sentLine, 1000))); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	path := write(t, "mail.log.gz", b.String()) // no end
	code, out, errs := carom(t, "", "parse", "-year", "2026", path)
	if code != 1 || strings.Count(out, "\n") != 1000 || !strings.Contains(errs, "unexpected EOF") || !strings.Contains(errs, path) {
		t.Errorf("status %d, %d events, err %q", code, strings.Count(out, "\n"), errs)
	}
}
