package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"carom.dev/carom/schema"
)

// Sample is what happened in one minute along the dimensions of the cube, over all cells.
type Sample struct {
	Minute        int64 // Unix minutes
	Provider      string
	Outcome       schema.Outcome
	Class         string // failures only
	SourceIP      string
	Acceptance    schema.Acceptance
	Events        int64
	FirstAttempts int64
}

// query runs q and hands every row to scan.
func (db *DB) query(ctx context.Context, name, q string, args []any, scan func(driver.Rows) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	conn, err := db.pool(ctx)
	if err != nil {
		return fmt.Errorf("query %s: %w", name, err)
	}
	rows, err := conn.Query(ctx, q, args...)
	if err != nil {
		return fmt.Errorf("query %s: %w", name, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("query %s: %w", name, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("query %s: %w", name, err)
	}
	return nil
}

// CompleteThrough returns the minute (Unix minutes) before which outcomes_1m holds everything that cellPartitions
// partitions of mail.cells own. ok is false until each of them has said something.
func (db *DB) CompleteThrough(ctx context.Context, cellPartitions int) (minute int64, ok bool, err error) {
	const q = "SELECT count(), min(complete_through) FROM cells_progress FINAL WHERE cells_partition >= 0 AND cells_partition < {partitions:Int32}"
	var n uint64
	err = db.query(ctx, "progress", q, []any{clickhouse.Named("partitions", int32(cellPartitions))}, func(r driver.Rows) error {
		return r.Scan(&n, &minute)
	})
	if err != nil {
		return 0, false, err
	}
	if cellPartitions < 1 || n != uint64(cellPartitions) {
		return 0, false, nil
	}
	return minute, true, nil
}

// Samples returns the counts of the minutes from fromMinute up to, not including, toMinute, without backfill, ordered by
// all dimensions.
func (db *DB) Samples(ctx context.Context, fromMinute, toMinute int64) ([]Sample, error) {
	const q = `SELECT toInt64(toUnixTimestamp(minute)) AS m, provider, toInt8(outcome) AS o, class, source_ip, toInt8(acceptance) AS a,
		toInt64(sum(events)), toInt64(sum(first_attempts))
	FROM outcomes_1m FINAL
	WHERE NOT backfill AND minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({to:UInt32}, 'UTC')
	GROUP BY m, provider, o, class, source_ip, a
	ORDER BY m, provider, o, class, source_ip, a`
	var out []Sample
	args := []any{clickhouse.Named("from", seconds(fromMinute)), clickhouse.Named("to", seconds(toMinute))}
	err := db.query(ctx, "samples", q, args, func(r driver.Rows) error {
		var s Sample
		var o, a int8
		if err := r.Scan(&s.Minute, &s.Provider, &o, &s.Class, &s.SourceIP, &a, &s.Events, &s.FirstAttempts); err != nil {
			return err
		}
		s.Minute /= 60
		s.Outcome, s.Acceptance = schema.Outcome(o), schema.Acceptance(a)
		out = append(out, s)
		return nil
	})
	return out, err
}

// seconds converts Unix minutes to what DateTime holds.
func seconds(minute int64) uint32 { return uint32(min(max(minute, 0), maxMinute+1) * 60) }

// Evidence returns the largest groups of failures of a provider and class that happened from from up to, not including,
// to: what a postmaster desk asks for. Backfill is left out, what mail tells a second time, and mail that is not believed.
// Failures are grouped by code, by words (the template where there is one, else the text with every address masked), by
// source and by remote host; OccurredAtUs is the group's last event and Text, addresses masked, is that event's. The order is
// by count, falling, and complete.
func (db *DB) Evidence(ctx context.Context, provider, class string, from, to time.Time, limit int) ([]*schema.Evidence, error) {
	const q = `SELECT toInt32(smtp_code) AS code, enhanced_code, source_ip, remote_host, remote_ip,
		toInt64(count()) AS n, toUnixTimestamp64Micro(max(occurred_at)) AS last, argMax(masked, (occurred_at, event_id)) AS words
	FROM
	(
		SELECT *, replaceRegexpAll(if(position(recipient, '@') = 0, text, replaceAll(text, recipient, '***')),
			'[^\\s<>@"\'(),;:\\[\\]]+@[^\\s<>@"\'(),;:\\[\\]]+', '***') AS masked
		FROM failures FINAL
		WHERE provider = {provider:String} AND class = {class:String} AND NOT backfill AND NOT joined AND trust != 'none'
			AND toDate(occurred_at) >= toDate({from:DateTime64(6, 'UTC')}) AND toDate(occurred_at) <= toDate({to:DateTime64(6, 'UTC')})
			AND occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
	)
	GROUP BY code, enhanced_code, if(template = '', masked, template), source_ip, remote_host, remote_ip
	ORDER BY n DESC, last DESC, code, enhanced_code, source_ip, remote_host, remote_ip, words
	LIMIT {limit:UInt32}`
	var out []*schema.Evidence
	args := append(span(provider, class, from, to), clickhouse.Named("limit", uint32(max(limit, 0))))
	err := db.query(ctx, "evidence", q, args, func(r driver.Rows) error {
		e := new(schema.Evidence)
		out = append(out, e)
		return r.Scan(&e.SmtpCode, &e.EnhancedCode, &e.SourceIp, &e.RemoteHost, &e.RemoteIp, &e.Count, &e.OccurredAtUs, &e.Text)
	})
	return out, err
}

// maxBreakdown bounds the values that Breakdown returns.
const maxBreakdown = 100

// Breakdown counts failures of a provider and class from from up to, not including, to by one dimension: domain, tenant,
// source_ip or remote_host. The same is left out as by Evidence; at most the 100 largest values come, falling. Attempts are
// known for source_ip only, from the cube, whose minutes are whole; elsewhere they are 0.
func (db *DB) Breakdown(ctx context.Context, provider, class string, from, to time.Time, dimension string) ([]*schema.Breakdown, error) {
	const q = `WITH observed AS
	(
		SELECT multiIf({dimension:String} = 'domain', toString(domain), {dimension:String} = 'tenant', toString(tenant),
			{dimension:String} = 'source_ip', toString(source_ip), toString(remote_host)) AS value, toInt64(count()) AS n
		FROM failures FINAL
		WHERE provider = {provider:String} AND class = {class:String} AND NOT backfill AND NOT joined AND trust != 'none'
			AND toDate(occurred_at) >= toDate({from:DateTime64(6, 'UTC')}) AND toDate(occurred_at) <= toDate({to:DateTime64(6, 'UTC')})
			AND occurred_at >= {from:DateTime64(6, 'UTC')} AND occurred_at < {to:DateTime64(6, 'UTC')}
		GROUP BY value
	),
	attempted AS
	(
		SELECT toString(source_ip) AS value, toInt64(sum(events)) AS n
		FROM outcomes_1m FINAL
		WHERE {dimension:String} = 'source_ip' AND provider = {provider:String} AND NOT backfill
			AND outcome IN ('delivered', 'deferred', 'bounced', 'expired')
			AND minute >= toStartOfMinute({from:DateTime64(6, 'UTC')}) AND minute < {to:DateTime64(6, 'UTC')}
		GROUP BY value
	)
	SELECT observed.value, attempted.n, observed.n
	FROM observed LEFT JOIN attempted ON observed.value = attempted.value
	ORDER BY observed.n DESC, observed.value
	LIMIT {limit:UInt32}`
	switch dimension {
	case "domain", "tenant", "source_ip", "remote_host":
	default:
		return nil, fmt.Errorf("query breakdown: unknown dimension %q", dimension)
	}
	var out []*schema.Breakdown
	args := append(span(provider, class, from, to), clickhouse.Named("dimension", dimension), clickhouse.Named("limit", uint32(maxBreakdown)))
	err := db.query(ctx, "breakdown", q, args, func(r driver.Rows) error {
		b := &schema.Breakdown{Dimension: dimension}
		out = append(out, b)
		return r.Scan(&b.Value, &b.Attempts, &b.Observed)
	})
	return out, err
}

// span is the arguments that drill-down queries share.
func span(provider, class string, from, to time.Time) []any {
	return []any{
		clickhouse.Named("provider", provider), clickhouse.Named("class", class),
		clickhouse.DateNamed("from", from.UTC(), clickhouse.MicroSeconds), clickhouse.DateNamed("to", to.UTC(), clickhouse.MicroSeconds),
	}
}
