// Package ingest is the first stage: log lines, feeds' records and bounce mails from the raw topics become delivery events
// on mail.events.
//
// Each raw partition is a fold (pipeline/fold): the site file in force, the queue table that joins a delivery line with its
// message's sender and id, the hosts' clocks and what is remembered against repeats are its state, saved with the offset
// it reflects. Every line, feed's record and mail is counted as an event, as known, as repeated or as unparsed; what is
// unparsed goes to mail.dead-letter with the reason. When the process dies, lines may be parsed and events sent again, in the same order
// and with the same ids; none is lost.
package ingest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/intake"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/source"
)

// Config of the ingest service.
type Config struct {
	Broker        broker.Config
	Group         string
	Member        string        // stable name of this replica; default: the host name
	StateDir      string        // snapshots
	SnapshotEvery time.Duration // how much is parsed again after a crash
	Timezone      string        // zone of stamps that carry none, an IANA name
	// AcceptIncomplete begins although the raw log's beginning is gone and no snapshot is there.
	AcceptIncomplete bool
	Source           source.Config
	Intake           intake.Config // the doors for webhooks and mails; its endpoints come from the site file
	SiteFile         string        // what only the sender knows (pipeline/site); empty: nothing
	KeysDir          string        // directory of the secrets that the site file names, a file each

	location *time.Location
	site     *site.Site
}

// DefaultConfig returns the settings of a single replica.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "ingest"
	}
	return Config{
		Broker: broker.DefaultConfig(), Group: "carom-ingest", Member: host, StateDir: "data/ingest",
		SnapshotEvery: time.Minute, Timezone: "UTC", Source: source.DefaultConfig(), Intake: intake.DefaultConfig(),
	}
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Broker.Register(fs)
	fs.StringVar(&c.Group, "group", c.Group, "consumer group; the raw topic's name is appended")
	fs.StringVar(&c.Member, "member", c.Member, "stable `name` of this replica: the same partitions come back to it")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "`directory` of the snapshots; losing it costs time, not data, while the raw log reaches back")
	fs.DurationVar(&c.SnapshotEvery, "snapshot-every", c.SnapshotEvery, "`interval` of snapshots; what came since the last is parsed again after a crash")
	fs.StringVar(&c.Timezone, "timezone", c.Timezone, "`zone` of time stamps that carry none, an IANA name")
	fs.StringVar(&c.SiteFile, "site", c.SiteFile, "site `file`: own hosts, whose mail is whose, bounce domains, feeds (carom site check)")
	fs.StringVar(&c.KeysDir, "keys-dir", c.KeysDir, "`directory` of the secrets that the site file names, a file each")
	c.Intake.RegisterFlags(fs)
	fs.BoolVar(&c.AcceptIncomplete, "accept-incomplete", c.AcceptIncomplete, "begin although the start of the raw log is gone and there is no snapshot")
	fs.IntVar(&c.Source.Lines.MaxEntries, "max-queue-entries", c.Source.Lines.MaxEntries, "queue entries remembered per raw partition")
	fs.DurationVar(&c.Source.Lines.TTL, "queue-entry-ttl", c.Source.Lines.TTL, "a queue entry without a line for this `duration` is forgotten; keep it above the MTA's queue lifetime")
}

// Validate names the field that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.Group == "":
		return errors.New("-group: empty")
	case c.Member == "":
		return errors.New("-member: empty")
	case c.StateDir == "":
		return errors.New("-state-dir: empty")
	case c.SnapshotEvery < time.Second:
		return fmt.Errorf("-snapshot-every %s: below 1s", c.SnapshotEvery)
	}
	location, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return fmt.Errorf("-timezone: %w", err)
	}
	c.location = location
	if c.site, c.Source.Keys, err = LoadSite(c.SiteFile, c.KeysDir); err != nil {
		return fmt.Errorf("-site: %w", err)
	}
	c.Intake.Endpoints = endpoints(c.site, c.Source.Keys)
	return errors.Join(c.Broker.Validate(), c.Source.Validate(), c.Intake.Validate())
}

// Start builds the stage on p. Everything that it starts is stopped by p.Lifecycle.
func Start(p *service.Process, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return &service.UsageError{Err: err}
	}
	count, err := newCounters(p.Telemetry.Meter)
	if err != nil {
		return err
	}
	client, err := broker.Open(cfg.Broker)
	if err != nil {
		return err
	}
	p.Lifecycle.OnStop("kafka client", func(context.Context) error { client.Close(); return nil })
	genesis, err := control.WaitGenesis(p.Lifecycle.Context(), client)
	if err != nil {
		return err
	}
	if genesis.KeyId != "" {
		return fmt.Errorf("the log was begun with privacy key %q: this version writes clear keys only and would mix them", genesis.KeyId)
	}
	if err := announce(p.Lifecycle.Context(), client, genesis.RawTopics, cfg.site); err != nil {
		return err
	}
	if c := cfg.Intake; c.Enabled() && !slices.Contains(genesis.RawTopics, c.Topic) {
		return fmt.Errorf("-intake.topic %s is none of the epoch's raw topics %v: nobody would read it", c.Topic, genesis.RawTopics)
	}
	var keyer address.Keyer
	for _, topic := range genesis.RawTopics {
		observe, err := fold.NewObserver(p, "ingest "+topic)
		if err != nil {
			return err
		}
		run := fold.Config{
			Stage: "ingest", Topic: topic, Group: cfg.Group + "-" + topic, Member: cfg.Member,
			Dir: filepath.Join(cfg.StateDir, genesis.Epoch), SnapshotEvery: cfg.SnapshotEvery, AcceptIncomplete: cfg.AcceptIncomplete,
			Observe: observe, Logger: p.Log,
			New: func(partition int32) (fold.Machine, error) {
				return newMachine(cfg, genesis, keyer, topic, partition, count)
			},
			Publish: func(ctx context.Context, _ fold.Machine, b fold.Batch) error {
				return client.Produce(ctx, b.Outbox.Messages)
			},
		}
		p.Lifecycle.Go("fold "+topic, func(ctx context.Context) error { return fold.Run(ctx, client, run) })
	}
	// Last, so that the doors close first: what they took is then read, or waits in the log.
	return intake.Start(p, cfg.Intake, client)
}
