package survey

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"carom.dev/carom/pipeline/envelope"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/source"
	"carom.dev/carom/schema"
)

// ErrUnrecognized is wrapped by the error of Log.Read for an input in which nothing is a known mail server's or feed's.
var ErrUnrecognized = errors.New("no line of a known mail server found")

// Source is where lines, records or a mail come from.
type Source struct {
	Name      string         // name of the file; part of the event ids
	Host      string         // the host, for lines that name none
	Reference time.Time      // when the log was current: gives stamps without a year theirs; see mtalog.Input
	Location  *time.Location // zone of stamps without one; nil is the site's, else UTC
	Format    string         // one of source.Formats; empty or "auto": the input tells
	Any       bool           // read the input even if nothing of it is known
}

// EndOfYear returns the Reference by which stamps without a year are of that year, all of them: a log that crosses the
// turn of the year wants the Reference of its end instead.
func EndOfYear(year int, loc *time.Location) time.Time {
	if loc == nil {
		loc = time.UTC
	}
	return time.Date(year+1, time.January, 1, 0, 0, 0, 0, loc).Add(-yearSlack - time.Second)
}

// yearSlack is how far behind its Reference mtalog lets a stamp without a year lie.
const yearSlack = 25 * time.Hour

const (
	readBufferBytes = 1 << 20
	detectBytes     = 64 << 10 // by which a file tells what it is
	auto            = "auto"
	// headerlessLines is how many lines without a syslog header are read before a file is given up as no log at all.
	headerlessLines = 10_000
	checkLines      = 1 << 12 // lines between two looks at the context

	backfillUs = 10 * 60 * 1_000_000 // an event so much older than its host's clock is backfill
	maxHosts   = 1 << 14
)

// Log reads files, one after the other, into events: logs, plain or as shippers wrap their lines, accounting records, bodies
// of webhooks, mails. Messages are followed from one file into the next, so files are to be read oldest first. It is not
// safe for concurrent use; make one with NewLog.
type Log struct {
	source *source.Reader
	wrap   envelope.Reader
	counts counts
	clocks map[string]int64 // latest event time by host
	feeds  feeds
	id     []byte

	// Of the file at hand.
	from       Source
	emit       func(*schema.DeliveryEvent) error
	failed     error // of emit
	offset     int64 // number of the line, from 0
	index      uint32
	recognized bool
	headed     bool // a line had a stamp
	first      string
}

// NewLog returns a Log that has read nothing. The site may be nil.
func NewLog(s *site.Site, keys site.Keys) *Log {
	cfg := source.DefaultConfig()
	cfg.Keys = keys
	l := &Log{source: source.New(cfg), counts: newCounts(), clocks: map[string]int64{}, feeds: feeds{}}
	l.source.SetSite(s)
	return l
}

// Read reads r to its end and hands every event to emit. The event is emit's until it returns; its strings stay valid.
// Events are complete but for the recipient key: raw is the source's name and the line's number from 0 (of a body or a
// mail 0), event_id is made of those alone, and backfill says that the event is more than ten minutes older than the
// latest of its host.
//
// Read ends early on an error of r or emit, or when ctx ends. Unless src.Any is set, an input without any line of
// a known mail server is an error that wraps ErrUnrecognized. What is not understood is counted and is no error.
func (l *Log) Read(ctx context.Context, r io.Reader, src Source, emit func(*schema.DeliveryEvent) error) error {
	src.Name = strings.ToValidUTF8(src.Name, "\uFFFD")
	l.from, l.emit, l.failed = src, emit, nil
	l.offset, l.index, l.recognized, l.headed, l.first = 0, 0, false, false, ""
	if l.from.Location == nil {
		l.from.Location = l.source.Site().Location(src.Host)
	}
	b := bufio.NewReaderSize(r, readBufferBytes)
	err := l.read(ctx, b)
	switch {
	case l.failed != nil:
		return l.failed
	case err != nil:
		return err
	case l.recognized || src.Any:
		return nil
	case l.offset == 0:
		return fmt.Errorf("%s: %w: it is empty", src.Name, ErrUnrecognized)
	}
	return fmt.Errorf("%s: %w in %d lines; it begins with %q", src.Name, ErrUnrecognized, l.offset, l.first)
}

func (l *Log) read(ctx context.Context, b *bufio.Reader) error {
	// What is there at once has to tell: more may take its time. Peek's error is met again by whoever reads on.
	_, _ = b.Peek(1)
	head, _ := b.Peek(min(b.Buffered(), detectBytes))
	format := l.from.Format
	if format == "" || format == auto {
		format, _ = source.Detect(head)
	}
	switch {
	case format == source.FormatMail:
		return l.mail(b)
	case slices.Contains(feed.Formats(), format):
		if format == feed.PowerMTA || recordLines(head) {
			return l.lines(ctx, b, func(line []byte) {
				l.tally(l.source.Record(format, mtalog.Input{Line: line, Host: l.from.Host}, l.complete), 1, line)
			})
		}
		return l.body(b, format)
	case envelope.Wrapped(firstLine(head)):
		return l.unwrap(ctx, b)
	}
	in := mtalog.Input{Host: l.from.Host, Reference: l.from.Reference, Location: l.from.Location}
	in.Format, _ = mtalog.ParseFormat(l.from.Format) // what is no MTA's has been read above
	return l.lines(ctx, b, func(line []byte) {
		in.Line = line
		l.tally(l.source.Line(in, l.complete), 1, line)
	})
}

// firstLine returns the first line that is not empty.
func firstLine(head []byte) []byte {
	line, _, _ := bytes.Cut(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF")), " \t\r\n"), []byte("\n"))
	return line
}

// lines reads line by line.
func (l *Log) lines(ctx context.Context, b *bufio.Reader, read func(line []byte)) error {
	for ; ; l.offset++ {
		line, err := readLine(b)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", l.from.Name, l.offset+1, err)
		}
		if l.offset%checkLines == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		l.index = 0
		read(line)
		if l.failed != nil {
			return l.failed
		}
		if !l.recognized && !l.headed && !l.from.Any && l.offset >= headerlessLines {
			return fmt.Errorf("%s: %w in the first %d lines, nor any syslog header; it begins with %q", l.from.Name, ErrUnrecognized, l.offset, l.first)
		}
	}
}

// complete completes an event and hands it on.
func (l *Log) complete(ev *schema.DeliveryEvent) {
	if l.failed != nil {
		return
	}
	ev.Raw.Topic, ev.Raw.Offset, ev.Raw.Index = l.from.Name, l.offset, l.index
	ev.EventId = l.eventID(l.from.Name, l.offset, l.index)
	ev.Backfill = l.backfill(ev)
	l.feeds.add(ev)
	l.counts.events++
	l.index++
	l.failed = l.emit(ev)
}

// tally counts what became of n items.
func (l *Log) tally(f source.Fate, n int, text []byte) {
	l.counts.add(text, f, n)
	if l.recognized {
		return
	}
	l.recognized = known(f)
	l.headed = l.headed || !f.At.IsZero()
	if l.first == "" {
		l.first = report.Clean(string(text[:min(len(text), 400)]), 100)
	}
}

// known tells whether an item was recognised as a known mail server's or feed's, understood or not.
func known(f source.Fate) bool {
	if f.Format == "" {
		return false
	}
	for _, r := range [...]mtalog.Reason{
		mtalog.ReasonOtherProgram, mtalog.ReasonRepeated, mtalog.ReasonEmpty, mtalog.ReasonFrame, mtalog.ReasonTime,
		mtalog.ReasonNoReference, mtalog.ReasonHost, mtalog.ReasonTooLong,
	} {
		if f.Reason == r.String() {
			return false
		}
	}
	return true
}

// readLine returns the next line without its newline. Of a line beyond the buffer, which no log writes, it returns as much as the
// buffer holds, enough to be counted as too long, and skips the rest.
func readLine(b *bufio.Reader) ([]byte, error) {
	line, err := b.ReadSlice('\n')
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		line = append([]byte(nil), line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return line, nil
	case errors.Is(err, io.EOF) && len(line) > 0:
		return line, nil
	}
	return nil, err
}

// eventID is the source position in words: topic, partition, offset, number within the line.
func (l *Log) eventID(topic string, offset int64, index uint32) string {
	b := append(append(l.id[:0], topic...), ".0."...)
	b = strconv.AppendInt(b, offset, 10)
	b = strconv.AppendUint(append(b, '.'), uint64(index), 10)
	l.id = b
	return string(b)
}

// backfill tells whether the event is much older than its host's clock, and moves the clock. Of more hosts than the
// bound the others are taken to be in order.
func (l *Log) backfill(ev *schema.DeliveryEvent) bool {
	clock, ok := l.clocks[ev.MtaHost]
	if ev.OccurredAtUs < clock-backfillUs {
		return true
	}
	if ev.OccurredAtUs > clock && (ok || len(l.clocks) < maxHosts) {
		l.clocks[ev.MtaHost] = ev.OccurredAtUs
	}
	return false
}

// Stats returns what has been read so far.
func (l *Log) Stats() Stats {
	s := l.counts.stats()
	c := l.source.Stats()
	s.Events, s.Orphans, s.Unheard = l.counts.events, int64(c.Orphans), int64(c.Unheard)
	s.Hosts = len(l.clocks)
	s.Feeds = l.feeds.list()
	return s
}
