-- Minute counts. Rows are absolute: the same cell is written again with a higher version, and the highest wins. Readers
-- use FINAL and sum, because a minute that was re-opened by a late event is a row of its own (opened_at).
CREATE TABLE IF NOT EXISTS outcomes_1m
(
    minute DateTime('UTC') COMMENT 'start of the minute, event time',
    provider LowCardinality(String) COMMENT 'mailbox provider, other where none is known',
    outcome Enum8('unspecified' = 0, 'delivered' = 1, 'deferred' = 2, 'bounced' = 3, 'expired' = 4, 'async_bounce' = 5, 'delayed' = 6, 'complaint' = 7, 'suspended' = 8) COMMENT 'what happened',
    class LowCardinality(String) COMMENT 'class of the taxonomy, failures only',
    source_ip LowCardinality(String) COMMENT 'sending address, empty where the log has none',
    acceptance Enum8('unknown' = 0, 'accepted' = 1, 'not_accepted' = 2) COMMENT 'whether the recipient was delivered to within 90 days',
    backfill Bool COMMENT 'imported or older than its own host allows: counted, never alerting',
    opened_at Int64 COMMENT 'offset of the event that opened the cell',
    cells_partition Int32 COMMENT 'partition of mail.cells that owns the row',
    events UInt64 COMMENT 'events, absolute',
    first_attempts UInt64 COMMENT 'events that were the first attempt of their message',
    delay_ms_sum UInt64 COMMENT 'sum of the delays, milliseconds',
    version UInt64 COMMENT 'highest wins'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, provider, outcome, class, source_ip, acceptance, backfill, cells_partition, opened_at)
COMMENT 'outcomes per minute; read with FINAL and sum';

CREATE TABLE IF NOT EXISTS cells_progress
(
    cells_partition Int32 COMMENT 'partition of mail.cells',
    complete_through Int64 COMMENT 'Unix minutes; every minute before this one is in outcomes_1m',
    version UInt64 COMMENT 'highest wins'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY cells_partition
COMMENT 'how far outcomes_1m is complete, per partition of mail.cells';
