package intake

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/pipeline/feed"
)

// Endpoint is one POST /v1/feeds/<Name>, with its authentication. It needs at least one way of that. If it has words for the
// Authorization header (Bearer, Basic), one of them has to come; if it has a signature, that has to be right as well.
//
// Printing or logging an Endpoint shows its name and format only.
type Endpoint struct {
	Name   string // 1 to 64 of a-z, 0-9 and -; the record's key and schema.HeaderFeed
	Format string // one of feed.Formats, schema.HeaderFormat

	// Bearer are the tokens that are taken: RFC 6750. Several, so that one can be replaced without a gap. At least 16 bytes.
	Bearer [][]byte
	// Basic are the users that are taken: RFC 7617.
	Basic []BasicAuth

	// SendGridKey is the verification key of SendGrid's signed event webhook: base64 of a DER public key. Format sendgrid.
	SendGridKey string
	// MailgunKey is Mailgun's HTTP webhook signing key. Format mailgun.
	MailgunKey []byte
	// MailgunMaxAge refuses signatures that are older; 0: 9 hours. Mailgun tries again for 8 hours.
	MailgunMaxAge time.Duration
	// SNSTopics are the ARNs of the SNS topics whose signed messages are taken. Format ses.
	SNSTopics []string
	// ConfirmSubscriptions visits the SubscribeURL of a signed SubscriptionConfirmation of one of SNSTopics. Without it,
	// somebody else has to.
	ConfirmSubscriptions bool
}

// BasicAuth is a user of Basic authentication.
type BasicAuth struct {
	User     string // without a colon
	Password []byte // at least 16 bytes
}

const (
	minSecretBytes       = 16
	defaultMailgunMaxAge = 9 * time.Hour
	maxEndpoints         = 256
)

var endpointName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

func validateEndpoints(endpoints []Endpoint) error {
	if len(endpoints) == 0 {
		return errors.New("-intake.http-addr is set, but there are no endpoints")
	}
	if len(endpoints) > maxEndpoints {
		return fmt.Errorf("%d endpoints: at most %d", len(endpoints), maxEndpoints)
	}
	seen := map[string]bool{}
	for i := range endpoints {
		e := &endpoints[i]
		if err := e.validate(); err != nil {
			return fmt.Errorf("endpoint %q: %w", e.Name, err)
		}
		if seen[e.Name] {
			return fmt.Errorf("endpoint %q: named twice", e.Name)
		}
		seen[e.Name] = true
	}
	return nil
}

// validate does not repeat secrets.
func (e *Endpoint) validate() error {
	switch {
	case !endpointName.MatchString(e.Name):
		return errors.New("name: want 1 to 64 of a-z, 0-9 and -")
	case e.Name == doorLMTP || e.Name == doorMaildir:
		return errors.New("name: is that of a door for mails")
	case !slices.Contains(feed.Formats(), e.Format):
		return fmt.Errorf("format %q: want one of %s", e.Format, strings.Join(feed.Formats(), ", "))
	case len(e.Bearer) == 0 && len(e.Basic) == 0 && e.SendGridKey == "" && len(e.MailgunKey) == 0 && len(e.SNSTopics) == 0:
		return errors.New("no authentication: give a bearer token, a user or a signature's key; or anybody could write")
	case e.SendGridKey != "" && e.Format != feed.SendGrid:
		return fmt.Errorf("key of SendGrid: format is %s", e.Format)
	case len(e.MailgunKey) != 0 && e.Format != feed.Mailgun:
		return fmt.Errorf("key of Mailgun: format is %s", e.Format)
	case len(e.SNSTopics) != 0 && e.Format != feed.SES:
		return fmt.Errorf("topics of SNS: format is %s", e.Format)
	case e.ConfirmSubscriptions && len(e.SNSTopics) == 0:
		return errors.New("subscriptions to confirm: no SNS topics")
	case e.MailgunMaxAge < 0 || (e.MailgunMaxAge > 0 && e.MailgunMaxAge < time.Minute):
		return fmt.Errorf("maximum age of Mailgun's signatures %s: below 1m", e.MailgunMaxAge)
	}
	for _, t := range e.Bearer {
		if err := checkSecret(t); err != nil {
			return fmt.Errorf("bearer token: %w", err)
		}
		if bytes.IndexByte(t, 0x20) >= 0 {
			return errors.New("bearer token: has a space")
		}
	}
	for _, b := range e.Basic {
		if b.User == "" || strings.Contains(b.User, ":") {
			return fmt.Errorf("basic user %q: empty, or has a colon", b.User)
		}
		if err := checkSecret(b.Password); err != nil {
			return fmt.Errorf("password of basic user %q: %w", b.User, err)
		}
	}
	for _, t := range e.SNSTopics {
		if !strings.HasPrefix(t, "arn:") || strings.Count(t, ":") != 5 {
			return fmt.Errorf("topic of SNS %q: want arn:aws:sns:region:account:name", t)
		}
	}
	if bytes.ContainsAny(e.MailgunKey, "\r\n") {
		return errors.New("key of Mailgun: has a line end")
	}
	if e.SendGridKey != "" {
		// A well-formed signature of nothing tells whether the key can be read.
		_, err := feed.VerifySendGrid(e.SendGridKey, base64.StdEncoding.EncodeToString([]byte{0}), "1757003271", nil)
		if !errors.Is(err, feed.ErrSignature) {
			return errors.New("key of SendGrid: want base64 of a DER public key on P-256")
		}
	}
	return nil
}

func checkSecret(secret []byte) error {
	if len(secret) < minSecretBytes {
		return fmt.Errorf("%d bytes: want at least %d", len(secret), minSecretBytes)
	}
	if bytes.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("has a line end or another control character")
	}
	return nil
}

// String hides the secrets.
func (e Endpoint) String() string { return e.Name + " (" + e.Format + ")" }

// GoString hides the secrets from %#v.
func (e Endpoint) GoString() string { return e.String() }

// LogValue hides the secrets from slog.
func (e Endpoint) LogValue() slog.Value { return slog.StringValue(e.String()) }
