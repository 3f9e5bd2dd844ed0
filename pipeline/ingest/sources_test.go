package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

func header(key, value string) broker.Header { return broker.Header{Key: key, Value: []byte(value)} }

func siteFile(revision int, tenant string) raw {
	return raw{
		text:    fmt.Sprintf("revision: %d\nlabels: {tenant: [{from: host, values: {mx1: %s, sg: %s}}]}\nsource_ips: [{host: mx1, ip: 192.0.2.%d}]\n", revision, tenant, tenant, revision),
		headers: []broker.Header{header(schema.HeaderControl, schema.ControlSite)},
	}
}

// TestSiteFileCountsFromItsPlaceInTheLog is the promise that a replay gives the same labels: the file is a record of the
// log, the higher revision counts, and a snapshot holds it.
func TestSiteFileCountsFromItsPlaceInTheLog(t *testing.T) {
	d := newDriver(t)
	var got []string
	send := func(r raw) {
		r.offset = int64(len(got))
		label := "-"
		for _, ev := range take(t, d.step(r)).events {
			label = ev.Tenant + " " + ev.SourceIp
		}
		got = append(got, label)
	}
	line := func(n int) raw {
		return raw{host: "mx1", text: delivery(time.Duration(n)*time.Second, "mx1", fmt.Sprintf("ABCDE%d", n), "jo@x.example", sent)}
	}
	send(line(0))
	send(siteFile(2, "acme"))
	send(line(1))
	send(siteFile(1, "old")) // a replica that was started with an older file
	send(line(2))
	d.restart()
	send(line(3))
	send(raw{text: "revision: 9\nhots: []", headers: siteFile(9, "x").headers}) // refused: the last good one stays
	send(line(4))
	send(siteFile(3, "globex"))
	send(line(5))
	if want := " ,-,acme 192.0.2.2,-,acme 192.0.2.2,acme 192.0.2.2,-,acme 192.0.2.2,-,globex 192.0.2.3"; strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}
	dead := take(t, d.sent).dead
	if len(dead) != 1 || !strings.Contains(dead[0].Reason, "hots") {
		t.Errorf("dead letters: %v", dead)
	}
}

const bounceMail = "Return-Path: <>\r\nDate: Sat, 21 Nov 2026 11:59:00 +0000\r\nFrom: MAILER-DAEMON@mx.x.example\r\nTo: v+jo=x.example@b.example.com\r\n" +
	"Subject: Undelivered\r\nMIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.x.example\r\n\r\nFinal-Recipient: rfc822; jo@x.example\r\n" +
	"Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--x--\r\n"

const bounceSite = "revision: 1\nbounces: {return_paths: [{pattern: 'v+{recipient}@b.example.com'}, {pattern: 's+{recipient}.{mac}@s.example.com', key: verp}], always_signed: [s.example.com]}\n"

func TestMailsAreReadOnce(t *testing.T) {
	d := newDriver(t)
	d.m.source.SetSite(mustParse(t, bounceSite))
	d.keys(site.Keys{"verp": []byte("0123456789abcdef")})
	mail := raw{text: bounceMail, headers: []broker.Header{header(schema.HeaderFormat, "mail"), header(schema.HeaderRcpt, "v+jo=x.example@b.example.com"), header(schema.HeaderFeed, "lmtp")}}
	out := take(t, d.step(mail))
	if len(out.events) != 1 {
		t.Fatalf("%d events", len(out.events))
	}
	if ev := out.events[0]; ev.Recipient != "jo@x.example" || ev.Trust != schema.Trust_TRUST_KNOWN || ev.Outcome != schema.Outcome_ASYNC_BOUNCE || ev.Feed != "lmtp" || ev.Backfill {
		t.Errorf("%v", ev)
	}
	if len(out.clocks) != 0 {
		t.Error("a mail moved a clock")
	}
	mail.offset = 1
	if again := take(t, d.step(mail)); len(again.events) != 0 || d.lines("repeated") != 1 {
		t.Errorf("the same mail again: %d events, %d repeats", len(again.events), d.lines("repeated"))
	}
	forged := raw{offset: 2, text: strings.ReplaceAll(bounceMail, "v+jo=x.example@b", "s+jo=x.example.0123456789abcdef@s")}
	forged.headers = []broker.Header{header(schema.HeaderRcpt, "s+jo=x.example.0123456789abcdef@s.example.com")} // the format tells itself
	out = take(t, d.step(forged))
	if len(out.events) != 0 || len(out.dead) != 1 || out.dead[0].Reason != "mail: backscatter_forged" {
		t.Errorf("a forged bounce: %v", out)
	}
	if event, noise, unparsed := d.lines("event"), d.lines("noise"), d.lines("unparsed"); event != 1 || noise != 0 || unparsed != 1 {
		t.Errorf("event %d, noise %d, unparsed %d", event, noise, unparsed)
	}
}

// TestMailWaitsForMissingKeys: without the key every signed bounce would be taken for a forged one, for ever.
func TestMailWaitsForMissingKeys(t *testing.T) {
	d := newDriver(t)
	d.m.source.SetSite(mustParse(t, bounceSite))
	rec := &broker.Record{TimeMs: noon.UnixMilli(), Value: []byte(bounceMail), Headers: []broker.Header{header(schema.HeaderFormat, "mail")}}
	if err := d.m.Step(rec, &fold.Outbox{}); err == nil || !strings.Contains(err.Error(), `"verp"`) {
		t.Errorf("a mail without the key: %v", err)
	}
}

func sendgrid(events ...string) raw {
	return raw{
		host: "sg", text: "[" + strings.Join(events, ",") + "]",
		headers: []broker.Header{header(schema.HeaderFormat, "sendgrid"), header(schema.HeaderFeed, "sg")},
	}
}

func sgBounce(id string, after time.Duration) string {
	return fmt.Sprintf(`{"email":"jo@x.example","timestamp":%d,"event":"bounce","type":"bounce","status":"5.1.1","reason":"550 5.1.1 unknown","sg_event_id":"%s"}`, noon.Add(after).Unix(), id)
}

// TestWebhooksThatComeAgainCountOnce: an API that missed an acknowledgement sends its events again, in other batches.
func TestWebhooksThatComeAgainCountOnce(t *testing.T) {
	d := newDriver(t)
	first := take(t, d.step(sendgrid(sgBounce("a", 0), sgBounce("b", time.Minute))))
	if len(first.events) != 2 || len(first.clocks) == 0 || first.events[0].Backfill {
		t.Fatalf("%d events, %d clocks", len(first.events), len(first.clocks))
	}
	again := sendgrid(sgBounce("b", time.Minute), sgBounce("c", time.Minute))
	again.offset = 1
	d.restart()
	if out := take(t, d.step(again)); len(out.events) != 1 || out.events[0].FeedEventId != "c" {
		t.Errorf("%v", out.events)
	}
	late := sendgrid(sgBounce("d", -time.Hour))
	late.offset = 2
	if out := take(t, d.step(late)); len(out.events) != 1 || !out.events[0].Backfill {
		t.Errorf("an hour late: %v", out.events)
	}
	broken := sendgrid(`{"email":`)
	broken.offset = 3
	if out := take(t, d.step(broken)); len(out.dead) != 1 || out.dead[0].Reason != "sendgrid: syntax" {
		t.Errorf("a broken body: %v", out)
	}
	if event, unparsed := d.lines("event"), d.lines("unparsed"); event != 5 || unparsed != 1 {
		t.Errorf("event %d, unparsed %d", event, unparsed)
	}
}

func TestUnknownFormatIsADeadLetter(t *testing.T) {
	d := newDriver(t)
	out := take(t, d.step(raw{text: "x", headers: []broker.Header{header(schema.HeaderFormat, "smoke")}}))
	if len(out.dead) != 1 || out.dead[0].Reason != `format "smoke" is not known` || d.lines("unparsed") != 1 {
		t.Errorf("%v", out)
	}
}

// TestKeysMayBeAnyBytes: what is sent on has to be readable by every protobuf library, whatever a shipper used as key.
func TestKeysMayBeAnyBytes(t *testing.T) {
	d := newDriver(t)
	r := sendgrid(sgBounce("a", 0))
	r.host = "\xff\xfekey"
	out := take(t, d.step(r))
	broken := raw{offset: 1, host: r.host, text: "no log line"}
	dead := take(t, d.step(broken)).dead
	if len(out.events) != 1 || len(out.clocks) != 1 || len(dead) != 1 {
		t.Fatalf("%d events, %d clocks, %d dead letters", len(out.events), len(out.clocks), len(dead))
	}
	for _, s := range []string{out.events[0].MtaHost, out.clocks[0].Host, dead[0].Host} {
		if s != "\uFFFDkey" {
			t.Errorf("host %q", s)
		}
	}
}

// TestRepeatedLinesOfEveryMTA: a re-read log counts once, whatever wrote it.
func TestRepeatedLinesOfEveryMTA(t *testing.T) {
	for _, lines := range []string{
		"2026-11-21 12:00:00 1vOx1a-000001-AB <= a@shop.example H=app [192.0.2.9] P=esmtp S=100 id=m2@shop.example\n" +
			"2026-11-21 12:00:01 1vOx1a-000001-AB == di@x.example R=dnslookup T=remote_smtp defer (-44) H=mx.x.example [192.0.2.7]: SMTP error from remote mail server after RCPT TO:<di@x.example>: 450 4.2.1 later",
		"Nov 21 12:00:00 mx1 sendmail[7]: 6ALC0000001: from=<a@shop.example>, size=1, class=0, nrcpts=1, msgid=<m@shop.example>, relay=app [192.0.2.9]\n" +
			"Nov 21 12:00:01 mx1 sendmail[8]: 6ALC0000001: to=<di@x.example>, delay=00:00:01, xdelay=00:00:01, mailer=esmtp, pri=1, relay=mx.x.example. [192.0.2.7], dsn=4.2.1, stat=Deferred: 450 4.2.1 later",
	} {
		d := newDriver(t)
		first := take(t, d.step(raw{host: "mx1", text: lines}))
		second := take(t, d.step(raw{offset: 1, host: "mx1", text: lines}))
		if len(first.events) != 1 || len(second.events) != 0 {
			t.Errorf("%d events, then %d: %s", len(first.events), len(second.events), lines)
		}
		next := strings.Replace(lines[strings.IndexByte(lines, '\n')+1:], "12:00:01", "12:20:01", 1)
		next = strings.Replace(next, "pri=1", "pri=2", 1) // each run of Sendmail changes the priority
		third := take(t, d.step(raw{offset: 2, host: "mx1", text: next}))
		if len(third.events) != 1 || third.events[0].Attempt != 2 {
			t.Errorf("the next attempt: %v", third.events)
		}
	}
}
