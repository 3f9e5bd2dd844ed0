package envelope

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxWindowBytes is the window that every Zstandard decoder should support (RFC 8878, section 3.1.1.1.2). It bounds the
// decoder's memory.
const maxWindowBytes = 8 << 20

const recordSeparator = 0x1e

// open returns the value's text, inflated, without a byte order mark.
func (r *Reader) open(value []byte) ([]byte, Reason) {
	if len(value) > MaxValueBytes {
		return nil, ReasonTooLong
	}
	text := value
	if compressed := compression(value); compressed != plain {
		if compressed == unknown {
			return nil, ReasonCompression
		}
		if err := r.inflate(value, compressed); errors.Is(err, errTooLong) {
			return nil, ReasonTooLong
		} else if err != nil {
			return nil, ReasonCompression
		}
		if text = r.inflated; compression(text) != plain { // twice
			return nil, ReasonCompression
		}
	}
	text = bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))
	return text, unreadable(text)
}

// unreadable tells what is no text in an encoding that has ASCII in it.
func unreadable(text []byte) Reason {
	if len(text) == 0 {
		return ReasonNone
	}
	c := text[0]
	if c >= ' ' && c < 0x80 && (len(text) < 4 || text[1] != 0) { // nearly all
		return ReasonNone
	}
	second := byte(0)
	if len(text) > 1 {
		second = text[1]
	}
	switch {
	case len(text) > 1 && (c == 0xff && second == 0xfe || c == 0xfe && second == 0xff),
		len(text) >= 4 && (c != 0 && second == 0 && text[3] == 0 || c == 0 && second != 0 && text[2] == 0 && text[3] != 0):
		return ReasonEncoding
	case c&0xf0 == 0x80 && (second&0xe0 == 0xa0 || second == 0xd9): // a map whose first key is a string
		return ReasonMsgpack
	case c == '\n' && controls(text[1:min(len(text), 64)]): // OTLP: field 1, then a length, then field 1 (resource) ...
		return ReasonBinary
	case c == 0 && second == 0 && hole(text):
	case bytes.IndexByte(text, '\n') >= 0:
		// Several lines: a damaged one in front must not take the others with it. Each is judged by itself.
	case c >= 0x80 && c <= 0x9f, c >= 0xdc && c <= 0xdf && second == 0:
		return ReasonMsgpack // a map or an array; no UTF-8 text begins so
	case c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != recordSeparator:
		return ReasonBinary
	}
	return ReasonNone
}

// hole reports whether text begins with a hole of a file, see withoutHoles.
func hole(text []byte) bool {
	rest := bytes.TrimLeft(text, "\x00")
	return len(text)-len(rest) >= minHole && (len(rest) == 0 || rest[0] >= ' ')
}

// controls reports whether b holds control characters that no log has.
func controls(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != 0x1b && c != recordSeparator {
			return true
		}
	}
	return false
}

type compressor uint8

const (
	plain compressor = iota
	byGzip
	byZstd
	unknown
)

func compression(b []byte) compressor {
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		return byGzip
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return byZstd
	case bytes.HasPrefix(b, []byte("\x04\x22\x4d\x18")): // LZ4 frame
		return unknown
	}
	return plain
}

var errTooLong = errors.New("inflated beyond the bound")

// inflate decompresses a value into r.inflated.
func (r *Reader) inflate(value []byte, c compressor) error {
	r.source.Reset(value)
	defer r.source.Reset(nil)
	from, err := r.decompressor(c)
	if err != nil {
		return err
	}
	b := r.inflated[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := from.Read(b[len(b):min(cap(b), MaxValueBytes+1)])
		b = b[:len(b)+n]
		r.inflated = b
		if len(b) > MaxValueBytes {
			return errTooLong
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inflate: %w", err)
		}
	}
}

// decompressor returns the reader of r.source, kept for the next value.
func (r *Reader) decompressor(c compressor) (io.Reader, error) {
	if c == byZstd {
		if r.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxWindowBytes), zstd.WithDecoderMaxMemory(MaxValueBytes))
			if err != nil {
				return nil, fmt.Errorf("zstandard: %w", err)
			}
			r.zstd = z
		}
		if err := r.zstd.Reset(&r.source); err != nil {
			return nil, fmt.Errorf("zstandard: %w", err)
		}
		return r.zstd, nil
	}
	if r.gzip == nil {
		z, err := gzip.NewReader(&r.source)
		if err != nil {
			return nil, fmt.Errorf("gzip header: %w", err)
		}
		r.gzip = z
	} else if err := r.gzip.Reset(&r.source); err != nil {
		return nil, fmt.Errorf("gzip header: %w", err)
	}
	return r.gzip, nil
}
