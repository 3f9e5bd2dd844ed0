// Package assembly puts the third service together: the connections to Kafka and ClickHouse, the tables, and on them
// the folds of pipeline/aggregate and the detection of pipeline/detect.
package assembly

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"carom.dev/carom/pipeline/aggregate"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/detect"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/warehouse"
)

// Config of the service.
type Config struct {
	Broker    broker.Config
	Warehouse warehouse.Config
	DSNFile   string // file that holds the DSN, instead of Warehouse.DSN
	CAFile    string // PEM, authorities that ClickHouse's certificate is checked with
	Migrate   bool   // bring the tables up to date at the start
	// CreateTopics makes the topics that do not exist and begins the log with Epoch when mail.control is empty.
	CreateTopics bool
	Epoch        control.Params
	PolicyFile   string // text of the first policy; empty: the built-in one
	Aggregate    aggregate.Config
	Detect       detect.Config
}

// DefaultConfig returns the settings of a single replica.
func DefaultConfig() Config {
	return Config{
		Broker: broker.DefaultConfig(), Warehouse: warehouse.DefaultConfig(), Migrate: true, Epoch: control.DefaultParams(),
		Aggregate: aggregate.DefaultConfig(), Detect: detect.DefaultConfig(),
	}
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	c.Broker.Register(fs)
	fs.StringVar(&c.Warehouse.DSN, FlagDSN, c.Warehouse.DSN, "ClickHouse `DSN`, clickhouse://user:password@host:9000/database; secure=true for TLS")
	fs.StringVar(&c.DSNFile, "clickhouse.dsn-file", c.DSNFile, "`file` that holds the DSN, to keep the password out of the environment")
	fs.StringVar(&c.CAFile, "clickhouse.tls-ca-file", c.CAFile, "PEM `file` of the authorities to trust; implies TLS")
	fs.IntVar(&c.Warehouse.FailuresTTLDays, "clickhouse.failures-ttl-days", c.Warehouse.FailuresTTLDays, "`days` that raw failures are kept")
	fs.DurationVar(&c.Warehouse.InsertTimeout, "clickhouse.insert-timeout", c.Warehouse.InsertTimeout, "bound on one insert")
	fs.DurationVar(&c.Warehouse.QueryTimeout, "clickhouse.query-timeout", c.Warehouse.QueryTimeout, "bound on one query")
	fs.BoolVar(&c.Migrate, "clickhouse.migrate", c.Migrate, "bring the tables up to date at the start")
	fs.BoolVar(&c.CreateTopics, "topics.create", c.CreateTopics, "make the topics that do not exist, and begin the log")
	fs.StringVar(&c.Epoch.Epoch, "epoch.name", c.Epoch.Epoch, "with -topics.create: `name` of the log's epoch, part of every event id")
	fs.Var((*topicList)(&c.Epoch.RawTopics), "epoch.raw-topics", "with -topics.create: `topics`, comma separated, that ingest reads: log lines, feeds, mails")
	fs.IntVar(&c.Epoch.RawPartitions, "epoch.raw-partitions", c.Epoch.RawPartitions, "with -topics.create: partitions of each raw topic")
	fs.IntVar(&c.Epoch.EventPartitions, "epoch.event-partitions", c.Epoch.EventPartitions, "with -topics.create: partitions of mail.events and mail.classified; fixed for the epoch")
	fs.IntVar(&c.Epoch.CellPartitions, "epoch.cell-partitions", c.Epoch.CellPartitions, "with -topics.create: partitions of mail.cells; fixed for the epoch")
	fs.IntVar(&c.Epoch.Replicas, "epoch.replicas", c.Epoch.Replicas, "with -topics.create: replicas of each topic; 0 leaves it to the broker")
	fs.BoolVar(&c.Epoch.Observe, "epoch.observe", c.Epoch.Observe, "with -topics.create: mark all decisions as dry runs")
	fs.StringVar(&c.PolicyFile, "epoch.policy-file", c.PolicyFile, "with -topics.create: `file` of the first suppression policy; empty: the built-in one")
	c.Aggregate.RegisterFlags(fs)
	c.Detect.RegisterFlags(fs)
}

// topicList is a flag of topic names.
type topicList []string

func (l *topicList) String() string { return strings.Join(*l, ",") }

func (l *topicList) Set(s string) error {
	*l = strings.Split(s, ",")
	for i, name := range *l {
		if (*l)[i] = strings.TrimSpace(name); (*l)[i] == "" {
			return errors.New("an empty name")
		}
	}
	return nil
}

// FlagDSN may hold a password: keep it out of logs.
const FlagDSN = "clickhouse.dsn"

func (c *Config) prepare() error {
	if c.DSNFile != "" {
		if c.Warehouse.DSN != "" {
			return errors.New("-clickhouse.dsn and -clickhouse.dsn-file are both given")
		}
		b, err := os.ReadFile(c.DSNFile)
		if err != nil {
			return fmt.Errorf("-clickhouse.dsn-file: %w", err)
		}
		c.Warehouse.DSN = strings.TrimSpace(string(b))
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return fmt.Errorf("-clickhouse.tls-ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("-clickhouse.tls-ca-file: no certificate in %s", c.CAFile)
		}
		c.Warehouse.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	if c.PolicyFile != "" {
		b, err := os.ReadFile(c.PolicyFile)
		if err != nil {
			return fmt.Errorf("-epoch.policy-file: %w", err)
		}
		c.Epoch.Policy = string(b)
	}
	c.Detect.Member, c.Detect.StateDir = c.Aggregate.Member, c.Aggregate.StateDir
	return c.Warehouse.Validate()
}

// Start brings the service up on p: connections, tables, folds, detection. What it starts is stopped by p.Lifecycle.
func Start(p *service.Process, cfg Config) error {
	if err := cfg.prepare(); err != nil {
		return &service.UsageError{Err: err}
	}
	ctx := p.Lifecycle.Context()
	client, err := broker.Open(cfg.Broker)
	if err != nil {
		return err
	}
	p.Lifecycle.OnStop("kafka client", func(context.Context) error { client.Close(); return nil })
	db, err := warehouse.Open(ctx, cfg.Warehouse)
	if err != nil {
		return err
	}
	p.Lifecycle.OnStop("clickhouse connections", func(context.Context) error { return db.Close() })
	if cfg.Migrate {
		if err := db.Migrate(ctx); err != nil {
			return err
		}
	}
	if cfg.CreateTopics {
		if err := client.EnsureTopics(ctx, control.Topics(cfg.Epoch)); err != nil {
			return err
		}
		if _, err := control.EnsureGenesis(ctx, client, cfg.Epoch); err != nil {
			return err
		}
	}
	genesis, err := control.WaitGenesis(ctx, client)
	if err != nil {
		return err
	}
	p.Log.Info("epoch", "name", genesis.Epoch, "event_partitions", genesis.EventPartitions, "observe", genesis.Observe)
	if err := aggregate.Start(p, cfg.Aggregate, client, db, genesis); err != nil {
		return err
	}
	return detect.Start(p, cfg.Detect, client, db, genesis)
}
