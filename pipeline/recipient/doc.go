// Package recipient keeps what one partition knows about its recipients and decides whether they may be mailed.
//
// It is a pure core: a Store is the fold of the events and control records that were applied to it, in order. It reads no
// clock and no file, draws no random number, and no output depends on the order of a Go map. Cutting the log anywhere,
// saving the state with AppendState and going on from LoadState gives the same decisions and the same state bytes as never
// cutting. Time is the event time of the records, and for what merely expires, the time that AllClear and Tick carry.
//
// # Records
//
// A record exists per (recipient, scope) as soon as a failure, a complaint or a person said something about it. Scopes are
// "*" (everything), "tenant:T" and "bulk". Each record is in one state:
//
//	ok          evidence may be counted, mail flows
//	pending     one hard failure; bulk waits for a second one, or for the detector's all-clear past the due time
//	watch       an accepted recipient whose due time passed: mail flows, the next hard failure suppresses
//	held        an incident of a holding kind covers the failure; it says nothing about the recipient while it lasts
//	suppressed  no mail within the scope, until a time or until a person lifts it
//	probation   one message may go; its outcome decides
//
// # Reading of the rules
//
// Choices that the state table leaves open, each with its reason:
//
//   - History is the time since the earliest attempt this partition has seen; a backfilled one extends it backwards. Bounce
//     mails, complaints and engagement make no history: a source of those alone does not tell who took mail. While the
//     history before an event is shorter than history_needed, a recipient never seen delivered is UNKNOWN, not NOT_ACCEPTED:
//     absence in a short log says nothing. The same holds for events older than what the acceptance table still remembers.
//     UNKNOWN is treated as accepted: it costs a day, the opposite error costs a good recipient.
//   - The acceptance that decides at maturity is the kinder of two: when the failure came, and now, because the delivery
//     may have been logged late.
//   - A delivery older than the failure lifts nothing, but does establish acceptance.
//   - Success lifts pending, watch and probation, and suppressions of windowed classes (a delivery, for instance of a
//     transactional message, shows that the mailbox is no longer full). It does not lift hard suppressions and does not end
//     a hold: while a provider errs at random, one success says nothing about the next answer.
//   - An open or click by a person is a success, too, but lifts no suppression: a client may show old mail long after the
//     mailbox has gone. Where it contradicts a suppression of a hard class, a decision that changes nothing says so, once.
//     One by a machine says nothing.
//   - A bounce mail, complaint or wish to be left out that is not believed (trust none) counts within the window of doubtful
//     at most, decides no probation and withdraws no delivery. Such a complaint counts for its tenant, or for bulk mail.
//   - What a mail tells a second time (joined) changes nothing.
//   - In probation only failures that could have caused this record's scope count: a full mailbox is no evidence that the
//     address does not exist.
//   - A failure under an ended hold is late. It is judged as if it had come in time: nothing for accepted recipients,
//     probation for others.
//   - An all-clear must arrive after the failure. A failure that arrives after its own due time waits for the next one.
//   - Success and release set a floor: older failures that arrive later do not count. The record is kept for forget_after.
//
// # Memory
//
// Records, recipients and evidence lie in slabs without pointers; keys and event ids in a byte arena. Recipients that never
// failed cost one slot in the acceptance table. At limits.records the ok record that is nearest to being forgotten gives way;
// when there is none, the new evidence is refused and counted (Stats.Refused): a suppression is never forgotten to make room.
// Limits are part of the policy because they shape the state: they must come from the log.
package recipient
