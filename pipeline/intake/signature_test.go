package intake

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/feed"
)

func sendGridKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key, base64.StdEncoding.EncodeToString(der)
}

func TestSendGridSignature(t *testing.T) {
	key, public := sendGridKey(t)
	other, _ := sendGridKey(t)
	r := newRig(t)
	cfg := testConfig()
	cfg.Endpoints = []Endpoint{
		{Name: "signed", Format: feed.SendGrid, SendGridKey: public},
		{Name: "both", Format: feed.SendGrid, SendGridKey: public, Bearer: [][]byte{[]byte(testToken)}},
	}
	r.open(cfg)
	sign := func(k *ecdsa.PrivateKey, name string, body []byte) *http.Request {
		sum := sha256.Sum256(append([]byte("1757003271"), body...))
		sig, err := ecdsa.SignASN1(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return r.request(name, body, "X-Twilio-Email-Event-Webhook-Signature", base64.StdEncoding.EncodeToString(sig),
			"X-Twilio-Email-Event-Webhook-Timestamp", "1757003271")
	}
	body := []byte(`[{"event":"bounce"}]`)
	if a := r.do(sign(key, "signed", body)); a.status != http.StatusOK {
		t.Errorf("signed: %+v", a)
	}
	zipped := r.request("signed", compressed(t, body)) // the signature is of the body, whatever its coding
	zipped.Header = sign(key, "signed", body).Header
	zipped.Header.Set("Content-Encoding", "gzip")
	if a := r.do(zipped); a.status != http.StatusOK {
		t.Errorf("compressed: %+v", a)
	}
	forged := sign(key, "signed", body)
	changed := r.request("signed", []byte(`[{"event":"bounced"}]`))
	changed.Header = forged.Header
	both := sign(key, "both", body)
	for name, req := range map[string]*http.Request{
		"another body": changed, "another key": sign(other, "signed", body), "no signature": r.request("signed", body), "signature without the token": both,
		"token without a signature": r.request("both", body, "Authorization", "Bearer "+testToken),
	} {
		if a := r.do(req); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	good := sign(key, "both", body)
	good.Header.Set("Authorization", "Bearer "+testToken)
	if a := r.do(good); a.status != http.StatusOK {
		t.Errorf("both: %+v", a)
	}
	r.want(string(body), string(body), string(body))
}

const mailgunKey = "key-of-mailgun"

func mailgunBody(at time.Time, token, event string) []byte {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(mailgunKey))
	mac.Write([]byte(stamp + token))
	return fmt.Appendf(nil, `{"signature":{"timestamp":"%s","token":"%s","signature":"%s"},"event-data":{"event":"%s"}}`, stamp, token, hex.EncodeToString(mac.Sum(nil)), event)
}

func mailgunConfig() Config {
	cfg := testConfig()
	cfg.Endpoints = []Endpoint{{Name: "mg", Format: feed.Mailgun, MailgunKey: []byte(mailgunKey), MailgunMaxAge: time.Hour}}
	return cfg
}

// A Mailgun signature vouches for one body only, and not for ever. The same body again is acknowledged without being written
// again: its first acknowledgement was lost.
func TestMailgunReplay(t *testing.T) {
	r := newRig(t)
	r.open(mailgunConfig())
	now := time.Now()
	post := func(body []byte) reply { return r.do(r.request("mg", body)) }
	first := mailgunBody(now, "aa", "failed")
	late := mailgunBody(now.Add(-59*time.Minute), "bb", "failed")
	for _, tc := range []struct {
		name   string
		body   []byte
		status int
		count  int
	}{
		{"first", first, 200, 1},
		{"the same again", first, 200, 0},
		{"its signature on another body", mailgunBody(now, "aa", "forged"), 401, 0},
		{"its signature, a blank more", append(bytes.Clone(first), ' '), 401, 0},
		{"late, and not too late", late, 200, 1},
		{"too old", mailgunBody(now.Add(-61*time.Minute), "cc", "failed"), 401, 0},
		{"a clock ahead", mailgunBody(now.Add(4*time.Minute), "dd", "failed"), 200, 1},
		{"from the future", mailgunBody(now.Add(6*time.Minute), "ee", "failed"), 401, 0},
		{"another key", bytes.Replace(mailgunBody(now, "ff", "failed"), []byte(`"ff"`), []byte(`"fg"`), 1), 401, 0},
	} {
		if a := post(tc.body); a.status != tc.status || a.count != tc.count {
			t.Errorf("%s: %+v, want %d with %d records", tc.name, a, tc.status, tc.count)
		}
	}
	r.want(string(first), string(late), string(mailgunBody(now.Add(4*time.Minute), "dd", "failed")))
	if n := r.count("carom_intake_requests_total", "result=repeated"); n != 1 {
		t.Errorf("%v repeats counted", n)
	}
}

// A token counts as used only when its body is in the log: what could not be written is taken when it comes again.
func TestMailgunTokenIsNotSpentInVain(t *testing.T) {
	r := newRig(t)
	cfg := mailgunConfig()
	cfg.Timeout = time.Second
	r.open(cfg)
	body := mailgunBody(time.Now(), "aa", "failed")
	r.away()
	if a := r.do(r.request("mg", body)); a.status != http.StatusServiceUnavailable {
		t.Fatalf("%+v", a)
	}
	r.back()
	within(t, "the body is taken", func() bool { return r.do(r.request("mg", body)).status == http.StatusOK })
	if got := r.values(); len(got) == 0 || got[0] != string(body) {
		t.Errorf("in the log: %q", got)
	}
}

// While a body is being written, the same one has to wait: it is not acknowledged before the first is.
func TestMailgunTokenInFlight(t *testing.T) {
	r := newRig(t)
	r.open(mailgunConfig())
	entered, release := make(chan bool), make(chan bool)
	r.doors.http.sink.acked = func() { entered <- true; <-release }
	body := mailgunBody(time.Now(), "aa", "failed")
	var wg sync.WaitGroup
	wg.Go(func() {
		if a := r.do(r.request("mg", body)); a.status != http.StatusOK {
			t.Errorf("%+v", a)
		}
	})
	<-entered
	if a := r.do(r.request("mg", body)); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", a)
	}
	close(release)
	wg.Wait()
	r.want(string(body))
}

// The memory is bounded. It forgets the oldest, and says when that was too early.
func TestTokensAreBounded(t *testing.T) {
	now := time.Unix(1757003271, 0)
	k := newTokens(time.Hour, 3)
	k.now = func() time.Time { return now }
	take := func(word string, at time.Time) *token {
		t.Helper()
		tok, err := k.take(at, word, []byte(word))
		if err != nil {
			t.Fatal(err)
		}
		k.keep(tok)
		return tok
	}
	for _, w := range []string{"a", "b", "c"} {
		if tok := take(w, now); tok.over || tok.kept {
			t.Errorf("%s: %+v", w, tok)
		}
	}
	if tok := take("d", now); !tok.over {
		t.Error("a was forgotten without a word")
	}
	if tok := take("b", now); !tok.kept {
		t.Error("b was forgotten")
	}
	if tok := take("a", now); tok.kept {
		t.Error("a is still known")
	}
	k.drop(k.byWord[sha256.Sum256([]byte("d"))])
	if tok := take("d", now); tok.kept {
		t.Error("d was dropped and is known")
	}
	if len(k.byWord) > 3 || len(k.ring) != 3 {
		t.Errorf("%d and %d remembered", len(k.byWord), len(k.ring))
	}
	now = now.Add(2 * time.Hour)
	for _, w := range []string{"e", "f", "g"} {
		if tok := take(w, now); tok.over {
			t.Errorf("%s: what was forgotten was too old anyway", w)
		}
	}
}
