// Package classify is the second stage: events from mail.events get their verdict and go to mail.classified, same
// partition, same order. It has no state but the rule set. What it does twice after a crash it does with the same
// result; the reader of mail.classified recognises the repeats.
package classify

import (
	"context"
	"errors"
	"flag"
	"os"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/schema"
)

// Config of the classify service.
type Config struct {
	Broker broker.Config
	Group  string
	Member string // stable name of this replica; default: the host name
}

// DefaultConfig returns the settings of a single replica.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "classify"
	}
	return Config{Broker: broker.DefaultConfig(), Group: "carom-classify", Member: host}
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Broker.Register(fs)
	fs.StringVar(&c.Group, "group", c.Group, "consumer group")
	fs.StringVar(&c.Member, "member", c.Member, "stable `name` of this replica: the same partitions come back to it")
}

// Validate names the field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Group == "":
		return errors.New("-group: empty")
	case c.Member == "":
		return errors.New("-member: empty")
	}
	return c.Broker.Validate()
}

// Start builds the stage on p. Everything that it starts is stopped by p.Lifecycle.
func Start(p *service.Process, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return &service.UsageError{Err: err}
	}
	set, err := rules.Load()
	if err != nil {
		return err
	}
	p.Log.Info("rule set loaded", "ruleset", set.Version(), "rules", set.Len())
	count, err := newCounters(p.Telemetry.Meter)
	if err != nil {
		return err
	}
	client, err := broker.Open(cfg.Broker)
	if err != nil {
		return err
	}
	p.Lifecycle.OnStop("kafka client", func(context.Context) error { client.Close(); return nil })
	if _, err := control.WaitGenesis(p.Lifecycle.Context(), client); err != nil {
		return err
	}
	observe, err := fold.NewObserver(p, "classify")
	if err != nil {
		return err
	}
	run := fold.Config{
		Stage: "classify", Topic: schema.TopicEvents, Group: cfg.Group, Member: cfg.Member, Observe: observe, Logger: p.Log,
		New: func(partition int32) (fold.Machine, error) {
			return &machine{partition: partition, rules: set, count: count}, nil
		},
		Publish: func(ctx context.Context, _ fold.Machine, b fold.Batch) error {
			return client.Produce(ctx, b.Outbox.Messages)
		},
	}
	p.Lifecycle.Go("fold", func(ctx context.Context) error { return fold.Run(ctx, client, run) })
	return nil
}
