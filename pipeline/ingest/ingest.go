// Package ingest is the first stage: raw log lines from mta.raw become delivery events on mail.events.
//
// Each raw partition is a fold (pipeline/fold): the queue table that joins a delivery line with its message's sender and
// id, the hosts' clocks and the lines remembered against a shipper's repeats are its state, saved with the offset it
// reflects. Every line is counted as an event, as known, as repeated or as unparsed; an unparsed line goes to
// mail.dead-letter with the reason. When the process dies, lines may be parsed and events sent again, in the same order
// and with the same ids; none is lost.
package ingest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/service"
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
	Correlator       mtalog.Config

	location *time.Location
}

// DefaultConfig returns the settings of a single replica.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "ingest"
	}
	return Config{
		Broker: broker.DefaultConfig(), Group: "carom-ingest", Member: host, StateDir: "data/ingest",
		SnapshotEvery: time.Minute, Timezone: "UTC", Correlator: mtalog.DefaultConfig(),
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
	fs.BoolVar(&c.AcceptIncomplete, "accept-incomplete", c.AcceptIncomplete, "begin although the start of the raw log is gone and there is no snapshot")
	fs.IntVar(&c.Correlator.MaxEntries, "max-queue-entries", c.Correlator.MaxEntries, "queue entries remembered per raw partition")
	fs.DurationVar(&c.Correlator.TTL, "queue-entry-ttl", c.Correlator.TTL, "a queue entry without a line for this `duration` is forgotten; keep it above the MTA's queue lifetime")
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
	return errors.Join(c.Broker.Validate(), c.Correlator.Validate())
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
	return nil
}
