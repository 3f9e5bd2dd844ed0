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

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/schema"
)

const (
	importChunk = 512 << 10 // bytes of log per step
	recordBytes = 60 << 10  // lines are packed into records up to this size
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

// Import reports what an import did.
type Import struct {
	Lines   int   // sent by this call
	Bytes   int64 // of log, uncompressed
	Resumed bool  // an earlier call had sent a part of the file, or all of it
}

// Import sends a log file, gzip or plain, as an import: its events are judged and counted and never alert. It can be
// broken off and called again with the same file: what stands in mta.raw is not sent again, but for the last step,
// whose repeats ingest recognises. progress is called now and then.
func (s *System) Import(ctx context.Context, path string, progress func(bytes int64)) (Import, error) {
	var done Import
	digest, modified, err := fileDigest(path)
	if err != nil {
		return done, err
	}
	from, err := s.importedUntil(ctx, digest)
	if err != nil {
		return done, err
	}
	done.Resumed = from >= 0
	f, err := os.Open(path)
	if err != nil {
		return done, err
	}
	defer f.Close()
	in, err := Decompress(f)
	if err != nil {
		return done, fmt.Errorf("%s: %w", path, err)
	}
	r := bufio.NewReaderSize(in, 1<<20)
	at := int64(0)
	var chunk []Line
	begin, size := int64(0), 0
	flush := func() error {
		if len(chunk) == 0 || begin < from {
			return nil
		}
		err := s.Send(ctx, chunk,
			broker.Header{Key: ingest.HeaderImport, Value: fmt.Appendf(nil, "%s %d", digest, begin)},
			broker.Header{Key: ingest.HeaderReference, Value: strconv.AppendInt(nil, modified.UnixMilli(), 10)})
		if err == nil {
			done.Lines += len(chunk)
			done.Bytes += int64(size)
		}
		return err
	}
	for {
		line, readErr := r.ReadBytes('\n')
		at += int64(len(line))
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			chunk = append(chunk, Line{Host: HostOf(text), Text: text})
			size += len(line)
		}
		if size >= importChunk || readErr != nil {
			if err := flush(); err != nil {
				return done, fmt.Errorf("import %s at byte %d: %w", path, begin, err)
			}
			progress(at)
			chunk, begin, size = nil, at, 0
		}
		if errors.Is(readErr, io.EOF) {
			return done, nil
		}
		if readErr != nil {
			return done, fmt.Errorf("import %s: %w", path, readErr)
		}
	}
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

// Decompress unpacks gzip by its magic number and passes anything else on.
func Decompress(r io.Reader) (io.Reader, error) {
	b := bufio.NewReader(r)
	magic, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return b, nil
	}
	return gzip.NewReader(b)
}

// HostOf returns the host of a syslog line, by its place: behind the stamp. A line that is none goes under no name.
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
	}
	if at >= len(fields) {
		return ""
	}
	return string(fields[at])
}
