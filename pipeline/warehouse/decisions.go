package warehouse

import (
	"context"
	"fmt"
	"time"

	"carom.dev/carom/schema"
)

var (
	recipientStates = enumOf(schema.RecipientState_name, schema.RecipientState.Name)
	incidentStates  = enumOf(schema.IncidentState_name, schema.IncidentState.Name)
)

func occurredAt(r FailureRow) time.Time { return at(r.Event.OccurredAtUs) }

const insertDecisions = `INSERT INTO decisions (id, decided_at, recipient_key, domain, scope, state, previous, due_at, expires_at, class, provider, reason,
	policy, event_ids, rule_ids, incident_id, dry_run, hard_events, window_events, acceptance, classified_partition, classified_offset, backfill, version)`

// InsertDecisions writes decisions; one with the id of an older one replaces it. The table suppressions follows by itself:
// of each scope and recipient it holds the decision with the highest version.
func (db *DB) InsertDecisions(ctx context.Context, decisions []*schema.Decision) error {
	for i, d := range decisions {
		switch {
		case d == nil:
			return fmt.Errorf("insert decisions: %w", &RowError{Index: i, Field: "decision", Value: "nil"})
		case d.Id == "":
			return fmt.Errorf("insert decisions: %w", &RowError{Index: i, Field: "id", Value: `""`})
		case d.Version < 0:
			return fmt.Errorf("insert decisions: %w", &RowError{Index: i, Field: "version", Value: d.Version})
		}
	}
	err := insert(ctx, db, insertDecisions, nil, decisions, func(c *columns, rows []*schema.Decision) {
		add(c, rows, (*schema.Decision).GetId)
		add(c, rows, func(d *schema.Decision) time.Time { return at(d.DecidedUs) })
		add(c, rows, func(d *schema.Decision) string { return string(d.RecipientKey) })
		add(c, rows, (*schema.Decision).GetDomain)
		add(c, rows, (*schema.Decision).GetScope)
		add(c, rows, func(d *schema.Decision) string { return recipientStates.name(int32(d.State)) })
		add(c, rows, func(d *schema.Decision) string { return recipientStates.name(int32(d.Previous)) })
		add(c, rows, func(d *schema.Decision) time.Time { return at(d.DueUs) })
		add(c, rows, func(d *schema.Decision) time.Time { return at(d.ExpiresUs) })
		add(c, rows, (*schema.Decision).GetClass)
		add(c, rows, (*schema.Decision).GetProvider)
		add(c, rows, (*schema.Decision).GetReason)
		add(c, rows, (*schema.Decision).GetPolicy)
		add(c, rows, (*schema.Decision).GetEventIds)
		add(c, rows, (*schema.Decision).GetRuleIds)
		add(c, rows, (*schema.Decision).GetIncidentId)
		add(c, rows, (*schema.Decision).GetDryRun)
		add(c, rows, (*schema.Decision).GetHardEvents)
		add(c, rows, (*schema.Decision).GetWindowEvents)
		add(c, rows, func(d *schema.Decision) string { return acceptances.name(int32(d.Acceptance)) })
		add(c, rows, (*schema.Decision).GetPartition)
		add(c, rows, (*schema.Decision).GetOffset)
		add(c, rows, (*schema.Decision).GetBackfill)
		add(c, rows, func(d *schema.Decision) uint64 { return uint64(d.Version) })
	})
	if err != nil {
		return fmt.Errorf("insert decisions: %w", err)
	}
	return nil
}

const insertIncidents = "INSERT INTO incidents (id, revision, state, kind, provider, class, severity, onset_at, opened_at, updated_at, resolved_at, attempts," +
	" observed, expected, excess, share, z, accepted_share, hold, hold_from, hold_until, action, suspicion, summary," +
	" `breakdown.dimension`, `breakdown.value`, `breakdown.attempts`, `breakdown.observed`," +
	" `evidence.occurred_at`, `evidence.source_ip`, `evidence.remote_host`, `evidence.remote_ip`, `evidence.smtp_code`, `evidence.enhanced_code`," +
	" `evidence.text`, `evidence.count`)"

// InsertIncidents writes revisions of incidents; the same revision of the same incident replaces itself.
func (db *DB) InsertIncidents(ctx context.Context, incidents []*schema.Incident) error {
	for i, n := range incidents {
		if n == nil || n.Id == "" {
			return fmt.Errorf("insert incidents: %w", &RowError{Index: i, Field: "id", Value: `""`})
		}
	}
	err := insert(ctx, db, insertIncidents, nil, incidents, func(c *columns, rows []*schema.Incident) {
		add(c, rows, (*schema.Incident).GetId)
		add(c, rows, (*schema.Incident).GetRevision)
		add(c, rows, func(n *schema.Incident) string { return incidentStates.name(int32(n.State)) })
		add(c, rows, (*schema.Incident).GetKind)
		add(c, rows, (*schema.Incident).GetProvider)
		add(c, rows, (*schema.Incident).GetClass)
		add(c, rows, (*schema.Incident).GetSeverity)
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.OnsetUs) })
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.OpenedUs) })
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.UpdatedUs) })
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.ResolvedUs) })
		add(c, rows, (*schema.Incident).GetAttempts)
		add(c, rows, (*schema.Incident).GetObserved)
		add(c, rows, (*schema.Incident).GetExpected)
		add(c, rows, (*schema.Incident).GetExcess)
		add(c, rows, (*schema.Incident).GetShare)
		add(c, rows, (*schema.Incident).GetZ)
		add(c, rows, (*schema.Incident).GetAcceptedShare)
		add(c, rows, (*schema.Incident).GetHold)
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.HoldFromUs) })
		add(c, rows, func(n *schema.Incident) time.Time { return at(n.HoldUntilUs) })
		add(c, rows, (*schema.Incident).GetAction)
		add(c, rows, (*schema.Incident).GetSuspicion)
		add(c, rows, (*schema.Incident).GetSummary)
		addBreakdown(c, rows, (*schema.Breakdown).GetDimension)
		addBreakdown(c, rows, (*schema.Breakdown).GetValue)
		addBreakdown(c, rows, (*schema.Breakdown).GetAttempts)
		addBreakdown(c, rows, (*schema.Breakdown).GetObserved)
		addEvidence(c, rows, func(e *schema.Evidence) time.Time { return at(e.OccurredAtUs) })
		addEvidence(c, rows, (*schema.Evidence).GetSourceIp)
		addEvidence(c, rows, (*schema.Evidence).GetRemoteHost)
		addEvidence(c, rows, (*schema.Evidence).GetRemoteIp)
		addEvidence(c, rows, func(e *schema.Evidence) uint16 { return small(e.SmtpCode) })
		addEvidence(c, rows, (*schema.Evidence).GetEnhancedCode)
		addEvidence(c, rows, (*schema.Evidence).GetText)
		addEvidence(c, rows, func(e *schema.Evidence) uint64 { return count(e.Count) })
	})
	if err != nil {
		return fmt.Errorf("insert incidents: %w", err)
	}
	return nil
}

func addBreakdown[T any](c *columns, rows []*schema.Incident, value func(*schema.Breakdown) T) {
	add(c, rows, func(n *schema.Incident) []T { return each(n.Breakdown, value) })
}

func addEvidence[T any](c *columns, rows []*schema.Incident, value func(*schema.Evidence) T) {
	add(c, rows, func(n *schema.Incident) []T { return each(n.Evidence, value) })
}

func each[S, T any](list []S, value func(S) T) []T {
	out := make([]T, len(list))
	for i, s := range list {
		out[i] = value(s)
	}
	return out
}
