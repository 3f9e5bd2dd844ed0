package alert

import (
	"time"

	"carom.dev/carom/schema"
)

// owed is a revision that a channel has not acknowledged.
type owed struct {
	incident *schema.Incident
	since    time.Time // first try; zero before it
	next     time.Time // not before
	failures int
}

// queue is what one channel is owed, oldest first. Revisions of one incident leave in order.
type queue struct {
	items []*owed
	// The channel as a whole pauses when it fails, so that a receiver that is down is asked by one item at a time.
	pauseUntil time.Time
	failures   int
}

// grows says whether taking a revision needs a place more.
func (q *queue) grows(inc *schema.Incident) bool { return q.superseded(inc) < 0 }

// superseded returns the index of the undelivered update that a revision replaces, or -1. Only the last item of the
// incident can be replaced, or an update would overtake a resolution.
func (q *queue) superseded(inc *schema.Incident) int {
	for i := len(q.items) - 1; i >= 0; i-- {
		if o := q.items[i].incident; o.Id == inc.Id {
			if o.State == schema.IncidentState_UPDATED && inc.State == schema.IncidentState_UPDATED {
				return i
			}
			return -1
		}
	}
	return -1
}

func (q *queue) push(inc *schema.Incident) {
	if i := q.superseded(inc); i >= 0 {
		// The place and the waiting time stay: news is no reason to hurry a receiver that asked for rest.
		o := *q.items[i]
		o.incident = inc
		q.items[i] = &o
		return
	}
	q.items = append(q.items, &owed{incident: inc})
}

// due returns the first item that may be sent at now, or how long to wait for one; 0 when there is none at all.
func (q *queue) due(now time.Time) (*owed, time.Duration) {
	var wait time.Duration
	blocked := map[string]bool{}
	for _, o := range q.items {
		if blocked[o.incident.Id] {
			continue
		}
		at := o.next
		if q.pauseUntil.After(at) {
			at = q.pauseUntil
		}
		left := at.Sub(now)
		if left <= 0 {
			return o, 0
		}
		blocked[o.incident.Id] = true
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return nil, wait
}

// drop removes a revision, if it is still the one that is owed.
func (q *queue) drop(id string, revision uint32) {
	for i, o := range q.items {
		if o.incident.Id == id && o.incident.Revision == revision {
			q.items = append(q.items[:i], q.items[i+1:]...)
			return
		}
	}
}

func (q *queue) find(id string, revision uint32) *owed {
	for _, o := range q.items {
		if o.incident.Id == id && o.incident.Revision == revision {
			return o
		}
	}
	return nil
}
