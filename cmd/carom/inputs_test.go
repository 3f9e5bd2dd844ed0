package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const postfixLog = "../../pipeline/mtalog/testdata/postfix/mail.log.gz"

// carom runs a command line as main does.
func carom(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(args, stdio{strings.NewReader(stdin), &out, &errs})
	return code, out.String(), errs.String()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const sentLine = "Nov 21 08:28:19 mx1 postfix/smtp[1]: 4D40BA28CB1: to=<r@example.com>, relay=mx.example.com[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)\n"

func TestHelpIsDataAndHasExamples(t *testing.T) {
	for _, verb := range []string{"parse", "classify", "explain", "try"} {
		code, out, errs := carom(t, "", verb, "--help")
		if code != 0 || errs != "" || !strings.Contains(out, "Usage: carom "+verb) || !strings.Contains(out, "\nExamples:\n") {
			t.Errorf("%s: status %d\n%s%s", verb, code, out, errs)
		}
	}
}

// What is wrong with the command line is said before anything is tried: status 2, nothing on standard output.
func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"parse -nonsense", "-nonsense"},
		{"parse -format nosuch", `"nosuch"`},
		{"parse -timezone Mars/Olympus", `-timezone "Mars/Olympus"`},
		{"parse -year 1800", "-year 1800"},
		{"parse -reference yesterday", `-reference "yesterday"`},
		{"parse -year 2024 -reference 2024-01-01", "give one of them"},
		{"classify -json", "-json"},
		{"explain", "no TEXT"},
		{"explain -phase lunch text", `-phase "lunch"`},
		{"explain -code 42 text", "-code 42"},
		{"explain text -mx host", "flag -mx has to come before the text"},
		{"explain -", "empty"},
		{"try", "no FILE"},
	} {
		code, out, errs := carom(t, "", strings.Fields(tc.args)...)
		if code != 2 || out != "" || !strings.Contains(errs, tc.want) {
			t.Errorf("carom %s: status %d, out %q, err %q", tc.args, code, out, errs)
		}
	}
}

func TestMissingFileIsAFailure(t *testing.T) {
	for _, verb := range []string{"parse", "classify", "try"} {
		code, out, errs := carom(t, "", verb, "no/such/file")
		if code != 1 || out != "" || !strings.Contains(errs, "no/such/file") {
			t.Errorf("%s: status %d, out %q, err %q", verb, code, out, errs)
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestOutputThatCannotBeWrittenIsAFailure(t *testing.T) {
	for _, args := range [][]string{
		{"parse", postfixLog},
		{"classify", write(t, "r.jsonl", `{"text":"550 no"}`)},
		{"explain", "550 no"},
		{"explain", "-json", "550 no"},
		{"try", postfixLog},
		{"try", "-json", postfixLog},
	} {
		var errs bytes.Buffer
		if code := run(args, stdio{strings.NewReader(""), failingWriter{}, &errs}); code != 1 || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v: status %d, err %q", args, code, errs.String())
		}
	}
}

// A line of a slow input comes out before the next one comes in.
func TestSlowInputIsSeenAtOnce(t *testing.T) {
	for _, tc := range []struct{ verb, line, want string }{
		{"parse", strings.Repeat(sentLine, 2), `"outcome":"delivered"`},
		{"classify", `{"id":"a","text":"452 4.2.2 mailbox full"}` + "\n", `"class":"mailbox.full"`},
	} {
		inRead, inWrite := io.Pipe()
		outRead, outWrite := io.Pipe()
		done := make(chan int, 1)
		go func() {
			done <- run([]string{tc.verb}, stdio{inRead, outWrite, io.Discard})
			outWrite.Close()
		}()
		got := make(chan string, 1)
		go func() {
			lines := bufio.NewReader(outRead)
			line, _ := lines.ReadString('\n')
			got <- line
			_, _ = io.Copy(io.Discard, lines)
		}()
		if _, err := io.WriteString(inWrite, tc.line); err != nil {
			t.Fatal(err)
		}
		select {
		case line := <-got:
			if !strings.Contains(line, tc.want) {
				t.Errorf("%s: %s", tc.verb, line)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: nothing came out while the input was open", tc.verb)
		}
		inWrite.Close()
		if code := <-done; code != 0 {
			t.Errorf("%s: status %d", tc.verb, code)
		}
	}
}
