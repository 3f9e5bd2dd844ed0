// Package detect finds incidents in the numbers and steers the folds with them.
//
// One replica leads: the owner of mail.control's one partition. It begins a term (a record whose offset is the term's
// number; folds ignore what a former leader writes later), then looks at every minute that all partitions have
// completed, in order, as ClickHouse holds it. What it finds goes to mail.control, evidence included; after each look an
// all-clear says how far it has looked, since no suppression may mature before. A relay copies mail.control into every
// partition of mail.events, and incidents to mail.incidents, where the alerts are sent from.
//
// When the leader dies, the next one reads from mail.control how far the all-clear went and what is open, folds the last
// day's minutes again to learn what is usual, and goes on. An incident's id comes from its scope and onset, so nobody
// is paged twice. When ClickHouse is down nothing is found and no suppression matures.
package detect
