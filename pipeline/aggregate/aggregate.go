// Package aggregate is the third stage: classified events become the state of recipients and its decisions, and the
// counts of minutes become rows in ClickHouse.
//
// Folds and loaders, each with its own consumer group, stand side by side:
//
//	mail.classified -> recipients, cells -> mail.decisions, mail.suppressions, mail.cells     (fold)
//	mail.cells      -> one row per cell  -> outcomes_1m                                       (fold)
//	mail.classified -> failures      mail.decisions -> decisions      mail.incidents -> incidents   (loaders)
//
// Decisions depend on Kafka alone. When ClickHouse is down, the second line and the loaders wait, at their offsets.
// Nothing is lost while the topics reach back.
package aggregate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// Config of the aggregate stage.
type Config struct {
	Group            string        // prefix of its consumer groups
	Member           string        // stable name of this replica; default: the host name
	StateDir         string        // snapshots
	SnapshotEvery    time.Duration // how much is folded again after a crash
	RowsEvery        time.Duration // rows are written to ClickHouse that often
	AcceptIncomplete bool          // begin although the log's beginning is gone and no snapshot is there
}

// DefaultConfig returns the settings of a single replica.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "aggregate"
	}
	return Config{Group: "carom-aggregate", Member: host, StateDir: "data/aggregate", SnapshotEvery: time.Minute, RowsEvery: 2 * time.Second}
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Group, "group", c.Group, "prefix of the consumer groups")
	fs.StringVar(&c.Member, "member", c.Member, "stable `name` of this replica: the same partitions come back to it")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "`directory` of the snapshots; losing it costs time, not data, while the topics reach back")
	fs.DurationVar(&c.SnapshotEvery, "snapshot-every", c.SnapshotEvery, "`interval` of snapshots; what came since the last is folded again after a crash")
	fs.DurationVar(&c.RowsEvery, "rows-every", c.RowsEvery, "`interval` at which rows are written to ClickHouse")
	fs.BoolVar(&c.AcceptIncomplete, "accept-incomplete", c.AcceptIncomplete, "begin although the start of the log is gone and there is no snapshot")
}

// Validate names the field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Group == "":
		return errors.New("-group: empty")
	case c.Member == "":
		return errors.New("-member: empty")
	case c.StateDir == "":
		return errors.New("-state-dir: empty")
	case c.SnapshotEvery < time.Second:
		return fmt.Errorf("-snapshot-every %s: below 1s", c.SnapshotEvery)
	case c.RowsEvery < 100*time.Millisecond:
		return fmt.Errorf("-rows-every %s: below 100ms", c.RowsEvery)
	}
	return nil
}

// maxRows bounds the rows that a loader holds before it writes them.
const maxRows = 50_000

// Start builds the stage on p, over connections that the caller owns. What it starts is stopped by p.Lifecycle.
func Start(p *service.Process, cfg Config, client *broker.Client, db *warehouse.DB, genesis *schema.Genesis) error {
	if err := cfg.Validate(); err != nil {
		return &service.UsageError{Err: err}
	}
	count, err := newCounters(p.Telemetry.Meter, p.Log)
	if err != nil {
		return err
	}
	dir := filepath.Join(cfg.StateDir, genesis.Epoch)
	ctx := p.Lifecycle.Context()
	readControl := func(seq int64) (*schema.Control, error) { return control.Read(ctx, client, seq) }

	folds := []fold.Config{
		{
			Stage: "recipients", Topic: schema.TopicClassified, Dir: dir, AcceptIncomplete: cfg.AcceptIncomplete,
			New: func(partition int32) (fold.Machine, error) {
				return newMachine(partition, genesis, readControl, count)
			},
			Publish: func(ctx context.Context, _ fold.Machine, b fold.Batch) error {
				return client.Produce(ctx, b.Outbox.Messages)
			},
		},
		{
			Stage: "cells", Topic: schema.TopicCells, Dir: dir, AcceptIncomplete: cfg.AcceptIncomplete, Linger: cfg.RowsEvery, MaxPending: maxRows,
			New: func(partition int32) (fold.Machine, error) { return newMerger(partition, genesis, count), nil },
			Publish: func(ctx context.Context, m fold.Machine, b fold.Batch) error {
				return m.(*merger).publish(ctx, client, db, b)
			},
		},
		load(cfg, client, count, "load-failures", schema.TopicClassified, decodeFailure, db.InsertFailures),
		load(cfg, client, count, "load-decisions", schema.TopicDecisions, decodeDecision,
			func(ctx context.Context, rows []*schema.Decision, _ string) error {
				return db.InsertDecisions(ctx, rows)
			}),
		load(cfg, client, count, "load-incidents", schema.TopicIncidents, decodeIncident,
			func(ctx context.Context, rows []*schema.Incident, _ string) error {
				return db.InsertIncidents(ctx, rows)
			}),
	}
	for _, f := range folds {
		f.Group, f.Member, f.SnapshotEvery, f.Logger = cfg.Group+"-"+f.Stage, cfg.Member, cfg.SnapshotEvery, p.Log
		if f.Observe, err = fold.NewObserver(p, f.Stage); err != nil {
			return err
		}
		p.Lifecycle.Go(f.Stage, func(ctx context.Context) error { return fold.Run(ctx, client, f) })
	}
	return nil
}

func load[T any](cfg Config, client *broker.Client, count *counters, stage, topic string,
	decode func([]byte) (T, bool, error), insert func(context.Context, []T, string) error,
) fold.Config {
	return fold.Config{
		Stage: stage, Topic: topic, Linger: cfg.RowsEvery, MaxPending: maxRows,
		New: func(partition int32) (fold.Machine, error) {
			return &loader[T]{topic: topic, partition: partition, count: count, decode: decode, insert: insert}, nil
		},
		Publish: func(ctx context.Context, m fold.Machine, b fold.Batch) error {
			return m.(*loader[T]).publish(ctx, client, b)
		},
	}
}
