package survey

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

type verdictLine struct {
	ID                                            any
	Class, Phase, Origin, Provider, Rule, Ruleset string
	Retry, Suppress, Confidence, Permanence       string
	CauseClass                                    string `json:"cause_class"`
}

func judged(t *testing.T, set *rules.Set, text string) (verdicts []verdictLine, malformed []string, complaint error) {
	t.Helper()
	j := NewJudge(set)
	var out bytes.Buffer
	err := j.Lines(t.Context(), strings.NewReader(text), &out, func(line int, err error) { malformed = append(malformed, fmt.Sprintf("%d: %v", line, err)) })
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var v verdictLine
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, malformed, j.Complaint()
}

func TestEveryLineGetsItsVerdictInOrder(t *testing.T) {
	verdicts, malformed, err := judged(t, ownRules(t), strings.Join([]string{
		`{"id":"1","text":"452 4.2.2 user is over quota"}`,
		``,
		`not json`,
		`{"id":2,"kind":"response","smtp_code":"450","text":"busy","provider_hint":"Gmail"}`,
		`{"id":"3","kind":"dsn","mail":"UmV0","provider_hint":"yahoo"}`,
		`{"id":"4","kind":"letter"}`,
		`{"id":"5","text":"words of no rule","provider_hint":"icloud.com"}`,
		`{"event_id":"e.0.1.0","occurred_at":"2026-11-21T00:00:00Z","recipient":"r@gmail.com","outcome":"expired","cause":{"smtp_code":452,"text":"452 4.2.2 over quota","phase":"rcpt"}}`,
		`{"id":"6","text":"452 quota \"event_id","\"event_id":1}`,
		`{"event_id":"e.0.2.0","occurred_at":"2026-11-21T00:00:00Z","recipient":"r@gmail.com","outcome":"gone"}`,
	}, "\n"))
	var got []string
	for _, v := range verdicts {
		got = append(got, fmt.Sprint(v.ID, " ", v.Class, " ", v.Provider, " ", v.CauseClass, " ", v.Rule))
	}
	want := []string{
		"1 mailbox.full other  text.full", "2 remote.temp_error google  code.temporary", "3 undetermined yahoo  ",
		"5 undetermined apple  ", "e.0.1.0 queue.expired google mailbox.full text.full",
		"6 mailbox.full other  text.full",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("\ngot\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(malformed) != 3 || !strings.HasPrefix(malformed[0], "3: ") || !strings.HasPrefix(malformed[1], "6: kind") || !strings.HasPrefix(malformed[2], "10: outcome") {
		t.Errorf("malformed: %q", malformed)
	}
	if err == nil || !strings.Contains(err.Error(), "3 malformed lines") || !strings.Contains(err.Error(), "1 lines of kind dsn") {
		t.Errorf("complaint: %v", err)
	}
	if v := verdicts[2]; v.Confidence != "default" || v.Origin != "async_dsn" || v.Phase != "async" || v.Suppress != "never" || v.Ruleset == "" {
		t.Errorf("of a mail that nobody read: %+v", v)
	}
	if _, _, err := judged(t, ownRules(t), `{"text":"452 full"}`); err != nil {
		t.Errorf("a complaint about nothing: %v", err)
	}
}

// Events that went through JSON are judged as those that did not.
func TestVerdictsSurviveTheJSONOfEvents(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	var want []string
	mustRead(t, NewLog(nil, nil), "mail.log", sample(t, "mail.log.gz"), func(ev *schema.DeliveryEvent) {
		in := EventInput(ev)
		var v schema.Verdict
		set.Classify(&in, &v)
		id, _ := json.Marshal(ev.EventId)
		want = append(want, string(eventjson.AppendVerdict(nil, id, &v)))
		text.Write(append(eventjson.Append(nil, ev), '\n'))
	})
	var out bytes.Buffer
	if err := NewJudge(set).Lines(t.Context(), strings.NewReader(text.String()), &out, func(line int, err error) { t.Errorf("line %d: %v", line, err) }); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d verdicts for %d events", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("\ngot  %s\nwant %s", got[i], want[i])
		}
	}
}

func TestGivenEnhancedCodeIsTheRemotesOwn(t *testing.T) {
	for _, tc := range []struct {
		line string
		want schema.EnhancedSource
	}{
		{`{"enhanced":"5.1.1","text":"no"}`, schema.EnhancedSource_ENHANCED_REMOTE},
		{`{"text":"550 5.1.1 no"}`, schema.EnhancedSource_ENHANCED_SOURCE_UNSPECIFIED},
	} {
		r, err := eventjson.ParseResponse([]byte(tc.line))
		if err != nil {
			t.Fatal(err)
		}
		if in := ResponseInput(&r); in.EnhancedSource != tc.want {
			t.Errorf("%s: %v", tc.line, in.EnhancedSource)
		}
	}
}

func TestLongLinesOfJSON(t *testing.T) {
	long := `{"id":"long","kind":"dsn","mail":"` + strings.Repeat("A", 1<<20) + `"}`
	verdicts, malformed, _ := judged(t, ownRules(t), long+"\n"+`{"id":"after","text":"452 quota"}`)
	if len(verdicts) != 2 || len(malformed) != 0 || verdicts[1].ID != "after" {
		t.Errorf("%d verdicts, malformed %q", len(verdicts), malformed)
	}
	verdicts, malformed, _ = judged(t, ownRules(t), strings.Repeat("x", maxJSONBytes+1)+"\n"+`{"id":"after","text":"452 quota"}`)
	if len(verdicts) != 1 || len(malformed) != 1 || malformed[0] != "1: longer than 64 MB" {
		t.Errorf("%d verdicts, malformed %q", len(verdicts), malformed)
	}
}

func TestExplainNamesTheRuleAndWhatOthersWouldHaveSaid(t *testing.T) {
	e := Explain(ownRules(t), &rules.Input{Outcome: schema.Outcome_BOUNCED, Text: "450 4.2.2 mailbox full", Provider: "google"})
	var decided, code Layer
	for _, l := range e.Layers {
		if l.Decided {
			decided = l
		}
		if l.Layer == "code" {
			code = l
		}
	}
	if decided.Rule != "text.full" || decided.Words != "mailbox full" || decided.Source != "RFC 3463" || e.Rule != decided.Rule || code.Rule != "code.temporary" {
		t.Errorf("%+v", e)
	}
	var b bytes.Buffer
	if err := e.WriteText(&b, Style{Columns: 80}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"text.full, 30-text.rules:4, rule set " + e.Ruleset, `"mailbox full"`, "=>  text ", "remote.temp_error  code.temporary"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
