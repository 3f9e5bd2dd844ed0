package local

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/source"
	"carom.dev/carom/schema"
)

const (
	importChunk  = 512 << 10 // bytes of a log per step
	detectBytes  = 64 << 10
	maxMailBytes = 900_000 // kept of a mail: a record has to fit into the topic
)

// Import reports what an import did.
type Import struct {
	Lines   int    // sent by this call; of mails 1 each
	Bytes   int64  // of input, uncompressed
	Format  string // what it was taken for: "lines", "mail", a feed's format
	Resumed bool   // an earlier call had sent a part of the file, or all of it
}

// Import sends a file, gzip or plain, as an import: its events are judged and counted and never alert. It may hold log
// lines, accounting records, a webhook's body or a mail; of a directory, a Maildir for example, every file is imported.
// It can be broken off and called again with the same file: what stands in mta.raw is not sent again, but for the last
// step, whose repeats ingest recognises. progress is called now and then.
func (s *System) Import(ctx context.Context, path string, progress func(bytes int64)) (Import, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Import{}, err
	}
	if !info.IsDir() {
		return s.importFile(ctx, path, progress)
	}
	var names []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return Import{}, err
	}
	slices.Sort(names)
	var all Import
	for _, name := range names {
		before := all.Bytes
		one, err := s.importFile(ctx, name, func(n int64) { progress(before + n) })
		all.Lines += one.Lines
		all.Bytes += one.Bytes
		all.Format = one.Format
		all.Resumed = all.Resumed || one.Resumed
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// importer sends one file.
type importer struct {
	*System
	digest   string
	from     int64 // where the last step of an earlier call began; -1: there was none
	modified int64 // Unix milliseconds
	done     Import
}

func (s *System) importFile(ctx context.Context, path string, progress func(bytes int64)) (Import, error) {
	digest, modified, err := fileDigest(path)
	if err != nil {
		return Import{}, err
	}
	from, err := s.importedUntil(ctx, digest)
	if err != nil {
		return Import{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Import{}, err
	}
	defer f.Close()
	in, err := Decompress(f)
	if err != nil {
		return Import{}, fmt.Errorf("%s: %w", path, err)
	}
	r := bufio.NewReaderSize(in, 1<<20)
	head, err := r.Peek(detectBytes)
	if err != nil && !errors.Is(err, io.EOF) {
		return Import{}, fmt.Errorf("%s: %w", path, err)
	}
	i := &importer{System: s, digest: digest, from: from, modified: modified.UnixMilli(), done: Import{Resumed: from >= 0}}
	if i.done.Format = s.cfg.Format; i.done.Format == "" {
		i.done.Format, _ = source.Detect(head)
	}
	switch i.done.Format {
	case "":
		i.done.Format = source.FormatLines
		err = i.lines(ctx, r, progress)
	case source.FormatMail:
		err = i.mail(ctx, r)
	default:
		err = i.records(ctx, r, filepath.Base(path), progress)
	}
	if err != nil {
		err = fmt.Errorf("import %s: %w", path, err)
	}
	return i.done, err
}

// headers mark a record of the step that begins at an offset of the file.
func (i *importer) headers(begin int64) []broker.Header {
	h := []broker.Header{
		{Key: ingest.HeaderImport, Value: fmt.Appendf(nil, "%s %d", i.digest, begin)},
		{Key: ingest.HeaderReference, Value: strconv.AppendInt(nil, i.modified, 10)},
	}
	if i.done.Format != source.FormatLines {
		h = append(h, broker.Header{Key: schema.HeaderFormat, Value: []byte(i.done.Format)})
	}
	return h
}

// lines sends log lines, each under its host.
func (i *importer) lines(ctx context.Context, r *bufio.Reader, progress func(int64)) error {
	return i.steps(r, progress, func(begin int64, lines [][]byte) error {
		chunk := make([]Line, len(lines))
		for k, l := range lines {
			chunk[k] = Line{Host: cmp.Or(HostOf(l), i.cfg.Host), Text: l}
		}
		return i.Send(ctx, chunk, i.headers(begin)...)
	})
}

// records sends the records of a feed under the file's name, so that they stay in order: an accounting file's columns are
// named by its first row.
func (i *importer) records(ctx context.Context, r *bufio.Reader, name string, progress func(int64)) error {
	partition := broker.PartitionOf([]byte(name), i.cfg.Services.Back.Epoch.RawPartitions)
	return i.steps(r, progress, func(begin int64, lines [][]byte) error {
		return i.Client.Produce(ctx, []broker.Message{{
			Topic: schema.TopicRaw, Partition: partition, Key: []byte(name), Value: append(bytes.Join(lines, []byte("\n")), '\n'), Headers: i.headers(begin),
		}})
	})
}

// steps cuts a file at line ends into steps of importChunk bytes and sends those that no earlier call sent.
func (i *importer) steps(r *bufio.Reader, progress func(int64), send func(begin int64, lines [][]byte) error) error {
	var lines [][]byte
	at, begin, size := int64(0), int64(0), 0
	flush := func() error {
		if len(lines) == 0 || begin < i.from {
			return nil
		}
		if err := send(begin, lines); err != nil {
			return fmt.Errorf("at byte %d: %w", begin, err)
		}
		i.done.Lines += len(lines)
		i.done.Bytes += int64(size)
		return nil
	}
	for {
		line, readErr := r.ReadBytes('\n')
		at += int64(len(line))
		if text := bytes.TrimRight(line, "\r\n"); len(text) > 0 {
			lines = append(lines, text)
			size += len(line)
		}
		if size >= importChunk || readErr != nil {
			if err := flush(); err != nil {
				return err
			}
			progress(at)
			lines, begin, size = nil, at, 0
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// mail sends one mail; of a long one the begin, where a report says what happened.
func (i *importer) mail(ctx context.Context, r *bufio.Reader) error {
	if i.from >= 0 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r, maxMailBytes))
	if err != nil {
		return err
	}
	i.done.Lines, i.done.Bytes = 1, int64(len(text))
	partition := broker.PartitionOf([]byte(i.digest), i.cfg.Services.Back.Epoch.RawPartitions)
	return i.Client.Produce(ctx, []broker.Message{{
		Topic: schema.TopicRaw, Partition: partition, Key: []byte(i.digest), Value: text, Headers: i.headers(0),
	}})
}
