package source

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

const testSite = `revision: 1
hosts:
  - {name: mta1.out.example.com, aliases: [mta1]}
  - {name: relay.example.net, log: false}
labels:
  tenant:
    - {from: header, name: X-Tenant}
    - {from: sender_domain, values: {plain.example.com: plain}}
bounces:
  domains: [plain.example.com]
  senders: [shop.example]
  return_paths:
    - {pattern: 'b-{campaign}+{recipient}-{mac}@b.example.com', key: verp}
    - {pattern: 'v+{recipient}@plain.example.com'}
  always_signed: [b.example.com]
`

var testKeys = site.Keys{"verp": []byte("0123456789abcdef")}

func mustSite(t testing.TB, text string) *site.Site {
	t.Helper()
	s, err := site.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// report is a bounce mail to be written.
type report struct {
	reporting, action, status, diagnostic, recipient, original, remote, returned string
	path                                                                         string // where it comes back to
}

func (r report) mail() []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("Return-Path: <>")
	line("Date: Sat, 28 Nov 2026 11:58:00 +0000")
	line("From: MAILER-DAEMON@%s (Mail Delivery System)", r.reporting)
	line("To: %s", r.path)
	line("Subject: Undelivered Mail Returned to Sender")
	line("MIME-Version: 1.0")
	line("Content-Type: multipart/report; report-type=delivery-status; boundary=\"x\"")
	line("")
	line("--x\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.")
	line("--x\r\nContent-Type: message/delivery-status\r\n")
	line("Reporting-MTA: dns; %s", r.reporting)
	line("X-Postfix-Queue-ID: 4F1A2B3C4D")
	line("")
	line("Final-Recipient: rfc822; %s", r.recipient)
	if r.original != "" {
		line("Original-Recipient: rfc822;%s", r.original)
	}
	line("Action: %s\r\nStatus: %s", r.action, r.status)
	if r.remote != "" {
		line("Remote-MTA: dns; %s", r.remote)
	}
	line("Diagnostic-Code: smtp; %s", r.diagnostic)
	line("")
	if r.returned != "" {
		line("--x\r\nContent-Type: text/rfc822-headers\r\n\r\n%s", r.returned)
	}
	line("--x--")
	return []byte(b.String())
}

const ours = "Message-ID: <m1@shop.example>\r\nFrom: shop@shop.example\r\nX-Tenant: acme\r\nSubject: Hello\r\n"

var came = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// read reads a mail and returns copies of its events.
func read(t testing.TB, r *Reader, m Mail) (Fate, []*schema.DeliveryEvent) {
	t.Helper()
	var out []*schema.DeliveryEvent
	if m.At.IsZero() {
		m.At = came
	}
	f := r.Mail(m, func(ev *schema.DeliveryEvent) { out = append(out, ev.CloneVT()) })
	return f, out
}

func newReader(t testing.TB, siteText string) *Reader {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Keys = testKeys
	r := New(cfg)
	if siteText != "" {
		r.SetSite(mustSite(t, siteText))
	}
	return r
}

func TestBounceOfAnotherServer(t *testing.T) {
	r := newReader(t, testSite)
	path, err := r.Site().Sign(0, site.Parts{Recipient: "jo@list.example", Campaign: "c7"}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	// The mailed address forwards to another one, which is full: the evidence is jo's, the words are the forwarder's.
	f, evs := read(t, r, Mail{To: []string{path}, Bytes: report{
		reporting: "mx.list.example", action: "failed", status: "5.2.2", diagnostic: "552 5.2.2 mailbox full", recipient: "jo.private@box.example",
		remote: "mx.box.example", path: path, returned: ours,
	}.mail()})
	if f.Kind != mtalog.KindEvent || len(evs) != 1 {
		t.Fatalf("%+v, %d events", f, len(evs))
	}
	ev := evs[0]
	if ev.Recipient != "jo@list.example" || ev.ForwardedTo != "jo.private@box.example" || ev.Outcome != schema.Outcome_ASYNC_BOUNCE || !ev.Final {
		t.Errorf("%v", ev)
	}
	if ev.Trust != schema.Trust_TRUST_SIGNED || ev.ReportingMta != "mx.list.example" || ev.RemoteHost != "mx.box.example" || ev.Joined {
		t.Errorf("%v", ev)
	}
	if ev.SmtpCode != 552 || ev.EnhancedCode != "5.2.2" || ev.EnhancedSource != schema.EnhancedSource_ENHANCED_REMOTE || ev.MessageId != "<m1@shop.example>" {
		t.Errorf("%v", ev)
	}
	if ev.Campaign != "c7" || ev.SourceIp != "" || ev.QueueId != "" {
		t.Errorf("%v", ev)
	}
	if at := time.UnixMicro(ev.OccurredAtUs).UTC(); !at.Equal(came.Add(-2 * time.Minute)) {
		t.Errorf("occurred at %s", at)
	}
}

// TestReportOfAnOwnHostIsJoined: what the log of that host has told is not told again.
func TestReportOfAnOwnHostIsJoined(t *testing.T) {
	r := newReader(t, testSite)
	rep := report{
		reporting: "mta1", action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 no such user", recipient: "jo@list.example",
		remote: "mx.list.example", path: "info@shop.example", returned: ours,
	}
	_, evs := read(t, r, Mail{Bytes: rep.mail()})
	if len(evs) != 1 || !evs[0].Joined || evs[0].MtaHost != "mta1.out.example.com" || evs[0].QueueId != "4F1A2B3C4D" || evs[0].Outcome != schema.Outcome_BOUNCED {
		t.Errorf("%v", evs)
	}
	rep.reporting = "relay.example.net" // ours, but its log does not come
	if _, evs = read(t, r, Mail{Bytes: rep.mail()}); len(evs) != 1 || evs[0].Joined || evs[0].Outcome != schema.Outcome_BOUNCED {
		t.Errorf("%v", evs)
	}
	rep.status, rep.diagnostic = "4.4.1", "connect to mx.list.example[192.0.2.1]:25: Connection timed out"
	if _, evs = read(t, r, Mail{Bytes: rep.mail()}); len(evs) != 1 || evs[0].Outcome != schema.Outcome_EXPIRED || evs[0].Cause == nil {
		t.Errorf("%v", evs)
	}
	rep.action = "delayed"
	if _, evs = read(t, r, Mail{Bytes: rep.mail()}); len(evs) != 1 || evs[0].Outcome != schema.Outcome_DELAYED || evs[0].Final {
		t.Errorf("%v", evs)
	}
}

func TestTrustOfBounces(t *testing.T) {
	rep := report{reporting: "mx.x.example", action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 no such user", recipient: "jo@x.example", returned: ours}
	for _, tc := range []struct {
		name, site, path, returned string
		trust                      schema.Trust
		reason                     string // of what is put aside
	}{
		{"no site", "", "v+jo=x.example@plain.example.com", ours, schema.Trust_TRUST_NONE, ""},
		{"scheme", testSite, "v+jo=x.example@plain.example.com", "", schema.Trust_TRUST_KNOWN, ""},
		{"domain and message", testSite, "bounce@plain.example.com", ours, schema.Trust_TRUST_KNOWN, ""},
		{"domain alone", testSite, "bounce@plain.example.com", "", schema.Trust_TRUST_NONE, ""},
		{"elsewhere", testSite, "info@shop.example", ours, schema.Trust_TRUST_NONE, ""},
		{"unsigned", testSite, "b-c7+jo=x.example@b.example.com", ours, 0, "backscatter_forged"},
		{"forged", testSite, "b-c7+jo=x.example-0123456789abcdef@b.example.com", ours, 0, "backscatter_forged"},
		{"foreign", testSite, "bounce@plain.example.com", "Message-ID: <1@spam.example>\r\nFrom: a@spam.example\r\n", 0, "backscatter_foreign"},
	} {
		r := newReader(t, tc.site)
		rep.path, rep.returned = tc.path, tc.returned
		f, evs := read(t, r, Mail{To: []string{tc.path}, Bytes: rep.mail()})
		if tc.reason != "" {
			if f.Kind != mtalog.KindUnparsed || f.Reason != tc.reason || len(evs) != 0 {
				t.Errorf("%s: %+v, %d events", tc.name, f, len(evs))
			}
			continue
		}
		if f.Kind != mtalog.KindEvent || len(evs) != 1 || evs[0].Trust != tc.trust || evs[0].Recipient != "jo@x.example" {
			t.Errorf("%s: %+v, %v", tc.name, f, evs)
		}
	}
}

func TestMailThatTellsNoOutcome(t *testing.T) {
	r := newReader(t, testSite)
	for _, tc := range []struct {
		name, mail string
		kind       mtalog.Kind
		reason     string
	}{
		{"automatic reply", "From: jo@x.example\nTo: info@shop.example\nSubject: Out of office\nAuto-Submitted: auto-replied\n\nI am away.\n", mtalog.KindNoise, "auto_reply"},
		{"ordinary", "From: jo@x.example\nTo: info@shop.example\nSubject: A question\n\nWhere is my parcel?\n", mtalog.KindNoise, "ordinary"},
		{"no mail", "Nov 21 08:28:19 mta1 postfix/smtp[314]: connect to x", mtalog.KindUnparsed, "not_mail"},
		{"header beyond the bound", "From: a@b.example\n" + strings.Repeat("X-A: b\n", 2000) + "\nx", mtalog.KindUnparsed, "limits"},
		{"relayed", string(report{reporting: "mx.x.example", action: "relayed", status: "2.0.0", diagnostic: "250 ok", recipient: "jo@x.example", path: "v+jo=x.example@plain.example.com"}.mail()), mtalog.KindNoise, "relay"},
	} {
		f, evs := read(t, r, Mail{Bytes: []byte(tc.mail)})
		if f.Kind != tc.kind || f.Reason != tc.reason || len(evs) != 0 || f.Format != FormatMail {
			t.Errorf("%s: %+v, %d events", tc.name, f, len(evs))
		}
	}
}

// TestMailOfNoKnownTime: where nobody knows when a mail came, its own date counts, else what the caller has.
func TestMailOfNoKnownTime(t *testing.T) {
	rep := report{reporting: "mx.x.example", action: "failed", status: "5.1.1", diagnostic: "550 5.1.1 no such user", recipient: "jo@x.example", path: "x@plain.example.com"}
	dated := rep.mail()
	undated := []byte(strings.Replace(string(dated), "Date: ", "X-Date: ", 1))
	for _, tc := range []struct {
		mail []byte
		want time.Time
	}{{dated, came.Add(-2 * time.Minute)}, {undated, came.Add(-time.Hour)}} {
		var at []time.Time
		newReader(t, "").Mail(Mail{Bytes: tc.mail, Else: came.Add(-time.Hour)}, func(ev *schema.DeliveryEvent) {
			at = append(at, time.UnixMicro(ev.OccurredAtUs).UTC())
		})
		if len(at) != 1 || !at[0].Equal(tc.want) {
			t.Errorf("occurred at %s, want %s", at, tc.want)
		}
	}
}

func TestComplaintByFeedbackReport(t *testing.T) {
	r := newReader(t, testSite)
	arf := "From: staff@fbl.example\nTo: fbl@shop.example\nDate: Sat, 28 Nov 2026 11:00:00 +0000\nSubject: complaint\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/report; report-type=feedback-report; boundary=x\n\n--x\nContent-Type: text/plain\n\nhello\n" +
		"--x\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nUser-Agent: T/1\nVersion: 1\nOriginal-Mail-From: <v+jo=x.example@plain.example.com>\n\n" +
		"--x\nContent-Type: message/rfc822\n\n" + strings.ReplaceAll(ours, "\r", "") + "To: jo@x.example\n\nbody\n--x--\n"
	f, evs := read(t, r, Mail{Bytes: []byte(arf)})
	if f.Kind != mtalog.KindEvent || len(evs) != 1 || evs[0].Outcome != schema.Outcome_COMPLAINT || evs[0].Recipient != "jo@x.example" {
		t.Fatalf("%+v, %v", f, evs)
	}
	if ev := evs[0]; ev.Text != "abuse" || ev.MessageId != "<m1@shop.example>" || ev.Joined || ev.Trust != schema.Trust_TRUST_KNOWN {
		t.Errorf("%v", ev)
	}
}
