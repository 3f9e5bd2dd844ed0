package alert

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// The behaviour that the channel relies on, checked against the real program: an alert posted twice notifies once, a
// resolution notifies, hostile text arrives disarmed.
func TestRealAlertmanager(t *testing.T) {
	bin, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("prometheus-alertmanager is not installed")
		}
		t.Skip("prometheus-alertmanager is not installed")
	}
	type message struct {
		Status string
		Alerts []struct {
			Status              string
			Labels, Annotations map[string]string
		}
	}
	messages := make(chan message, 20)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m message
		if json.NewDecoder(r.Body).Decode(&m) == nil {
			messages <- m
		}
	}))
	defer hook.Close()

	conf := writeFile(t, "am.yml", `
route:
  receiver: hook
  group_by: [alertname, provider, incident_kind]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
receivers:
  - name: hook
    webhook_configs:
      - {url: "`+hook.URL+`", send_resolved: true}
`)
	addr := freeAddress(t)
	cmd := exec.Command(bin, "--config.file="+conf, "--storage.path="+t.TempDir(), "--web.listen-address="+addr, "--cluster.listen-address=")
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	}()
	waitReady(t, "http://"+addr+"/-/ready")

	a := newTestAlertmanager(t, "http://"+addr)
	inc := apple()
	inc.State = open
	inc.Evidence[0].Text = "550 <!channel> <rosa.meier@me.example> \u202egnp"
	send := func() {
		t.Helper()
		if err := a.Send(t.Context(), Notification{Incident: inc}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(status string) map[string]string {
		t.Helper()
		select {
		case m := <-messages:
			if m.Status != status || len(m.Alerts) != 1 {
				t.Fatalf("notified %+v, want one that is %s", m, status)
			}
			if m.Alerts[0].Labels["incident_id"] != inc.Id {
				t.Errorf("labels %v", m.Alerts[0].Labels)
			}
			return m.Alerts[0].Annotations
		case <-time.After(20 * time.Second):
			t.Fatalf("no notification that is %s", status)
		}
		return nil
	}
	send()
	notes := receive("firing")
	if d := notes["description"]; !strings.Contains(d, "‹!channel› ‹r***@me.example› gnp") {
		t.Errorf("description %q", d)
	}
	inc.Revision, inc.Observed, inc.State = 5, 6000, updated
	send()
	if err := a.Repost(t.Context(), []*schema.Incident{inc}); err != nil {
		t.Fatal(err)
	}
	// The repost brings the heartbeat as well, which is a group of its own.
	select {
	case m := <-messages:
		if m.Alerts[0].Labels["alertname"] != "CaromHeartbeat" {
			t.Fatalf("a repetition notified: %+v", m)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no heartbeat")
	}
	inc.Revision, inc.State, inc.ResolvedUs = 6, resolved, inc.UpdatedUs
	send()
	receive("resolved")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitReady(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatal("alertmanager does not get ready")
}
