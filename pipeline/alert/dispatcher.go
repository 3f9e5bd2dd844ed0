package alert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"carom.dev/carom/schema"
)

// Config are the parameters of a Dispatcher.
type Config struct {
	Interval   time.Duration // of reposts and heartbeats; default 30 s
	FirstRetry time.Duration // doubles with each failure, with jitter; default 1 s
	LastRetry  time.Duration // longest wait between tries; default 5 min
	GiveUp     time.Duration // a revision not taken after this long is dropped and counted; default 24 h
	MaxOwed    int           // revisions per channel; default 4096
	MaxKnown   int           // incidents remembered, to tell repeats; default 16384
}

// DefaultConfig returns the parameters of a new installation.
func DefaultConfig() Config {
	return Config{
		Interval: 30 * time.Second, FirstRetry: time.Second, LastRetry: 5 * time.Minute, GiveUp: 24 * time.Hour,
		MaxOwed: 4096, MaxKnown: 16384,
	}
}

// Validate names the first value that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Interval < time.Second || c.Interval > time.Minute:
		return fmt.Errorf("alert config: Interval is %v: it must be within 1s and 1m", c.Interval)
	case c.FirstRetry < time.Millisecond:
		return fmt.Errorf("alert config: FirstRetry is %v: it must be at least 1ms", c.FirstRetry)
	case c.LastRetry < c.FirstRetry:
		return fmt.Errorf("alert config: LastRetry is %v: it must not be below FirstRetry, %v", c.LastRetry, c.FirstRetry)
	case c.GiveUp < c.LastRetry:
		return fmt.Errorf("alert config: GiveUp is %v: it must not be below LastRetry, %v", c.GiveUp, c.LastRetry)
	case c.MaxOwed < 1:
		return fmt.Errorf("alert config: MaxOwed is %d: it must be at least 1", c.MaxOwed)
	case c.MaxKnown < 1:
		return fmt.Errorf("alert config: MaxKnown is %d: it must be at least 1", c.MaxKnown)
	}
	return nil
}

// ErrFull is the error of Publish when a channel is owed as much as it may be.
var ErrFull = errors.New("a channel is owed too many notifications")

// Dispatcher brings revisions of incidents to channels. It is safe for concurrent use.
type Dispatcher struct {
	cfg      Config
	channels []Channel
	log      *slog.Logger

	mu     sync.Mutex
	queues []queue                     // by channel
	stats  []Stats                     // by channel
	known  map[string]*schema.Incident // last revision of each incident, by id
	wake   []chan struct{}             // by channel, capacity 1

	// sending is held, by channel, over a Send or a Repost: an incident that was open when a repost began must not
	// arrive after its resolution.
	sending []chan struct{} // capacity 1
}

// Stats counts for one channel, since the start.
type Stats struct {
	Channel   string
	Owed      int    // now
	Sent      uint64 // acknowledged
	Failures  uint64 // tries that will be repeated
	Rejected  uint64 // revisions refused for good
	GivenUp   uint64 // revisions dropped for their age
	Reposts   uint64
	RepostErr uint64
}

// State is what a Dispatcher has to remember over a restart.
type State struct {
	Owed []Owed
	// Known are the last revisions published of each incident remembered: repeats are told by them, and the open ones
	// are reposted.
	Known []*schema.Incident
}

// Owed is a revision that a channel has not acknowledged.
type Owed struct {
	Channel  string
	Incident *schema.Incident
}

// NewDispatcher returns a dispatcher that owes nothing. Names of channels must differ.
func NewDispatcher(cfg Config, log *slog.Logger, channels ...Channel) (*Dispatcher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg: cfg, channels: channels, log: log,
		queues: make([]queue, len(channels)), stats: make([]Stats, len(channels)),
		known: map[string]*schema.Incident{},
	}
	for i, c := range channels {
		if err := checkName(c.Name()); err != nil {
			return nil, fmt.Errorf("alert: %w", err)
		}
		if d.channel(c.Name()) != i {
			return nil, fmt.Errorf("alert: two channels are named %q", c.Name())
		}
		d.stats[i].Channel = c.Name()
		d.wake = append(d.wake, make(chan struct{}, 1))
		d.sending = append(d.sending, make(chan struct{}, 1))
	}
	return d, nil
}

func (d *Dispatcher) channel(name string) int {
	return slices.IndexFunc(d.channels, func(c Channel) bool { return c.Name() == name })
}

// Publish takes a revision for every channel. Revisions of an incident come in order; one already taken is a repeat and
// is ignored. It never waits: when a channel has no room it returns ErrFull and has taken the revision for none.
func (d *Dispatcher) Publish(inc *schema.Incident) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[inc.Id]; k != nil && k.Revision >= inc.Revision {
		return nil
	}
	for i := range d.queues {
		if len(d.queues[i].items) >= d.cfg.MaxOwed && d.queues[i].grows(inc) {
			return fmt.Errorf("publish incident %s to %s: %w", inc.Id, d.stats[i].Channel, ErrFull)
		}
	}
	d.remember(inc)
	for i := range d.queues {
		d.queues[i].push(inc)
		d.poke(i)
	}
	return nil
}

// remember keeps the last revision of an incident. Of too many, the resolved one that was updated longest ago goes
// first, then the open one: what a detector reports as open is bounded well below.
func (d *Dispatcher) remember(inc *schema.Incident) {
	if d.known[inc.Id] == nil && len(d.known) >= d.cfg.MaxKnown {
		oldest := slices.MinFunc(slices.Collect(maps.Values(d.known)), func(a, b *schema.Incident) int {
			return cmp.Or(compareBool(isOpen(a), isOpen(b)), cmp.Compare(a.UpdatedUs, b.UpdatedUs), cmp.Compare(a.Id, b.Id))
		})
		delete(d.known, oldest.Id)
	}
	d.known[inc.Id] = inc
}

func isOpen(inc *schema.Incident) bool { return inc.State != schema.IncidentState_RESOLVED }

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (d *Dispatcher) poke(i int) {
	select {
	case d.wake[i] <- struct{}{}:
	default: // it is awake
	}
}

// Pending returns what a restart must not forget. What was acknowledged while the state was stored is sent again.
func (d *Dispatcher) Pending() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s State
	for i := range d.queues {
		for _, o := range d.queues[i].items {
			s.Owed = append(s.Owed, Owed{d.stats[i].Channel, o.incident})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.known)) {
		s.Known = append(s.Known, d.known[id])
	}
	return s
}

// Restore puts back what Pending returned, before Run and Publish. What is owed to a channel that no longer exists is
// dropped, with a warning.
func (d *Dispatcher) Restore(s State) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, inc := range s.Known {
		d.remember(inc)
	}
	for _, o := range s.Owed {
		i := d.channel(o.Channel)
		if i < 0 {
			d.log.Warn("notification dropped: channel is not configured", "channel", o.Channel, "incident", o.Incident.Id, "revision", o.Incident.Revision)
			continue
		}
		d.queues[i].push(o.Incident)
	}
}

// Stats returns the counts of each channel, in the order of the channels.
func (d *Dispatcher) Stats() []Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := slices.Clone(d.stats)
	for i := range all {
		all[i].Owed = len(d.queues[i].items)
	}
	return all
}

// Run delivers until ctx ends, and then returns nil; what is owed stays.
func (d *Dispatcher) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, c := range d.channels {
		g.Go(func() error {
			d.deliver(ctx, i)
			return nil
		})
		if r, ok := c.(Reposter); ok {
			g.Go(func() error {
				d.repost(ctx, i, r)
				return nil
			})
		}
	}
	return g.Wait()
}

// deliver is the loop of one channel.
func (d *Dispatcher) deliver(ctx context.Context, i int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		n, wait := d.next(i)
		if n != nil {
			d.sending[i] <- struct{}{}
			err := d.channels[i].Send(ctx, *n)
			<-d.sending[i]
			if ctx.Err() != nil && err != nil {
				return
			}
			d.settle(i, n, err)
			continue
		}
		if wait == 0 {
			wait = time.Hour // until something is published
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-d.wake[i]:
		case <-timer.C:
		}
	}
}

func (d *Dispatcher) next(i int) (*Notification, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	o, wait := d.queues[i].due(now)
	if o == nil {
		return nil, wait
	}
	if o.since.IsZero() {
		o.since = now
	}
	return &Notification{Incident: o.incident, ID: notificationID(o.incident.Id, o.incident.Revision, d.stats[i].Channel)}, 0
}

// settle books the answer to one try.
func (d *Dispatcher) settle(i int, n *Notification, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q, s := &d.queues[i], &d.stats[i]
	log := d.log.With("channel", s.Channel, "incident", n.Incident.Id, "revision", n.Incident.Revision)
	if err == nil {
		s.Sent++
		q.failures, q.pauseUntil = 0, time.Time{}
		q.drop(n.Incident.Id, n.Incident.Revision)
		return
	}
	if Permanent(err) {
		s.Rejected++
		log.Error("notification refused", "err", err)
		// The receiver is there; only this one it will never take.
		q.failures, q.pauseUntil = 0, time.Time{}
		q.drop(n.Incident.Id, n.Incident.Revision)
		return
	}
	s.Failures++
	now := time.Now()
	q.failures++
	q.pauseUntil = now.Add(max(d.backoff(q.failures), retryAfter(err)))
	o := q.find(n.Incident.Id, n.Incident.Revision)
	if o == nil {
		return // replaced by a later update while it was on its way
	}
	o.failures++
	if now.Sub(o.since) >= d.cfg.GiveUp {
		s.GivenUp++
		log.Error("notification given up", "err", err, "failures", o.failures)
		q.drop(n.Incident.Id, n.Incident.Revision)
		return
	}
	o.next = now.Add(max(d.backoff(o.failures), retryAfter(err)))
	log.Warn("notification will be sent again", "err", err, "failures", o.failures)
}

// backoff doubles from FirstRetry up to LastRetry; half of it is random, so that many senders do not come back together.
func (d *Dispatcher) backoff(failures int) time.Duration {
	wait := d.cfg.LastRetry
	if failures < 32 {
		wait = min(wait, d.cfg.FirstRetry<<(failures-1))
	}
	if wait <= 0 {
		wait = d.cfg.LastRetry
	}
	return wait/2 + rand.N(wait/2+1)
}

// repost repeats what is open, at once and in every interval. A failure is counted and made good by the next.
func (d *Dispatcher) repost(ctx context.Context, i int, r Reposter) {
	ticker := time.NewTicker(d.cfg.Interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		d.sending[i] <- struct{}{}
		limited, cancel := context.WithTimeout(ctx, d.cfg.Interval)
		err := r.Repost(limited, d.reportable())
		cancel()
		<-d.sending[i]
		d.mu.Lock()
		d.stats[i].Reposts++
		if err != nil && ctx.Err() == nil {
			d.stats[i].RepostErr++
			d.log.Warn("open incidents not reposted", "channel", d.stats[i].Channel, "err", err)
		}
		d.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// reportable returns the last revisions of the open incidents, in the order of their ids.
func (d *Dispatcher) reportable() []*schema.Incident {
	d.mu.Lock()
	defer d.mu.Unlock()
	var open []*schema.Incident
	for _, id := range slices.Sorted(maps.Keys(d.known)) {
		if inc := d.known[id]; isOpen(inc) {
			open = append(open, inc)
		}
	}
	return open
}
