package warehouse

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"carom.dev/carom/schema"
)

// ProviderClass is a line of the summary: what one provider answered with one class, backfill included. Deliveries have
// no class. Engagement is no answer and left out.
type ProviderClass struct {
	Provider     string
	Class        string
	Events       int64 // all other outcomes
	Delivered    int64
	Deferred     int64
	Bounced      int64 // given up: bounced or expired
	AsyncBounced int64
}

// ProviderClassTable returns outcomes_1m by provider and class, ordered by provider, events (falling) and class.
func (db *DB) ProviderClassTable(ctx context.Context) ([]ProviderClass, error) {
	const q = `SELECT provider, class, toInt64(sum(events)) AS n, toInt64(sumIf(events, outcome = 'delivered')), toInt64(sumIf(events, outcome = 'deferred')),
		toInt64(sumIf(events, outcome IN ('bounced', 'expired'))), toInt64(sumIf(events, outcome = 'async_bounce'))
	FROM outcomes_1m FINAL
	WHERE outcome NOT IN ('opened', 'clicked')
	GROUP BY provider, class
	ORDER BY provider, n DESC, class`
	var out []ProviderClass
	err := db.query(ctx, "provider and class table", q, nil, func(r driver.Rows) error {
		var p ProviderClass
		if err := r.Scan(&p.Provider, &p.Class, &p.Events, &p.Delivered, &p.Deferred, &p.Bounced, &p.AsyncBounced); err != nil {
			return err
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// Suppressed is a recipient that gets no bulk mail.
type Suppressed struct {
	RecipientKey []byte
	Scope        string
	State        string // suppressed, held or pending
	DecidedAt    time.Time
	ExpiresAt    time.Time // zero for none
	Class        string
	Provider     string
	Reason       string
	IncidentID   string
	DryRun       bool
}

// SuppressedTable returns the view suppressed_now, the last decisions first.
func (db *DB) SuppressedTable(ctx context.Context, limit int) ([]Suppressed, error) {
	const q = `SELECT recipient_key, scope, state, decided_at, expires_at, class, provider, reason, incident_id, dry_run
	FROM suppressed_now
	ORDER BY decided_at DESC, scope, recipient_key
	LIMIT {limit:UInt32}`
	var out []Suppressed
	err := db.query(ctx, "suppressed table", q, []any{clickhouse.Named("limit", uint32(max(limit, 0)))}, func(r driver.Rows) error {
		var s Suppressed
		var key string
		var expires *time.Time
		if err := r.Scan(&key, &s.Scope, &s.State, &s.DecidedAt, &expires, &s.Class, &s.Provider, &s.Reason, &s.IncidentID, &s.DryRun); err != nil {
			return err
		}
		s.RecipientKey = []byte(key)
		if expires != nil {
			s.ExpiresAt = *expires
		}
		out = append(out, s)
		return nil
	})
	return out, err
}

// Total is one line of Totals. It can be compared with ==.
type Total struct {
	Minute     int64 // Unix minutes
	Provider   string
	Outcome    schema.Outcome
	Class      string
	SourceIP   string
	Acceptance schema.Acceptance
	Backfill   bool
	Events     int64
}

// Totals returns all of outcomes_1m without what differs between two runs over the same log (cells, versions): two runs
// are equal when their Totals are.
func (db *DB) Totals(ctx context.Context) ([]Total, error) {
	const q = `SELECT toInt64(toUnixTimestamp(minute)) AS m, provider, toInt8(outcome) AS o, class, source_ip, toInt8(acceptance) AS a, backfill,
		toInt64(sum(events))
	FROM outcomes_1m FINAL
	GROUP BY m, provider, o, class, source_ip, a, backfill
	ORDER BY m, provider, o, class, source_ip, a, backfill`
	var out []Total
	err := db.query(ctx, "totals", q, nil, func(r driver.Rows) error {
		var t Total
		var o, a int8
		if err := r.Scan(&t.Minute, &t.Provider, &o, &t.Class, &t.SourceIP, &a, &t.Backfill, &t.Events); err != nil {
			return err
		}
		t.Minute /= 60
		t.Outcome, t.Acceptance = schema.Outcome(o), schema.Acceptance(a)
		out = append(out, t)
		return nil
	})
	return out, err
}

// Counts are the rows of the other tables, repeats counted once.
type Counts struct {
	Failures    int64
	Decisions   int64
	Suppressed  int64 // lines of suppressed_now
	Incidents   int64 // ids, not revisions
	OpenOfThose int64 // whose last revision is not resolved
}

// Counts counts.
func (db *DB) Counts(ctx context.Context) (Counts, error) {
	const q = `SELECT toInt64((SELECT count() FROM failures FINAL)), toInt64((SELECT count() FROM decisions FINAL)), toInt64((SELECT count() FROM suppressed_now)),
		toInt64((SELECT count() FROM incidents_now)), toInt64((SELECT countIf(state != 'resolved') FROM incidents_now))`
	var c Counts
	err := db.query(ctx, "counts", q, nil, func(r driver.Rows) error {
		return r.Scan(&c.Failures, &c.Decisions, &c.Suppressed, &c.Incidents, &c.OpenOfThose)
	})
	return c, err
}
