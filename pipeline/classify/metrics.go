package classify

import (
	"context"
	"errors"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"carom.dev/carom/schema"
)

// counters count verdicts by provider, outcome, class and confidence: closed sets, all of them ours.
type counters struct {
	verdicts metric.Int64Counter
	newCodes metric.Int64Counter
	poisoned metric.Int64Counter

	mu      sync.Mutex
	options map[label]metric.MeasurementOption
}

type label struct {
	provider, class string
	outcome         schema.Outcome
	confidence      schema.Confidence
}

func newCounters(m metric.Meter) (*counters, error) {
	verdicts, err1 := m.Int64Counter("carom.classify.verdicts", metric.WithUnit("{event}"),
		metric.WithDescription("events by provider, outcome, class and confidence"))
	codes, err2 := m.Int64Counter("carom.classify.new_provider_codes", metric.WithUnit("{event}"),
		metric.WithDescription("answers with a provider's code that no rule knows"))
	poisoned, err3 := m.Int64Counter("carom.classify.poison", metric.WithUnit("{record}"),
		metric.WithDescription("records that could not be read; they are in mail.dead-letter"))
	return &counters{verdicts: verdicts, newCodes: codes, poisoned: poisoned, options: map[label]metric.MeasurementOption{}},
		errors.Join(err1, err2, err3)
}

func (c *counters) verdict(ev *schema.DeliveryEvent, v *schema.Verdict) {
	l := label{v.Provider, v.Class, ev.Outcome, v.Confidence}
	c.mu.Lock()
	o, ok := c.options[l]
	if !ok {
		o = metric.WithAttributeSet(attribute.NewSet(attribute.String("provider", l.provider), attribute.String("class", l.class),
			attribute.String("outcome", l.outcome.Name()), attribute.String("confidence", l.confidence.Name())))
		c.options[l] = o
	}
	c.mu.Unlock()
	c.verdicts.Add(context.Background(), 1, o)
	if v.NewProviderCode {
		c.newCodes.Add(context.Background(), 1, metric.WithAttributes(attribute.String("provider", v.Provider)))
	}
}

func (c *counters) poison() { c.poisoned.Add(context.Background(), 1) }
