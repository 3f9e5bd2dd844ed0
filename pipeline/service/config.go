package service

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"
)

// Config is what every service has in common.
type Config struct {
	// HTTPAddr is where /livez, /readyz and /metrics are served, host:port; port 0 takes any free one. Anyone who
	// reaches it may read the metrics: keep it inside the cluster.
	HTTPAddr string
	// AdminAddr is where the profiles of net/http/pprof are served; empty, the zero value, serves them nowhere. Give it
	// a loopback address: profiles have no authentication and show memory.
	AdminAddr string
	// StopTimeout bounds the whole orderly end. It has to be shorter than the grace period of whatever kills the
	// process afterwards (Kubernetes: terminationGracePeriodSeconds, 30 s unless set).
	StopTimeout time.Duration
	Log         LogOptions
	Trace       TraceOptions
}

// TraceOptions says where traces go.
type TraceOptions struct {
	// Endpoint is the base URL of an OTLP/HTTP collector, such as http://127.0.0.1:4318. Empty, the zero value, records
	// and sends nothing; the trace context of records still passes through.
	Endpoint string
	// SampleRatio is the share of traces begun here that is recorded, 0 to 1. A trace begun elsewhere is recorded if its
	// beginner did so.
	SampleRatio float64
}

// DefaultConfig returns the configuration of a service in a cluster.
func DefaultConfig() Config {
	return Config{
		HTTPAddr:    ":8080",
		StopTimeout: 25 * time.Second,
		Log:         LogOptions{Format: LogFormatAuto, Level: slog.LevelInfo},
		Trace:       TraceOptions{SampleRatio: 0.01},
	}
}

// RegisterFlags defines the flags of the shell in fs; their defaults are c's values at the time of the call.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.HTTPAddr, "http-addr", c.HTTPAddr,
		"serve /livez, /readyz and /metrics on this `host:port`; port 0 takes a free one")
	fs.StringVar(&c.AdminAddr, "admin-addr", c.AdminAddr,
		"serve /debug/pprof/ on this `host:port`, best a loopback address; empty serves it nowhere")
	fs.DurationVar(&c.StopTimeout, "stop-timeout", c.StopTimeout,
		"give up an orderly end after this `duration`; keep it shorter than the grace period before the kill")
	fs.TextVar(&c.Log.Format, "log-format", c.Log.Format,
		"`format` of the log on stderr: json, text, or auto (text on a terminal, else json)")
	fs.TextVar(&c.Log.Level, "log-level", c.Log.Level,
		"log this `level` and above: debug, info, warn or error")
	fs.StringVar(&c.Trace.Endpoint, "otlp-endpoint", c.Trace.Endpoint,
		"send traces to the OTLP/HTTP collector at this base `URL`; empty sends none")
	fs.Float64Var(&c.Trace.SampleRatio, "trace-sample-ratio", c.Trace.SampleRatio,
		"record this `share` of the traces begun here, 0 to 1")
}

// Validate reports every field that cannot work, with its value, as a [UsageError].
func (c Config) Validate() error {
	var errs []error
	bad := func(flag string, value any, why string) {
		errs = append(errs, fmt.Errorf("-%s %v: %s", flag, value, why))
	}
	if _, _, err := net.SplitHostPort(c.HTTPAddr); err != nil {
		bad("http-addr", quote(c.HTTPAddr), "want host:port")
	}
	if c.AdminAddr != "" {
		if _, _, err := net.SplitHostPort(c.AdminAddr); err != nil {
			bad("admin-addr", quote(c.AdminAddr), "want host:port")
		}
	}
	if c.StopTimeout <= 0 {
		bad("stop-timeout", c.StopTimeout, "want more than 0")
	}
	if c.Trace.Endpoint != "" {
		u, err := url.Parse(c.Trace.Endpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			// The URL may hold a password: say what is wrong with it, not what it is.
			bad("otlp-endpoint", "is no URL", "want http://host:port or https://host:port")
		}
	}
	if r := c.Trace.SampleRatio; !(r >= 0 && r <= 1) { // written so that NaN is refused too
		bad("trace-sample-ratio", r, "want 0 to 1")
	}
	if len(errs) == 0 {
		return nil
	}
	return &UsageError{Err: errors.Join(errs...)}
}

func quote(s string) string { return fmt.Sprintf("%q", s) }
