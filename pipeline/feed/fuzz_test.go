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
		p := testParser(t)
		eventful := map[int]bool{}
		h := Handler{
			Event: func(ev *schema.DeliveryEvent) {
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
				switch ev.Outcome {
				case schema.Outcome_COMPLAINT, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED:
					if ev.SmtpCode != 0 || ev.EnhancedCode != "" || ev.Phase != 0 || ev.Origin != 0 || ev.Attempt != 0 || ev.HasDelay || ev.Cause != nil {
						t.Fatalf("more than was told: %v", ev)
					}
				default:
					if ev.Machine {
						t.Fatalf("a machine that read nothing: %v", ev)
					}
				}
				if open := ev.Outcome == schema.Outcome_DEFERRED || ev.Outcome == schema.Outcome_DELAYED || ev.Outcome == schema.Outcome_SUSPENDED; ev.Final == open {
					t.Fatalf("final %t: %v", ev.Final, ev)
				}
				out = append(out, tell(ev))
			},
			Fault: func(err *Error) {
				if (err.Reason == ReasonType) != (err.Type != "") || len(err.Type) > maxType {
					t.Fatalf("type %q with reason %s", err.Type, err.Reason)
				}
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

func FuzzSparkPost(f *testing.F) { fuzzFormat(f, SparkPost) }
func FuzzSES(f *testing.F)       { fuzzFormat(f, SES) }
func FuzzSendGrid(f *testing.F)  { fuzzFormat(f, SendGrid) }
func FuzzMailgun(f *testing.F)   { fuzzFormat(f, Mailgun) }
func FuzzPostmark(f *testing.F)  { fuzzFormat(f, Postmark) }

// pieces cuts a body at the line ends that the bits of at choose, by turns.
func pieces(body []byte, at uint64) (out [][]byte) {
	from, n := 0, 0
	for i, c := range body {
		if c != '\n' {
			continue
		}
		if at>>(n%64)&1 != 0 {
			out = append(out, body[from:i+1])
			from = i + 1
		}
		n++
	}
	return append(out, body[from:])
}

// Lines of KumoMTA's give the same whether they come in one body or in many.
func FuzzKumoMTA(f *testing.F) {
	for _, s := range readStories(f, KumoMTA) {
		f.Add(s.input(KumoMTA), ^uint64(0))
		f.Add(s.input(KumoMTA), uint64(0b0101))
	}
	f.Fuzz(func(t *testing.T, body []byte, at uint64) {
		checkBody(t, KumoMTA, body)
		for line := range bytes.Lines(body) {
			if r := newReader(string(line)); bomLen(r.s) > 0 || r.kind() == '[' {
				return // an array is one value, however many lines it has
			}
		}
		var whole, parts collector
		if _, err := testParser(t).Parse(KumoMTA, body, whole.handler()); err != nil {
			return
		}
		p := testParser(t)
		for _, piece := range pieces(body, at) {
			if _, err := p.Parse(KumoMTA, piece, parts.handler()); err != nil {
				t.Fatal(err)
			}
		}
		if a, b := strings.Join(whole.out, "\n"), strings.Join(parts.out, "\n"); a != b {
			t.Fatalf("whole:\n%s\nin parts:\n%s", a, b)
		}
	})
}

// A PowerMTA file gives the same whether it comes whole or cut between lines, mixed with the rows of another host, with its
// state written out and read back at each cut.
func FuzzPowerMTA(f *testing.F) {
	for _, s := range readStories(f, PowerMTA) {
		f.Add(s.input(PowerMTA), ^uint64(0))
		f.Add(s.input(PowerMTA), uint64(0b0101))
	}
	f.Fuzz(func(t *testing.T, body []byte, at uint64) {
		checkBody(t, PowerMTA, body)
		var whole, parts collector
		p := testParser(t)
		p.SetHost("a")
		if _, err := p.Parse(PowerMTA, body, whole.handler()); err != nil {
			return
		}
		files := NewFiles(testParser(t), DefaultFilesConfig())
		for _, piece := range pieces(body, at) {
			if _, err := files.Parse("a", piece, parts.handler()); err != nil {
				t.Fatal(err)
			}
			if _, err := files.Parse("b", []byte("rcpt,type\nx,\"y"), Handler{}); err != nil {
				t.Fatal(err)
			}
			state := files.AppendState(nil)
			files = NewFiles(testParser(t), DefaultFilesConfig())
			if err := files.LoadState(state); err != nil {
				t.Fatalf("%v of %q", err, state)
			}
		}
		of := parts.handler()
		files.Close(Handler{Event: of.Event, Fault: func(err *Error) {
			if files.p.host == "a" {
				of.Fault(err)
			}
		}})
		if a, b := strings.Join(whole.out, "\n"), strings.Join(parts.out, "\n"); a != b {
			t.Fatalf("whole:\n%s\nin parts:\n%s", a, b)
		}
	})
}

// Whatever states say, they are refused or kept, and a table that took one writes it again.
func FuzzState(f *testing.F) {
	for _, s := range []string{stateVersion + "\x00\x00", filesVersion + "\x01\x01a\x06type\r\n\x02d\n", memoryVersion + "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, table := range []interface {
			LoadState([]byte) error
			AppendState([]byte) []byte
		}{NewCSV(New()), NewFiles(New(), DefaultFilesConfig()), NewMemory(DefaultMemoryConfig())} {
			if table.LoadState(b) != nil {
				continue
			}
			state := table.AppendState(nil)
			if err := table.LoadState(state); err != nil || !bytes.Equal(table.AppendState(nil), state) {
				t.Fatalf("%v: wrote %q for %q", err, state, b)
			}
		}
	})
}

// The reader takes for JSON what encoding/json does, whatever its depth, and reads the same strings.
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
		deep := strings.Count(s, "[")+strings.Count(s, "{") > 10_000 // which encoding/json refuses
		if want := json.Valid([]byte(s)); got != want && !deep {
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
