package feed

import (
	"strings"
	"unicode/utf8"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// Parser reads bodies. It keeps buffers, and what SetSite, SetFeed and SetHost told it, but no state; it is not safe for
// concurrent use. Make one with New.
type Parser struct {
	site  *site.Site
	feed  string
	host  string
	wants wants
	record
}

// New returns a Parser that knows nothing but what records say.
func New() *Parser { return &Parser{} }

// SetSite tells what only the sender knows, for every body from now on: labels by what records say, and source addresses.
// nil, the default, knows nothing: then tenant, stream and campaign are what the format itself offers.
func (p *Parser) SetSite(s *site.Site) { p.site, p.wants = s, wantsOf(s) }

// SetFeed names the feed by which the bodies from now on came, empty for none. It becomes the events' feed.
func (p *Parser) SetFeed(name string) { p.feed = cut(strings.ToValidUTF8(name, "\uFFFD"), maxString) }

// SetHost names the host whose file the bodies from now on come from, as a log shipper says it; empty where nobody does. It
// becomes the events' mta_host, and then counts more than the id that a KumoMTA node has made up for itself.
func (p *Parser) SetHost(host string) { p.host = cut(strings.ToValidUTF8(host, "\uFFFD"), maxString) }

// bomLen is the length of the byte order mark that some editors put in front of UTF-8. RFC 8259, section 8.1, lets readers
// ignore it.
func bomLen(s string) int {
	if strings.HasPrefix(s, "\xEF\xBB\xBF") {
		return 3
	}
	return 0
}

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
	r.i = bomLen(r.s)
	if format == KumoMTA && r.kind() != '[' {
		return p.lines(&r)
	}
	if check := r; !check.valid() {
		why := check.why
		if wide(r.s) {
			why = ReasonEncoding
		}
		return Result{}, &Error{Format: format, Reason: why, Offset: check.i}
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

// wide reports a text that begins as UTF-16 or UTF-32 do: with their byte order mark, or with ASCII, of which they make NUL
// bytes and others by turns (RFC 4627, section 3).
func wide(s string) bool {
	if strings.HasPrefix(s, "\xFE\xFF") || strings.HasPrefix(s, "\xFF\xFE") {
		return true
	}
	if len(s) < 4 {
		return false
	}
	a, b, c, d := s[0], s[1], s[2], s[3]
	return (a == 0 && c == 0 && d != 0) || (a != 0 && b == 0 && d == 0)
}

// tooMany ends a body at its bound. What was read before has been emitted.
func (p *Parser) tooMany() (Result, error) {
	return p.res, &Error{Format: p.format, Reason: ReasonTooMany, Record: p.res.Records + 1, Offset: p.from}
}

// one reads the record that comes next in a valid body; false if it is one too many.
func (p *Parser) one(r *reader, read func(*Parser, *reader) Reason) bool {
	r.kind()
	p.from = r.i
	if !p.next() {
		return false
	}
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

	recipients   []recipient
	destinations []recipient // of SES: of the message, while recipients are those whom the event is about
	fields       []string    // of a CSV row
	unknown      string      // name of its type, if that is not known

	unsent bool // the site's source address says nothing: never sent, or told of a message sent before

	facts    []site.Fact
	labels   site.Labels
	labelled bool // labels are those of the record

	ev    schema.DeliveryEvent
	raw   schema.RawPosition
	cause schema.Cause
}

// recipient is one of a record's recipients, with its own answer where the format has that.
type recipient struct{ address, status, diagnostic string }

func (p *Parser) begin(format string, h Handler) {
	p.format, p.h, p.res, p.from = format, h, Result{}, 0
}

// next counts one more record and forgets the last; false if it is one too many.
func (p *Parser) next() bool {
	if p.res.Records == MaxRecords {
		return false
	}
	p.res.Records++
	p.facts, p.labelled = p.facts[:0], false
	return true
}

func (p *Parser) noise(n Noise) Reason {
	p.res.Noise[n]++
	return reasonNone
}

// unknownType refuses a record by what it calls itself.
func (p *Parser) unknownType(name string) Reason {
	p.unknown = cut(name, maxType)
	return ReasonType
}

func (p *Parser) fault(why Reason, offset int, value string) {
	p.res.Faults++
	if p.h.Fault == nil {
		return
	}
	err := &Error{Format: p.format, Reason: why, Record: p.res.Records, Offset: offset, Value: value}
	if why == ReasonType {
		err.Type = p.unknown
	}
	p.h.Fault(err)
}

// newEvent returns the reused event, empty but for what all events of the format have in common.
func (p *Parser) newEvent() *schema.DeliveryEvent {
	p.ev.Reset()
	p.raw.Reset()
	p.unsent = false
	p.ev.Mta, p.ev.MtaHost, p.ev.Feed, p.ev.Raw = p.format, p.host, p.feed, &p.raw
	return &p.ev
}

// send completes an event and hands it over. text is the record as it came, kept as evidence of failures, complaints and
// unsubscriptions.
func (p *Parser) send(ev *schema.DeliveryEvent, address, text string) {
	ev.Recipient = cut(address, maxString)
	ev.Domain = domainOf(ev.Recipient)
	p.complete(ev)
	switch ev.Outcome {
	case schema.Outcome_DELIVERED, schema.Outcome_OPENED, schema.Outcome_CLICKED:
	default:
		p.raw.Line = evidence(text)
	}
	p.res.Events++
	if p.h.Event != nil {
		p.h.Event(ev)
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
