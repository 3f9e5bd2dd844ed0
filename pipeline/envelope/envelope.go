// Package envelope takes the value of a Kafka record apart into the log lines a shipper put in it. It tells the wrapping
// from the content alone, because a topic may be fed by several shippers at once and headers are seldom set:
//
//   - plain lines, one or many, ended by LF or CR LF or by nothing;
//   - lines with the prefix of a container runtime (Kubernetes CRI logging), partial lines put together, and with that
//     of Logstash's plain codec;
//   - JSON documents: one, several behind each other or on lines of their own (NDJSON), in an array, or each behind a
//     record separator (RFC 7464). A document is read by the names of its fields (see fields.go), so the mixtures that
//     pipelines of shippers make are read too: Vector, Fluent Bit, Filebeat, Logstash, rsyslog templates, syslog-ng, the
//     journal's export, Docker's json-file, GELF. OpenTelemetry's OTLP/JSON is the one with a structure of its own;
//   - lines written as JSON strings;
//   - any of these compressed with gzip (RFC 1952) or Zstandard (RFC 8878).
//
// Where a shipper has taken the syslog header off and sends its parts as fields, the line is put together again:
// "STAMP HOST TAG[PID]: MESSAGE". Where the message of a document is itself a wrapped line, it is unwrapped, up to
// maxLevels deep. A JSON document that no shipper made - an MTA's own log, a webhook's body - is a line as it is, and
// marked (FormatDocument).
//
// It promises that the lines are a function of the value; that every line and every message ends up emitted or in the
// error; that time is linear in the value, inflated; that no line is empty or holds a newline; and that plain lines cost
// no allocation. It does not read log lines (mtalog does), does not decode msgpack, Avro or protobuf, and keeps nothing
// from one value to the next: a line that a runtime cut in two is joined only inside one value, and its pieces are marked
// (Line.Piece) where the value says so. A document's other fields are dropped.
package envelope

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The bounds. A broker takes messages of 1 MiB by default (message.max.bytes).
const (
	MaxValueBytes    = 16 << 20 // a value, after inflation
	MaxDocumentBytes = 1 << 20  // one JSON document; the elements of an array count singly
	MaxDepth         = 16       // nesting of a JSON document
	maxLevels        = 3        // wrappings inside each other
	maxKeptBytes     = 2 << 20  // buffer kept between values
)

// The formats of lines.
const (
	// FormatSyslog marks a line that this package put together from fields: it has a syslog header, whatever the program.
	FormatSyslog = "syslog"
	// FormatDocument marks a JSON document that is no shipper's envelope: the log of an MTA that writes JSON, the body of
	// a webhook. No log line; other readers may know it (pipeline/feed).
	FormatDocument = "document"
)

// Line is one line of a log and what its carrier says about it.
type Line struct {
	// Text is never empty and holds no newline. It is a view into the value or into a buffer of the Reader, is valid
	// until emit returns, and must not be changed.
	Text   []byte
	Host   string    // where the line was written, by the carrier; empty if it does not say
	Time   time.Time // when it was read or received, else written, by the carrier, in UTC; zero if it does not say
	Format string    // FormatSyslog, FormatDocument, or empty: as the program wrote it
	Piece  bool      // the carrier says that the line goes on, and the rest is not in this value
}

// Reason says why bytes could not be read. The set is closed, so it may label a metric.
type Reason uint8

// The reasons. The zero value is none.
const (
	ReasonNone        Reason = iota
	ReasonSyntax             // begins like a JSON document and is none, or is cut
	ReasonDepth              // a document nested deeper than MaxDepth
	ReasonTooLong            // a document above MaxDocumentBytes, or a value above MaxValueBytes
	ReasonNoMessage          // a shipper's document without a message
	ReasonCompression        // gzip or Zstandard that is damaged or cut, or another compression
	ReasonMsgpack            // msgpack; Fluent Bit: set "format json"
	ReasonBinary             // no text: Avro or protobuf behind a schema registry's header, or OTLP as protobuf
	ReasonEncoding           // UTF-16 or UTF-32
	numReasons
)

// String returns the reason in a few lower-case words joined by underscores, empty for ReasonNone.
func (r Reason) String() string {
	return [numReasons]string{
		"", "json_syntax", "json_depth", "too_long", "no_message", "compression", "msgpack", "binary", "encoding",
	}[r]
}

// Error tells what of a value was not read. What could be read has been emitted.
type Error struct {
	Reason Reason // of the first part
	Offset int    // of the first part, in the value after inflation
	Parts  int    // how many
	// Rest holds the parts as they came, joined by newlines: submitted again it gives what was missing and nothing twice.
	// It is valid until the next call of Lines, and is the value itself where none of it was read.
	Rest []byte
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("read shipper's envelope: %s at byte %d (%d parts, %d bytes)", e.Reason, e.Offset, e.Parts, len(e.Rest))
}

// Reader reads values. The zero value is ready. It holds buffers and no state: a value gives the same lines whatever was
// read before it. It is not safe for concurrent use.
type Reader struct {
	value    []byte // the text at hand, after inflation
	emit     func(Line)
	buf      []byte // unescaped strings and lines put together, of the document at hand
	rest     []byte
	err      Error
	hosts    [2]string // the last two hosts, so that a batch of one host, carried by another, allocates them once
	scanned  int       // bytes that scanners passed, of the value at hand: a few times its length, whatever it holds
	inflated []byte
	source   bytes.Reader
	gzip     *gzip.Reader
	zstd     *zstd.Decoder
}

// Lines emits the lines of a value in order. The error is an *Error, or nil.
func (r *Reader) Lines(value []byte, emit func(Line)) error {
	r.err, r.rest = Error{}, r.rest[:0]
	text, reason := r.open(value)
	if reason != ReasonNone {
		return &Error{Reason: reason, Parts: 1, Rest: value}
	}
	r.value, r.emit, r.scanned = text, emit, 0
	r.text(text, Line{}, nil, 0)
	r.value, r.emit = nil, nil
	r.trim()
	if r.err.Parts == 0 {
		return nil
	}
	e := r.err
	e.Rest = r.rest
	return &e
}

// trim lets go of what an unusually large value left behind.
func (r *Reader) trim() {
	if cap(r.buf) > maxKeptBytes {
		r.buf = nil
	}
	if cap(r.inflated) > maxKeptBytes {
		r.inflated = nil
	}
}

// text emits the lines of b. carrier is what the wrapping around b says, and parts are the fields of the document whose
// message b is. At level 0, b is the value: what cannot be read is reported. Deeper it is left as it is.
func (r *Reader) text(b []byte, carrier Line, parts *fields, level int) {
	var joined partials
	for i := 0; i < len(b); {
		line, next := cut(b, i)
		if at := i + blanks(line); at < i+len(line) && level < maxLevels && opensJSON(b[at:]) && !ownRecord(b[at:]) &&
			(level == 0 || r.wholeObject(b, at)) {
			i = r.documents(b, at, carrier, level)
			continue
		}
		i = next
		if line = withoutHoles(line); len(line) == 0 {
			continue
		}
		if level < maxLevels {
			switch {
			case line[0] == '"' && parts == nil:
				if text, ok := r.wholeString(line); ok {
					r.text(text, carrier, parts, level+1)
					continue
				}
			case isoStamped(line):
				if l, ok := readCRI(line); ok {
					if l = joined.add(l); !l.partial && len(l.text) > 0 {
						r.text(l.text, carrier.by(l.at), parts, level+1)
					}
					continue
				}
				if l, ok := readStacked(line); ok {
					if carrier.Host == "" {
						carrier.Host = r.hostName(l.host)
					}
					r.text(l.text, carrier.by(l.at), parts, level+1)
					continue
				}
			}
		}
		r.line(line, carrier, parts)
	}
	carrier.Piece = true
	for _, l := range joined.left() {
		r.text(l.text, carrier.by(l.at), parts, level+1)
	}
}

// ownRecord tells a mail server's own line that is JSON from a shipper's document: Haraka's (log.ini, format=json) has a
// message, too, but what it is about stands beside it.
func ownRecord(b []byte) bool {
	head := b[:min(len(b), 200)]
	return bytes.HasPrefix(head, []byte(`{"level":"`)) && bytes.Contains(head, []byte(`","uuid":"`)) && bytes.Contains(head, []byte(`","origin":"`))
}

// line emits one line, with a header if its document has one for it.
func (r *Reader) line(text []byte, l Line, parts *fields) {
	l.Text = text
	if parts != nil && parts.tagged() && !framed(text) {
		l.Text, l.Format = r.putTogether(parts, text), FormatSyslog
	}
	r.emit(l)
}

func (l Line) by(at time.Time) Line {
	if l.Time.IsZero() {
		l.Time = at
	}
	return l
}

// fault reports r.value[from:to].
func (r *Reader) fault(reason Reason, from, to int) {
	part := bytes.TrimRight(r.value[from:to], "\r\n")
	if r.err.Parts == 0 {
		r.err.Reason, r.err.Offset = reason, from
	} else {
		r.rest = append(r.rest, '\n')
	}
	r.rest = append(r.rest, part...)
	r.err.Parts++
}
