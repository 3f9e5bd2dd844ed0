package survey

import (
	"bytes"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// What comes when delivery is over is counted by provider and shown where there is any; what machines do stands apart, and
// none of it is an answer of a server: no unknown words, no silence, nobody dropped.
func TestWhatComesAfterDelivery(t *testing.T) {
	event := func(o schema.Outcome) *schema.DeliveryEvent {
		return &schema.DeliveryEvent{Outcome: o, Recipient: "jane@example.com", OccurredAtUs: 5}
	}
	bounce, again, byMachine := event(schema.Outcome_ASYNC_BOUNCE), event(schema.Outcome_ASYNC_BOUNCE), event(schema.Outcome_OPENED)
	bounce.Text, bounce.Final, again.Joined, byMachine.Machine = "5.1.1 user unknown", true, true, true
	events := []*schema.DeliveryEvent{
		event(schema.Outcome_DELIVERED), bounce, again, event(schema.Outcome_DELAYED), event(schema.Outcome_COMPLAINT), event(schema.Outcome_UNSUBSCRIBED),
		event(schema.Outcome_OPENED), event(schema.Outcome_OPENED), event(schema.Outcome_CLICKED), byMachine,
	}
	s := New(ownRules(t), false)
	for _, ev := range events {
		s.Event(ev)
	}
	r := s.Report(Stats{})
	if len(r.Providers) != 1 {
		t.Fatalf("%d providers", len(r.Providers))
	}
	p := r.Providers[0]
	if want := (After{AsyncBounced: 1, Delayed: 1, Complaints: 1, Unsubscribed: 1, Opened: 2, Clicked: 1, Machine: 1}); p.After != want {
		t.Errorf("counted %+v, want %+v", p.After, want)
	}
	if len(p.Reasons) != 1 || p.Reasons[0] != (Reason{Class: "recipient.unknown", AsyncBounced: 1}) {
		t.Errorf("reasons %+v", p.Reasons)
	}
	if p.Attempts != 1 || r.Unknown.Events != 0 || len(r.Codeless) != 0 || r.Naive.Dropped != 0 {
		t.Errorf("%d attempts, %d unknown, %d silent, %d dropped", p.Attempts, r.Unknown.Events, len(r.Codeless), r.Naive.Dropped)
	}
	total := int64(0)
	for _, o := range r.Outcomes {
		total += o.Count
	}
	if total != int64(len(events)-1) {
		t.Errorf("outcomes add up to %d: %v", total, r.Outcomes)
	}
	var b bytes.Buffer
	if err := r.WriteText(&b, Style{}); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"After the next hop had taken it provider async bounces delay warnings complaints unsubscribed opened clicked by machines " + p.Provider + " 1 1 1 1 2 1 1",
		"expired async bounces " + p.Provider + " recipient.unknown - - - - 1", "complaint 1", "unsubscribed 1", "machine 1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// A person who reads mail after a failure is alive; a machine that fetches it is not.
func TestReadersAreNotLost(t *testing.T) {
	for _, tc := range []struct {
		at      int64
		machine bool
		want    int64 // of those a naive list drops wrongly
	}{{2, false, 1}, {2, true, 0}, {0, false, 0}} {
		s := New(ownRules(t), false)
		s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_BOUNCED, Final: true, Recipient: "r@example.com", OccurredAtUs: 1, Text: "550 5.1.1 user unknown"})
		s.Event(&schema.DeliveryEvent{Outcome: schema.Outcome_OPENED, Recipient: "r@example.com", OccurredAtUs: tc.at, Machine: tc.machine})
		if n := s.naive(); n.Dropped != 1 || n.Wrong != tc.want {
			t.Errorf("opened at %d, by a machine %v: %+v", tc.at, tc.machine, n)
		}
	}
}
