package main

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"os"

	"carom.dev/carom/pipeline/demo"
	"carom.dev/carom/pipeline/service"
)

// sampleLog is the real log that the repository holds.
const sampleLog = "pipeline/mtalog/testdata/postfix/mail.log.gz"

// runDemo shows the main job.
func runDemo(ctx context.Context, args []string, std stdio) error {
	flags := flag.NewFlagSet("carom demo", flag.ContinueOnError)
	flags.SetOutput(std.out)
	cfg := demo.Config{Log: service.LogOptions{Format: service.LogFormatText, Level: slog.LevelError}}
	flags.StringVar(&cfg.Dir, "data", "", "`directory` of the data, to be looked at afterwards with carom dev; empty: a temporary one")
	flags.StringVar(&cfg.Sample, "sample", sampleLog, "real Postfix log `file` to import first; left out if the default is not there")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "`number` that the made-up mail is made from")
	flags.StringVar(&cfg.DSN, "clickhouse.dsn", os.Getenv("CAROM_CLICKHOUSE_DSN"), "`DSN` of a running ClickHouse to use instead of the embedded one")
	flags.TextVar(&cfg.Log.Level, "log-level", cfg.Log.Level, "log this `level` and above: debug, info, warn or error")
	service.Describe(flags, service.Help{
		Summary: "Shows the main job on this machine: a real log, then two hours of made-up mail with an outage at Apple, and what comes of it.",
		Examples: []service.Example{
			{Command: "carom demo", Explanation: "takes a minute or two, leaves nothing behind"},
			{Command: "carom demo -data /tmp/carom && carom dev -data /tmp/carom", Explanation: "keep the data and look at it"},
		},
	})
	if err := service.Parse(flags, args); err != nil {
		return err
	}
	if _, err := os.Stat(cfg.Sample); errors.Is(err, fs.ErrNotExist) && cfg.Sample == sampleLog {
		cfg.Sample = ""
	}
	return demo.Run(ctx, cfg, std.out, std.err)
}
