package site

import "regexp"

// Feed is one of the sender's webhooks or accounting feeds, and how the intake knows that a request is its own.
type Feed struct {
	Name   string // in the URL, and in DeliveryEvent.feed
	Format string // "ses", "sendgrid" ...: a format of pipeline/feed

	// Ways to prove itself, by the names of keys; at least one.
	Bearer    string // key that holds a token: Authorization: Bearer (RFC 6750)
	User      string // with Password: Authorization: Basic (RFC 7617)
	Password  string // key
	Signature string // key: SendGrid's public key, Mailgun's signing key
	TopicARNs []string
	Confirm   bool // visit SNS's confirmation of a subscription
}

// feedName is what a feed may be called: it stands in a URL, a file name and a metric's label.
var feedName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`)
