package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Config says how to reach the cluster.
type Config struct {
	Brokers  string // bootstrap addresses, host:port, comma separated
	ClientID string

	TLS      bool   // use TLS, with the system's roots unless CAFile is set
	CAFile   string // PEM
	CertFile string // PEM, for mutual TLS, together with KeyFile
	KeyFile  string

	SASLMechanism    string // "", "plain", "scram-sha-256" or "scram-sha-512"
	SASLUser         string
	SASLPasswordFile string // the password, a trailing newline is dropped

	SessionTimeout   time.Duration // how long a silent group member keeps its partitions
	RebalanceTimeout time.Duration // how long members have to join again
	MaxBatchBytes    int           // uncompressed bytes of one record batch; below the topics' max.message.bytes
	FetchBytes       int           // bytes asked for in one fetch of one partition
}

// DefaultConfig returns the settings for a broker on this machine.
func DefaultConfig() Config {
	return Config{
		Brokers:          "127.0.0.1:9092",
		ClientID:         "carom",
		SessionTimeout:   20 * time.Second,
		RebalanceTimeout: 10 * time.Second,
		MaxBatchBytes:    900_000,
		FetchBytes:       4 << 20,
	}
}

// Register adds the flags of c to fs, with c's values as defaults.
func (c *Config) Register(fs *flag.FlagSet) {
	fs.StringVar(&c.Brokers, "kafka.brokers", c.Brokers, "bootstrap `addresses`, host:port, comma separated")
	fs.BoolVar(&c.TLS, "kafka.tls", c.TLS, "connect with TLS")
	fs.StringVar(&c.CAFile, "kafka.tls-ca-file", c.CAFile, "PEM `file` of the authorities to trust; default: the system's")
	fs.StringVar(&c.CertFile, "kafka.tls-cert-file", c.CertFile, "PEM `file` of the client certificate")
	fs.StringVar(&c.KeyFile, "kafka.tls-key-file", c.KeyFile, "PEM `file` of the client key")
	fs.StringVar(&c.SASLMechanism, "kafka.sasl-mechanism", c.SASLMechanism, "plain, scram-sha-256 or scram-sha-512; empty: no SASL")
	fs.StringVar(&c.SASLUser, "kafka.sasl-user", c.SASLUser, "SASL user `name`")
	fs.StringVar(&c.SASLPasswordFile, "kafka.sasl-password-file", c.SASLPasswordFile, "`file` that holds the SASL password")
	fs.DurationVar(&c.SessionTimeout, "kafka.session-timeout", c.SessionTimeout, "how long a silent member keeps its partitions")
	fs.DurationVar(&c.RebalanceTimeout, "kafka.rebalance-timeout", c.RebalanceTimeout, "how long members have to join again")
	fs.IntVar(&c.MaxBatchBytes, "kafka.max-batch-bytes", c.MaxBatchBytes, "uncompressed `bytes` of one record batch; keep below the topics' max.message.bytes")
	fs.IntVar(&c.FetchBytes, "kafka.fetch-bytes", c.FetchBytes, "`bytes` asked for in one fetch of one partition")
}

// Validate names the field that cannot work.
func (c Config) Validate() error {
	switch {
	case len(c.addrs()) == 0:
		return errors.New("kafka.brokers: empty")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("kafka.tls-cert-file and kafka.tls-key-file go together")
	case c.SASLMechanism != "" && c.SASLUser == "":
		return errors.New("kafka.sasl-user: empty, but a mechanism is set")
	case c.SessionTimeout < time.Second:
		return fmt.Errorf("kafka.session-timeout: %s is below 1s", c.SessionTimeout)
	case c.RebalanceTimeout < time.Second:
		return fmt.Errorf("kafka.rebalance-timeout: %s is below 1s", c.RebalanceTimeout)
	case c.MaxBatchBytes < 64<<10:
		return fmt.Errorf("kafka.max-batch-bytes: %d is below 65536", c.MaxBatchBytes)
	case c.FetchBytes < 64<<10:
		return fmt.Errorf("kafka.fetch-bytes: %d is below 65536", c.FetchBytes)
	}
	return nil
}

func (c Config) addrs() []string {
	var out []string
	for _, a := range strings.Split(c.Brokers, ",") {
		if a = strings.TrimSpace(a); a != "" {
			out = append(out, a)
		}
	}
	return out
}

func (c Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS && c.CAFile == "" && c.CertFile == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls-ca-file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls-ca-file: no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls-cert-file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func (c Config) sasl() (sasl.Mechanism, error) {
	if c.SASLMechanism == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(c.SASLPasswordFile)
	if err != nil {
		return nil, fmt.Errorf("kafka.sasl-password-file: %w", err)
	}
	password := strings.TrimRight(string(raw), "\r\n")
	switch strings.ToLower(c.SASLMechanism) {
	case "plain":
		return plain.Mechanism{Username: c.SASLUser, Password: password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, c.SASLUser, password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, c.SASLUser, password)
	}
	return nil, fmt.Errorf("kafka.sasl-mechanism: %q is none of plain, scram-sha-256, scram-sha-512", c.SASLMechanism)
}

// dialer and transport carry the same TLS and SASL: kafka-go needs both set, one for groups and one for requests.
func (c Config) dialer() (*kafka.Dialer, error) {
	t, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	m, err := c.sasl()
	if err != nil {
		return nil, err
	}
	return &kafka.Dialer{ClientID: c.ClientID, Timeout: 10 * time.Second, DualStack: true, TLS: t, SASLMechanism: m}, nil
}

func (c Config) transport() (*kafka.Transport, error) {
	t, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	m, err := c.sasl()
	if err != nil {
		return nil, err
	}
	return &kafka.Transport{
		ClientID: c.ClientID, DialTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		MetadataTTL: 2 * time.Second, // a new leader is found after this long at most
		TLS:         t, SASL: m,
	}, nil
}
