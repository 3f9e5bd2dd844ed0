package ingest

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/source"
	"carom.dev/carom/schema"
)

// counters count what came in by what became of it: an event, state, noise, repeated, unparsed. Together they are the
// lines, records and mails that were read; what is read again after a restart counts again.
type counters struct {
	items    metric.Int64Counter
	rejects  metric.Int64Counter
	failures metric.Int64Counter
	orphans  metric.Int64Counter

	mu     sync.Mutex
	fates  map[fateKey]metric.MeasurementOption
	feeds  map[feedKey]metric.MeasurementOption
	shapes map[shapeKey]int64 // of unparsed items
}

// fateKey is what of a fate labels a metric: closed sets but for the daemon, which comes from the log's words.
type fateKey struct {
	kind                   mtalog.Kind
	format, reason, daemon string
}

// feedKey labels the failures of a feed: those that hide code and phase are useless, and the share tells it.
type feedKey struct {
	feed        string
	code, phase bool
}

// The bounds of label values that come from outside.
const (
	maxFates  = 500
	maxFeeds  = 500
	maxShapes = 64
)

func newCounters(m metric.Meter) (*counters, error) {
	items, err1 := m.Int64Counter("carom.ingest.lines", metric.WithUnit("{line}"),
		metric.WithDescription("log lines, feeds' records and mails by what became of them: event, state, noise, repeated, unparsed"))
	rejects, err2 := m.Int64Counter("carom.ingest.rejected", metric.WithUnit("{event}"),
		metric.WithDescription("events and records that could not be sent on, by reason; but for repeats they are in mail.dead-letter"))
	failures, err3 := m.Int64Counter("carom.ingest.failures", metric.WithUnit("{event}"),
		metric.WithDescription("failures by feed and by whether they tell a code and a phase: a feed that hides both cannot be judged"))
	orphans, err4 := m.Int64Counter("carom.ingest.orphans", metric.WithUnit("{event}"),
		metric.WithDescription("events of a delivery whose queue entry was never seen: sender, id and labels are missing"))
	c := &counters{
		items: items, rejects: rejects, failures: failures, orphans: orphans,
		fates: map[fateKey]metric.MeasurementOption{}, feeds: map[feedKey]metric.MeasurementOption{}, shapes: map[shapeKey]int64{},
	}
	_, err5 := m.Int64ObservableCounter("carom.ingest.unparsed.shapes", metric.WithUnit("{line}"),
		metric.WithDescription("unparsed lines by shape: words of a sample, its numbers and addresses masked; at most 64 shapes, the rest as other"),
		metric.WithInt64Callback(c.observeShapes))
	return c, errors.Join(err1, err2, err3, err4, err5)
}

// fate counts n items of one partition; text is the item, where it was not understood. The counts reach the metric with
// flush: adding to it for each line would cost a good part of reading one.
func (c *counters) fate(p *pending, f source.Fate, n int, text []byte) {
	key := fateKey{f.Kind, f.Format, f.Reason, f.Daemon}
	if f.Kind == mtalog.KindUnparsed && len(text) > 0 {
		c.shape(f, n, text)
	}
	for i := range *p {
		if (*p)[i].key == key {
			(*p)[i].n += int64(n)
			return
		}
	}
	*p = append(*p, pendingFate{key, int64(n)})
}

// pending are the fates of the items of one record.
type pending []pendingFate

type pendingFate struct {
	key fateKey
	n   int64
}

func (c *counters) flush(p *pending) {
	for i := range *p {
		c.items.Add(context.Background(), (*p)[i].n, c.fateOption((*p)[i].key))
	}
	clear(*p)
	*p = (*p)[:0]
}

func (c *counters) fateOption(key fateKey) metric.MeasurementOption {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.fates[key]
	if !ok {
		if len(c.fates) >= maxFates {
			key.daemon = "other"
			if o, ok = c.fates[key]; ok {
				return o
			}
		}
		o = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", key.kind.String()), attribute.String("format", key.format),
			attribute.String("reason", key.reason), attribute.String("daemon", key.daemon)))
		c.fates[key] = o
	}
	return o
}

var repeatedItem = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "repeated"), attribute.String("format", ""),
	attribute.String("reason", "seen"), attribute.String("daemon", "")))

func (c *counters) repeated() { c.items.Add(context.Background(), 1, repeatedItem) }

func (c *counters) rejected(reason string) {
	c.rejects.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", reason)))
}

// event counts what an event does not say.
func (c *counters) event(ev *schema.DeliveryEvent) {
	if ev.Orphan {
		c.orphans.Add(context.Background(), 1)
	}
	switch ev.Outcome {
	case schema.Outcome_DEFERRED, schema.Outcome_BOUNCED, schema.Outcome_ASYNC_BOUNCE:
	default:
		return
	}
	key := feedKey{feed: ev.Feed, code: ev.SmtpCode != 0 || ev.EnhancedSource == schema.EnhancedSource_ENHANCED_REMOTE, phase: ev.Phase != 0}
	if key.feed == "" {
		key.feed = ev.Mta
	}
	c.failures.Add(context.Background(), 1, c.feedOption(key))
}

func (c *counters) feedOption(key feedKey) metric.MeasurementOption {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.feeds[key]
	if !ok {
		if len(c.feeds) >= maxFeeds {
			key.feed = "other"
			if o, ok = c.feeds[key]; ok {
				return o
			}
		}
		o = metric.WithAttributeSet(attribute.NewSet(attribute.String("feed", key.feed), attribute.Bool("code", key.code),
			attribute.Bool("phase", key.phase)))
		c.feeds[key] = o
	}
	return o
}
