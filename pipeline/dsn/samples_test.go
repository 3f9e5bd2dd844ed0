package dsn

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// samplesDir holds what real mail servers sent back, with the truth about each recipient, beside the project. Tests that need it
// are skipped where it is absent.
const samplesDir = "../../../shared/samples"

// mails reads the .eml files of a .tar.gz, by name.
func mails(tb testing.TB, path string) map[string][]byte {
	tb.Helper()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("no samples of real mail servers at %s", samplesDir)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	all := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".eml") {
			if all[strings.TrimPrefix(h.Name, "./")], err = io.ReadAll(r); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

type truth struct {
	Recipient string
	OrigTo    string `json:"orig_to"`
	MessageID string `json:"message_id"`
	Seen      []struct{ Reply, Host, Phase string }
	LastCode  int `json:"last_code"`
	DSN       []struct {
		File, Action, Diag, To string
		Status                 *string
		RemoteMTA              *string `json:"remote_mta"`
	}
	// postfix-bulk; Postfix writes ? for a tab in a reply
	Code      int
	Enhanced  string
	Reply     string
	Outcome   string
	DSNStatus string `json:"dsn_status"`
	Sender    string
}

func truths(tb testing.TB, path string) []truth {
	tb.Helper()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("no samples of real mail servers at %s", samplesDir)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	var all []truth
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var t truth
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			tb.Fatal(err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		tb.Fatalf("%s is empty", path)
	}
	return all
}

// tally counts agreements.
type tally struct{ right, all int }

func (c *tally) add(ok bool) bool {
	if c.all++; ok {
		c.right++
	}
	return ok
}

func (c *tally) share() float64 { return 100 * float64(c.right) / float64(max(c.all, 1)) }

// squeeze makes texts comparable that differ in how they were folded.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > 126 { // the truth is not UTF-8 everywhere
			return -1
		}
		return r
	}, s)
}

// Each recipient that a mail server reported back is read as the truth has it: address, message, action, status, code, words, host.
func TestReportsOfRealServersAreReadAsTheTruthHasThem(t *testing.T) {
	for _, mta := range []string{"postfix", "exim", "sendmail", "opensmtpd", "haraka", "dma"} {
		t.Run(mta, func(t *testing.T) {
			all := mails(t, filepath.Join(samplesDir, mta, "dsn.tar.gz"))
			reports := map[string]*Report{}
			for name, mail := range all {
				r, err := Parse(mail, Limits{TextBytes: 64 << 10})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				reports[name] = r
			}
			fields := map[string]*tally{}
			shown := 0
			check := func(file, field string, ok bool, got, want string) {
				c := fields[field]
				if c == nil {
					c = &tally{}
					fields[field] = c
				}
				if !c.add(ok) && shown < 25 {
					shown++
					t.Logf("%s: %s %q, want %q", file, field, got, want)
				}
			}
			for _, tr := range truths(t, filepath.Join(samplesDir, mta, "truth.jsonl.gz")) {
				for _, d := range tr.DSN {
					r := reports[d.File]
					if r == nil {
						t.Fatalf("no mail %s", d.File)
					}
					var rec *Recipient
					for i := range r.Recipients {
						if same(r.Recipients[i].Recipient, tr.Recipient) || same(r.Recipients[i].Mailed(), tr.OrigTo) {
							rec = &r.Recipients[i]
						}
					}
					check(d.File, "recipient", rec != nil, "", tr.Recipient)
					if rec == nil {
						continue
					}
					if mailed := tr.OrigTo; mailed != "" {
						check(d.File, "mailed", same(rec.Mailed(), mailed), rec.Mailed(), mailed)
					}
					check(d.File, "message id", r.OriginalMessageID == tr.MessageID, r.OriginalMessageID, tr.MessageID)
					check(d.File, "sender", same(r.OriginalSender, d.To) || same(r.OriginalSender, tr.Sender), r.OriginalSender, d.To)
					check(d.File, "queue id", r.QueueID != "", r.QueueID, "some")
					// QUIRK: OpenSMTPD's notice of expiry.
					action := d.Action
					if mta == "opensmtpd" && d.Status != nil && *d.Status == "4.4.7" {
						action = "failed"
					}
					check(d.File, "action", rec.Action == action, rec.Action, action)
					status := ""
					if d.Status != nil {
						status, _, _ = strings.Cut(*d.Status, " ")
					}
					_, diag := typed(d.Diag)
					if mta == "dma" {
						_, diag, _ = strings.Cut(d.Diag, "\n")
						diag, _, _ = strings.Cut(diag, "Message headers follow.")
						if diag = strings.TrimSpace(diag); diag == "" {
							diag, _, _ = strings.Cut(d.Diag, "\n")
						}
					}
					if diag == "" && len(tr.Seen) > 0 && mta == "opensmtpd" && d.Action == "failed" {
						diag = tr.Seen[len(tr.Seen)-1].Reply
					}
					reported := status
					// The reply's own code, which the truth has from the server that gave it, replaces the reporting server's.
					a := readAnswer(diag)
					if a.enhanced != "" && !a.local && (status == "" || !generic(a.enhanced)) || a.enhanced != "" && (status == "" || generic(status)) {
						status = a.enhanced
					}
					// Where the report's fields hold no reply, the text may: what it says is checked below.
					inText := diag == "" && rec.ReportedStatus == status
					if status != "" && !inText && !(generic(status) && rec.Status != status && !generic(rec.Status)) {
						check(d.File, "status", rec.Status == status, rec.Status, status)
					}
					if reported != "" && !generic(reported) {
						check(d.File, "reported", rec.Status == reported || rec.ReportedStatus == reported, rec.ReportedStatus, reported)
					}
					if rec.StatusSource == schema.EnhancedSource_ENHANCED_REMOTE && tr.LastCode != 0 {
						said := false
						for _, s := range tr.Seen {
							said = said || strings.Contains(s.Reply, rec.Status)
						}
						check(d.File, "remote status", said, rec.Status, "what the server said")
					}
					if diag != "" {
						got, want := squeeze(rec.Diagnostic), squeeze(diag)
						ok := strings.HasPrefix(got, want)
						if mta == "opensmtpd" { // it drops codes, and all lines but the last of very long replies
							codes := strings.NewReplacer("-"+status, "", status, "", strconv.Itoa(rec.SMTPCode), "")
							got, want = codes.Replace(got), codes.Replace(want)
							ok = strings.HasSuffix(want, got) && (got != "" || want == "")
						}
						check(d.File, "diagnostic", ok, rec.Diagnostic, diag)
						if a := readAnswer(diag); a.code != 0 {
							check(d.File, "code", rec.SMTPCode == a.code, "", diag)
						}
					}
					if d.RemoteMTA != nil {
						_, want := typed(*d.RemoteMTA)
						check(d.File, "remote", rec.RemoteMTA == want, rec.RemoteMTA, want)
					}
				}
			}
			for _, field := range []string{"recipient", "mailed", "message id", "sender", "queue id", "action", "status", "reported", "remote status", "code", "diagnostic", "remote"} {
				if c := fields[field]; c != nil {
					t.Logf("%-10s %d of %d = %.2f %%", field, c.right, c.all, c.share())
					if c.share() < 99.9 {
						t.Errorf("%s: only %.2f %%", field, c.share())
					}
				}
			}
		})
	}
}

// The large run is checked against what the server that answered recorded.
func TestReportsOfTheLargeRunQuoteTheServersAnswer(t *testing.T) {
	byRecipient := map[string]truth{}
	for _, tr := range truths(t, filepath.Join(samplesDir, "postfix-bulk", "truth.jsonl.gz")) {
		byRecipient[strings.ToLower(tr.Recipient)+" "+tr.Sender] = tr
	}
	var recipients, status, code, words tally
	for name, mail := range mails(t, filepath.Join(samplesDir, "postfix-bulk", "dsn-some.tar.gz")) {
		r, err := Parse(mail, Limits{TextBytes: 64 << 10})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range r.Recipients {
			rec := &r.Recipients[i]
			tr, ok := byRecipient[strings.ToLower(rec.Recipient)+" "+r.OriginalSender]
			if !recipients.add(ok) {
				t.Logf("%s: %s not submitted by %s", name, rec.Recipient, r.OriginalSender)
				continue
			}
			if rec.Action != "failed" || tr.Outcome == "delivered" {
				continue
			}
			if !status.add(rec.Status == tr.DSNStatus || generic(tr.DSNStatus) && strings.HasPrefix(tr.Reply[min(4, len(tr.Reply)):], rec.Status)) {
				t.Logf("%s: status %s, want %s", name, rec.Status, tr.DSNStatus)
			}
			got, want := squeeze(rec.Diagnostic), squeeze(tr.Reply)
			got, want = strings.ReplaceAll(got, "?", ""), strings.ReplaceAll(want, "?", "")
			if len(rec.Diagnostic) > 2000 && len(got) > 1500 { // Postfix cuts long replies
				want = want[:min(len(got), len(want))]
			}
			if tr.Code != 0 && rec.SMTPCode != 0 && tr.Outcome == "bounced" {
				if !code.add(rec.SMTPCode == tr.Code) {
					t.Logf("%s: code %d, want %d", name, rec.SMTPCode, tr.Code)
				}
				if !words.add(got == want) {
					t.Logf("%s: %q, want %q", name, rec.Diagnostic, tr.Reply)
				}
			}
		}
	}
	t.Logf("recipient %d/%d status %d/%d code %d/%d words %d/%d", recipients.right, recipients.all, status.right, status.all, code.right, code.all, words.right, words.all)
	for _, c := range []tally{recipients, status, code, words} {
		if c.all < 500 || c.share() < 99.9 {
			t.Errorf("%d of %d", c.right, c.all)
		}
	}
}
