package local

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/schema"
)

const (
	recordBytes = 60 << 10 // lines are packed into records up to this size
)

// Line is a log line on its way to mta.raw.
type Line struct {
	Host string
	Text []byte
}

// Send writes lines to mta.raw, several to a record, keyed by host.
func (s *System) Send(ctx context.Context, lines []Line, headers ...broker.Header) error {
	return s.Client.Produce(ctx, pack(lines, s.cfg.Services.Back.Epoch.RawPartitions, headers))
}

// pack keeps the order of each host's lines.
func pack(lines []Line, partitions int, headers []broker.Header) []broker.Message {
	var out []broker.Message
	open := map[string]int{} // host -> index of its unfinished record
	for _, l := range lines {
		i, ok := open[l.Host]
		if ok && len(out[i].Value)+len(l.Text)+1 > recordBytes {
			ok = false
		}
		if !ok {
			i = len(out)
			open[l.Host] = i
			out = append(out, broker.Message{
				Topic: schema.TopicRaw, Partition: broker.PartitionOf([]byte(l.Host), partitions), Key: []byte(l.Host), Headers: headers,
			})
		}
		out[i].Value = append(append(out[i].Value, l.Text...), '\n')
	}
	return out
}

// ImportHeader marks lines as an import of that name.
func ImportHeader(name string) broker.Header {
	return broker.Header{Key: ingest.HeaderImport, Value: []byte(name)}
}

// importedUntil finds the last step of an import in mta.raw, -1 if there is none. The log itself is asked, since any
// note beside it could be ahead of it or behind.
func (s *System) importedUntil(ctx context.Context, digest string) (int64, error) {
	last := int64(-1)
	for p := range int32(s.cfg.Services.Back.Epoch.RawPartitions) {
		first, end, err := s.Client.Offsets(ctx, schema.TopicRaw, p)
		if err != nil {
			return 0, err
		}
		r := s.Client.NewReader(schema.TopicRaw, p, max(first, end-1000))
		for r.Next() < end {
			records, _, err := r.Fetch(ctx, time.Second)
			if err != nil {
				return 0, err
			}
			for i := range records {
				id, at, ok := strings.Cut(string(records[i].Header(ingest.HeaderImport)), " ")
				if n, err := strconv.ParseInt(at, 10, 64); ok && id == digest && err == nil {
					last = max(last, n)
				}
			}
		}
	}
	return last, nil
}

func fileDigest(path string) (digest string, modified time.Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", time.Time{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", time.Time{}, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", time.Time{}, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), info.ModTime(), nil
}

// Decompress unpacks gzip (RFC 1952) and Zstandard (RFC 8878), in which KumoMTA writes its logs, by their magic numbers, and
// passes anything else on.
func Decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		// One goroutine less to end, and a bound on what a hostile header may ask for.
		return zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindowBytes))
	}
	return b, nil
}

// maxWindowBytes is the window that zstd --long uses, and the largest that its command line unpacks unasked.
const maxWindowBytes = 128 << 20

// HostOf returns the host of a syslog line, by its place: behind the stamp. A line that is none, or names none as Exim's main
// log and Haraka's output do, has no host.
func HostOf(line []byte) string {
	fields := bytes.Fields(line[:min(len(line), 200)])
	at := 1 // RFC 3339: stamp host
	switch {
	case len(fields) == 0:
		return ""
	case fields[0][0] == '<': // RFC 5424: <pri>1 stamp host
		at = 2
	case fields[0][0] >= 'A' && fields[0][0] <= 'Z': // Mon dd hh:mm:ss host
		at = 3
	case fields[0][0] < '0' || fields[0][0] > '9':
		return "" // a label of TAI64, a bracket
	}
	if at >= len(fields) || fields[at][0] == '[' || (len(fields[at]) >= 8 && fields[at][2] == ':' && fields[at][5] == ':') {
		return ""
	}
	return string(fields[at])
}
