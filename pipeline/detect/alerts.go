package detect

import (
	"context"
	"fmt"
	"log/slog"

	"carom.dev/carom/pipeline/alert"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

// alerts folds mail.incidents into what each channel is owed. The dispatcher delivers beside it; what is acknowledged
// is saved with the next snapshot, so that a restart repeats little, under the same notification ids.
type alerts struct {
	dispatcher *alert.Dispatcher
	log        *slog.Logger
}

func newAlerts(cfg alert.Config, channels []alert.Channel, log *slog.Logger) (*alerts, error) {
	d, err := alert.NewDispatcher(cfg, log, channels...)
	if err != nil {
		return nil, err
	}
	return &alerts{dispatcher: d, log: log}, nil
}

// Step implements fold.Machine. A channel that is owed too much stops the fold, not the incident: it is tried again.
func (m *alerts) Step(r *broker.Record, out *fold.Outbox) error {
	i := &schema.Incident{}
	if err := i.UnmarshalVT(r.Value); err != nil {
		return fold.DeadLetter(out, "alerts", schema.TopicIncidents, 0, r, fmt.Errorf("incident: %w", err))
	}
	return m.dispatcher.Publish(i)
}

// run delivers until ctx ends.
func (m *alerts) run(ctx context.Context) {
	if err := m.dispatcher.Run(ctx); err != nil && ctx.Err() == nil {
		m.log.Error("alert dispatcher ended", "err", err)
	}
}

// AppendState implements fold.Machine.
func (m *alerts) AppendState(b []byte) []byte {
	p := m.dispatcher.Pending()
	s := schema.AlertState{Known: p.Known}
	for _, o := range p.Owed {
		s.Owed = append(s.Owed, &schema.AlertState_Owed{Channel: o.Channel, Incident: o.Incident})
	}
	n := len(b)
	b = append(b, make([]byte, s.SizeVT())...)
	if _, err := s.MarshalToSizedBufferVT(b[n:]); err != nil {
		panic(fmt.Sprintf("encode owed alerts: %v", err)) // the buffer has its size by construction
	}
	return b
}

// LoadState implements fold.Machine.
func (m *alerts) LoadState(b []byte) error {
	var s schema.AlertState
	if err := s.UnmarshalVT(b); err != nil {
		return err
	}
	p := alert.State{Known: s.Known}
	for _, o := range s.Owed {
		p.Owed = append(p.Owed, alert.Owed{Channel: o.Channel, Incident: o.Incident})
	}
	m.dispatcher.Restore(p)
	return nil
}
