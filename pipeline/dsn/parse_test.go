package dsn

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carom.dev/carom/schema"
)

var update = flag.Bool("update", false, "write testdata/mails/*.want from what the mails say now")

// show writes what is set, a field a line.
func show(r *Report) string {
	var b strings.Builder
	showFields(&b, "", reflect.ValueOf(*r))
	return b.String()
}

func showFields(b *strings.Builder, indent string, v reflect.Value) {
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if f.IsZero() || !v.Type().Field(i).IsExported() {
			continue
		}
		switch x := f.Interface().(type) {
		case time.Time:
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, x.UTC().Format(time.RFC3339))
		case schema.Phase:
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, x.Name())
		case schema.Origin:
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, x.Name())
		case schema.EnhancedSource:
			fmt.Fprintf(b, "%s%s: %s\n", indent, name, x.Name())
		case *Feedback:
			fmt.Fprintf(b, "%s:\n", name)
			showFields(b, "  ", f.Elem())
		case []Recipient:
			for j := range x {
				fmt.Fprintf(b, "Recipient %d:\n", j+1)
				showFields(b, "  ", reflect.ValueOf(x[j]))
			}
		default:
			fmt.Fprintf(b, "%s%s: %v\n", indent, name, x)
		}
	}
}

func fixtures(tb testing.TB) map[string][]byte {
	tb.Helper()
	names, err := filepath.Glob("testdata/mails/*.eml")
	if err != nil || len(names) < 25 {
		tb.Fatalf("%d mails, %v", len(names), err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = os.ReadFile(name); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

func TestMailsSayWhatWasReadInThem(t *testing.T) {
	for name, mail := range fixtures(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".eml"), func(t *testing.T) {
			r, err := Parse(mail, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(name, ".eml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(show(r)), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(r); got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A mail says the same with other line ends.
func TestLineEndsDoNotMatter(t *testing.T) {
	for name, mail := range fixtures(t) {
		unix := bytes.ReplaceAll(mail, []byte("\r\n"), []byte("\n"))
		a, err1 := Parse(unix, Limits{})
		b, err2 := Parse(bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n")), Limits{})
		if err1 != nil || err2 != nil || show(a) != show(b) {
			t.Errorf("%s: %v %v\nLF\n%s\nCRLF\n%s", name, err1, err2, show(a), show(b))
		}
	}
}

func TestWhatIsNoMailIsRefused(t *testing.T) {
	for _, s := range []string{"", "\r\n\r\n", "hello\nworld\n", "\x1f\x8b\x08\x00", " folded: first\n", ": no name\n"} {
		if r, err := Parse([]byte(s), Limits{}); !errors.Is(err, ErrNotMail) || r != nil {
			t.Errorf("%q: %v, %v", s, r, err)
		}
	}
}

func TestHeadersBeyondTheLimitsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		mail, what string
		lim        Limits
	}{
		{strings.Repeat("A: b\n", 1001) + "\nx", "header fields", Limits{}},
		{"A: b\n" + strings.Repeat(" "+strings.Repeat("x", 998)+"\n", 300), "header bytes", Limits{}},
		{"A: b\nC: d\n\n", "header fields", Limits{HeaderFields: 1}},
	} {
		var limit *LimitError
		if r, err := Parse([]byte(tc.mail), tc.lim); !errors.As(err, &limit) || limit.What != tc.what || r != nil {
			t.Errorf("%v: %v, %v", tc.what, r, err)
		}
	}
}

func cut(r *Report) string {
	var what []string
	for _, e := range r.Cut {
		what = append(what, e.What)
	}
	return strings.Join(what, ",")
}

// What is too long inside is cut, with a note, and what came before the cut is read.
func TestLongMailsAreCutWithANote(t *testing.T) {
	const head = "From: MAILER-DAEMON@mx.example\nSubject: Undelivered\n"
	status := "Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; jane@client.example\nAction: failed\nStatus: 5.1.1\n"
	report := head + "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n" + status
	nested := head
	for i := range 30 {
		nested += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	many := head + "Content-Type: multipart/mixed; boundary=b\n\n" + strings.Repeat("--b\n\nx\n", 5000)
	crowd := report
	for i := range 3000 {
		crowd += fmt.Sprintf("\nFinal-Recipient: rfc822; x%d@client.example\nAction: failed\nStatus: 5.1.1\n", i)
	}
	for _, tc := range []struct {
		name, mail, want string
		recipients       int
	}{
		{"short", report, "", 1},
		{"body", report + "--b\nContent-Type: message/rfc822\n\n" + strings.Repeat("Lorem ipsum\n", 4<<20/12), "body bytes", 1},
		{"depth", nested + "\nx", "depth", 0},
		{"parts", many, "parts", 0},
		{"recipients", crowd, "recipients", 1000},
	} {
		r, err := Parse([]byte(tc.mail), Limits{})
		if err != nil || cut(r) != tc.want || len(r.Recipients) != tc.recipients {
			t.Errorf("%s: %v, cut %q, %d recipients", tc.name, err, cut(r), len(r.Recipients))
		}
	}
}

// Whatever fills a mail up to the limits, it is read in time, and the cut is told.
func TestHugeMailsCostBoundedTimeAndMemory(t *testing.T) {
	heads := []string{
		"multipart/mixed; boundary=b\n\n", "text/plain\n\n", "text/html\n\n", "message/delivery-status\n\n", "text/plain; charset=iso-2022-jp\nContent-Transfer-Encoding: quoted-printable\n\n",
		"multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.example\nAction: failed\n\n--b\n\n",
	}
	for _, filler := range []string{
		"a@b.example\n", "--b\n\n", "<a@b.example>: 550 no\n", "=?utf-8?b?", "--", "550 ", "(", "\n", "<<< 550-x\n", ">>> RCPT TO:<a@b.example>\n", "#", "<", "<!--", "<style>", "\x1b$B%(",
		"Final-Recipient: rfc822; a@b.example\n\n", "=\n", "=3D", "=z", " ", "host ", "a@b.example ", "- ",
	} {
		for _, kind := range heads {
			head := "From: MAILER-DAEMON@mx.example\nSubject: Undelivered\nContent-Type: " + kind + "a@b.example\n\n"
			// More than is read; what is behind that is the concern of TestWhatIsBehindTheLimitsCostsNothing.
			mail := append([]byte(head), bytes.Repeat([]byte(filler), (5<<18)/len(filler))...)
			started := cpuTime(t)
			r, err := Parse(mail, Limits{})
			if cpu := cpuTime(t) - started; err != nil || cpu > 2*time.Second {
				t.Errorf("%q in %q: %s, %v", filler, kind, cpu, err)
			}
			if r == nil || !strings.Contains(cut(r), "body bytes") {
				t.Errorf("%q in %q: no note", filler, kind)
			}
		}
	}
	// A thousand recipients that share their words.
	var crowd strings.Builder
	crowd.WriteString("From: MAILER-DAEMON@mx.example\nSubject: Undelivered\n\n")
	for i := range 40_000 {
		fmt.Fprintf(&crowd, "<r%d@client.example>\n\n", i)
	}
	started := cpuTime(t)
	r, err := Parse([]byte(crowd.String()), Limits{})
	if cpu := cpuTime(t) - started; err != nil || len(r.Recipients) != 1000 || cpu > 2*time.Second {
		t.Errorf("%v, %d recipients in %s", err, len(r.Recipients), cpu)
	}
}

func TestReturnedStringsAreBoundedAndValid(t *testing.T) {
	mail := "From: MAILER-DAEMON@mx.example\nSubject: " + strings.Repeat("=?utf-8?q?=C3=BC?= ", 800) + "\nContent-Type: multipart/report; boundary=b\n\n--b\n" +
		"Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; jane@client.example\nAction: failed\n" +
		"Diagnostic-Code: smtp; 550 " + strings.Repeat("\xff\xc3", 6000) + "\n"
	r, err := Parse([]byte(mail), Limits{TextBytes: 101})
	if err != nil || len(r.Recipients) != 1 {
		t.Fatal(err)
	}
	for _, s := range []string{r.Subject, r.Recipients[0].Diagnostic} {
		if len(s) > 101 || len(s) < 90 || !utf8.ValidString(s) {
			t.Errorf("%d bytes, valid %v", len(s), utf8.ValidString(s))
		}
	}
}

// check is the property of every report: bounded by the limits and the mail, valid UTF-8, single lines.
func check(t *testing.T, mail []byte, r *Report, lim Limits) {
	t.Helper()
	lim = lim.withDefaults()
	if len(r.Recipients) > lim.Recipients || len(r.Recipients) > len(mail) {
		t.Fatalf("%d recipients in %d bytes", len(r.Recipients), len(mail))
	}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			if s := v.String(); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n") || len(s) > max(lim.TextBytes, 16) { // names such as "auth_failure" are not the mail's
				t.Fatalf("%d bytes %.200q", len(s), s)
			}
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[header]() {
				return
			}
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		}
	}
	walk(reflect.ValueOf(*r))
	if r.Kind == "" {
		t.Fatal("no kind")
	}
	if len(r.OriginalDKIMDomains) > maxDKIMDomains || r.HasOriginal != (len(r.original.fields) > 0) {
		t.Fatalf("%d domains, %v", len(r.OriginalDKIMDomains), r.HasOriginal)
	}
	for i := range r.original.fields {
		values := r.OriginalHeader(string(r.original.name(i)))
		if len(values) == 0 || len(values) > maxValues {
			t.Fatalf("%d values of %q", len(values), r.original.name(i))
		}
		for _, v := range values {
			if len(v) > lim.TextBytes || !utf8.ValidString(v) || strings.ContainsAny(v, "\r\n") {
				t.Fatalf("%q", v)
			}
		}
	}
	known := map[string]bool{
		LimitHeaderBytes: true, LimitHeaderFields: true, LimitBodyBytes: true, LimitLineBytes: true, LimitTextLines: true, LimitDepth: true, LimitParts: true, LimitRecipients: true,
	}
	for _, e := range r.Cut {
		if !known[e.What] {
			t.Fatalf("%q is no limit", e.What)
		}
		delete(known, e.What) // each once
	}
}

// FuzzParse: no mail breaks the bounds of what is returned, is changed, is read differently a second time, or says something else with other
// line ends.
func FuzzParse(f *testing.F) {
	for _, mail := range fixtures(f) {
		f.Add(mail)
	}
	names, err := filepath.Glob("testdata/shapes/*.eml")
	if err != nil || len(names) < 100 {
		f.Fatalf("%d shapes, %v", len(names), err)
	}
	for _, name := range names {
		mail, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(mail)
	}
	f.Fuzz(func(t *testing.T, mail []byte) {
		for _, lim := range []Limits{{}, {BodyBytes: 100, Depth: 2, Parts: 3, Recipients: 2, TextBytes: 16, LineBytes: 40, HeaderFields: 30, TextLines: 7}} {
			before := bytes.Clone(mail)
			r, err := Parse(mail, lim)
			if !bytes.Equal(before, mail) {
				t.Fatal("the mail was changed")
			}
			unix := unixLines(mail, max(len(mail), 1))
			for _, same := range [][]byte{mail, unix, bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n"))} {
				again, err2 := Parse(same, lim)
				if fmt.Sprint(err) != fmt.Sprint(err2) {
					t.Fatalf("%v, then %v", err, err2)
				}
				if err == nil && show(again) != show(r) {
					t.Fatalf("not the same twice:\n%s\n%s", show(r), show(again))
				}
			}
			var limit *LimitError
			if err != nil {
				if r != nil || !errors.Is(err, ErrNotMail) && !errors.As(err, &limit) {
					t.Fatalf("%v, %v", r, err)
				}
				continue
			}
			check(t, mail, r, lim)
		}
	})
}
