package mtalog

import (
	"bytes"
	"strings"
	"testing"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

// The events of a log are the same when the table is written out and read back at every line, each line is counted once,
// and what is emitted can be encoded and is bounded by the log.
func FuzzQmail(f *testing.F) {
	for _, s := range samples() {
		if s.format != FormatQmail {
			continue
		}
		for _, name := range s.files {
			log := lines(readGzip(f, "testdata/qmail/"+name))
			for i := 0; i+24 < len(log); i += 97 {
				f.Add(bytes.Join(log[i:i+24], []byte("\n")))
			}
		}
	}
	label := "\n@400000006b0afeba18e59e7c "
	f.Add([]byte(strings.ReplaceAll("\nnew msg 7\ninfo msg 7: bytes 1 from <\xff> qp 1 uid 1\nstarting delivery 1: msg 7 to remote \xc3@x\n"+
		"delivery 1: deferral: \xe9_does_not_like_recipient./Remote_host_said:_450_\xc3/Giving_up_on_\n"+
		"starting delivery 1: msg 7 to local \xc3@x\ndelivery 1: failure: "+qmailAged+"\nend msg 7", "\n", label)))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg := Config{MaxEntries: 3, MaxBytes: 8192, TTL: 1e10}
		whole, split := NewCorrelator(cfg), NewCorrelator(cfg)
		log := lines(text)
		for i, line := range log[:min(len(log), 40)] {
			in := Input{Line: line, Host: "carrier", Reference: sampleReference}
			var want, got [][]byte
			keep := func(to *[][]byte) func(ev *schema.DeliveryEvent) {
				return func(ev *schema.DeliveryEvent) {
					out, err := proto.MarshalOptions{Deterministic: true}.Marshal(ev)
					if err != nil {
						t.Fatal(err) // a string that is no UTF-8
					}
					if len(out) > 9*2*len(text)+512 {
						t.Fatalf("%d bytes from %d", len(out), len(text))
					}
					*to = append(*to, out)
				}
			}
			a := whole.Line(in, keep(&want))
			if err := split.LoadState(split.AppendState(nil)); err != nil {
				t.Fatal(err)
			}
			b := split.Line(in, keep(&got))
			if a != b || !bytes.Equal(bytes.Join(want, nil), bytes.Join(got, nil)) || (a.Kind == KindEvent) != (len(want) > 0) {
				t.Fatalf("line %d: %v with %d events, after a reload %v with %d", i, a, len(want), b, len(got))
			}
			if !bytes.Equal(whole.AppendState(nil), split.AppendState(nil)) {
				t.Fatalf("line %d: the tables differ", i)
			}
			if s := whole.Stats(); s.Lines != uint64(i+1) || s.Kinds[0]+s.Kinds[1]+s.Kinds[2]+s.Kinds[3] != s.Lines || s.Entries > cfg.MaxEntries || s.Bytes > cfg.MaxBytes {
				t.Fatalf("line %d: %+v", i, s)
			}
		}
	})
}

// A remote reply that went through qmail-remote, qmail-rspawn and qmail-send comes back as far as the log can tell,
// whatever it holds, with the right outcome, place and peer.
func FuzzQmailReply(f *testing.F) {
	f.Add("user_1", "example.net", "5.1.1 <user_1@example.net> no", byte(0), byte(7), true, false)
	f.Add("a b/c%", "x", "x\nGiving up on 192.0.2.7.\n"+strings.ReplaceAll(qmailAged, "_", " "), byte(1), byte(50), true, false)
	f.Add("é", "x", "see https://x/550-1/550 \nRemote host said: 250 ok/", byte(2), byte(51), false, true)
	f.Add("\"q\"", "x", "I'm not going to try again; this message has been in the queue too long.", byte(3), byte(0), true, true)
	f.Add(" ", "0", "@0", byte('P'), byte('Z'), true, true)
	f.Fuzz(func(t *testing.T, local, domain, text string, where, code byte, hard, dying bool) {
		to := local + "@" + domain
		if len(to)+len(text) > 4096 || strings.ContainsAny(to, "\r\n") {
			return
		}
		phase := [...]schema.Phase{schema.Phase_RCPT, schema.Phase_EOM, schema.Phase_MAIL, schema.Phase_DATA, schema.Phase_BANNER, schema.Phase_EHLO}[where%6]
		digits := string([]byte{'4', '0' + code/10%6, '0' + code%10})
		if hard {
			digits = "5" + digits[1:]
		}
		words := strings.Split(strings.NewReplacer("\r", "", "\x00", "?").Replace(text), "\n") // as qmail-remote reads
		reply := digits + "-" + strings.Join(words, "\n"+digits+"-")
		last := strings.LastIndexByte(reply, '\n') + 1
		reply = reply[:last] + digits + " " + reply[last+4:]
		if len(reply) > maxRawBytes {
			return // a cause is cut
		}
		says := qmailRemoteSays(phase.Name(), "", "192.0.2.7", domain, reply)
		word, report := qmailOutcome(says, dying)

		want := map[string]schema.Outcome{"deferral": schema.Outcome_DEFERRED, "failure": schema.Outcome_BOUNCED}[word]
		if says[0] == 'Z' && dying {
			want = schema.Outcome_EXPIRED
		}
		c := NewCorrelator(DefaultConfig())
		n := 0
		for _, msg := range []string{"new msg 7", "starting delivery 1: msg 7 to remote " + qmailSafe(to), "delivery 1: " + word + ": " + report} {
			c.Line(Input{Line: []byte("@400000006b0afeba18e59e7c " + msg), Host: "carrier"}, func(ev *schema.DeliveryEvent) {
				n++
				got, place, ip, codeGot := ev.Text, ev.Phase, ev.RemoteIp, ev.SmtpCode
				if f := ev.Cause; f != nil {
					got, place, ip, codeGot = f.Text, f.Phase, f.RemoteIp, f.SmtpCode
				}
				plain := strings.NewReplacer("_", " ", "\n", "/")
				if plain.Replace(got) != plain.Replace(qmailShown(reply)) {
					t.Fatalf("text %q, want %q, of %q", got, reply, report)
				}
				if !strings.ContainsAny(text, "/") && !strings.Contains(qmailSafe(to), "_") && got != qmailShown(reply) {
					t.Fatalf("line ends: %q, want %q", got, reply)
				}
				if ev.Recipient != qmailSafe(to) || ev.Outcome != want || place != phase || ip != "192.0.2.7" || int(codeGot) != atoi(digits) {
					t.Fatalf("got %v, want %s at %s, of %q", ev, want.Name(), phase.Name(), report)
				}
			})
		}
		if n != 1 {
			t.Fatalf("%d events of %q", n, report)
		}
	})
}

// atoi is of three digits.
func atoi(s string) int { return int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0') }
