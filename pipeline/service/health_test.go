package service

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func get(h *Health, path string) (int, string) {
	w := httptest.NewRecorder()
	publicRoutes(h, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

// Liveness fails when a loop has made no progress for longer than its bound, names it, and recovers when it moves again.
func TestLivenessFollowsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		expect := func(when string, status int, body string) {
			t.Helper()
			if code, got := get(h, "/livez"); code != status || got != body {
				t.Errorf("%s: %d %q, want %d %q", when, code, got, status, body)
			}
		}
		expect("without loops", 200, "ok\n")
		fast, slow := h.Watch("fetch", time.Second), h.Watch("flush", time.Minute)
		expect("at first", 200, "ok    fetch\nok    flush\n")
		time.Sleep(time.Second)
		expect("at the bound", 200, "ok    fetch\nok    flush\n")
		time.Sleep(500 * time.Millisecond)
		expect("after the bound", 503, "fail  fetch: no progress for 1.5s, bound 1s\nok    flush\n")
		if got := h.Stuck(); len(got) != 1 || !strings.HasPrefix(got[0], "fetch: no progress") {
			t.Errorf("stuck: %q", got)
		}
		fast.Touch()
		expect("after progress", 200, "ok    fetch\nok    flush\n")
		time.Sleep(2 * time.Second)
		fast.Stop()
		fast.Touch()
		expect("after the loop's end", 200, "ok    flush\n")
		slow.Stop()
	})
}

// A second loop of the same name does not cover for the first.
func TestLivenessOfLoopsWithOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth()
		h.Watch("partition", time.Second)
		time.Sleep(2 * time.Second)
		h.Watch("partition", time.Second)
		if code, body := get(h, "/livez"); code != 503 {
			t.Errorf("%d %q", code, body)
		}
	})
}

func TestReadinessListsWhatIsMissing(t *testing.T) {
	h := NewHealth()
	expect := func(when string, status int, body string) {
		t.Helper()
		if code, got := get(h, "/readyz"); code != status || got != body {
			t.Errorf("%s: %d %q, want %d %q", when, code, got, status, body)
		}
	}
	expect("before anything registered", 503, "fail  start: not yet\n")
	restored, assigned := h.Condition("restored"), h.Condition("assigned")
	expect("at first", 503, "fail  assigned: not yet\nfail  restored: not yet\n")
	assigned.Met()
	expect("half", 503, "ok    assigned\nfail  restored: not yet\n")
	restored.Met()
	expect("all", 200, "ok    assigned\nok    restored\n")
	h.Condition("restored").Unmet("partition 3 at offset 12 of 99")
	expect("lost", 503, "ok    assigned\nfail  restored: partition 3 at offset 12 of 99\n")
	if got := h.Missing(); len(got) != 1 || got[0] != "restored: partition 3 at offset 12 of 99" {
		t.Errorf("missing: %q", got)
	}
	restored.Unmet("")
	expect("without a reason", 503, "ok    assigned\nfail  restored: not met\n")
	restored.Met()
	h.Stopping()
	expect("stopping", 503, "ok    assigned\nok    restored\nfail  running: stopping\n")
	if code, _ := get(h, "/livez"); code != 200 {
		t.Errorf("a process that stops is not live: %d", code)
	}
}

func BenchmarkWatchdogTouch(b *testing.B) {
	w := NewHealth().Watch("loop", time.Second)
	b.ReportAllocs()
	for b.Loop() {
		w.Touch()
	}
}
