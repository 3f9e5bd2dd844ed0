package survey

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/schema"
)

// ErrUnrecognized is wrapped by the error of Log.Read for an input in which no line is Postfix's.
var ErrUnrecognized = errors.New("no line of a known mail server found")

// Source is where lines come from.
type Source struct {
	Name      string         // name of the file; part of the event ids
	Host      string         // the host, for lines that name none
	Reference time.Time      // when the log was current: gives stamps without a year theirs; see mtalog.Input
	Location  *time.Location // zone of stamps without one; nil is UTC
	Format    mtalog.Format  // of every line; FormatAuto: each line tells
	Any       bool           // read the input even if no line of it is a known mail server's
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
	// headerlessLines is how many lines without a syslog header are read before a file is given up as no log at all.
	headerlessLines = 10_000
	checkLines      = 1 << 12 // lines between two looks at the context

	backfillUs = 10 * 60 * 1_000_000 // an event so much older than its host's clock is backfill
	maxHosts   = 1 << 14
)

// Log reads log files, one after the other, into events. Messages are followed from one file into the next, so files
// are to be read oldest first. It is not safe for concurrent use; make one with NewLog.
type Log struct {
	lines  *mtalog.Correlator
	counts counts
	clocks map[string]int64 // latest event time by host
	feeds  feeds
	id     []byte
}

// NewLog returns a Log that has read nothing.
func NewLog() *Log {
	return &Log{lines: mtalog.NewCorrelator(mtalog.DefaultConfig()), counts: newCounts(), clocks: map[string]int64{}, feeds: feeds{}}
}

// Read reads r to its end and hands every event to emit. The event is emit's until it returns; its strings stay valid.
// Events are complete but for tenant, stream and recipient key, which a log does not hold: raw is the source's name and
// the line's number from 0, event_id is made of those alone, and backfill says that the event is more than ten minutes older than
// the latest of its host.
//
// Read ends early on an error of r or emit, or when ctx ends. Unless src.Any is set, an input without any line of
// a known mail server is an error that wraps ErrUnrecognized. Lines that are not understood are counted and are no error.
func (l *Log) Read(ctx context.Context, r io.Reader, src Source, emit func(*schema.DeliveryEvent) error) error {
	var (
		failed             error
		offset             int64
		index              uint32
		recognized, headed bool
		first              string
		in                 = mtalog.Input{Format: src.Format, Host: src.Host, Reference: src.Reference, Location: src.Location}
		topic              = strings.ToValidUTF8(src.Name, "\uFFFD")
		complete           = func(ev *schema.DeliveryEvent) {
			if failed != nil {
				return
			}
			ev.Raw.Topic, ev.Raw.Offset, ev.Raw.Index = topic, offset, index
			ev.EventId = l.eventID(topic, offset, index)
			ev.Backfill = l.backfill(ev)
			l.feeds.add(ev)
			index++
			failed = emit(ev)
		}
	)
	b := bufio.NewReaderSize(r, readBufferBytes)
	for ; ; offset++ {
		line, err := readLine(b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", src.Name, offset+1, err)
		}
		if offset%checkLines == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		index = 0
		in.Line = line
		res := l.lines.Line(in, complete)
		l.counts.add(line, res)
		if failed != nil {
			return failed
		}
		if recognized || src.Any {
			continue
		}
		recognized = isMTA(res)
		headed = headed || !res.At.IsZero()
		if first == "" {
			first = report.Clean(string(line[:min(len(line), 400)]), 100)
		}
		if !recognized && !headed && offset >= headerlessLines {
			return fmt.Errorf("%s: %w in the first %d lines, nor any syslog header; it begins with %q", src.Name, ErrUnrecognized, offset, first)
		}
	}
	if !recognized && !src.Any {
		if offset == 0 {
			return fmt.Errorf("%s: %w: it is empty", src.Name, ErrUnrecognized)
		}
		return fmt.Errorf("%s: %w in %d lines; it begins with %q", src.Name, ErrUnrecognized, offset, first)
	}
	return nil
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

// isMTA tells whether the line was recognised as a known mail server's, understood or not.
func isMTA(r mtalog.Result) bool {
	switch r.Reason {
	case mtalog.ReasonOtherProgram, mtalog.ReasonRepeated, mtalog.ReasonEmpty, mtalog.ReasonFrame, mtalog.ReasonTime,
		mtalog.ReasonNoReference, mtalog.ReasonHost, mtalog.ReasonTooLong:
		return false
	}
	return true
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
	c := l.lines.Stats()
	s.Events, s.Orphans, s.Unheard = int64(c.Events), int64(c.Orphans), int64(c.Unheard)
	s.Hosts = len(l.clocks)
	s.Feeds = l.feeds.list()
	return s
}
