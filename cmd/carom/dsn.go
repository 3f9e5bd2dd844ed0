package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"carom.dev/carom/pipeline/dsn"
	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/source"
)

// maxMailBytes is how much of a mail is read: more than dsn.Parse looks at, so that it notes the cut.
const maxMailBytes = 2 << 20

// runDSN turns mails into what they report of each recipient.
func runDSN(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom dsn", flag.ContinueOnError)
	fs.SetOutput(std.out)
	siteFile := fs.String("site", "", "site `file`: says how far each report is believed: trust, because, joined, backscatter (carom site check)")
	keysDir := fs.String("keys-dir", "", "`directory` of the secrets that the site file names, a file each")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] [FILE.eml | DIRECTORY | FILE.tar.gz | FILE.jsonl ...]",
		Summary: "Reads mails that came back - delivery reports, bounces in words, complaints, automatic replies - and writes one JSON object per\n" +
			"reported recipient, or one per mail that names none. A directory stands for the .eml files in it and below, an archive for\n" +
			"those it holds, and of JSON lines {\"id\":..,\"mail\":BASE64} each is a mail; without an argument, or for -, standard input is read. What a mail does not tell is absent.\n" +
			"recipient is the address that failed, original_recipient the one that was mailed, where it is another. A file that cannot be\n" +
			"read is named on standard error; the others are read all the same, and the exit status is 1.",
		Examples: []service.Example{
			{Command: "carom dsn bounce.eml", Explanation: "what one report says"},
			{Command: "carom dsn Maildir/new bounces.tar.gz >reports.jsonl", Explanation: "a mailbox and an archive"},
			{Command: "carom dsn -site site.yaml -keys-dir keys Maildir/new", Explanation: "and how far each is believed"},
			{Command: "carom dsn -header X-Campaign,X-Tenant bounce.eml", Explanation: "with the sender's own marks in the returned message"},
			{Command: "carom dsn <bounce.eml | jq -r .recipient", Explanation: "behind a pipe of the mail server"},
		},
	})
	headers := fs.String("header", "", "`names` of fields of the returned message to be written too, with commas between them: X-Campaign,X-Tenant")
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	names := fs.Args()
	if len(names) == 0 {
		names = []string{"-"}
	}
	d := dsnReader{std: std, out: bufio.NewWriterSize(std.out, 64<<10)}
	var err error
	if d.site, d.keys, err = ingest.LoadSite(*siteFile, *keysDir); err != nil {
		return err
	}
	for _, name := range strings.Split(*headers, ",") {
		if name = strings.TrimSpace(name); name != "" {
			d.headers = append(d.headers, name)
		}
	}
	for _, name := range names {
		if err := d.input(ctx, name); err != nil {
			return errors.Join(err, d.out.Flush())
		}
	}
	if err := d.out.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if d.failed > 0 {
		return fmt.Errorf("%d of %d mails could not be read", d.failed, d.mails)
	}
	return nil
}

// dsnReader goes through the inputs. Its errors end the run; those of one input are told and counted.
type dsnReader struct {
	std           stdio
	headers       []string // of the returned message, to be shown
	out           *bufio.Writer
	line          []byte
	mails, failed int
	site          *site.Site // nil: trust is not told
	keys          site.Keys
}

func (d *dsnReader) input(ctx context.Context, name string) error {
	if name == "-" {
		if isTerminal(d.std.in) {
			fmt.Fprintln(d.std.err, "reading from the terminal; Ctrl-D ends the input")
		}
		return d.stream(ctx, name, d.std.in)
	}
	info, err := os.Stat(name)
	if err != nil {
		return d.fail(name, err)
	}
	if !info.IsDir() {
		return d.file(ctx, name)
	}
	return filepath.WalkDir(name, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return d.fail(path, err)
		// A maildir's files have no suffix, but all the rest of their name: "new" and "cur" hold nothing else.
		case !entry.Type().IsRegular() || !isMail(path):
			return nil
		}
		return d.file(ctx, path)
	})
}

func isMail(path string) bool {
	folder := filepath.Base(filepath.Dir(path))
	return strings.EqualFold(filepath.Ext(path), ".eml") || folder == "new" || folder == "cur"
}

func (d *dsnReader) file(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return d.fail(name, err)
	}
	defer f.Close()
	return d.stream(ctx, name, f)
}

// stream reads a mail or a tar archive of mails, either of them gzipped or not.
func (d *dsnReader) stream(ctx context.Context, name string, r io.Reader) error {
	r, err := local.Decompress(r)
	if err != nil {
		return d.fail(name, err)
	}
	b := bufio.NewReaderSize(r, 4096)
	// Peek's error is met again by whoever reads on.
	if head, _ := b.Peek(262); len(head) == 262 && bytes.Equal(head[257:], []byte("ustar")) {
		return d.archive(ctx, name, tar.NewReader(b))
	}
	if head, _ := b.Peek(1); len(head) == 1 && head[0] == '{' {
		return d.jsonLines(ctx, name, b)
	}
	return d.mail(ctx, name, b)
}

func (d *dsnReader) archive(ctx context.Context, name string, r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.fail(name, err)
		}
		if h.Typeflag != tar.TypeReg || !isMail(h.Name) {
			continue
		}
		if err := d.mail(ctx, name+":"+h.Name, r); err != nil {
			return err
		}
	}
}

func (d *dsnReader) mail(ctx context.Context, name string, r io.Reader) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	b, err := io.ReadAll(io.LimitReader(r, maxMailBytes))
	if err != nil {
		return d.fail(name, err)
	}
	report, err := dsn.Parse(b, dsn.Limits{})
	if err != nil {
		return d.fail(name, err)
	}
	d.mails++
	for _, cut := range report.Cut {
		fmt.Fprintf(d.std.err, "carom dsn: %q: note: %v; the rest was not read\n", name, cut)
	}
	d.line = d.line[:0]
	belief := d.belief(report)
	if len(report.Recipients) == 0 {
		d.line = append(append(appendReport(d.line, name, report, nil, d.headers), belief...), "}\n"...)
	}
	for i := range report.Recipients {
		d.line = append(append(appendReport(d.line, name, report, &report.Recipients[i], d.headers), belief...), "}\n"...)
	}
	if _, err := d.out.Write(d.line); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// belief returns the fields that say how far a report is believed, empty without a site file or for other mail.
func (d *dsnReader) belief(r *dsn.Report) []byte {
	switch r.Kind {
	case dsn.Failure, dsn.Delay, dsn.Complaint, dsn.Unsubscribe:
	default:
		return nil
	}
	if d.site == nil {
		return nil
	}
	j, own := source.Judge(d.site, d.keys, r, nil, r.Date)
	b := eventjson.AppendString([]byte(`,"trust":`), j.Trust.Name())
	b = eventjson.AppendString(append(b, `,"because":`...), j.Why.String())
	if own != nil && own.Log {
		return append(b, `,"joined":true`...)
	}
	if j.Backscatter {
		b = append(b, `,"backscatter":true`...)
	}
	return b
}

func (d *dsnReader) fail(name string, err error) error {
	d.mails++
	d.failed++
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) {
		err = pathErr.Err // it repeats the name
	}
	fmt.Fprintf(d.std.err, "carom dsn: %q: %v\n", name, err)
	return nil
}

// appendReport appends one line of JSON, without its end. rec is nil for a mail that names no recipient; headers are the returned message's fields to be shown.
func appendReport(b []byte, file string, r *dsn.Report, rec *dsn.Recipient, headers []string) []byte {
	field := func(key, value string) {
		if value != "" {
			b = eventjson.AppendString(append(b, key...), value)
		}
	}
	moment := func(key string, t time.Time) {
		if !t.IsZero() {
			b = append(t.UTC().AppendFormat(append(append(b, key...), '"'), time.RFC3339), '"')
		}
	}
	b = eventjson.AppendString(append(b, `{"file":`...), file)
	field(`,"kind":`, string(r.Kind))
	occurred := r.Date
	if rec != nil {
		field(`,"recipient":`, rec.Recipient)
		field(`,"original_recipient":`, rec.Original)
		field(`,"action":`, rec.Action)
		field(`,"enhanced_code":`, rec.Status)
		field(`,"reported_code":`, rec.ReportedStatus)
		if rec.StatusSource != 0 {
			field(`,"enhanced_source":`, rec.StatusSource.Name())
		}
		if rec.SMTPCode != 0 {
			b = strconv.AppendInt(append(b, `,"smtp_code":`...), int64(rec.SMTPCode), 10)
		}
		field(`,"text":`, rec.Diagnostic)
		if rec.Phase != 0 {
			field(`,"phase":`, rec.Phase.Name())
		}
		if rec.Origin != 0 {
			field(`,"origin":`, rec.Origin.Name())
		}
		field(`,"remote_host":`, rec.RemoteMTA)
		moment(`,"will_retry_until":`, rec.WillRetryUntil)
		if !rec.LastAttempt.IsZero() {
			occurred = rec.LastAttempt
		}
	}
	field(`,"reporting_mta":`, r.ReportingMTA)
	field(`,"message_id":`, r.OriginalMessageID)
	field(`,"envelope_id":`, r.OriginalEnvelopeID)
	field(`,"queue_id":`, r.QueueID)
	field(`,"sender":`, r.OriginalSender)
	moment(`,"occurred_at":`, occurred)
	if f := r.Feedback; f != nil {
		field(`,"feedback_type":`, f.Type)
		field(`,"source_ip":`, f.SourceIP)
	}
	field(`,"return_path":`, r.ReturnPath)
	if r.HasOriginal {
		b = append(b, `,"has_original":true`...)
		field(`,"original_from":`, r.OriginalFrom)
		b = appendStrings(b, `,"dkim_domains":`, r.OriginalDKIMDomains)
		field(`,"list_id":`, first(r.OriginalHeader("List-Id")))
		field(`,"feedback_id":`, first(r.OriginalHeader("Feedback-ID")))
	}
	b = appendHeaders(b, r, headers)
	field(`,"format":`, r.Format)
	return b
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func appendStrings(b []byte, key string, values []string) []byte {
	for i, v := range values {
		if i == 0 {
			b = append(append(b, key...), '[')
		} else {
			b = append(b, ',')
		}
		b = eventjson.AppendString(b, v)
	}
	if len(values) > 0 {
		b = append(b, ']')
	}
	return b
}

// appendHeaders appends the returned message's fields that were asked for and are there.
func appendHeaders(b []byte, r *dsn.Report, names []string) []byte {
	open := false
	for _, name := range names {
		values := r.OriginalHeader(name)
		if len(values) == 0 {
			continue
		}
		b = append(b, ',')
		if !open {
			b, open = append(b, `"original_header":{`...), true
		}
		b = appendStrings(append(eventjson.AppendString(b, name), ':'), "", values)
	}
	if open {
		b = append(b, '}')
	}
	return b
}
