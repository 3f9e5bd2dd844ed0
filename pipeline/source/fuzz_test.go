package source

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"carom.dev/carom/schema"
)

// FuzzReader reads any lines of any host: a reader that is saved and restored in the middle tells the same.
func FuzzReader(f *testing.F) {
	var all strings.Builder
	for _, l := range story() {
		all.WriteString(l[0] + "\t" + l[1] + "\n")
	}
	f.Add(all.String(), 7)
	f.Add("pmta\ttype,rcpt,timeLogged\npmta\tb,\"a\npmta\tb\",2026-11-28 11:00:01+0000\nk\t{\"type\":\"Bounce\",\"id\":\"1\",\"queue\":\"q\",\"timestamp\":1}", 2)
	f.Fuzz(func(t *testing.T, text string, cut int) {
		var lines [][2]string
		for l := range strings.SplitSeq(text, "\n") {
			host, line, ok := strings.Cut(l, "\t")
			if !ok {
				host, line = "", l
			}
			lines = append(lines, [2]string{host, line})
		}
		cut = min(max(cut, 0), len(lines))
		whole := newReader(t, testSite)
		want := told(whole, lines)
		first, second := newReader(t, testSite), newReader(t, "")
		got := told(first, lines[:cut])
		if err := second.LoadState(first.AppendState(nil)); err != nil {
			t.Fatal(err)
		}
		if got = append(got, told(second, lines[cut:])...); !slices.Equal(got, want) {
			t.Fatalf("cut at %d:\n got  %q\n want %q", cut, got, want)
		}
		if !bytes.Equal(second.AppendState(nil), whole.AppendState(nil)) {
			t.Fatal("another state at the end")
		}
		if len(want) != len(lines) {
			t.Fatalf("%d lines have %d fates", len(lines), len(want))
		}
	})
}

// FuzzMail reads any mail: what is told fits into an event, and only what is believed by signature or scheme is trusted.
func FuzzMail(f *testing.F) {
	f.Add(report{
		reporting: "mx.x.example", action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 no such user", recipient: "jo@x.example",
		path: "v+jo=x.example@plain.example.com", returned: ours,
	}.mail(), "v+jo=x.example@plain.example.com")
	f.Add([]byte("From: a@b.example\nSubject: failure notice\n\nHi. This is the qmail-send program at x.example.\n<jo@x.example>:\n550 no\n"), "b-1+jo=x.example@b.example.com")
	f.Fuzz(func(t *testing.T, mail []byte, to string) {
		r := newReader(t, testSite)
		fate, evs := read(t, r, Mail{Bytes: mail, To: []string{to}})
		if (fate.Reason == "" && fate.Format == FormatMail) || len(evs) > 1000 {
			t.Fatalf("%+v, %d events", fate, len(evs))
		}
		for _, ev := range evs {
			b, err := ev.MarshalVT()
			if err != nil || !utf8.ValidString(ev.Text) || ev.Recipient == "" || ev.Trust == schema.Trust_TRUST_UNSPECIFIED {
				t.Fatalf("%v: %v", ev, err)
			}
			if len(b) > 64<<10 {
				t.Fatalf("an event of %d bytes", len(b))
			}
			if ev.Trust == schema.Trust_TRUST_SIGNED {
				t.Fatalf("signed without a key: %q", to)
			}
		}
	})
}
