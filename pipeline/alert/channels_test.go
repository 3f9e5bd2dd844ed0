package alert

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// The test vector of the Standard Webhooks reference libraries.
func TestSignature(t *testing.T) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	id, at, body := "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)
	if got := sign([][]byte{secret}, id, at, body); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := sign([][]byte{[]byte("another"), secret}, id, at, body); !strings.HasSuffix(got, " "+want) || strings.Count(got, "v1,") != 2 {
		t.Errorf("with two secrets: %s", got)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWebhookIsSignedAndAuthenticated(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	}))
	defer server.Close()
	ca := writeFile(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	w, err := NewWebhook(WebhookConfig{
		Name: "hook", URL: server.URL + "/x", SecretsFile: writeFile(t, "secrets", "# old\n"+testSecret+"\n"),
		HTTP: HTTP{CAFile: ca, BearerTokenFile: writeFile(t, "token", "s3cret\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.now = func() time.Time { return time.Unix(1614265330, 0) }
	inc := apple()
	inc.State = open
	if err := w.Send(t.Context(), Notification{Incident: inc, ID: "inc-1-r1-hook"}); err != nil {
		t.Fatal(err)
	}
	secret, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	for name, want := range map[string]string{
		"webhook-id": "inc-1-r1-hook", "webhook-timestamp": "1614265330", "Content-Type": "application/json", "Authorization": "Bearer s3cret",
		"webhook-signature": sign([][]byte{secret}, "inc-1-r1-hook", "1614265330", body),
	} {
		if got.Header.Get(name) != want {
			t.Errorf("header %s is %q, want %q", name, got.Header.Get(name), want)
		}
	}
	var message struct {
		Type, Timestamp string
		Data            struct {
			ID       string `json:"id"`
			Provider string `json:"provider"`
			Evidence []struct{ Text string }
		}
	}
	if err := json.Unmarshal(body, &message); err != nil {
		t.Fatal(err)
	}
	if message.Type != "incident.opened" || message.Timestamp != "2019-08-08T17:26:00Z" || message.Data.ID != inc.Id || message.Data.Provider != "apple" {
		t.Errorf("body %s", body)
	}
	if again, _ := webhookBody(inc); string(again) != string(body) {
		t.Error("the body differs between two tries")
	}
}

func TestAnswersDecideOnRetry(t *testing.T) {
	status, header := 200, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", header)
		w.WriteHeader(status)
		_, _ = w.Write([]byte("no <rosa@example.org>\x1b"))
	}))
	w, err := NewWebhook(WebhookConfig{Name: "hook", URL: server.URL + "/path-is-secret", SecretsFile: writeFile(t, "s", testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	send := func() error { return w.Send(t.Context(), Notification{Incident: apple(), ID: "x"}) }
	check := func(code int, after string, permanent bool, wait time.Duration) {
		status, header = code, after
		err := send()
		var s *statusError
		if !errors.As(err, &s) || s.status != code || Permanent(err) != permanent || retryAfter(err) != wait {
			t.Errorf("%d: %v, permanent %v, retry after %v", code, err, Permanent(err), retryAfter(err))
		}
		if text := err.Error(); strings.Contains(text, "rosa") || strings.Contains(text, "\x1b") || strings.Contains(text, "secret") {
			t.Errorf("%d: error tells too much: %s", code, text)
		}
	}
	check(302, "", true, 0)
	check(400, "", true, 0)
	check(429, "7", false, 7*time.Second)
	check(429, "999999", false, time.Hour)
	check(503, "soon", false, 0)
	status = 202
	if err := send(); err != nil {
		t.Errorf("202: %v", err)
	}
	server.Close()
	if err := send(); err == nil || Permanent(err) || strings.Contains(err.Error(), "secret") {
		t.Errorf("server gone: %v", err)
	}
}

func newTestAlertmanager(t *testing.T, urls ...string) *Alertmanager {
	t.Helper()
	cfg := DefaultAlertmanagerConfig()
	cfg.URLs, cfg.RunbookURL = urls, "https://runbooks.example/"
	a, err := NewAlertmanager(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// alertStore is a stand-in for one replica.
type alertStore struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	posts  [][]postableAlert
}

func newAlertStore(t *testing.T) *alertStore {
	s := &alertStore{status: 200}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var all []postableAlert
		if r.URL.Path != "/api/v2/alerts" || json.NewDecoder(r.Body).Decode(&all) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if s.status == 200 {
			s.posts = append(s.posts, all)
		}
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestEveryReplicaGetsEveryAlert(t *testing.T) {
	one, two := newAlertStore(t), newAlertStore(t)
	a := newTestAlertmanager(t, one.URL, two.URL+"/")
	n := Notification{Incident: apple(), ID: "x"}
	if err := a.Send(t.Context(), n); err != nil || len(one.posts) != 1 || len(two.posts) != 1 {
		t.Fatalf("both up: %v, %d and %d posts", err, len(one.posts), len(two.posts))
	}
	one.status = 500
	if err := a.Send(t.Context(), n); err != nil || len(two.posts) != 2 {
		t.Errorf("one down: %v, %d posts", err, len(two.posts))
	}
	two.status = 400
	if err := a.Send(t.Context(), n); err == nil || Permanent(err) {
		t.Errorf("one down, one refuses: %v", err)
	}
	one.status = 400
	if err := a.Send(t.Context(), n); err == nil || !Permanent(err) {
		t.Errorf("both refuse: %v", err)
	}
}

// The labels are the identity of an alert: nothing that changes with a revision may stand in them.
func TestLabelsStayTheSameWhileAnIncidentLasts(t *testing.T) {
	a := newTestAlertmanager(t, "http://127.0.0.1:1")
	first, later := apple(), apple()
	later.Revision, later.Observed, later.Excess, later.UpdatedUs, later.State = 9, 9999, 9000, later.UpdatedUs+second, resolved
	later.Summary, later.Breakdown = "changed", later.Breakdown[:1]
	one, two := a.alert(first), a.alert(later)
	if len(one.Labels) != 7 {
		t.Errorf("labels %v", one.Labels)
	}
	for name, value := range one.Labels {
		if two.Labels[name] != value {
			t.Errorf("label %s changes from %q to %q", name, value, two.Labels[name])
		}
	}
	if len(two.Labels) != len(one.Labels) || one.StartsAt != two.StartsAt {
		t.Errorf("labels or start differ: %v and %v", one, two)
	}
	blocked := apple()
	blocked.Kind = "ip_blocked"
	if got := a.alert(blocked).Labels["source_ip"]; got != "192.0.2.17" {
		t.Errorf("source_ip is %q", got)
	}
	for _, name := range []string{"summary", "description", "since", "expected", "observed", "excess", "scope", "evidence", "action", "hold", "hypothesis", "runbook_url"} {
		if one.Annotations[name] == "" {
			t.Errorf("annotation %s is missing", name)
		}
	}
	if one.Annotations["runbook_url"] != "https://runbooks.example/provider_false_unknown" {
		t.Errorf("runbook %s", one.Annotations["runbook_url"])
	}
}

func TestAlertsEndByThemselvesUnlessRepeated(t *testing.T) {
	store := newAlertStore(t)
	a := newTestAlertmanager(t, store.URL)
	now := time.Date(2019, 8, 8, 18, 0, 0, 0, time.UTC)
	a.now = func() time.Time { return now }
	if err := a.Repost(t.Context(), []*schema.Incident{apple()}); err != nil {
		t.Fatal(err)
	}
	end := apple()
	end.State = resolved
	if err := a.Send(t.Context(), Notification{Incident: end}); err != nil {
		t.Fatal(err)
	}
	all := store.posts[0]
	if len(all) != 2 || all[0].Labels["alertname"] != "CaromHeartbeat" || all[1].Labels["alertname"] != "DeliverabilityIncident" {
		t.Fatalf("reposted %v", all)
	}
	for _, p := range all {
		if !p.EndsAt.Equal(now.Add(90 * time.Second)) {
			t.Errorf("%s ends at %v", p.Labels["alertname"], p.EndsAt)
		}
	}
	if p := store.posts[1][0]; !p.EndsAt.Equal(now) || !p.StartsAt.Equal(time.UnixMicro(end.OnsetUs)) {
		t.Errorf("resolved alert from %v to %v", p.StartsAt, p.EndsAt)
	}
}

func TestConfigurationNamesTheFault(t *testing.T) {
	secrets := writeFile(t, "s", testSecret)
	webhook := func(want string, c WebhookConfig) {
		if _, err := NewWebhook(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	webhook("channel name", WebhookConfig{URL: "http://a", SecretsFile: secrets})
	webhook("http or https", WebhookConfig{Name: "a", URL: "ftp://a", SecretsFile: secrets})
	webhook("a file of secrets", WebhookConfig{Name: "a", URL: "http://a"})
	webhook("line 2 is not whsec_", WebhookConfig{Name: "a", URL: "http://a", SecretsFile: writeFile(t, "s", testSecret+"\nhello")})
	webhook("holds none", WebhookConfig{Name: "a", URL: "http://a", SecretsFile: writeFile(t, "s", "\n")})
	webhook("exclude each other", WebhookConfig{Name: "a", URL: "http://a", SecretsFile: secrets, HTTP: HTTP{Username: "u", PasswordFile: "p", BearerTokenFile: "t"}})
	webhook("key file", WebhookConfig{Name: "a", URL: "http://a", SecretsFile: secrets, HTTP: HTTP{CertFile: "c"}})

	for want, change := range map[string]func(*AlertmanagerConfig){
		"no address":          func(c *AlertmanagerConfig) { c.URLs = nil },
		"address 1":           func(c *AlertmanagerConfig) { c.URLs = []string{"am:9093"} },
		"interval is 5m0s":    func(c *AlertmanagerConfig) { c.Interval = 5 * time.Minute },
		"service is empty":    func(c *AlertmanagerConfig) { c.Service = "" },
		"user name and a pas": func(c *AlertmanagerConfig) { c.HTTP.Username = "u" },
	} {
		c := DefaultAlertmanagerConfig()
		c.URLs = []string{"http://127.0.0.1:9093"}
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
