package detect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

// view is what the control log says: who leads, how far the minutes have been looked at, what is open. It is folded by
// the worker of mail.control and read by the leader beside it.
type view struct {
	mu        sync.Mutex
	term      int64
	leader    string
	throughUs int64
	open      map[string]*schema.Incident
	changed   chan struct{} // closed and replaced when something is folded
}

func newView() *view {
	return &view{term: -1, open: map[string]*schema.Incident{}, changed: make(chan struct{})}
}

// Step implements fold.Machine.
func (v *view) Step(r *broker.Record, _ *fold.Outbox) error {
	c, err := control.Decode(r)
	if err != nil {
		return nil // the relay beside sends it to the dead letter
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	defer func() { close(v.changed); v.changed = make(chan struct{}) }()
	if c.GetLeader() == nil && c.Term > 0 && c.Term < v.term {
		return nil
	}
	switch b := c.Body.(type) {
	case *schema.Control_Leader:
		v.term, v.leader = c.Seq, b.Leader.Leader
	case *schema.Control_AllClear:
		v.throughUs = max(v.throughUs, b.AllClear.ThroughUs)
	case *schema.Control_Incident:
		if b.Incident.State == schema.IncidentState_RESOLVED {
			delete(v.open, b.Incident.Id)
		} else {
			v.open[b.Incident.Id] = b.Incident
		}
	}
	return nil
}

// state returns the view and a channel that is closed when it is no longer true.
func (v *view) state() (term int64, leader string, throughUs int64, open []*schema.Incident, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.term, v.leader, v.throughUs, v.sorted(), v.changed
}

func (v *view) sorted() []*schema.Incident {
	return slices.SortedFunc(maps.Values(v.open), func(a, b *schema.Incident) int { return cmp.Compare(a.Id, b.Id) })
}

// AppendState implements fold.Machine. The leader's name is left out: it names a process that is gone.
func (v *view) AppendState(b []byte) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := schema.LeaderState{Term: v.term, ThroughUs: v.throughUs, Open: v.sorted()}
	n := len(b)
	b = append(b, make([]byte, s.SizeVT())...)
	if _, err := s.MarshalToSizedBufferVT(b[n:]); err != nil {
		panic(fmt.Sprintf("encode the leader's view: %v", err)) // the buffer has its size by construction
	}
	return b
}

// LoadState implements fold.Machine.
func (v *view) LoadState(b []byte) error {
	var s schema.LeaderState
	if err := s.UnmarshalVT(b); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.term, v.throughUs = s.Term, s.ThroughUs
	for _, i := range s.Open {
		v.open[i.Id] = i
	}
	return nil
}
