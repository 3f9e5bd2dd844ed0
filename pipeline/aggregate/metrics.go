package aggregate

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"carom.dev/carom/schema"
)

// counters count what the folds do. What is folded again after a restart counts again.
type counters struct {
	events    metric.Int64Counter
	decisions metric.Int64Counter
	poisoned  metric.Int64Counter
	moved     metric.Int64Counter
	gaps      metric.Int64Counter
	refused   metric.Int64Counter
	log       *slog.Logger
}

var (
	resultFolded    = metric.WithAttributeSet(attribute.NewSet(attribute.String("result", "folded")))
	resultJoined    = metric.WithAttributeSet(attribute.NewSet(attribute.String("result", "joined")))
	resultDuplicate = metric.WithAttributeSet(attribute.NewSet(attribute.String("result", "duplicate")))
)

func newCounters(m metric.Meter, log *slog.Logger) (*counters, error) {
	var errs []error
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	c := &counters{
		events:    counter("carom.aggregate.events", "{event}", "events by result: folded; joined, told by mail after the log had told it; or duplicate of one folded before"),
		decisions: counter("carom.aggregate.decisions", "{decision}", "decisions by new state"),
		poisoned:  counter("carom.aggregate.poison", "{record}", "records that could not be read; they are in mail.dead-letter"),
		moved:     counter("carom.aggregate.hosts_in_two_partitions", "{clock}", "clocks of a host that came through another raw partition than before: its lines lose their order"),
		gaps:      counter("carom.aggregate.control_gaps", "{record}", "control records that were read from mail.control because the relay had left them out"),
		refused:   counter("carom.aggregate.control_refused", "{record}", "control records that the fold refused, a policy that cannot be read for one; the last good state stays"),
		log:       log,
	}
	return c, errors.Join(errs...)
}

func (c *counters) folded()     { c.events.Add(context.Background(), 1, resultFolded) }
func (c *counters) joined()     { c.events.Add(context.Background(), 1, resultJoined) }
func (c *counters) duplicate()  { c.events.Add(context.Background(), 1, resultDuplicate) }
func (c *counters) poison()     { c.poisoned.Add(context.Background(), 1) }
func (c *counters) hostMoved()  { c.moved.Add(context.Background(), 1) }
func (c *counters) controlGap() { c.gaps.Add(context.Background(), 1) }

func (c *counters) refusedControl(partition int32, seq int64, err error) {
	c.refused.Add(context.Background(), 1)
	c.log.Error("control record refused", "partition", partition, "sequence", seq, "err", err)
}

func (c *counters) decision(d *schema.Decision) {
	c.decisions.Add(context.Background(), 1, metric.WithAttributes(attribute.String("state", d.State.Name())))
}
