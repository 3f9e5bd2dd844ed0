package local

import (
	"context"
	"fmt"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/schema"
)

// Drain waits until everything that mta.raw holds has arrived in ClickHouse. through moves every partition's watermark
// to that time, as if all hosts' clocks had passed it; the zero time leaves it.
func (s *System) Drain(ctx context.Context, through time.Time) error {
	in, cl, ag, de := s.cfg.Services.Ingest.Group, s.cfg.Services.Classify.Group, s.cfg.Services.Back.Aggregate.Group, s.cfg.Services.Back.Detect.Group
	for _, raw := range s.cfg.Services.Back.Epoch.RawTopics {
		if err := Reach(ctx, s.Client, in+"-"+raw, raw, s.failed); err != nil {
			return err
		}
	}
	end := &schema.Close{}
	if !through.IsZero() {
		end.AtUs = through.UnixMicro()
	}
	if err := control.Append(ctx, s.Client, &schema.Control{Body: &schema.Control_Close{Close: end}}); err != nil {
		return err
	}
	for _, h := range []struct{ group, topic string }{
		{de + "-relay", schema.TopicControl},
		{cl, schema.TopicEvents},
		{ag + "-recipients", schema.TopicClassified},
		{ag + "-load-failures", schema.TopicClassified},
		{ag + "-cells", schema.TopicCells},
		{ag + "-load-decisions", schema.TopicDecisions},
		{ag + "-load-incidents", schema.TopicIncidents},
	} {
		if err := Reach(ctx, s.Client, h.group, h.topic, s.failed); err != nil {
			return err
		}
	}
	return nil
}

// Reach waits until a group has committed what is now the end of each partition of a topic. Then everything that it
// makes of the topic so far is written, since positions are committed after their effects. An error from failed ends the
// wait; it may be nil.
func Reach(ctx context.Context, client *broker.Client, group, topic string, failed <-chan error) error {
	n, err := client.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	ends := make([]int64, n)
	for p := range ends {
		if _, ends[p], err = client.Offsets(ctx, topic, int32(p)); err != nil {
			return err
		}
	}
	for {
		at, err := client.Committed(ctx, group, topic, n)
		if err != nil {
			return err
		}
		behind := int64(0)
		for p := range ends {
			behind += max(0, ends[p]-max(0, at[p]))
		}
		if behind == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("group %s is %d records behind in %s: %w", group, behind, topic, ctx.Err())
		case err := <-failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Evaluated waits until the detector has looked at every minute before through.
func (s *System) Evaluated(ctx context.Context, through time.Time) error {
	r := s.Client.NewReader(schema.TopicControl, 0, 0)
	for {
		records, _, err := r.Fetch(ctx, 500*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("the detector has not looked at %s yet: %w", through.UTC().Format(time.RFC3339), ctx.Err())
		}
		if err != nil && !broker.Retryable(err) {
			return err
		}
		for i := range records {
			c, err := control.Decode(&records[i])
			if err != nil {
				return err
			}
			if a := c.GetAllClear(); a != nil && a.ThroughUs >= through.Truncate(time.Minute).UnixMicro() {
				return nil
			}
		}
	}
}
