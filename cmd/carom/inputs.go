package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/source"
	"carom.dev/carom/pipeline/survey"
	"carom.dev/carom/schema"
)

// logFlags are the flags of verbs that read logs.
type logFlags struct {
	format, host, reference, timezone string
	year                              int
	site, keys                        string
}

func (f *logFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.format, "format", "auto", "`format` of the files: "+strings.Join(source.Formats(), ", ")+"; auto: they tell, and a file in which nothing is known is refused")
	fs.StringVar(&f.host, "host", "", "`name` of the mail server, for lines that carry none (Exim's mainlog, Haraka's output); default: localhost")
	fs.IntVar(&f.year, "year", 0, "`year` of time stamps that carry none; 0, the default, takes the latest that fits -reference")
	fs.StringVar(&f.reference, "reference", "", "`time` (RFC 3339 or a date) when the log ended, for stamps without a year; default: the file's modification time, now for standard input")
	fs.StringVar(&f.site, "site", "", "site `file`: own hosts, whose mail is whose, bounce domains (carom site check)")
	fs.StringVar(&f.keys, "keys-dir", "", "`directory` of the secrets that the site file names, a file each")
	fs.StringVar(&f.timezone, "timezone", "", "`zone` of time stamps that carry none, such as Europe/Berlin; default: the site file's for the host, else UTC")
}

// source checks the flags and returns what all files share; its Reference is zero unless a flag gives it.
func (f *logFlags) source() (survey.Source, error) {
	if !slices.Contains(source.Formats(), f.format) {
		return survey.Source{}, service.Usagef("-format: %q is not known, want one of %s", f.format, strings.Join(source.Formats(), ", "))
	}
	src := survey.Source{Host: cmp.Or(f.host, "localhost"), Format: f.format, Any: f.format != "auto"}
	var err error
	zone := time.UTC
	if f.timezone != "" {
		if src.Location, err = time.LoadLocation(f.timezone); err != nil {
			return src, service.Usagef("-timezone %q: %w", f.timezone, err)
		}
		zone = src.Location
	}
	switch {
	case f.year != 0 && f.reference != "":
		return src, service.Usagef("-year and -reference say the same; give one of them")
	case f.year != 0:
		if f.year < 1970 || f.year > 9999 {
			return src, service.Usagef("-year %d: want 1970 to 9999", f.year)
		}
		src.Reference = survey.EndOfYear(f.year, zone)
	case f.reference != "":
		if src.Reference, err = time.Parse(time.RFC3339, f.reference); err != nil {
			if src.Reference, err = time.ParseInLocation(time.DateOnly, f.reference, zone); err != nil {
				return src, service.Usagef("-reference %q: want a time such as 2026-11-21T08:28:19Z, or a date", f.reference)
			}
		}
	}
	return src, nil
}

// log returns what reads the files.
func (f *logFlags) log() (*survey.Log, error) {
	s, keys, err := ingest.LoadSite(f.site, f.keys)
	if err != nil {
		return nil, err
	}
	return survey.NewLog(s, keys), nil
}

// readLogs reads the named logs in their order, standard input for none and for "-".
func readLogs(ctx context.Context, std stdio, log *survey.Log, src survey.Source, names []string, wrap func(io.Reader) io.Reader, emit func(*schema.DeliveryEvent) error) error {
	progress := newProgress(std.err)
	defer progress.done()
	return eachInput(std, names, func(name string, modified time.Time, r io.Reader) error {
		src := src
		src.Name = name
		if src.Reference.IsZero() {
			src.Reference = modified
		}
		err := log.Read(ctx, wrap(progress.reader(name, r)), src, emit)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		return err
	})
}

// eachInput opens one after the other, unpacking gzip.
func eachInput(std stdio, names []string, read func(name string, modified time.Time, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if err := oneInput(std, name, read); err != nil {
			return err
		}
	}
	return nil
}

func oneInput(std stdio, name string, read func(name string, modified time.Time, r io.Reader) error) error {
	file, modified := std.in, time.Now()
	if name == "-" {
		if isTerminal(std.in) {
			fmt.Fprintln(std.err, "reading from the terminal; Ctrl-D ends the input")
		}
	} else {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		file, modified = f, info.ModTime()
	}
	r, err := local.Decompress(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return read(name, modified, r)
}

// isTerminal reports whether stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalColumns is the width to print for; a pipe or file gets a width that reads well in a mail.
func terminalColumns(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 120
}

// progress tells people at a terminal how far a long reading is; others nothing.
type progress struct {
	w       io.Writer // nil: not a terminal
	started time.Time
	told    time.Time
}

const (
	progressAfter = 2 * time.Second
	progressEvery = 500 * time.Millisecond
)

func newProgress(w io.Writer) *progress {
	p := &progress{started: time.Now()}
	if isTerminal(w) {
		p.w = w
	}
	return p
}

func (p *progress) reader(name string, r io.Reader) io.Reader {
	if p.w == nil {
		return r
	}
	return &progressReader{progress: p, name: name, r: r}
}

// done wipes the line of progress.
func (p *progress) done() {
	if p.w != nil && !p.told.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

type progressReader struct {
	*progress
	name  string
	r     io.Reader
	bytes int64
}

func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.bytes += int64(n)
	if now := time.Now(); now.Sub(r.started) > progressAfter && now.Sub(r.told) > progressEvery {
		r.told = now
		fmt.Fprintf(r.w, "\r\x1b[K%5.0fs  %q: %d MB read", now.Sub(r.started).Seconds(), r.name, r.bytes>>20)
	}
	return n, err
}
