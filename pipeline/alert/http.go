package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// HTTP says how to reach a receiver. The zero value is plain: the system's certificates, no authentication.
type HTTP struct {
	Timeout         time.Duration // of a whole request; 0: 10 s
	CAFile          string        // PEM; empty: the system's certificates
	CertFile        string        // client certificate, PEM, with KeyFile
	KeyFile         string
	ServerName      string // expected in the certificate, where it differs from the URL's host
	BearerTokenFile string // read for each request, so that it can be replaced at any time
	Username        string // basic authentication, with PasswordFile; not together with a token
	PasswordFile    string
}

// Validate names what does not fit together. It does not read files.
func (h HTTP) Validate() error {
	switch {
	case h.Timeout < 0:
		return fmt.Errorf("timeout is %v: it must not be negative", h.Timeout)
	case (h.CertFile == "") != (h.KeyFile == ""):
		return errors.New("a client certificate needs both its certificate file and its key file")
	case (h.Username == "") != (h.PasswordFile == ""):
		return errors.New("basic authentication needs both a user name and a password file")
	case h.Username != "" && h.BearerTokenFile != "":
		return errors.New("basic authentication and a bearer token exclude each other")
	}
	return nil
}

// client is an HTTP client for one receiver. It is safe for concurrent use.
type client struct {
	http *http.Client
	auth HTTP
}

func newClient(h HTTP) (*client, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: h.ServerName}
	if h.CAFile != "" {
		pem, err := os.ReadFile(h.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s holds no certificate in PEM", h.CAFile)
		}
	}
	if h.CertFile != "" {
		// Read for each handshake: certificates are renewed under the same name.
		if _, err := tls.LoadX509KeyPair(h.CertFile, h.KeyFile); err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(h.CertFile, h.KeyFile)
			return &c, err
		}
	}
	timeout := h.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = conf
	return &client{auth: h, http: &http.Client{
		Transport:     transport,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// post sends a JSON body and turns every answer but 2xx into a statusError.
func (c *client) post(ctx context.Context, to string, body []byte, header http.Header) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %w", errSetup, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "carom")
	if err := c.authorize(req); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	// What a receiver says in its first half kilobyte is enough to find its complaint; the rest is read so that the connection can be used again.
	said, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return &statusError{status: resp.StatusCode, body: clean(string(said), 200), retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())}
}

// withoutURL drops the address from an error: the path of a webhook may be its secret.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *client) authorize(req *http.Request) error {
	switch {
	case c.auth.BearerTokenFile != "":
		token, err := secretFile(c.auth.BearerTokenFile)
		if err != nil {
			return fmt.Errorf("read bearer token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case c.auth.Username != "":
		password, err := secretFile(c.auth.PasswordFile)
		if err != nil {
			return fmt.Errorf("read password: %w", err)
		}
		req.SetBasicAuth(c.auth.Username, password)
	}
	return nil
}

func secretFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return s, nil
}

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// parseRetryAfter reads seconds or a date. RFC 9110, section 10.2.3.
func parseRetryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, min(t.Sub(now), maxRetryAfter))
	}
	return 0
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("address cannot be parsed as a URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("address of scheme %q and host %q: http or https and a host are needed", u.Scheme, u.Host)
	}
	return nil
}

// checkName accepts what may stand in a notification's id and in a metric's label.
func checkName(s string) error {
	if s == "" || len(s) > 63 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return fmt.Errorf("channel name is %q: 1 to 63 of a-z, 0-9, - and _ are needed", s)
	}
	return nil
}
