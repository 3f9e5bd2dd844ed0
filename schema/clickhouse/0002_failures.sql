-- Every event that is not a plain delivery, raw, for drill-down. One row an event id: a replayed event replaces itself.
-- Types follow cost as well: the dictionary of LowCardinality is dear in the client, so it is used where people group.
-- Weeks as partitions: an import of a year stays below the limit of partitions in one insert. The window of block hashes
-- drops a whole batch that is sent again, before it costs a merge.
CREATE TABLE IF NOT EXISTS failures
(
    event_id String COMMENT 'derived from the source position',
    occurred_at DateTime64(6, 'UTC') COMMENT 'event time' CODEC(Delta, ZSTD),
    provider LowCardinality(String) COMMENT 'mailbox provider',
    class LowCardinality(String) COMMENT 'class of the taxonomy',
    outcome Enum8('unspecified' = 0, 'delivered' = 1, 'deferred' = 2, 'bounced' = 3, 'expired' = 4, 'async_bounce' = 5, 'delayed' = 6, 'complaint' = 7, 'suspended' = 8) COMMENT 'what happened',
    final Bool COMMENT 'nothing more will be tried for this message and recipient',
    attempt UInt32 COMMENT '1 for the first attempt seen, 0 unknown',
    smtp_code UInt16 COMMENT 'basic reply code, 0 where there is none',
    enhanced_code String COMMENT 'enhanced status code (RFC 3463)' CODEC(ZSTD),
    enhanced_source Enum8('' = 0, 'remote' = 1, 'mta' = 2, 'none' = 3) COMMENT 'who made up the enhanced code',
    text String COMMENT 'the reply or the words of the MTA, as logged' CODEC(ZSTD),
    template String COMMENT 'id of the text with its variable parts masked' CODEC(ZSTD),
    phase Enum8('' = 0, 'dns' = 1, 'connect' = 2, 'banner' = 3, 'ehlo' = 4, 'tls' = 5, 'auth' = 6, 'mail' = 7, 'rcpt' = 8, 'data' = 9, 'eom' = 10, 'quit' = 11, 'queue' = 12, 'async' = 13) COMMENT 'where in the conversation',
    origin Enum8('' = 0, 'remote_reply' = 1, 'local_mta' = 2, 'async_dsn' = 3, 'esp' = 4) COMMENT 'who spoke the words, by the verdict',
    permanence Enum8('unknown' = 0, 'transient' = 1, 'permanent' = 2) COMMENT 'by the verdict',
    scope Enum8('' = 0, 'recipient' = 1, 'domain' = 2, 'sender_ip' = 3, 'sender_domain' = 4, 'content' = 5, 'remote' = 6, 'network' = 7, 'local' = 8) COMMENT 'what the failure says something about',
    confidence Enum8('' = 0, 'default' = 1, 'code' = 2, 'enhanced' = 3, 'text' = 4, 'provider_text' = 5) COMMENT 'layer that decided',
    retry Enum8('' = 0, 'yes' = 1, 'later' = 2, 'no' = 3) COMMENT 'whether this message should be tried again',
    suppress Enum8('' = 0, 'never' = 1, 'windowed' = 2, 'candidate' = 3, 'domain' = 4) COMMENT 'whether it is evidence against the recipient',
    rule String COMMENT 'id of the rule that decided' CODEC(ZSTD),
    ruleset String COMMENT 'version of the rules' CODEC(ZSTD),
    list_operator String COMMENT 'operator of the block list' CODEC(ZSTD),
    mitigation_url String COMMENT 'from the text, known hosts only' CODEC(ZSTD),
    provider_code String COMMENT 'code of the provider in the text' CODEC(ZSTD),
    new_provider_code Bool COMMENT 'no rule knows that code',
    cause_class String COMMENT 'of an expiry: class of the last real failure' CODEC(ZSTD),
    cause_smtp_code UInt16 COMMENT 'of an expiry',
    cause_enhanced_code String COMMENT 'of an expiry' CODEC(ZSTD),
    cause_text String COMMENT 'of an expiry' CODEC(ZSTD),
    recipient String COMMENT 'as logged; empty in privacy mode' CODEC(ZSTD),
    recipient_key String COMMENT 'normalised address or its keyed digest' CODEC(ZSTD),
    domain LowCardinality(String) COMMENT 'domain of the recipient',
    sender String COMMENT 'envelope sender; empty with has_sender for the null sender' CODEC(ZSTD),
    has_sender Bool COMMENT 'the log named a sender',
    tenant LowCardinality(String) COMMENT 'customer',
    stream LowCardinality(String) COMMENT 'kind of mail',
    source_ip LowCardinality(String) COMMENT 'sending address',
    remote_host LowCardinality(String) COMMENT 'mail exchanger',
    remote_ip String COMMENT 'its address' CODEC(ZSTD),
    relay String COMMENT 'relay as logged' CODEC(ZSTD),
    relay_port UInt16 COMMENT '0 where the log has none',
    delay_ms UInt64 COMMENT 'since the message was queued; 0 with not has_delay where the log has none',
    has_delay Bool COMMENT 'the log had a delay',
    delay_before_qmgr_ms UInt64 COMMENT 'Postfix delays=a',
    delay_in_qmgr_ms UInt64 COMMENT 'Postfix delays=b',
    delay_connect_ms UInt64 COMMENT 'Postfix delays=c',
    delay_transmit_ms UInt64 COMMENT 'Postfix delays=d',
    mta String COMMENT 'postfix, exim, ...' CODEC(ZSTD),
    mta_host String COMMENT 'host that wrote the log' CODEC(ZSTD),
    instance String COMMENT 'syslog tag before the slash' CODEC(ZSTD),
    queue_id String COMMENT 'queue id' CODEC(ZSTD),
    message_id String COMMENT 'Message-ID' CODEC(ZSTD),
    raw_topic String COMMENT 'source position' CODEC(ZSTD),
    raw_partition Int32 COMMENT 'source position',
    raw_offset Int64 COMMENT 'source position',
    raw_index UInt32 COMMENT 'number of the event within the raw record',
    raw_line String COMMENT 'the line, at most 4 kB' CODEC(ZSTD),
    orphan Bool COMMENT 'the queue entry of this delivery was never seen',
    backfill Bool COMMENT 'imported or older than its own host allows'
)
ENGINE = ReplacingMergeTree
PARTITION BY toMonday(occurred_at)
ORDER BY (toDate(occurred_at), provider, class, event_id)
TTL toDateTime(occurred_at) + toIntervalDay(90)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'failures, raw; read with FINAL to count';
