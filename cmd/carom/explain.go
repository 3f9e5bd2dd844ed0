package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/survey"
	"carom.dev/carom/schema"
)

const maxExplainBytes = 64 << 10

// runExplain says why a response gets its verdict.
func runExplain(_ context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom explain", flag.ContinueOnError)
	fs.SetOutput(std.out)
	in := rules.Input{Outcome: schema.Outcome_BOUNCED}
	fs.StringVar(&in.Domain, "domain", "", "recipient's `domain`; names the provider where -mx does not")
	fs.StringVar(&in.RemoteHost, "mx", "", "`host` that spoke; names the provider")
	phase := fs.String("phase", "", "`phase` of the answer: dns, connect, banner, ehlo, tls, auth, mail, rcpt, data, eom, quit, queue or async")
	code := fs.Int("code", 0, "basic reply `code`; 0, the default, takes it from TEXT")
	fs.StringVar(&in.Enhanced, "enhanced", "", "enhanced status `code` that the remote server sent; default: from TEXT")
	asJSON := fs.Bool("json", false, "write one JSON object")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] TEXT",
		Summary: "Shows how a response is judged: the layers asked, the rule that decided and the words it matched, what the layers behind it\n" +
			"would have said, and why to retry or to suppress. TEXT is a reply or the mail server's own words, as logged; - reads it from\n" +
			"standard input. Flags come before it.",
		Examples: []service.Example{
			{Command: `carom explain -mx mx01.mail.icloud.com "550 5.1.1 inactive email address"`, Explanation: "hard by its codes, not by its words"},
			{Command: `carom explain -json "connect to mx.example.com[192.0.2.1]:25: Connection timed out"`, Explanation: "the mail server's own words, as JSON"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	var err error
	if in.Text, err = explainText(fs, std.in); err != nil {
		return err
	}
	if *code != 0 && (*code < 200 || *code > 599) {
		return service.Usagef("-code %d: want 200 to 599", *code)
	}
	in.Code = int32(*code)
	if *phase != "" {
		p, ok := schema.PhaseByName(*phase)
		if !ok {
			return service.Usagef("-phase %q is none", *phase)
		}
		in.Phase = p
	}
	if in.Enhanced != "" {
		in.EnhancedSource = schema.EnhancedSource_ENHANCED_REMOTE
	}
	set, err := rules.Load()
	if err != nil {
		return err
	}
	e := survey.Explain(set, &in)
	if *asJSON {
		return writeJSON(std.out, e)
	}
	return e.WriteText(std.out, survey.Style{Columns: terminalColumns(std.out), Colour: wantsColour(std.out)})
}

// explainText returns the words to be explained.
func explainText(fs *flag.FlagSet, stdin io.Reader) (string, error) {
	if fs.NArg() == 0 {
		return "", service.Usagef("no TEXT to explain")
	}
	for _, arg := range fs.Args()[1:] {
		if name := strings.TrimLeft(arg, "-"); name != arg && fs.Lookup(name) != nil {
			return "", service.Usagef("flag %s has to come before the text", arg)
		}
	}
	text := strings.Join(fs.Args(), " ")
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(stdin, maxExplainBytes))
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
		text = string(b)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", service.Usagef("TEXT is empty")
	}
	return text, nil
}

// wantsColour reports whether stream shows colours and nobody objects (no-color.org).
func wantsColour(stream any) bool {
	return isTerminal(stream) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
