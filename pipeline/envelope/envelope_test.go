package envelope

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/schema"
)

// read returns the lines of a value, copied.
func read(t testing.TB, value []byte) ([]Line, *Error) {
	t.Helper()
	var r Reader
	var lines []Line
	before := bytes.Clone(value)
	err := r.Lines(value, func(l Line) {
		l.Text = bytes.Clone(l.Text)
		lines = append(lines, l)
	})
	if !bytes.Equal(before, value) {
		t.Fatal("the value was changed")
	}
	if err == nil {
		return lines, nil
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %T", err)
	}
	return lines, e
}

func texts(lines []Line) []string {
	out := []string{}
	for _, l := range lines {
		out = append(out, string(l.Text))
	}
	return out
}

func compressed(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	header  = "2026-11-21T08:28:15.055321+00:00 mta1 postfix/smtp[314]: "
	message = `4cXyZ12abcz9F: to=<anna@shop.example>, relay=mx.shop.example[192.0.2.7]:25, delay=1.3, delays=0.1/0/0.4/0.8, dsn=5.1.1, status=bounced (host mx.shop.example[192.0.2.7] said: 550 5.1.1 <anna@shop.example>: "anna" unknown\here (in reply to RCPT TO command))`
)

// shipments returns testdata's documents: what each shipper makes of one delivery line.
func shipments(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.*")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	out := map[string][]byte{}
	for _, p := range paths {
		if strings.HasSuffix(p, "README.md") {
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(p)] = b
	}
	return out
}

// A delivery is the same event however its line was carried.
func TestEveryShippersLineGivesTheSameEvent(t *testing.T) {
	arrived := time.Date(2026, 11, 21, 8, 28, 16, 0, time.UTC)
	event := func(t *testing.T, l Line) *schema.DeliveryEvent {
		var got *schema.DeliveryEvent
		res := mtalog.NewCorrelator(mtalog.DefaultConfig()).Line(
			mtalog.Input{Line: l.Text, Host: l.Host, Reference: arrived},
			func(ev *schema.DeliveryEvent) { got = ev })
		if got == nil {
			t.Fatalf("%s %s: %s", res.Kind, res.Reason, l.Text)
		}
		return got
	}
	want := event(t, Line{Text: []byte(header + message)})
	if want.MtaHost != "mta1" || want.Instance != "postfix" || want.Outcome != schema.Outcome_BOUNCED || want.Recipient != "anna@shop.example" {
		t.Fatalf("the plain line: %v", want)
	}
	for name, value := range shipments(t) {
		t.Run(name, func(t *testing.T) {
			for _, wrapped := range [][]byte{
				value, compressed(t, value), append([]byte("\xEF\xBB\xBF"), value...),
				append(append([]byte{'['}, value...), ']'),
			} {
				if wrapped[0] == '[' && value[0] != '{' {
					continue
				}
				lines, err := read(t, wrapped)
				if err != nil || len(lines) != 1 {
					t.Fatalf("%d lines, %v: %q", len(lines), err, texts(lines))
				}
				got := event(t, lines[0])
				if got.MtaHost != want.MtaHost || got.Instance != want.Instance || got.QueueId != want.QueueId ||
					got.Recipient != want.Recipient || got.Text != want.Text || got.Outcome != want.Outcome {
					t.Errorf("got  %v\nwant %v", got, want)
				}
				// A traditional stamp has whole seconds, some shippers keep milliseconds.
				if d := want.OccurredAtUs - got.OccurredAtUs; d < 0 || d > 55_321 {
					t.Errorf("time is off by %d us", d)
				}
				if value[0] == '{' {
					if at := lines[0].Time; at.Before(arrived.Add(-time.Second)) || at.After(arrived.Add(time.Second)) {
						if !strings.HasPrefix(name, "rsyslog-split") {
							t.Errorf("carried at %s", at)
						}
					}
				}
			}
		})
	}
}

func TestLines(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 28, 15, 123456789, time.UTC)
	for _, c := range []struct {
		name, value string
		want        []Line
	}{
		{"nothing", "", nil},
		{"blank lines", "\n\r\n\n", nil},
		{"one line", "a b", []Line{{Text: []byte("a b")}}},
		{"lines", "a\r\nb\n\nc", []Line{{Text: []byte("a")}, {Text: []byte("b")}, {Text: []byte("c")}}},
		{"8-bit text", "a \xe9", []Line{{Text: []byte("a \xe9")}}},
		{"a brace that opens no document", "{abc: 1}\n[12] x\n{", []Line{{Text: []byte("{abc: 1}")}, {Text: []byte("[12] x")}, {Text: []byte("{")}}},
		{"an MTA's own JSON stays a line", "{\"type\":\"Delivery\", \"id\":\"x\"}\n", []Line{{Text: []byte(`{"type":"Delivery", "id":"x"}`), Format: FormatDocument}}},
		{"printed over lines", "{\n \"type\":\"Delivery\"\n}", []Line{{Text: []byte(`{  "type":"Delivery" }`), Format: FormatDocument}}},
		{"an empty message", `{"@timestamp":"x","message":""}`, nil},
		{"a message of lines", `{"message":"a\nb\r\n","host":"h"}`, []Line{{Text: []byte("a"), Host: "h"}, {Text: []byte("b"), Host: "h"}}},
		{"escapes", `{"message":"\u00e9\ud83d\ude00\ud800x\/\t\"\\\u0041"}`, []Line{{Text: []byte("é😀\uFFFDx/\t\"\\A")}}},
		{"broken escapes stay", `{"message":"\q\u12g4"}`, []Line{{Text: []byte(`\q\u12g4`)}}},
		{"names in any case", `{"MeSSage":"a","HOST":"h"}`, []Line{{Text: []byte("a"), Host: "h"}}},
		{"dotted names", `{"message":"a","host.name":"h"}`, []Line{{Text: []byte("a"), Host: "h"}}},
		{
			"documents in a row", `{"message":"a"}{"message":"b"} {"message":"c"},` + "\n" + `{"message":"d"}`,
			[]Line{{Text: []byte("a")}, {Text: []byte("b")}, {Text: []byte("c")}, {Text: []byte("d")}},
		},
		{
			"array of documents and lines", `[{"message":"a"}, "b\nc", {"log":"d"}]`,
			[]Line{{Text: []byte("a")}, {Text: []byte("b")}, {Text: []byte("c")}, {Text: []byte("d")}},
		},
		{"empty array", " [ ] ", nil},
		{"lines and documents", "a\n{\"message\":\"b\"}\nc", []Line{{Text: []byte("a")}, {Text: []byte("b")}, {Text: []byte("c")}}},
		{"bytes", `{"MESSAGE":[97, 32,233]}`, []Line{{Text: []byte("a \xe9")}}},
		{"a field that the journal had twice", `{"MESSAGE":["a","b"]}`, []Line{{Text: []byte("a")}, {Text: []byte("b")}}},
		{"the better of two names counts", `{"log":"a","message":"b","host":{"name":"x","hostname":"h"}}`, []Line{{Text: []byte("b"), Host: "h"}}},
		{"an unusable host does not hide another", `{"message":"a","hostname":"-","host":"h"}`, []Line{{Text: []byte("a"), Host: "h"}}},
		{"seconds", `{"message":"a","@timestamp":1795249695.123456789}`, []Line{{Text: []byte("a"), Time: at}}},
		{"milliseconds", `{"message":"a","timestamp":1795249695123}`, []Line{{Text: []byte("a"), Time: at.Truncate(time.Millisecond)}}},
		{"microseconds", `{"message":"a","timestamp":"1795249695123456"}`, []Line{{Text: []byte("a"), Time: at.Truncate(time.Microsecond)}}},
		{"nanoseconds", `{"message":"a","timestamp":1795249695123456789}`, []Line{{Text: []byte("a"), Time: at}}},
		{"an offset", `{"message":"a","@timestamp":"2026-11-21T10:28:15.123456789+02:00"}`, []Line{{Text: []byte("a"), Time: at}}},
		{"container", "2026-11-21T08:28:15.123456789Z stdout F a b\n", []Line{{Text: []byte("a b"), Time: at}}},
		{
			"container, pieces by stream",
			"2026-11-21T08:28:15.123456789Z stdout P a\n2026-11-21T08:28:16Z stderr F e\n2026-11-21T08:28:17Z stdout P b\n2026-11-21T08:28:18Z stdout F:x c",
			[]Line{{Text: []byte("e"), Time: at.Truncate(time.Second).Add(time.Second)}, {Text: []byte("abc"), Time: at}},
		},
		{"container, the end is missing", "2026-11-21T08:28:15.123456789Z stderr P a", []Line{{Text: []byte("a"), Time: at, Piece: true}}},
		{"container, an empty line", "2026-11-21T08:28:15.123456789Z stdout F ", nil},
		{"no container", "2026-11-21T08:28:15.123456789Z stdout Full a", []Line{{Text: []byte("2026-11-21T08:28:15.123456789Z stdout Full a")}}},
		{"a container's document", `2026-11-21T08:28:15.123456789Z stdout F {"message":"a","host":"h"}`, []Line{{Text: []byte("a"), Host: "h", Time: at}}},
		{
			"a program's own stamp is no header", `{"ident":"exim","pid":"7","host":"h","time":"Nov 21 08:28:19","message":"2026-11-21 08:28:19 x"}`,
			[]Line{{Text: []byte("Nov 21 08:28:19 h exim[7]: 2026-11-21 08:28:19 x"), Host: "h", Format: FormatSyslog}},
		},
		{
			"no time", `{"program":"postfix/qmgr","host":"h","message":"x"}`,
			[]Line{{Text: []byte("<22>1 - h postfix/qmgr - - - x"), Host: "h", Format: FormatSyslog}},
		},
		{
			"no host", `{"program":"postfix/qmgr","pid":7,"date":1795249695.5,"message":"x"}`,
			[]Line{{Text: []byte("2026-11-21T08:28:15.5Z postfix/qmgr[7]: x"), Time: at.Truncate(time.Second).Add(time.Second / 2), Format: FormatSyslog}},
		},
		{
			"a header's parts cannot break it", `{"program":"a b","ident":"c: d","appname":"postfix/smtp","pid":"1]: x","host":"h i","@timestamp":"Nov 21 08:28:19 x y","message":"m\nn"}`,
			[]Line{{Text: []byte("Nov 21 08:28:19 postfix/smtp: m#012n"), Format: FormatSyslog}},
		},
		{"a routing tag is no syslog tag", `{"tag":"mail.postfix","log":"a"}`, []Line{{Text: []byte("a")}}},
		{
			"a program's name beside a whole line", `{"program":"postfix/smtp","log":"Nov 21 08:28:19 h postfix/smtp[7]: x"}{"program":"p","log":"<22>x"}{"program":"p","log":"2026-11-21T08:28:19Z h p: x"}`,
			[]Line{{Text: []byte("Nov 21 08:28:19 h postfix/smtp[7]: x")}, {Text: []byte("<22>x")}, {Text: []byte("2026-11-21T08:28:19Z h p: x")}},
		},
		{"a message with more than a document", `{"message":"{\"log\":\"b\"} x"}`, []Line{{Text: []byte(`{"log":"b"} x`)}}},
		{"a message in brackets", `{"message":"[\"a\"]"}`, []Line{{Text: []byte(`["a"]`)}}},
		{"a message that is cut JSON", `{"message":"{\"log\":\"b"}`, []Line{{Text: []byte(`{"log":"b`)}}},
		{"wrappings inside each other", `{"log":"{\"log\":\"{\\\"log\\\":\\\"{}\\\"}\"}"}`, []Line{{Text: []byte("{}")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := read(t, []byte(c.value))
			if err != nil || !reflect.DeepEqual(lines, c.want) {
				t.Errorf("got  %q %+v, %v\nwant %q %+v", texts(lines), lines, err, texts(c.want), c.want)
			}
		})
	}
}

// What cannot be read is reported with its bytes, and takes nothing else with it.
func TestUnreadable(t *testing.T) {
	deep := strings.Repeat(`{"a":`, MaxDepth)
	long := `{"message":"` + strings.Repeat("x", MaxDocumentBytes) + `"}`
	for _, c := range []struct {
		name, value string
		reason      Reason
		offset      int
		parts       int
		rest        string
		lines       []string
	}{
		{"cut", `{"message":"a`, ReasonSyntax, 0, 1, `{"message":"a`, []string{}},
		{"cut among others", "{\"message\":\"a\"}\n{\"message\":\"b\n{\"message\":\"c\"}\nd", ReasonSyntax, 16, 1, `{"message":"b`, []string{"a", "c", "d"}},
		{"two", "{\"x\"\na\n{\"y\":}\n", ReasonSyntax, 0, 2, "{\"x\"\n{\"y\":}", []string{"a"}},
		{"printed over lines", "{\n  \"message\": \"a\",\n  \"b\"\n}\nc", ReasonSyntax, 0, 1, "{\n  \"message\": \"a\",\n  \"b\"\n}", []string{"c"}},
		{"array", "[{\"message\":\"a\"},{\"message\":x},{\"message\":\"c\"}]\nd", ReasonSyntax, 17, 1, "{\"message\":x},{\"message\":\"c\"}]", []string{"a", "d"}},
		{"a bare newline in a string", "{\"message\":\"a\nb\"}", ReasonSyntax, 0, 1, "{\"message\":\"a", []string{"b\"}"}},
		{"array without a comma", "[{\"message\":\"a\"} {\"message\":\"b\"}]", ReasonSyntax, 17, 1, "{\"message\":\"b\"}]", []string{"a"}},
		{"array of numbers", "[[1],2]", ReasonSyntax, 1, 1, "[1],2]", []string{}},
		{"behind a document", `{"message":"a"} b`, ReasonSyntax, 16, 1, "b", []string{"a"}},
		{"deep", deep + "{}" + strings.Repeat("}", MaxDepth), ReasonDepth, 0, 1, deep + "{}" + strings.Repeat("}", MaxDepth), []string{}},
		{"long", long, ReasonTooLong, 0, 1, long, []string{}},
		{"no message", `{"@timestamp":"2026-11-21T08:28:15Z","host":"h"}` + "\na", ReasonNoMessage, 0, 1, `{"@timestamp":"2026-11-21T08:28:15Z","host":"h"}`, []string{"a"}},
		{"the journal's null", `{"_HOSTNAME":"h","MESSAGE":null}`, ReasonNoMessage, 0, 1, `{"_HOSTNAME":"h","MESSAGE":null}`, []string{}},
		{"no gzip", "\x1f\x8b\x08\x00", ReasonCompression, 0, 1, "\x1f\x8b\x08\x00", []string{}},
		{"Zstandard", "\x28\xb5\x2f\xfdx", ReasonCompression, 0, 1, "\x28\xb5\x2f\xfdx", []string{}},
		{"msgpack", "\x82\xaa@timestamp\xcb", ReasonMsgpack, 0, 1, "\x82\xaa@timestamp\xcb", []string{}},
		{"schema registry", "\x00\x00\x00\x00\x07x", ReasonBinary, 0, 1, "\x00\x00\x00\x00\x07x", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := read(t, []byte(c.value))
			if err == nil {
				t.Fatalf("no error, lines %q", texts(lines))
			}
			if err.Reason != c.reason || err.Offset != c.offset || err.Parts != c.parts || string(err.Rest) != c.rest {
				t.Errorf("%v, rest %.200q", err, err.Rest)
			}
			if got := texts(lines); !reflect.DeepEqual(got, c.lines) {
				t.Errorf("lines %.200q, want %q", got, c.lines)
			}
		})
	}
}

func TestWrappingsAreOpenedToABound(t *testing.T) {
	text := "a"
	var inside string
	for i := range maxLevels + 2 {
		if i == 2 {
			inside = text
		}
		b, err := json.Marshal(map[string]string{"log": text})
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if lines, err := read(t, []byte(text)); err != nil || len(lines) != 1 || string(lines[0].Text) != inside {
		t.Errorf("%q, %v, want %q", texts(lines), err, inside)
	}
}

// A reader gives the same lines whatever it has read before.
func TestReaderKeepsNothing(t *testing.T) {
	var r Reader
	collect := func(value []byte) (out []Line) {
		_ = r.Lines(value, func(l Line) {
			l.Text = bytes.Clone(l.Text)
			out = append(out, l)
		})
		return out
	}
	values := shipments(t)
	values["cut"] = []byte(`{"message":"a`)
	values["gzip"] = compressed(t, []byte("a\nb"))
	values["piece"] = []byte("2026-11-21T08:28:15.123456789Z stdout P a")
	for _, first := range values {
		for name, value := range values {
			collect(first)
			want, _ := read(t, value)
			if got := collect(value); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s after %.60q: %q, want %q", name, first, texts(got), texts(want))
			}
		}
	}
}

func TestPlainLinesCostNoAllocation(t *testing.T) {
	var r Reader
	value := []byte(strings.Repeat(header+message+"\n", 10))
	n := 0
	emit := func(l Line) { n += len(l.Text) }
	if got := testing.AllocsPerRun(100, func() { _ = r.Lines(value, emit) }); got != 0 || n == 0 {
		t.Errorf("%v allocations", got)
	}
}

// Haraka's own records have a message, but what it is about stands beside it: they are lines.
func TestRecordsOfHarakaAreLines(t *testing.T) {
	const record = `{"level":"INFO","uuid":"AB-1","origin":"outbound","message":"delivered file=1 domain=x.example"}`
	for _, value := range []string{record, record + "\n" + record + "\n", `{"log":` + strconv.Quote(record) + `,"hostname":"mta1"}`} {
		var r Reader
		var got []string
		if err := r.Lines([]byte(value), func(l Line) { got = append(got, string(l.Text)) }); err != nil {
			t.Fatal(err)
		}
		if len(got) != strings.Count(value, "outbound") || got[0] != record {
			t.Errorf("%q gives %q", value, got)
		}
	}
}
