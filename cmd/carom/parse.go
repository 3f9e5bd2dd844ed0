package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/schema"
)

// runParse turns log lines into delivery events.
func runParse(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom parse", flag.ContinueOnError)
	fs.SetOutput(std.out)
	var flags logFlags
	flags.register(fs)
	stats := fs.Bool("stats", false, "at the end, count on standard error what became of the lines, with samples of those not understood")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] [FILE ...]",
		Summary: "Reads mail logs, plain or as shippers wrap them, accounting files, webhooks' bodies and bounce mails, plain, gzip or zstd, and writes one\n" +
			"JSON object per delivery event. Messages are followed from one file into the next: give rotated files oldest first. Without a file, or for -, it reads standard input.\n" +
			"What a log does not tell is absent: \"sender\":\"\" is the null sender, no sender is an unknown one. raw.topic and raw.offset\n" +
			"are the file's name and the line's number, from 0; event_id is made of them, so that a second run gives the same ids.",
		Examples: []service.Example{
			{Command: "carom parse /var/log/mail.log", Explanation: "every delivery, deferral, bounce and expiry, a JSON object a line"},
			{Command: "carom parse -format sendgrid -site site.yaml body.json", Explanation: "a webhook's body, with tenant and campaign by the site file's rules"},
			{Command: "carom parse -stats mail.log.2.gz mail.log.1 mail.log >events.jsonl", Explanation: "rotated files, and what became of each line"},
			{Command: "tail -F /var/log/mail.log | carom parse -host mx1 | carom classify", Explanation: "a running log, judged as it comes"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	src, err := flags.source()
	if err != nil {
		return err
	}
	log, err := flags.log()
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(std.out, 64<<10)
	wrap := func(r io.Reader) io.Reader { return flushingReader{r, out} }
	var line []byte
	err = readLogs(ctx, std, log, src, fs.Args(), wrap, func(ev *schema.DeliveryEvent) error {
		line = append(eventjson.Append(line[:0], ev), '\n')
		_, err := out.Write(line)
		return err
	})
	if flushErr := out.Flush(); flushErr != nil && err == nil {
		err = fmt.Errorf("write: %w", flushErr)
	}
	if *stats {
		err = errors.Join(err, log.Stats().WriteText(std.err))
	}
	return err
}

// flushingReader writes out what is buffered before it may wait for more input, so that a slow log is seen at once.
type flushingReader struct {
	r   io.Reader
	out *bufio.Writer
}

func (f flushingReader) Read(b []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return f.r.Read(b)
}
