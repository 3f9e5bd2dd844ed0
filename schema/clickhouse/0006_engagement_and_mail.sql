-- Outcomes that no log tells: what people do with their mail. Both columns only learn new names; no part is rewritten.
ALTER TABLE outcomes_1m MODIFY COLUMN outcome Enum8('unspecified' = 0, 'delivered' = 1, 'deferred' = 2, 'bounced' = 3, 'expired' = 4, 'async_bounce' = 5, 'delayed' = 6, 'complaint' = 7, 'suspended' = 8, 'opened' = 9, 'clicked' = 10, 'unsubscribed' = 11) COMMENT 'what happened';

ALTER TABLE outcomes_1m MODIFY COLUMN class LowCardinality(String) COMMENT 'class of the taxonomy, failures only; of opened and clicked: machine, where no person did it';

ALTER TABLE failures MODIFY COLUMN outcome Enum8('unspecified' = 0, 'delivered' = 1, 'deferred' = 2, 'bounced' = 3, 'expired' = 4, 'async_bounce' = 5, 'delayed' = 6, 'complaint' = 7, 'suspended' = 8, 'opened' = 9, 'clicked' = 10, 'unsubscribed' = 11) COMMENT 'what happened';

-- Where a failure came from, if not from a log, and how far it is believed. Old rows have the defaults.
ALTER TABLE failures
    ADD COLUMN IF NOT EXISTS campaign LowCardinality(String) COMMENT 'campaign of the message' AFTER stream,
    ADD COLUMN IF NOT EXISTS trust Enum8('' = 0, 'none' = 1, 'known' = 2, 'signed' = 3) COMMENT 'how far a bounce mail is believed; empty for what came by no mail',
    ADD COLUMN IF NOT EXISTS joined Bool COMMENT 'told by mail what the log of the same host has told: evidence, counted nowhere',
    ADD COLUMN IF NOT EXISTS reporting_mta String COMMENT 'of a bounce mail: who wrote it; who refused is remote_host' CODEC(ZSTD),
    ADD COLUMN IF NOT EXISTS forwarded_to String COMMENT 'of a bounce mail: the address that failed, where another was mailed' CODEC(ZSTD),
    ADD COLUMN IF NOT EXISTS feed LowCardinality(String) COMMENT 'name of the feed that told it; empty for a log',
    ADD COLUMN IF NOT EXISTS feed_event_id String COMMENT 'the id that the feed gave it' CODEC(ZSTD);

ALTER TABLE failures COMMENT COLUMN source_ip 'sending address; empty where none is known, and for what was refused behind our next hop';

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
    unsubscribed UInt64 COMMENT 'recipients that asked to be left out',
    opened UInt64 COMMENT 'messages displayed to a person; one may be displayed several times',
    clicked UInt64 COMMENT 'links followed by a person',
    machine UInt64 COMMENT 'opens and clicks by machines',
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
    sumIf(outcomes_1m.events, outcome = 'unsubscribed') AS unsubscribed,
    sumIf(outcomes_1m.events, outcome = 'opened' AND class = '') AS opened,
    sumIf(outcomes_1m.events, outcome = 'clicked' AND class = '') AS clicked,
    sumIf(outcomes_1m.events, outcome IN ('opened', 'clicked') AND class != '') AS machine,
    delivered / (delivered + deferred + bounced) AS delivered_share,
    sumIf(delay_ms_sum, outcome = 'delivered') / delivered AS mean_delay_ms
FROM outcomes_1m FINAL
GROUP BY hour, provider
COMMENT 'outcomes per hour and mailbox provider';

CREATE OR REPLACE VIEW top_failures
(
    day Date COMMENT 'event time, UTC',
    provider LowCardinality(String) COMMENT 'mailbox provider',
    class LowCardinality(String) COMMENT 'class of the taxonomy',
    smtp_code UInt16 COMMENT 'basic reply code, 0 where there is none',
    enhanced_code String COMMENT 'enhanced status code',
    template String COMMENT 'id of the text with its variable parts masked',
    events UInt64 COMMENT 'failures; what mail tells a second time is left out',
    recipients UInt64 COMMENT 'distinct recipients, approximate',
    last_at DateTime64(6, 'UTC') COMMENT 'last of them',
    sample_text String COMMENT 'one of the texts'
) AS
SELECT toDate(occurred_at) AS day, provider, class, smtp_code, enhanced_code, template, count() AS events, uniq(recipient_key) AS recipients,
    max(occurred_at) AS last_at, any(text) AS sample_text
FROM failures FINAL
WHERE NOT joined
GROUP BY day, provider, class, smtp_code, enhanced_code, template
COMMENT 'failures per day by provider, class, code and text';

-- A code is one that the remote server gave, basic or enhanced, of an expiry that of its last real failure. That something
-- came by mail is no phase, and that an expired message lay in the queue is none either.
CREATE OR REPLACE VIEW feed_opacity
(
    day Date COMMENT 'event time, UTC',
    feed String COMMENT 'name of the feed, else of the mail server program',
    failures UInt64 COMMENT 'deferred, bounced, expired and asynchronous bounces; backfill included, what mail tells a second time left out',
    no_code UInt64 COMMENT 'failures without a code of the remote server',
    no_phase UInt64 COMMENT 'failures of which neither log nor words say where in the conversation they happened',
    neither UInt64 COMMENT 'failures without both: nothing but words',
    no_code_share Float64 COMMENT 'no_code of failures, 0 to 1',
    no_phase_share Float64 COMMENT 'no_phase of failures, 0 to 1',
    neither_share Float64 COMMENT 'neither of failures, 0 to 1'
) AS
WITH
    failures.smtp_code = 0 AND cause_smtp_code = 0 AND NOT (enhanced_source = 'remote' AND enhanced_code != '') AS without_code,
    phase IN ('', 'async') OR (phase = 'queue' AND outcome = 'expired') AS without_phase
SELECT
    toDate(occurred_at) AS day,
    if(failures.feed = '', mta, toString(failures.feed)) AS feed,
    count() AS failures,
    countIf(without_code) AS no_code,
    countIf(without_phase) AS no_phase,
    countIf(without_code AND without_phase) AS neither,
    no_code / failures AS no_code_share,
    no_phase / failures AS no_phase_share,
    neither / failures AS neither_share
FROM failures FINAL
WHERE NOT joined AND outcome IN ('deferred', 'bounced', 'expired', 'async_bounce')
GROUP BY day, feed
COMMENT 'per day and feed: how many failures come without a code, without a phase, without both';
