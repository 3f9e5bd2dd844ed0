// Command carom is the operator's command line.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/service"
)

// verb is one subcommand.
type verb struct {
	name, summary string
	run           func(ctx context.Context, args []string, std stdio) error
}

// stdio is where a verb reads and writes: data to out, everything else to err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

func verbs() []verb {
	return []verb{
		{"try", "read a log and show what it says: seconds, no servers", runTry},
		{"parse", "log lines -> delivery events as JSON lines", runParse},
		{"classify", "responses -> verdicts, JSON lines", runClassify},
		{"dsn", "bounce mails -> reported recipients as JSON lines", runDSN},
		{"explain", "why a response gets its verdict", runExplain},
		{"rules", "check and study classification rules", runRules},
		{"site", "check what only the sender knows: hosts, labels, bounce domains", runSite},
		{"dev", "the whole system on this machine", runDev},
		{"demo", "the main job in two minutes: a real log, then an Apple outage", runDemo},
	}
}

func main() {
	embedded.MaybeRunChild() // does not return in the process that is to be ClickHouse
	os.Exit(run(os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr}))
}

func run(args []string, std stdio) int {
	if len(args) == 0 {
		usage(std.err)
		return service.ExitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		usage(std.out)
		return service.ExitOK
	case "version", "-version", "--version":
		fmt.Fprintf(std.out, "carom %s\n", service.Version())
		return service.ExitOK
	}
	for _, v := range verbs() {
		if v.name == args[0] {
			ctx, stop := service.SignalContext(context.Background(), slog.New(slog.DiscardHandler))
			defer stop()
			return service.Exit(std.err, "carom "+v.name, v.run(ctx, args[1:], std))
		}
	}
	fmt.Fprintf(std.err, "carom: unknown command %q; carom help lists them\n", args[0])
	return service.ExitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Carom turns the logs of mail servers into suppression decisions, exact numbers and incidents.\n\nUsage: carom COMMAND [flags] [arguments]\n\nCommands:\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-10s%s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\ncarom COMMAND -help shows a command's flags and examples.\n")
}
