package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/service"
)

const dsnMails = "../../pipeline/dsn/testdata/mails"

// runsDSN runs the verb as main does, whether main lists it or not.
func runsDSN(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	std := stdio{strings.NewReader(stdin), &out, &errs}
	code = service.Exit(std.err, "carom dsn", runDSN(t.Context(), args, std))
	return code, out.String(), errs.String()
}

func readMail(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dsnMails, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestDSNWritesAnObjectPerRecipient(t *testing.T) {
	code, out, errs := runsDSN(t, "", filepath.Join(dsnMails, "rfc3464-two-recipients.eml"))
	if code != 0 || errs != "" || strings.Count(out, "\n") != 2 {
		t.Fatalf("status %d, err %q\n%s", code, errs, out)
	}
	var got []map[string]any
	for line := range strings.Lines(out) {
		var object map[string]any
		if err := json.Unmarshal([]byte(line), &object); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, object)
	}
	for key, want := range map[string]any{
		"kind": "failure", "recipient": "jane@client.example", "action": "failed", "enhanced_code": "5.1.1", "enhanced_source": "remote", "smtp_code": 550.0,
		"text": "550 5.1.1 <jane@client.example>: no such user", "remote_host": "mx1.client.example", "reporting_mta": "out1.shop.example", "phase": "rcpt",
		"message_id": "<20260414.4711@shop.example>", "queue_id": "4JxK2Q1B3zz9", "sender": "news@shop.example", "occurred_at": "2026-04-14T09:12:06Z", "format": "rfc3464",
		"origin": "remote_reply", "envelope_id": "run-4711",
	} {
		if got[0][key] != want {
			t.Errorf("%s: %v, want %v", key, got[0][key], want)
		}
	}
	if got[1]["recipient"] != "bob@client.example" || got[1]["enhanced_code"] != "5.2.2" {
		t.Errorf("second: %v", got[1])
	}
}

// What tells whether the returned message was the sender's own is written with each recipient.
func TestDSNWritesWhatIdentifiesTheMessage(t *testing.T) {
	code, out, errs := runsDSN(t, "", "-header", "x-job, Absent,Subject", filepath.Join("../../pipeline/dsn/testdata/shapes", "powermta-multi.eml"))
	if code != 0 || errs != "" || strings.Count(out, "\n") != 2 {
		t.Fatalf("status %d, err %q\n%s", code, errs, out)
	}
	for line := range strings.Lines(out) {
		var got struct {
			ReturnPath   string              `json:"return_path"`
			HasOriginal  bool                `json:"has_original"`
			OriginalFrom string              `json:"original_from"`
			FeedbackID   string              `json:"feedback_id"`
			Domains      []string            `json:"dkim_domains"`
			Header       map[string][]string `json:"original_header"`
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if got.ReturnPath != "bounces+4711@shop.example" || !got.HasOriginal || got.OriginalFrom != "news@shop.example" || got.FeedbackID != "run7:tenant3:news:shop" ||
			!slices.Equal(got.Domains, []string{"shop.example"}) || len(got.Header) != 2 || !slices.Equal(got.Header["x-job"], []string{"spring-sale"}) {
			t.Errorf("%+v", got)
		}
	}
	if !strings.Contains(out, `"enhanced_code":"4.7.1","reported_code":"4.4.7","enhanced_source":"remote"`) {
		t.Errorf("no reported code in\n%s", out)
	}
}

func TestDSNTellsTheKindOfAMailWithoutRecipients(t *testing.T) {
	for name, want := range map[string]string{"autoreply-out-of-office.eml": "auto_reply", "ordinary.eml": "ordinary", "challenge.eml": "challenge"} {
		code, out, _ := runsDSN(t, readMail(t, name))
		if code != 0 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"file":"-","kind":"`+want+`"`) || strings.Contains(out, `"recipient"`) {
			t.Errorf("%s: status %d\n%s", name, code, out)
		}
	}
}

func TestDSNReadsDirectoriesAndArchives(t *testing.T) {
	dir := t.TempDir()
	for path, mail := range map[string]string{"a/one.eml": "qsbmf.eml", "new/1776158000.M1.mx": "exim-text.eml", "a/notes.txt": "dma.eml"} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(readMail(t, mail)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for _, name := range []string{"dma.eml", "yahoo.eml"} {
		mail := readMail(t, name)
		if err := w.WriteHeader(&tar.Header{Name: "dsn/" + name, Mode: 0o600, Size: int64(len(mail)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(mail)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	archive := write(t, "dsn.tar.gz", packed.String())
	code, out, errs := runsDSN(t, "", dir, archive)
	if code != 0 || errs != "" || strings.Count(out, "\n") != 5 {
		t.Fatalf("status %d, err %q\n%s", code, errs, out)
	}
	for _, want := range []string{"one.eml", "1776158000.M1.mx", archive + ":dsn/dma.eml", archive + ":dsn/yahoo.eml"} {
		if !strings.Contains(out, want+`"`) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

// What cannot be read is named, the rest is read, and the status tells.
func TestDSNGoesOnBehindAFileItCannotRead(t *testing.T) {
	bad := write(t, "bad.eml", "no mail\n")
	damaged := write(t, "damaged.tar.gz", "\x1f\x8b\x08\x00\x00\x00\x00\x00")
	code, out, errs := runsDSN(t, "", bad, "absent.eml", damaged, filepath.Join(dsnMails, "dma.eml"))
	if code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, "dma.eml") {
		t.Errorf("status %d\n%s", code, out)
	}
	for _, want := range []string{bad + `": not a mail`, `"absent.eml": no such file`, damaged + `": unexpected EOF`, "3 of 4 mails could not be read"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
}

func TestDSNNotesACut(t *testing.T) {
	mail := readMail(t, "rfc3464-delay.eml")
	path := write(t, "long.eml", strings.Replace(mail, "\nHello\n", "\n"+strings.Repeat("Hello\n", 3<<20/6), 1))
	code, out, errs := runsDSN(t, "", path)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.Contains(errs, "1048576 body bytes") {
		t.Errorf("status %d, err %q\n%s", code, errs, out)
	}
}

func TestDSNHelpShowsExamples(t *testing.T) {
	code, out, _ := runsDSN(t, "", "--help")
	if code != 0 || !strings.Contains(out, "carom dsn bounce.eml") {
		t.Errorf("status %d\n%s", code, out)
	}
}

// The objects that carom classify takes may hold whole mails: each is read under its id, and a broken one costs only itself.
func TestDSNReadsMailsInJSONLines(t *testing.T) {
	mail := base64.StdEncoding.EncodeToString([]byte("From: MAILER-DAEMON@mx.example\nSubject: failure notice\n\n" +
		"Hi. This is the qmail-send program at mx.example.\n\n<jo@x.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 unknown\n"))
	input := `{"id":"a/1","kind":"dsn","mail":"` + mail + "\"}\n{\"id\":\"a/2\",\"kind\":\"response\",\"text\":\"550 no\"}\n{]\n" + `{"mail":"` + mail + `"}`
	code, out, errs := runsDSN(t, input)
	if code != service.ExitFailure || !strings.Contains(errs, "-: line 3") || !strings.Contains(errs, "1 of 3 mails") {
		t.Errorf("status %d: %s", code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"file":"a/1","kind":"failure","recipient":"jo@x.example"`) || !strings.HasPrefix(lines[1], `{"file":"-: line 4"`) {
		t.Error(out)
	}
}

// The runs that the documents show are real ones, but for the lines they are broken into.
func TestDSNDocsShowARealRun(t *testing.T) {
	t.Chdir("../..")
	for _, doc := range []string{"docs/formats/bounce-mails.md", "docs/cli.md"} {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, found := strings.Cut(string(b), "\n    $ carom dsn ")
		command, rest, _ := strings.Cut(rest, "\n\n")
		shown, _, ended := strings.Cut(rest, "\n\n")
		if !found || !ended {
			t.Fatalf("%s shows no run", doc)
		}
		name, last := strings.CutSuffix(command, " | tail -1")
		code, out, errs := runsDSN(t, "", name)
		if out = strings.TrimSuffix(out, "\n"); last {
			out = out[strings.LastIndexByte(out, '\n')+1:]
		}
		shown = strings.ReplaceAll(strings.TrimPrefix(shown, "    "), "\n     ", "")
		if code != 0 || errs != "" || shown != out {
			t.Errorf("%s, %s: status %d %s\nshown %s\nreal  %s", doc, name, code, errs, shown, out)
		}
	}
}
