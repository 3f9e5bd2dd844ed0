package warehouse

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/cespare/xxhash/v2"

	"carom.dev/carom/schema"
)

// FailureRow is one classified event that is no success: neither a delivery nor engagement. The caller keeps both messages unchanged during the
// insert and owns them afterwards.
type FailureRow struct {
	Event   *schema.DeliveryEvent
	Verdict *schema.Verdict
}

// The names of the enums in the table failures.
var (
	phases          = enumOf(schema.Phase_name, schema.Phase.Name)
	origins         = enumOf(schema.Origin_name, schema.Origin.Name)
	enhancedSources = enumOf(schema.EnhancedSource_name, schema.EnhancedSource.Name)
	permanences     = enumOf(schema.Permanence_name, schema.Permanence.Name)
	scopes          = enumOf(schema.Scope_name, schema.Scope.Name)
	confidences     = enumOf(schema.Confidence_name, schema.Confidence.Name)
	retries         = enumOf(schema.Retry_name, schema.Retry.Name)
	suppresses      = enumOf(schema.Suppress_name, schema.Suppress.Name)
	trusts          = enumOf(schema.Trust_name, schema.Trust.Name)
)

const insertFailures = `INSERT INTO failures (event_id, occurred_at, provider, class, outcome, final, attempt, smtp_code, enhanced_code, enhanced_source,
	text, template, phase, origin, permanence, scope, confidence, retry, suppress, rule, ruleset, list_operator, mitigation_url, provider_code,
	new_provider_code, cause_class, cause_smtp_code, cause_enhanced_code, cause_text, recipient, recipient_key, domain, sender, has_sender, tenant,
	stream, campaign, source_ip, remote_host, remote_ip, relay, relay_port, delay_ms, has_delay, delay_before_qmgr_ms, delay_in_qmgr_ms, delay_connect_ms,
	delay_transmit_ms, mta, mta_host, instance, queue_id, message_id, raw_topic, raw_partition, raw_offset, raw_index, raw_line, orphan, backfill,
	trust, joined, reporting_mta, forwarded_to, feed, feed_event_id)`

// InsertFailures writes raw failures; a row with the event id of an older one replaces it. token names the batch (topic,
// partition, first offset): the server drops a whole batch that it has just seen, before it costs a merge. The number and
// the ids of the events become part of it, since a token alone would drop other rows under the same name without a word.
// Without a token nothing is dropped by name. Rows older than FailuresTTLDays, as an import of old logs brings them, leave
// the table with its next merge; times before 1970 and after 2099 are stored as those.
func (db *DB) InsertFailures(ctx context.Context, batch []FailureRow, token string) error {
	for i, r := range batch {
		if r.Event == nil || r.Verdict == nil {
			return fmt.Errorf("insert failures: %w", &RowError{Index: i, Field: "event or verdict", Value: "nil"})
		}
		if r.Event.EventId == "" {
			return fmt.Errorf("insert failures: %w", &RowError{Index: i, Field: "event_id", Value: `""`})
		}
	}
	settings := clickhouse.Settings{"insert_deduplicate": 0}
	if token != "" {
		settings = clickhouse.Settings{"insert_deduplicate": 1, "insert_deduplication_token": blockToken(token, batch)}
	}
	if err := insert(ctx, db, insertFailures, settings, batch, fillFailures); err != nil {
		return fmt.Errorf("insert failures %s: %w", token, err)
	}
	return nil
}

// blockToken is the caller's token with what makes the rows these rows: the same event under another rule set is another
// row. xxhash is enough, because a token stands beside it that is equal for the same offsets only.
func blockToken(token string, batch []FailureRow) string {
	d := xxhash.New()
	var length [4]byte
	for _, r := range batch {
		for _, s := range [...]string{r.Event.EventId, r.Verdict.Ruleset, r.Verdict.Class} {
			binary.LittleEndian.PutUint32(length[:], uint32(len(s)))
			d.Write(length[:])
			d.WriteString(s)
		}
	}
	return token + "/" + strconv.Itoa(len(batch)) + "/" + hex.EncodeToString(d.Sum(nil))
}

func fillFailures(c *columns, rows []FailureRow) {
	event := func(get func(*schema.DeliveryEvent) string) {
		add(c, rows, func(r FailureRow) string { return get(r.Event) })
	}
	verdict := func(get func(*schema.Verdict) string) {
		add(c, rows, func(r FailureRow) string { return get(r.Verdict) })
	}
	event((*schema.DeliveryEvent).GetEventId)
	add(c, rows, occurredAt)
	verdict((*schema.Verdict).GetProvider)
	verdict((*schema.Verdict).GetClass)
	add(c, rows, func(r FailureRow) string { return outcomes.name(int32(r.Event.Outcome)) })
	add(c, rows, func(r FailureRow) bool { return r.Event.Final })
	add(c, rows, func(r FailureRow) uint32 { return r.Event.Attempt })
	add(c, rows, func(r FailureRow) uint16 { return small(r.Event.SmtpCode) })
	event((*schema.DeliveryEvent).GetEnhancedCode)
	add(c, rows, func(r FailureRow) string { return enhancedSources.name(int32(r.Event.EnhancedSource)) })
	event((*schema.DeliveryEvent).GetText)
	verdict((*schema.Verdict).GetTemplate)
	add(c, rows, func(r FailureRow) string { return phases.name(int32(r.Verdict.Phase)) })
	add(c, rows, func(r FailureRow) string { return origins.name(int32(r.Verdict.Origin)) })
	add(c, rows, func(r FailureRow) string { return permanences.name(int32(r.Verdict.Permanence)) })
	add(c, rows, func(r FailureRow) string { return scopes.name(int32(r.Verdict.Scope)) })
	add(c, rows, func(r FailureRow) string { return confidences.name(int32(r.Verdict.Confidence)) })
	add(c, rows, func(r FailureRow) string { return retries.name(int32(r.Verdict.Retry)) })
	add(c, rows, func(r FailureRow) string { return suppresses.name(int32(r.Verdict.Suppress)) })
	verdict((*schema.Verdict).GetRule)
	verdict((*schema.Verdict).GetRuleset)
	verdict((*schema.Verdict).GetListOperator)
	verdict((*schema.Verdict).GetMitigationUrl)
	verdict((*schema.Verdict).GetProviderCode)
	add(c, rows, func(r FailureRow) bool { return r.Verdict.NewProviderCode })
	verdict((*schema.Verdict).GetCauseClass)
	add(c, rows, func(r FailureRow) uint16 { return small(r.Event.GetCause().GetSmtpCode()) })
	event(func(e *schema.DeliveryEvent) string { return e.GetCause().GetEnhancedCode() })
	event(func(e *schema.DeliveryEvent) string { return e.GetCause().GetText() })
	event((*schema.DeliveryEvent).GetRecipient)
	add(c, rows, func(r FailureRow) string { return string(r.Event.RecipientKey) })
	event((*schema.DeliveryEvent).GetDomain)
	event((*schema.DeliveryEvent).GetSender)
	add(c, rows, func(r FailureRow) bool { return r.Event.HasSender })
	event((*schema.DeliveryEvent).GetTenant)
	event((*schema.DeliveryEvent).GetStream)
	event((*schema.DeliveryEvent).GetCampaign)
	event((*schema.DeliveryEvent).CountedSource)
	event((*schema.DeliveryEvent).GetRemoteHost)
	event((*schema.DeliveryEvent).GetRemoteIp)
	event((*schema.DeliveryEvent).GetRelay)
	add(c, rows, func(r FailureRow) uint16 { return small(r.Event.RelayPort) })
	add(c, rows, func(r FailureRow) uint64 { return count(r.Event.DelayMs) })
	add(c, rows, func(r FailureRow) bool { return r.Event.HasDelay })
	add(c, rows, func(r FailureRow) uint64 { return count(r.Event.GetDelays().GetBeforeQmgrMs()) })
	add(c, rows, func(r FailureRow) uint64 { return count(r.Event.GetDelays().GetInQmgrMs()) })
	add(c, rows, func(r FailureRow) uint64 { return count(r.Event.GetDelays().GetConnectMs()) })
	add(c, rows, func(r FailureRow) uint64 { return count(r.Event.GetDelays().GetTransmitMs()) })
	event((*schema.DeliveryEvent).GetMta)
	event((*schema.DeliveryEvent).GetMtaHost)
	event((*schema.DeliveryEvent).GetInstance)
	event((*schema.DeliveryEvent).GetQueueId)
	event((*schema.DeliveryEvent).GetMessageId)
	event(func(e *schema.DeliveryEvent) string { return e.GetRaw().GetTopic() })
	add(c, rows, func(r FailureRow) int32 { return r.Event.GetRaw().GetPartition() })
	add(c, rows, func(r FailureRow) int64 { return r.Event.GetRaw().GetOffset() })
	add(c, rows, func(r FailureRow) uint32 { return r.Event.GetRaw().GetIndex() })
	event(func(e *schema.DeliveryEvent) string { return e.GetRaw().GetLine() })
	add(c, rows, func(r FailureRow) bool { return r.Event.Orphan })
	add(c, rows, func(r FailureRow) bool { return r.Event.Backfill })
	add(c, rows, func(r FailureRow) string { return trusts.name(int32(r.Event.Trust)) })
	add(c, rows, func(r FailureRow) bool { return r.Event.Joined })
	event((*schema.DeliveryEvent).GetReportingMta)
	event((*schema.DeliveryEvent).GetForwardedTo)
	event((*schema.DeliveryEvent).GetFeed)
	event((*schema.DeliveryEvent).GetFeedEventId)
}
