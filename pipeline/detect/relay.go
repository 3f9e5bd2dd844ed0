package detect

import (
	"fmt"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

// relay copies mail.control into every partition of mail.events, and incidents to mail.incidents. A record that it
// copies again after a crash is recognised by its sequence number.
type relay struct{ partitions int32 }

// Step implements fold.Machine.
func (m *relay) Step(r *broker.Record, out *fold.Outbox) error {
	c, err := control.Decode(r)
	if err != nil { // its number goes on without content: a hole would be looked for
		if err := fold.DeadLetter(out, "relay", schema.TopicControl, 0, r, err); err != nil {
			return err
		}
	}
	env := schema.Envelope{Kind: &schema.Envelope_Control{Control: c}}
	value := out.Alloc(env.SizeVT())
	if _, err := env.MarshalToSizedBufferVT(value); err != nil {
		return fmt.Errorf("encode control record: %w", err)
	}
	for p := range m.partitions {
		out.Send(schema.TopicEvents, p, nil, value)
	}
	if i := c.GetIncident(); i != nil {
		value := out.Alloc(i.SizeVT())
		if _, err := i.MarshalToSizedBufferVT(value); err != nil {
			return fmt.Errorf("encode incident: %w", err)
		}
		out.Send(schema.TopicIncidents, 0, []byte(i.Id), value)
	}
	return nil
}

// AppendState implements fold.Machine: there is no state.
func (m *relay) AppendState(b []byte) []byte { return b }

// LoadState implements fold.Machine.
func (m *relay) LoadState([]byte) error { return nil }
