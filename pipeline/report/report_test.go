package report

import (
	"bytes"
	"strings"
	"testing"
)

func TestCleanLeavesNothingThatATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"550 5.1.1 unknown":                  "550 5.1.1 unknown",
		"a\tb\r\nc":                          "a b  c",
		"\x1b[31mred\x1b[0m":                 "·[31mred·[0m",
		"user\u202egnp.exe":                  "user·gnp.exe",
		"bell\x07, del\x7f, c1\u0085":        "bell·, del·, c1·",
		"not utf-8 \xff\xfe":                 "not utf-8 ··",
		"Grüße, 日本":                          "Grüße, 日本",
		strings.Repeat("x", 500) + "\x1b[0m": strings.Repeat("x", 60) + "…",
	} {
		if got := Clean(in, 60); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTablesLineUp(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, &out)
	p.Table([]string{"provider", "events"}, [][]string{{"apple", "7"}, {"größter", "12345"}}, 1)
	want := "  provider  events\n  apple          7\n  größter    12345\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
