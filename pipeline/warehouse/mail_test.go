package warehouse_test

import (
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// What a server behind our next hop refused stands under no address of ours, neither in the table nor in an incident.
func TestForwardedBounceHasNoSource(t *testing.T) {
	db := open(t)
	own, forwarded, behind := failure(0), failure(1), failure(2)
	for _, f := range []*schema.DeliveryEvent{own.Event, forwarded.Event, behind.Event} {
		f.Outcome, f.Trust, f.SourceIp, f.ReportingMta = schema.Outcome_ASYNC_BOUNCE, schema.Trust_TRUST_KNOWN, "192.0.2.1", "mx.example.org"
	}
	forwarded.Event.ForwardedTo, behind.Event.RemoteHost = "user@example.com", "mx.example.com"
	insertFailures(t, db, "t", own, forwarded, behind)
	got, err := db.Text(t.Context(), "SELECT arrayStringConcat(groupArray(concat(event_id, ' ', source_ip)), ', ') FROM (SELECT * FROM failures FINAL ORDER BY event_id)")
	if want := own.Event.EventId + " 192.0.2.1, " + forwarded.Event.EventId + " , " + behind.Event.EventId + " "; err != nil || got != want {
		t.Errorf("got %q, want %q, %v", got, want, err)
	}
	breakdown, err := db.Breakdown(t.Context(), "apple", "recipient.unknown", epoch, epoch.Add(time.Minute), "source_ip")
	if err != nil || len(breakdown) != 2 || breakdown[0].Value != "" || breakdown[0].Observed != 2 || breakdown[1].Value != "192.0.2.1" || breakdown[1].Observed != 1 {
		t.Errorf("breakdown %v, %v", breakdown, err)
	}
}

// The decisions that say that a suppressed recipient reads mail are found by the query of docs/clickhouse.md.
func TestReadersOfSuppressedAddressesAreFound(t *testing.T) {
	db := open(t)
	const suppressed, pending = schema.RecipientState_STATE_SUPPRESSED, schema.RecipientState_STATE_PENDING
	decision := func(id string, version int64, previous schema.RecipientState, reason string) *schema.Decision {
		return &schema.Decision{
			Id: id, RecipientKey: []byte("a@example.org"), Scope: "*", State: suppressed, Previous: previous, DecidedUs: epoch.UnixMicro() + version,
			Class: "recipient.unknown", Reason: reason, Version: version,
		}
	}
	err := db.InsertDecisions(t.Context(), []*schema.Decision{
		decision("d1", 1, pending, "second message after 3 h"), decision("d2", 2, suppressed, "unknown, opened 3 d after the failure, kept"),
	})
	if err != nil {
		t.Fatal(err)
	}
	const cookbook = `SELECT recipient_key, decided_at, class, reason FROM decisions FINAL
    WHERE state = 'suppressed' AND previous = 'suppressed' ORDER BY decided_at DESC`
	got, err := db.Text(t.Context(), "SELECT toString(groupArray(concat(recipient_key, ' ', class, ' ', reason))) FROM ("+cookbook+")")
	if want := "['a@example.org recipient.unknown unknown, opened 3 d after the failure, kept']"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	list, err := db.SuppressedTable(t.Context(), 10)
	if err != nil || len(list) != 1 || list[0].State != "suppressed" {
		t.Errorf("suppressed now: %+v, %v", list, err)
	}
}
