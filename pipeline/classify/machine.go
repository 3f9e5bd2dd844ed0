package classify

import (
	"errors"
	"fmt"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// machine gives every event its verdict. It has no state: what it writes depends on one record and the rule set.
// Clocks and control records pass through unchanged, in place.
type machine struct {
	partition int32
	rules     *rules.Set
	count     *counters

	in      rules.Input
	cause   rules.Input
	ev      schema.DeliveryEvent
	verdict schema.Verdict
	env     schema.Envelope
}

// Step implements fold.Machine.
func (m *machine) Step(r *broker.Record, out *fold.Outbox) error {
	m.env.Reset()
	if err := m.env.UnmarshalVTUnsafe(r.Value); err != nil {
		return m.poison(r, out, fmt.Errorf("envelope: %w", err))
	}
	switch k := m.env.Kind.(type) {
	case *schema.Envelope_Event:
		return m.event(r, k.Event, out)
	case *schema.Envelope_Clock, *schema.Envelope_Control, *schema.Envelope_Tick:
		out.Send(schema.TopicClassified, m.partition, r.Key, r.Value)
		return nil
	}
	return m.poison(r, out, errors.New("envelope of no known kind"))
}

func (m *machine) poison(r *broker.Record, out *fold.Outbox, cause error) error {
	m.count.poison()
	return fold.DeadLetter(out, "classify", schema.TopicEvents, m.partition, r, cause)
}

func (m *machine) event(r *broker.Record, raw []byte, out *fold.Outbox) error {
	m.ev.Reset()
	if err := m.ev.UnmarshalVTUnsafe(raw); err != nil {
		return m.poison(r, out, fmt.Errorf("event: %w", err))
	}
	m.in = InputOf(&m.ev)
	if m.ev.Cause != nil {
		m.cause = causeOf(&m.ev)
		m.in.Cause = &m.cause
	}
	m.verdict.Reset()
	m.rules.Classify(&m.in, &m.verdict)
	m.count.verdict(&m.ev, &m.verdict)

	wrapped := schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{Event: raw, Verdict: &m.verdict}}}
	value := out.Alloc(wrapped.SizeVT())
	if _, err := wrapped.MarshalToSizedBufferVT(value); err != nil {
		return fmt.Errorf("encode verdict: %w", err)
	}
	out.Send(schema.TopicClassified, m.partition, r.Key, value)
	return nil
}

// AppendState and LoadState implement fold.Machine: there is no state.
func (m *machine) AppendState(b []byte) []byte { return b }

// LoadState implements fold.Machine.
func (m *machine) LoadState([]byte) error { return nil }

// InputOf is what the rules look at in an event, without its cause.
func InputOf(ev *schema.DeliveryEvent) rules.Input {
	return rules.Input{
		Outcome: ev.Outcome, Code: ev.SmtpCode, Enhanced: ev.EnhancedCode, EnhancedSource: ev.EnhancedSource, Text: ev.Text,
		Phase: ev.Phase, Origin: ev.Origin, RemoteHost: ev.RemoteHost, Domain: ev.Domain, MTA: ev.Mta,
	}
}

func causeOf(ev *schema.DeliveryEvent) rules.Input {
	c := ev.Cause
	return rules.Input{
		Outcome: schema.Outcome_DEFERRED, Code: c.SmtpCode, Enhanced: c.EnhancedCode, EnhancedSource: c.EnhancedSource, Text: c.Text,
		Phase: c.Phase, Origin: c.Origin, RemoteHost: c.RemoteHost, Domain: ev.Domain, MTA: ev.Mta,
	}
}
