package local

import (
	"context"
	"fmt"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/schema"
)

// hop is a group that has to reach the end of a topic. Once it has, everything that it makes of the topic is written,
// since positions are committed after their effects.
type hop struct{ group, topic string }

// Drain waits until everything that mta.raw holds has arrived in ClickHouse. through moves every partition's watermark
// to that time, as if all hosts' clocks had passed it; the zero time leaves it.
func (s *System) Drain(ctx context.Context, through time.Time) error {
	in, cl, ag, de := s.cfg.Services.Ingest.Group, s.cfg.Services.Classify.Group, s.cfg.Services.Back.Aggregate.Group, s.cfg.Services.Back.Detect.Group
	for _, raw := range s.cfg.Services.Back.Epoch.RawTopics {
		if err := s.reach(ctx, hop{in + "-" + raw, raw}); err != nil {
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
	for _, h := range []hop{
		{de + "-relay", schema.TopicControl},
		{cl, schema.TopicEvents},
		{ag + "-recipients", schema.TopicClassified},
		{ag + "-load-failures", schema.TopicClassified},
		{ag + "-cells", schema.TopicCells},
		{ag + "-load-decisions", schema.TopicDecisions},
		{ag + "-load-incidents", schema.TopicIncidents},
	} {
		if err := s.reach(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// reach waits until a group has committed what is now the end of each partition.
func (s *System) reach(ctx context.Context, h hop) error {
	n, err := s.Client.Partitions(ctx, h.topic)
	if err != nil {
		return err
	}
	ends := make([]int64, n)
	for p := range ends {
		if _, ends[p], err = s.Client.Offsets(ctx, h.topic, int32(p)); err != nil {
			return err
		}
	}
	for {
		at, err := s.Client.Committed(ctx, h.group, h.topic, n)
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
			return fmt.Errorf("group %s is %d records behind in %s: %w", h.group, behind, h.topic, ctx.Err())
		case err := <-s.failed:
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
