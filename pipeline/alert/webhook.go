package alert

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"carom.dev/carom/schema"
)

// WebhookConfig describes a receiver of signed webhooks.
type WebhookConfig struct {
	Name string // of the channel
	URL  string
	// SecretsFile holds one secret per line, "whsec_" and base64. Each signs, so that a receiver accepts the old one
	// until it knows the new one. It is read for each request.
	SecretsFile string
	HTTP        HTTP
}

// Validate names the first value that makes no sense. It does not read files.
func (c WebhookConfig) Validate() error {
	if err := checkName(c.Name); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if err := checkURL(c.URL); err != nil {
		return fmt.Errorf("webhook %s: %w", c.Name, err)
	}
	if c.SecretsFile == "" {
		return fmt.Errorf("webhook %s: a file of secrets is needed", c.Name)
	}
	if err := c.HTTP.Validate(); err != nil {
		return fmt.Errorf("webhook %s: %w", c.Name, err)
	}
	return nil
}

// Webhook is a channel to any receiver that checks signatures by Standard Webhooks. It is safe for concurrent use.
//
// The body is {"type", "timestamp", "data"}: type is incident.opened, incident.updated or incident.resolved, timestamp
// the event time of the revision, data the incident with the names of the wire schema. It is the same over retries; only
// the headers webhook-timestamp and webhook-signature change.
type Webhook struct {
	cfg    WebhookConfig
	client *client
	now    func() time.Time
}

// NewWebhook returns a channel; it connects to nothing yet, but the secrets have to be readable.
func NewWebhook(cfg WebhookConfig) (*Webhook, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c, err := newClient(cfg.HTTP)
	if err != nil {
		return nil, fmt.Errorf("webhook %s: %w", cfg.Name, err)
	}
	if _, err := readSecrets(cfg.SecretsFile); err != nil {
		return nil, fmt.Errorf("webhook %s: %w", cfg.Name, err)
	}
	return &Webhook{cfg: cfg, client: c, now: time.Now}, nil
}

// Name returns the configured name.
func (w *Webhook) Name() string { return w.cfg.Name }

// Send posts one revision.
func (w *Webhook) Send(ctx context.Context, n Notification) error {
	secrets, err := readSecrets(w.cfg.SecretsFile)
	if err != nil {
		return err
	}
	body, err := webhookBody(n.Incident)
	if err != nil {
		return fmt.Errorf("%w: encode incident %s: %w", errSetup, n.Incident.Id, err)
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	header := http.Header{
		"Webhook-Id":        {n.ID},
		"Webhook-Timestamp": {at},
		"Webhook-Signature": {sign(secrets, n.ID, at, body)},
	}
	if err := w.client.post(ctx, w.cfg.URL, body, header); err != nil {
		return fmt.Errorf("post %s to webhook: %w", n.ID, err)
	}
	return nil
}

func webhookBody(inc *schema.Incident) ([]byte, error) {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(cleanIncident(inc))
	if err != nil {
		return nil, err
	}
	kind := map[schema.IncidentState]string{
		schema.IncidentState_OPEN: "incident.opened", schema.IncidentState_RESOLVED: "incident.resolved",
	}[inc.State]
	if kind == "" {
		kind = "incident.updated"
	}
	// json.Marshal writes an embedded message compactly, which undoes the spaces that protojson puts in at random.
	return json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp string          `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{kind, time.UnixMicro(inc.UpdatedUs).UTC().Format(time.RFC3339Nano), data})
}

// cleanIncident returns a copy whose texts are safe to show and name no full address.
func cleanIncident(inc *schema.Incident) *schema.Incident {
	c := proto.CloneOf(inc)
	for _, s := range []*string{&c.Id, &c.Kind, &c.Provider, &c.Class, &c.Severity, &c.Action} {
		*s = clean(*s, 200)
	}
	c.Summary, c.Suspicion = clean(c.Summary, 1000), clean(c.Suspicion, 1000)
	for _, b := range c.Breakdown {
		b.Dimension, b.Value = clean(b.Dimension, 100), clean(b.Value, 300)
	}
	for _, e := range c.Evidence {
		e.SourceIp, e.RemoteHost, e.RemoteIp = clean(e.SourceIp, 100), clean(e.RemoteHost, 300), clean(e.RemoteIp, 100)
		e.EnhancedCode, e.Text = clean(e.EnhancedCode, 20), clean(e.Text, maxReply)
	}
	return c
}

// sign returns the header webhook-signature: one signature per secret, separated by spaces.
func sign(secrets [][]byte, id, at string, body []byte) string {
	var all []string
	for _, secret := range secrets {
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(id + "." + at + "."))
		m.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	}
	return strings.Join(all, " ")
}

// maxSecrets bounds the header; a rotation needs two.
const maxSecrets = 8

func readSecrets(name string) ([][]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read webhook secrets: %w", err)
	}
	var all [][]byte
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		encoded, found := strings.CutPrefix(line, "whsec_")
		secret, err := base64.StdEncoding.DecodeString(encoded)
		// 24 to 64 bytes by the Standard Webhooks specification.
		if !found || err != nil || len(secret) < 24 || len(secret) > 64 {
			return nil, fmt.Errorf("webhook secrets: line %d is not whsec_ followed by base64 of 24 to 64 bytes", i+1)
		}
		all = append(all, secret)
	}
	if len(all) == 0 {
		return nil, errors.New("webhook secrets: the file holds none")
	}
	if len(all) > maxSecrets {
		return nil, fmt.Errorf("webhook secrets: the file holds %d, at most %d are used", len(all), maxSecrets)
	}
	return all, nil
}
