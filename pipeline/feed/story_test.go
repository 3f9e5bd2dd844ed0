package feed

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

var update = flag.Bool("update", false, "write the outcomes into testdata")

// testSite asks for a tenant and a stream in every format's own way.
const testSite = `
revision: 1
labels:
  tenant:
    - {from: field, name: meta.tenant_id}
    - {from: field, name: rcpt_meta.tenant_id}
    - {from: field, name: tags.tenant_id}
    - {from: field, name: unique_args.tenant_id}
    - {from: field, name: user-variables.tenant_id}
    - {from: field, name: Metadata.tenant_id}
    - {from: header, name: X-Tenant}
  stream:
    - {from: field, name: meta.mail_class}
`

func mustSite(tb testing.TB, text string) *site.Site {
	tb.Helper()
	s, err := site.Parse([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// parsedSite is testSite, read once for the tests that make thousands of parsers.
var parsedSite = sync.OnceValues(func() (*site.Site, error) { return site.Parse([]byte(testSite)) })

// testParser returns a Parser with testSite.
func testParser(tb testing.TB) *Parser {
	tb.Helper()
	s, err := parsedSite()
	if err != nil {
		tb.Fatal(err)
	}
	p := New()
	p.SetSite(s)
	return p
}

// story is a comment, a body, and what it gives, as a file of testdata holds it: "# comment", body, "----", outcome.
type story struct{ name, body, want string }

func readStories(tb testing.TB, format string) []story {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", format+".txt"))
	if err != nil {
		tb.Fatal(err)
	}
	var out []story
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		name, rest, ok := strings.Cut(block, "\n")
		if !ok || !strings.HasPrefix(name, "# ") {
			tb.Fatalf("%s: a story begins with a comment and a body follows: %q", format, block)
		}
		body, want, _ := strings.Cut(rest, "\n----\n")
		out = append(out, story{strings.TrimPrefix(name, "# "), body, want})
	}
	return out
}

// body returns the story's input as the feed would write it.
func (s story) input(format string) []byte {
	if format == PowerMTA {
		return []byte(strings.ReplaceAll(s.body, "\n", "\r\n") + "\r\n")
	}
	return []byte(s.body)
}

// tell writes an event with everything that the record told.
func tell(ev *schema.DeliveryEvent) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", ev.Recipient, ev.Outcome.Name())
	if ev.Final {
		b.WriteString(" final")
	}
	field := func(name string, value any, show bool) {
		if show {
			fmt.Fprintf(&b, " %s=%v", name, value)
		}
	}
	field("code", ev.SmtpCode, ev.SmtpCode != 0)
	field("enhanced", ev.EnhancedCode, ev.EnhancedCode != "")
	field("by", ev.EnhancedSource.Name(), true)
	field("origin", ev.Origin.Name(), ev.Origin != 0)
	field("phase", ev.Phase.Name(), ev.Phase != 0)
	field("text", fmt.Sprintf("%q", ev.Text), ev.Text != "")
	if c := ev.Cause; c != nil {
		fmt.Fprintf(&b, " cause[code=%d enhanced=%s by=%s origin=%s phase=%s remote=%s/%s text=%q]", c.SmtpCode, c.EnhancedCode,
			c.EnhancedSource.Name(), c.Origin.Name(), c.Phase.Name(), c.RemoteHost, c.RemoteIp, c.Text)
	}
	field("at", time.UnixMicro(ev.OccurredAtUs).UTC().Format(time.RFC3339Nano), true)
	field("trust", ev.Trust.Name(), ev.Trust != 0)
	field("delay", ev.DelayMs, ev.HasDelay)
	field("attempt", ev.Attempt, ev.Attempt != 0)
	field("sender", "<"+ev.Sender+">", ev.HasSender)
	field("original", ev.OriginalRecipient, ev.OriginalRecipient != "")
	field("queue", ev.QueueId, ev.QueueId != "")
	field("message", ev.MessageId, ev.MessageId != "")
	field("tenant", ev.Tenant, ev.Tenant != "")
	field("stream", ev.Stream, ev.Stream != "")
	field("source", ev.SourceIp, ev.SourceIp != "")
	field("remote", ev.RemoteHost+"/"+ev.RemoteIp, ev.RemoteHost+ev.RemoteIp != "")
	field("instance", ev.Instance, ev.Instance != "")
	field("host", ev.MtaHost, ev.MtaHost != "")
	field("campaign", ev.Campaign, ev.Campaign != "")
	field("feed", ev.Feed, ev.Feed != "")
	field("machine", ev.Machine, ev.Machine)
	field("id", ev.FeedEventId, ev.FeedEventId != "")
	return b.String()
}

// parse reads a body and tells all that came of it.
func parse(tb testing.TB, format string, body []byte) (string, Result) {
	tb.Helper()
	var out []string
	res, err := testParser(tb).Parse(format, body, Handler{
		Event: func(ev *schema.DeliveryEvent) {
			out = append(out, tell(ev))
			if ev.Mta != format {
				tb.Errorf("mta %q", ev.Mta)
			}
			quiet := ev.Outcome == schema.Outcome_DELIVERED || ev.Outcome == schema.Outcome_OPENED || ev.Outcome == schema.Outcome_CLICKED
			if ev.Raw == nil || (ev.Raw.Line == "") != quiet {
				tb.Errorf("raw %v of %s", ev.Raw, ev.Outcome.Name())
			}
		},
		Fault: func(err *Error) {
			name := err.Reason.String()
			if err.Type != "" {
				name += " " + strconv.Quote(err.Type)
			}
			out = append(out, fmt.Sprintf("fault %s at %d: %q", name, err.Offset, err.Value))
		},
	})
	for n, count := range res.Noise {
		if count > 0 {
			out = append(out, fmt.Sprintf("noise %s %d", Noise(n), count))
		}
	}
	if err != nil {
		out = append(out, err.Error())
	}
	return strings.Join(out, "\n"), res
}

// Every known type of record of every feed gives what its record says, and nothing that it does not say. The outcomes in
// testdata were set by reading.
func TestStories(t *testing.T) {
	for _, format := range Formats() {
		stories := readStories(t, format)
		for i, s := range stories {
			t.Run(format+"/"+s.name, func(t *testing.T) {
				got, res := parse(t, format, s.input(format))
				if *update {
					stories[i].want = got
					return
				}
				if got != strings.TrimSpace(s.want) {
					t.Errorf("got\n%s\nwant\n%s", got, s.want)
				}
				if res.Faults != strings.Count(got, "fault ") {
					t.Errorf("%d faults counted in\n%s", res.Faults, got)
				}
			})
		}
		if *update {
			var b strings.Builder
			for _, s := range stories {
				fmt.Fprintf(&b, "# %s\n%s\n----\n%s\n\n", s.name, s.body, s.want)
			}
			if err := os.WriteFile(filepath.Join("testdata", format+".txt"), []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Detect names each story's format, PowerMTA's where it has a header.
func TestDetect(t *testing.T) {
	for _, format := range Formats() {
		for _, s := range readStories(t, format)[:1] {
			if got, ok := Detect(s.input(format)); !ok || got != format {
				t.Errorf("%s: detected %q, %t", format, got, ok)
			}
		}
	}
	for _, body := range []string{"", "[", "[]", "[7]", "{}", "{", `{"a":1}`, "Nov 21 08:00:00 host postfix/smtp[1]: x", `{"type":"x"}`} {
		if got, ok := Detect([]byte(body)); ok {
			t.Errorf("%q detected as %s", body, got)
		}
	}
}

// A body beyond a bound, or that is no JSON, is refused as a whole with its reason and place; nothing is emitted.
func TestBodiesAreRefusedWhole(t *testing.T) {
	for _, c := range []struct {
		name, format, body string
		want               Reason
		offset             int
	}{
		{"no such format", "carrier-pigeon", "{}", ReasonFormat, 0},
		{"cut", SendGrid, `[{"email":"a@dest.example","timestamp":1,"event":"bounce"},{"em`, ReasonSyntax, 63},
		{"garbage behind", Postmark, `{"RecordType":"Open"} x`, ReasonSyntax, 22},
		{"control character", Mailgun, "{\"a\":\"\x01\"}", ReasonSyntax, 6},
		{"NUL", Mailgun, "\x00", ReasonSyntax, 0},
		{"UTF-16", Postmark, "\xff\xfe{\x00}\x00", ReasonEncoding, 0},
		{"UTF-16 without mark", Postmark, "{\x00}\x00", ReasonEncoding, 1},
		{"UTF-32", Postmark, "\x00\x00\x00{\x00\x00\x00}", ReasonEncoding, 0},
		{"too large", SparkPost, strings.Repeat(" ", MaxBodyBytes+1), ReasonTooLarge, MaxBodyBytes},
		{"too large", PowerMTA, strings.Repeat(" ", MaxBodyBytes+1), ReasonTooLarge, MaxBodyBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := New().Parse(c.format, []byte(c.body), Handler{
				Event: func(ev *schema.DeliveryEvent) { t.Errorf("emitted %v", ev) },
				Fault: func(err *Error) { t.Errorf("fault %v", err) },
			})
			var e *Error
			if !errors.As(err, &e) || e.Reason != c.want || e.Offset != c.offset || res != (Result{}) {
				t.Errorf("got %v, %+v; want %s at %d", err, res, c.want, c.offset)
			}
			if err != nil && strings.Contains(err.Error(), "dest.example") {
				t.Errorf("the error repeats the body: %v", err)
			}
		})
	}
}

// Records and recipients beyond their bounds are refused, not dropped in silence.
func TestBoundsOnRecordsAndRecipients(t *testing.T) {
	events := 0
	h := Handler{Event: func(*schema.DeliveryEvent) { events++ }}
	res, err := New().Parse(SendGrid, []byte("["+strings.Repeat("7,", MaxRecords)+"7]"), h)
	var e *Error
	if !errors.As(err, &e) || e.Reason != ReasonTooMany || e.Record != MaxRecords+1 || res.Faults != MaxRecords {
		t.Errorf("%v after %d faults", err, res.Faults)
	}
	to := `"a@dest.example"` + strings.Repeat(`,"a@dest.example"`, MaxRecipients)
	for format, body := range map[string]string{
		KumoMTA: `{"type":"Bounce","timestamp":1757003271,"recipient":[` + to + `]}`,
		SES:     `{"eventType":"Delivery","mail":{"timestamp":"2025-09-04T16:27:50Z"},"delivery":{"recipients":[` + to + `]}}`,
	} {
		var why Reason
		h.Fault = func(err *Error) { why = err.Reason }
		if res, err := New().Parse(format, []byte(body), h); err != nil || res.Faults != 1 || why != ReasonTooMany || events != 0 {
			t.Errorf("%s: %+v, %v, reason %s, %d events", format, res, err, why, events)
		}
	}
}

// Long strings are cut at a rune's begin, and bytes that are no UTF-8 become U+FFFD.
func TestStringsAreBoundedAndUTF8(t *testing.T) {
	body := `{"type":"Bounce","timestamp":1757003271,"id":"` + strings.Repeat("ü", maxString) + `","recipient":"a` + "\xff" + `@dest.example",` +
		`"response":{"code":550,"content":"` + strings.Repeat("€", maxText) + `","command":"RCPT"},"peer_address":{"addr":"192.0.2.1"}}`
	n := 0
	res, err := New().Parse(KumoMTA, []byte(body), Handler{Event: func(ev *schema.DeliveryEvent) {
		n++
		if len(ev.QueueId) != maxString || !strings.HasPrefix(ev.Text, "550 €") || len(ev.Text) > maxText || len(ev.Text) < maxText-3 || len(ev.Raw.Line) > maxText {
			t.Errorf("lengths %d, %d, %d", len(ev.QueueId), len(ev.Text), len(ev.Raw.Line))
		}
		for _, s := range []string{ev.Text, ev.QueueId, ev.Raw.Line} {
			if strings.ToValidUTF8(s, "") != s {
				t.Errorf("not UTF-8: %q", s[len(s)-4:])
			}
		}
		if ev.Recipient != "a\uFFFD@dest.example" {
			t.Errorf("recipient %q", ev.Recipient)
		}
	}})
	if n != 1 || err != nil {
		t.Errorf("%d events, %+v, %v", n, res, err)
	}
}
