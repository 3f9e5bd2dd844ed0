package survey

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

const sampleDir = "../mtalog/testdata/postfix"

// sample returns an unpacked file of the Postfix sample.
func sample(tb testing.TB, name string) []byte {
	tb.Helper()
	f, err := os.Open(filepath.Join(sampleDir, name))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	return unzip(tb, f)
}

func unzip(tb testing.TB, r io.Reader) []byte {
	tb.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// ownRules is a small set that changes with these tests only.
func ownRules(tb testing.TB) *rules.Set {
	tb.Helper()
	set, err := rules.LoadFS(os.DirFS("testdata/rules"))
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func mustRead(tb testing.TB, l *Log, name string, text []byte, emit func(*schema.DeliveryEvent)) {
	tb.Helper()
	src := Source{Name: name, Reference: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
	err := l.Read(tb.Context(), bytes.NewReader(text), src, func(ev *schema.DeliveryEvent) error {
		emit(ev)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func surveyOf(tb testing.TB, set *rules.Set, text []byte, showAddresses bool) *Report {
	tb.Helper()
	log, sum := NewLog(nil, nil), New(set, showAddresses)
	mustRead(tb, log, "mail.log", text, sum.Event)
	return sum.Report(log.Stats())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s:\n%s", path, got)
	}
}

func TestReportOfARealLog(t *testing.T) {
	r := surveyOf(t, ownRules(t), sample(t, "mail.log.gz"), false)
	for _, columns := range []int{80, 0} {
		var b bytes.Buffer
		if err := r.WriteText(&b, Style{Columns: columns}); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("report-%d.txt", columns), b.Bytes())
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(b, '\n'))
}

// The same lines under another header give the same findings.
func TestStampFormatsGiveOneReport(t *testing.T) {
	set := ownRules(t)
	var want []byte
	for _, name := range []string{"mail.log.gz", "mail.iso.log.gz", "mail.5424.log.gz"} {
		r := surveyOf(t, set, sample(t, name), false)
		r.Input = Stats{Events: r.Input.Events} // stamps and daemons are told differently
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = b
		}
		if !bytes.Equal(b, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, b, want)
		}
	}
}

// The truth was recorded by the servers that answered, not by the log: a naive list drops exactly the recipients that
// bounced or expired, and the product's own rules find evidence only where a server called the recipient unknown or dead.
func TestNaiveListAgainstTheServersOwnRecord(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	type truth struct {
		Recipient, Outcome, Scenario, Phase string
		LastCode                            int `json:"last_code"`
	}
	dropped := map[string]truth{}
	delivered := 0
	for line := range bytes.Lines(sample(t, "truth.jsonl.gz")) {
		var o truth
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatal(err)
		}
		switch o.Outcome {
		case "bounced", "expired":
			dropped[strings.ToLower(o.Recipient)] = o
		case "delivered":
			delivered++
		}
	}
	log, sum := NewLog(nil, nil), New(set, true)
	mustRead(t, log, "mail.log", sample(t, "mail.log.gz"), sum.Event)
	r := sum.Report(log.Stats())
	if r.Naive.Dropped != int64(len(dropped)) {
		t.Errorf("%d dropped, the servers say %d", r.Naive.Dropped, len(dropped))
	}
	for key, found := range sum.recipients {
		o, ok := dropped[key]
		if !ok {
			t.Errorf("%s was dropped; the servers know no failure", key)
		}
		temporary := o.Outcome == "expired" || o.LastCode < 500
		if whyWrong(found) == "" && (temporary || o.Phase == "dns" || o.Phase == "connect" || o.Phase == "banner" || o.Phase == "tls") {
			t.Errorf("%s (%s, %s): %s is called evidence against the recipient", key, o.Scenario, o.Outcome, found.class)
		}
	}
	if r.Naive.Wrong+r.Naive.Evidence != r.Naive.Dropped || r.Naive.Wrong != r.Naive.Delivered+r.Naive.Nothing+r.Naive.Weak+r.Naive.Domain {
		t.Errorf("parts do not add up: %+v", r.Naive)
	}
}

// Sums over every table equal the events that were put in.
func TestTablesAddUp(t *testing.T) {
	r := surveyOf(t, ownRules(t), sample(t, "mail.log.gz"), false)
	var outcomes, providers, failures, reasons, naive int64
	for _, o := range r.Outcomes {
		outcomes += o.Count
	}
	for _, p := range r.Providers {
		providers += p.Delivered + p.failures()
		failures += p.failures()
		for _, c := range p.Reasons {
			reasons += c.events()
		}
	}
	for _, c := range r.Naive.Reasons {
		naive += c.Recipients
	}
	if outcomes != r.Input.Events || providers != outcomes || reasons != failures || naive != r.Naive.Wrong {
		t.Errorf("events %d, outcomes %d, providers %d; failures %d, reasons %d; wrong %d, by reason %d",
			r.Input.Events, outcomes, providers, failures, reasons, r.Naive.Wrong, naive)
	}
	if r.Input.Lines != r.Input.Event+r.Input.Known+r.Input.Unparsed {
		t.Errorf("lines do not add up: %+v", r.Input)
	}
}

// A story in events: what becomes of a recipient who fails and comes back, in the order of event time.
func TestNaiveVerdictFollowsTheRecipient(t *testing.T) {
	const unknown, full, rate, dns = "550 5.1.1 user unknown", "552 5.2.2 mailbox full", "421 4.7.1 too many messages", "Host not found"
	type step struct {
		at      int64
		outcome schema.Outcome
		text    string
	}
	const delivered, bounced, deferred, expired = schema.Outcome_DELIVERED, schema.Outcome_BOUNCED, schema.Outcome_DEFERRED, schema.Outcome_EXPIRED
	for _, tc := range []struct {
		name  string
		steps []step
		want  string // why dropping is wrong; "right", or "kept" if a naive list keeps the recipient
	}{
		{"unknown", []step{{1, bounced, unknown}}, "right"},
		{"full", []step{{1, bounced, full}}, "weak"},
		{"full, then unknown", []step{{1, bounced, full}, {2, bounced, unknown}}, "right"},
		{"unknown, then full", []step{{1, bounced, unknown}, {2, bounced, full}}, "right"},
		{"rate limit until expiry", []step{{1, deferred, rate}, {2, expired, rate}}, "nothing"},
		{"deferred only", []step{{1, deferred, rate}, {2, deferred, full}}, "kept"},
		{"no such domain", []step{{1, bounced, dns}}, "domain"},
		{"unknown, then delivered", []step{{1, bounced, unknown}, {2, delivered, ""}}, "delivered_later"},
		{"delivered, then unknown", []step{{1, delivered, ""}, {2, bounced, unknown}}, "right"},
		{"unknown, delivered, unknown", []step{{1, bounced, unknown}, {2, delivered, ""}, {3, bounced, unknown}}, "right"},
		{"unknown, delivered, full", []step{{1, bounced, unknown}, {2, delivered, ""}, {3, bounced, full}}, "delivered_later"},
		{"an older delivery that is logged later", []step{{5, bounced, unknown}, {2, delivered, ""}}, "right"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(ownRules(t), false)
			for i, e := range tc.steps {
				ev := &schema.DeliveryEvent{
					OccurredAtUs: e.at, Outcome: e.outcome, Final: e.outcome != deferred, Text: e.text, Recipient: []string{"jane@example.com", "JANE@Example.COM"}[i%2],
					Origin: schema.Origin_REMOTE_REPLY,
				}
				if e.text == dns {
					ev.Origin = schema.Origin_LOCAL_MTA
				}
				if e.outcome == expired {
					ev.Cause = &schema.Cause{Text: e.text, Origin: schema.Origin_REMOTE_REPLY}
					ev.Text = "returned to sender"
				}
				s.Event(ev)
			}
			got := "kept"
			if n := s.naive(); n.Dropped > 0 {
				got = "right"
				if n.Wrong == 1 {
					got = n.Reasons[0].Why
				}
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestFailedNotificationsDropNobody(t *testing.T) {
	for _, tc := range []struct {
		sender    string
		hasSender bool
		want      int64
	}{{"", true, 0}, {"", false, 1}, {"news@example.com", true, 1}} {
		s := New(ownRules(t), false)
		s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_BOUNCED, Final: true, Recipient: "r@example.com", Sender: tc.sender, HasSender: tc.hasSender})
		if n := s.naive(); n.Dropped != tc.want {
			t.Errorf("sender %q, known %v: %d dropped", tc.sender, tc.hasSender, n.Dropped)
		}
	}
}

func TestSilencesAreToldApart(t *testing.T) {
	for _, tc := range []struct {
		want  silence
		phase schema.Phase
		text  string
	}{
		{silentDNS, schema.Phase_DNS, "Host not found"},
		{silentConnect, schema.Phase_CONNECT, "connect to mx[192.0.2.1]:25: Connection timed out"},
		{silentBanner, schema.Phase_BANNER, "conversation with mx timed out while receiving the initial server greeting"},
		{silentTLS, schema.Phase_TLS, "Cannot start TLS: handshake failure"},
		{silentCommand, schema.Phase_RCPT, "conversation with mx timed out while sending RCPT TO"},
		{silentLost, schema.Phase_RCPT, "lost connection with mx while sending RCPT TO"},
		{silentDot, schema.Phase_EOM, "lost connection with mx while sending end of data"},
		{silentLocal, schema.Phase_MAIL, "message size 7 exceeds size limit 5"},
		{silentConnect, schema.Phase_CONNECT, "words nobody has seen"},
	} {
		s := New(ownRules(t), false)
		s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_DEFERRED, Phase: tc.phase, Origin: schema.Origin_LOCAL_MTA, Text: tc.text, Recipient: "r@example.com"})
		for kind := range silences {
			if want := kind == tc.want; (s.codeless[kind].events == 1) != want {
				name, _, _ := kind.words()
				t.Errorf("%q: counted as %s: %v", tc.text, name, !want)
			}
		}
	}
	s := New(ownRules(t), false)
	s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_DEFERRED, SmtpCode: 450, Phase: schema.Phase_RCPT, Origin: schema.Origin_REMOTE_REPLY, Text: "450 busy"})
	s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_BOUNCED, Phase: schema.Phase_RCPT, Origin: schema.Origin_REMOTE_REPLY, Text: "garbage"})
	s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_EXPIRED, Final: true, Phase: schema.Phase_QUEUE})
	s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_SUSPENDED, SmtpCode: 421, Origin: schema.Origin_REMOTE_REPLY, Text: "421 busy"})
	r := s.Report(Stats{})
	if len(r.Codeless) != 2 || r.Codeless[0].Kind != "expiry" || r.Codeless[1].Kind != "suspended" {
		t.Errorf("answers of servers are counted as silence: %+v", r.Codeless)
	}
}

// Terminal escapes, direction marks and forged lines in a log reach neither terminal nor table structure; nor do local
// parts unless asked for.
func TestHostileLogStaysText(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\a\u202etxt\u2066\r\n=> forged\tline \x9b31m 日本"
	hostile := &schema.DeliveryEvent{
		Outcome: schema.Outcome_BOUNCED, Final: true, SmtpCode: 550, Origin: schema.Origin_REMOTE_REPLY,
		Text: "550 " + evil + " secret.person@example.com", Recipient: "secret.person" + evil + "@example.com", RemoteHost: evil,
	}
	stats := Stats{Detail: []LineCount{{Kind: "unparsed", Daemon: evil, Reason: "frame", Lines: 1, Samples: []string{evil}}}, Feeds: []FeedCount{{Feed: evil, Failures: 1}}}
	for _, show := range []bool{false, true} {
		s := New(ownRules(t), show)
		s.Event(hostile)
		r := s.Report(stats)
		e := Explain(s.set, &rules.Input{Text: "550 " + evil, Provider: "google"})
		var b bytes.Buffer
		for _, write := range []func() error{
			func() error { return r.WriteText(&b, Style{Columns: 80}) },
			func() error { return e.WriteText(&b, Style{Columns: 80}) },
			func() error { return stats.WriteText(&b) },
		} {
			if err := write(); err != nil {
				t.Fatal(err)
			}
		}
		text := b.String()
		if strings.ContainsAny(text, "\x1b\a\r\t\u202e\u2066\u009b") || !utf8.ValidString(text) {
			t.Errorf("reaches the terminal: %q", text)
		}
		if strings.Contains(text, "\n=> forged") {
			t.Errorf("begins a line: %s", text)
		}
		if strings.Contains(text, "secret.person") != show {
			t.Errorf("show addresses %v:\n%s", show, text)
		}
	}
}

func TestBoundsAreKeptAndTold(t *testing.T) {
	s := New(ownRules(t), false)
	word := func(n int) string {
		b := []byte("aaaa")
		for i := range b {
			b[i] += byte(n % 26)
			n /= 26
		}
		return string(b)
	}
	for i := range maxTemplates + 10 {
		s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_DEFERRED, SmtpCode: 450, Text: "450 strange " + word(i), Origin: schema.Origin_REMOTE_REPLY})
	}
	r := s.Report(Stats{})
	if r.Unknown.Events != maxTemplates+10 || r.Unknown.Beyond != 10 || len(r.Unknown.Texts) != maxTemplates {
		t.Errorf("%d events, %d beyond, %d texts", r.Unknown.Events, r.Unknown.Beyond, len(r.Unknown.Texts))
	}
	long := strings.Repeat("日", 1<<16)
	if got := s.sample(long, ""); len(got) > sampleBytes+3 || !utf8.ValidString(got) {
		t.Errorf("a sample of %d bytes", len(got))
	}
}

func BenchmarkSurvey(b *testing.B) {
	set, err := rules.Load()
	if err != nil {
		b.Fatal(err)
	}
	text := sample(b, "mail.log.gz")
	lines := bytes.Count(text, []byte("\n"))
	for b.Loop() {
		surveyOf(b, set, text, false)
	}
	b.ReportMetric(float64(lines*b.N)/b.Elapsed().Seconds(), "lines/s")
}
