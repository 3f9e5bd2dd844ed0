package fold

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/service"
)

// stuckAfter is how long a worker may take for one batch before the process counts as not live. Waiting for a broker or
// a warehouse that is down is progress too: it is touched in every attempt.
const stuckAfter = 2 * time.Minute

// Observer measures a fold and tells the process how it gets on. It is safe for concurrent use.
type Observer struct {
	name   string
	health *service.Health
	ready  *service.Condition
	tracer trace.Tracer

	records, messages, failures metric.Int64Counter
	lag                         metric.Int64Gauge
	publishTime, snapshotTime   metric.Float64Histogram
	snapshotBytes               metric.Int64Gauge

	mu       sync.Mutex
	assigned int
	running  map[int32]*service.Watchdog
}

// NewObserver makes the instruments of the fold of that name, and its readiness condition: the process is ready when
// it is a member of the group and every partition given to it has been restored.
func NewObserver(p *service.Process, name string) (*Observer, error) {
	o := &Observer{
		name: name, health: p.Health, ready: p.Health.Condition(name), tracer: p.Telemetry.Tracer, running: map[int32]*service.Watchdog{},
		assigned: -1,
	}
	m := p.Telemetry.Meter
	var err error
	counter := func(name, unit, what string) metric.Int64Counter {
		c, e := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		if e != nil && err == nil {
			err = fmt.Errorf("instrument %s: %w", name, e)
		}
		return c
	}
	histogram := func(name, what string) metric.Float64Histogram {
		h, e := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what))
		if e != nil && err == nil {
			err = fmt.Errorf("instrument %s: %w", name, e)
		}
		return h
	}
	gauge := func(name, unit, what string) metric.Int64Gauge {
		g, e := m.Int64Gauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		if e != nil && err == nil {
			err = fmt.Errorf("instrument %s: %w", name, e)
		}
		return g
	}
	o.records = counter("carom.fold.records", "{record}", "records folded, repeats after a restart included")
	o.messages = counter("carom.fold.published", "{message}", "messages published and acknowledged")
	o.failures = counter("carom.fold.failures", "{failure}", "failures by what was tried; each is tried again")
	o.lag = gauge("carom.fold.lag", "{record}", "records of the partition that are not folded yet")
	o.publishTime = histogram("carom.fold.publish.duration", "time to publish a batch")
	o.snapshotTime = histogram("carom.fold.snapshot.duration", "time to write a snapshot")
	o.snapshotBytes = gauge("carom.fold.snapshot.size", "By", "size of the last snapshot")
	return o, err
}

func (o *Observer) attrs(partition int32, more ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributes(append(more, attribute.String("fold", o.name), attribute.Int("partition", int(partition)))...)
}

func (o *Observer) folded(partition int32, records int, lag int64) {
	if records > 0 {
		o.records.Add(context.Background(), int64(records), o.attrs(partition))
	}
	o.lag.Record(context.Background(), max(0, lag), o.attrs(partition))
}

func (o *Observer) published(partition int32, messages int, took time.Duration) {
	o.messages.Add(context.Background(), int64(messages), o.attrs(partition))
	o.publishTime.Record(context.Background(), took.Seconds(), metric.WithAttributes(attribute.String("fold", o.name)))
}

func (o *Observer) snapshotted(partition int32, bytes int, took time.Duration) {
	o.snapshotBytes.Record(context.Background(), int64(bytes), o.attrs(partition))
	o.snapshotTime.Record(context.Background(), took.Seconds(), metric.WithAttributes(attribute.String("fold", o.name)))
}

func (o *Observer) failed(partition int32, what string) {
	o.failures.Add(context.Background(), 1, o.attrs(partition, attribute.String("what", what)))
}

// joined says how many partitions this member has been given.
func (o *Observer) joined(partitions int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.assigned = partitions
	o.judge()
}

func (o *Observer) restored(partition int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running[partition] = o.health.Watch(o.name, stuckAfter)
	o.judge()
}

func (o *Observer) stopped(partition int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if w := o.running[partition]; w != nil {
		w.Stop()
	}
	delete(o.running, partition)
	o.judge()
}

func (o *Observer) progress(partition int32) {
	o.mu.Lock()
	w := o.running[partition]
	o.mu.Unlock()
	if w != nil {
		w.Touch()
	}
}

func (o *Observer) judge() {
	switch {
	case o.assigned < 0:
		o.ready.Unmet("not a member of the group yet")
	case len(o.running) < o.assigned:
		o.ready.Unmet(fmt.Sprintf("%d of %d partitions restored", len(o.running), o.assigned))
	default:
		o.ready.Met()
	}
}

// span begins the span of a batch, as a child of the trace that came with its first traced record, and puts its context
// on the first message to every partition.
func (o *Observer) span(ctx context.Context, b *Batch) (context.Context, trace.Span) {
	ctx, span := o.tracer.Start(service.WithTraceparent(ctx, b.Trace), o.name+" batch",
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
			attribute.String("messaging.system", "kafka"),
			attribute.String("messaging.source.name", b.Topic),
			attribute.Int("messaging.source.partition.id", int(b.Partition)),
			attribute.Int64("carom.offset.from", b.From), attribute.Int("messaging.batch.message_count", b.Records)))
	if !span.SpanContext().IsSampled() {
		return ctx, span
	}
	header := []broker.Header{{Key: service.HeaderTraceparent, Value: []byte(service.Traceparent(ctx))}}
	type target struct {
		topic     string
		partition int32
	}
	done := map[target]bool{}
	for i := range b.Outbox.Messages {
		m := &b.Outbox.Messages[i]
		if t := (target{m.Topic, m.Partition}); !done[t] {
			done[t] = true
			m.Headers = header
		}
	}
	return ctx, span
}
