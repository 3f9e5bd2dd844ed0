package intake

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/schema"
)

// Config of all doors. A door without an address (or directories) stays closed.
type Config struct {
	Topic          string        // raw topic to write to; one of the epoch's raw topics, or nobody reads it
	Timeout        time.Duration // bound on one write to Kafka; then the client is asked to come again
	MaxRecordBytes int           // of a record's value; below the topic's max.message.bytes
	KeepBytes      int           // of a mail that are written; the rest is dropped
	HTTP           HTTPConfig
	LMTP           LMTPConfig
	Maildir        MaildirConfig
	Endpoints      []Endpoint // of the HTTP door; not flags, since they hold secrets
}

// HTTPConfig of the door for webhooks.
type HTTPConfig struct {
	Addr         string // host:port; port 0 takes a free one. Empty: no such door
	TLSCertFile  string // PEM, with TLSKeyFile; read again when changed. Empty: no TLS
	TLSKeyFile   string
	ClientCAFile string // PEM; with TLS, clients have to show a certificate of these authorities

	MaxBodyBytes     int           // of a body, before and after decompression
	MaxInFlight      int           // bodies at a time that are complete and not answered yet
	MaxInFlightBytes int64         // of all bodies that are held, complete or not
	MaxConnections   int           // more wait
	ReadTimeout      time.Duration // for a request to come in, its body included

	sns *snsClient // nil but in tests
}

// LMTPConfig of the door for mails.
type LMTPConfig struct {
	Addr           string   // host:port, or unix:/path/of/socket. Empty: no such door
	Domains        []string // domains whose recipients are taken; "*" takes all
	Allow          []string // networks (CIDR) that may connect by TCP
	SocketMode     uint32   // permissions of the Unix socket
	MaxConnections int
	MaxRecipients  int
	MaxMailBytes   int64 // larger mails are refused
	CommandTimeout time.Duration
	DataTimeout    time.Duration // for a whole mail to come in
}

// MaildirConfig of the reader of Maildirs.
type MaildirConfig struct {
	Dirs     []string      // each with new/ and cur/. Empty: no reader
	Interval time.Duration // between two looks
	ReadCur  bool          // also take the mails in cur/ that are not marked as seen
	Delete   bool          // remove what was written, instead of moving it to cur/ and marking it as seen
}

// The doors' own names, in records and metrics.
const (
	doorHTTP    = "http"
	doorLMTP    = "lmtp"
	doorMaildir = "maildir"
)

// recordOverhead is what key and headers of a mail's record may take: as many recipients as an envelope has, with the
// longest addresses. maxRecipients bounds the bound.
const (
	recordOverhead = 64 << 10
	maxRecipients  = 100
)

// DefaultConfig returns the settings with all doors closed.
func DefaultConfig() Config {
	return Config{
		Topic: schema.TopicRaw, Timeout: 10 * time.Second, MaxRecordBytes: 900 << 10, KeepBytes: 512 << 10,
		HTTP: HTTPConfig{
			MaxBodyBytes: 8 << 20, MaxInFlight: 64, MaxInFlightBytes: 64 << 20, MaxConnections: 512, ReadTimeout: 30 * time.Second,
		},
		LMTP: LMTPConfig{
			Allow: []string{"127.0.0.0/8", "::1/128"}, SocketMode: 0o660, MaxConnections: 64, MaxRecipients: maxRecipients,
			MaxMailBytes: 50 << 20, CommandTimeout: 5 * time.Minute, DataTimeout: 10 * time.Minute,
		},
		Maildir: MaildirConfig{Interval: 10 * time.Second},
	}
}

// Enabled reports whether any door is to be opened.
func (c *Config) Enabled() bool {
	return c.HTTP.Addr != "" || c.LMTP.Addr != "" || len(c.Maildir.Dirs) > 0
}

// RegisterFlags adds the flags of c to fs, with c's values as defaults.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.Topic, "intake.topic", c.Topic, "raw `topic` that webhooks and mails are written to")
	fs.DurationVar(&c.Timeout, "intake.timeout", c.Timeout, "bound on one write to Kafka; then the client is asked to come again")
	fs.IntVar(&c.MaxRecordBytes, "intake.max-record-bytes", c.MaxRecordBytes, "`bytes` of one record; larger bodies are split; keep below the topic's max.message.bytes")
	fs.IntVar(&c.KeepBytes, "intake.keep-bytes", c.KeepBytes, "`bytes` of a mail that are written; the rest is dropped")

	h := &c.HTTP
	fs.StringVar(&h.Addr, "intake.http-addr", h.Addr, "take webhooks on this `host:port`; port 0 takes a free one, empty takes none")
	fs.StringVar(&h.TLSCertFile, "intake.http-tls-cert-file", h.TLSCertFile, "PEM `file` of the certificate and its chain; read again when changed; empty: no TLS")
	fs.StringVar(&h.TLSKeyFile, "intake.http-tls-key-file", h.TLSKeyFile, "PEM `file` of the certificate's key")
	fs.StringVar(&h.ClientCAFile, "intake.http-client-ca-file", h.ClientCAFile, "PEM `file` of authorities of which every client has to show a certificate, besides its endpoint's authentication")
	fs.IntVar(&h.MaxBodyBytes, "intake.http-max-body-bytes", h.MaxBodyBytes, "`bytes` of a body, before and after decompression")
	fs.IntVar(&h.MaxInFlight, "intake.http-max-in-flight", h.MaxInFlight, "bodies that are written at a time; more are answered 503")
	fs.Int64Var(&h.MaxInFlightBytes, "intake.http-max-in-flight-bytes", h.MaxInFlightBytes, "`bytes` of all bodies held at a time; more are answered 503")
	fs.IntVar(&h.MaxConnections, "intake.http-max-connections", h.MaxConnections, "connections at a time; more wait")
	fs.DurationVar(&h.ReadTimeout, "intake.http-read-timeout", h.ReadTimeout, "bound on the time in which a request comes in, its body included")

	l := &c.LMTP
	fs.StringVar(&l.Addr, "intake.lmtp-addr", l.Addr, "take mails by LMTP on this `address`, host:port or unix:/path; empty takes none")
	fs.Var((*list)(&l.Domains), "intake.lmtp-domains", "`domains`, comma separated, whose recipients are taken; * takes all")
	fs.Var((*list)(&l.Allow), "intake.lmtp-allow", "`networks` (CIDR), comma separated, that may connect by TCP")
	fs.Var((*mode)(&l.SocketMode), "intake.lmtp-socket-mode", "`permissions` of the Unix socket, octal")
	fs.IntVar(&l.MaxConnections, "intake.lmtp-max-connections", l.MaxConnections, "connections at a time; more are answered 421")
	fs.IntVar(&l.MaxRecipients, "intake.lmtp-max-recipients", l.MaxRecipients, "recipients of a mail; more are answered 452")
	fs.Int64Var(&l.MaxMailBytes, "intake.lmtp-max-mail-bytes", l.MaxMailBytes, "`bytes` of a mail; larger ones are answered 552")
	fs.DurationVar(&l.CommandTimeout, "intake.lmtp-command-timeout", l.CommandTimeout, "bound on the wait for a command")
	fs.DurationVar(&l.DataTimeout, "intake.lmtp-data-timeout", l.DataTimeout, "bound on the time in which a mail comes in")

	m := &c.Maildir
	fs.Var((*list)(&m.Dirs), "intake.maildir-dirs", "Maildir `directories`, comma separated, each with new/ and cur/; empty reads none")
	fs.DurationVar(&m.Interval, "intake.maildir-interval", m.Interval, "`interval` between two looks at the Maildirs")
	fs.BoolVar(&m.ReadCur, "intake.maildir-read-cur", m.ReadCur, "also take mails in cur/ that are not marked as seen")
	fs.BoolVar(&m.Delete, "intake.maildir-delete", m.Delete, "remove mails that were written, instead of moving them to cur/ marked as seen")
}

// Validate names the field that cannot work, and its value. It does not read files.
func (c *Config) Validate() error {
	if c.HTTP.Addr == "" && len(c.Endpoints) > 0 {
		return fmt.Errorf("-intake.http-addr is empty, but there are %d endpoints", len(c.Endpoints))
	}
	if !c.Enabled() {
		return nil
	}
	switch {
	case c.Topic == "":
		return errors.New("-intake.topic: empty")
	case c.Timeout < time.Second || c.Timeout > time.Minute:
		return fmt.Errorf("-intake.timeout %s: want 1s to 1m", c.Timeout)
	case c.MaxRecordBytes < 128<<10 || c.MaxRecordBytes > feed.MaxBodyBytes:
		return fmt.Errorf("-intake.max-record-bytes %d: want %d to %d", c.MaxRecordBytes, 128<<10, feed.MaxBodyBytes)
	case c.KeepBytes < 4<<10 || c.KeepBytes > c.MaxRecordBytes-recordOverhead:
		return fmt.Errorf("-intake.keep-bytes %d: want %d to %d, -intake.max-record-bytes less %d for the envelope",
			c.KeepBytes, 4<<10, c.MaxRecordBytes-recordOverhead, recordOverhead)
	}
	errs := []error{c.LMTP.validate(), c.Maildir.validate()}
	if c.HTTP.Addr != "" {
		errs = append(errs, c.HTTP.validate(c.MaxRecordBytes), validateEndpoints(c.Endpoints))
	}
	return errors.Join(errs...)
}

func (h *HTTPConfig) validate(maxRecordBytes int) error {
	if _, _, err := net.SplitHostPort(h.Addr); err != nil {
		return fmt.Errorf("-intake.http-addr %q: want host:port", h.Addr)
	}
	switch {
	case (h.TLSCertFile == "") != (h.TLSKeyFile == ""):
		return errors.New("-intake.http-tls-cert-file and -intake.http-tls-key-file go together")
	case h.ClientCAFile != "" && h.TLSCertFile == "":
		return fmt.Errorf("-intake.http-client-ca-file %q: needs -intake.http-tls-cert-file", h.ClientCAFile)
	case h.MaxBodyBytes < maxRecordBytes || h.MaxBodyBytes > feed.MaxBodyBytes:
		return fmt.Errorf("-intake.http-max-body-bytes %d: want %d, which is -intake.max-record-bytes, to %d", h.MaxBodyBytes, maxRecordBytes, feed.MaxBodyBytes)
	case h.MaxInFlight < 1:
		return fmt.Errorf("-intake.http-max-in-flight %d: below 1", h.MaxInFlight)
	case h.MaxInFlightBytes < 2*int64(h.MaxBodyBytes):
		return fmt.Errorf("-intake.http-max-in-flight-bytes %d: below %d, twice -intake.http-max-body-bytes", h.MaxInFlightBytes, 2*h.MaxBodyBytes)
	case h.MaxConnections < 1:
		return fmt.Errorf("-intake.http-max-connections %d: below 1", h.MaxConnections)
	case h.ReadTimeout < time.Second:
		return fmt.Errorf("-intake.http-read-timeout %s: below 1s", h.ReadTimeout)
	}
	return nil
}

func (l *LMTPConfig) validate() error {
	if l.Addr == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(l.Addr, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("-intake.lmtp-addr %q: want unix: and an absolute path", l.Addr)
		}
	} else if _, _, err := net.SplitHostPort(l.Addr); err != nil {
		return fmt.Errorf("-intake.lmtp-addr %q: want host:port or unix:/path", l.Addr)
	}
	if len(l.Domains) == 0 {
		return errors.New("-intake.lmtp-domains: empty; name the bounce domains, or * for all")
	}
	for _, d := range l.Domains {
		if n := address.NormalizeDomain(d); d != "*" && (n == "" || strings.ContainsAny(n, "@* \t<>")) {
			return fmt.Errorf("-intake.lmtp-domains %q: no domain", d)
		}
	}
	for _, a := range l.Allow {
		if _, err := netip.ParsePrefix(a); err != nil {
			return fmt.Errorf("-intake.lmtp-allow %q: want a network such as 192.0.2.0/24", a)
		}
	}
	switch {
	case l.SocketMode == 0 || l.SocketMode&^0o777 != 0:
		return fmt.Errorf("-intake.lmtp-socket-mode %#o: want permissions such as 0660", l.SocketMode)
	case l.MaxConnections < 1:
		return fmt.Errorf("-intake.lmtp-max-connections %d: below 1", l.MaxConnections)
	case l.MaxRecipients < 1 || l.MaxRecipients > maxRecipients:
		return fmt.Errorf("-intake.lmtp-max-recipients %d: want 1 to %d", l.MaxRecipients, maxRecipients)
	case l.MaxMailBytes < 64<<10 || l.MaxMailBytes > 1<<30:
		return fmt.Errorf("-intake.lmtp-max-mail-bytes %d: want %d to %d", l.MaxMailBytes, 64<<10, 1<<30)
	case l.CommandTimeout < time.Second:
		return fmt.Errorf("-intake.lmtp-command-timeout %s: below 1s", l.CommandTimeout)
	case l.DataTimeout < time.Second:
		return fmt.Errorf("-intake.lmtp-data-timeout %s: below 1s", l.DataTimeout)
	}
	return nil
}

func (m *MaildirConfig) validate() error {
	if len(m.Dirs) == 0 {
		return nil
	}
	for i, d := range m.Dirs {
		for _, e := range m.Dirs[:i] {
			if d == e {
				return fmt.Errorf("-intake.maildir-dirs %q: named twice", d)
			}
		}
	}
	if m.Interval < time.Second || m.Interval > time.Hour {
		return fmt.Errorf("-intake.maildir-interval %s: want 1s to 1h", m.Interval)
	}
	return nil
}

// list is a flag of comma-separated words; each time it is set, it is set anew.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *list) Set(s string) error {
	*l = nil
	for w := range strings.SplitSeq(s, ",") {
		if w = strings.TrimSpace(w); w != "" {
			*l = append(*l, w)
		}
	}
	return nil
}

// mode is a flag of octal permissions.
type mode uint32

func (m *mode) String() string { return fmt.Sprintf("%#o", uint32(*m)) }

// Set implements flag.Value.
func (m *mode) Set(s string) error {
	v, err := strconv.ParseUint(s, 8, 32)
	if err != nil || fs.FileMode(v)&^fs.ModePerm != 0 {
		return fmt.Errorf("permissions %q: want octal digits such as 0660", s)
	}
	*m = mode(v)
	return nil
}
