package intake

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sync/semaphore"
)

// Why a body was not read. Everything else is the client's going away.
var (
	errTooLarge  = errors.New("body too large")
	errEncoding  = errors.New("content encoding not known")
	errMalformed = errors.New("not gzip")
	errTimeout   = errors.New("body too slow")
	errFull      = errors.New("too many bytes in flight")
)

// bodies reads bodies within bounds. Memory is taken as bytes arrive, not as they are announced: a slow client holds little.
type bodies struct {
	max    int
	budget *semaphore.Weighted
}

// firstBytes is what a body's buffer begins with; it is doubled as needed.
const firstBytes = 16 << 10

// read returns a body with its content coding undone, and release, which gives its memory back and is never nil. w is told
// to close the connection if more comes than is taken.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	taken := int64(0)
	release = func() { b.budget.Release(taken) }
	if r.ContentLength > int64(b.max) {
		return nil, release, errTooLarge
	}
	in := &source{r: http.MaxBytesReader(w, r.Body, int64(b.max))}
	var from io.Reader = in
	switch strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ","))) {
	case "", "identity":
	case "gzip", "x-gzip": // RFC 9110, section 8.4.1.3
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, release, in.because(err)
		}
		from = z
	default: // deflate is two formats under one name; nobody who sends webhooks uses others
		return nil, release, errEncoding
	}
	for {
		if len(body) == cap(body) {
			size := min(max(2*cap(body), firstBytes), b.max+1)
			if !b.budget.TryAcquire(int64(size - cap(body))) {
				return nil, release, errFull
			}
			taken += int64(size - cap(body))
			grown := make([]byte, len(body), size)
			copy(grown, body)
			body = grown
		}
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > b.max:
			return nil, release, errTooLarge
		case errors.Is(err, io.EOF):
			return body, release, nil
		case err != nil:
			return nil, release, in.because(err)
		}
	}
}

// source remembers the error of a body, which a decompressor hides.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// because returns the reason for which reading failed with err.
func (s *source) because(err error) error {
	var large *http.MaxBytesError
	switch {
	case s.err == nil: // the body is there; what is wrong is in it
		return fmt.Errorf("%w: %w", errMalformed, err)
	case errors.As(s.err, &large):
		return errTooLarge
	case errors.Is(s.err, os.ErrDeadlineExceeded):
		return errTimeout
	}
	return s.err
}
