// Command accuracy compares the embedded rules with answers that other people labelled.
//
//	go run ./pipeline/rules/accuracy [-v] CORPUS_DIR
//
// CORPUS_DIR holds files of JSON lines (*.jsonl), each an answer as carom classify reads it with label (the best
// label), accept (every label that the source's category allows), coarse ("hard" or other) and scored; and classes.json,
// an object from this project's classes to those labels. Lines of another kind than "response" are left out.
//
// It prints for each file how many answers get the label (strict), or one of the accepted (lenient), and how many of
// those that are not hard are called hard. Labels are other people's judgement: a miss is a reason to read, not to
// write a rule for one text.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"carom.dev/carom/pipeline/rules"
)

func main() {
	verbose := flag.Bool("v", false, "list every answer that does not get its label")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: accuracy [-v] CORPUS_DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(os.Stdout, flag.Arg(0), *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "accuracy:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, dir string, verbose bool) error {
	set, err := rules.Load()
	if err != nil {
		return err
	}
	files, err := measure(set, os.DirFS(dir))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return errors.New("no labelled response in " + dir)
	}
	return write(w, files, verbose)
}

// write prints the misses of all files, if asked for, and then the numbers.
func write(w io.Writer, files []score, verbose bool) error {
	total := score{name: "all"}
	for _, f := range files {
		total.add(f)
		if !verbose {
			continue
		}
		for _, m := range f.misses {
			if _, err := fmt.Fprintf(w, "%-4s %s: want %s, have %s by %s: %.200q\n", m.kind, m.id, m.want, m.class, m.rule, m.text); err != nil {
				return fmt.Errorf("write: %w", err)
			}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "file\tanswers\tstrict %\tlenient %\tnot hard\tcalled hard %\tcandidates %\t")
	for _, f := range append(files, total) {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%d\t%.2f\t%.2f\t\n", f.name, f.answers, percent(f.strict, f.answers), percent(f.lenient, f.answers),
			f.soft, percent(f.falseHard, f.soft), percent(f.falseCandidates, f.soft))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// percent returns 0 for no whole.
func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }
