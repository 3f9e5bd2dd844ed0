package alert

import (
	"testing"
	"time"
)

// A revision that waits for its next try keeps the later ones of its incident back, and those of no other.
func TestRevisionsOfAnIncidentLeaveInOrder(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	var q queue
	q.push(revision("i", 1, open))
	q.push(revision("i", 2, resolved))
	q.push(revision("j", 1, open))
	q.items[0].next = now.Add(time.Minute)
	if o, _ := q.due(now); o == nil || o.incident.Id != "j" {
		t.Fatalf("due is %v, want j", o)
	}
	q.drop("j", 1)
	if o, wait := q.due(now); o != nil || wait != time.Minute {
		t.Fatalf("due is %v, or in %v; want a minute", o, wait)
	}
	if o, _ := q.due(now.Add(time.Minute)); o == nil || o.incident.Revision != 1 {
		t.Fatalf("due is %v, want the opening", o)
	}
}
