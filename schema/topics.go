package schema

// Topic names. mta.raw stands for any number of raw topics; the others are fixed.
const (
	TopicRaw          = "mta.raw"           // key: host, value: log lines; with HeaderFormat a webhook's body or a mail, see there
	TopicEvents       = "mail.events"       // key: recipient key, value: Envelope
	TopicClassified   = "mail.classified"   // same key and partition count as mail.events
	TopicCells        = "mail.cells"        // key: cell, value: CellRecord
	TopicDecisions    = "mail.decisions"    // key: scope + recipient key, value: Decision; the whole history
	TopicSuppressions = "mail.suppressions" // compacted; the same records, the last one of each key wins
	TopicIncidents    = "mail.incidents"    // key: incident id, value: Incident
	TopicControl      = "mail.control"      // one partition; offset = sequence
	TopicDeadLetter   = "mail.dead-letter"  // key: host, value: DeadLetter
)
