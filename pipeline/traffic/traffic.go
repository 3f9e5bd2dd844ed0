// Package traffic makes up the Postfix log of a sender that does not exist, for demonstrations and for tests of the
// whole pipeline.
//
// The lines have the shapes that Postfix 3.7 writes with rsyslog (formats of src/smtp, src/smtpd, src/qmgr, src/cleanup,
// src/bounce and src/pipe): per message the arrival, the message id, the queue manager, one delivery line for each
// recipient and attempt, bounces to the sender, the removal; around them TLS lines and other noise. Messages that were
// deferred are tried again with growing delays. The hosts of the providers carry their real names, so that providers are
// recognised, with addresses from the blocks for documentation (RFC 5737); sender and recipients are made up, and
// domains that belong to nobody end in .example (RFC 2606). The words of the providers' replies follow what they answer
// in public.
//
// A Generator is a pure function of its Config: the same Config gives the same lines, with no clock and no I/O. With
// them comes the truth: what was generated for whom, and in particular which refusals were false.
//
// The traffic promises to be plausible to a reader of logs and to detectors; it does not model days and weeks, the
// expiry of messages (a run is shorter than a queue's lifetime), or what a sender does on account of Carom's decisions.
package traffic

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config says what to generate. Start from DefaultConfig; the zero value is not valid.
type Config struct {
	Seed    uint64
	Start   time.Time // first minute; cut to a whole one. Its zone is that of the stamps.
	Minutes int       // length of the run
	// PerMinute is the mean number of delivery attempts a minute, retries included. The attempts of ListImport and the
	// notices that bounces cause to the sender come on top.
	PerMinute int
	Hosts     []string // MTA hosts that share the traffic evenly

	Burst      *Burst      // nil: none
	ListImport *ListImport // nil: none
	// Gone are addresses, as another run made them, that no longer exist and that nobody took off: each gets one more
	// message, on top of PerMinute, spread evenly over the run.
	Gone []string

	Traditional   bool // stamps as in RFC 3164, without year and zone, instead of RFC 3339 with microseconds
	ShortQueueIDs bool // as without enable_long_queue_ids: hexadecimal, and used again
}

// Burst is a provider's failure: it answers that mailboxes do not exist which do.
type Burst struct {
	Provider string        // one of Providers
	From     time.Duration // after Start
	For      time.Duration
	Share    float64 // of the provider's attempts that begin in that time, to recipients that exist; above 0, up to 1
}

// ListImport is a mailing of one customer to a bad new list: recipients never mailed before, at several providers. Each
// is mailed once.
type ListImport struct {
	From      time.Duration // after Start
	For       time.Duration
	PerMinute int     // mean number of messages a minute, one recipient each
	Unknown   float64 // share of recipients that do not exist, 0 to 1
}

// DefaultConfig returns the two hours of the demonstration: 500 attempts a minute on two hosts, a bad list in minutes 20
// to 35, Apple's burst in minutes 45 to 65. Start is an arbitrary fixed day.
func DefaultConfig() Config {
	return Config{
		Seed: 1, Start: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), Minutes: 120, PerMinute: 500, Hosts: []string{"mta1", "mta2"},
		Burst:      &Burst{Provider: "apple", From: 45 * time.Minute, For: 20 * time.Minute, Share: 0.35},
		ListImport: &ListImport{From: 20 * time.Minute, For: 15 * time.Minute, PerMinute: 60, Unknown: 0.35},
	}
}

// Bounds of a Config: of memory, which grows with the recipients (about 200 B each: 20 for each attempt a minute, and those
// who come later), and of the addresses that there are for the hosts.
const (
	maxMinutes   = 7 * 24 * 60
	maxPerMinute = 100_000
	maxHosts     = 64
)

// Validate names the first field that cannot work, with its value.
func (c Config) Validate() error {
	switch {
	case c.Start.IsZero():
		return fmt.Errorf("traffic: start is not set")
	case c.Minutes < 1 || c.Minutes > maxMinutes:
		return fmt.Errorf("traffic: minutes is %d, want 1 to %d", c.Minutes, maxMinutes)
	case c.PerMinute < 1 || c.PerMinute > maxPerMinute:
		return fmt.Errorf("traffic: per minute is %d, want 1 to %d", c.PerMinute, maxPerMinute)
	case len(c.Hosts) < 1 || len(c.Hosts) > maxHosts:
		return fmt.Errorf("traffic: %d hosts, want 1 to %d", len(c.Hosts), maxHosts)
	}
	for i, h := range c.Hosts {
		if h == "" || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.HasSuffix(h, ":") {
			return fmt.Errorf("traffic: host %q, want visible ASCII without a colon at its end", h)
		}
		if slices.Contains(c.Hosts[:i], h) {
			return fmt.Errorf("traffic: host %q is listed twice", h)
		}
	}
	if b := c.Burst; b != nil {
		switch {
		case providerIndex(b.Provider) < 0:
			return fmt.Errorf("traffic: burst at provider %q, want one of %s", b.Provider, strings.Join(Providers(), ", "))
		case b.From < 0 || b.For <= 0:
			return fmt.Errorf("traffic: burst from %s for %s, want from at least 0 for more than 0", b.From, b.For)
		case !(b.Share > 0 && b.Share <= 1):
			return fmt.Errorf("traffic: burst share is %g, want more than 0, up to 1", b.Share)
		}
	}
	for _, a := range c.Gone {
		if _, _, ok := findDomain(providers(), a); !ok {
			return fmt.Errorf("traffic: gone address %q is at no domain of the providers", a)
		}
	}
	if l := c.ListImport; l != nil {
		switch {
		case l.From < 0 || l.For <= 0:
			return fmt.Errorf("traffic: list import from %s for %s, want from at least 0 for more than 0", l.From, l.For)
		case l.PerMinute < 1 || l.PerMinute > maxPerMinute:
			return fmt.Errorf("traffic: list import per minute is %d, want 1 to %d", l.PerMinute, maxPerMinute)
		case !(l.Unknown >= 0 && l.Unknown <= 1):
			return fmt.Errorf("traffic: list import unknown is %g, want 0 to 1", l.Unknown)
		}
	}
	return nil
}

// Line is one line of a host's log, without its newline.
type Line struct {
	Host string
	Text string
}

// Truth is what the lines returned so far say, known from the making and not from the lines.
type Truth struct {
	Lines int
	// Deliveries is the number of delivery lines: attempts and notices, each of which is one event.
	Deliveries int
	Attempts   int // to recipients; Delivered, Deferred and Bounced add up to it
	Delivered  int
	Deferred   int
	Bounced    int
	Notices    int // bounces delivered to the sender's own bounce handler

	Unknown      int // of Bounced: refused as unknown, and rightly so
	FalseUnknown int // of Bounced: refused as unknown, and they exist
	Listed       int // of Attempts: to recipients of the bad list

	Recipients []Recipient // in the order of their first attempt
}

// Recipient is the truth on one recipient. Times are those of delivery lines, zero for never.
type Recipient struct {
	Address  string
	Provider string // one of Providers
	Gone     bool   // does not exist, at least not any more
	Listed   bool   // on the bad list

	Attempts, Delivered, Deferred, Bounced int

	FirstDelivered, LastDelivered time.Time
	FirstFalse, LastFalse         time.Time // refused as unknown by the burst
}
