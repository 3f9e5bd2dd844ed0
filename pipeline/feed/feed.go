// Package feed reads structured delivery records - accounting files, JSON logs and webhook bodies - as events of the
// same kind that mtalog makes of log lines: PowerMTA accounting CSV (RFC 4180), KumoMTA JSON lines, and the webhooks of
// SparkPost (Momentum), Amazon SES, SendGrid, Mailgun and Postmark, all JSON (RFC 8259).
//
// A Parser needs nothing but the body at hand: each record says all that it ever will. There are two exceptions, both
// folds whose state is bounded and can be written out and read back. The header row at the top of a PowerMTA file names the
// columns of every later row: CSV reads one such file in pieces, Files those of many hosts. And KumoMTA's expiry does not
// say why the attempts before it failed: Memory does. Verify functions check a webhook's signature before it is believed.
//
// The package promises that each record is counted once, as events (one for each recipient), as noise with a name, or
// as a fault with a reason and the record's own text; that a fault in one record costs no other record; that nothing
// is filled in that neither the record nor the site file says; that all work and memory is bounded by the body; and that
// every string in an event is valid UTF-8. It has no clock and no I/O.
//
// # Outcomes
//
// DELIVERED, DEFERRED, BOUNCED, EXPIRED and SUSPENDED are what the sending system did, ASYNC_BOUNCE and DELAYED what came
// back by mail, COMPLAINT a feedback report (RFC 5965), OPENED, CLICKED and UNSUBSCRIBED what became of the message at its
// recipient. Final says that nothing more will be tried for this message and recipient: false for DEFERRED, DELAYED and
// SUSPENDED, true for all others. Attempt is 1 for the first attempt, where the record counts them: KumoMTA, SparkPost,
// SendGrid and Mailgun do; reports, complaints and engagement have none. A message that the sending system refused to try
// (its own suppression list, a rejected content) is BOUNCED with origin ESP, without a source address.
//
// Engagement and complaints have no code, phase, origin or remote host; no field holds the reader's own address.
// Machine marks an open or click of which the feed, or the user agent, says that no person made it; false means that
// nobody said so. docs/formats has a page for each feed.
//
// Whose words? Origin is REMOTE_REPLY where a record quotes the remote server's reply, LOCAL_MTA where PowerMTA or
// KumoMTA speak for themselves, and ESP where an email API does. Only a remote reply gives an smtp_code: codes that a
// sender made up for its own findings stay in the text. Enhanced codes are ENHANCED_REMOTE only if they stand in the
// reply. A phase is given only where the record names it: an API that says "timeout" has neither code nor phase.
package feed

import (
	"strconv"
	"strings"

	"carom.dev/carom/schema"
)

// The formats, which are also the events' mta.
const (
	PowerMTA  = "powermta"
	KumoMTA   = "kumomta"
	SparkPost = "sparkpost"
	SES       = "ses"
	SendGrid  = "sendgrid"
	Mailgun   = "mailgun"
	Postmark  = "postmark"
)

// Formats returns the names that Parse takes, in alphabetical order.
func Formats() []string { return schema.FeedFormats() }

// The bounds. What lies beyond is refused with a reason, or cut where that is said.
const (
	MaxBodyBytes   = 10 << 20 // of a body
	MaxRecords     = 1 << 18  // in a body
	MaxRecipients  = 10_000   // in a record
	MaxRecordBytes = 64 << 10 // of a CSV record

	maxText   = 4 << 10 // of an event's text and raw line, which are cut
	maxString = 1 << 10 // of every other string, which are cut
	maxType   = 64      // of an unknown type's name, which is cut
	maxNumber = 64      // of a number, or a time, as it is written; what is cut is none any more, or has lost digits of no use
)

// Handler takes what a body holds, in its order. Without its functions, a Parser only counts.
type Handler struct {
	// Event is called for each event. Webhooks are sent again when an acknowledgement was lost: what agrees in feed,
	// feed_event_id, recipient and outcome is the same event. Without a feed_event_id (PowerMTA has none) nothing can be
	// said. The event and its parts belong to Event until it returns and are used again; strings stay valid, and keep the
	// body in memory. Raw is never nil; its line is empty for deliveries, opens and clicks. Empty are the fields that no
	// record knows: event id, source position, recipient key, backfill, trust.
	Event func(ev *schema.DeliveryEvent)
	// Fault is called for each record that was refused. It may keep the error.
	Fault func(err *Error)
}

// Noise names records that are known and say nothing about a delivery. The set is closed, so it may label a metric.
type Noise uint8

// The kinds of noise.
const (
	NoiseAccepted     Noise = iota // taken over from the sender: reception, injection, processed
	NoiseSubscription              // subscribed again, or a suppression that no recipient asked for
	NoiseQueue                     // moves within the sending system, or a queue without a recipient
	NoiseStatus                    // a notification that mail was relayed, expanded or delivered
	NoiseInbound                   // mail from outside to the sender
	NoiseNotice                    // answers that are no failures: auto-replies, challenges, "not spam"
	NoiseHandshake                 // of the feed itself: subscription of a topic, test pings, header rows
	NoiseNobody                    // complaint or engagement that does not say whose
	NoiseAccount                   // of the sender's account
	NumNoises
)

// String returns the name in lower case.
func (n Noise) String() string {
	return [NumNoises]string{
		"accepted", "subscription", "queue", "status", "inbound", "notice", "handshake", "nobody", "account",
	}[n]
}

// Reason says why a record or body was refused. The set is closed, so it may label a metric.
type Reason uint8

// The reasons.
const (
	reasonNone      Reason = iota
	ReasonFormat           // no such format, or a record that is not of it
	ReasonEncoding         // UTF-16 or UTF-32 (RFC 8259, section 8.1, wants UTF-8)
	ReasonSyntax           // no JSON
	ReasonTooLarge         // a body of more than MaxBodyBytes
	ReasonTooMany          // more than MaxRecords, or MaxRecipients
	ReasonType             // an unknown type of record: a new version's, perhaps; Error.Type names it
	ReasonRecipient        // names no recipient
	ReasonTime             // no time, or none that can be read
	ReasonHeader           // a CSV row before any header, or a header that cannot be
	ReasonColumns          // a CSV row with more or fewer fields than its header
	ReasonQuote            // CSV: a quoted field that goes on behind its quote, or never ends
	ReasonNUL              // CSV: a NUL byte
	ReasonTooLong          // a CSV record longer than MaxRecordBytes
	NumReasons
)

// String returns the reason in a few lower-case words joined by underscores.
func (r Reason) String() string {
	return [NumReasons]string{
		"", "format", "encoding", "syntax", "too_large", "too_many", "type", "recipient", "time", "header", "columns", "quote", "nul", "too_long",
	}[r]
}

// Error tells what was refused, where and why.
type Error struct {
	Format string
	Reason Reason
	Record int    // number of the record in the body, from 1; 0 if the body itself was refused
	Offset int    // in the body, of the fault in JSON, else of the record; negative if a CSV record began in an earlier body
	Type   string // with ReasonType: what the record calls itself, cut
	Value  string // what was refused, as it came; empty if it is the body
}

// Error does not repeat what was refused, which is private or hostile, but for the name of a type that looks like one.
func (e *Error) Error() string {
	b := append([]byte("read "), e.Format...)
	if e.Record > 0 {
		b = strconv.AppendInt(append(b, " record "...), int64(e.Record), 10)
	}
	b = strconv.AppendInt(append(b, " at byte "...), int64(e.Offset), 10)
	b = append(append(b, ": "...), e.Reason.String()...)
	if e.Type != "" && strings.Trim(e.Type, typeLetters) == "" {
		b = append(append(b, ' '), e.Type...)
	}
	return string(b)
}

// typeLetters are what names of types are made of.
const typeLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-/ "

// Result counts what a body held. Every record is in Noise, in Faults, or gave events.
type Result struct {
	Records int
	Events  int
	Noise   [NumNoises]int
	Faults  int
}

func (r *Result) add(o Result) {
	r.Records += o.Records
	r.Events += o.Events
	r.Faults += o.Faults
	for n, count := range o.Noise {
		r.Noise[n] += count
	}
}
