package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/site"
)

// runSite works on site files.
func runSite(ctx context.Context, args []string, std stdio) error {
	const usage = "Usage: carom site COMMAND [flags] [arguments]\n\nCommands:\n  check     check a site file, and say what it holds\n" +
		"  path      what a return path says, and how far a bounce to it is believed\n  sign      make a return path as the file's pattern says\n\n" +
		"carom site COMMAND -help shows a command's flags and examples.\n"
	if len(args) == 0 {
		return service.Usagef("no command; carom site -help lists them")
	}
	switch args[0] {
	case "check":
		return runSiteCheck(ctx, args[1:], std)
	case "path":
		return runSitePath(ctx, args[1:], std)
	case "sign":
		return runSiteSign(ctx, args[1:], std)
	case "help", "-h", "-help", "--help":
		fmt.Fprint(std.out, usage)
		return nil
	}
	return service.Usagef("unknown command %q; carom site -help lists them", args[0])
}

// runSiteCheck checks a site file as ingest does before it takes it.
func runSiteCheck(_ context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom site check", flag.ContinueOnError)
	fs.SetOutput(std.out)
	keys := fs.String("keys-dir", "", "`directory` of the secrets that the file names; without it they are listed, not looked for")
	asJSON := fs.Bool("json", false, "write one JSON object")
	service.Describe(fs, service.Help{
		Synopsis: "[flags] FILE",
		Summary: "Reads a site file and tells all that is wrong with it, a line each, with its place; the exit status is then 1.\n" +
			"docs/site.md describes the file.",
		Examples: []service.Example{
			{Command: "carom site check site.yaml", Explanation: "before it is given to ingest"},
			{Command: "carom site check -keys-dir /run/secrets/carom site.yaml", Explanation: "and whether every key is there"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return service.Usagef("want one FILE, have %d arguments; flags come before it", fs.NArg())
	}
	s, err := loadSite(fs.Arg(0), *keys)
	if err != nil {
		return err
	}
	c := s.Counts()
	if *asJSON {
		return writeJSON(std.out, struct {
			site.Counts
			Keys []string `json:"keys"`
		}{c, append([]string{}, s.AllKeyNames()...)})
	}
	t := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	row := func(what string, n int, note string) { fmt.Fprintf(t, "%s\t%d\t%s\n", what, n, note) }
	row("revision", int(c.Revision), "")
	row("own hosts", c.Hosts, fmt.Sprintf("%d with a log of their own, %d with a zone", c.HostsWithLog, c.HostsWithZone))
	row("source addresses", c.SourceIPs, "")
	row("translated addresses", c.Translated, "")
	row("label rules", c.TenantRules+c.StreamRules+c.CampaignRules, fmt.Sprintf("tenant %d, stream %d, campaign %d", c.TenantRules, c.StreamRules, c.CampaignRules))
	row("bounce domains", c.BounceDomains, fmt.Sprintf("%d always signed", c.AlwaysSigned))
	row("return paths", c.ReturnPaths, fmt.Sprintf("%d signed", c.SignedReturnPaths))
	row("feeds", c.Feeds, "")
	note := strings.Join(s.AllKeyNames(), ", ")
	if *keys != "" {
		note += " (all there)"
	}
	row("keys", len(s.AllKeyNames()), note)
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// loadSite reads a file; without a directory its keys are not looked for.
func loadSite(file, keysDir string) (*site.Site, error) {
	if keysDir != "" {
		s, _, err := ingest.LoadSite(file, keysDir)
		return s, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return site.Parse(text)
}

// siteFlags are the flags of commands that need the keys, too.
type siteFlags struct{ file, keys string }

func (f *siteFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.file, "site", "site.yaml", "site `file`")
	fs.StringVar(&f.keys, "keys-dir", "", "`directory` of the secrets that the file names")
}

// runSitePath judges a return path.
func runSitePath(_ context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom site path", flag.ContinueOnError)
	fs.SetOutput(std.out)
	var flags siteFlags
	flags.register(fs)
	service.Describe(fs, service.Help{
		Synopsis: "[flags] ADDRESS",
		Summary:  "Says what is made of a bounce that came back to this address and returns no message: trust, the recipient that was mailed, labels.",
		Examples: []service.Example{
			{Command: "carom site path -keys-dir keys 'b-c1+jo=mail.example-3f2a...@b.example.com'", Explanation: "whether a return path of your own sender is read as it should"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 1 {
		return service.Usagef("want one ADDRESS, have %d arguments; flags come before it", fs.NArg())
	}
	s, keys, err := ingest.LoadSite(flags.file, flags.keys)
	if err != nil {
		return err
	}
	j := s.Judge(site.Bounce{ReturnPath: fs.Arg(0), At: time.Now()}, keys)
	var l site.Labels
	s.Label(&l, site.Fact{Kind: site.FactSender, Value: fs.Arg(0)})
	t := tabwriter.NewWriter(std.out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"trust", j.Trust.Name()},
		{"because", j.Why.String()},
		{"backscatter", fmt.Sprint(j.Backscatter)},
		{"recipient", j.Path.Recipient},
		{"tenant", l.Tenant},
		{"stream", l.Stream},
		{"campaign", l.Campaign},
	} {
		if row[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// runSiteSign makes a return path, so that a sender's own code can be compared with it.
func runSiteSign(_ context.Context, args []string, std stdio) error {
	fs := flag.NewFlagSet("carom site sign", flag.ContinueOnError)
	fs.SetOutput(std.out)
	var flags siteFlags
	flags.register(fs)
	number := fs.Int("pattern", 0, "`number` of the return path in the file, from 0")
	var p site.Parts
	fs.StringVar(&p.Recipient, "recipient", "", "`address` that is mailed")
	fs.StringVar(&p.Tenant, "tenant", "", "tenant, where the pattern has it")
	fs.StringVar(&p.Stream, "stream", "", "stream, where the pattern has it")
	fs.StringVar(&p.Campaign, "campaign", "", "campaign, where the pattern has it")
	service.Describe(fs, service.Help{
		Summary: "Makes a return path as the site file's pattern says. A sender's own code has to make the same.",
		Examples: []service.Example{
			{Command: "carom site sign -keys-dir keys -recipient jo@mail.example -campaign c1", Explanation: "the envelope sender of one mail"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() != 0 {
		return service.Usagef("unexpected argument %q", fs.Arg(0))
	}
	s, keys, err := ingest.LoadSite(flags.file, flags.keys)
	if err != nil {
		return err
	}
	p.At = time.Now()
	path, err := s.Sign(*number, p, keys)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(std.out, path); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
