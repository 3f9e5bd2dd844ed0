package intake

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// write puts files into a directory.
func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Over TLS, HTTP/1.1 and HTTP/2 are spoken, and where an authority is set, only to clients with its certificate - which do
// not come without their endpoint's token all the same.
func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	dir := t.TempDir()
	cert, key := ca.pair("intake.example")
	write(t, dir, map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": ca.pem()})
	pair := func(a *authority) *tls.Certificate {
		cert, key := a.pair("client")
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	for _, mutual := range []bool{false, true} {
		r := newRig(t)
		cfg := testConfig()
		cfg.HTTP.TLSCertFile, cfg.HTTP.TLSKeyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if mutual {
			cfg.HTTP.ClientCAFile = filepath.Join(dir, "ca.pem")
		}
		r.open(cfg)
		for _, tc := range []struct {
			name   string
			client *tls.Certificate
			proto  string
			token  string
			status int // 0: no answer
		}{
			{"HTTP/2", pair(ca), "h2", testToken, 200},
			{"HTTP/1.1", pair(ca), "http/1.1", testToken, 200},
			{"without a token", pair(ca), "h2", "x", 401},
			{"without a certificate", nil, "h2", testToken, map[bool]int{true: 0, false: 200}[mutual]},
			{"a stranger's certificate", pair(other), "h2", testToken, map[bool]int{true: 0, false: 200}[mutual]},
		} {
			conf := &tls.Config{RootCAs: ca.pool(), ServerName: "intake.example"}
			if tc.client != nil {
				conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.client, nil }
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: tc.proto == "h2"}, Timeout: 10 * time.Second}
			proto := ""
			client.Transport = spy{client.Transport, &proto}
			req := r.request("ses-1", []byte("{}"), "Authorization", "Bearer "+tc.token)
			req.URL.Scheme = "https"
			a, err := send(client, req)
			if (err == nil) != (tc.status != 0) || a.status != tc.status {
				t.Errorf("mutual %t, %s: %+v, err %v", mutual, tc.name, a, err)
			}
			if want := map[string]string{"h2": "HTTP/2.0", "http/1.1": "HTTP/1.1"}[tc.proto]; err == nil && proto != want {
				t.Errorf("mutual %t, %s: spoke %s", mutual, tc.name, proto)
			}
		}
		// Without TLS there is nothing to be had.
		resp, err := http.DefaultClient.Do(r.request("ses-1", []byte("{}"), "Authorization", "Bearer "+testToken))
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("plain: %s", resp.Status)
			}
		}
		if n := len(r.records()); n != map[bool]int{true: 2, false: 4}[mutual] {
			t.Errorf("mutual %t: %d records", mutual, n)
		}
	}
}

// spy notes the protocol of the answer.
type spy struct {
	next  http.RoundTripper
	proto *string
}

func (s spy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(r)
	if err == nil {
		*s.proto = resp.Proto
	}
	return resp, err
}

// A certificate that is replaced is served without a restart; half of it, or none, leaves the old one.
func TestCertificateIsReadAgain(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	cert1, key1 := ca.pair("one.example")
	cert2, key2 := ca.pair("two.example")
	write(t, dir, map[string][]byte{"cert.pem": cert1, "key.pem": key1})
	log := &syncBuffer{}
	f, err := newTLSFiles(HTTPConfig{TLSCertFile: filepath.Join(dir, "cert.pem"), TLSKeyFile: filepath.Join(dir, "key.pem")}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		t.Helper()
		f.mu.Lock()
		f.checked = time.Time{} // it is time to look
		f.mu.Unlock()
		c, err := f.config().GetConfigForClient(nil)
		if err != nil {
			t.Fatal(err)
		}
		leaf := c.Certificates[0].Leaf
		return leaf.Subject.CommonName
	}
	before := f.get()
	later := func(by time.Duration) {
		t.Helper()
		for _, n := range []string{"cert.pem", "key.pem"} {
			at := time.Now().Add(by)
			if err := os.Chtimes(filepath.Join(dir, n), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, dir, map[string][]byte{"cert.pem": cert2})
	later(time.Second)
	if got := name(); got != "one.example" || !strings.Contains(log.String(), "was not read again") {
		t.Errorf("half replaced: %s; log %s", got, log)
	}
	write(t, dir, map[string][]byte{"key.pem": key2})
	later(2 * time.Second)
	if got := name(); got != "two.example" {
		t.Errorf("replaced: %s", got)
	}
	after := f.get()
	if name(); f.get() != after || after == before {
		t.Error("read again without a change") // tickets and resumption would be lost with it
	}
	if err := os.Remove(filepath.Join(dir, "cert.pem")); err != nil {
		t.Fatal(err)
	}
	if got := name(); got != "two.example" {
		t.Errorf("removed: %s", got)
	}
	for what, cfg := range map[string]HTTPConfig{
		"no file":      {TLSCertFile: filepath.Join(dir, "none"), TLSKeyFile: filepath.Join(dir, "key.pem")},
		"no authority": {TLSCertFile: filepath.Join(dir, "cert1.pem"), TLSKeyFile: filepath.Join(dir, "key1.pem"), ClientCAFile: filepath.Join(dir, "key1.pem")},
	} {
		write(t, dir, map[string][]byte{"cert1.pem": cert1, "key1.pem": key1})
		if _, err := newTLSFiles(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "-intake.http-") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
