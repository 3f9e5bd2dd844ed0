package feed

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

// checkBody holds what is true of any body: every record is counted once, as events, as noise or as a fault; events can be
// encoded and are no larger than their record allows; the same body gives the same; the body is not changed.
func checkBody(t *testing.T, format string, body []byte) {
	before := bytes.Clone(body)
	run := func() (out []string, res Result) {
		p := New(testConfig(format))
		eventful := map[int]bool{}
		h := Handler{
			Event: func(ev *schema.DeliveryEvent, id string) {
				eventful[p.res.Records] = true
				b, err := proto.Marshal(ev)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) > 6*len(body)+1024 || len(b) > 3*maxText+16*maxString {
					t.Fatalf("%d bytes from %d", len(b), len(body))
				}
				if ev.Recipient == "" || ev.Outcome == 0 || ev.OccurredAtUs <= 0 || ev.Mta != format || ev.EnhancedSource == 0 {
					t.Fatalf("event %v", ev)
				}
				if ev.EnhancedSource == schema.EnhancedSource_ENHANCED_REMOTE && ev.Origin != schema.Origin_REMOTE_REPLY && ev.Origin != schema.Origin_ASYNC_DSN {
					t.Fatalf("a remote's code without its reply: %v", ev)
				}
				if ev.SmtpCode != 0 && (ev.Origin == schema.Origin_ESP || ev.Origin == schema.Origin_LOCAL_MTA) {
					t.Fatalf("a made-up code: %v", ev)
				}
				if open := ev.Outcome == schema.Outcome_DEFERRED || ev.Outcome == schema.Outcome_DELAYED || ev.Outcome == schema.Outcome_SUSPENDED; ev.Final == open {
					t.Fatalf("final %t: %v", ev.Final, ev)
				}
				out = append(out, tell(ev, id))
			},
			Fault: func(err *Error) {
				if err.Reason == reasonNone || err.Offset < 0 || err.Offset > len(body) || !bytes.Contains(body, []byte(err.Value)) {
					t.Fatalf("fault %+v", err)
				}
				out = append(out, err.Error())
			},
		}
		res, err := p.Parse(format, body, h)
		if err != nil {
			out = append(out, err.Error())
		}
		sum := res.Faults + len(eventful)
		for _, n := range res.Noise {
			sum += n
		}
		if sum != res.Records {
			t.Fatalf("%d of %d records are accounted for: %+v", sum, res.Records, res)
		}
		return out, res
	}
	a, resA := run()
	b, resB := run()
	if strings.Join(a, "\n") != strings.Join(b, "\n") || resA != resB {
		t.Fatalf("got\n%q\nthen\n%q", a, b)
	}
	if !bytes.Equal(body, before) {
		t.Fatal("the body was changed")
	}
	Detect(body)
}

func fuzzFormat(f *testing.F, format string) {
	for _, s := range readStories(f, format) {
		f.Add(s.input(format))
	}
	f.Fuzz(func(t *testing.T, body []byte) { checkBody(t, format, body) })
}

func FuzzKumoMTA(f *testing.F)   { fuzzFormat(f, KumoMTA) }
func FuzzSparkPost(f *testing.F) { fuzzFormat(f, SparkPost) }
func FuzzSES(f *testing.F)       { fuzzFormat(f, SES) }
func FuzzSendGrid(f *testing.F)  { fuzzFormat(f, SendGrid) }
func FuzzMailgun(f *testing.F)   { fuzzFormat(f, Mailgun) }
func FuzzPostmark(f *testing.F)  { fuzzFormat(f, Postmark) }

// A PowerMTA file gives the same whether it comes whole or cut between lines, with its state written out at the cut.
func FuzzPowerMTA(f *testing.F) {
	for _, s := range readStories(f, PowerMTA) {
		f.Add(s.input(PowerMTA), uint16(len(s.body)/2))
	}
	f.Fuzz(func(t *testing.T, body []byte, at uint16) {
		checkBody(t, PowerMTA, body)
		cut := bytes.LastIndexByte(body[:min(int(at), len(body))], '\n') + 1
		var whole, parts collector
		if _, err := New(Config{}).Parse(PowerMTA, body, whole.handler()); err != nil {
			return
		}
		c := NewCSV(Config{})
		for _, piece := range [][]byte{body[:cut], body[cut:]} {
			if _, err := c.Parse(piece, parts.handler()); err != nil {
				t.Fatal(err)
			}
			state := c.AppendState(nil)
			c = NewCSV(Config{})
			if err := c.LoadState(state); err != nil {
				t.Fatalf("%v of %q", err, state)
			}
		}
		c.Close(parts.handler())
		if a, b := strings.Join(whole.out, "\n"), strings.Join(parts.out, "\n"); a != b {
			t.Fatalf("whole:\n%s\nin parts:\n%s", a, b)
		}
	})
}

// The reader takes for JSON what encoding/json does, up to its depth, and reads the same strings.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":"b","c":[1,-0.5e+7,true,false,null,{}]}`, `"\u00e9\ud83d\ude00\ud83d x\\\/\b\f\n\r\t\""`, `"` + strings.Repeat("x", 20) + `\u12"`,
		`[01]`, `-`, `[1,]`, `{"a":1,}`, `{"a" 1}`, "\"\x1f\"", "\"long enough \x1f for a word\"", "\"\xff\"", `nul`, `"\ud800\u0041"`, `1.`, `1e`, strings.Repeat("[", 40),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := newReader(s)
		r.skip()
		r.kind()
		got := !r.bad && r.i == len(s)
		if want := json.Valid([]byte(s)); got != want && r.why != ReasonDepth {
			t.Fatalf("valid %t, want %t, of %q", got, want, s)
		}
		if r.i > len(s) || (r.bad && r.why == reasonNone) {
			t.Fatalf("%d of %d, reason %s", r.i, len(s), r.why)
		}
		if got && strings.HasPrefix(strings.TrimSpace(s), `"`) {
			r := newReader(s)
			var want string
			if err := json.Unmarshal([]byte(s), &want); err != nil {
				t.Fatal(err)
			}
			// encoding/json puts one U+FFFD for each bad byte, this one for each run.
			if got := r.str(); got != want && !r.dirty {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	})
}
