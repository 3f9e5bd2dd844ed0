// Package control keeps mail.control: the one-partition topic whose records steer every fold. The offset of a record is
// its sequence number; a relay copies record n into every partition of mail.events, and each fold applies n = last + 1.
//
// The first record is the genesis: it names the log's epoch and every parameter of the folds, so that what a fold does
// depends on the log alone. It is written once; a second one, by a process that started at the same moment, stands at a
// later offset and is ignored.
package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/schema"
)

// Params are what an epoch of the log is made with.
type Params struct {
	Epoch           string   // names the log; part of every event id
	RawTopics       []string // in the order of their numbers
	RawPartitions   int
	EventPartitions int // of mail.events and mail.classified
	CellPartitions  int
	Replicas        int    // of the topics; 0 leaves it to the broker
	Policy          string // text of the first policy; empty: the built-in one
	CellOpen        time.Duration
	Observe         bool
	KeyID           string // id of the privacy secret; empty: keys are clear addresses
}

// DefaultParams returns the parameters of a small installation.
func DefaultParams() Params {
	return Params{
		Epoch: "1", RawTopics: []string{schema.TopicRaw}, RawPartitions: 4, EventPartitions: 4, CellPartitions: 4,
		CellOpen: 10 * time.Minute, Observe: true,
	}
}

// Validate names the field that cannot work.
func (p Params) Validate() error {
	switch {
	case p.Epoch == "" || len(p.Epoch) > 16:
		return fmt.Errorf("epoch: %q has to have 1 to 16 characters", p.Epoch)
	case len(p.RawTopics) == 0:
		return errors.New("raw topics: none")
	case p.RawPartitions < 1:
		return fmt.Errorf("raw partitions: %d", p.RawPartitions)
	case p.EventPartitions < 1 || p.CellPartitions < 1:
		return fmt.Errorf("event partitions %d, cell partitions %d: at least 1 each", p.EventPartitions, p.CellPartitions)
	case p.CellOpen < time.Minute:
		return fmt.Errorf("cell open time: %s is below a minute", p.CellOpen)
	}
	return nil
}

// Topics lists every topic of an epoch, with its settings.
func Topics(p Params) []broker.Topic {
	keep := func(d time.Duration) map[string]string {
		return map[string]string{"cleanup.policy": "delete", "retention.ms": fmt.Sprint(d.Milliseconds())}
	}
	const day = 24 * time.Hour
	forever := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
	out := []broker.Topic{
		{Name: schema.TopicEvents, Partitions: p.EventPartitions, Config: keep(3 * day)},
		{Name: schema.TopicClassified, Partitions: p.EventPartitions, Config: keep(7 * day)},
		{Name: schema.TopicCells, Partitions: p.CellPartitions, Config: keep(7 * day)},
		{Name: schema.TopicDecisions, Partitions: p.EventPartitions, Config: keep(30 * day)},
		{Name: schema.TopicSuppressions, Partitions: p.EventPartitions, Config: map[string]string{"cleanup.policy": "compact"}},
		{Name: schema.TopicIncidents, Partitions: 1, Config: forever},
		{Name: schema.TopicControl, Partitions: 1, Config: forever},
		{Name: schema.TopicDeadLetter, Partitions: 1, Config: keep(14 * day)},
	}
	for _, raw := range p.RawTopics {
		// The time of writing says who is silent. It has to be the broker's: one shipper with a clock in the future would
		// make everybody else look silent until that day.
		config := keep(7 * day)
		config["message.timestamp.type"] = "LogAppendTime"
		out = append(out, broker.Topic{Name: raw, Partitions: p.RawPartitions, Config: config})
	}
	for i := range out {
		out[i].Replicas = p.Replicas
	}
	return out
}

// EnsureGenesis writes the genesis record if mail.control is empty, and returns the one that counts.
func EnsureGenesis(ctx context.Context, client *broker.Client, p Params) (*schema.Genesis, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	_, last, err := client.Offsets(ctx, schema.TopicControl, 0)
	if err != nil {
		return nil, err
	}
	if last == 0 {
		g := &schema.Genesis{
			Epoch: p.Epoch, EventPartitions: int32(p.EventPartitions), CellPartitions: int32(p.CellPartitions), Policy: p.Policy,
			CellOpenMs: p.CellOpen.Milliseconds(), Observe: p.Observe, KeyId: p.KeyID, RawTopics: p.RawTopics,
		}
		if err := Append(ctx, client, &schema.Control{Body: &schema.Control_Genesis{Genesis: g}}); err != nil {
			return nil, err
		}
	}
	return WaitGenesis(ctx, client)
}

// WaitGenesis returns the genesis record, waiting until there is one.
func WaitGenesis(ctx context.Context, client *broker.Client) (*schema.Genesis, error) {
	r := client.NewReader(schema.TopicControl, 0, 0)
	for {
		records, _, err := r.Fetch(ctx, time.Second)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("waiting for the genesis record in %s: %w", schema.TopicControl, context.Cause(ctx))
		case err != nil && !broker.Retryable(err):
			return nil, err
		case err != nil:
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		case len(records) == 0:
			continue
		}
		c, err := Decode(&records[0])
		if err != nil {
			return nil, err
		}
		if c.GetGenesis() == nil {
			return nil, fmt.Errorf("the first record of %s is no genesis record: the topic was not made by Carom", schema.TopicControl)
		}
		return c.GetGenesis(), nil
	}
}

// Read returns the control record with this sequence number; one that cannot be decoded has a number and no body.
func Read(ctx context.Context, client *broker.Client, seq int64) (*schema.Control, error) {
	r := client.NewReader(schema.TopicControl, 0, seq)
	for range 20 {
		records, _, err := r.Fetch(ctx, time.Second)
		if err != nil && !broker.Retryable(err) {
			return nil, err
		}
		if len(records) > 0 && records[0].Offset == seq {
			c, _ := Decode(&records[0]) // one that cannot be read has no content, here as in the relay
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("control record %d cannot be read from %s", seq, schema.TopicControl)
}

// Append writes one control record. Its sequence number is known when it is read back.
func Append(ctx context.Context, client *broker.Client, c *schema.Control) error {
	if c.AtMs == 0 {
		c.AtMs = time.Now().UnixMilli()
	}
	value, err := c.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode control record: %w", err)
	}
	return client.Produce(ctx, []broker.Message{{Topic: schema.TopicControl, Value: value}})
}

// Decode reads a record of mail.control and gives it its sequence number. With an error it returns a record that has the
// number and no body: the topic is kept for ever, so what cannot be read must not stop those who fold it.
func Decode(r *broker.Record) (*schema.Control, error) {
	c := &schema.Control{}
	if err := c.UnmarshalVT(r.Value); err != nil {
		return &schema.Control{Seq: r.Offset}, fmt.Errorf("control record at offset %d: %w", r.Offset, err)
	}
	c.Seq = r.Offset
	return c, nil
}
