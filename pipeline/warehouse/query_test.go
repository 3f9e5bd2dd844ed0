package warehouse_test

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"google.golang.org/protobuf/proto"

	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// epoch is the time of the first failure; young enough for the TTL.
var epoch = time.Now().Truncate(time.Hour).Add(-48 * time.Hour).UTC()

// failure is the n-th of many failures, one a second.
func failure(n int64) warehouse.FailureRow {
	rcpt := fmt.Sprintf("user%d@example.org", n)
	return warehouse.FailureRow{
		Event: &schema.DeliveryEvent{
			EventId: fmt.Sprintf("e0-0-0-%d-0", n), OccurredAtUs: epoch.Add(time.Duration(n) * time.Second).UnixMicro(), Mta: "postfix",
			MtaHost: "mx1.sender.example", QueueId: "4F1234", MessageId: "<1@sender.example>", Sender: "news@sender.example", HasSender: true,
			Recipient: rcpt, RecipientKey: []byte(rcpt), Domain: "example.org", Tenant: fmt.Sprintf("t%d", n%3), Stream: "bulk", Attempt: 1,
			Outcome: schema.Outcome_BOUNCED, Final: true, SmtpCode: 550, EnhancedCode: "5.1.1", EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
			Text:  "550 5.1.1 <" + rcpt + ">: user unknown",
			Phase: schema.Phase_RCPT, Origin: schema.Origin_REMOTE_REPLY, SourceIp: fmt.Sprintf("192.0.2.%d", n%2), RemoteHost: "mx.example.org",
			RemoteIp: "198.51.100.7", RelayPort: 25, Relay: "mx.example.org", DelayMs: 1500, HasDelay: true,
			Delays: &schema.Delays{BeforeQmgrMs: 1, InQmgrMs: 2, ConnectMs: 3, TransmitMs: 4},
			Raw:    &schema.RawPosition{Topic: "mta.raw", Partition: 3, Offset: n, Index: 1, Line: "a line of the log"},
		},
		Verdict: &schema.Verdict{
			Class: "recipient.unknown", Permanence: schema.Permanence_PERMANENT, Scope: schema.Scope_SCOPE_RECIPIENT, Origin: schema.Origin_REMOTE_REPLY,
			Phase: schema.Phase_RCPT, Provider: "apple", Confidence: schema.Confidence_CONFIDENCE_TEXT, Rule: "generic.unknown", Ruleset: "r1",
			Retry: schema.Retry_RETRY_NO, Suppress: schema.Suppress_SUPPRESS_CANDIDATE,
		},
	}
}

func insertFailures(t testing.TB, db *warehouse.DB, token string, rows ...warehouse.FailureRow) {
	t.Helper()
	if err := db.InsertFailures(t.Context(), rows, token); err != nil {
		t.Fatal(err)
	}
}

func failures(from, to int64) []warehouse.FailureRow {
	var rows []warehouse.FailureRow
	for n := from; n < to; n++ {
		rows = append(rows, failure(n))
	}
	return rows
}

// Every combination of token and cut has to end at one row an event: above all, a token that comes again with other rows
// must not drop them.
func TestFailuresAreStoredOnce(t *testing.T) {
	db := open(t)
	insertFailures(t, db, "mta.raw/3/0", failures(0, 10)...)
	insertFailures(t, db, "mta.raw/3/0", failures(0, 10)...) // a retry
	insertFailures(t, db, "mta.raw/3/0", failures(0, 14)...) // cut elsewhere
	insertFailures(t, db, "mta.raw/3/0", failures(20, 30)...)
	insertFailures(t, db, "", failures(5, 9)...)
	counts, err := db.Counts(t.Context())
	if err != nil || counts.Failures != 24 {
		t.Fatalf("%+v %v", counts, err)
	}
}

// The token saves the merge: the repeated batch is not stored at all.
func TestRepeatedBatchIsDroppedByItsToken(t *testing.T) {
	db := open(t)
	insertFailures(t, db, "mta.raw/3/0", failures(0, 10)...)
	insertFailures(t, db, "mta.raw/3/0", failures(0, 10)...)
	if n, err := db.Text(t.Context(), "SELECT toString(count()) FROM failures"); err != nil || n != "10" {
		t.Errorf("%s rows stored, %v", n, err)
	}
}

// Every column is filled from its own field: a row with distinct values comes back value by value.
func TestFailureColumnsHoldTheirFields(t *testing.T) {
	db := open(t)
	f := failure(42)
	f.Event.Instance, f.Event.Orphan = "postfix-out1", true
	f.Event.Cause = &schema.Cause{SmtpCode: 451, EnhancedCode: "4.3.0", Text: "try later"}
	f.Verdict.Template, f.Verdict.ListOperator, f.Verdict.MitigationUrl = "tpl", "op", "https://example.net/x"
	f.Verdict.ProviderCode, f.Verdict.NewProviderCode, f.Verdict.CauseClass = "CS01", true, "net.timeout"
	f.Event.Campaign, f.Event.Trust, f.Event.Joined, f.Event.ReportingMta = "spring", schema.Trust_TRUST_KNOWN, true, "mx.example.net"
	f.Event.ForwardedTo, f.Event.Feed, f.Event.FeedEventId = "user@example.com", "ses-eu", "feed-7"
	insertFailures(t, db, "", f)
	got, err := db.Text(t.Context(), `SELECT arrayStringConcat([event_id, toString(toUnixTimestamp64Micro(occurred_at)), provider, class, toString(outcome), toString(final),
		toString(attempt), toString(smtp_code), enhanced_code, toString(enhanced_source), text, template, toString(phase), toString(origin), toString(permanence),
		toString(scope), toString(confidence), toString(retry), toString(suppress), rule, ruleset, list_operator, mitigation_url, provider_code,
		toString(new_provider_code), cause_class, toString(cause_smtp_code), cause_enhanced_code, cause_text, recipient, recipient_key, domain, sender,
		toString(has_sender), tenant, stream, source_ip, remote_host, remote_ip, relay, toString(relay_port), toString(delay_ms), toString(has_delay),
		toString(delay_before_qmgr_ms), toString(delay_in_qmgr_ms), toString(delay_connect_ms), toString(delay_transmit_ms), mta, mta_host, instance,
		queue_id, message_id, raw_topic, toString(raw_partition), toString(raw_offset), toString(raw_index), raw_line, toString(orphan), toString(backfill),
		campaign, toString(trust), toString(joined), reporting_mta, forwarded_to, feed, feed_event_id], '|') FROM failures`)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"e0-0-0-42-0", fmt.Sprint(f.Event.OccurredAtUs), "apple", "recipient.unknown", "bounced", "true",
		"1", "550", "5.1.1", "remote", f.Event.Text, "tpl", "rcpt", "remote_reply", "permanent",
		"recipient", "text", "no", "candidate", "generic.unknown", "r1", "op", "https://example.net/x", "CS01",
		"true", "net.timeout", "451", "4.3.0", "try later", "user42@example.org", "user42@example.org", "example.org", "news@sender.example",
		"true", "t0", "bulk", "192.0.2.0", "mx.example.org", "198.51.100.7", "mx.example.org", "25", "1500", "true",
		"1", "2", "3", "4", "postfix", "mx1.sender.example", "postfix-out1",
		"4F1234", "<1@sender.example>", "mta.raw", "3", "42", "1", "a line of the log", "true", "false",
		"spring", "known", "true", "mx.example.net", "user@example.com", "ses-eu", "feed-7",
	}, "|")
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

var hostile = []string{
	`'; DROP TABLE failures; --`, "nul \x00 inside", `back\slash "quote" 'single' \' \\`, "tab\tnew\nline\r", "emoji 🦆 and ünïcode", "{name:String} ? $1 @p", "\u202eright to left", "",
}

func TestHostileTextStaysText(t *testing.T) {
	db := open(t)
	for i, text := range hostile {
		f := failure(int64(i))
		f.Event.Text, f.Event.Recipient, f.Verdict.Provider, f.Event.RemoteHost, f.Event.Tenant = text, "", text, text, text
		insertFailures(t, db, text, f)
		if err := db.InsertCells(t.Context(), 0, []warehouse.CellRow{{Cell: delivered(minute+int64(i), text, 0, 1)}}); err != nil {
			t.Fatal(err)
		}
		evidence, err := db.Evidence(t.Context(), text, "recipient.unknown", epoch, epoch.Add(time.Hour), 10)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if len(evidence) != 1 || evidence[0].Text != text || evidence[0].RemoteHost != text {
			t.Errorf("%q came back as %v", text, evidence)
		}
		breakdown, err := db.Breakdown(t.Context(), text, "recipient.unknown", epoch, epoch.Add(time.Hour), "tenant")
		if err != nil || len(breakdown) != 1 || breakdown[0].Value != text {
			t.Errorf("%q: %v %v", text, breakdown, err)
		}
	}
	samples, err := db.Samples(t.Context(), minute, minute+int64(len(hostile)))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range samples {
		if s.Provider != hostile[i] {
			t.Errorf("%q came back as %q", hostile[i], s.Provider)
		}
	}
	if len(samples) != len(hostile) {
		t.Errorf("%d samples", len(samples))
	}
}

// Clocks and codes that are nonsense must not stop a batch.
func TestNonsenseValuesAreStoredAsTheNearest(t *testing.T) {
	db := open(t)
	f := failure(0)
	f.Event.OccurredAtUs, f.Event.DelayMs, f.Event.SmtpCode, f.Event.RelayPort, f.Event.Outcome = 1<<62, -5, 1_000_000, -1, 99
	f.Verdict.Phase = -3
	g := failure(1)
	g.Event.OccurredAtUs = -1 << 62
	// Without the TTL, which would remove the second row at the next merge.
	if err := db.Exec(t.Context(), "ALTER TABLE failures REMOVE TTL"); err != nil {
		t.Fatal(err)
	}
	insertFailures(t, db, "", f, g)
	got, err := db.Text(t.Context(), "SELECT arrayStringConcat(groupArray(concat(toString(occurred_at), ' ', toString(delay_ms), ' ', toString(smtp_code), ' ', toString(relay_port), ' ', toString(outcome), ' ', toString(phase))), '|') FROM (SELECT * FROM failures ORDER BY event_id)")
	if err != nil {
		t.Fatal(err)
	}
	if want := "2100-01-01 00:00:00.000000 0 0 0 unspecified |1970-01-01 00:00:00.000000 1500 550 25 bounced rcpt"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSamplesLeaveOutBackfillAndOtherMinutes(t *testing.T) {
	db := open(t)
	imported := delivered(minute, "apple", 0, 100)
	imported.Backfill = true
	bounced := &schema.Cell{Minute: minute + 1, Provider: "apple", Outcome: schema.Outcome_BOUNCED, Class: "recipient.unknown", SourceIp: "192.0.2.1", Acceptance: schema.Acceptance_NOT_ACCEPTED, Events: 4, FirstAttempts: 3}
	var rows []warehouse.CellRow
	for _, c := range []*schema.Cell{imported, delivered(minute-1, "apple", 0, 1), delivered(minute, "apple", 0, 5), delivered(minute, "apple", 7, 2), bounced, delivered(minute+2, "apple", 0, 1)} {
		rows = append(rows, warehouse.CellRow{Cell: c, Version: 1})
	}
	if err := db.InsertCells(t.Context(), 0, rows); err != nil {
		t.Fatal(err)
	}
	got, err := db.Samples(t.Context(), minute, minute+2)
	if err != nil {
		t.Fatal(err)
	}
	want := []warehouse.Sample{
		{Minute: minute, Provider: "apple", Outcome: schema.Outcome_DELIVERED, SourceIP: "192.0.2.1", Acceptance: schema.Acceptance_ACCEPTED, Events: 7, FirstAttempts: 7},
		{Minute: minute + 1, Provider: "apple", Outcome: schema.Outcome_BOUNCED, Class: "recipient.unknown", SourceIP: "192.0.2.1", Acceptance: schema.Acceptance_NOT_ACCEPTED, Events: 4, FirstAttempts: 3},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	table, err := db.ProviderClassTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wantTable := []warehouse.ProviderClass{{Provider: "apple", Events: 109, Delivered: 109}, {Provider: "apple", Class: "recipient.unknown", Events: 4, Bounced: 4}}
	if !reflect.DeepEqual(table, wantTable) {
		t.Errorf("got %+v\nwant %+v", table, wantTable)
	}
	totals, err := db.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(totals) != 5 || !totals[2].Backfill || totals[2].Events != 100 {
		t.Errorf("totals %+v", totals)
	}
}

func TestEvidenceGroupsMaskedTexts(t *testing.T) {
	db := open(t)
	rows := failures(0, 6)
	other := failure(6)
	other.Event.Text, other.Event.SmtpCode, other.Event.SourceIp = "552 mailbox of somebody.else@example.org full", 552, "192.0.2.9"
	templated := failures(7, 10)
	for i, f := range templated {
		f.Verdict.Template, f.Event.Text, f.Event.RemoteIp = "tpl", fmt.Sprintf("id %d gone", i), "198.51.100.9"
	}
	imported, later, stranger, again, forged := failure(10), failure(4000), failure(11), failure(12), failure(13)
	imported.Event.Backfill = true
	stranger.Verdict.Provider = "other"
	again.Event.Outcome, again.Event.Joined = schema.Outcome_ASYNC_BOUNCE, true
	forged.Event.Outcome, forged.Event.Trust = schema.Outcome_ASYNC_BOUNCE, schema.Trust_TRUST_NONE
	rows = append(append(rows, other, imported, later, stranger, again, forged), templated...)
	insertFailures(t, db, "t", rows...)
	insertFailures(t, db, "again", rows...) // a replay counts nothing twice

	got, err := db.Evidence(t.Context(), "apple", "recipient.unknown", epoch, epoch.Add(time.Hour), 10)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range got {
		lines = append(lines, fmt.Sprintf("%d %d %s %s %s %s %d %s", e.Count, e.SmtpCode, e.EnhancedCode, e.SourceIp, e.RemoteHost, e.RemoteIp, (e.OccurredAtUs-epoch.UnixMicro())/1e6, e.Text))
	}
	want := []string{
		"3 550 5.1.1 192.0.2.1 mx.example.org 198.51.100.7 5 550 5.1.1 <***>: user unknown",
		"3 550 5.1.1 192.0.2.0 mx.example.org 198.51.100.7 4 550 5.1.1 <***>: user unknown",
		"2 550 5.1.1 192.0.2.1 mx.example.org 198.51.100.9 9 id 2 gone",
		"1 550 5.1.1 192.0.2.0 mx.example.org 198.51.100.9 8 id 1 gone",
		"1 552 5.1.1 192.0.2.9 mx.example.org 198.51.100.7 6 552 mailbox of *** full",
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if got, err := db.Evidence(t.Context(), "apple", "recipient.unknown", epoch, epoch.Add(time.Hour), 2); err != nil || len(got) != 2 {
		t.Errorf("limit: %d %v", len(got), err)
	}
}

func TestBreakdownCountsByEachDimension(t *testing.T) {
	db := open(t)
	insertFailures(t, db, "t", failures(0, 7)...)
	again, forged := failure(7), failure(8)
	again.Event.Outcome, again.Event.Joined = schema.Outcome_ASYNC_BOUNCE, true
	forged.Event.Outcome, forged.Event.Trust = schema.Outcome_ASYNC_BOUNCE, schema.Trust_TRUST_NONE
	insertFailures(t, db, "mail", again, forged)
	m := epoch.Unix() / 60
	for ip, n := range map[string]int64{"192.0.2.0": 40, "192.0.2.1": 30, "192.0.2.5": 9} {
		c := delivered(m, "apple", 0, n)
		c.SourceIp = ip
		if err := db.InsertCells(t.Context(), 0, []warehouse.CellRow{{Cell: c}}); err != nil {
			t.Fatal(err)
		}
	}
	for dimension, want := range map[string]string{
		"domain":      "[example.org 0 7]",
		"tenant":      "[t0 0 3 t1 0 2 t2 0 2]",
		"source_ip":   "[192.0.2.0 40 4 192.0.2.1 30 3]",
		"remote_host": "[mx.example.org 0 7]",
	} {
		got, err := db.Breakdown(t.Context(), "apple", "recipient.unknown", epoch, epoch.Add(time.Minute), dimension)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, b := range got {
			if b.Dimension != dimension {
				t.Errorf("%s is called %s", dimension, b.Dimension)
			}
			parts = append(parts, fmt.Sprintf("%s %d %d", b.Value, b.Attempts, b.Observed))
		}
		if got := fmt.Sprint(parts); got != want {
			t.Errorf("%s: got %s, want %s", dimension, got, want)
		}
	}
	if _, err := db.Breakdown(t.Context(), "apple", "recipient.unknown", epoch, epoch, "recipient"); err == nil {
		t.Error("unknown dimension accepted")
	}
}

func TestSuppressionsFollowTheHighestVersion(t *testing.T) {
	db := open(t)
	key := []byte("a@example.org")
	decision := func(id string, version int64, state schema.RecipientState) *schema.Decision {
		return &schema.Decision{
			Id: id, RecipientKey: key, Scope: "*", State: state, DecidedUs: epoch.Add(time.Duration(version) * time.Minute).UnixMicro(),
			Class: "recipient.unknown", Provider: "apple", Reason: "it's gone", EventIds: []string{"e1", "e'2"}, Version: version,
		}
	}
	pending, suppressed := decision("d1", 1, schema.RecipientState_STATE_PENDING), decision("d2", 2, schema.RecipientState_STATE_SUPPRESSED)
	suppressed.ExpiresUs = epoch.Add(24 * time.Hour).UnixMicro()
	// Out of order and repeated, as a replay sends them.
	for _, batch := range [][]*schema.Decision{{suppressed}, {pending}, {pending, suppressed}} {
		if err := db.InsertDecisions(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.SuppressedTable(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	want := warehouse.Suppressed{RecipientKey: key, Scope: "*", State: "suppressed", DecidedAt: epoch.Add(2 * time.Minute), ExpiresAt: epoch.Add(24 * time.Hour), Class: "recipient.unknown", Provider: "apple", Reason: "it's gone"}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if err := db.InsertDecisions(t.Context(), []*schema.Decision{decision("d3", 3, schema.RecipientState_STATE_OK)}); err != nil {
		t.Fatal(err)
	}
	counts, err := db.Counts(t.Context())
	if err != nil || counts.Decisions != 3 || counts.Suppressed != 0 {
		t.Errorf("%+v %v", counts, err)
	}
}

func TestIncidentRevisionsAreStoredOnce(t *testing.T) {
	db := open(t)
	first := &schema.Incident{
		Id: "i1", Revision: 1, State: schema.IncidentState_OPEN, Kind: "provider_false_unknown", Provider: "apple", OnsetUs: epoch.UnixMicro(), Hold: true,
		Observed: 900, Breakdown: []*schema.Breakdown{{Dimension: "tenant", Value: "t'1", Attempts: 5, Observed: 4}},
		Evidence: []*schema.Evidence{{OccurredAtUs: epoch.UnixMicro(), Text: "550 \x00 no", Count: 3, SmtpCode: 550}, {Text: "x"}},
	}
	last := proto.Clone(first).(*schema.Incident)
	last.Revision, last.State, last.Breakdown, last.Evidence = 2, schema.IncidentState_RESOLVED, nil, nil
	for _, batch := range [][]*schema.Incident{{last, first}, {first}} {
		if err := db.InsertIncidents(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	counts, err := db.Counts(t.Context())
	if err != nil || counts.Incidents != 1 || counts.OpenOfThose != 0 {
		t.Errorf("%+v %v", counts, err)
	}
	got, err := db.Text(t.Context(), "SELECT concat(toString(count()), ' ', anyIf(concat(breakdown.value[1], ' ', evidence.text[1], ' ', toString(evidence.smtp_code[1]), ' ', toString(length(evidence.text))), revision = 1)) FROM incidents FINAL WHERE id = {id:String}", clickhouse.Named("id", "i1"))
	if err != nil || got != "2 t'1 550 \x00 no 550 2" {
		t.Errorf("%q %v", got, err)
	}
}

func TestViewsAnswer(t *testing.T) {
	db := open(t)
	again := failure(5)
	again.Event.Outcome, again.Event.Joined = schema.Outcome_ASYNC_BOUNCE, true
	insertFailures(t, db, "t", append(failures(0, 5), again)...)
	rows := []warehouse.CellRow{{Cell: delivered(minute, "apple", 0, 3)}, {Cell: &schema.Cell{Minute: minute, Provider: "apple", Outcome: schema.Outcome_DEFERRED, Class: "greylisted", Events: 1}}}
	for i, c := range []*schema.Cell{
		{Outcome: schema.Outcome_OPENED},
		{Outcome: schema.Outcome_CLICKED},
		{Outcome: schema.Outcome_OPENED, Class: "machine"},
		{Outcome: schema.Outcome_UNSUBSCRIBED, Class: "notice.unsubscribe"},
	} {
		c.Minute, c.Provider, c.Events = minute, "apple", int64(10<<i)
		rows = append(rows, warehouse.CellRow{Cell: c})
	}
	if err := db.InsertCells(t.Context(), 0, rows); err != nil {
		t.Fatal(err)
	}
	wantTable := []warehouse.ProviderClass{
		{Provider: "apple", Class: "notice.unsubscribe", Events: 80}, {Provider: "apple", Events: 3, Delivered: 3}, {Provider: "apple", Class: "greylisted", Events: 1, Deferred: 1},
	}
	if table, err := db.ProviderClassTable(t.Context()); err != nil || !reflect.DeepEqual(table, wantTable) {
		t.Errorf("got %+v, %v\nwant %+v", table, err, wantTable)
	}
	for q, want := range map[string]string{
		"SELECT concat(provider, ' ', toString(events), ' ', toString(delivered_share), ' ', toString(mean_delay_ms)) FROM providers_hourly": "apple 154 0.75 10",
		"SELECT concat(toString(opened), ' ', toString(clicked), ' ', toString(machine), ' ', toString(unsubscribed)) FROM providers_hourly": "10 20 40 80",
		"SELECT concat(class, ' ', toString(sum(events)), ' ', toString(max(recipients))) FROM top_failures GROUP BY class":                  "recipient.unknown 5 5",
		"SELECT toString(count()) FROM suppressed_now": "0",
		"SELECT toString(count()) FROM incidents_now":  "0",
	} {
		got, err := db.Text(t.Context(), q)
		if err != nil || got != want {
			t.Errorf("%s: got %q, want %q, %v", q, got, want, err)
		}
	}
}

// A recipient key in privacy mode is 16 arbitrary bytes, no text.
func TestDigestKeysComeBackByteByByte(t *testing.T) {
	db := open(t)
	key := []byte{0xff, 0x00, 0xfe, '\'', '\\', 0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	d := &schema.Decision{Id: "d", RecipientKey: key, Scope: "*", State: schema.RecipientState_STATE_HELD}
	if err := db.InsertDecisions(t.Context(), []*schema.Decision{d}); err != nil {
		t.Fatal(err)
	}
	got, err := db.SuppressedTable(t.Context(), 1)
	if err != nil || len(got) != 1 || !bytes.Equal(got[0].RecipientKey, key) {
		t.Errorf("%+v %v", got, err)
	}
}
