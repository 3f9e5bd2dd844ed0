package dsn

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// corpusDir holds whole mails with labels that others made, beside the project. Tests that need it are skipped where it is
// absent.
const corpusDir = "../../../shared/corpus"

type labelledMail struct {
	ID, Kind, Label string
	Accept          []string
	Mail            []byte
	Recipients      []struct {
		Status, Reply, Reason, Feedback *string
		Accept                          []string
	}
}

func labelledMails(tb testing.TB, file string) []labelledMail {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpusDir, file))
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("no labelled mails at %s", corpusDir)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []labelledMail
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		var m labelledMail
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			tb.Fatal(err)
		}
		if m.Kind == "dsn" {
			all = append(all, m)
		}
	}
	if len(all) == 0 {
		tb.Fatalf("%s holds no mail", file)
	}
	return all
}

// Status and code of a label hold only where the mail itself has them: its makers fill in pseudo codes (5.0.9xx) and ones of their own.
func TestLabelledMailsAreRead(t *testing.T) {
	var count, status, code, kind tally
	for _, m := range labelledMails(t, "sisimai-dsn.jsonl") {
		r, err := Parse(m.Mail, Limits{})
		if err != nil {
			t.Errorf("%s: %v", m.ID, err)
			continue
		}
		first := m.Recipients[0]
		switch deref(first.Reason) {
		case "vacation":
			if !kind.add(r.Kind == AutoReply || r.Kind == Challenge) {
				t.Logf("%s: kind %s, want auto_reply", m.ID, r.Kind)
			}
			continue
		case "feedback":
			if !kind.add(r.Feedback != nil || r.Kind == Unsubscribe) {
				t.Logf("%s: kind %s, want feedback", m.ID, r.Kind)
			}
			continue
		case "delivered":
			kind.add(r.Kind == Delivered || r.Kind == Relay || r.Kind == Expanded)
		default:
			if !kind.add(r.Kind == Failure || r.Kind == Delay) {
				t.Logf("%s: kind %s", m.ID, r.Kind)
			}
		}
		if !count.add(len(r.Recipients) == len(m.Recipients)) {
			t.Logf("%s: %d recipients, want %d (%s) %v", m.ID, len(r.Recipients), len(m.Recipients), r.Format, addresses(r))
			continue
		}
		for i, want := range m.Recipients {
			rec := &r.Recipients[i]
			if s := deref(want.Status); s != "" && !strings.Contains(s, ".0.9") && strings.Contains(string(m.Mail), s) {
				if !status.add(rec.Status == s) {
					t.Logf("%s: status %q, want %q: %.120s", m.ID, rec.Status, s, rec.Diagnostic)
				}
			}
			if s := deref(want.Reply); s != "" {
				if !code.add(strconv.Itoa(rec.SMTPCode) == s) {
					t.Logf("%s: code %d, want %s: %.120s", m.ID, rec.SMTPCode, s, rec.Diagnostic)
				}
			}
		}
	}
	t.Logf("kind %d/%d = %.1f %%, recipients %d/%d = %.1f %%, status %d/%d = %.1f %%, code %d/%d = %.1f %%", kind.right, kind.all, kind.share(),
		count.right, count.all, count.share(), status.right, status.all, status.share(), code.right, code.all, code.share())
	if kind.share() < 99 || count.share() < 99 || status.share() < 97 || code.share() < 97 {
		t.Error("worse than it was")
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func addresses(r *Report) (all []string) {
	for i := range r.Recipients {
		all = append(all, r.Recipients[i].Recipient)
	}
	return all
}

func TestOtherLabelledMailsAreRead(t *testing.T) {
	for _, file := range []string{"cws.jsonl", "flanker.jsonl", "set-of-emails-not.jsonl"} {
		var kind, recipients tally
		for _, m := range labelledMails(t, file) {
			r, err := Parse(m.Mail, Limits{})
			if err != nil {
				t.Errorf("%s: %v", m.ID, err)
				continue
			}
			var ok bool
			switch m.Label {
			case "not_bounce":
				ok = r.Kind == Ordinary
			case "unsubscribe_feedback":
				ok = r.Feedback != nil || r.Kind == Unsubscribe
			default:
				ok = r.Kind == Failure || r.Kind == Delay
				if !recipients.add(len(r.Recipients) > 0 && r.Recipients[0].Recipient != "") {
					t.Logf("%s: no recipient", m.ID)
				}
			}
			if !kind.add(ok) {
				t.Logf("%s: %s, label %s", m.ID, r.Kind, m.Label)
			}
		}
		t.Logf("%s: kind %d/%d = %.1f %%, recipient found %d/%d", file, kind.right, kind.all, kind.share(), recipients.right, recipients.all)
		if kind.share() < 95 || recipients.right < recipients.all {
			t.Errorf("%s: worse than it was", file)
		}
	}
}

// What the words are worth to the rules, for information: only a collapse fails.
func TestLabelledMailsAreJudged(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(corpusDir, "classes.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no labelled mails at %s", corpusDir)
	}
	if err != nil {
		t.Fatal(err)
	}
	var classes map[string]any
	if err := json.Unmarshal(data, &classes); err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	var right tally
	for _, m := range labelledMails(t, "sisimai-dsn.jsonl") {
		r, err := Parse(m.Mail, Limits{})
		if err != nil || len(r.Recipients) != len(m.Recipients) || r.Kind != Failure {
			continue
		}
		for i := range m.Recipients {
			rec := &r.Recipients[i]
			_, domain, _ := strings.Cut(rec.Recipient, "@")
			var v schema.Verdict
			set.Classify(&rules.Input{
				Outcome: schema.Outcome_ASYNC_BOUNCE, Code: int32(rec.SMTPCode), Enhanced: rec.Status, EnhancedSource: rec.StatusSource, Text: rec.Diagnostic,
				Phase: rec.Phase, Origin: rec.Origin, RemoteHost: rec.RemoteMTA, Domain: domain, Provider: provider.Lookup(rec.RemoteMTA, domain),
			}, &v)
			label, _ := classes[v.Class].(string)
			if !right.add(slices.Contains(m.Recipients[i].Accept, label)) && testing.Verbose() {
				t.Logf("%s: %s (%s), want %v: %d %s %.100s", m.ID, v.Class, label, m.Recipients[i].Accept, rec.SMTPCode, rec.Status, rec.Diagnostic)
			}
		}
	}
	t.Logf("class accepted %d of %d = %.1f %%", right.right, right.all, right.share())
	if right.share() < 70 {
		t.Error("the rules do not know the words that the reports gave")
	}
}
