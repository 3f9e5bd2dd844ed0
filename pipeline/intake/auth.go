package intake

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"carom.dev/carom/pipeline/feed"
)

// endpoint is an Endpoint at work.
type endpoint struct {
	Endpoint
	words  []credential
	tokens *tokens // nil without a Mailgun key
	order  *order
}

func newEndpoint(e Endpoint) *endpoint {
	out := &endpoint{Endpoint: e, order: newOrder()}
	for _, t := range e.Bearer {
		out.words = append(out.words, newCredential("bearer", string(t)))
	}
	for _, b := range e.Basic {
		out.words = append(out.words, newCredential("basic", b.User+":"+string(b.Password)))
	}
	if len(e.MailgunKey) > 0 {
		age := e.MailgunMaxAge
		if age == 0 {
			age = defaultMailgunMaxAge
		}
		out.tokens = newTokens(age, maxTokens)
	}
	return out
}

// credential is the hash of what an Authorization header has to say. Hashes of one length are compared, so that neither
// the place of the first difference nor a secret's length shows in the time it takes.
type credential [sha256.Size]byte

func newCredential(scheme, words string) credential {
	return sha256.Sum256([]byte(scheme + " " + words))
}

// authorized checks the Authorization header, if there is one that has to come. Every credential is compared, whichever
// fits.
func (e *endpoint) authorized(r *http.Request) bool {
	if len(e.words) == 0 {
		return true
	}
	var got credential
	if user, password, ok := r.BasicAuth(); ok {
		got = newCredential("basic", user+":"+password)
	} else if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "bearer") {
		got = newCredential("bearer", strings.TrimLeft(token, " "))
	}
	fits := 0
	for _, w := range e.words {
		fits |= subtle.ConstantTimeCompare(got[:], w[:])
	}
	return fits == 1
}

// challenges are what a 401 answers with: RFC 9110, section 11.6.1. SNS sends its user and password only after it was asked.
func (e *endpoint) challenges() []string {
	var out []string
	if len(e.Basic) > 0 {
		out = append(out, `Basic realm="carom", charset="UTF-8"`)
	}
	if len(e.Bearer) > 0 {
		out = append(out, `Bearer realm="carom"`)
	}
	if len(out) == 0 {
		out = append(out, `Signature realm="carom"`) // of a webhook, which no client can be asked for
	}
	return out
}

// proof is what a signature said besides being right.
type proof struct {
	sns   feed.SNSMessage // zero without SNS topics
	token *token          // nil without a Mailgun key
}

var errUnauthorized = errors.New("not authentic")

// verify checks the signature of a body. The error wraps errUnauthorized if the body is not authentic; any other is
// trouble of ours, and the same body may pass later.
func (e *endpoint) verify(ctx context.Context, r *http.Request, body []byte, certs *snsClient) (proof, error) {
	var p proof
	switch {
	case e.SendGridKey != "":
		// The signature covers the body: a replay is a repeat, which the fold removes.
		_, err := feed.VerifySendGrid(e.SendGridKey, r.Header.Get("X-Twilio-Email-Event-Webhook-Signature"),
			r.Header.Get("X-Twilio-Email-Event-Webhook-Timestamp"), body)
		if err != nil {
			return p, fmt.Errorf("%w: %w", errUnauthorized, err)
		}
	case e.tokens != nil:
		at, word, err := feed.VerifyMailgun(string(e.MailgunKey), body)
		if err != nil {
			return p, fmt.Errorf("%w: %w", errUnauthorized, err)
		}
		p.token, err = e.tokens.take(at, word, body)
		return p, err
	case len(e.SNSTopics) > 0:
		m, err := feed.VerifySNS(body, e.SNSTopics, func(url string) ([]byte, error) { return certs.certificate(ctx, url) })
		switch {
		case err == nil:
			p.sns = m
		case errors.Is(err, errCertificate):
			return p, err
		default:
			return p, fmt.Errorf("%w: %w", errUnauthorized, err)
		}
	}
	return p, nil
}

// Bounds of what is remembered of an endpoint's Mailgun tokens: about 25 MB an endpoint.
const (
	maxTokens     = 1 << 17
	mailgunFuture = 5 * time.Minute // a clock may be so far ahead
)

// tokens remembers what came under which of Mailgun's tokens. The signature does not cover the event, so that a token that
// was seen with one body must not vouch for another. The same body again is a repeat: its acknowledgement was lost. What
// is too old is refused, so that a token may be forgotten when it is older than that. The memory does not outlive the
// process.
type tokens struct {
	maxAge time.Duration
	max    int
	now    func() time.Time

	mu     sync.Mutex
	byWord map[[sha256.Size]byte]*token
	ring   []*token // the last max of them, in the order in which they came
	at     int
}

// token is one that is remembered, or about to be.
type token struct {
	key  [sha256.Size]byte // of its word
	body [sha256.Size]byte
	time time.Time
	busy bool // its body is being written
	kept bool // its body was written before
	over bool // for its sake one was forgotten that is not too old yet
}

func newTokens(maxAge time.Duration, n int) *tokens {
	return &tokens{maxAge: maxAge, max: n, now: time.Now, byWord: map[[sha256.Size]byte]*token{}}
}

var errTokenBusy = errors.New("the same token is being written")

// take claims a token for a body: keep or drop must follow, unless it is kept already. errTokenBusy is trouble of ours.
func (t *tokens) take(at time.Time, word string, body []byte) (*token, error) {
	now := t.now()
	if age := now.Sub(at); age > t.maxAge || age < -mailgunFuture {
		return nil, fmt.Errorf("%w: the signature is too old, or from the future", errUnauthorized)
	}
	tok := &token{key: sha256.Sum256([]byte(word)), body: sha256.Sum256(body), time: at, busy: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.byWord[tok.key]; have != nil {
		switch {
		case have.body != tok.body:
			return nil, fmt.Errorf("%w: the token came before with another body", errUnauthorized)
		case have.busy:
			return nil, errTokenBusy
		}
		return &token{kept: true}, nil
	}
	if len(t.ring) < t.max {
		t.ring = append(t.ring, tok)
	} else {
		old := t.ring[t.at]
		if t.byWord[old.key] == old {
			tok.over = now.Sub(old.time) <= t.maxAge
			delete(t.byWord, old.key)
		}
		t.ring[t.at] = tok
		t.at = (t.at + 1) % t.max
	}
	t.byWord[tok.key] = tok
	return tok, nil
}

// keep says that the token's body was written.
func (t *tokens) keep(tok *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok.busy = false
}

// drop says that the token's body was not written: it may come again.
func (t *tokens) drop(tok *token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byWord[tok.key] == tok {
		delete(t.byWord, tok.key)
	}
}
