package detect

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/incident"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// leader looks at the minutes while this replica owns mail.control.
type leader struct {
	cfg     Config
	client  *broker.Client
	db      *warehouse.DB
	genesis *schema.Genesis
	view    *view
	watch   *service.Watchdog
	log     *slog.Logger

	name     string
	term     int64
	detector *incident.Detector
}

var errDeposed = errors.New("another leader began a term")

const (
	usPerMinute = 60_000_000
	// chunk is how many minutes are read from ClickHouse at once.
	chunk = 60
)

// run leads until ctx ends. A failure is logged and the term begun anew.
func (l *leader) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.lead(ctx)
		if ctx.Err() != nil {
			return
		}
		l.log.Warn("leading failed; beginning again", "err", err)
		l.watch.Touch()
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// lead begins a term and keeps it until ctx ends or another leader begins one. ClickHouse may come and go meanwhile:
// whatever fails while looking at minutes is begun again from what is published, within the term, and time is told to
// idle partitions all along.
func (l *leader) lead(ctx context.Context) error {
	if err := l.begin(ctx); err != nil {
		return err
	}
	look, tick := time.NewTicker(l.cfg.LookEvery), time.NewTicker(l.cfg.TickEvery)
	defer look.Stop()
	defer tick.Stop()
	rebuilt, failures := false, 0
	var through int64
	var notBefore time.Time
	for {
		l.watch.Touch()
		if term, _, _, _, _ := l.view.state(); term > l.term {
			return errDeposed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := l.tick(ctx); err != nil {
				l.log.Warn("telling partitions the time failed", "err", err)
			}
		case now := <-look.C:
			if now.Before(notBefore) {
				continue
			}
			var err error
			if !rebuilt {
				if through, err = l.rebuild(ctx); err == nil {
					rebuilt = true
					l.log.Info("leading", "term", l.term, "evaluated_through", time.Unix(60*through, 0).UTC())
				}
			}
			if err == nil {
				through, err = l.look(ctx, through)
			}
			if err == nil {
				failures = 0
				continue
			}
			if ctx.Err() != nil {
				return nil
			}
			// The detector may have taken minutes whose findings did not get out: it is made anew.
			rebuilt, failures = false, failures+1
			pause := min(time.Duration(failures)*2*time.Second, 30*time.Second)
			notBefore = now.Add(pause)
			l.log.Warn("looking at minutes failed; trying again", "err", err, "pause", pause)
		}
	}
}

// begin writes a term record and waits until it is read back: by then everything before it has been folded.
func (l *leader) begin(ctx context.Context) error {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return fmt.Errorf("begin a term: %w", err)
	}
	l.name = l.cfg.Member + "/" + hex.EncodeToString(nonce[:])
	err := control.Append(ctx, l.client, &schema.Control{Body: &schema.Control_Leader{Leader: &schema.Term{Leader: l.name}}})
	if err != nil {
		return fmt.Errorf("begin a term: %w", err)
	}
	for {
		term, name, _, _, changed := l.view.state()
		if name == l.name {
			l.term = term
			return nil
		}
		l.watch.Touch()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-time.After(30 * time.Second):
			return fmt.Errorf("the term record of %s did not come back", l.name)
		}
	}
}

// rebuild makes a detector that knows the last day and what is open, and returns the first minute to look at.
func (l *leader) rebuild(ctx context.Context) (int64, error) {
	l.detector = incident.NewDetector(l.cfg.Detector)
	_, _, throughUs, open, _ := l.view.state()
	through := throughUs / usPerMinute
	for m := through - int64(l.cfg.Learn/time.Minute); throughUs > 0 && m < through; m += chunk {
		l.watch.Touch()
		if err := l.minutes(ctx, m, min(m+chunk, through), func([]*schema.Incident) error { return nil }); err != nil {
			return 0, err
		}
	}
	l.detector.Adopt(open)
	return through, nil
}

// minutes hands the detector the minutes [from, to) in order.
func (l *leader) minutes(ctx context.Context, from, to int64, found func([]*schema.Incident) error) error {
	rows, err := l.db.Samples(ctx, from, to)
	if err != nil {
		return err
	}
	var samples []incident.Sample
	for m := from; m < to; m++ {
		samples = samples[:0]
		for len(rows) > 0 && rows[0].Minute == m {
			samples = append(samples, incident.Sample(rows[0]))
			rows = rows[1:]
		}
		if err := found(l.detector.Minute(m, samples, true)); err != nil {
			return err
		}
	}
	return nil
}

// look evaluates every minute that has become complete, and says so.
func (l *leader) look(ctx context.Context, from int64) (int64, error) {
	to, ok, err := l.db.CompleteThrough(ctx, int(l.genesis.CellPartitions))
	if err != nil || !ok || to <= from {
		return from, err
	}
	if from == 0 { // the first look ever
		from = to - int64(l.cfg.Learn/time.Minute)
	}
	for from < to {
		next := min(from+chunk, to)
		err := l.minutes(ctx, from, next, func(found []*schema.Incident) error {
			for _, i := range found {
				if err := l.report(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return from, err
		}
		clear := &schema.AllClear{ThroughUs: next * usPerMinute}
		for _, i := range l.detector.Open() {
			if i.Hold {
				clear.Except = append(clear.Except, i.Provider)
			}
		}
		if err := l.append(ctx, &schema.Control{Body: &schema.Control_AllClear{AllClear: clear}}); err != nil {
			return from, err
		}
		from = next
		l.watch.Touch()
	}
	return from, nil
}

// report completes a finding with its evidence and publishes it.
func (l *leader) report(ctx context.Context, i *schema.Incident) error {
	if i.State == schema.IncidentState_RESOLVED && l.repeatEvidence(i) {
		return l.publish(ctx, i)
	}
	from, to := time.UnixMicro(i.OnsetUs), time.UnixMicro(i.UpdatedUs).Add(time.Minute)
	evidence, err := l.db.Evidence(ctx, i.Provider, i.Class, from, to, 5)
	if err != nil {
		return err
	}
	i.Evidence = evidence
	for _, dimension := range drillDown {
		b, err := l.db.Breakdown(ctx, i.Provider, i.Class, from, to, dimension)
		if err != nil {
			return err
		}
		for _, x := range b[:min(len(b), 10)] {
			if x.Value != "" {
				i.Breakdown = append(i.Breakdown, x)
			}
		}
	}
	return l.publish(ctx, i)
}

// repeatEvidence gives the resolution the evidence of the revision before: what failed since is no part of it.
func (l *leader) repeatEvidence(i *schema.Incident) bool {
	_, _, _, open, _ := l.view.state()
	for _, before := range open {
		if before.Id != i.Id || len(before.Evidence) == 0 {
			continue
		}
		i.Evidence = before.Evidence
		for _, b := range before.Breakdown {
			if slices.Contains(drillDown, b.Dimension) {
				i.Breakdown = append(i.Breakdown, b)
			}
		}
		return true
	}
	return false
}

// drillDown are the dimensions that the raw failures are broken down by; the detector knows the others itself.
var drillDown = []string{"domain", "remote_host", "tenant"}

func (l *leader) publish(ctx context.Context, i *schema.Incident) error {
	l.log.Info("incident", "id", i.Id, "revision", i.Revision, "state", i.State.Name(), "kind", i.Kind, "provider", i.Provider,
		"class", i.Class, "observed", i.Observed, "expected", i.Expected, "hold", i.Hold)
	return l.append(ctx, &schema.Control{Body: &schema.Control_Incident{Incident: i}})
}

func (l *leader) append(ctx context.Context, c *schema.Control) error {
	c.Term = l.term
	return control.Append(ctx, l.client, c)
}

// tick tells every partition what time it is, so that those without traffic move on.
func (l *leader) tick(ctx context.Context) error {
	env := schema.Envelope{Kind: &schema.Envelope_Tick{Tick: &schema.Tick{AtUs: time.Now().UnixMicro()}}}
	value, err := env.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode tick: %w", err)
	}
	var msgs []broker.Message
	for p := range l.genesis.EventPartitions {
		msgs = append(msgs, broker.Message{Topic: schema.TopicEvents, Partition: p, Value: value})
	}
	return l.client.Produce(ctx, msgs)
}
