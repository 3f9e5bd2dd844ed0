// Package demo shows the main job on one machine: a real log is imported, then two hours of made-up mail pass, in which
// one customer mails a bad list and Apple refuses good recipients for a while, as it did on 2019-08-08 and 2021-04-26.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/schema"
)

// Config of a demonstration.
type Config struct {
	Dir    string // of the data; empty takes a temporary one that is removed
	Sample string // a real log to import first; empty: none
	Seed   uint64 // of the made-up mail
	DSN    string // of a running ClickHouse; empty: the embedded one
	Log    service.LogOptions
}

const (
	yesterday   = 60 // minutes of mail the day before: by then it is known who takes mail
	stepMinutes = 10 // how far the mail may run ahead of detection
	quiet       = 2 * time.Minute
)

// Run shows it all on out and says on progress how it gets on.
func Run(ctx context.Context, cfg Config, out, progress io.Writer) (err error) {
	if cfg.Dir == "" {
		if cfg.Dir, err = os.MkdirTemp("", "carom-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.Dir)) }()
	}
	hook, err := listen()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hook.close()) }()

	sysCfg := local.DefaultConfig(cfg.Dir)
	sysCfg.ClickHouseDSN = cfg.DSN
	sysCfg.Log = cfg.Log
	sysCfg.Services.Back.Detect.Webhook = hook.url()
	if sysCfg.Services.Back.Detect.WebhookSecret, err = secretFile(cfg.Dir); err != nil {
		return err
	}
	p := report.New(out, progress)
	p.Progress("starting a broker, ClickHouse and the three services")
	sys, err := local.Start(ctx, sysCfg, service.NewLogger(progress, cfg.Log), progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Stop()) }()
	if err := sys.Ready(ctx); err != nil {
		return err
	}
	if cfg.Sample != "" {
		if err := importSample(ctx, sys, p, cfg.Sample); err != nil {
			return err
		}
	}
	return live(ctx, cfg.Seed, sys, p, hook)
}

// secretFile makes the secret that notifications are signed with.
func secretFile(dir string) (string, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	name := filepath.Join(dir, "webhook-secret")
	return name, os.WriteFile(name, []byte("whsec_"+base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600)
}

func importSample(ctx context.Context, sys *local.System, p *report.Printer, path string) error {
	p.Progress("importing a real log, %s", path)
	done, err := sys.Import(ctx, path, func(int64) {})
	if err != nil {
		return err
	}
	if err := sys.Drain(ctx, time.Time{}); err != nil {
		return err
	}
	p.Heading("1  A real Postfix log of %d lines, imported: judged and counted, never alerting", done.Lines)
	return p.Providers(ctx, sys.DB, 4)
}

func live(ctx context.Context, seed uint64, sys *local.System, p *report.Printer, hook *receiver) error {
	now := traffic.DefaultConfig()
	now.Seed = seed
	end := time.Now().UTC().Truncate(time.Minute)
	now.Start = end.Add(-time.Duration(now.Minutes) * time.Minute)
	before := now
	before.Start, before.Minutes, before.Burst, before.ListImport = now.Start.Add(-24*time.Hour), yesterday, nil, nil

	p.Progress("sending %d minutes of yesterday's mail, as an import", before.Minutes)
	past, err := traffic.New(before)
	if err != nil {
		return err
	}
	for _, lines, ok := past.Next(); ok; _, lines, ok = past.Next() {
		if err := sys.Send(ctx, convert(lines), local.ImportHeader("demo")); err != nil {
			return err
		}
	}
	if err := sys.Drain(ctx, time.Time{}); err != nil {
		return err
	}

	for _, r := range past.Truth().Recipients {
		if r.Gone && r.Bounced > 0 {
			now.Gone = append(now.Gone, r.Address) // the sender has not taken them off, and mails them again today
		}
	}
	b, l := now.Burst, now.ListImport
	at := func(d time.Duration) string { return now.Start.Add(d).Format("15:04") }
	p.Progress("sending %d minutes of live mail, %d attempts a minute, as fast as it goes; one customer mails a bad list %s-%s, "+
		"Apple refuses %.0f %% of good recipients %s-%s", now.Minutes, now.PerMinute, at(l.From), at(l.From+l.For), 100*b.Share, at(b.From), at(b.From+b.For))
	gen, err := traffic.New(now)
	if err != nil {
		return err
	}
	sent := 0
	for minute, lines, ok := gen.Next(); ok; minute, lines, ok = gen.Next() {
		if err := sys.Send(ctx, convert(lines)); err != nil {
			return err
		}
		if sent++; sent%stepMinutes == 0 {
			// Detection keeps step, as on a real day. It sees a minute when every host's clock has passed it.
			if err := sys.Evaluated(ctx, minute.Add(-quiet)); err != nil {
				return err
			}
			p.Progress("%s UTC on the made-up clock", minute.Format("15:04"))
		}
	}
	// The clock of the last minute, then what the leader makes of it, then the end of its way.
	if err := sys.Drain(ctx, end); err != nil {
		return err
	}
	if err := sys.Evaluated(ctx, end); err != nil {
		return err
	}
	if err := sys.Drain(ctx, time.Time{}); err != nil {
		return err
	}
	return show(ctx, sys, p, hook, gen.Truth(), now)
}

func convert(lines []traffic.Line) []local.Line {
	out := make([]local.Line, len(lines))
	for i, l := range lines {
		out[i] = local.Line{Host: l.Host, Text: []byte(l.Text)}
	}
	return out
}

// show prints what came of the mail, beside what is known from its making.
func show(ctx context.Context, sys *local.System, p *report.Printer, hook *receiver, truth traffic.Truth, cfg traffic.Config) error {
	p.Heading("2  After %d minutes of made-up mail (%d attempts; made: %d falsely refused, %d really unknown, %d to a bad list)",
		cfg.Minutes, truth.Attempts, truth.FalseUnknown, truth.Unknown, truth.Listed)
	if err := p.Providers(ctx, sys.DB, 4); err != nil {
		return err
	}
	if err := p.Suppressed(ctx, sys.DB, 5); err != nil {
		return err
	}

	incidents, err := sys.Incidents(ctx)
	if err != nil {
		return err
	}
	p.Heading("3  Incidents: %d", len(incidents))
	for _, i := range incidents {
		p.Incident(i)
		p.Text("")
	}
	if err := held(ctx, sys, p, truth); err != nil {
		return err
	}

	notes := hook.received(ctx, len(incidents))
	p.Heading("5  Delivered to the on-call webhook: %d notifications", len(notes))
	for i, n := range notes {
		if i == 0 {
			p.Text("the first, as it arrived:")
			for _, h := range n.headers {
				p.Text(h)
			}
			p.Text(n.body)
			continue
		}
		p.Text(n.line())
	}
	if len(incidents) == 0 || len(notes) == 0 {
		return errors.New("the outage was not found: the demonstration failed")
	}
	return nil
}

// held compares what was falsely refused with what became of those recipients.
func held(ctx context.Context, sys *local.System, p *report.Printer, truth traffic.Truth) error {
	histories, err := sys.Histories(ctx)
	if err != nil {
		return err
	}
	victims, suppressed, held, released, known := 0, 0, 0, 0, 0
	for _, r := range truth.Recipients {
		if r.FirstFalse.IsZero() || r.Gone {
			continue
		}
		victims++
		h := histories[strings.ToLower(r.Address)]
		if h.Suppressed > 0 {
			suppressed++
		}
		if h.Held > 0 {
			held++
		}
		if h.Now == schema.RecipientState_STATE_OK {
			released++
		}
		if !r.FirstDelivered.IsZero() {
			known++
		}
	}
	p.Heading("4  What was held")
	rows := [][]string{
		{"good recipients that Apple refused", fmt.Sprint(victims)},
		{"... that had taken mail in these two hours", fmt.Sprint(known)},
		{"... held by the incident", fmt.Sprint(held)},
		{"... ever suppressed", fmt.Sprint(suppressed)},
		{"... free to be mailed again now", fmt.Sprint(released)},
	}
	p.Table([]string{"", "recipients"}, rows, 1)
	return nil
}
