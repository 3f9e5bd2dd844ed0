package mtalog

import (
	"bytes"
	"strings"
	"testing"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

// Any line of any format is counted once, an event is bounded by the lines, and whoever goes on from the saved table gets
// the same events as if nothing had happened, at any line.
func FuzzFormatLine(f *testing.F) {
	for _, s := range append(samples(), freshSamples()...) {
		log := lines(readGzip(f, s.path(s.files[0])))
		for i := 0; i < len(log); i += 41 {
			f.Add(byte(s.format), log[i], log[(i*7+5)%len(log)])
		}
	}
	f.Fuzz(func(t *testing.T, format byte, a, b []byte) {
		cfg := Config{MaxEntries: 3, MaxBytes: 8192, TTL: 1e9}
		c := NewCorrelator(cfg)
		c.SetSite(everyFact(t))
		for _, line := range [][]byte{a, b, a, b} {
			before := bytes.Clone(line)
			state := c.AppendState(nil)
			restored := NewCorrelator(cfg)
			restored.SetSite(everyFact(t))
			if err := restored.LoadState(state); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(restored.AppendState(nil), state) || restored.Stats().Bytes != c.Stats().Bytes {
				t.Fatal("the table did not survive")
			}
			in := Input{Line: line, Host: "carrier", Reference: sampleReference, Format: Format(format % byte(numFormats))}
			var events []*schema.DeliveryEvent
			r := c.Line(in, func(ev *schema.DeliveryEvent) {
				events = append(events, proto.Clone(ev).(*schema.DeliveryEvent))
				out, err := proto.Marshal(ev)
				if err != nil {
					t.Fatal(err)
				}
				if len(out) > 9*(2*len(a)+2*len(b))+512 {
					t.Fatalf("%d bytes from %d", len(out), len(a)+len(b))
				}
				if ev.MtaHost == "" || ev.QueueId == "" || ev.Mta == "" || (ev.Final && ev.Outcome == schema.Outcome_DEFERRED) {
					t.Fatalf("event %v", ev)
				}
			})
			if (r.Kind == KindEvent) != (len(events) > 0) {
				t.Fatalf("%s with %d events", r.Kind, len(events))
			}
			if r.Kind == KindUnparsed && r.Reason == ReasonNone {
				t.Fatal("unparsed without a reason")
			}
			if !bytes.Equal(line, before) {
				t.Fatal("the line was changed")
			}
			n := 0
			again := restored.Line(in, func(ev *schema.DeliveryEvent) {
				if n >= len(events) || !proto.Equal(ev, events[n]) {
					t.Fatalf("event %d differs behind a restored table: %v", n, ev)
				}
				n++
			})
			if again != r || n != len(events) || !bytes.Equal(restored.AppendState(nil), c.AppendState(nil)) {
				t.Fatalf("behind a restored table %v and %d events, want %v and %d", again, n, r, len(events))
			}
		}
	})
}

// readBack renders nothing itself: it reads a line and wants exactly one event with these fields.
func readBack(t *testing.T, line, recipient, text string, outcome schema.Outcome) {
	t.Helper()
	n := 0
	c := NewCorrelator(DefaultConfig())
	r := c.Line(Input{Line: []byte(line), Host: "carrier", Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
		n++
		if ev.Recipient != recipient || ev.Text != text || ev.Outcome != outcome {
			t.Fatalf("got %q %q %s, want %q %q %s, of %q", ev.Recipient, ev.Text, ev.Outcome.Name(), recipient, text, outcome.Name(), line)
		}
	})
	if n != 1 {
		t.Fatalf("%d events, %s %s, of %q", n, r.Kind, r.Reason, line)
	}
}

// fuzzed prepares an address and a reply: as the MTAs write them, they hold no control characters.
func fuzzed(local, domain, text string) (recipient, reply string, ok bool) {
	domain = strings.Trim(strings.Map(keepDomain, domain), ":") // within an address literal only
	reply = "550 " + strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\\' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	return external(local) + "@" + domain, strings.TrimRight(reply, " "), domain != "" && len(local)+len(domain)+len(text) < 4096
}

func seed(f *testing.F) {
	f.Add("user", "example.net", "5.1.1 no")
	f.Add("a> defer (-1): x", "x", `y" stat="Ok`)
	f.Add(`q"u\o, delay=`, "x", "x, stat=Sent (x), stat=User unknown")
	f.Add("<x>", "y", ": retry timeout excee")
}

func FuzzEximFailure(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		to, reply, ok := fuzzed(local, domain, text)
		if !ok {
			return
		}
		line := func(addr string) string {
			return "2026-11-21 08:43:06 1xUggb-00002V-1J ** " + addr + " <" + to + "> R=r T=t H=h [192.0.2.7]: SMTP error from remote mail server after RCPT TO:<" + to + ">: " + reply + " DT=1s"
		}
		readBack(t, line(to), to, reply, schema.Outcome_BOUNCED)
		if to[0] == '"' { // Exim writes the local part bare
			end := quotedEnd(to, 0)
			readBack(t, line(eximUnquote(to[1:end])+to[end+1:]), to, reply, schema.Outcome_BOUNCED)
		}
	})
}

func FuzzSendmailFailure(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		to, reply, ok := fuzzed(local, domain, text)
		if !ok {
			return
		}
		printed := func(s string) string { return strings.ReplaceAll(s, `\`, `\\`) } // str2prt
		head := "Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188: to=<" + printed(to) + ">, delay=00:00:01, pri=3, relay=h. [192.0.2.7], dsn=5.1.1, reply=" + reply + ", stat="
		readBack(t, head+"Deferred: "+reply, to, reply, schema.Outcome_DEFERRED)
		readBack(t, head+"User unknown", to, reply, schema.Outcome_BOUNCED)
	})
}

func FuzzOpenSMTPDDelivery(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		to, reply, ok := fuzzed(local, domain, text)
		if !ok {
			return
		}
		line := "Nov 21 08:38:00 mta1 smtpd[64]: 49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<" + to + "> to=<" + to +
			`> rcpt=<-> source="192.0.2.1" relay="192.0.2.7 (h)" delay=1s result="PermFail" stat="` + reply + `"`
		readBack(t, line, to, reply, schema.Outcome_BOUNCED)
	})
}

func FuzzHarakaRecipient(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		if to, reply, ok := fuzzed(local, domain, text); ok {
			line := "2026-11-21T08:42:14.934Z [NOTICE] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.4.1] [outbound] recipient <" + to + "> rejected: " + reply
			readBack(t, line, to, reply, schema.Outcome_BOUNCED)
		}
	})
}

func FuzzDMAFailure(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, local, domain, text string) {
		to, reply, ok := fuzzed(local, domain, text)
		if !ok {
			return
		}
		c := NewCorrelator(DefaultConfig())
		n := 0
		for _, words := range []string{"<" + to + "> trying delivery", "remote delivery to h [192.0.2.7] failed after RCPT TO: " + reply, "delivery failed, bouncing as b"} {
			c.Line(Input{Line: []byte("Nov 21 08:43:00 mta1 dma[a.1]: " + words), Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
				n++
				if ev.Recipient != to || ev.Text != reply || ev.Outcome != schema.Outcome_BOUNCED || ev.Phase != schema.Phase_RCPT {
					t.Fatalf("got %v, want %q %q", ev, to, reply)
				}
			})
		}
		if n != 1 || c.Stats().Entries != 0 {
			t.Fatalf("%d events, %d entries left", n, c.Stats().Entries)
		}
	})
}
