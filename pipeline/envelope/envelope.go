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
	host     string // last host, so that a batch of one host allocates it once
	scanned  int    // bytes that scanners passed, of the value at hand: a few times its length, whatever it holds
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
		if line = withoutNULs(line); len(line) == 0 {
			continue
		}
		if level < maxLevels {
			switch c := line[0]; {
			case c == '"' && parts == nil:
				if text, ok := r.wholeString(line); ok {
					r.text(text, carrier, parts, level+1)
					continue
				}
			case c-'0' > 9 || len(line) < 30 || line[4] != '-' || line[10] != 'T':
			default:
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

// wholeString reads a line that is a JSON string and nothing else, as OpenTelemetry's encoding "raw" writes it.
func (r *Reader) wholeString(line []byte) ([]byte, bool) {
	s := scanner{b: line, buf: r.buf}
	text, ok := s.text()
	r.scanned += s.passed
	r.keep(&s)
	return text, ok && s.i == len(line) && len(text) > 0
}

// documents reads the JSON document at b[at:], or the elements of the array there, and returns where to go on.
func (r *Reader) documents(b []byte, at int, carrier Line, level int) int {
	if level == 0 {
		r.buf = r.buf[:0]
	}
	s := scanner{b: b, i: at, buf: r.buf}
	defer func() { r.scanned += s.passed }()
	if b[at] == '[' {
		s.i++
		for first := true; ; first = false {
			s.space()
			at = s.i // where it breaks: what was read before is not reported again
			if s.more(']', first) {
				break
			}
			if s.reason == ReasonNone {
				s.space()
				at = s.i
				s.buf = s.buf[:0]
				r.element(&s, carrier, level)
			}
			if s.reason != ReasonNone {
				break
			}
		}
	} else {
		r.element(&s, carrier, level)
	}
	if s.reason == ReasonNone {
		r.keep(&s)
		s.i += blanks(b[s.i:])
		if s.i < len(b) && b[s.i] == ',' { // documents in a row, as cut out of an array
			s.i++
			s.i += blanks(b[s.i:])
		}
		if s.i >= len(b) || b[s.i] == '\n' || opensJSON(b[s.i:]) {
			return s.i
		}
		at, s.reason = s.i, ReasonSyntax
	}
	r.keep(&s)
	broken := at
	if s.reason != ReasonSyntax {
		broken = s.i // up to here it was one document; read again from each of its lines, a deep one takes MaxDepth times as long
	}
	end := resume(b, broken)
	r.fault(s.reason, at, end)
	return end
}

// wholeObject reports whether the line or lines at b[at:] are an object and nothing else: inside a document, what only
// looks like one is the line.
func (r *Reader) wholeObject(b []byte, at int) bool {
	if b[at] != '{' {
		return false
	}
	var f fields
	s := scanner{b: b, i: at, buf: r.buf}
	s.document(&f)
	r.scanned += s.passed
	if s.reason != ReasonNone {
		return false
	}
	s.i += blanks(b[s.i:])
	return s.i >= len(b) || b[s.i] == '\n'
}

// keep takes over the scanner's buffer if it has grown, for its capacity.
func (r *Reader) keep(s *scanner) {
	if cap(s.buf) > cap(r.buf) {
		r.buf = s.buf
	}
}

// element reads one document, or in an array a string, and emits its lines.
func (r *Reader) element(s *scanner, carrier Line, level int) {
	from := s.i
	if s.i < len(s.b) && s.b[s.i] == '"' {
		if text, ok := s.text(); ok {
			r.buf = s.buf
			r.text(text, carrier, nil, level+1)
			s.buf = r.buf
		}
		return
	}
	var f fields
	s.document(&f)
	if s.reason != ReasonNone {
		return
	}
	if f.otlp > 0 && !f.foreign {
		r.export(s, f.otlp, carrier, level)
		return
	}
	r.envelope(s, from, &f, carrier, level)
}

// envelope emits the lines of the document at s.b[from:s.i], whose fields are f.
func (r *Reader) envelope(s *scanner, from int, f *fields, carrier Line, level int) {
	r.buf = s.buf
	defer func() { s.buf = r.buf }()
	message, said := f.message()
	switch {
	case said && !f.foreign:
		l := Line{Host: r.hostName(f.of(slotHost)), Time: f.carried(), Piece: f.piece()}
		if l.Host == "" {
			l.Host = carrier.Host
		}
		if f.tagged() {
			message = r.escaped(bytes.TrimRight(message, "\r\n")) // syslog knows no lines within a message
		}
		r.text(message, l.by(carrier.Time), f, level+1)
	case f.shipper && !f.foreign && level == 0:
		r.fault(ReasonNoMessage, from, s.i)
	default: // no envelope: the document is the line, as an MTA that logs JSON writes it
		carrier.Text, carrier.Format = r.oneLine(s.b[from:s.i]), FormatDocument
		r.emit(carrier)
	}
}

// escaped writes a message with newlines as syslog daemons write it to files: "#012" for LF, "#015" for CR.
func (r *Reader) escaped(message []byte) []byte {
	if bytes.IndexByte(message, '\n') < 0 {
		return message
	}
	from := len(r.buf)
	for _, c := range message {
		switch c {
		case '\n':
			r.buf = append(r.buf, "#012"...)
		case '\r':
			r.buf = append(r.buf, "#015"...)
		default:
			r.buf = append(r.buf, c)
		}
	}
	return r.buf[from:len(r.buf):len(r.buf)]
}

// oneLine puts blanks for newlines.
func (r *Reader) oneLine(doc []byte) []byte {
	if bytes.IndexByte(doc, '\n') < 0 {
		return doc
	}
	from := len(r.buf)
	r.buf = append(r.buf, doc...)
	line := r.buf[from:len(r.buf):len(r.buf)]
	for i, c := range line {
		if c == '\n' || c == '\r' {
			line[i] = ' '
		}
	}
	return line
}

func (r *Reader) hostName(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if string(b) != r.host {
		r.host = string(b)
	}
	return r.host
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

// resume returns the line behind at on which something new begins: one that is no continuation of a document printed
// over several lines.
func resume(b []byte, at int) int {
	for {
		_, at = cut(b, at)
		if at >= len(b) {
			return len(b)
		}
		switch b[at] {
		case ' ', '\t', '\r', '\n', '"', '}', ']', ',':
		default:
			return at
		}
	}
}

// cut returns the line at b[i:], without its end, and where the next begins.
func cut(b []byte, i int) (line []byte, next int) {
	n := bytes.IndexByte(b[i:], '\n')
	if n < 0 {
		return trimCR(b[i:]), len(b)
	}
	return trimCR(b[i : i+n]), i + n + 1
}

// withoutNULs takes off the NUL bytes at both ends of a line.
//
// QUIRK: a log that was cut with copytruncate while its writer did not append begins with as many of them as it had bytes.
func withoutNULs(line []byte) []byte {
	if n := len(line); n > 0 && (line[0] == 0 || line[n-1] == 0) {
		return bytes.Trim(line, "\x00")
	}
	return line
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// blanks counts the blanks at the beginning, and with them the separator of JSON text sequences (RFC 7464, section 2.2).
func blanks(b []byte) int {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == recordSeparator) {
		i++
	}
	return i
}
