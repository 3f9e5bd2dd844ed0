-- Every decision ever made (ids are deterministic, so a repeat replaces itself) and the last one of each key.
CREATE TABLE IF NOT EXISTS decisions
(
    id String COMMENT 'deterministic',
    decided_at DateTime64(6, 'UTC') COMMENT 'event time',
    recipient_key String COMMENT 'normalised address or its keyed digest' CODEC(ZSTD),
    domain LowCardinality(String) COMMENT 'domain of the recipient',
    scope LowCardinality(String) COMMENT 'what it holds for: *, tenant:T, tenant:T/bulk, bulk',
    state Enum8('ok' = 0, 'pending' = 1, 'watch' = 2, 'held' = 3, 'suppressed' = 4, 'probation' = 5) COMMENT 'new state',
    previous Enum8('ok' = 0, 'pending' = 1, 'watch' = 2, 'held' = 3, 'suppressed' = 4, 'probation' = 5) COMMENT 'old state',
    due_at DateTime64(6, 'UTC') COMMENT 'of pending: when it matures; 1970 for none',
    expires_at DateTime64(6, 'UTC') COMMENT 'of suppressed and held: the end; 1970 for none',
    class LowCardinality(String) COMMENT 'class of the evidence',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    reason String COMMENT 'for people' CODEC(ZSTD),
    policy LowCardinality(String) COMMENT 'version of the policy',
    event_ids Array(String) COMMENT 'evidence',
    rule_ids Array(String) COMMENT 'rules that judged the evidence',
    incident_id String COMMENT 'incident that held or released it',
    dry_run Bool COMMENT 'observe mode: nothing was suppressed',
    hard_events UInt32 COMMENT 'counter at the decision',
    window_events UInt32 COMMENT 'counter at the decision',
    acceptance Enum8('unknown' = 0, 'accepted' = 1, 'not_accepted' = 2) COMMENT 'whether the recipient was delivered to within 90 days',
    classified_partition Int32 COMMENT 'of mail.classified',
    classified_offset Int64 COMMENT 'of the record that caused it',
    backfill Bool COMMENT 'made from backfilled evidence',
    version UInt64 COMMENT 'orders the decisions of one key'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(decided_at)
ORDER BY (toDate(decided_at), id)
COMMENT 'history of decisions; read with FINAL to count';

CREATE TABLE IF NOT EXISTS suppressions
(
    recipient_key String COMMENT 'normalised address or its keyed digest',
    scope LowCardinality(String) COMMENT 'what it holds for: *, tenant:T, tenant:T/bulk, bulk',
    state Enum8('ok' = 0, 'pending' = 1, 'watch' = 2, 'held' = 3, 'suppressed' = 4, 'probation' = 5) COMMENT 'current state',
    decided_at DateTime64(6, 'UTC') COMMENT 'event time',
    expires_at DateTime64(6, 'UTC') COMMENT '1970 for none',
    domain LowCardinality(String) COMMENT 'domain of the recipient',
    class LowCardinality(String) COMMENT 'class of the evidence',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    reason String COMMENT 'for people',
    decision_id String COMMENT 'the decision behind it',
    incident_id String COMMENT 'incident that held or released it',
    dry_run Bool COMMENT 'observe mode: nothing was suppressed',
    version UInt64 COMMENT 'highest wins'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (scope, recipient_key)
COMMENT 'current state of each scope and recipient; read with FINAL';

-- One insert feeds both tables. A copy that is repeated has the same version, so retries are harmless.
CREATE MATERIALIZED VIEW IF NOT EXISTS suppressions_from_decisions TO suppressions AS
SELECT recipient_key, scope, state, decided_at, expires_at, domain, class, provider, reason, id AS decision_id, incident_id, dry_run, version
FROM decisions;
