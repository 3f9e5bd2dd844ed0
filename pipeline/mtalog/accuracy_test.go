package mtalog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

// The samples' logs end in the days before this time.
var sampleReference = time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)

// truth is what the scripted sink and the submission record say about one recipient; nothing of it comes from the log.
type truth struct {
	Recipient    string  `json:"recipient"`
	OrigTo       string  `json:"orig_to"`
	Sender       string  `json:"sender"`
	MessageID    string  `json:"message_id"`
	QueueID      string  `json:"queue_id"` // postfix-bulk only
	Scenario     string  `json:"scenario"`
	Outcome      string  `json:"outcome"`
	Phase        string  `json:"phase"`
	LastCode     int     `json:"last_code"`
	LastEnhanced string  `json:"last_enhanced"`
	LastReply    string  `json:"last_reply"`
	Code         int     `json:"code"` // postfix-bulk's names of the last answer
	Enhanced     string  `json:"enhanced"`
	Reply        *string `json:"reply"`
	Tries        int     `json:"tries"`     // attempts that the sink saw; 0 is unknown
	SourceIP     string  `json:"source_ip"` // testdata/fresh only: from where the last one came
	Seen         []struct {
		IP string `json:"ip"`
	} `json:"seen"`
}

// sampleFolder returns a folder of samples beside the project, or skips the test.
func sampleFolder(t testing.TB, name string) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "samples", name)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no sample logs at ../shared/samples/%s beside the project", name)
	}
	return dir
}

func readGzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func readTruth(t testing.TB, path string) []truth {
	t.Helper()
	var out []truth
	s := bufio.NewScanner(bytes.NewReader(readGzip(t, path)))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var r truth
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.QueueID != "" {
			r.LastCode, r.LastEnhanced, r.LastReply = r.Code, r.Enhanced, ""
			if r.Reply != nil {
				r.LastReply = *r.Reply
			}
		}
		out = append(out, r)
	}
	return out
}

func lines(log []byte) [][]byte {
	return bytes.Split(bytes.TrimSuffix(log, []byte("\n")), []byte("\n"))
}

// correlate runs a log and returns copies of its events.
func correlate(t testing.TB, c *Correlator, log []byte) []*schema.DeliveryEvent {
	t.Helper()
	return correlateAs(t, c, log, FormatAuto, sampleReference)
}

func correlateAs(t testing.TB, c *Correlator, log []byte, format Format, reference time.Time) []*schema.DeliveryEvent {
	t.Helper()
	var events []*schema.DeliveryEvent
	keep := func(ev *schema.DeliveryEvent) { events = append(events, proto.Clone(ev).(*schema.DeliveryEvent)) }
	before := c.Stats()
	n := uint64(0)
	for _, line := range lines(log) {
		c.Line(Input{Line: line, Host: "carrier", Reference: reference, Format: format}, keep)
		n++
	}
	s := c.Stats()
	if got := s.Lines - before.Lines; got != n {
		t.Fatalf("%d lines counted, want %d", got, n)
	}
	sum := uint64(0)
	for _, k := range s.Kinds {
		sum += k
	}
	if sum != s.Lines {
		t.Fatalf("kinds sum up to %d of %d lines", sum, s.Lines)
	}
	return events
}

// share counts right answers of one kind and remembers the first wrong ones.
type share struct {
	right, all int
	wrong      []string
}

func (s *share) check(ok bool, format string, args ...any) {
	s.all++
	if ok {
		s.right++
		return
	}
	if len(s.wrong) < 10 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// compare judges the final event of each (message, recipient) against the truth. Shares below bar fail.
func compare(t *testing.T, events []*schema.DeliveryEvent, truths []truth, bar float64) {
	t.Helper()
	byQueueID := truths[0].QueueID != ""
	key := func(message, recipient, original string) string {
		return message + "\x00" + recipient + "\x00" + original
	}
	finals := map[string]*schema.DeliveryEvent{}
	for _, ev := range events {
		if !ev.Final {
			continue
		}
		message := ev.MessageId
		if byQueueID {
			message = ev.QueueId
		}
		k := key(message, ev.Recipient, ev.OriginalRecipient)
		if finals[k] != nil {
			t.Errorf("two final events for %s in %s", ev.Recipient, ev.QueueId)
		}
		finals[k] = ev
	}
	shares := map[string]*share{}
	names := []string{"outcome", "code", "enhanced", "reply", "phase", "sender", "cause of expiry", "attempts"}
	for _, n := range names {
		shares[n] = &share{}
	}
	cut, refused, buffered, login := 0, 0, 0, 0
	for _, w := range truths {
		message := w.MessageID
		if byQueueID {
			message = w.QueueID
		}
		ev := finals[key(message, w.Recipient, w.OrigTo)]
		if ev == nil {
			shares["outcome"].check(false, "%s %s: no final event, want %s", w.Scenario, w.Recipient, w.Outcome)
			continue
		}
		shares["outcome"].check(ev.Outcome.Name() == w.Outcome, "%s %s: outcome %s, want %s", w.Scenario, w.Recipient, ev.Outcome.Name(), w.Outcome)
		shares["sender"].check(ev.HasSender && ev.Sender == w.Sender, "%s %s: sender %q, want %q", w.Scenario, w.Recipient, ev.Sender, w.Sender)
		if w.Tries > 0 {
			shares["attempts"].check(int(ev.Attempt) == w.Tries, "%s %s: %d attempts, want %d", w.Scenario, w.Recipient, ev.Attempt, w.Tries)
		}
		code, enhanced, source, text, phase := ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource, ev.Text, ev.Phase
		if ev.Outcome == schema.Outcome_EXPIRED {
			shares["cause of expiry"].check(ev.Cause != nil, "%s %s: expired without cause", w.Scenario, w.Recipient)
			if ev.Cause == nil {
				continue
			}
			code, enhanced, source, text, phase = ev.Cause.SmtpCode, ev.Cause.EnhancedCode, ev.Cause.EnhancedSource, ev.Cause.Text, ev.Cause.Phase
		}
		if ev.Outcome == schema.Outcome_DELIVERED {
			if byQueueID {
				shares["code"].check(int(code) == w.LastCode, "%s %s: code %d, want %d", w.Scenario, w.Recipient, code, w.LastCode)
			}
			continue
		}
		shares["code"].check(int(code) == w.LastCode, "%s %s: code %d, want %d (%s)", w.Scenario, w.Recipient, code, w.LastCode, text)
		if w.LastEnhanced != "" {
			shares["enhanced"].check(enhanced == w.LastEnhanced && source == schema.EnhancedSource_ENHANCED_REMOTE,
				"%s %s: enhanced %s by %s, want %s (%s)", w.Scenario, w.Recipient, enhanced, source.Name(), w.LastEnhanced, text)
		} else if !strings.HasPrefix(w.LastReply, "Error:") {
			// A line that was no reply is followed by what the sink said to the next command, code and all.
			shares["enhanced"].check(source != schema.EnhancedSource_ENHANCED_REMOTE, "%s %s: enhanced %s by the remote, which sent none (%s)", w.Scenario, w.Recipient, enhanced, text)
		}
		replied := sameReply(text, w.LastReply)
		if w.LastReply != "" {
			shares["reply"].check(replied, "%s %s: reply %q, want %q", w.Scenario, w.Recipient, text, w.LastReply)
		}
		switch {
		case phase == schema.Phase_PHASE_UNSPECIFIED && len(text) > 1500:
			cut++ // syslogd cut the line before "(in reply to ...": the log does not say
		case phase == schema.Phase_BANNER && w.Phase == "ehlo":
			refused++ // "refused to talk to me" is one text for greeting and EHLO: the log does not say
		case phase == schema.Phase_EHLO && w.Phase == "auth" && strings.Contains(text, " while performing the EHLO handshake"):
			login++ // AUTH is part of that handshake in Postfix's words: the log does not say
		case phase == schema.Phase_EOM && w.Phase == "data" && strings.Contains(text, " while sending end of data"):
			buffered++ // a reset during the body is noticed after the final dot if the body fits the socket's buffer
		default:
			shares["phase"].check(phase.Name() == w.Phase, "%s %s: phase %s, want %s (%s)", w.Scenario, w.Recipient, phase.Name(), w.Phase, text)
		}
	}
	for _, n := range names {
		s := shares[n]
		if s.all == 0 {
			continue
		}
		got := float64(s.right) / float64(s.all)
		t.Logf("%-16s %6d of %6d  %.4f %%", n, s.right, s.all, got*100)
		if got < bar {
			t.Errorf("%s: %.4f %% right, want %.4f %%", n, got*100, bar*100)
		}
		if s.right < s.all {
			t.Logf("  %s", strings.Join(s.wrong, "\n  "))
		}
	}
	t.Logf("phase not in the log: %d lines cut, %d refusals of EHLO, %d resets during a short body, %d losses during AUTH", cut, refused, buffered, login)
}

// sameReply compares a logged reply with what was sent: Postfix joins lines by a blank and writes "?" for what is not
// printable; syslogd cuts the end.
func sameReply(logged, sent string) bool {
	sent = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return ' '
		case r < ' ' || r == 0x7f || r == '\uFFFD': // the last stands for a byte that was no UTF-8
			return '?'
		}
		return r
	}, sent)
	if logged == sent {
		return true
	}
	if len(logged) > 1500 {
		return strings.HasPrefix(sent, logged)
	}
	return strings.HasPrefix(logged, "Error:") && strings.HasPrefix(logged, sent)
}

// What the older sample does not have: Postfix 3.11 with its tls= field, long queue ids and a syslog_name of its own; LMTP,
// pipe, required TLS, DANE, AUTH, IPv6, hostile replies and addresses, suspended destinations, hold, requeue and forced
// expiry. testdata/postfix-3.11/README.md tells how it was made.
func TestNewerPostfixAgainstSink(t *testing.T) {
	truths := readTruth(t, filepath.Join("testdata", "postfix-3.11", "truth.jsonl.gz"))
	for _, format := range []string{"mail", "mail.5424"} {
		t.Run(format, func(t *testing.T) {
			c := NewCorrelator(DefaultConfig())
			events := correlate(t, c, readGzip(t, filepath.Join("testdata", "postfix-3.11", format+".log.gz")))
			compare(t, events, truths, 1)
			checkNothingUnparsed(t, c)
		})
	}
}

// TestPostfixSampleAgainstSink holds every word that the log and the sink share.
func TestPostfixSampleAgainstSink(t *testing.T) {
	againstSink(t, func(testing.TB) string { return filepath.Join("testdata", "postfix") }, 1)
}

func TestWholeSampleAgainstSink(t *testing.T) {
	againstSink(t, func(t testing.TB) string { return sampleFolder(t, "postfix") }, 0.999)
}

func againstSink(t *testing.T, folder func(testing.TB) string, bar float64) {
	for _, format := range []string{"mail", "mail.iso", "mail.5424"} {
		t.Run(format, func(t *testing.T) {
			dir := folder(t)
			c := NewCorrelator(DefaultConfig())
			events := correlate(t, c, readGzip(t, filepath.Join(dir, format+".log.gz")))
			compare(t, events, readTruth(t, filepath.Join(dir, "truth.jsonl.gz")), bar)
			checkNothingUnparsed(t, c)
		})
	}
}

func TestBulkSampleAgainstSink(t *testing.T) {
	if testing.Short() {
		t.Skip("half a million lines")
	}
	dir := sampleFolder(t, "postfix-bulk")
	c := NewCorrelator(DefaultConfig())
	events := correlate(t, c, readGzip(t, filepath.Join(dir, "mail.log.gz")))
	compare(t, events, readTruth(t, filepath.Join(dir, "truth.jsonl.gz")), 0.999)
	checkNothingUnparsed(t, c)
}

func checkNothingUnparsed(t *testing.T, c *Correlator) {
	t.Helper()
	s := c.Stats()
	t.Logf("lines %d: %d event, %d state, %d noise, %d unparsed; events %d, orphans %d", s.Lines,
		s.Kinds[KindEvent], s.Kinds[KindState], s.Kinds[KindNoise], s.Kinds[KindUnparsed], s.Events, s.Orphans)
	if n := s.Kinds[KindUnparsed]; n > 0 {
		t.Errorf("%d lines of a real Postfix unparsed: %v", n, s.Reasons)
	}
	if s.Orphans > 0 || s.Unheard > 0 {
		t.Errorf("%d orphans and %d unheard recipients in a complete log", s.Orphans, s.Unheard)
	}
}
