package mtalog

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// sample is one MTA's logs, and what they do not say.
type sample struct {
	format Format
	folder string // below testdata/fresh; empty for the sample itself
	files  []string
	login  string // tenants of the two recipients whose sender had logged in, if the log tells (TestFreshLogsGiveLabels)
	// messageID tells that the log names the Message-ID; else a recipient is found by its address and sender.
	messageID bool
	// silent returns why the log does not say a field of a recipient, or "". Only answers that differ from the truth are
	// asked about, only these are left out of the shares, and each reason is counted in the test's output.
	silent func(field string, w *truth, got answerOf) string
	reply  func(logged, sent string) bool
}

// answerOf is the last answer that a recipient got according to the log.
type answerOf struct {
	code     int32
	enhanced string
	source   schema.EnhancedSource
	text     string
	phase    schema.Phase
	origin   schema.Origin
}

func samples() []sample {
	syslog := []string{"mail.log.gz", "mail.iso.log.gz", "mail.5424.log.gz"}
	return []sample{
		{format: FormatExim, files: append([]string{"mainlog.gz"}, syslog...), messageID: true, silent: eximSilent, reply: replyFolded(`\n`)},
		{format: FormatSendmail, files: syslog, messageID: true, silent: sendmailSilent, reply: firstLine},
		{format: FormatOpenSMTPD, files: syslog, silent: opensmtpdSilent, reply: withoutCodes},
		{format: FormatHaraka, files: []string{"haraka.log.gz"}, messageID: true, silent: harakaSilent, reply: withoutCodes},
		{format: FormatDMA, files: syslog, silent: dmaSilent, reply: replyFolded("#015#012")},
		{format: FormatQmail, files: append([]string{"send.tai64n.log.gz", "send.local.log.gz"}, syslog...), silent: qmailSilent, reply: qmailReplied},
	}
}

// path returns the place of a file of the sample.
func (s *sample) path(file string) string {
	if s.folder != "" {
		return filepath.Join("testdata", "fresh", s.folder, file)
	}
	return filepath.Join("testdata", s.format.String(), file)
}

// reference is a time at which the log had ended.
func (s *sample) reference() time.Time {
	if s.folder != "" {
		return time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	}
	return sampleReference
}

func TestFormatSamplesAgainstSink(t *testing.T) {
	for _, s := range samples() {
		for _, file := range s.files {
			for _, forced := range []Format{FormatAuto, s.format} {
				t.Run(s.format.String()+"/"+file+"/"+forced.String(), func(t *testing.T) {
					s.against(t, filepath.Join("testdata", s.format.String()), file, forced)
				})
			}
		}
	}
}

func TestWholeFormatSamplesAgainstSink(t *testing.T) {
	for _, s := range samples() {
		if s.format == FormatQmail {
			continue // its sample is the writer's, and whole
		}
		for _, file := range s.files {
			t.Run(s.format.String()+"/"+file, func(t *testing.T) {
				s.against(t, sampleFolder(t, s.format.String()), file, FormatAuto)
			})
		}
	}
}

func (s *sample) against(t *testing.T, dir, file string, forced Format) {
	c := NewCorrelator(DefaultConfig())
	events := correlateAs(t, c, readGzip(t, filepath.Join(dir, file)), forced, s.reference())
	s.compare(t, events, readTruth(t, filepath.Join(dir, "truth.jsonl.gz")))
	st := c.Stats()
	t.Logf("lines %d: %d event, %d state, %d noise, %d unparsed; events %d, orphans %d, entries left %d", st.Lines,
		st.Kinds[KindEvent], st.Kinds[KindState], st.Kinds[KindNoise], st.Kinds[KindUnparsed], st.Events, st.Orphans, st.Entries)
	if n := st.Kinds[KindUnparsed]; n > 0 {
		t.Errorf("%d lines of a real log unparsed: %v", n, st.Reasons)
	}
	for _, ev := range events {
		if ev.Mta != s.format.String() {
			t.Fatalf("event of %q in a log of %s", ev.Mta, s.format)
		}
	}
}

func (s *sample) key(message, sender, recipient string) string {
	if !s.messageID {
		message = sender
	}
	return message + "\x00" + strings.ToLower(recipient)
}

// tally compares one field after the other.
type tally struct {
	sample *sample
	shares map[string]*share
	silent map[string]int
}

func (y *tally) check(field string, w *truth, got answerOf, ok bool, format string, args ...any) {
	if !ok {
		if why := y.sample.silent(field, w, got); why != "" {
			y.silent[field+": "+why]++
			return
		}
	}
	if y.shares[field] == nil {
		y.shares[field] = &share{}
	}
	y.shares[field].check(ok, w.Scenario+" "+w.Recipient+": "+format, args...)
}

func (s *sample) compare(t *testing.T, events []*schema.DeliveryEvent, truths []truth) {
	t.Helper()
	asked := map[string]bool{}
	for i := range truths {
		asked[s.key(truths[i].MessageID, truths[i].Sender, truths[i].Recipient)] = true
	}
	finals, last := map[string]*schema.DeliveryEvent{}, map[string]*schema.DeliveryEvent{}
	attempts := map[string]uint32{}
	for _, ev := range events {
		k := s.key(ev.MessageId, ev.Sender, ev.Recipient)
		switch {
		case !asked[k]: // the MTA's own notifications
		case !ev.Final:
			if ev.Outcome != schema.Outcome_SUSPENDED {
				last[k] = ev
			}
			if ev.Attempt < attempts[k] {
				t.Errorf("attempt %d of %s after attempt %d", ev.Attempt, ev.Recipient, attempts[k])
			}
			attempts[k] = ev.Attempt
		case finals[k] != nil:
			t.Errorf("two final events for %s in %s", ev.Recipient, ev.QueueId)
		default:
			finals[k] = ev
		}
	}
	y := &tally{sample: s, shares: map[string]*share{}, silent: map[string]int{}}
	for i := range truths {
		w := &truths[i]
		k := s.key(w.MessageID, w.Sender, w.Recipient)
		y.compare(w, finals[k], last[k])
	}
	for _, n := range slices.Sorted(maps.Keys(y.shares)) {
		sh := y.shares[n]
		got := float64(sh.right) / float64(sh.all)
		t.Logf("%-16s %4d of %4d  %6.2f %%", n, sh.right, sh.all, got*100)
		if got < 0.999 {
			t.Errorf("%s: %.2f %% right, want 99.9 %%\n  %s", n, got*100, strings.Join(sh.wrong, "\n  "))
		}
	}
	for _, why := range slices.Sorted(maps.Keys(y.silent)) {
		t.Logf("not in the log, %d: %s", y.silent[why], why)
	}
}

func (y *tally) compare(w *truth, ev, last *schema.DeliveryEvent) {
	if w.Outcome == "queued" {
		// The run ended while the MTA still tried: nothing final may have been said.
		y.check("outcome", w, answerOf{}, ev == nil, "final event of a message that was still queued: %v", ev)
		if ev = last; ev == nil {
			y.check("last failure", w, answerOf{}, false, "no failure in the log")
			return
		}
	} else {
		if y.check("outcome", w, answerOf{}, ev != nil && ev.Outcome.Name() == w.Outcome, "final event %v, want %s", ev, w.Outcome); ev == nil {
			return
		}
	}
	y.check("sender", w, answerOf{}, ev.HasSender && ev.Sender == w.Sender, "sender %q, want %q", ev.Sender, w.Sender)
	y.check("attempt", w, answerOf{}, ev.Attempt > 0, "attempt not known")
	a := answerOf{ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource, ev.Text, ev.Phase, ev.Origin}
	ip := ev.RemoteIp
	if ev.Outcome == schema.Outcome_EXPIRED {
		f := ev.Cause
		if y.check("last failure", w, answerOf{}, f != nil, "expired without cause"); f == nil {
			return
		}
		a = answerOf{f.SmtpCode, f.EnhancedCode, f.EnhancedSource, f.Text, f.Phase, f.Origin}
		ip = f.RemoteIp
	}
	if w.Tries > 0 {
		y.check("attempts", w, a, int(ev.Attempt) == w.Tries, "%d attempts, want %d", ev.Attempt, w.Tries)
	}
	if w.SourceIP != "" && ev.SourceIp != "" {
		y.check("source address", w, a, ev.SourceIp == w.SourceIP, "from %s, want %s", ev.SourceIp, w.SourceIP)
	}
	if w.LastCode != 0 && len(w.Seen) > 0 {
		want := w.Seen[len(w.Seen)-1].IP
		y.check("remote address", w, a, ip == want, "remote %q, want %q", ip, want)
	}
	if ev.Outcome == schema.Outcome_DELIVERED {
		return
	}
	y.check("code", w, a, int(a.code) == w.LastCode, "code %d, want %d (%s)", a.code, w.LastCode, a.text)
	if w.LastEnhanced != "" {
		y.check("enhanced", w, a, a.enhanced == w.LastEnhanced && a.source == schema.EnhancedSource_ENHANCED_REMOTE,
			"enhanced %s by %s, want %s (%s)", a.enhanced, a.source.Name(), w.LastEnhanced, a.text)
	} else {
		y.check("enhanced made up", w, a, a.source != schema.EnhancedSource_ENHANCED_REMOTE,
			"enhanced %s by the remote, which sent none (%s)", a.enhanced, a.text)
	}
	if w.LastReply != "" {
		y.check("reply", w, a, y.sample.reply(a.text, w.LastReply), "reply %q, want %q", a.text, w.LastReply)
	}
	if w.Phase != "ok" {
		y.check("phase", w, a, a.phase.Name() == w.Phase, "phase %s, want %s (%s)", a.phase.Name(), w.Phase, a.text)
	}
}
