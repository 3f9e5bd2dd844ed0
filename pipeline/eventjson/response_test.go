package eventjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

func TestParseResponseTakesCodesInEveryForm(t *testing.T) {
	for _, tc := range []struct {
		name, line string
		want       Response
	}{
		{
			"number", `{"id":"a","kind":"response","smtp_code":550,"enhanced":"5.1.1","text":"no","provider_hint":"google","mail":null}`,
			Response{ID: json.RawMessage(`"a"`), Kind: KindResponse, SMTPCode: 550, Enhanced: "5.1.1", Text: "no", ProviderHint: "google"},
		},
		{"string", `{"id":7,"smtp_code":"421","text":"no"}`, Response{ID: json.RawMessage(`7`), Kind: KindResponse, SMTPCode: 421, Text: "no"}},
		{"null", `{"smtp_code":null,"enhanced":null,"text":"no","provider_hint":null}`, Response{Kind: KindResponse, Text: "no"}},
		{"empty", `{"smtp_code":"","text":"no"}`, Response{Kind: KindResponse, Text: "no"}},
		{"zero", `{"smtp_code":0,"text":"no"}`, Response{Kind: KindResponse, Text: "no"}},
		{"code alone", `{"smtp_code":" 550 "}`, Response{Kind: KindResponse, SMTPCode: 550}},
		{"mail", `{"id":"m","kind":"dsn","mail":"UmV0"}`, Response{ID: json.RawMessage(`"m"`), Kind: KindDSN}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseResponse([]byte(tc.line))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("\ngot  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestParseResponseNamesWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		`{"kind":"letter","text":"x"}`:  `kind "letter"`,
		`{"smtp_code":"abc"}`:           "want 200 to 599",
		`{"smtp_code":999,"text":"x"}`:  "want 200 to 599",
		`{"smtp_code":-550,"text":"x"}`: "want 200 to 599",
		`{"smtp_code":55.0,"text":"x"}`: "want 200 to 599",
		`{"id":"1"}`:                    "neither text nor",
		`{"text":7}`:                    "text",
		`not json`:                      "invalid character",
		`null`:                          "neither text nor",
	} {
		if _, err := ParseResponse([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", line, err, want)
		}
	}
}

func TestAppendVerdictWritesTwelveNamesAlways(t *testing.T) {
	v := &schema.Verdict{
		Class: "mailbox.full", Permanence: schema.Permanence_TRANSIENT, Scope: schema.Scope_SCOPE_RECIPIENT, Origin: schema.Origin_REMOTE_REPLY,
		Phase: schema.Phase_RCPT, Provider: "google", Retry: schema.Retry_RETRY_YES, Suppress: schema.Suppress_SUPPRESS_WINDOWED,
		Rule: "r", Ruleset: "s", Confidence: schema.Confidence_CONFIDENCE_TEXT,
	}
	for _, tc := range []struct {
		name string
		id   string
		v    *schema.Verdict
		want string
	}{
		{"full", `"a\u0022"`, v, `{"id":"a\u0022","class":"mailbox.full","permanence":"transient","scope":"recipient","origin":"remote_reply","phase":"rcpt","provider":"google","retry":"yes","suppress":"windowed","rule":"r","ruleset":"s","confidence":"text"}`},
		{"open axes", "", &schema.Verdict{Class: "undetermined"}, `{"id":null,"class":"undetermined","permanence":"unknown","scope":"","origin":"","phase":"","provider":"","retry":"","suppress":"","rule":"","ruleset":"","confidence":""}`},
		{"cause", "{ \"a\" : [1, 2] }", &schema.Verdict{Class: "queue.expired", CauseClass: "dns.timeout"}, `{"id":{"a":[1,2]},"class":"queue.expired","permanence":"unknown","scope":"","origin":"","phase":"","provider":"","retry":"","suppress":"","rule":"","ruleset":"","confidence":"","cause_class":"dns.timeout"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := string(AppendVerdict([]byte("before "), json.RawMessage(tc.id), tc.v))
			if got != "before "+tc.want {
				t.Errorf("\ngot  %s\nwant before %s", got, tc.want)
			}
		})
	}
}
