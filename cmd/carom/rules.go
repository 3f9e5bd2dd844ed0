package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
)

// maxProblemText bounds what is printed of one problem: samples are quoted in it.
const maxProblemText = 1000

// runRules works on classification rules.
func runRules(ctx context.Context, args []string, std stdio) error {
	const usage = "Usage: carom rules COMMAND [flags] [arguments]\n\nCommands:\n  lint      check rule files and run their samples\n\ncarom rules COMMAND -help shows a command's flags and examples.\n"
	if len(args) == 0 {
		return service.Usagef("no command; carom rules -help lists them")
	}
	switch args[0] {
	case "lint":
		return runRulesLint(ctx, args[1:], std)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(std.out, usage)
		return nil
	}
	return service.Usagef("unknown command %q; carom rules -help lists them", args[0])
}

// runRulesLint checks rule files as a service does before it takes them.
func runRulesLint(_ context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom rules lint", flag.ContinueOnError)
	fs.SetOutput(std.out)
	stats := fs.Bool("stats", false, "count rules, patterns and samples by layer and provider; only of rules without a problem")
	asJSON := fs.Bool("json", false, "write one JSON object")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] [DIR]",
		Summary: "Reads every *.rules file of DIR, or the built-in rules without it, compiles them and runs their samples. Each problem is a line\n" +
			"FILE:LINE: RULE: PROBLEM. A set with a problem would not be loaded; the exit status is then 1.",
		Examples: []service.Example{
			{Command: "carom rules lint ./my-rules", Explanation: "check rules before they are rolled out"},
			{Command: "carom rules lint -stats", Explanation: "what the built-in rules cover"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 1 {
		return service.Usagef("want one DIR, have %d arguments; flags come before it", fs.NArg())
	}
	var l lintReport
	var set *rules.Set
	var err error
	if fs.NArg() == 0 {
		set, err = rules.Load()
		if err != nil {
			return err
		}
	} else {
		dir := fs.Arg(0)
		if info, err := os.Stat(dir); err != nil {
			return fmt.Errorf("rule files: %w", err)
		} else if !info.IsDir() {
			return service.Usagef("%s is no directory of rule files", dir)
		}
		l.Problems = rules.Lint(os.DirFS(dir))
		if len(l.Problems) == 0 {
			if set, err = rules.LoadFS(os.DirFS(dir)); err != nil {
				return err
			}
		}
	}
	if set != nil {
		l.Rules, l.Version = set.Len(), set.Version()
		if *stats {
			l.Counts = set.Counts()
		}
	}
	if *asJSON {
		err = writeJSON(std.out, l.json())
	} else {
		err = l.write(std.out)
	}
	if err == nil && len(l.Problems) > 0 {
		err = fmt.Errorf("%d problems; this set would not be loaded", len(l.Problems))
	}
	return err
}

// lintReport is what lint found.
type lintReport struct {
	Problems []rules.Problem
	Rules    int
	Version  string
	Counts   []rules.Count
}

func (l *lintReport) write(w io.Writer) error {
	for _, p := range l.Problems {
		if _, err := fmt.Fprintln(w, report.Clean(p.Error(), maxProblemText)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	if len(l.Problems) > 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if l.Counts != nil {
		fmt.Fprintln(t, "LAYER\tPROVIDER\tRULES\tPATTERNS\tSAMPLES")
	}
	for _, c := range l.Counts {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\n", c.Layer, c.Provider, c.Rules, c.Patterns, c.Samples)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%d rules without a problem, rule set %s\n", l.Rules, l.Version); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// json returns the report under the names of the command's contract.
func (l *lintReport) json() any {
	type problem struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Rule    string `json:"rule,omitempty"`
		Problem string `json:"problem"`
	}
	type count struct {
		Layer    string `json:"layer"`
		Provider string `json:"provider,omitempty"`
		Rules    int    `json:"rules"`
		Patterns int    `json:"patterns"`
		Samples  int    `json:"samples"`
	}
	out := struct {
		Problems []problem `json:"problems"`
		Rules    int       `json:"rules,omitempty"`
		Ruleset  string    `json:"ruleset,omitempty"`
		Counts   []count   `json:"counts,omitempty"`
	}{Problems: []problem{}, Rules: l.Rules, Ruleset: l.Version}
	for _, p := range l.Problems {
		out.Problems = append(out.Problems, problem{p.File, p.Line, p.Rule, p.Message})
	}
	for _, c := range l.Counts {
		out.Counts = append(out.Counts, count{c.Layer.String(), c.Provider, c.Rules, c.Patterns, c.Samples})
	}
	return out
}
