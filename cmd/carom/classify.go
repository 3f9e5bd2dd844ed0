package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/survey"
)

// runClassify judges responses, or events, line by line.
func runClassify(ctx context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom classify", flag.ContinueOnError)
	fs.SetOutput(std.out)
	service.Describe(fs, service.Help{
		Synopsis: "[FILE ...]",
		Summary: "Reads one JSON object a line, plain or gzip, and writes one verdict for each, in order. Without a file, or for -, it reads\n" +
			"standard input. A line is a response:\n" +
			`  {"id":"1","kind":"response","smtp_code":550,"enhanced":"5.1.1","text":"550 5.1.1 User unknown","provider_hint":"google"}` + "\n" +
			"of which all but the text may be missing (smtp_code may be a number or a string; codes that are missing are taken from the\n" +
			"text; an enhanced code given beside the text counts as the remote server's own; provider_hint is a provider's name or a\n" +
			"domain), or an event as carom parse writes it. The verdict is\n" +
			`  {"id","class","permanence","scope","origin","phase","provider","retry","suppress","rule","ruleset","confidence"}` + "\n" +
			"and, behind an expiry or a postponement, cause_class.\n" +
			"A malformed line is reported on standard error with its number, gets no verdict, and the rest goes on. Whole mails (kind dsn) are not read in\n" +
			"this version: such a line gets the class undetermined with confidence default and no rule. After either the exit status is 1.",
		Examples: []service.Example{
			{Command: "carom classify responses.jsonl >verdicts.jsonl", Explanation: "a verdict for each response"},
			{Command: "carom parse mail.log | carom classify", Explanation: "a verdict for each event of a log; id is the event_id"},
			{Command: `echo '{"text":"421 4.7.0 Try again later"}' | carom classify`, Explanation: "one response"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	set, err := rules.Load()
	if err != nil {
		return err
	}
	judge := survey.NewJudge(set)
	out := bufio.NewWriterSize(std.out, 64<<10)
	progress := newProgress(std.err)
	err = eachInput(std, fs.Args(), func(name string, _ time.Time, r io.Reader) error {
		return judge.Lines(ctx, flushingReader{progress.reader(name, r), out}, out, func(line int, err error) {
			progress.done()
			fmt.Fprintf(std.err, "carom classify: %s: line %d: %v\n", name, line, err)
		})
	})
	progress.done()
	if flushErr := out.Flush(); flushErr != nil && err == nil {
		err = fmt.Errorf("write: %w", flushErr)
	}
	if err != nil {
		return err
	}
	return judge.Complaint()
}
