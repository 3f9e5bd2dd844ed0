package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/schema"
)

// story is a mixture of lines of two hosts: Postfix, Exim's main log, PowerMTA's accounting file, KumoMTA's JSON.
func story() (lines [][2]string) {
	add := func(host string, text ...string) {
		for _, l := range text {
			lines = append(lines, [2]string{host, l})
		}
	}
	add("mta1",
		"2026-11-28T11:00:00+00:00 mta1 postfix/smtpd[1]: 4F1A2B3C4D: client=app[192.0.2.9], sasl_method=PLAIN, sasl_username=carol@acme",
		"2026-11-28T11:00:00+00:00 mta1 postfix/cleanup[2]: 4F1A2B3C4D: message-id=<m1@shop.example>",
		"2026-11-28T11:00:00+00:00 mta1 postfix/cleanup[2]: 4F1A2B3C4D: info: header X-Tenant: acme from app[192.0.2.9]; from=<a@shop.example> to=<jo@x.example> proto=ESMTP helo=<app>",
		"2026-11-28T11:00:00+00:00 mta1 postfix/qmgr[3]: 4F1A2B3C4D: from=<a@shop.example>, size=100, nrcpt=1 (queue active)")
	add("pmta",
		"type,timeLogged,timeQueued,orig,rcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,vmta",
		`d,2026-11-28 11:00:01+0000,2026-11-28 11:00:00+0000,a@shop.example,li@x.example,relayed,2.0.0 (success),smtp;250 2.0.0 ok,mx.x.example (192.0.2.7),,vmta1`)
	add("mta1",
		"2026-11-28T11:00:02+00:00 mta1 postfix/smtp[4]: 4F1A2B3C4D: to=<jo@x.example>, relay=mx.x.example[192.0.2.7]:25, delay=2, delays=0/0/1/1, dsn=4.2.2, status=deferred (host mx.x.example[192.0.2.7] said: 452 4.2.2 full (in reply to RCPT TO command))")
	add("pmta", `b,2026-11-28 11:00:02+0000,2026-11-28 11:00:00+0000,a@shop.example,bo@x.example,failed,5.1.1 (bad mailbox),"smtp;550 5.1.1 no`,
		`such user",mx.x.example (192.0.2.7),bad-mailbox,vmta1`)
	add("kumo",
		`{"type":"Bounce","id":"k1","sender":"a@shop.example","recipient":"cy@x.example","queue":"c1:acme@x.example","site":"s","size":1,"response":{"code":550,"enhanced_code":{"class":5,"subject":1,"detail":1},"content":"no such user","command":null},"peer_address":{"name":"mx.x.example.","addr":"192.0.2.7"},"timestamp":1795863603,"created":1795863600,"num_attempts":0,"bounce_classification":"InvalidRecipient"}`)
	add("mta1",
		"2026-11-28 11:00:03 1vOx1a-000001-AB <= a@shop.example H=app [192.0.2.9] P=esmtp S=100 id=m2@shop.example",
		"2026-11-28 11:00:04 1vOx1a-000001-AB ** di@x.example R=dnslookup T=remote_smtp H=mx.x.example [192.0.2.7]: SMTP error from remote mail server after RCPT TO:<di@x.example>: 550 5.1.1 unknown",
		"2026-11-28T12:00:00+00:00 mta1 postfix/qmgr[3]: 4F1A2B3C4D: from=<a@shop.example>, status=expired, returned to sender",
		"what is this",
		"2026-11-28T12:00:01+00:00 mta1 postfix/qmgr[3]: 4F1A2B3C4D: removed")
	return lines
}

// told is what a run gave, in words.
func told(r *Reader, lines [][2]string) (out []string) {
	for _, l := range lines {
		var events []string
		in := mtalog.Input{Line: []byte(l[1]), Host: l[0], Reference: came}
		f := r.Line(in, func(ev *schema.DeliveryEvent) {
			events = append(events, fmt.Sprintf("%s %s %s %d %q %s/%s", ev.Mta, ev.Recipient, ev.Outcome.Name(), ev.SmtpCode, ev.Text, ev.Tenant, ev.MtaHost))
		})
		for i := range in.Line {
			in.Line[i] = 0xaa // the next fetch
		}
		out = append(out, fmt.Sprintf("%s %s %s %s: %s", f.Kind, f.Format, f.Reason, f.Host, strings.Join(events, "; ")))
	}
	return out
}

func TestEachLineTellsWhatItIs(t *testing.T) {
	got := told(newReader(t, testSite), story())
	want := []string{
		"state postfix  mta1: ",
		"state postfix  mta1: ",
		"state postfix  mta1: ",
		"state postfix  mta1: ",
		"noise powermta handshake pmta: ",
		`event powermta  pmta: powermta li@x.example delivered 250 "250 2.0.0 ok" /pmta`,
		`event postfix  mta1: postfix jo@x.example deferred 452 "452 4.2.2 full" acme/mta1`,
		"state powermta open pmta: ",
		`event powermta  pmta: powermta bo@x.example bounced 550 "550 5.1.1 no\nsuch user" /pmta`,
		`event kumomta  kumo: kumomta cy@x.example bounced 550 "550 5.1.1 no such user" acme/kumo`,
		"state exim  mta1: ",
		`event exim  mta1: exim di@x.example bounced 550 "550 5.1.1 unknown" /mta1`,
		`event postfix  mta1: postfix jo@x.example expired 0 "expired, returned to sender" acme/mta1`,
		"unparsed  frame mta1: ",
		"state postfix  mta1: ",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("line %d:\n got  %q\n want %q", i, got[min(i, len(got)-1)], want[min(i, len(want)-1)])
		}
	}
}

// TestStateCutAnywhere is the promise that a fold restored from any snapshot tells what one that never stopped tells.
func TestStateCutAnywhere(t *testing.T) {
	lines := story()
	whole := newReader(t, testSite)
	want := told(whole, lines)
	end := whole.AppendState(nil)
	for cut := range len(lines) {
		first := newReader(t, testSite)
		got := told(first, lines[:cut])
		state := first.AppendState(nil)
		second := newReader(t, "")
		if err := second.LoadState(slices.Clone(state)); err != nil {
			t.Fatal(err)
		}
		if again := second.AppendState(nil); !bytes.Equal(again, state) {
			t.Fatalf("cut at %d: a state that was loaded is saved as another", cut)
		}
		if got = append(got, told(second, lines[cut:])...); !slices.Equal(got, want) {
			t.Errorf("cut at %d:\n got  %q\n want %q", cut, got, want)
		}
		if !bytes.Equal(second.AppendState(nil), end) {
			t.Errorf("cut at %d: another state at the end", cut)
		}
	}
}

func TestAccountingFilesAreBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Files.MaxHosts = 2
	r := New(cfg)
	const head = "type,timeLogged,rcpt,dsnStatus,dsnDiag"
	const row = "d,2026-11-28 11:00:01+0000,li@x.example,2.0.0 (success),smtp;250 ok"
	line := func(host, text string) string {
		f := r.Line(mtalog.Input{Line: []byte(text), Host: host, Reference: came}, func(*schema.DeliveryEvent) {})
		return f.Kind.String()
	}
	for _, step := range []struct{ host, text, want string }{
		{"a", head, "noise"},
		{"b", head, "noise"},
		{"a", row, "event"},
		{"c", head, "noise"}, // b, which was silent longest, is forgotten
		{"a", row, "event"},
		{"c", row, "event"},
		{"b", row, "unparsed"},
	} {
		if got := line(step.host, step.text); got != step.want {
			t.Errorf("%s %q is %s, want %s", step.host, step.text, got, step.want)
		}
	}
	if n := r.files.Hosts(); n != 2 {
		t.Errorf("%d files are remembered", n)
	}
}

// TestBodyRecordsAddUp: each record of a body has one fate.
func TestBodyRecordsAddUp(t *testing.T) {
	r := newReader(t, testSite)
	body := `[{"email":"jo@x.example","timestamp":1795863603,"event":"bounce","reason":"550 5.1.1 unknown","status":"5.1.1","type":"bounce","sg_event_id":"e1"},
		{"email":"li@x.example","timestamp":1795863604,"event":"processed","sg_event_id":"e2"},
		{"email":"li@x.example","timestamp":1795863605,"event":"delivered","response":"250 ok","sg_event_id":"e3"},
		{"email":"li@x.example","timestamp":1795863606,"event":"teleported","sg_event_id":"e4"}]`
	fates := map[string]int{}
	var ids []string
	var latest time.Time
	r.Body(Body{Format: "sendgrid", Feed: "sg", Bytes: []byte(body)}, func(ev *schema.DeliveryEvent) {
		ids = append(ids, ev.FeedEventId+" "+ev.Outcome.Name()+" "+ev.Feed+" "+ev.MtaHost)
	}, func(f Fate, n int, text []byte) {
		fates[f.Kind.String()+" "+f.Reason] += n
		if f.Kind == mtalog.KindUnparsed && !bytes.Contains(text, []byte("teleported")) {
			t.Errorf("unparsed: %q", text)
		}
		if f.At.After(latest) {
			latest = f.At
		}
	})
	if want := []string{"e1 bounced sg sg", "e3 delivered sg sg"}; !slices.Equal(ids, want) {
		t.Errorf("events %q", ids)
	}
	if len(fates) != 3 || fates["event "] != 2 || fates["noise accepted"] != 1 || fates["unparsed type"] != 1 {
		t.Errorf("fates %v", fates)
	}
	if latest.Unix() != 1795863605 {
		t.Errorf("latest is %s", latest)
	}
	fates = map[string]int{}
	r.Body(Body{Format: "sendgrid", Bytes: []byte(`[{"email":`)}, nil, func(f Fate, n int, _ []byte) { fates[f.Kind.String()+" "+f.Reason] += n })
	if len(fates) != 1 || fates["unparsed syntax"] != 1 {
		t.Errorf("fates of a broken body: %v", fates)
	}
}

func TestDetect(t *testing.T) {
	for _, tc := range []struct{ value, want string }{
		{"Return-Path: <>\r\nFrom: x", FormatMail},
		{"From MAILER-DAEMON Sat Nov 28 11:00:00 2026\nReturn-Path: <>", FormatMail},
		{"received: from x by y\n", FormatMail},
		{"X-Store-Info: abc\n def\nX-Other: y\nDate: Sat, 28 Nov 2026 11:00:00 +0000\n", FormatMail},
		{"X-Store-Info: abc\n\nDate: no header any more", ""},
		{"rsyslogd: start\nNov 21 08:28:19 mta1 postfix/smtp[314]: x", ""},
		{`[{"email":"a@b.example","event":"open","timestamp":1}]`, "sendgrid"},
		{`{"Type":"Notification","TopicArn":"arn:aws:sns:x","Message":"{}"}`, "ses"},
		{"\xEF\xBB\xBFtype,timeLogged,rcpt\r\n", "powermta"},
		{`"type","timeLogged","rcpt"`, "powermta"},
		{"Nov 21 08:28:19 mta1 postfix/smtp[314]: 4F1A2B3C4D: to=<a@b.example>", ""},
		{"2026-11-28T11:00:00+00:00 mta1 postfix/smtp[314]: x", ""},
		{"<22>Nov 21 08:28:19 mta1 postfix/smtp[314]: x", ""},
		{`{"message":"Nov 21 08:28:19 mta1 postfix/smtp[314]: x","host":"mta1"}`, ""},
		{"typewriter, sold", ""},
		{"", ""},
	} {
		if got, ok := Detect([]byte(tc.value)); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%q is %q, want %q", tc.value, got, tc.want)
		}
	}
}
