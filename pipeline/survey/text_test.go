package survey

import (
	"bytes"
	"strings"
	"testing"
)

func TestMaskHidesLocalParts(t *testing.T) {
	for _, tc := range []struct{ text, recipient, want string }{
		{"550 5.1.1 <jane.doe@example.com>: unknown", "", "550 5.1.1 <j***@example.com>: unknown"},
		{"jane@example.com, joe@example.org.", "", "j***@example.com, j***@example.org."},
		{`<"jane doe"@example.com> no`, "", `<***@example.com> no`},
		{"bounce+jane=example.com@lists.example.org", "", "b***@lists.example.org"},
		{"https://example.com/why?id=jane%40example.org;ip=192.0.2.1", "", "https://example.com/why?id=j***@example.org;ip=192.0.2.1"},
		{"unknown alias: Jane.Doe", "jane.doe@example.com", "unknown alias: ***"},
		{"mailbox full", "mail@example.com", "mailbox full"},
		{"user bob", "bob@example.com", "user bob"}, // short words are too often others' words
		{"user@[192.0.2.1] and @ alone, @@, x@", "", "user@[192.0.2.1] and @ alone, @@, x@"},
		{"日本@example.jp は", "", "日***@example.jp は"},
		{"", "jane@example.com", ""},
	} {
		if got := (masker{hide: true}).text(tc.text, tc.recipient); got != tc.want {
			t.Errorf("%q\ngot  %q\nwant %q", tc.text, got, tc.want)
		}
		if got := (masker{}).text(tc.text, tc.recipient); got != tc.text {
			t.Errorf("%q was changed without being asked: %q", tc.text, got)
		}
	}
}

// Every column begins at the same place of the screen in all rows, whatever the cells hold, and no line is too wide.
func TestTablesLineUp(t *testing.T) {
	tab := table{
		head: []string{"name", "n", "last"}, right: []int{1},
		rows:  [][]string{{"plain", "1", "short"}, {"日本語", "10000", strings.Repeat("wide 広い ", 30)}, {"e\u0301\u0301", "", "combining"}, {"\x1b[31m", "7", "escape"}},
		notes: []string{"", strings.Repeat("note ", 40)},
	}
	for _, columns := range []int{0, 20, 60, 200} {
		var b bytes.Buffer
		if err := tab.write(&b, columns); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != 6 {
			t.Fatalf("%d lines:\n%s", len(lines), &b)
		}
		column := 0
		for i, last := range map[int]string{0: "last", 1: "short", 2: "wide", 4: "combining", 5: "escape"} {
			at := strings.Index(lines[i], last[:min(len(last), 4)])
			if at < 0 {
				t.Fatalf("no %q in %q", last, lines[i])
			}
			if w := displayWidth(lines[i][:at]); column == 0 {
				column = w
			} else if w != column {
				t.Errorf("width %d: last column at %d and %d:\n%s", columns, column, w, &b)
			}
		}
		for _, line := range lines {
			if columns >= 60 && displayWidth(line) > columns {
				t.Errorf("%d columns, limit %d: %s", displayWidth(line), columns, line)
			}
		}
	}
}

func TestColoursAreForTerminalsOnly(t *testing.T) {
	r := surveyOf(t, ownRules(t), sample(t, "mail.log.gz"), false)
	var plain, coloured bytes.Buffer
	if err := r.WriteText(&plain, Style{Columns: 100}); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteText(&coloured, Style{Columns: 100, Colour: true}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(coloured.String(), "\x1b[1mOutcomes\x1b[0m") {
		t.Error("colours are not where they belong")
	}
	without := coloured.String()
	for _, code := range []string{bold, dim, red, green, yellow, "0"} {
		without = strings.ReplaceAll(without, "\x1b["+code+"m", "")
	}
	if without != plain.String() {
		t.Error("colours change the text")
	}
}
