package local

import (
	"context"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/schema"
)

// readAll hands every record that a topic now holds to f.
func (s *System) readAll(ctx context.Context, topic string, f func(*broker.Record) error) error {
	n, err := s.Client.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	for p := range int32(n) {
		first, end, err := s.Client.Offsets(ctx, topic, p)
		if err != nil {
			return err
		}
		r := s.Client.NewReader(topic, p, first)
		for r.Next() < end {
			records, _, err := r.Fetch(ctx, time.Second)
			if err != nil {
				return err
			}
			for i := range records {
				if err := f(&records[i]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Incidents returns the last revision of every incident, in the order in which they were opened.
func (s *System) Incidents(ctx context.Context) ([]*schema.Incident, error) {
	var out []*schema.Incident
	at := map[string]int{}
	err := s.readAll(ctx, schema.TopicIncidents, func(r *broker.Record) error {
		i := &schema.Incident{}
		if err := i.UnmarshalVT(r.Value); err != nil {
			return err
		}
		if k, ok := at[i.Id]; ok {
			out[k] = i
			return nil
		}
		at[i.Id] = len(out)
		out = append(out, i)
		return nil
	})
	return out, err
}

// Decisions returns the last decision on every recipient and scope, by the key in mail.suppressions.
func (s *System) Decisions(ctx context.Context) (map[string]*schema.Decision, error) {
	out := map[string]*schema.Decision{}
	err := s.readAll(ctx, schema.TopicSuppressions, func(r *broker.Record) error {
		d := &schema.Decision{}
		if err := d.UnmarshalVT(r.Value); err != nil {
			return err
		}
		out[string(r.Key)] = d
		return nil
	})
	return out, err
}

// History is what was decided on one recipient, all scopes together.
type History struct {
	Now        schema.RecipientState // of the scope decided last
	Pending    int                   // decisions that entered the state
	Held       int
	Suppressed int
}

// Histories returns the history of every recipient on which something was decided, by recipient key.
func (s *System) Histories(ctx context.Context) (map[string]History, error) {
	out := map[string]History{}
	err := s.readAll(ctx, schema.TopicDecisions, func(r *broker.Record) error {
		d := &schema.Decision{}
		if err := d.UnmarshalVT(r.Value); err != nil {
			return err
		}
		h := out[string(d.RecipientKey)]
		h.Now = d.State
		switch d.State {
		case schema.RecipientState_STATE_PENDING:
			h.Pending++
		case schema.RecipientState_STATE_HELD:
			h.Held++
		case schema.RecipientState_STATE_SUPPRESSED:
			h.Suppressed++
		}
		out[string(d.RecipientKey)] = h
		return nil
	})
	return out, err
}
