// Package local runs the whole of Carom on one machine: a Kafka broker in this process, ClickHouse as a child process,
// and the three services, each with its own shell, meeting through Kafka as they do in a cluster. It is for development,
// demonstrations and tests, and for small installations that can live without replicas.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"carom.dev/carom/pipeline/assembly"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/classify"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/warehouse"
)

// Config of a system on one machine.
type Config struct {
	Dir            string // everything that lasts
	KafkaPort      int    // 0 takes any free one
	ClickHousePort int    // native protocol; 0 takes any free one
	HTTPPort       int    // of ingest; classify and aggregate take the next two; 0 takes any free ones
	Host           string // of imported lines that name none
	Format         string // of imported files: "mail" or a feed's; empty: the file tells
	// ClickHouseDSN names a running server to use instead of the embedded one.
	ClickHouseDSN string
	Log           service.LogOptions
	Services      Services
}

// Services are the configurations of the three services. Addresses and directories are filled in.
type Services struct {
	Ingest   ingest.Config
	Classify classify.Config
	Back     assembly.Config
}

// DefaultConfig returns the settings of a system in dir: quick to show what it is given.
func DefaultConfig(dir string) Config {
	back := assembly.DefaultConfig()
	back.CreateTopics = true
	back.Epoch.Observe = false
	back.Aggregate.RowsEvery = 500 * time.Millisecond
	back.Aggregate.SnapshotEvery = 15 * time.Second
	back.Detect.LookEvery = 500 * time.Millisecond
	back.Detect.TickEvery = 2 * time.Second
	in := ingest.DefaultConfig()
	in.SnapshotEvery = 15 * time.Second
	return Config{
		Dir: dir, Host: "localhost", Log: service.LogOptions{Format: service.LogFormatAuto, Level: slog.LevelWarn},
		Services: Services{Ingest: in, Classify: classify.DefaultConfig(), Back: back},
	}
}

// System is a running system.
type System struct {
	cfg       Config
	server    *embedded.ClickHouse // nil with a DSN of its own
	kafka     *embedded.Broker
	processes []*running
	Client    *broker.Client
	DB        *warehouse.DB
	log       *slog.Logger
	failed    chan error
}

type running struct {
	name string
	p    *service.Process
	done chan struct{}
	err  error
}

// Start brings everything up, in the order in which it depends on each other. progress is told what takes long. On
// error everything that was started has been stopped.
func Start(ctx context.Context, cfg Config, log *slog.Logger, progress io.Writer) (*System, error) {
	s := &System{cfg: cfg, log: log, failed: make(chan error, 4)}
	if err := s.start(ctx, progress); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *System) start(ctx context.Context, progress io.Writer) error {
	cfg := &s.cfg
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var err error
	if s.kafka, err = embedded.StartBroker(embedded.BrokerOptions{Dir: filepath.Join(cfg.Dir, "kafka"), Port: cfg.KafkaPort}); err != nil {
		return err
	}
	if err := s.startClickHouse(ctx, progress); err != nil {
		return err
	}
	back := &cfg.Services.Back
	back.Warehouse.DSN = cfg.ClickHouseDSN
	for _, b := range []*broker.Config{&cfg.Services.Ingest.Broker, &cfg.Services.Classify.Broker, &back.Broker} {
		b.Brokers = s.kafka.Addr()
		b.SessionTimeout, b.RebalanceTimeout = 6*time.Second, 3*time.Second
	}
	cfg.Services.Ingest.StateDir = filepath.Join(cfg.Dir, "ingest")
	back.Aggregate.StateDir = filepath.Join(cfg.Dir, "aggregate")

	if s.Client, err = broker.Open(back.Broker); err != nil {
		return err
	}
	if s.DB, err = warehouse.Open(ctx, back.Warehouse); err != nil {
		return err
	}
	if err := s.DB.Migrate(ctx); err != nil {
		return err
	}
	if err := s.Client.EnsureTopics(ctx, control.Topics(back.Epoch)); err != nil {
		return err
	}
	if _, err := control.EnsureGenesis(ctx, s.Client, back.Epoch); err != nil {
		return err
	}
	for i, svc := range []struct {
		name  string
		start func(*service.Process) error
	}{
		{"aggregate", func(p *service.Process) error { return assembly.Start(p, *back) }},
		{"classify", func(p *service.Process) error { return classify.Start(p, cfg.Services.Classify) }},
		{"ingest", func(p *service.Process) error { return ingest.Start(p, cfg.Services.Ingest) }},
	} {
		if err := s.startService(svc.name, 2-i, svc.start); err != nil {
			return fmt.Errorf("%s: %w", svc.name, err)
		}
	}
	return nil
}

func (s *System) startClickHouse(ctx context.Context, progress io.Writer) error {
	if s.cfg.ClickHouseDSN != "" {
		return nil
	}
	cache, err := embedded.CacheDir()
	if err != nil {
		return err
	}
	lib, err := embedded.FetchClickHouse(ctx, cache, progress)
	if err != nil {
		return err
	}
	s.server, err = embedded.StartClickHouse(ctx, embedded.Options{
		Dir: filepath.Join(s.cfg.Dir, "clickhouse"), LibPath: lib, NativePort: s.cfg.ClickHousePort, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.cfg.ClickHouseDSN = s.server.DSN()
	return nil
}

// startService runs a service in a shell of its own. The end of a service nobody asked to end ends the system.
func (s *System) startService(name string, portOffset int, start func(*service.Process) error) error {
	shell := service.DefaultConfig()
	shell.HTTPAddr = "127.0.0.1:0"
	if s.cfg.HTTPPort != 0 {
		shell.HTTPAddr = fmt.Sprintf("127.0.0.1:%d", s.cfg.HTTPPort+portOffset)
	}
	shell.Log = s.cfg.Log
	// The parent's end must not reach the services: Stop ends them in order.
	p, err := service.Start(context.Background(), name, shell, s.log)
	if err != nil {
		return err
	}
	r := &running{name: name, p: p, done: make(chan struct{})}
	s.processes = append(s.processes, r)
	startErr := start(p)
	if startErr != nil {
		p.Lifecycle.Fail(startErr)
	}
	go func() {
		defer close(r.done)
		r.err = p.Lifecycle.Wait()
		if r.err != nil {
			s.failed <- fmt.Errorf("%s: %w", name, r.err)
		}
	}()
	return startErr
}

// Failed tells of a service or server that ended unasked.
func (s *System) Failed() <-chan error {
	if server := s.server; server != nil {
		go func() {
			<-server.Done()
			if err := server.Err(); err != nil {
				s.failed <- err
			}
		}()
	}
	return s.failed
}

// Ready waits until every service says that it is ready.
func (s *System) Ready(ctx context.Context) error {
	for {
		var missing []string
		for _, r := range s.processes {
			for _, m := range r.p.Health.Missing() {
				missing = append(missing, r.name+": "+m)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %v: %w", missing, ctx.Err())
		case err := <-s.failed:
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Addresses names what can be connected to, in the order of the flow.
func (s *System) Addresses() [][2]string {
	out := [][2]string{{"kafka", s.kafka.Addr()}}
	for i := len(s.processes) - 1; i >= 0; i-- {
		out = append(out, [2]string{s.processes[i].name, "http://" + s.processes[i].p.Addr().String()})
	}
	if s.server != nil {
		out = append(out, [2]string{"clickhouse", s.server.HTTPAddr()})
	}
	return out
}

// Stop ends everything, the first in the flow first, and waits: each service finishes its batch, publishes and saves it.
func (s *System) Stop() error {
	var errs []error
	for i := len(s.processes) - 1; i >= 0; i-- {
		r := s.processes[i]
		r.p.Lifecycle.Stop()
		<-r.done
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.name, r.err))
		}
	}
	s.processes = nil
	if s.DB != nil {
		errs = append(errs, s.DB.Close())
		s.DB = nil
	}
	if s.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		errs = append(errs, s.server.Stop(ctx))
		cancel()
		s.server = nil
	}
	if s.Client != nil {
		s.Client.Close()
		s.Client = nil
	}
	if s.kafka != nil {
		s.kafka.Close()
		s.kafka = nil
	}
	return errors.Join(errs...)
}
