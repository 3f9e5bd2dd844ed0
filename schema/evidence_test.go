package schema

import "testing"

// What another server than our next hop refused is never counted against our address.
func TestSourceCountsForOurOwnConversationsOnly(t *testing.T) {
	const ours = "192.0.2.1"
	for name, c := range map[string]struct {
		ev   *DeliveryEvent
		want string
	}{
		"log":                      {&DeliveryEvent{Outcome: Outcome_BOUNCED, RemoteHost: "mx.b.example"}, ours},
		"next hop, took it first":  {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ReportingMta: "MX.b.example.", RemoteHost: "mx.b.example"}, ours},
		"our own host":             {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ReportingMta: "mx1.sender.example", MtaHost: "mx1.Sender.example", RemoteHost: "mx.b.example"}, ours},
		"email API":                {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE}, ours},
		"behind the next hop":      {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ReportingMta: "mx.b.example", RemoteHost: "mx.c.example"}, ""},
		"delay behind it":          {&DeliveryEvent{Outcome: Outcome_DELAYED, ReportingMta: "mx.b.example", RemoteHost: "mx.c.example"}, ""},
		"refused by nobody named":  {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ReportingMta: "mx.b.example"}, ""},
		"forwarded":                {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ForwardedTo: "x@c.example"}, ""},
		"forwarded, same reporter": {&DeliveryEvent{Outcome: Outcome_ASYNC_BOUNCE, ForwardedTo: "x@c.example", ReportingMta: "mx.c.example", RemoteHost: "mx.c.example"}, ""},
		"complaint":                {&DeliveryEvent{Outcome: Outcome_COMPLAINT, ReportingMta: "fbl.b.example"}, ours},
	} {
		c.ev.SourceIp = ours
		if got := c.ev.CountedSource(); got != c.want {
			t.Errorf("%s: counted for %q, want %q", name, got, c.want)
		}
	}
}
