package aggregate

import (
	"context"
	"errors"
	"fmt"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// loader copies a topic into a table. It has no state: its position is what the group committed after the rows were
// written, and a row that is written again replaces itself by its id. Loaders stand beside the folds, so that a
// warehouse that is down delays numbers and never decisions.
type loader[T any] struct {
	topic     string
	partition int32
	count     *counters
	decode    func(value []byte) (row T, wanted bool, err error) // row must not refer to value
	insert    func(ctx context.Context, rows []T, token string) error
	rows      []T
}

// Step implements fold.Machine.
func (l *loader[T]) Step(r *broker.Record, out *fold.Outbox) error {
	row, wanted, err := l.decode(r.Value)
	if err != nil {
		l.count.poison()
		return fold.DeadLetter(out, "load", l.topic, l.partition, r, err)
	}
	if wanted {
		l.rows = append(l.rows, row)
	}
	return nil
}

func (l *loader[T]) publish(ctx context.Context, client *broker.Client, b fold.Batch) error {
	if err := client.Produce(ctx, b.Outbox.Messages); err != nil {
		return err
	}
	if len(l.rows) == 0 {
		return nil
	}
	if err := l.insert(ctx, l.rows, fmt.Sprintf("%s/%d/%d", b.Topic, b.Partition, b.From)); err != nil {
		return err
	}
	clear(l.rows)
	l.rows = l.rows[:0]
	return nil
}

// AppendState implements fold.Machine: there is no state.
func (l *loader[T]) AppendState(b []byte) []byte { return b }

// LoadState implements fold.Machine.
func (l *loader[T]) LoadState([]byte) error { return nil }

// decodeFailure picks what is not a plain delivery from mail.classified.
func decodeFailure(value []byte) (warehouse.FailureRow, bool, error) {
	var env schema.Envelope
	if err := env.UnmarshalVTUnsafe(value); err != nil {
		return warehouse.FailureRow{}, false, fmt.Errorf("envelope: %w", err)
	}
	c := env.GetClassified()
	if c == nil {
		return warehouse.FailureRow{}, false, nil
	}
	if c.Verdict == nil {
		return warehouse.FailureRow{}, false, errors.New("event without a verdict")
	}
	if c.Verdict.Class == "" { // a delivery: the rest need not be decoded
		return warehouse.FailureRow{}, false, nil
	}
	var owned schema.Envelope // the first decoding is a view into the record
	if err := owned.UnmarshalVT(value); err != nil {
		return warehouse.FailureRow{}, false, fmt.Errorf("envelope: %w", err)
	}
	row := warehouse.FailureRow{Event: &schema.DeliveryEvent{}, Verdict: owned.GetClassified().Verdict}
	if err := row.Event.UnmarshalVT(c.Event); err != nil {
		return warehouse.FailureRow{}, false, fmt.Errorf("event: %w", err)
	}
	return row, true, nil
}

func decodeDecision(value []byte) (*schema.Decision, bool, error) {
	d := &schema.Decision{}
	if err := d.UnmarshalVT(value); err != nil {
		return nil, false, fmt.Errorf("decision: %w", err)
	}
	return d, true, nil
}

func decodeIncident(value []byte) (*schema.Incident, bool, error) {
	i := &schema.Incident{}
	if err := i.UnmarshalVT(value); err != nil {
		return nil, false, fmt.Errorf("incident: %w", err)
	}
	return i, true, nil
}
