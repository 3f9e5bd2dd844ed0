package survey

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"carom.dev/carom/pipeline/envelope"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/source"
)

const (
	maxMailBytes   = 4 << 20 // read of a mail; the reader of mails keeps less
	unwrapBytes    = 1 << 20 // of wrapped lines, read at once
	maxUnwrapBytes = 8 << 20 // a single line or document among them
)

// mail reads a file that is one mail.
func (l *Log) mail(r io.Reader) error {
	if err := l.source.MissingKeys(); err != nil {
		return fmt.Errorf("%s: %w", l.from.Name, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxMailBytes))
	if err != nil {
		return fmt.Errorf("%s: %w", l.from.Name, err)
	}
	l.tally(l.source.Mail(source.Mail{Bytes: text, Else: l.from.Reference}, l.complete), 1, text) // a file's time is seldom that of its mail
	l.offset = 1
	return nil
}

// body reads a file that is one webhook's body.
func (l *Log) body(r io.Reader, format string) error {
	text, err := io.ReadAll(io.LimitReader(r, feed.MaxBodyBytes+1))
	if err != nil {
		return fmt.Errorf("%s: %w", l.from.Name, err)
	}
	l.source.Body(source.Body{Format: format, Host: l.from.Host, Bytes: text}, l.complete, l.tally)
	l.offset = 1
	return nil
}

// unwrap reads lines as shippers wrap them: documents of JSON, or lines with the prefix of a container runtime.
func (l *Log) unwrap(ctx context.Context, b *bufio.Reader) error {
	in := mtalog.Input{Host: l.from.Host, Reference: l.from.Reference, Location: l.from.Location}
	in.Format, _ = mtalog.ParseFormat(l.from.Format)
	line := func(e envelope.Line) {
		one := in
		if e.Host != "" {
			one.Host = e.Host
		}
		if !e.Time.IsZero() {
			one.Reference = e.Time
		}
		one.Line, l.index = e.Text, 0
		l.tally(l.source.Line(one, l.complete), 1, e.Text)
		l.offset++
	}
	chunk := make([]byte, 0, unwrapBytes)
	for {
		chunk = chunk[:0]
		var readErr error
		for len(chunk) < unwrapBytes && readErr == nil {
			var part []byte
			part, readErr = b.ReadSlice('\n')
			if len(chunk)+len(part) > maxUnwrapBytes {
				return fmt.Errorf("%s: line %d: longer than %d bytes", l.from.Name, l.offset+1, maxUnwrapBytes)
			}
			chunk = append(chunk, part...)
			if errors.Is(readErr, bufio.ErrBufferFull) {
				readErr = nil
			}
		}
		if readErr != nil && !errors.Is(readErr, io.EOF) {
			return fmt.Errorf("%s: line %d: %w", l.from.Name, l.offset+1, readErr)
		}
		var e *envelope.Error
		if err := l.wrap.Lines(chunk, line); errors.As(err, &e) {
			l.tally(source.Fate{Kind: mtalog.KindUnparsed, Reason: "envelope_" + e.Reason.String()}, e.Parts, e.Rest)
			l.offset += int64(e.Parts)
		}
		switch {
		case l.failed != nil:
			return l.failed
		case ctx.Err() != nil:
			return ctx.Err()
		case readErr != nil:
			return nil
		}
	}
}

// recordLines reports whether each line of a JSON feed is a record, or an array of them, by itself.
func recordLines(head []byte) bool {
	line, _, more := bytes.Cut(head, []byte("\n"))
	line = bytes.TrimSpace(line)
	if len(line) == 0 || !more {
		return false
	}
	last := line[len(line)-1]
	return (line[0] == '{' && last == '}') || (line[0] == '[' && last == ']')
}
