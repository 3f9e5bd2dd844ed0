package dsn

import (
	"time"

	"carom.dev/carom/schema"
)

// Kind is what a mail is. The names are stable: they are written to JSON.
type Kind string

const (
	// Failure: at least one recipient is given up.
	Failure Kind = "failure"
	// Delay: the message is still being tried.
	Delay Kind = "delay"
	// Relay: handed to a server that makes no reports. RFC 3464, section 2.3.3.
	Relay Kind = "relay"
	// Delivered: a report of success.
	Delivered Kind = "delivered"
	// Expanded: delivered to a list that was expanded.
	Expanded Kind = "expanded"
	// Complaint: a feedback report of abuse, fraud, virus or other. RFC 5965.
	Complaint Kind = "complaint"
	// AuthFailure: a feedback report of failed authentication, no complaint. RFC 6591.
	AuthFailure Kind = "auth_failure"
	// NotSpam: a feedback report that takes a complaint back. RFC 6430.
	NotSpam Kind = "not_spam"
	// Unsubscribe: a person asks to be taken off, by a feedback report of type opt-out or by mail.
	Unsubscribe Kind = "unsubscribe"
	// Disposition: a notification of what happened after delivery, such as a receipt. RFC 8098.
	Disposition Kind = "disposition"
	// AutoReply: an out-of-office note or another automatic answer. RFC 3834.
	AutoReply Kind = "auto_reply"
	// Challenge: an answer that asks the sender to confirm that it is a person.
	Challenge Kind = "challenge"
	// AggregateReport: statistics about many messages, DMARC (RFC 7489, section 7.2) or TLS (RFC 8460); it speaks of no recipient.
	AggregateReport Kind = "aggregate_report"
	// Ordinary: none of these.
	Ordinary Kind = "ordinary"
)

// Report is what a mail says. Fields that it does not tell are zero.
type Report struct {
	Kind Kind
	// Format names what the report was read from: "rfc3464", "arf", "qsbmf", "exim", "sendmail", "postfix", "gmail",
	// "exchange", "domino", "opensmtpd", "dma", "text" ...; empty for an ordinary mail.
	Format string
	// MessageID is the report's own, with its angle brackets.
	MessageID string
	// Date is the report's own.
	Date time.Time
	// Subject is the report's own, decoded.
	Subject string
	// ReturnPath is the address that this mail came back to, its own envelope recipient, as the receiving server noted it in
	// X-Original-To, Delivered-To, Envelope-To or X-Envelope-To; else the first address of To. Reports go to the return path of the
	// message (RFC 5321, section 4.5.5), so a sender finds its own mark here. Anybody can write these fields: only a mark that cannot
	// be guessed proves anything.
	ReturnPath string
	// ReportingMTA is the host that made the report, never the one that refused the message; that is Recipient.RemoteMTA.
	ReportingMTA string
	// ArrivalDate is when the message came to the reporting server.
	ArrivalDate time.Time

	// HasOriginal tells that the mail returns the message it reports, or its header, or the beginning of it.
	HasOriginal bool
	// OriginalMessageID is the Message-ID of the message that is reported, with its angle brackets: of the returned header, or else
	// as the report names it (X-Original-Message-ID, Original-Message-ID, In-Reply-To).
	OriginalMessageID string
	// OriginalEnvelopeID is the ENVID that the sender gave, as the report has it. RFC 3461, section 4.4.
	OriginalEnvelopeID string
	// OriginalSender is the envelope sender of the message that is reported.
	OriginalSender string
	// OriginalFrom is the first address of the returned From field.
	OriginalFrom string
	// OriginalDKIMDomains are the signing domains (d=, RFC 6376, section 3.5) that the returned header names, in lower case, each
	// once, at most 10. No signature was checked.
	OriginalDKIMDomains []string
	// OriginalSubject is the subject of the message that is reported, decoded.
	OriginalSubject string
	// QueueID is the reporting server's name for the message that is reported.
	QueueID string

	// Recipients are in the order of the report.
	Recipients []Recipient
	// Feedback is set for feedback reports only.
	Feedback *Feedback
	// Cut tells which limits shortened what was read; empty for a mail that was read to its end.
	Cut []*LimitError

	original  header // a copy; see OriginalHeader
	textBytes int
}

// maxValues bounds what OriginalHeader returns.
const maxValues = 20

// OriginalHeader returns the values of the returned message's fields of that name, whose case does not matter, in the order of the
// header: unfolded, encoded words undone, each at most Limits.TextBytes long, at most the first 20. Nil where nothing was returned or no field
// has the name. It is where a sender finds its own marks again: tenant, stream, campaign, List-Id, Feedback-ID.
func (r *Report) OriginalHeader(name string) []string {
	var values []string
	for value := range r.original.values(name) {
		if values = append(values, clip(decodeHeader(unfold(value)), r.textBytes)); len(values) == maxValues {
			break
		}
	}
	return values
}

// Recipient is what became of one recipient.
type Recipient struct {
	// Recipient is the final address, the one that failed.
	Recipient string
	// Original is the address that was mailed, where it is known and another: the recipient before an alias or a
	// forwarding. Evidence belongs to this one.
	Original string
	// Action is failed, delayed, delivered, relayed or expanded (RFC 3464, section 2.3.3); for a report without fields, what
	// its words say.
	Action string
	// Status is the enhanced status code: the reply's, or else the report's own.
	Status string
	// ReportedStatus is the report's own code where Status is another: what the reporting server made of the reply, such as 4.4.7 for
	// a message that was given up after the remote server had said 4.2.2.
	ReportedStatus string
	// StatusSource is ENHANCED_REMOTE where the reply holds Status, ENHANCED_MTA where the reporting server made it up.
	StatusSource schema.EnhancedSource
	// SMTPCode is the reply's basic code, 0 without one. With Origin LOCAL_MTA the reporting server made it up.
	SMTPCode int
	// Diagnostic is the reply as the remote server gave it, its lines joined by blanks, or the reporting server's own finding.
	Diagnostic string
	// DiagnosticType is "smtp", "x-postfix", "x-unix" ..., in lower case; empty where the words come from the text.
	DiagnosticType string
	// RemoteMTA is the host that answered, or that could not be reached.
	RemoteMTA string
	// LastAttempt is when delivery was last tried.
	LastAttempt time.Time
	// WillRetryUntil is how long a delayed message is tried.
	WillRetryUntil time.Time
	// Phase is the step of the SMTP dialogue that failed, where the words tell it.
	Phase schema.Phase
	// Origin is REMOTE_REPLY for the answer of a remote server, LOCAL_MTA for the reporting server's own finding, ASYNC_DSN
	// where it does not say.
	Origin schema.Origin
}

// Mailed is the address that was mailed: Original, or Recipient where that is empty.
func (r *Recipient) Mailed() string {
	if r.Original != "" {
		return r.Original
	}
	return r.Recipient
}

// Feedback is the machine-readable part of a feedback report. RFC 5965, section 3.
type Feedback struct {
	Type           string // abuse, fraud, virus, other, not-spam, auth-failure, opt-out; lower case
	UserAgent      string // the program that made the report
	SourceIP       string // where the message was received from
	ReportedDomain string
	FeedbackID     string // the returned message's own Feedback-ID header
	ListID         string // the returned message's own List-Id header
	Redacted       bool   // the reporter hid the recipient; one that was found all the same came from the sender's own headers
}
