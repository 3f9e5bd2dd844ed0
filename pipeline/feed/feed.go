// Package feed reads structured delivery records - accounting files, JSON logs and webhook bodies - as events of the
// same kind that mtalog makes of log lines: PowerMTA accounting CSV (RFC 4180), KumoMTA JSON lines, and the webhooks of
// SparkPost (Momentum), Amazon SES, SendGrid, Mailgun and Postmark, all JSON (RFC 8259).
//
// A Parser needs nothing but the body at hand: each record says all that it ever will. CSV is the exception, since the
// header row at the top of a file names the columns of every later row; it is the fold of one file, and its state can
// be written out and read back. Verify functions check a webhook's signature before it is believed.
//
// The package promises that each record is counted once, as events (one for each recipient), as noise with a name, or
// as a fault with a reason and the record's own text; that a fault in one record costs no other record; that nothing
// is filled in that the record does not say; that all work and memory is bounded by the body; and that every string
// in an event is valid UTF-8. It has no clock, no I/O and no state beyond CSV's.
//
// Whose words? Origin is REMOTE_REPLY where a record quotes the remote server's reply, LOCAL_MTA where PowerMTA or
// KumoMTA speak for themselves, and ESP where an email API does. Only a remote reply gives an smtp_code: codes that a
// sender made up for its own findings stay in the text. Enhanced codes are ENHANCED_REMOTE only if they stand in the
// reply. A phase is given only where the record names it: an API that says "timeout" has neither code nor phase.
package feed

import (
	"strconv"
	"strings"
	"unicode/utf8"

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
	MaxDepth       = 32       // of nested JSON
	MaxRecordBytes = 64 << 10 // of a CSV record

	maxText   = 4 << 10 // of an event's text and raw line, which are cut
	maxString = 1 << 10 // of every other string, which are cut
)

// Config names where a record tells what only the sender knows. The zero value takes what the format itself offers:
// KumoMTA's queue name, SparkPost's subaccount, Postmark's server and stream.
type Config struct {
	// TenantKey and StreamKey name the entry whose value is the event's tenant and stream: a column of PowerMTA
	// ("header_X-Tenant"), meta or headers of KumoMTA, rcpt_meta of SparkPost, tags of SES, unique_args or a top-level
	// field of SendGrid, user-variables of Mailgun, Metadata of Postmark. Empty, or absent from the record: the
	// format's own.
	TenantKey, StreamKey string
}

// Handler takes what a body holds, in its order. Without its functions, a Parser only counts.
type Handler struct {
	// Event is called for each event, with the feed's own id of the record where it has one. Webhooks are sent again
	// when an acknowledgement was lost: the same id and recipient is the same event. The event and its parts belong to
	// Event until it returns and are used again; strings stay valid, and keep the body in memory. Raw is never nil. Empty
	// are the fields that no record knows: event id, source position, recipient key, backfill.
	Event func(ev *schema.DeliveryEvent, id string)
	// Fault is called for each record that was refused. It may keep the error.
	Fault func(err *Error)
}

// Noise names records that are known and say nothing about a delivery. The set is closed, so it may label a metric.
type Noise uint8

// The kinds of noise.
const (
	NoiseAccepted    Noise = iota // taken over from the sender: reception, injection, processed
	NoiseEngagement               // opens and clicks
	NoiseUnsubscribe              // unsubscribed, subscribed again, suppression changed
	NoiseQueue                    // moves within the sending system, or a queue without a recipient
	NoiseStatus                   // a notification that mail was relayed, expanded or delivered
	NoiseInbound                  // mail from outside to the sender
	NoiseNotice                   // answers that are no failures: auto-replies, challenges
	NoiseHandshake                // of the feed itself: subscription of a topic, test pings, header rows
	NoiseNobody                   // a complaint that names no recipient
	NoiseAccount                  // of the sender's account
	NumNoises
)

// String returns the name in lower case.
func (n Noise) String() string {
	return [NumNoises]string{
		"accepted", "engagement", "unsubscribe", "queue", "status", "inbound", "notice", "handshake", "nobody", "account",
	}[n]
}

// Reason says why a record or body was refused. The set is closed, so it may label a metric.
type Reason uint8

// The reasons.
const (
	reasonNone      Reason = iota
	ReasonFormat           // no such format, or a record that is not of it
	ReasonSyntax           // no JSON
	ReasonDepth            // nested deeper than MaxDepth
	ReasonTooLarge         // a body of more than MaxBodyBytes
	ReasonTooMany          // more than MaxRecords, or MaxRecipients
	ReasonType             // an unknown type of record: a new version's, perhaps
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
		"", "format", "syntax", "depth", "too_large", "too_many", "type", "recipient", "time", "header", "columns", "quote", "nul", "too_long",
	}[r]
}

// Error tells what was refused, where and why.
type Error struct {
	Format string
	Reason Reason
	Record int    // number of the record in the body, from 1; 0 if the body itself was refused
	Offset int    // in the body, of the fault in JSON, else of the record; negative if a CSV record began in an earlier body
	Value  string // what was refused, as it came; empty if it is the body
}

// Error does not repeat what was refused: it is private or hostile.
func (e *Error) Error() string {
	b := append([]byte("read "), e.Format...)
	if e.Record > 0 {
		b = strconv.AppendInt(append(b, " record "...), int64(e.Record), 10)
	}
	b = strconv.AppendInt(append(b, " at byte "...), int64(e.Offset), 10)
	return string(b) + ": " + e.Reason.String()
}

// Result counts what a body held. Every record is in Noise, in Faults, or gave events.
type Result struct {
	Records int
	Events  int
	Noise   [NumNoises]int
	Faults  int
}

// Parser reads bodies. It keeps buffers, no state; it is not safe for concurrent use. Make one with New.
type Parser struct {
	cfg Config
	record
}

// New returns a Parser.
func New(cfg Config) *Parser { return &Parser{cfg: cfg} }

// Parse reads one body. A webhook's body is one JSON value, or several one after the other, each a record or an array of
// records. A body that is no JSON is refused as a whole, before anything is emitted, with an *Error. KumoMTA's is read
// line by line, so that a broken line costs only itself. PowerMTA's must begin with its header row; see CSV for
// files that come in pieces. The error is nil, or an *Error about the body; single records go to the handler's Fault.
func (p *Parser) Parse(format string, body []byte, h Handler) (Result, error) {
	if format == PowerMTA {
		c := CSV{p: p}
		return c.piece(body, h, true)
	}
	var read func(*Parser, *reader) Reason
	switch format {
	case KumoMTA:
		read = (*Parser).kumo
	case SparkPost:
		read = (*Parser).sparkPost
	case SES:
		read = (*Parser).ses
	case SendGrid:
		read = (*Parser).sendGrid
	case Mailgun:
		read = (*Parser).mailgun
	case Postmark:
		read = (*Parser).postmark
	default:
		return Result{}, &Error{Format: format, Reason: ReasonFormat}
	}
	if len(body) > MaxBodyBytes {
		return Result{}, &Error{Format: format, Reason: ReasonTooLarge, Offset: MaxBodyBytes}
	}
	p.begin(format, h)
	r := newReader(string(body))
	if format == KumoMTA && r.kind() != '[' {
		return p.lines(&r)
	}
	if check := r; !check.valid() {
		return Result{}, &Error{Format: format, Reason: check.why, Offset: check.i}
	}
	for r.kind() != 0 {
		if r.kind() != '[' {
			if !p.one(&r, read) {
				return p.tooMany()
			}
			continue
		}
		for ok := r.array(); ok; ok = r.next() {
			if !p.one(&r, read) {
				return p.tooMany()
			}
		}
	}
	return p.res, nil
}

// tooMany ends a body at its bound. What was read before has been emitted.
func (p *Parser) tooMany() (Result, error) {
	return p.res, &Error{Format: p.format, Reason: ReasonTooMany, Record: p.res.Records + 1, Offset: p.from}
}

// one reads the record that comes next in a valid body; false if it is one too many.
func (p *Parser) one(r *reader, read func(*Parser, *reader) Reason) bool {
	r.kind()
	p.from = r.i
	if p.res.Records == MaxRecords {
		return false
	}
	p.res.Records++
	if why := read(p, r); why != reasonNone {
		if r.i == p.from {
			r.skip()
		}
		p.fault(why, p.from, r.s[p.from:r.i])
	}
	return true
}

// record is what a Parser holds of the body and the record at hand.
type record struct {
	format string
	h      Handler
	res    Result
	from   int // where the record begins in the body

	recipients []recipient
	kumoRecord kumoRecord

	ev    schema.DeliveryEvent
	raw   schema.RawPosition
	cause schema.Cause
}

// recipient is one of a record's recipients, with its own answer where the format has that.
type recipient struct{ address, status, diagnostic string }

func (p *Parser) begin(format string, h Handler) {
	p.format, p.h, p.res, p.from = format, h, Result{}, 0
}

func (p *Parser) noise(n Noise) Reason {
	p.res.Noise[n]++
	return reasonNone
}

func (p *Parser) fault(why Reason, offset int, value string) {
	p.res.Faults++
	if p.h.Fault != nil {
		p.h.Fault(&Error{Format: p.format, Reason: why, Record: p.res.Records, Offset: offset, Value: value})
	}
}

// newEvent returns the reused event, empty but for what all events of the format have in common.
func (p *Parser) newEvent() *schema.DeliveryEvent {
	p.ev.Reset()
	p.raw.Reset()
	p.ev.Mta, p.ev.Raw = p.format, &p.raw
	return &p.ev
}

// send completes an event and hands it over. text is the record as it came, kept as evidence of failures.
func (p *Parser) send(ev *schema.DeliveryEvent, address, text, id string) {
	ev.Recipient = cut(address, maxString)
	ev.Domain = domainOf(ev.Recipient)
	if ev.Outcome != schema.Outcome_DELIVERED {
		p.raw.Line = evidence(text)
	}
	p.res.Events++
	if p.h.Event != nil {
		p.h.Event(ev, id)
	}
}

// evidence bounds a record and mends what is no UTF-8.
func evidence(text string) string {
	text = cut(text, maxText)
	if !utf8.ValidString(text) {
		text = cut(strings.ToValidUTF8(text, "\uFFFD"), maxText)
	}
	return text
}

// cut bounds a string at a rune's begin.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
