-- What people read. FINAL and the sums are inside.
CREATE OR REPLACE VIEW providers_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour, event time',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    events UInt64 COMMENT 'all outcomes, backfill included',
    delivered UInt64 COMMENT 'accepted by the next hop',
    deferred UInt64 COMMENT 'attempts that failed and will be repeated',
    bounced UInt64 COMMENT 'given up: bounced or expired',
    async_bounced UInt64 COMMENT 'accepted first, refused later by mail',
    complaints UInt64 COMMENT 'feedback reports',
    delivered_share Float64 COMMENT 'delivered of delivered, deferred and bounced; 0 to 1, nan without any',
    mean_delay_ms Float64 COMMENT 'mean delay of delivered mail in milliseconds, nan without any'
) AS
SELECT
    toStartOfHour(minute) AS hour,
    provider,
    sum(outcomes_1m.events) AS events,
    sumIf(outcomes_1m.events, outcome = 'delivered') AS delivered,
    sumIf(outcomes_1m.events, outcome = 'deferred') AS deferred,
    sumIf(outcomes_1m.events, outcome IN ('bounced', 'expired')) AS bounced,
    sumIf(outcomes_1m.events, outcome = 'async_bounce') AS async_bounced,
    sumIf(outcomes_1m.events, outcome = 'complaint') AS complaints,
    delivered / (delivered + deferred + bounced) AS delivered_share,
    sumIf(delay_ms_sum, outcome = 'delivered') / delivered AS mean_delay_ms
FROM outcomes_1m FINAL
GROUP BY hour, provider
COMMENT 'outcomes per hour and mailbox provider';

CREATE OR REPLACE VIEW suppressed_now
(
    recipient_key String COMMENT 'normalised address or its keyed digest',
    scope LowCardinality(String) COMMENT 'what it holds for: *, tenant:T, tenant:T/bulk, bulk',
    state String COMMENT 'suppressed, held or pending',
    decided_at DateTime64(6, 'UTC') COMMENT 'event time',
    expires_at Nullable(DateTime64(6, 'UTC')) COMMENT 'null for none',
    class LowCardinality(String) COMMENT 'class of the evidence',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    reason String COMMENT 'for people',
    incident_id String COMMENT 'incident that holds it',
    dry_run Bool COMMENT 'observe mode: mail still goes out'
) AS
SELECT recipient_key, scope, toString(state) AS state, decided_at, nullIf(suppressions.expires_at, toDateTime64(0, 6, 'UTC')) AS expires_at,
    class, provider, reason, incident_id, dry_run
FROM suppressions FINAL
WHERE suppressions.state IN ('pending', 'held', 'suppressed')
COMMENT 'recipients that get no bulk mail by the last decision; an end that has passed shows until the next decision';

CREATE OR REPLACE VIEW top_failures
(
    day Date COMMENT 'event time, UTC',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    class LowCardinality(String) COMMENT 'class of the taxonomy',
    smtp_code UInt16 COMMENT 'basic reply code, 0 where there is none',
    enhanced_code String COMMENT 'enhanced status code',
    template String COMMENT 'id of the text with its variable parts masked',
    events UInt64 COMMENT 'failures',
    recipients UInt64 COMMENT 'distinct recipients, approximate',
    last_at DateTime64(6, 'UTC') COMMENT 'last of them',
    sample_text String COMMENT 'one of the texts'
) AS
SELECT toDate(occurred_at) AS day, provider, class, smtp_code, enhanced_code, template, count() AS events, uniq(recipient_key) AS recipients,
    max(occurred_at) AS last_at, any(text) AS sample_text
FROM failures FINAL
GROUP BY day, provider, class, smtp_code, enhanced_code, template
COMMENT 'failures per day by provider, class, code and text';

CREATE OR REPLACE VIEW incidents_now
(
    id String COMMENT 'minted once',
    revision UInt32 COMMENT 'the last one',
    state String COMMENT 'open, updated or resolved',
    severity String COMMENT 'page, ticket or info',
    kind String COMMENT 'provider_false_unknown, ...',
    provider String COMMENT 'scope',
    class String COMMENT 'scope',
    onset_at DateTime64(6, 'UTC') COMMENT 'since when',
    resolved_at Nullable(DateTime64(6, 'UTC')) COMMENT 'null while it is open',
    attempts Int64 COMMENT 'in scope',
    observed Int64 COMMENT 'failures in scope',
    hold Bool COMMENT 'suppressions are held',
    summary String COMMENT 'for people'
) AS
SELECT id, incidents.revision AS revision, toString(incidents.state) AS state, severity, kind, provider, class, onset_at,
    nullIf(incidents.resolved_at, toDateTime64(0, 6, 'UTC')) AS resolved_at, attempts, observed, hold, summary
FROM incidents FINAL
ORDER BY id, incidents.revision DESC
LIMIT 1 BY id
COMMENT 'last revision of each incident';
