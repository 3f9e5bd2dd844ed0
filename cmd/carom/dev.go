package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/source"
	"carom.dev/carom/schema"
)

// runDev runs the whole system until it is interrupted or, given an input, until that is through.
func runDev(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom dev", flag.ContinueOnError)
	fs.SetOutput(std.out)
	cfg := local.DefaultConfig("data")
	var inputs []string
	var stay bool
	fs.StringVar(&cfg.Dir, "data", cfg.Dir, "`directory` of everything that lasts; a second start goes on where the first one stopped")
	fs.Func("input", "`file` to import (a log, an accounting file, a webhook's body, a mail, or a directory of them; plain, gzip or zstd; repeat for more): counted and judged, never alerting", func(s string) error {
		inputs = append(inputs, s)
		return nil
	})
	format := fs.String("format", "auto", "`format` of the inputs: "+strings.Join(source.Formats(), ", ")+"; a log's lines tell theirs in any case")
	fs.StringVar(&cfg.Host, "host", cfg.Host, "`name` of the mail server, for imported lines that carry none (Exim's mainlog, Haraka's output)")
	fs.StringVar(&cfg.Services.Ingest.SiteFile, "site", "", "site `file`: own hosts, whose mail is whose, bounce domains, feeds (carom site check)")
	fs.StringVar(&cfg.Services.Ingest.KeysDir, "keys-dir", "", "`directory` of the secrets that the site file names, a file each")
	fs.BoolVar(&stay, "stay", false, "keep running after the inputs")
	fs.StringVar(&cfg.ClickHouseDSN, "clickhouse.dsn", "", "`DSN` of a running ClickHouse to use instead of the embedded one")
	fs.IntVar(&cfg.KafkaPort, "kafka.port", 0, "`port` of the embedded broker; 0 takes a free one")
	fs.IntVar(&cfg.ClickHousePort, "clickhouse.port", 0, "native `port` of the embedded ClickHouse; 0 takes a free one")
	fs.IntVar(&cfg.HTTPPort, "http.port", 0, "`port` of ingest's /metrics; classify and aggregate take the next two; 0 takes free ones")
	fs.StringVar(&cfg.Services.Ingest.Timezone, "timezone", "UTC", "`zone` of time stamps that carry none")
	cfg.Services.Ingest.Intake.RegisterFlags(fs)
	cfg.Services.Back.Detect.RegisterFlags(fs)
	fs.TextVar(&cfg.Log.Level, "log-level", cfg.Log.Level, "log this `level` and above: debug, info, warn or error")
	service.Describe(fs, service.Help{
		Summary: "Runs the whole system on this machine: a Kafka broker, ClickHouse and the three services, in one directory.",
		Examples: []service.Example{
			{Command: "carom dev", Explanation: "run until Ctrl-C; ship log lines to the topic mta.raw of the broker shown"},
			{Command: "carom dev -input /var/log/mail.log -data /tmp/carom", Explanation: "import a log, print a summary, end; again with the same directory goes on"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if !slices.Contains(source.Formats(), *format) {
		return service.Usagef("-format: %q is not known, want one of %s", *format, strings.Join(source.Formats(), ", "))
	}
	if *format == source.FormatMail || slices.Contains(schema.FeedFormats(), *format) {
		cfg.Format = *format
	}
	if fs.NArg() > 0 {
		return service.Usagef("unexpected argument %q; inputs are given with -input", fs.Arg(0))
	}
	out := report.New(std.out, std.err)
	log := service.NewLogger(std.err, cfg.Log)
	started := time.Now()
	sys, err := local.Start(ctx, cfg, log, std.err)
	if err != nil {
		return err
	}
	err = func() error {
		if err := sys.Ready(ctx); err != nil {
			return err
		}
		out.Progress("ready after %s", time.Since(started).Round(time.Millisecond))
		for _, path := range inputs {
			if err := importFile(ctx, sys, out, path); err != nil {
				return err
			}
		}
		if len(inputs) > 0 {
			out.Progress("waiting until everything has arrived in ClickHouse")
			if err := sys.Drain(ctx, time.Time{}); err != nil {
				return err
			}
			if err := out.Summary(ctx, sys.DB); err != nil {
				return err
			}
			if !stay {
				return nil
			}
		}
		for _, a := range sys.Addresses() {
			fmt.Fprintf(std.err, "%-11s %s\n", a[0], a[1])
		}
		fmt.Fprintf(std.err, "%-11s %s\nrunning; Ctrl-C stops in order\n", "data", cfg.Dir)
		select {
		case <-ctx.Done():
			return nil
		case err := <-sys.Failed():
			return err
		}
	}()
	if ctx.Err() != nil {
		err = nil // asked to end: what has not arrived goes on with the next start
		fmt.Fprintln(std.err, "stopping")
	}
	if stopErr := sys.Stop(); err == nil {
		err = stopErr
	}
	return err
}

func importFile(ctx context.Context, sys *local.System, out *report.Printer, path string) error {
	started := time.Now()
	done, err := sys.Import(ctx, path, func(n int64) { out.Progress("%s: %d MB sent", path, n>>20) })
	if err != nil {
		return err
	}
	note := []string{fmt.Sprintf("%s: %d lines sent in %s", path, done.Lines, time.Since(started).Round(time.Millisecond))}
	if done.Resumed {
		note = append(note, "the rest was sent before")
	}
	out.Progress("%s", strings.Join(note, "; "))
	return nil
}
