package ingest

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"carom.dev/carom/pipeline/mtalog"
)

// counters count lines by what became of them: an event, state, noise, repeated, unparsed. Together they are the lines
// read; lines that are read again after a restart count again.
type counters struct {
	lines  metric.Int64Counter
	events metric.Int64Counter

	mu      sync.Mutex
	options map[mtalog.Result]metric.MeasurementOption // by kind, reason and daemon: closed sets
}

func newCounters(m metric.Meter) (*counters, error) {
	lines, err1 := m.Int64Counter("carom.ingest.lines", metric.WithUnit("{line}"),
		metric.WithDescription("log lines by what became of them: event, state, noise, repeated, unparsed"))
	events, err2 := m.Int64Counter("carom.ingest.rejected", metric.WithUnit("{event}"),
		metric.WithDescription("events that could not be sent on, by reason; they are in mail.dead-letter"))
	return &counters{lines: lines, events: events, options: map[mtalog.Result]metric.MeasurementOption{}}, errors.Join(err1, err2)
}

func (c *counters) result(r mtalog.Result) {
	c.lines.Add(context.Background(), 1, c.option(mtalog.Result{Kind: r.Kind, Reason: r.Reason, Daemon: r.Daemon}))
}

func (c *counters) option(r mtalog.Result) metric.MeasurementOption {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.options[r]
	if !ok {
		if len(c.options) > 500 { // daemons come from the log's words
			r.Daemon = "other"
		}
		o = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", r.Kind.String()),
			attribute.String("reason", r.Reason.String()), attribute.String("daemon", r.Daemon)))
		c.options[r] = o
	}
	return o
}

var repeatedLine = metric.WithAttributeSet(attribute.NewSet(attribute.String("kind", "repeated"),
	attribute.String("reason", "seen"), attribute.String("daemon", "")))

func (c *counters) repeated() { c.lines.Add(context.Background(), 1, repeatedLine) }

func (c *counters) rejected(reason string) {
	c.events.Add(context.Background(), 1, metric.WithAttributes(attribute.String("reason", reason)))
}
