// Package pipeline turns logs of mail transfer agents, feeds and bounce mails into suppression decisions, exact numbers in ClickHouse, and
// incidents. It holds no code: this comment is the map of the packages below it.
//
// # Flow
//
//	log shippers (key = host)    webhooks, LMTP, Maildir -> intake: the log first, the acknowledgement afterwards
//	    |                            |
//	 mta.raw ----------> ingest       fold per partition: source reads lines (envelope, mtalog), records (feed) and mails (dsn),
//	    |                             as the site file says; hosts' clocks, repeats
//	    |
//	 mail.events ------> classify     no state: class, axes, provider, by rules
//	    |
//	 mail.classified --> aggregate    fold per partition: recipients -> decisions, events -> minute cells
//	    |        |
//	    |        +-> mail.decisions, mail.suppressions (compacted)
//	    |
//	 mail.cells -------> aggregate    fold per partition: one row per cell -> ClickHouse
//	    |
//	 ClickHouse -------> detect       one leader: complete minutes -> incidents, holds, all-clears
//	    |
//	 mail.control -----> relay        each record into every partition of mail.events; incidents to mail.incidents
//	    |
//	 mail.incidents ---> alerts       Alertmanager, signed webhook
//
// Loaders beside the folds copy mail.classified, mail.decisions and mail.incidents into ClickHouse. What cannot be read
// goes to mail.dead-letter, with the reason and its place, and stops nothing.
//
// # Guarantee
//
// The state of a partition is the fold of the log that was written: state = fold(step, log[0..next)). Delivery between the
// stages is at least once and in order, and every reader removes repeats by the position of their source, so each event
// changes decisions and numbers once. Snapshots hold state and offset together; nothing is saved or committed before its
// effects are acknowledged. A log that is not the one the state came from is refused, not worked around.
//
// The guarantee ends where the log ends: a state whose snapshot is lost can be folded again only while its topic reaches
// back to its beginning. docs/promises.md names the tests, docs/flow.md each crash point.
//
// # Glossary
//
//	acceptance   whether a recipient was delivered to within 90 days: accepted, not accepted, or unknown
//	all-clear    control record: the detector has looked at every minute before this time
//	amnesty      what is done to held recipients when an incident ends
//	backfill     an event that is imported, or much older than its own host's clock: counted, judged, never alerting
//	cell         count of one minute and one set of dimensions
//	control      mail.control and its records; they steer every fold, in the order of their sequence numbers
//	decision     a change of a recipient's state within a scope
//	epoch        the life of one log with fixed partition counts; part of every event id
//	event        one recipient's answer, as the log told it (carom.v1.DeliveryEvent)
//	fold         a state machine over a Kafka partition (package fold)
//	genesis      the first control record: every parameter of the folds
//	hold         time during which failures of a provider and class say nothing about their recipients
//	incident     something broke: what, since when, where, whom to suspect, with evidence
//	leader       the owner of mail.control; its term is the offset of its term record
//	outbox       what a batch has to publish before its offset may be saved
//	position     raw topic, partition, offset, index: what makes an event unique
//	feed         what tells deliveries in records of its own: a webhook, an accounting file
//	joined       told by mail what the log of an own host has told: evidence that counts nowhere
//	scope        whom a decision binds: "*", "tenant:T" or "bulk"
//	site         the file that says what only the sender knows; a record of the raw log
//	snapshot     state and offset of a partition, in one file
//	tick         the leader's time, for partitions without traffic
//	trust        how far a bounce mail is believed: signed, known, or none
//	verdict      what the rules say of an event: class, permanence, scope, retry, suppress, confidence
//	watermark    the time before which every host that counts has told everything
package pipeline
