package detect

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"carom.dev/carom/pipeline/alert"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/incident"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// Config of detection and alerting.
type Config struct {
	Group     string        // prefix of its consumer groups
	Member    string        // stable name of this replica; default: the host name
	StateDir  string        // snapshots
	LookEvery time.Duration // how often complete minutes are looked for
	TickEvery time.Duration // how often idle partitions are told the time
	Learn     time.Duration // how much of the past a new leader reads
	Detector  incident.Config

	Alertmanagers []string // base URLs of all replicas
	Webhook       string   // URL
	WebhookSecret string   // file with the signing secrets
	RunbookURL    string   // prefix of the runbook links
	DashboardURL  string
	AlertHTTP     alert.HTTP
	Alert         alert.Config
}

// DefaultConfig returns the settings of a single replica, without alert channels.
func DefaultConfig() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "detect"
	}
	return Config{
		Group: "carom-detect", Member: host, StateDir: "data/detect", LookEvery: 5 * time.Second, TickEvery: 10 * time.Second,
		Learn: 24 * time.Hour, Detector: incident.DefaultConfig(), Alert: alert.DefaultConfig(),
	}
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults. Group, member and state directory are those of
// the stage beside it.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.DurationVar(&c.LookEvery, "detect.look-every", c.LookEvery, "`interval` at which complete minutes are looked for")
	fs.DurationVar(&c.TickEvery, "detect.tick-every", c.TickEvery, "`interval` at which partitions without traffic are told the time")
	fs.DurationVar(&c.Learn, "detect.learn", c.Learn, "how much of the `past` a new leader reads to learn what is usual")
	fs.Func("alert.alertmanager", "base `URL` of an Alertmanager replica; repeat it, or separate with commas, for all replicas", func(s string) error {
		for _, u := range strings.Split(s, ",") {
			if u = strings.TrimSpace(u); u != "" {
				c.Alertmanagers = append(c.Alertmanagers, u)
			}
		}
		return nil
	})
	fs.StringVar(&c.Webhook, "alert.webhook", c.Webhook, "`URL` that gets every revision of an incident (Standard Webhooks)")
	fs.StringVar(&c.WebhookSecret, "alert.webhook-secrets-file", c.WebhookSecret, "`file` with the webhook's signing secrets, one whsec_... per line")
	fs.StringVar(&c.RunbookURL, "alert.runbook-url", c.RunbookURL, "`prefix` of runbook links; the kind of incident is appended")
	fs.StringVar(&c.DashboardURL, "alert.dashboard-url", c.DashboardURL, "`URL` of the dashboard that alerts link to")
}

// Validate names the field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Group == "" || c.Member == "" || c.StateDir == "":
		return errors.New("detect: group, member and state directory are needed")
	case c.LookEvery < 100*time.Millisecond:
		return fmt.Errorf("-detect.look-every %s: below 100ms", c.LookEvery)
	case c.TickEvery < 100*time.Millisecond:
		return fmt.Errorf("-detect.tick-every %s: below 100ms", c.TickEvery)
	case c.Learn < time.Hour:
		return fmt.Errorf("-detect.learn %s: below 1h", c.Learn)
	}
	return errors.Join(c.Detector.Validate(), c.Alert.Validate())
}

func (c Config) channels(p *service.Process) ([]alert.Channel, error) {
	var out []alert.Channel
	if len(c.Alertmanagers) > 0 {
		a, err := alert.NewAlertmanager(alert.AlertmanagerConfig{
			Name: "alertmanager", URLs: c.Alertmanagers, Service: "carom", Interval: c.Alert.Interval, RunbookURL: c.RunbookURL, DashboardURL: c.DashboardURL,
			HTTP: c.AlertHTTP,
		}, p.Log)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	if c.Webhook != "" {
		w, err := alert.NewWebhook(alert.WebhookConfig{Name: "webhook", URL: c.Webhook, SecretsFile: c.WebhookSecret, HTTP: c.AlertHTTP})
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	if len(out) == 0 {
		p.Log.Warn("no alert channel is configured; incidents are found and shown, and nobody is told")
	}
	return out, nil
}

// leaderStuckAfter bounds one look of the leader: queries have deadlines of their own, well below.
const leaderStuckAfter = 5 * time.Minute

// Start builds the stage on p, over connections that the caller owns. What it starts is stopped by p.Lifecycle.
func Start(p *service.Process, cfg Config, client *broker.Client, db *warehouse.DB, genesis *schema.Genesis) error {
	if err := cfg.Validate(); err != nil {
		return &service.UsageError{Err: err}
	}
	channels, err := cfg.channels(p)
	if err != nil {
		return &service.UsageError{Err: err}
	}
	dir := filepath.Join(cfg.StateDir, genesis.Epoch)
	produce := func(ctx context.Context, _ fold.Machine, b fold.Batch) error {
		return client.Produce(ctx, b.Outbox.Messages)
	}
	folds := []fold.Config{
		{
			Stage: "relay", Topic: schema.TopicControl, Publish: produce,
			New: func(int32) (fold.Machine, error) { return &relay{partitions: genesis.EventPartitions}, nil },
		},
		{
			Stage: "leader", Topic: schema.TopicControl, Dir: dir, SnapshotEvery: time.Minute, Publish: produce,
			New: func(int32) (fold.Machine, error) { return newView(), nil },
			While: func(ctx context.Context, _ int32, m fold.Machine) {
				watch := p.Health.Watch("leader", leaderStuckAfter)
				defer watch.Stop()
				l := &leader{cfg: cfg, client: client, db: db, genesis: genesis, view: m.(*view), watch: watch, log: p.Log}
				l.run(ctx)
			},
		},
		{
			Stage: "alerts", Topic: schema.TopicIncidents, Dir: dir, SnapshotEvery: 10 * time.Second, Volatile: true, Publish: produce,
			New:   func(int32) (fold.Machine, error) { return newAlerts(cfg.Alert, channels, p.Log) },
			While: func(ctx context.Context, _ int32, m fold.Machine) { m.(*alerts).run(ctx) },
		},
	}
	for _, f := range folds {
		f.Group, f.Member, f.Logger = cfg.Group+"-"+f.Stage, cfg.Member, p.Log
		if f.Observe, err = fold.NewObserver(p, f.Stage); err != nil {
			return err
		}
		p.Lifecycle.Go(f.Stage, func(ctx context.Context) error { return fold.Run(ctx, client, f) })
	}
	return nil
}
