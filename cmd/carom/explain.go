package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"strings"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/smtpreply"
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
	fs.StringVar(&in.Enhanced, "enhanced", "", "enhanced status `code` that the remote sent; default: from TEXT")
	asJSON := fs.Bool("json", false, "write one JSON object")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] TEXT",
		Summary: "Shows how a response is judged: the layers asked, the rule that decided and the words it matched, what the layers behind it\n" +
			"would have said, and why to retry and to suppress or not. TEXT is a reply or the mail server's own words, as logged; - reads\n" +
			"it from standard input.",
		Examples: []service.Example{
			{Command: `carom explain "550 5.1.1 user lookup success but no user record found" -mx mx01.mail.icloud.com`, Explanation: "hard by its code, not by its words"},
			{Command: `carom explain --json "connect to mx.example.com[192.0.2.1]:25: Connection timed out"`, Explanation: "the mail server's own words, as JSON"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	return errors.Join(nil)
	_ = phase
	_ = code
	_ = asJSON
	_ = eventjson.Append
	_ = io.EOF
	_ = os.Stdin
	_ = strings.Join
	_ = smtpreply.Codes
	_ = survey.NewLog
	return nil
}
