package feed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

const certURL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"

// topics are those that are expected: two, of which one is another's.
var topics = []string{"arn:aws:sns:eu-west-1:123456789012:other", "arn:aws:sns:eu-west-1:123456789012:ses"}

// snsKey makes a key and its certificate.
func snsKey(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key, certificate(t, key, &key.PublicKey)
}

func certificate(t *testing.T, key crypto.Signer, public any) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}},
		&x509.Certificate{SerialNumber: big.NewInt(1)}, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sign completes an envelope as SNS does.
func sign(t *testing.T, key *rsa.PrivateKey, m map[string]string) map[string]string {
	t.Helper()
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
	hash, sum := crypto.SHA1, sha1.Sum([]byte(text))
	digest := sum[:]
	if m["SignatureVersion"] == "2" {
		sum := sha256.Sum256([]byte(text))
		hash, digest = crypto.SHA256, sum[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	if err != nil {
		t.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(sig)
	return m
}

func encode(t *testing.T, m map[string]string) []byte {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func notification(version string) map[string]string {
	return map[string]string{
		"Type": "Notification", "MessageId": "22b80b92", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:ses", "Message": "{\"a\":\"\u00fc\\n\"}",
		"Timestamp": "2025-09-04T16:27:53.000Z", "SignatureVersion": version, "SigningCertURL": certURL,
	}
}

// An envelope is believed if Amazon's key signed exactly what it says.
func TestVerifySNS(t *testing.T) {
	key, cert := snsKey(t)
	other, _ := snsKey(t)
	fetch := func(url string) ([]byte, error) {
		if url != certURL {
			t.Errorf("fetched %s", url)
		}
		return cert, nil
	}
	with := func(m map[string]string, name, value string) map[string]string {
		m[name] = value
		return m
	}
	subscription := func() map[string]string {
		m := notification("2")
		m["Type"], m["Token"], m["SubscribeURL"] = "SubscriptionConfirmation", "tok", "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=tok"
		return m
	}
	for _, c := range []struct {
		name string
		m    map[string]string
		want error
	}{
		{"version 1", sign(t, key, notification("1")), nil},
		{"version 2", sign(t, key, notification("2")), nil},
		{"with a subject", sign(t, key, with(notification("2"), "Subject", "s")), nil},
		{"subscription", sign(t, key, subscription()), nil},
		{"what is not signed may change", with(sign(t, key, notification("2")), "UnsubscribeURL", "https://x.example/"), nil},
		{"another key", sign(t, other, notification("2")), ErrSignature},
		{"another message", with(sign(t, key, notification("2")), "Message", "{}"), ErrSignature},
		{"another time", with(sign(t, key, notification("2")), "Timestamp", "2026-09-04T16:27:53.000Z"), ErrSignature},
		{"another topic", with(sign(t, key, notification("2")), "TopicArn", topics[0]), ErrSignature},
		{"a stranger's topic, signed by SNS", sign(t, key, with(notification("2"), "TopicArn", "arn:aws:sns:eu-west-1:999:ses")), ErrTopic},
		{"no topic", sign(t, key, with(notification("2"), "TopicArn", "")), ErrTopic},
		{"a subject was added", with(sign(t, key, notification("2")), "Subject", "s"), ErrSignature},
		{"another version", with(sign(t, key, notification("1")), "SignatureVersion", "2"), ErrSignature},
		{"no such version", with(sign(t, key, notification("2")), "SignatureVersion", "3"), ErrUnsigned},
		{"no signature", with(notification("2"), "Signature", ""), ErrUnsigned},
		{"no base64", with(notification("2"), "Signature", "%"), ErrUnsigned},
		{"no time", sign(t, key, with(notification("2"), "Timestamp", "soon")), ErrUnsigned},
		{"no type", sign(t, key, with(notification("2"), "Type", "Parcel")), ErrUnsigned},
		{"subscription elsewhere", sign(t, key, with(subscription(), "SubscribeURL", "https://169.254.169.254/latest")), ErrURL},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := VerifySNS(encode(t, c.m), topics, fetch)
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			want := SNSMessage{Type: c.m["Type"], ID: "22b80b92", TopicARN: c.m["TopicArn"], SubscribeURL: c.m["SubscribeURL"], Timestamp: time.Date(2025, 9, 4, 16, 27, 53, 0, time.UTC)}
			if err != nil {
				want = SNSMessage{}
			}
			if m != want {
				t.Errorf("got %+v, want %+v", m, want)
			}
		})
	}
	// A second value behind the signed one would be read as a record of its own.
	body := append(encode(t, sign(t, key, notification("2"))), `{"notificationType":"Bounce"}`...)
	if _, err := VerifySNS(body, topics, fetch); !errors.Is(err, ErrUnsigned) {
		t.Errorf("two values: %v", err)
	}
	// A second type would make the next reader take the rest for a bare notification.
	body = encode(t, sign(t, key, notification("2")))
	for _, more := range []string{`,"Type":7,"notificationType":"Bounce"}`, `,"Message":"{}"}`, `,"Token":null}`} {
		if _, err := VerifySNS(append(body[:len(body)-1:len(body)-1], more...), topics, fetch); !errors.Is(err, ErrUnsigned) {
			t.Errorf("%s: %v", more, err)
		}
	}
	if _, err := VerifySNS([]byte(`{"Type":`), topics, fetch); !errors.Is(err, ErrUnsigned) {
		t.Errorf("no JSON: %v", err)
	}
}

// The certificate's URL comes from the body: any that is not SNS's own is never fetched.
func TestForgedCertificateURLsAreNeverFetched(t *testing.T) {
	key, cert := snsKey(t)
	fetched := 0
	fetch := func(string) ([]byte, error) {
		fetched++
		return cert, nil
	}
	for _, url := range []string{
		"", "http://sns.us-east-1.amazonaws.com/x.pem", "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
		"https://evil.example/sns.us-east-1.amazonaws.com/x.pem", "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
		"https://u@sns.us-east-1.amazonaws.com/x.pem", "https://sns.us-east-1.amazonaws.com:8443/x.pem",
		"https://bucket.s3.amazonaws.com/x.pem", "https://sns.x.y.amazonaws.com/x.pem", "https://xsns.us-east-1.amazonaws.com/x.pem",
		"https://sns.us-east-1.amazonaws.com/x.txt", "https://sns.us-east-1.amazonaws.com/?x.pem", "https://sns.us-east-1.amazonaws.com/x.pem?a",
		"https://sns.us-east-1.amazonaws.com/x.txt#.pem", "https://sns.us-east-1.amazonaws.com/../x.pem", "https://sns..amazonaws.com/x.pem",
		"https://sns.s3.amazonaws.com/x.pem", "https://sns.s3-us-west-2.amazonaws.com/x.pem", "https://sns.us-east.amazonaws.com/x.pem",
		"https://sns.us-east-1.amazonaws.com\n.evil.example/x.pem", "file:///x.pem", "//sns.us-east-1.amazonaws.com/x.pem",
	} {
		m := notification("2")
		m["SigningCertURL"] = url
		if _, err := VerifySNS(encode(t, sign(t, key, m)), topics, fetch); !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", url, err)
		}
	}
	// A stranger who knows no topic makes nobody fetch anything.
	m := notification("2")
	m["TopicArn"] = "arn:aws:sns:eu-west-1:999:ses"
	if _, err := VerifySNS(encode(t, sign(t, key, m)), topics, fetch); !errors.Is(err, ErrTopic) {
		t.Errorf("another topic: %v", err)
	}
	if fetched != 0 {
		t.Errorf("fetched %d times", fetched)
	}
	for _, url := range []string{
		certURL, "https://sns.cn-north-1.amazonaws.com.cn/x.pem", "https://sns.us-gov-west-1.amazonaws.com/x.pem", "https://sns.ap-southeast-5.amazonaws.com/x.pem",
	} {
		m := notification("1")
		m["SigningCertURL"] = url
		if _, err := VerifySNS(encode(t, sign(t, key, m)), topics, fetch); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// What is fetched may be no certificate at all, or one of another kind; a failed fetch keeps its cause.
func TestCertificatesThatAreNone(t *testing.T) {
	key, _ := snsKey(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body := encode(t, sign(t, key, notification("2")))
	for name, cert := range map[string][]byte{
		"no PEM": []byte("x"), "another block": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}),
		"no DER": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "no RSA": certificate(t, ec, &ec.PublicKey),
	} {
		if _, err := VerifySNS(body, topics, func(string) ([]byte, error) { return cert, nil }); !errors.Is(err, ErrUnsigned) {
			t.Errorf("%s: %v", name, err)
		}
	}
	cause := errors.New("no route")
	if _, err := VerifySNS(body, topics, func(string) ([]byte, error) { return nil, cause }); !errors.Is(err, cause) {
		t.Errorf("fetch: %v", err)
	}
}

func TestVerifySendGrid(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := func(k any) string {
		der, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	const at = "1757003271"
	body := []byte("[{\"email\":\"a@dest.example\"}]\r\n")
	sum := sha256.Sum256(append([]byte(at), body...))
	raw, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := base64.StdEncoding.EncodeToString(raw)
	for _, c := range []struct {
		name, key, sig, at string
		body               []byte
		want               error
	}{
		{"valid", public(&key.PublicKey), sig, at, body, nil},
		{"another body", public(&key.PublicKey), sig, at, body[:len(body)-1], ErrSignature},
		{"replayed under a new time", public(&key.PublicKey), sig, "1757009999", body, ErrSignature},
		{"no time", public(&key.PublicKey), sig, "", body, ErrUnsigned},
		{"no signature", public(&key.PublicKey), "", at, body, ErrUnsigned},
		{"no base64", public(&key.PublicKey), "%", at, body, ErrUnsigned},
		{"no ASN.1", public(&key.PublicKey), "AAAA", at, body, ErrSignature},
		{"another curve", public(&wrong.PublicKey), sig, at, body, ErrUnsigned},
		{"no key", "AAAA", sig, at, body, ErrUnsigned},
		{"key is no base64", "%", sig, at, body, ErrUnsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := VerifySendGrid(c.key, c.sig, c.at, c.body)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && got.Unix() != 1757003271 || err != nil && !got.IsZero() {
				t.Errorf("time %v", got)
			}
		})
	}
}

func TestVerifyMailgun(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte("1757003271" + "token"))
	sum := hex.EncodeToString(mac.Sum(nil))
	mac.Reset()
	mac.Write([]byte("1757003271" + "e0f4"))
	exponent := hex.EncodeToString(mac.Sum(nil))
	body := func(at, token, sum string) string {
		return `{"signature":{"timestamp":` + at + `,"token":"` + token + `","signature":"` + sum + `"},"event-data":{}}`
	}
	good := body(`"1757003271"`, "token", sum)
	for _, c := range []struct {
		name, key, body string
		want            error
	}{
		{"valid", "key", good, nil},
		{"time as a number", "key", body("1757003271", "token", sum), nil},
		{"another key", "kex", good, ErrSignature},
		{"another time", "key", body(`"1757003272"`, "token", sum), ErrSignature},
		{"another token", "key", body(`"1757003271"`, "tokem", sum), ErrSignature},
		{"time and token shifted", "key", body(`"175700327"`, "1token", sum), ErrUnsigned}, // they are signed without a mark between them
		{"a token's begin as an exponent", "key", body(`"1757003271e0"`, "f4", exponent), ErrUnsigned},
		{"empty key", "", good, ErrUnsigned},
		{"no token", "key", body(`"1757003271"`, "", sum), ErrUnsigned},
		{"short sum", "key", body(`"1757003271"`, "token", sum[2:]), ErrUnsigned},
		{"no signature", "key", `{"event-data":{}}`, ErrUnsigned},
		{"two values", "key", good + good, ErrUnsigned},
		{"no JSON", "key", good[1:], ErrUnsigned},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, token, err := VerifyMailgun(c.key, []byte(c.body))
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil && (at.IsZero() || !strings.HasSuffix(token, "token")) || err != nil && token != "" {
				t.Errorf("%v, %q", at, token)
			}
		})
	}
}
