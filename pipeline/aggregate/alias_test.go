package aggregate

import (
	"fmt"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

// A record's bytes are overwritten by the next fetch. Nothing that the state keeps may be a view into them: here every
// record is scribbled over after its step, and the hold and the positions still work.
func TestStateOutlivesTheRecordsItWasFoldedFrom(t *testing.T) {
	count, err := newCounters(noop.Meter{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := &schema.Genesis{Epoch: "1", EventPartitions: 1, CellPartitions: 1, CellOpenMs: 600_000, RawTopics: []string{"mta.raw"}}
	m, err := newMachine(0, g, func(int64) (*schema.Control, error) { return nil, fmt.Errorf("no gap is expected") }, count)
	if err != nil {
		t.Fatal(err)
	}
	const t0 = int64(1_760_000_000_000_000)
	offset := int64(0)
	var states []string
	step := func(env *schema.Envelope) {
		t.Helper()
		value, err := env.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		var out fold.Outbox
		if err := m.Step(&broker.Record{Offset: offset, Value: value}, &out); err != nil {
			t.Fatal(err)
		}
		offset++
		for _, msg := range out.Messages {
			if msg.Topic == schema.TopicDecisions {
				var d schema.Decision
				if err := d.UnmarshalVT(msg.Value); err != nil {
					t.Fatal(err)
				}
				states = append(states, d.State.Name())
			}
		}
		for i := range value {
			value[i] = '#'
		}
	}
	event := func(raw int64, recipient string, outcome schema.Outcome, v *schema.Verdict) {
		ev := &schema.DeliveryEvent{
			EventId: fmt.Sprint(raw), OccurredAtUs: t0 + raw*1_000_000, MtaHost: "mta1", QueueId: fmt.Sprint("Q", raw), Recipient: recipient,
			RecipientKey: []byte(recipient), Outcome: outcome, Raw: &schema.RawPosition{Topic: "mta.raw", Offset: raw},
		}
		b, err := ev.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		step(&schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{Event: b, Verdict: v}}})
	}
	unknown := &schema.Verdict{
		Class: "recipient.unknown", Provider: "apple", Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_CANDIDATE,
		Permanence: schema.Permanence_PERMANENT, Confidence: schema.Confidence_CONFIDENCE_PROVIDER_TEXT, Rule: "r",
	}
	event(1, "a@icloud.com", schema.Outcome_DELIVERED, &schema.Verdict{Provider: "apple"})
	step(&schema.Envelope{Kind: &schema.Envelope_Control{Control: &schema.Control{Seq: 0, Body: &schema.Control_Genesis{Genesis: g}}}})
	step(&schema.Envelope{Kind: &schema.Envelope_Control{Control: &schema.Control{Seq: 1, Body: &schema.Control_Incident{Incident: &schema.Incident{
		Id: "inc-1", Revision: 1, State: schema.IncidentState_OPEN, Kind: "provider_false_unknown", Provider: "apple", Class: "recipient.unknown", Hold: true,
		HoldFromUs: t0, HoldUntilUs: t0 + 3_600_000_000, OpenedUs: t0,
	}}}}})
	event(2, "a@icloud.com", schema.Outcome_BOUNCED, unknown)
	event(2, "a@icloud.com", schema.Outcome_BOUNCED, unknown) // a repeat: its place is known
	if got := fmt.Sprint(states); got != "[held]" {
		t.Errorf("decisions %s, want [held]: the hold covers the failure", got)
	}
	for k := range m.seen {
		if k.topic != "mta.raw" {
			t.Errorf("the source position's topic became %q", k.topic)
		}
	}
	if len(m.seen) != 1 {
		t.Errorf("%d source partitions are remembered, there is one", len(m.seen))
	}
}
