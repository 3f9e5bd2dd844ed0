package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"carom.dev/carom/schema"
)

// AlertmanagerConfig describes the replicas of one Alertmanager cluster.
type AlertmanagerConfig struct {
	Name string // of the channel; default "alertmanager"
	// URLs are the base addresses of all replicas. Each gets every alert: they agree among themselves on who notifies,
	// and a balancer in between would break that.
	URLs     []string
	Service  string        // label "service", which tells installations apart; default "carom"
	Interval time.Duration // of the dispatcher's reposts, at most a minute; an alert not repeated for three of them ends by itself
	// RunbookURL is a prefix, the kind of incident is appended; empty: no link. DashboardURL stands as it is.
	RunbookURL, DashboardURL string
	HTTP                     HTTP
}

// Validate names the first value that makes no sense.
func (c AlertmanagerConfig) Validate() error {
	if err := checkName(c.Name); err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	if len(c.URLs) == 0 {
		return errors.New("alertmanager: no address given")
	}
	for i, u := range c.URLs {
		if err := checkURL(u); err != nil {
			return fmt.Errorf("alertmanager: address %d: %w", i+1, err)
		}
	}
	if c.Interval < time.Second || c.Interval > time.Minute {
		return fmt.Errorf("alertmanager: interval is %v: it must be within 1s and 1m", c.Interval)
	}
	if c.Service == "" {
		return errors.New("alertmanager: service is empty")
	}
	if err := c.HTTP.Validate(); err != nil {
		return fmt.Errorf("alertmanager: %w", err)
	}
	return nil
}

// DefaultAlertmanagerConfig returns the parameters of a channel without addresses.
func DefaultAlertmanagerConfig() AlertmanagerConfig {
	return AlertmanagerConfig{Name: "alertmanager", Service: "carom", Interval: 30 * time.Second}
}

// Alertmanager is a channel to Prometheus Alertmanager by its API v2. It is safe for concurrent use.
type Alertmanager struct {
	cfg    AlertmanagerConfig
	client *client
	log    *slog.Logger
	now    func() time.Time
}

// NewAlertmanager returns a channel; it connects to nothing yet.
func NewAlertmanager(cfg AlertmanagerConfig, log *slog.Logger) (*Alertmanager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("alertmanager: %w", err)
	}
	return &Alertmanager{cfg: cfg, client: c, log: log, now: time.Now}, nil
}

// Name returns the configured name.
func (a *Alertmanager) Name() string { return a.cfg.Name }

// postableAlert is the element of the array that POST /api/v2/alerts takes.
type postableAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send posts one revision to every replica. It is accepted when one replica has it: the others get it with the next
// Repost, or let it end by itself when it was a resolution.
func (a *Alertmanager) Send(ctx context.Context, n Notification) error {
	return a.post(ctx, []postableAlert{a.alert(n.Incident)})
}

// Repost posts all open incidents, and the heartbeat, which always fires: route it to a receiver that raises an alarm
// when it stops.
func (a *Alertmanager) Repost(ctx context.Context, open []*schema.Incident) error {
	now := a.now()
	all := []postableAlert{{
		Labels:      map[string]string{"alertname": "CaromHeartbeat", "service": a.cfg.Service, "severity": "info"},
		Annotations: map[string]string{"summary": "Carom's alerting works. This alert always fires; its absence is the alarm."},
		StartsAt:    now, EndsAt: a.end(now),
	}}
	for _, inc := range open {
		all = append(all, a.alert(inc))
	}
	return a.post(ctx, all)
}

func (a *Alertmanager) end(now time.Time) time.Time { return now.Add(3 * a.cfg.Interval) }

func (a *Alertmanager) post(ctx context.Context, all []postableAlert) error {
	body, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("%w: encode alerts: %w", errSetup, err)
	}
	var failed []error
	var retry error
	for i, base := range a.cfg.URLs {
		err := a.client.post(ctx, strings.TrimRight(base, "/")+"/api/v2/alerts", body, nil)
		if err == nil {
			continue
		}
		err = fmt.Errorf("post %d alerts to alertmanager %d: %w", len(all), i+1, err)
		if !Permanent(err) {
			retry = err
		}
		failed = append(failed, err)
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) < len(a.cfg.URLs):
		a.log.Warn("an alertmanager replica has not taken alerts", "channel", a.cfg.Name, "err", errors.Join(failed...))
		return nil
	case retry != nil:
		return retry // one that may still accept decides
	}
	return errors.Join(failed...)
}

// alert has in its labels only what does not change while an incident lasts, since they are its identity. The exception
// is severity: when that rises a new alert begins, which is routed anew, and the former one ends by itself.
func (a *Alertmanager) alert(inc *schema.Incident) postableAlert {
	labels := map[string]string{
		"alertname":     "DeliverabilityIncident",
		"service":       a.cfg.Service,
		"provider":      markup(clean(inc.Provider, 100)),
		"incident_kind": clean(inc.Kind, 100),
		"class":         clean(inc.Class, 100),
		"severity":      clean(inc.Severity, 20),
		"incident_id":   clean(inc.Id, 100),
	}
	if ip := confinedSource(inc); ip != "" {
		labels["source_ip"] = clean(ip, 100)
	}
	annotations := map[string]string{
		"summary":     markup(clean(inc.Summary, 1000)),
		"description": markup(Text(inc)),
		"since":       stamp(inc.OnsetUs),
		"expected":    strconv.FormatFloat(math.Round(inc.Expected*10)/10, 'f', -1, 64),
		"observed":    strconv.FormatInt(inc.Observed, 10),
		"excess":      strconv.FormatFloat(math.Round(inc.Excess), 'f', -1, 64),
		"scope":       markup(scopeText(inc)),
		"evidence":    markup(strings.Join(evidenceLines(inc), "\n")),
		"hypothesis":  markup(clean(inc.Suspicion, 1000)),
		"action":      strings.Join(steps(inc), "\n"),
		"hold":        holdText(inc),
	}
	if a.cfg.RunbookURL != "" {
		annotations["runbook_url"] = a.cfg.RunbookURL + clean(inc.Kind, 100)
	}
	if a.cfg.DashboardURL != "" {
		annotations["dashboard_url"] = a.cfg.DashboardURL
	}
	for _, m := range []map[string]string{labels, annotations} {
		for name, value := range m {
			if value == "" {
				delete(m, name)
			}
		}
	}
	now := a.now()
	p := postableAlert{Labels: labels, Annotations: annotations, StartsAt: time.UnixMicro(inc.OnsetUs).UTC(), EndsAt: a.end(now)}
	if inc.State == schema.IncidentState_RESOLVED {
		p.EndsAt = now
	}
	if p.StartsAt.After(now) {
		p.StartsAt = now // an end before the start is refused
	}
	return p
}
