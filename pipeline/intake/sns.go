package intake

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Bounds of what is asked of Amazon SNS.
const (
	snsTimeout       = 5 * time.Second
	maxSNSAnswer     = 64 << 10
	maxCertificates  = 64
	certificateFresh = 24 * time.Hour   // asked for again after so long; if that fails, what is there serves on
	certificateRetry = 10 * time.Second // a failed fetch is not tried again so long
)

// errCertificate is wrapped when a certificate cannot be had: trouble of ours or of SNS, not of the message.
var errCertificate = errors.New("the certificate of SNS cannot be had")

// snsClient fetches SNS's signing certificates and confirms subscriptions. feed.VerifySNS has seen to it that the URLs are
// https and of SNS's own hosts, and that the topic is expected, before it asks. Safe for concurrent use.
//
// A signing certificate is believed because the host that SNS's name leads to served it over TLS, checked against the
// system's authorities; its own chain is not checked, since SNS serves it without the intermediate ones. Its dates are.
type snsClient struct {
	http *http.Client
	now  func() time.Time

	lock  chan struct{} // holds one: one fetch at a time, and a wait that a context ends
	certs map[string]certificate
}

type certificate struct {
	pem      []byte // nil if the last fetch failed
	notAfter time.Time
	next     time.Time // when to ask again
	err      error
}

func newSNSClient() *snsClient {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.MaxResponseHeaderBytes = maxSNSAnswer
	return &snsClient{
		http: &http.Client{Transport: t, Timeout: snsTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		now:  time.Now, lock: make(chan struct{}, 1), certs: map[string]certificate{},
	}
}

// certificate returns the certificate at a URL in PEM. Errors wrap errCertificate.
func (c *snsClient) certificate(ctx context.Context, from string) ([]byte, error) {
	select {
	case c.lock <- struct{}{}:
		defer func() { <-c.lock }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errCertificate, ctx.Err())
	}
	now := c.now()
	have := c.certs[from]
	if have.pem != nil && now.After(have.notAfter) {
		have = certificate{}
	}
	if now.Before(have.next) {
		return have.pem, have.err
	}
	text, notAfter, err := c.fetch(ctx, from)
	switch {
	case err == nil:
		have = certificate{pem: text, notAfter: notAfter, next: now.Add(certificateFresh)}
	case have.pem != nil: // it is still of its time, and a URL's certificate does not change
		have.next = now.Add(certificateRetry)
	default:
		have = certificate{next: now.Add(certificateRetry), err: fmt.Errorf("%w: %w", errCertificate, err)}
	}
	if _, known := c.certs[from]; !known && len(c.certs) >= maxCertificates {
		c.forget()
	}
	c.certs[from] = have
	return have.pem, have.err
}

// forget makes room: failures go first, then what has to be asked for soonest.
func (c *snsClient) forget() {
	var worst string
	for u, cert := range c.certs {
		w, ok := c.certs[worst]
		if !ok || (cert.pem == nil && w.pem != nil) || ((cert.pem == nil) == (w.pem == nil) && cert.next.Before(w.next)) {
			worst = u
		}
	}
	delete(c.certs, worst)
}

func (c *snsClient) fetch(ctx context.Context, from string) (text []byte, notAfter time.Time, err error) {
	text, err = c.get(ctx, from)
	if err != nil {
		return nil, time.Time{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, time.Time{}, errors.New("the answer is no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, time.Time{}, err
	}
	if now := c.now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return nil, time.Time{}, fmt.Errorf("the certificate is for %s to %s", cert.NotBefore.UTC(), cert.NotAfter.UTC())
	}
	return text, cert.NotAfter, nil
}

// get reads one answer of SNS. Errors do not show the URL, which may hold a token.
func (c *snsClient) get(ctx context.Context, from string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, errors.New("not a url")
	}
	req.Header.Set("User-Agent", "carom")
	resp, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // a redirect included
		return nil, fmt.Errorf("SNS answered %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxSNSAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSNSAnswer {
		return nil, fmt.Errorf("SNS answered more than %d bytes", maxSNSAnswer)
	}
	return text, nil
}

// confirm visits the SubscribeURL of a message that feed.VerifySNS has believed.
func (c *snsClient) confirm(ctx context.Context, subscribe, topic string) error {
	u, err := url.Parse(subscribe)
	if err != nil {
		return errors.New("the subscribe url cannot be read")
	}
	if q := u.Query(); q.Get("Action") != "ConfirmSubscription" || q.Get("TopicArn") != topic {
		return errors.New("the subscribe url does not confirm a subscription of its topic")
	}
	_, err = c.get(ctx, subscribe)
	return err
}
