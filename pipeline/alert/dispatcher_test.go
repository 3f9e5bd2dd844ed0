package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"carom.dev/carom/schema"
)

// receiver is a channel whose answers a test decides.
type receiver struct {
	name   string
	mu     sync.Mutex
	answer func(try int, n Notification) error
	tries  int
	got    []string // acknowledged ids
	at     []time.Time
	hang   bool
}

func (r *receiver) Name() string { return r.name }

func (r *receiver) Send(ctx context.Context, n Notification) error {
	if r.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	r.at = append(r.at, time.Now())
	if r.answer != nil {
		if err := r.answer(r.tries, n); err != nil {
			return err
		}
	}
	r.got = append(r.got, n.ID)
	return nil
}

func (r *receiver) acknowledged() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// reposter also counts what is repeated to it.
type reposter struct {
	receiver
	reposts [][]string
}

func (r *reposter) Repost(_ context.Context, open []*schema.Incident) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []string
	for _, inc := range open {
		ids = append(ids, fmt.Sprintf("%s-r%d", inc.Id, inc.Revision))
	}
	r.reposts = append(r.reposts, ids)
	return nil
}

func revision(id string, number uint32, state schema.IncidentState) *schema.Incident {
	return &schema.Incident{Id: id, Revision: number, State: state, UpdatedUs: int64(number)}
}

const (
	open     = schema.IncidentState_OPEN
	updated  = schema.IncidentState_UPDATED
	resolved = schema.IncidentState_RESOLVED
)

func newTestDispatcher(t *testing.T, cfg Config, channels ...Channel) *Dispatcher {
	t.Helper()
	d, err := NewDispatcher(cfg, slog.New(slog.DiscardHandler), channels...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// running runs a dispatcher until the returned function is called.
func running(t *testing.T, d *Dispatcher) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func publish(t *testing.T, d *Dispatcher, all ...*schema.Incident) {
	t.Helper()
	for _, inc := range all {
		if err := d.Publish(inc); err != nil {
			t.Fatal(err)
		}
	}
}

func wantStrings(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestEveryRevisionReachesEveryChannelOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &receiver{name: "a"}, &receiver{name: "b"}
		d := newTestDispatcher(t, DefaultConfig(), a, b)
		stop := running(t, d)
		for _, inc := range []*schema.Incident{revision("i", 1, open), revision("i", 1, open), revision("i", 2, updated), revision("i", 3, resolved), revision("i", 2, updated)} {
			publish(t, d, inc)
			synctest.Wait()
		}
		stop()
		wantStrings(t, "a", a.acknowledged(), "i-r1-a", "i-r2-a", "i-r3-a")
		wantStrings(t, "b", b.acknowledged(), "i-r1-b", "i-r2-b", "i-r3-b")
		if left := d.Pending().Owed; len(left) != 0 {
			t.Errorf("still owed: %v", left)
		}
	})
}

// An opening and a resolution always arrive; of the updates in between only the latest does.
func TestUpdatesGiveWayOpeningsAndResolutionsDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		a := &receiver{name: "a", answer: func(int, Notification) error {
			if !up.Load() {
				return errors.New("connection refused")
			}
			return nil
		}}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open), revision("i", 2, updated), revision("i", 3, updated), revision("i", 4, updated),
			revision("i", 5, resolved), revision("i", 6, updated), revision("i", 7, updated), revision("i", 8, resolved))
		time.Sleep(10 * time.Minute)
		up.Store(true)
		time.Sleep(time.Hour)
		stop()
		wantStrings(t, "a", a.acknowledged(), "i-r1-a", "i-r4-a", "i-r5-a", "i-r7-a", "i-r8-a")
	})
}

func TestChannelThatHangsBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs, works := &receiver{name: "hangs", hang: true}, &receiver{name: "works"}
		d := newTestDispatcher(t, DefaultConfig(), hangs, works)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open), revision("i", 2, resolved))
		synctest.Wait()
		wantStrings(t, "works", works.acknowledged(), "i-r1-works", "i-r2-works")
		stop()
		if s := d.Stats(); s[0].Owed != 2 || s[1].Owed != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A receiver that is down is asked less and less often, however much it is owed, and not before it wants to be.
func TestRetriesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{name: "a", answer: func(int, Notification) error { return &statusError{status: http.StatusServiceUnavailable} }}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		for i := range 50 {
			publish(t, d, revision(fmt.Sprint("i", i), 1, open))
		}
		time.Sleep(time.Hour)
		stop()
		if a.tries < 12 || a.tries > 40 {
			t.Errorf("%d tries in an hour", a.tries)
		}
		if s := d.Stats()[0]; s.Owed != 50 || s.Failures != uint64(a.tries) {
			t.Errorf("stats %+v after %d tries", s, a.tries)
		}
	})
}

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{name: "a", answer: func(try int, _ Notification) error {
			if try == 1 {
				return &statusError{status: http.StatusTooManyRequests, retryAfter: 90 * time.Second}
			}
			return nil
		}}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open))
		time.Sleep(5 * time.Minute)
		stop()
		if len(a.at) != 2 || a.at[1].Sub(a.at[0]) < 90*time.Second {
			t.Errorf("tried at %v", a.at)
		}
	})
}

func TestRefusedForGoodIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{name: "a", answer: func(_ int, n Notification) error {
			if n.Incident.Revision == 1 {
				return &statusError{status: http.StatusBadRequest}
			}
			return nil
		}}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open), revision("i", 2, resolved))
		time.Sleep(time.Hour)
		stop()
		wantStrings(t, "a", a.acknowledged(), "i-r2-a")
		if s := d.Stats()[0]; a.tries != 2 || s.Rejected != 1 || s.Sent != 1 {
			t.Errorf("%d tries, stats %+v", a.tries, s)
		}
	})
}

func TestGivesUpAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &receiver{name: "a", answer: func(int, Notification) error { return errors.New("no route to host") }}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open))
		time.Sleep(23 * time.Hour)
		if s := d.Stats()[0]; s.Owed != 1 || s.GivenUp != 0 {
			t.Errorf("after 23 hours: %+v", s)
		}
		time.Sleep(2 * time.Hour)
		stop()
		if s := d.Stats()[0]; s.Owed != 0 || s.GivenUp != 1 {
			t.Errorf("after 25 hours: %+v", s)
		}
	})
}

// A full queue refuses the whole revision, for all channels, and takes it later; an update that replaces one needs no room.
func TestFullQueueRefusesAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.MaxOwed = 2
		var up atomic.Bool
		a := &receiver{name: "a", answer: func(int, Notification) error {
			if !up.Load() {
				return errors.New("down")
			}
			return nil
		}}
		b := &receiver{name: "b"}
		d := newTestDispatcher(t, cfg, a, b)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open), revision("i", 2, updated), revision("i", 3, updated))
		if err := d.Publish(revision("i", 4, resolved)); !errors.Is(err, ErrFull) {
			t.Fatalf("got %v, want ErrFull", err)
		}
		synctest.Wait()
		if slices.Contains(b.acknowledged(), "i-r4-b") {
			t.Error("a refused revision went to another channel")
		}
		up.Store(true)
		time.Sleep(time.Hour)
		publish(t, d, revision("i", 4, resolved))
		synctest.Wait()
		stop()
		wantStrings(t, "a", a.acknowledged(), "i-r1-a", "i-r3-a", "i-r4-a")
	})
}

func TestRestartOwesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &receiver{name: "a"}, &receiver{name: "b", answer: func(int, Notification) error { return errors.New("down") }}
		first := newTestDispatcher(t, DefaultConfig(), a, b)
		stop := running(t, first)
		publish(t, first, revision("i", 1, open), revision("i", 2, resolved), revision("j", 1, open))
		synctest.Wait()
		stop()

		again, fixed, added := &reposter{receiver: receiver{name: "a"}}, &receiver{name: "b"}, &receiver{name: "c"}
		second := newTestDispatcher(t, DefaultConfig(), again, fixed, added)
		second.Restore(first.Pending())
		stop = running(t, second)
		publish(t, second, revision("i", 1, open), revision("i", 2, resolved), revision("j", 1, open)) // read again
		time.Sleep(time.Second)
		stop()
		wantStrings(t, "a", again.acknowledged())
		wantStrings(t, "b", fixed.acknowledged(), "i-r1-b", "i-r2-b", "j-r1-b")
		wantStrings(t, "c", added.acknowledged())
		wantStrings(t, "reposted", again.reposts[0], "j-r1")
	})
}

// Open incidents are repeated in every interval, in their last revision; with none open the heartbeat goes on.
func TestOpenIncidentsAreReposted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &reposter{receiver: receiver{name: "a"}}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		synctest.Wait()
		publish(t, d, revision("i", 1, open))
		time.Sleep(time.Minute + time.Second)
		publish(t, d, revision("i", 2, updated))
		time.Sleep(30 * time.Second)
		publish(t, d, revision("i", 3, resolved))
		time.Sleep(30 * time.Second)
		stop()
		want := [][]string{nil, {"i-r1"}, {"i-r1"}, {"i-r2"}, nil}
		if !slices.EqualFunc(a.reposts, want, slices.Equal) {
			t.Errorf("reposts %q, want %q", a.reposts, want)
		}
	})
}

// slowReposter holds a repost until it is released.
type slowReposter struct {
	receiver
	release chan struct{}
	order   []string
}

func (r *slowReposter) Send(_ context.Context, n Notification) error {
	r.order = append(r.order, n.ID)
	return nil
}

func (r *slowReposter) Repost(_ context.Context, open []*schema.Incident) error {
	if len(open) == 0 {
		return nil
	}
	<-r.release
	r.order = append(r.order, "repost")
	return nil
}

// A repost that began while an incident was open must not arrive after its resolution and raise it again.
func TestRepostDoesNotOvertakeAResolution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &slowReposter{receiver: receiver{name: "a"}, release: make(chan struct{})}
		d := newTestDispatcher(t, DefaultConfig(), a)
		stop := running(t, d)
		publish(t, d, revision("i", 1, open))
		time.Sleep(31 * time.Second) // the repost hangs
		publish(t, d, revision("i", 2, resolved))
		time.Sleep(time.Second)
		close(a.release)
		time.Sleep(time.Second)
		stop()
		if n := len(a.order); n < 3 || a.order[n-1] != "i-r2-a" {
			t.Errorf("order %q", a.order)
		}
	})
}

func TestMemoryOfIncidentsIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxKnown = 10
	d := newTestDispatcher(t, cfg)
	for i := range 100 {
		id := fmt.Sprint("i", i)
		publish(t, d, revision(id, 1, open))
		if i > 0 {
			publish(t, d, revision(id, 2, resolved))
		}
	}
	known := d.Pending().Known
	if len(known) != 10 {
		t.Errorf("%d incidents remembered", len(known))
	}
	if !slices.ContainsFunc(known, func(inc *schema.Incident) bool { return inc.Id == "i0" }) {
		t.Error("the open incident was forgotten before resolved ones")
	}
}

func TestPermanent(t *testing.T) {
	check := func(err error, want bool) {
		if got := Permanent(fmt.Errorf("post: %w", err)); got != want {
			t.Errorf("Permanent(%v) = %v", err, got)
		}
	}
	for status, want := range map[int]bool{301: true, 400: true, 401: true, 403: true, 404: true, 408: true, 413: true, 429: false, 500: false, 502: false, 503: false, 504: false} {
		check(&statusError{status: status}, want)
	}
	check(errors.New("connection reset by peer"), false)
	check(context.DeadlineExceeded, false)
	check(errSetup, true)
}

func TestNamesOfChannelsAreChecked(t *testing.T) {
	for _, channels := range [][]Channel{{&receiver{name: "a"}, &receiver{name: "a"}}, {&receiver{}}, {&receiver{name: "a.b"}}} {
		if _, err := NewDispatcher(DefaultConfig(), slog.New(slog.DiscardHandler), channels...); err == nil {
			t.Errorf("channels %v were accepted", channels)
		}
	}
}
