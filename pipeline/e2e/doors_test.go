package e2e

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

const doorsSite = `revision: 1
hosts: [{name: mta1.example.com, aliases: [mta1]}]
source_ips: [{host: mta1, ip: 192.0.2.11}]
labels:
  tenant: [{from: sender_domain, values: {b.example.com: acme}}]
bounces:
  senders: [shop.example]
  return_paths: [{pattern: 'b+{recipient}-{mac}@b.example.com', key: verp}]
  always_signed: [b.example.com]
feeds: [{name: sg, format: sendgrid, bearer: token, tenant: acme}]
`

// TestMailsAndFeedsMeetTheLog drives a log, bounce mails by LMTP and a webhook by HTTP through the whole system, and
// then all of it again, as shippers, MTAs and APIs do that missed an acknowledgement. Each thing that happened is counted
// once: what a mail tells a second time is joined with the log, and a forged bounce touches nobody.
func TestMailsAndFeedsMeetTheLog(t *testing.T) {
	requireClickHouse(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cfg := config(filepath.Join(dir, "data"))
	in := &cfg.Services.Ingest
	in.SiteFile = write("site.yaml", doorsSite)
	write("keys/verp", "0123456789abcdef")
	write("keys/token", "a-token-of-enough-bytes")
	in.KeysDir = filepath.Join(dir, "keys")
	addrs := freeAddrs(t, 2)
	in.Intake.HTTP.Addr, in.Intake.LMTP.Addr = addrs[0], addrs[1]
	in.Intake.LMTP.Domains = []string{"b.example.com", "shop.example"}
	s, err := local.Start(t.Context(), cfg, quiet(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}

	sf, keys, err := ingest.LoadSite(in.SiteFile, in.KeysDir)
	if err != nil {
		t.Fatal(err)
	}
	path, err := sf.Sign(0, site.Parts{Recipient: "jo@list.example"}, keys)
	if err != nil {
		t.Fatal(err)
	}
	forged := "b+cy@list.example"
	now := time.Now().UTC().Add(-2 * time.Minute).Truncate(time.Second)
	at := func(after time.Duration) string {
		return now.Add(after).Format("2006-01-02T15:04:05.000000Z07:00") + " mta1 postfix/"
	}
	log := strings.Join([]string{
		at(0) + "qmgr[3]: 4F1A2B3C4D: from=<" + path + ">, size=100, nrcpt=1 (queue active)",
		at(0) + "smtp[4]: 4F1A2B3C4D: to=<jo@list.example>, relay=mx.list.example[192.0.2.7]:25, delay=2, delays=0/0/1/1, dsn=2.0.0, status=sent (250 2.0.0 ok)",
		at(1) + "qmgr[3]: 5A1A2B3C4D: from=<a@shop.example>, size=100, nrcpt=1 (queue active)",
		at(1) + "smtp[4]: 5A1A2B3C4D: to=<li@x.example>, relay=mx.x.example[192.0.2.8]:25, delay=2, delays=0/0/1/1, dsn=5.1.1, status=bounced (host mx.x.example[192.0.2.8] said: 550 5.1.1 <li@x.example>: user unknown (in reply to RCPT TO command))",
	}, "\n")
	own := report{"mta1.example.com", "5A1A2B3C4D", "li@x.example", now}
	async := report{"mx.list.example", "77", "jo.private@box.example", now.Add(time.Minute)}
	webhook := fmt.Sprintf(`[{"email":"di@y.example","timestamp":%d,"event":"bounce","type":"bounce","status":"5.1.1","reason":"550 5.1.1 user unknown","sg_event_id":"e1"},
		{"email":"di@y.example","timestamp":%d,"event":"open","sg_event_id":"e2","useragent":"Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0"}]`,
		now.Unix(), now.Add(30*time.Second).Unix())

	round := func() {
		t.Helper()
		var lines []local.Line
		for l := range strings.SplitSeq(log, "\n") {
			lines = append(lines, local.Line{Host: "mta1", Text: []byte(l)})
		}
		if err := s.Send(t.Context(), lines); err != nil {
			t.Fatal(err)
		}
		lmtp(t, in.Intake.LMTP.Addr, "info@shop.example", own.mail("info@shop.example"))
		lmtp(t, in.Intake.LMTP.Addr, path, async.mail(path))
		lmtp(t, in.Intake.LMTP.Addr, forged+"@b.example.com", report{"mx.evil.example", "1", "cy@list.example", now}.mail(forged))
		post(t, "http://"+in.Intake.HTTP.Addr+"/v1/feeds/sg", "a-token-of-enough-bytes", webhook)
		if err := s.Drain(t.Context(), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		round()
		o, err := result(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for kind, want := range map[schema.Outcome]int64{
			schema.Outcome_DELIVERED: 1, schema.Outcome_BOUNCED: 2, schema.Outcome_ASYNC_BOUNCE: 1, schema.Outcome_OPENED: 1, schema.Outcome_DEFERRED: 0,
		} {
			if got := eventCount(o, kind); got != want {
				t.Errorf("round %d: %d events %s, want %d", i, got, kind.Name(), want)
			}
		}
		if o.Failures != 4 { // li's in the log, and as joined; jo's; di's
			t.Errorf("round %d: %d failures are kept, want 4", i, o.Failures)
		}
		decided, err := s.Decisions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, d := range decided {
			got[string(d.RecipientKey)] = d.State.Name()
		}
		want := map[string]string{"li@x.example": "pending", "jo@list.example": "pending", "di@y.example": "ok"}
		if !maps.Equal(got, want) {
			t.Errorf("round %d: states %v, want %v", i, got, want)
		}
	}
}

// freeAddrs returns n addresses that nobody listens on.
func freeAddrs(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // behind the last: a port that is given up at once may come again
		out = append(out, l.Addr().String())
	}
	return out
}

// report is a bounce mail: 550 5.1.1 for one recipient.
type report struct {
	reporting, queueID, recipient string
	at                            time.Time
}

func (r report) mail(to string) string {
	return strings.ReplaceAll(fmt.Sprintf(`Date: %s
From: MAILER-DAEMON@%s
To: %s
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=x

--x
Content-Type: message/delivery-status

Reporting-MTA: dns; %s
X-Postfix-Queue-ID: %s

Final-Recipient: rfc822; %s
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 user unknown

--x
Content-Type: text/rfc822-headers

Message-ID: <%s@shop.example>
From: a@shop.example

--x--
`, r.at.Format(time.RFC1123Z), r.reporting, to, r.reporting, r.queueID, r.recipient, r.queueID), "\n", "\r\n")
}

// lmtp hands one mail to the door and wants it to be taken.
func lmtp(t *testing.T, addr, to, mail string) {
	t.Helper()
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := func(code int) {
		t.Helper()
		if _, _, err := c.ReadResponse(code); err != nil {
			t.Fatal(err)
		}
	}
	want(220)
	for _, step := range []struct {
		line string
		code int
	}{{"LHLO test", 250}, {"MAIL FROM:<>", 250}, {"RCPT TO:<" + to + ">", 250}, {"DATA", 354}} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			t.Fatal(err)
		}
		want(step.code)
	}
	w := c.DotWriter()
	if _, err := w.Write([]byte(mail)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	want(250)
}

func post(t *testing.T, url, token, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", url, res.Status)
	}
}
