package alert

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"carom.dev/carom/schema"
)

// Notification is one revision of an incident on its way to one channel.
type Notification struct {
	Incident *schema.Incident // not to be changed
	// ID names the pair of revision and channel and stays the same over retries, so that a receiver can drop repeats.
	ID string
}

// Channel takes notifications to a receiver. Send returns when the receiver has answered; an error for which Permanent
// is false will be tried again. Send is called by one goroutine at a time per channel.
type Channel interface {
	Name() string
	Send(ctx context.Context, n Notification) error
}

// Reposter is a Channel whose receiver forgets what is not repeated. Repost is called in every interval with all open
// incidents, and with none at all: the receiver learns from it that the sender lives.
type Reposter interface {
	Repost(ctx context.Context, open []*schema.Incident) error
}

// notificationID has no full stop, which separates the parts of what a webhook signs.
func notificationID(incident string, revision uint32, channel string) string {
	return incident + "-r" + strconv.FormatUint(uint64(revision), 10) + "-" + channel
}

// statusError is an answer other than 2xx.
type statusError struct {
	status     int
	body       string
	retryAfter time.Duration // 0: not said
}

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d %s: %q", e.status, http.StatusText(e.status), e.body)
}

// errSetup marks what no retry mends: a request that cannot be built.
var errSetup = errors.New("request cannot be made")

// Permanent says that trying again cannot help. Answers 429 and 5xx are a receiver's passing trouble, and so is anything
// between here and there: connections, names, certificates, time limits, an unreadable token file. Every other answer
// (4xx; redirects, which are not followed, for they would carry the credentials elsewhere) means that this notification
// or this configuration is refused as it is.
func Permanent(err error) bool {
	var s *statusError
	if errors.As(err, &s) {
		return s.status != http.StatusTooManyRequests && s.status < 500
	}
	return errors.Is(err, errSetup)
}

// retryAfter returns how long the receiver asked to be left alone, 0 if it did not.
func retryAfter(err error) time.Duration {
	var s *statusError
	if errors.As(err, &s) {
		return s.retryAfter
	}
	return 0
}
