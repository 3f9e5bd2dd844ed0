package feed

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Reasons for which a body is not believed; match them with errors.Is.
var (
	ErrSignature = errors.New("signature does not match")
	ErrUnsigned  = errors.New("no signature that can be checked")
	ErrURL       = errors.New("url is not one of Amazon SNS")
	ErrTopic     = errors.New("topic is not one that is expected")
)

// SNSMessage is what a verified envelope says about itself.
type SNSMessage struct {
	Type         string // Notification, SubscriptionConfirmation, UnsubscribeConfirmation
	ID           string
	TopicARN     string // one of those that were expected
	SubscribeURL string // of SNS itself; visiting it confirms the subscription. Empty for a Notification
	Timestamp    time.Time
}

// snsHost is sns.REGION.amazonaws.com, or .com.cn in China. The region's form matters: sns.s3.amazonaws.com and
// sns.s3-us-west-2.amazonaws.com are the S3 bucket "sns", in which its owner may put any certificate.
var snsHost = regexp.MustCompile(`^sns\.[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?$`)

// VerifySNS checks the signature of an SNS envelope: Amazon SNS developer guide, "Verifying the signatures of Amazon SNS
// messages". topics are the ARNs that are expected: anybody may have SNS sign with a topic of their own. fetch returns the
// certificate at a URL in PEM; it is called only for a topic that is expected and with https URLs of SNS's own hosts, and
// may keep what it fetched. VerifySNS does not look at the certificate's dates and issuer: https vouches for the host.
//
// Errors wrap ErrURL, ErrUnsigned, ErrTopic or ErrSignature, or are fetch's. It has no clock: whoever fears replays
// compares Timestamp with the time and remembers ID.
func VerifySNS(body []byte, topics []string, fetch func(certURL string) ([]byte, error)) (SNSMessage, error) {
	if len(body) > MaxBodyBytes {
		return SNSMessage{}, fmt.Errorf("verify sns message of %d bytes: %w", len(body), ErrUnsigned)
	}
	r := newReader(string(body))
	if check := r; !check.valid() {
		return SNSMessage{}, fmt.Errorf("verify sns message: %s at byte %d: %w", check.why, check.i, ErrUnsigned)
	}
	field := map[string]string{}
	for ok := r.object(); ok; ok = r.more() {
		switch key := r.key; key {
		case "Type", "MessageId", "Token", "TopicArn", "Subject", "Message", "SubscribeURL", "Timestamp", "SignatureVersion",
			"Signature", "SigningCertURL":
			// A name that comes twice, or is no string, could mean one thing here and another to who reads the body next.
			if _, twice := field[key]; twice || r.kind() != '"' {
				return SNSMessage{}, fmt.Errorf("verify sns message: %s is not one string: %w", key, ErrUnsigned)
			}
			field[key] = r.str()
		}
	}
	if r.kind() != 0 {
		return SNSMessage{}, fmt.Errorf("verify sns message: another value follows at byte %d: %w", r.i, ErrUnsigned)
	}
	signed := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	switch field["Type"] {
	case "Notification":
		signed = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
		if err := snsURL(field["SubscribeURL"], ""); err != nil {
			return SNSMessage{}, fmt.Errorf("verify sns message: subscribe url: %w", err)
		}
	default:
		return SNSMessage{}, fmt.Errorf("verify sns message: unknown type: %w", ErrUnsigned)
	}
	if !slices.Contains(topics, field["TopicArn"]) {
		return SNSMessage{}, fmt.Errorf("verify sns message: %w", ErrTopic)
	}
	certURL := field["SigningCertURL"]
	if err := snsURL(certURL, ".pem"); err != nil {
		return SNSMessage{}, fmt.Errorf("verify sns message: certificate url: %w", err)
	}
	var text strings.Builder
	for _, name := range signed {
		value, ok := field[name]
		if !ok && name == "Subject" {
			continue
		}
		text.WriteString(name + "\n" + value + "\n")
	}
	var hash crypto.Hash
	var digest []byte
	switch field["SignatureVersion"] {
	case "1":
		sum := sha1.Sum([]byte(text.String()))
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256([]byte(text.String()))
		hash, digest = crypto.SHA256, sum[:]
	default:
		return SNSMessage{}, fmt.Errorf("verify sns message: unknown signature version: %w", ErrUnsigned)
	}
	signature, err := base64.StdEncoding.DecodeString(field["Signature"])
	if err != nil || len(signature) == 0 {
		return SNSMessage{}, fmt.Errorf("verify sns message: signature is no base64: %w", ErrUnsigned)
	}
	at, err := time.Parse(time.RFC3339, field["Timestamp"])
	if err != nil {
		return SNSMessage{}, fmt.Errorf("verify sns message: timestamp cannot be read: %w", ErrUnsigned)
	}
	key, err := certificateKey(certURL, fetch)
	if err != nil {
		return SNSMessage{}, fmt.Errorf("verify sns message: %w", err)
	}
	if err := rsa.VerifyPKCS1v15(key, hash, digest, signature); err != nil {
		return SNSMessage{}, fmt.Errorf("verify sns message: %w", ErrSignature)
	}
	m := SNSMessage{Type: field["Type"], ID: field["MessageId"], TopicARN: field["TopicArn"], Timestamp: at.UTC()}
	if m.Type != "Notification" {
		m.SubscribeURL = field["SubscribeURL"]
	}
	return m, nil
}

// snsURL accepts https on SNS's own hosts, without a user, a port or a fragment, and with the path's ending. The body names
// the URL before its signature is checked, so this is what keeps a forger's certificate out.
func snsURL(s, ending string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Fragment != "":
		return ErrURL
	case !snsHost.MatchString(u.Host):
		return ErrURL
	case ending != "" && (!strings.HasSuffix(u.Path, ending) || u.RawQuery != "" || strings.Contains(u.Path, "..")):
		return ErrURL
	}
	return nil
}

func certificateKey(certURL string, fetch func(string) ([]byte, error)) (*rsa.PublicKey, error) {
	text, err := fetch(certURL)
	if err != nil {
		return nil, fmt.Errorf("fetch certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("certificate is no pem: %w", ErrUnsigned)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate: %w: %w", ErrUnsigned, err)
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("certificate has no rsa key: %w", ErrUnsigned)
	}
	return key, nil
}

// VerifySendGrid checks the signature of an Event Webhook: ECDSA over the timestamp's digits and the body as it came.
// SendGrid, "Getting started with the Event Webhook security features". signature and timestamp are the headers
// X-Twilio-Email-Event-Webhook-Signature (base64) and -Timestamp, publicKey the account's verification key (base64 of a
// DER public key on P-256). Errors wrap ErrUnsigned or ErrSignature. Replays are for the caller to see, by the timestamp,
// which is returned.
func VerifySendGrid(publicKey, signature, timestamp string, body []byte) (time.Time, error) {
	der, err := base64.StdEncoding.DecodeString(strings.TrimSpace(publicKey))
	if err != nil {
		return time.Time{}, fmt.Errorf("verify sendgrid body: public key is no base64: %w", ErrUnsigned)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return time.Time{}, fmt.Errorf("verify sendgrid body: parse public key: %w: %w", ErrUnsigned, err)
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return time.Time{}, fmt.Errorf("verify sendgrid body: public key is not on p-256: %w", ErrUnsigned)
	}
	sig, err := base64.StdEncoding.DecodeString(signature)
	if err != nil || len(sig) == 0 {
		return time.Time{}, fmt.Errorf("verify sendgrid body: signature is no base64: %w", ErrUnsigned)
	}
	us, ok := unixMicros(timestamp)
	if !ok {
		return time.Time{}, fmt.Errorf("verify sendgrid body: timestamp cannot be read: %w", ErrUnsigned)
	}
	hash := sha256.New()
	hash.Write([]byte(timestamp))
	hash.Write(body)
	if !ecdsa.VerifyASN1(key, hash.Sum(nil), sig) {
		return time.Time{}, fmt.Errorf("verify sendgrid body: %w", ErrSignature)
	}
	return time.UnixMicro(us).UTC(), nil
}

// VerifyMailgun checks the signature of a webhook: HMAC-SHA-256 over timestamp and token, with the account's webhook signing
// key. Mailgun, "Securing webhooks". It does not cover the event itself, which only https protects: whoever saw one
// signature can put it on another body, so the caller has to refuse old timestamps and tokens that came before.
// Timestamp and token are signed without a mark between them. The timestamp has to have ten digits (until the year 2286),
// or the same signature would fit another token: 1757003271 and e0f4... are signed like 1757003271e0 and f4....
// Errors wrap ErrUnsigned or ErrSignature.
func VerifyMailgun(signingKey string, body []byte) (at time.Time, token string, err error) {
	if signingKey == "" || len(body) > MaxBodyBytes {
		return time.Time{}, "", fmt.Errorf("verify mailgun body: no key, or too large: %w", ErrUnsigned)
	}
	r := newReader(string(body))
	if check := r; !check.valid() {
		return time.Time{}, "", fmt.Errorf("verify mailgun body: %s at byte %d: %w", check.why, check.i, ErrUnsigned)
	}
	var timestamp, signature string
	for ok := r.object(); ok; ok = r.more() {
		if r.key != "signature" {
			continue
		}
		for ok := r.object(); ok; ok = r.more() {
			switch r.key {
			case "timestamp":
				timestamp = r.scalar()
			case "token":
				token = r.str()
			case "signature":
				signature = r.str()
			}
		}
	}
	if r.kind() != 0 {
		return time.Time{}, "", fmt.Errorf("verify mailgun body: another value follows at byte %d: %w", r.i, ErrUnsigned)
	}
	us, ok := unixMicros(timestamp)
	sum, hexErr := hex.DecodeString(signature)
	if !ok || len(timestamp) != 10 || hexErr != nil || len(sum) != sha256.Size || token == "" {
		return time.Time{}, "", fmt.Errorf("verify mailgun body: %w", ErrUnsigned)
	}
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write([]byte(timestamp))
	mac.Write([]byte(token))
	if !hmac.Equal(mac.Sum(nil), sum) {
		return time.Time{}, "", fmt.Errorf("verify mailgun body: %w", ErrSignature)
	}
	return time.UnixMicro(us).UTC(), token, nil
}
