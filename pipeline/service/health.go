package service

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Health answers two questions about a process. Live: do its loops make progress? If not, only a restart helps. Ready:
// may it get work? Dependencies belong to neither the first (an outage of Kafka must not restart every consumer) nor,
// beyond the start, the second. Safe for concurrent use.
type Health struct {
	base time.Time // progress is kept as time since base, so that the monotonic clock is compared

	mu         sync.Mutex
	loops      map[*Watchdog]struct{} // bounded by the loops that run: Watchdog.Stop removes
	conditions map[string]*Condition  // bounded by the names in the code
	stopping   bool
}

// NewHealth returns the health of a process without loops, hence live, and without conditions, hence not ready.
func NewHealth() *Health {
	return &Health{base: time.Now(), loops: map[*Watchdog]struct{}{}, conditions: map[string]*Condition{}}
}

// Watchdog watches one loop.
type Watchdog struct {
	health *Health
	name   string
	bound  time.Duration
	last   atomic.Int64 // time of the last Touch, as a time.Duration since health.base
}

// Watch registers a loop that calls [Watchdog.Touch] at least once in bound: also when there is no work, and in every
// attempt to reach something that is down. /livez fails while it does not. Several loops may have the same name. The
// owner calls [Watchdog.Stop] when the loop ends. A bound that is not positive panics.
func (h *Health) Watch(name string, bound time.Duration) *Watchdog {
	if bound <= 0 {
		panic(fmt.Sprintf("service: watchdog %s: bound %v", name, bound))
	}
	w := &Watchdog{health: h, name: name, bound: bound}
	w.Touch()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loops[w] = struct{}{}
	return w
}

// Touch says that the loop has come round. It costs a reading of the clock and an atomic store, so a call per batch is
// cheap and one per record is not.
func (w *Watchdog) Touch() { w.last.Store(int64(time.Since(w.health.base))) }

// Stop ends the watch. Later calls do nothing.
func (w *Watchdog) Stop() {
	w.health.mu.Lock()
	defer w.health.mu.Unlock()
	delete(w.health.loops, w)
}

// Condition is one thing that has to hold before the process gets work.
type Condition struct {
	health *Health
	name   string
	ok     bool
	reason string
}

// Condition returns the condition of that name, which at first does not hold. Get all of them before setting the first,
// or the process looks ready in between.
func (h *Health) Condition(name string) *Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.conditions[name]
	if c == nil {
		c = &Condition{health: h, name: name, reason: "not yet"}
		h.conditions[name] = c
	}
	return c
}

// Met says that the condition holds.
func (c *Condition) Met() {
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	c.ok, c.reason = true, ""
}

// Unmet says that the condition does not hold and why, for the person who reads /readyz.
func (c *Condition) Unmet(reason string) {
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	c.ok, c.reason = false, reason
}

// Stopping makes the process not ready for good: the first step of an orderly end.
func (h *Health) Stopping() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// check is one line of an answer.
type check struct {
	name, reason string // reason is empty if the check passed
}

// Stuck returns what is wrong with the loops, sorted; nothing if the process is live.
func (h *Health) Stuck() []string { return failures(h.live()) }

// Missing returns what the process lacks to be ready, sorted; nothing if it is ready.
func (h *Health) Missing() []string { return failures(h.ready()) }

func (h *Health) live() []check {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Since(h.base)
	checks := make([]check, 0, len(h.loops))
	for w := range h.loops {
		c := check{name: w.name}
		if idle := now - time.Duration(w.last.Load()); idle > w.bound {
			c.reason = fmt.Sprintf("no progress for %v, bound %v", idle.Round(time.Millisecond), w.bound)
		}
		checks = append(checks, c)
	}
	return sortChecks(checks)
}

func (h *Health) ready() []check {
	h.mu.Lock()
	defer h.mu.Unlock()
	checks := make([]check, 0, len(h.conditions)+1)
	for _, c := range h.conditions {
		reason := c.reason
		if !c.ok && reason == "" {
			reason = "not met"
		}
		checks = append(checks, check{c.name, reason})
	}
	if len(h.conditions) == 0 {
		checks = append(checks, check{"start", "not yet"})
	}
	if h.stopping {
		checks = append(checks, check{"running", "stopping"})
	}
	return sortChecks(checks)
}

func sortChecks(checks []check) []check {
	slices.SortFunc(checks, func(a, b check) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.reason, b.reason))
	})
	return checks
}

func failures(checks []check) []string {
	var out []string
	for _, c := range checks {
		if c.reason != "" {
			out = append(out, c.name+": "+c.reason)
		}
	}
	return out
}

// healthHandler answers 200 or 503 with one line for each check, those that passed as well.
func healthHandler(checks func() []check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var body strings.Builder
		status := http.StatusOK
		for _, c := range checks() {
			if c.reason == "" {
				fmt.Fprintf(&body, "ok    %s\n", cleanText(c.name))
				continue
			}
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&body, "fail  %s: %s\n", cleanText(c.name), cleanText(c.reason))
		}
		if body.Len() == 0 {
			body.WriteString("ok\n")
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write([]byte(body.String()))
	}
}
