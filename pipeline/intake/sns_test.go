package intake

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/feed"
)

const (
	snsHostName = "sns.eu-west-1.amazonaws.com"
	snsTopic    = "arn:aws:sns:eu-west-1:123456789012:ses"
	certPath    = "/SimpleNotificationService-1.pem"
)

// fakeSNS is a TLS server under the name of SNS, on loopback, with a certificate of an authority made for it.
type fakeSNS struct {
	t      *testing.T
	ca     *authority
	key    *rsa.PrivateKey
	server *httptest.Server
	client *snsClient

	mu     sync.Mutex
	asked  []string
	answer http.HandlerFunc // for a request, instead of the certificate and 200
}

func newFakeSNS(t *testing.T) *fakeSNS {
	t.Helper()
	f := &fakeSNS{t: t, ca: newAuthority(t)}
	var err error
	if f.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	signing := f.ca.issue(&f.key.PublicKey, "sns.amazonaws.com", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	f.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Host+r.URL.String())
		answer := f.answer
		f.mu.Unlock()
		switch {
		case answer != nil:
			answer(w, r)
		case r.URL.Path == certPath:
			w.Write(signing)
		}
	}))
	cert, key := f.ca.pair(snsHostName)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	f.server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	f.client = f.trusting(f.ca.pool())
	return f
}

// trusting returns a client that reaches the server under every name and trusts these authorities.
func (f *fakeSNS) trusting(pool *x509.CertPool) *snsClient {
	c := newSNSClient()
	t := c.http.Transport.(*http.Transport)
	t.TLSClientConfig.RootCAs = pool
	t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, f.server.Listener.Addr().String())
	}
	return c
}

func (f *fakeSNS) answers(h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = h
}

func (f *fakeSNS) requests() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.asked, " ")
}

// message returns a signed message; change is done before it is signed.
func (f *fakeSNS) message(change map[string]string) []byte {
	f.t.Helper()
	m := map[string]string{
		"Type": "Notification", "MessageId": "22b80b92", "TopicArn": snsTopic, "Message": `{"notificationType":"Bounce"}`,
		"Timestamp": "2025-09-04T16:27:53.000Z", "SignatureVersion": "2", "SigningCertURL": "https://" + snsHostName + certPath,
	}
	for k, v := range change {
		m[k] = v
	}
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text string
	for _, n := range names {
		if v, ok := m[n]; ok {
			text += n + "\n" + v + "\n"
		}
	}
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, f.key, crypto.SHA256, sum[:])
	if err != nil {
		f.t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(sig)
	b, err := json.Marshal(m)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fakeSNS) subscription(query string) []byte {
	return f.message(map[string]string{"Type": "SubscriptionConfirmation", "Token": "tok", "SubscribeURL": "https://" + snsHostName + "/?" + query})
}

const confirmQuery = "Action=ConfirmSubscription&TopicArn=" + snsTopic + "&Token=tok"

func snsConfig(f *fakeSNS, confirm bool) Config {
	cfg := testConfig()
	cfg.HTTP.sns = f.client
	cfg.Endpoints = []Endpoint{{Name: "ses", Format: feed.SES, SNSTopics: []string{snsTopic}, ConfirmSubscriptions: confirm}}
	return cfg
}

// A message of SNS is taken if SNS signed it for the expected topic. The certificate is fetched once.
func TestSNSSignature(t *testing.T) {
	f := newFakeSNS(t)
	r := newRig(t)
	r.open(snsConfig(f, false))
	good, second := f.message(nil), f.message(map[string]string{"MessageId": "2"})
	for _, body := range [][]byte{good, second, good} {
		if a := r.do(r.request("ses", body)); a.status != http.StatusOK {
			t.Fatalf("%+v", a)
		}
	}
	want := snsHostName + certPath
	if got := f.requests(); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	stranger := newFakeSNS(t)
	for name, body := range map[string][]byte{
		"another key":         stranger.message(nil),
		"another message":     []byte(strings.Replace(string(good), "Bounce", "Complaint", 1)),
		"a stranger's topic":  f.message(map[string]string{"TopicArn": "arn:aws:sns:eu-west-1:999:ses"}),
		"no envelope":         []byte(`{"notificationType":"Bounce"}`),
		"no JSON":             []byte("x"),
		"S3 under SNS's name": f.message(map[string]string{"SigningCertURL": "https://sns.s3.amazonaws.com" + certPath}),
		"elsewhere":           f.message(map[string]string{"SigningCertURL": "https://169.254.169.254/x.pem"}),
		"elsewhere, by port":  f.message(map[string]string{"SigningCertURL": "https://" + snsHostName + ":8443" + certPath}),
		"without TLS":         f.message(map[string]string{"SigningCertURL": "http://" + snsHostName + certPath}),
		"deep":                []byte(strings.Repeat("[", 1<<20)),
	} {
		if a := r.do(r.request("ses", body)); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if got := f.requests(); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	r.want(string(good), string(good), string(second))
}

// What SNS's host answers instead of a certificate is trouble that passes: 503, and never 401, on which SNS gives up.
func TestSNSCertificateThatCannotBeHad(t *testing.T) {
	f := newFakeSNS(t)
	r := newRig(t)
	r.open(snsConfig(f, false))
	body := f.message(nil)
	now := time.Now()
	f.client.now = func() time.Time { return now }
	old := f.ca.issue(&f.key.PublicKey, "sns.amazonaws.com", now.Add(-2*time.Hour), now.Add(-time.Hour))
	early := f.ca.issue(&f.key.PublicKey, "sns.amazonaws.com", now.Add(50*time.Minute), now.Add(55*time.Minute))
	valid := f.ca.issue(&f.key.PublicKey, "sns.amazonaws.com", now.Add(-time.Hour), now.Add(time.Hour))
	redirected := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected = true }))
	defer elsewhere.Close()
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"not found", http.NotFound},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }},
		{"no certificate", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }},
		{"another block", func(w http.ResponseWriter, _ *http.Request) {
			pem.Encode(w, &pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})
		}},
		{"broken", func(w http.ResponseWriter, _ *http.Request) {
			pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
		}},
		{"expired", func(w http.ResponseWriter, _ *http.Request) { w.Write(old) }},
		{"not yet", func(w http.ResponseWriter, _ *http.Request) { w.Write(early) }},
		{"endless", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(valid)
			for range 1000 {
				w.Write(make([]byte, 1<<10))
			}
		}},
	} {
		f.answers(tc.answer)
		if a := r.do(r.request("ses", body)); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "10" {
			t.Errorf("%s: %+v", tc.name, a)
		}
		now = now.Add(certificateRetry)
	}
	if redirected {
		t.Error("a redirect was followed")
	}
	if n := r.count("carom_intake_requests_total", "result=certificate"); n != 8 {
		t.Errorf("%v counted", n)
	}
	r.want()
	f.answers(nil)
	if a := r.do(r.request("ses", body)); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
	// A host that cannot show SNS's name is not believed.
	f.client = f.trusting(newAuthority(t).pool())
	if _, err := f.client.certificate(t.Context(), "https://"+snsHostName+certPath); !errors.Is(err, errCertificate) || !strings.Contains(err.Error(), "x509") {
		t.Errorf("an unknown authority: %v", err)
	}
	f.client = f.trusting(f.ca.pool())
	if _, err := f.client.certificate(t.Context(), "https://sns.us-east-1.amazonaws.com"+certPath); !errors.Is(err, errCertificate) {
		t.Errorf("another name: %v", err)
	}
}

// Certificates are kept for a day, failures for some seconds, and both are bounded. One that is there serves on when it
// cannot be fetched again, until its own end.
func TestSNSCertificatesAreKept(t *testing.T) {
	f := newFakeSNS(t)
	now := time.Now()
	c := f.client
	c.now = func() time.Time { return now }
	long := f.ca.issue(&f.key.PublicKey, "sns.amazonaws.com", now.Add(-time.Hour), now.Add(72*time.Hour))
	f.answers(func(w http.ResponseWriter, _ *http.Request) { w.Write(long) })
	ask := func(path string, ok bool, requests int) {
		t.Helper()
		_, err := c.certificate(t.Context(), "https://"+snsHostName+path)
		f.mu.Lock()
		defer f.mu.Unlock()
		if (err == nil) != ok || len(f.asked) != requests {
			t.Fatalf("err %v, %d requests; want ok %t, %d", err, len(f.asked), ok, requests)
		}
	}
	ask("/a.pem", true, 1)
	now = now.Add(certificateFresh - time.Second)
	ask("/a.pem", true, 1)
	now = now.Add(time.Second)
	ask("/a.pem", true, 2)
	f.answers(http.NotFound)
	now = now.Add(certificateFresh)
	ask("/a.pem", true, 3)
	ask("/a.pem", true, 3) // not at once again
	now = now.Add(certificateRetry)
	ask("/a.pem", true, 4)
	ask("/b.pem", false, 5)
	ask("/b.pem", false, 5)
	now = now.Add(certificateRetry)
	ask("/b.pem", false, 6)
	for i := range 2 * maxCertificates {
		ask(fmt.Sprintf("/%d.pem", i), false, 7+i)
	}
	if len(c.certs) > maxCertificates || c.certs["https://"+snsHostName+"/a.pem"].pem == nil {
		t.Errorf("%d kept; the good one must be among them", len(c.certs))
	}
	now = now.Add(72 * time.Hour)
	ask("/a.pem", false, 7+2*maxCertificates)
}

// A subscription is confirmed only where that is asked for, and only for the topic that is expected.
func TestSubscriptions(t *testing.T) {
	f := newFakeSNS(t)
	for _, tc := range []struct {
		name    string
		confirm bool
		body    []byte
		status  int
		visited bool
	}{
		{"not asked for", false, f.subscription(confirmQuery), 200, false},
		{"asked for", true, f.subscription(confirmQuery), 200, true},
		{"a stranger's topic", true, f.message(map[string]string{
			"Type": "SubscriptionConfirmation", "Token": "tok", "TopicArn": "arn:aws:sns:eu-west-1:999:x", "SubscribeURL": "https://" + snsHostName + "/?" + confirmQuery,
		}), 401, false},
		{"another action", true, f.subscription("Action=Unsubscribe&TopicArn=" + snsTopic), 503, false},
		{"url of another topic", true, f.subscription("Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:999:x"), 503, false},
		{"end of a subscription", true, f.message(map[string]string{
			"Type": "UnsubscribeConfirmation", "Token": "tok", "SubscribeURL": "https://" + snsHostName + "/?" + confirmQuery,
		}), 200, false},
		{"elsewhere", true, f.message(map[string]string{
			"Type": "SubscriptionConfirmation", "Token": "tok", "SubscribeURL": "https://evil.example/?" + confirmQuery,
		}), 401, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.mu.Lock()
			f.asked = nil
			f.mu.Unlock()
			r := newRig(t)
			r.open(snsConfig(f, tc.confirm))
			if a := r.do(r.request("ses", tc.body)); a.status != tc.status {
				t.Errorf("%+v, want status %d", a, tc.status)
			}
			if got := f.requests(); strings.Contains(got, "Action") != tc.visited {
				t.Errorf("visited %s", got)
			}
			if n := len(r.records()); (tc.status == http.StatusUnauthorized) != (n == 0) {
				t.Errorf("%d records", n)
			}
			if strings.Contains(r.log.String(), "tok") && strings.Contains(r.log.String(), "Token=") {
				t.Error("the log shows the token")
			}
		})
	}
}

// A confirmation that fails, or is redirected, is asked for again by SNS.
func TestSubscriptionThatFails(t *testing.T) {
	f := newFakeSNS(t)
	r := newRig(t)
	r.open(snsConfig(f, true))
	if a := r.do(r.request("ses", f.message(nil))); a.status != http.StatusOK { // the certificate is there
		t.Fatalf("%+v", a)
	}
	f.answers(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	if a := r.do(r.request("ses", f.subscription(confirmQuery))); a.status != http.StatusServiceUnavailable {
		t.Errorf("%+v", a)
	}
	if got := f.requests(); strings.Contains(got, "elsewhere") {
		t.Errorf("a redirect was followed: %s", got)
	}
	f.answers(nil)
	if a := r.do(r.request("ses", f.subscription(confirmQuery))); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
}
