package embedded

import (
	"log/slog"
	"strings"
	"testing"
)

func TestTailRemembersTheExceptionBehindAStackTrace(t *testing.T) {
	w := &tail{log: slog.New(slog.DiscardHandler)}
	if got := w.last(); got != "it said nothing" {
		t.Errorf("empty: %q", got)
	}
	// Writes end anywhere.
	for _, s := range []string{"starting\nCode: 76. DB::Exc", "eption: status file\n", strings.Repeat("0. ? @ 0x1\n", 500), "half a li", "ne"} {
		if n, err := w.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if got, want := w.last(), "last exception: Code: 76. DB::Exception: status file; last line: half a line"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTailIsBounded(t *testing.T) {
	w := &tail{log: slog.New(slog.DiscardHandler)}
	for range 100 {
		w.Write(make([]byte, 1<<16))
	}
	if len(w.open) > lineBytes {
		t.Errorf("keeps %d bytes", len(w.open))
	}
}
