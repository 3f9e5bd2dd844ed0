package main

import (
	"context"
	"flag"
	"io"

	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/survey"
	"carom.dev/carom/schema"
)

// runTry reads logs and shows what they say.
func runTry(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom try", flag.ContinueOnError)
	fs.SetOutput(std.out)
	var flags logFlags
	flags.register(fs)
	asJSON := fs.Bool("json", false, "write one JSON object, with all rows")
	showAddresses := fs.Bool("show-addresses", false, "show recipients in full; by default local parts are masked")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] FILE ...",
		Summary: "Reads mail logs, plain, gzip or zstd, and shows what they say: outcomes, providers, reasons, failures without an answer, words that no\n" +
			"rule knows, and the recipients that a list which drops everybody after a final failure would have lost. Needs no server and\n" +
			"changes nothing. Messages are followed from one file into the next: give rotated files oldest first; - is standard input.",
		Examples: []service.Example{
			{Command: "carom try /var/log/mail.log", Explanation: "what happened, in tables"},
			{Command: "carom try -json mail.log.1.gz mail.log", Explanation: "the same as one JSON object"},
			{Command: "ssh mx1 cat /var/log/mail.log | carom try -", Explanation: "a log from elsewhere"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return service.Usagef("no FILE; - is standard input")
	}
	src, err := flags.source()
	if err != nil {
		return err
	}
	set, err := rules.Load()
	if err != nil {
		return err
	}
	log, err := flags.log()
	if err != nil {
		return err
	}
	sum := survey.New(set, *showAddresses)
	same := func(r io.Reader) io.Reader { return r }
	err = readLogs(ctx, std, log, src, fs.Args(), same, func(ev *schema.DeliveryEvent) error {
		sum.Event(ev)
		return nil
	})
	if err != nil {
		return err
	}
	report := sum.Report(log.Stats())
	if *asJSON {
		return writeJSON(std.out, report)
	}
	return report.WriteText(std.out, survey.Style{Columns: terminalColumns(std.out), Colour: wantsColour(std.out)})
}
