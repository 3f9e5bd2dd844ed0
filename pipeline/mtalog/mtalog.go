// Package mtalog reads the logs of mail transfer agents and tells, per recipient and attempt, what happened. It reads
// Postfix (2.3 and later), Exim 4, Sendmail 8, OpenSMTPD (6.4 and later), Haraka, the DragonFly Mail Agent and qmail,
// through syslog in the traditional format (RFC 3164), with RFC 3339 stamps, or as RFC 5424; Exim's own main log, Haraka's
// standard output and qmail's through multilog too. The line itself tells whose it is, unless Input.Format does.
//
// What an MTA does not log stays empty: OpenSMTPD, dma and qmail name no Message-ID, Sendmail, OpenSMTPD and Haraka seldom
// name the command that a reply answers (Haraka does at its level "protocol"), and dma is silent on timeouts.
//
// DeliveryEvent.instance is what delivered: Postfix's syslog name, Exim's transport (T=), Sendmail's mailer (mailer=), else
// the syslog tag. delay_ms is Postfix's and Sendmail's delay=, Exim's QT=, OpenSMTPD's and Haraka's delay=. The parts in
// delays are Postfix's; Exim (DT=) and Sendmail (xdelay=) give one number for an attempt, connection included, which stands
// as transmission, and what is left of the delay as time in the queue.
//
// For labels, SetSite, the logs say: Postfix the login, the client and headers of header_checks(5); Exim the login (A=, or
// U= of a local user), the client (H=) and the subject (T=); Sendmail the login (AUTH=server, LogLevel 9) and the client
// (relay=); OpenSMTPD the login and the client; Haraka the client's address; all but dma the envelope sender.
//
// Correlator is the fold of one raw partition: a delivery line names no sender and an expiry names no recipient, so it
// keeps a table of queue entries, by host and queue id, and joins the lines. It is a pure function of its lines: no
// clock, no randomness, no dependence on map order. Its table can be written out at any line and read back, and the rest
// of the log gives the same events as if it had never been interrupted.
//
// It promises that each line is counted once as an event, as known, or as unparsed with a reason from a closed set; that
// text from outside (remote replies, addresses) is never taken for the log's own structure where the log allows to tell;
// that memory is bounded; and that every string in an event is valid UTF-8. It does not remove repeated lines, does not
// judge replies, and does not know positions in Kafka.
package mtalog

import (
	"errors"
	"fmt"
	"time"
)

// Input is one line of a log and what its carrier knows about it.
type Input struct {
	Line []byte // without its newline; a carriage return at its end is ignored. Not kept.
	Host string // the host by the carrier, used where the line names none
	// Reference is when the line was carried (broker time, or the file's time). It gives a missing year - the latest
	// year by which the stamp is not more than 25 hours later - and keeps a host's wrong clock from aging its queue.
	Reference time.Time
	Location  *time.Location // zone of stamps without one; nil is UTC
	Format    Format         // FormatAuto: each line tells
}

// Kind says what became of a line.
type Kind uint8

// The kinds. A line is an event, known (state or noise) or unparsed.
const (
	KindUnparsed Kind = iota // not understood; Reason says why
	KindEvent                // one event was emitted, or several (expiry)
	KindState                // the line changed, or would have changed, the queue table
	KindNoise                // known, and says nothing about a delivery
	numKinds
)

// String returns "event", "state", "noise" or "unparsed".
func (k Kind) String() string {
	return [numKinds]string{"unparsed", "event", "state", "noise"}[k]
}

// Reason refines a Kind. The set is closed, so it may label a metric.
type Reason uint8

// The reasons.
const (
	ReasonNone Reason = iota

	ReasonPostfix      // noise: a line of Postfix without information on a delivery
	ReasonOtherProgram // noise: another program's line
	ReasonProbe        // noise: an address verification probe, verify(8)
	ReasonMTA          // noise: a line of another MTA without information on a delivery
	ReasonRepeated     // noise: syslogd's "message repeated n times"
	ReasonEmpty        // noise: an empty line

	ReasonHint         // state: a failure without a recipient, or a piece of a line; a line with recipients follows
	ReasonUnknownEntry // state: the queue entry was never seen, or has been forgotten
	ReasonNobody       // state: an expiry of an entry none of whose waiting recipients was heard of

	ReasonFrame       // unparsed: no syslog header, or none but multilog's stamp and words that are not qmail's
	ReasonTime        // unparsed: a stamp that is no time
	ReasonNoReference // unparsed: a stamp without year and no Reference
	ReasonHost        // unparsed: neither the line nor its carrier names a host
	ReasonTooLong     // unparsed: longer than MaxLineBytes
	ReasonDaemon      // unparsed: a daemon of Postfix that is not known
	ReasonShape       // unparsed: a line of an MTA of a form that is not known
	ReasonCut         // unparsed: a delivery line that ends before its status
	ReasonFields      // unparsed: a delivery line with fields that are not known
	numReasons
)

// String returns the reason in a few lower-case words joined by underscores, empty for ReasonNone.
func (r Reason) String() string {
	return [numReasons]string{
		"", "postfix", "other_program", "probe", "mta", "repeated", "empty", "hint", "unknown_entry", "nobody",
		"frame", "time", "no_reference", "host", "too_long", "daemon", "shape", "cut", "fields",
	}[r]
}

// Result tells what became of a line.
type Result struct {
	Kind   Kind
	Reason Reason
	Format Format    // whose line it is; FormatAuto where that is not known
	Host   string    // as logged, else Input.Host; empty if the header could not be read
	At     time.Time // the line's stamp, in UTC; zero if it could not be read
	Daemon string    // of Postfix: "smtp", "qmgr", ...; empty where the line does not say
}

// MaxLineBytes bounds a line. syslogd cuts far below (RFC 5424, section 6.1: 2 KiB and more).
const MaxLineBytes = 64 << 10

// maxRawBytes bounds the line kept in an event.
const maxRawBytes = 4 << 10

// Config holds the bounds of the tables. They are parameters of the fold: with others, other entries are forgotten.
type Config struct {
	MaxEntries int           // queue entries; beyond, the one that was silent longest is forgotten
	MaxBytes   int64         // estimated memory of all entries; beyond, likewise
	TTL        time.Duration // an entry without a line for so long, by its host's own clock, is forgotten
	MaxDomains int           // recipient domains whose last host is remembered; 0: none
}

// DefaultConfig holds a million entries, 1 GiB, six days, and the hosts of a hundred thousand domains. Postfix gives up after five days by default
// (maximal_queue_lifetime) and logs at least every hour and a bit until then (maximal_backoff_time, 4000 s).
func DefaultConfig() Config {
	return Config{MaxEntries: 1_000_000, MaxBytes: 1 << 30, TTL: 6 * 24 * time.Hour, MaxDomains: 100_000}
}

// Validate names the first field that cannot work.
func (c Config) Validate() error {
	switch {
	case c.MaxEntries < 1:
		return fmt.Errorf("max entries is %d, want at least 1", c.MaxEntries)
	case c.MaxBytes < 1:
		return fmt.Errorf("max bytes is %d, want at least 1", c.MaxBytes)
	case c.TTL <= 0:
		return fmt.Errorf("ttl is %s, want more than 0", c.TTL)
	case c.MaxDomains < 0:
		return fmt.Errorf("max domains is %d, want at least 0", c.MaxDomains)
	}
	return nil
}

// ErrState is wrapped by the errors of LoadState.
var ErrState = errors.New("not a queue table of this version")

// Stats counts since NewCorrelator; it is no part of the state. Lines is the sum of Kinds.
type Stats struct {
	Lines    uint64
	Kinds    [numKinds]uint64
	Reasons  [numReasons]uint64
	Events   uint64 // emitted; one expiry may emit several
	Orphans  uint64 // events whose queue entry was never seen
	Unheard  uint64 // recipients of expired entries that no line ever named; an upper bound if the log was joined midway
	Replaced uint64 // entries whose queue id came back for another message before "removed"
	Waiting  uint64 // recipients still waiting when their entry was removed by hand
	Evicted  uint64 // entries forgotten for MaxEntries or MaxBytes
	Aged     uint64 // entries forgotten for TTL
	Entries  int    // in the table now
	Hosts    int    // with entries now
	Bytes    int64  // estimated memory of the entries now
	Domains  int    // whose last host is remembered now
}
