package lmtp

import (
	"bufio"
	"errors"
	"io"
)

// body takes in a mail and keeps its begin.
type body struct {
	text []byte
	keep int
	size int64
}

func newBody(keep int) *body { return &body{text: []byte{}, keep: keep} }

// Write implements io.Writer. It never fails: what is beyond the bound is counted and dropped.
func (b *body) Write(p []byte) (int, error) {
	b.size += int64(len(p))
	b.text = append(b.text, p[:min(len(p), b.keep-len(b.text))]...)
	return len(p), nil
}

func (b *body) add(c byte) {
	b.size++
	if len(b.text) < b.keep {
		b.text = append(b.text, c)
	}
}

// readDotted reads to the line that is a single dot and takes the first dot off lines that begin with one. Only CRLF ends a
// line: "\n.\n" and "\r.\r" are text, or the sender of one mail could hide a second one in it. RFC 5321, sections 2.3.8,
// 4.1.1.4 and 4.5.2. A mail that does not end is io.ErrUnexpectedEOF.
func (b *body) readDotted(r *bufio.Reader) error {
	const (
		begin = iota // of a line
		dot          // a dot at the begin of a line, not yet taken for anything
		dotCR        // a dot and a CR
		cr
		text
	)
	state := begin
	for {
		c, err := r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		switch state {
		case begin:
			if c == '.' {
				state = dot
				continue
			}
		case dot:
			if c == '\r' {
				state = dotCR
				continue
			}
		case dotCR:
			if c == '\n' {
				return nil
			}
			b.add('\r')
			state = cr
		}
		b.add(c)
		switch {
		case c == '\r':
			state = cr
		case c == '\n' && state == cr:
			state = begin
		default:
			state = text
		}
	}
}
