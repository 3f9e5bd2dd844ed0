// Package intake is the doors by which webhooks and bounce mails come in: HTTP for webhooks and posted files, LMTP (RFC 2033)
// for the MTA that receives the bounces, and a reader of Maildirs.
//
//	webhook --POST /v1/feeds/<name>--> HTTP door --+
//	MTA ---------------LMTP----------> LMTP door --+--> record in mta.raw, then 200 / 250 / rename
//	Maildir -------new/, cur/--------> reader -----+
//
// Each door writes what came to Kafka first and acknowledges afterwards: with 200, with 250, by moving the Maildir's file.
// Before the brokers have it, nothing is acknowledged, so what a sender was told is kept is kept. When the process dies
// between the two, or the acknowledgement is lost, the sender sends again and the record stands in the log twice; the
// fold behind removes the repeat. There is no other state: nothing is spooled, and no file but the Maildir's is written.
// What a door remembers in memory (Mailgun's tokens, SNS's certificates) only makes it refuse more, or ask less.
//
// A record's value is the body or the mail exactly as it came, cut only as its headers say (schema.HeaderCut). Its
// headers are those of schema.HeaderFormat and below. Its key is the endpoint's name for what comes by HTTP, so that one
// feed's retries meet in one partition, and the xxhash64 of the value in hex for mails, so that the same mail meets
// itself. Bodies are not looked into beyond the signature: whatever is authentic and within the bounds is written, and
// what cannot be read is the fold's to say. The one exception is a body that is larger than a record: split.go.
//
// Every door is bounded: in connections, in requests and bytes at a time, in the size of what it takes, and in how long it
// waits for anybody.
package intake

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/service"
)

// waitNotice is how often a start says that it still waits for the topic.
const waitNotice = 30 * time.Second

// Doors are the doors that are open.
type Doors struct {
	http    *httpDoor
	lmtp    *lmtpDoor
	maildir *maildirDoor
}

// HTTPAddr returns the address of the HTTP door, nil if it is closed.
func (d *Doors) HTTPAddr() net.Addr {
	if d.http == nil {
		return nil
	}
	return d.http.listener.Addr()
}

// LMTPAddr returns the address of the LMTP door, nil if it is closed.
func (d *Doors) LMTPAddr() net.Addr {
	if d.lmtp == nil {
		return nil
	}
	return d.lmtp.listener.Addr()
}

// Start opens the doors that cfg has; none is no error. See Open.
func Start(p *service.Process, cfg Config, client *broker.Client) error {
	_, err := Open(p, cfg, client)
	return err
}

// Open opens the doors that cfg has on p, which stops them: each takes nothing new, finishes what it has begun, and only
// then the steps that were started before it stop. It waits for the topic to exist, until the process is asked to end.
// The caller keeps client and closes it after the doors have stopped: register its stop before.
func Open(p *service.Process, cfg Config, client *broker.Client) (*Doors, error) {
	if err := cfg.Validate(); err != nil {
		return nil, &service.UsageError{Err: err}
	}
	d := &Doors{}
	if !cfg.Enabled() {
		return d, nil
	}
	ready := p.Health.Condition("intake")
	m, err := newMeters(p.Telemetry.Meter)
	if err != nil {
		return nil, err
	}
	partitions, err := waitPartitions(p, cfg.Topic, client)
	if err != nil {
		return nil, err
	}
	s := &sink{client: client, topic: cfg.Topic, partitions: partitions, timeout: cfg.Timeout, meters: m}
	ctx := p.Lifecycle.Context()
	if cfg.HTTP.Addr != "" {
		if d.http, err = openHTTP(ctx, cfg, s, p.Log); err != nil {
			return nil, err
		}
		p.Lifecycle.Go("intake http", func(context.Context) error { return d.http.serve() })
		p.Lifecycle.OnStop("intake http requests", d.http.shutdown)
		p.Log.Info("listening for webhooks", service.KeyAddr, d.http.listener.Addr(), "tls", cfg.HTTP.TLSCertFile != "", "endpoints", len(cfg.Endpoints))
	}
	if cfg.LMTP.Addr != "" {
		if d.lmtp, err = openLMTP(ctx, cfg, s, p.Log); err != nil {
			return nil, err
		}
		p.Lifecycle.Go("intake lmtp", func(context.Context) error { return d.lmtp.server.Serve() })
		p.Lifecycle.OnStop("intake lmtp mails", d.lmtp.server.Shutdown)
		p.Log.Info("listening for mails", service.KeyAddr, d.lmtp.listener.Addr())
	}
	if len(cfg.Maildir.Dirs) > 0 {
		if d.maildir, err = newMaildirDoor(cfg, s, p.Log); err != nil {
			return nil, err
		}
		p.Lifecycle.Go("intake maildir", func(ctx context.Context) error {
			watch := p.Health.Watch("intake maildir", stuckAfter)
			defer watch.Stop()
			return d.maildir.run(ctx, watch.Touch)
		})
		p.Log.Info("reading maildirs", "count", len(cfg.Maildir.Dirs), "every", cfg.Maildir.Interval)
	}
	ready.Met()
	return d, nil
}

// waitPartitions returns the topic's number of partitions, which is fixed for an epoch of the log.
func waitPartitions(p *service.Process, topic string, client *broker.Client) (int, error) {
	for {
		ctx, cancel := context.WithTimeout(p.Lifecycle.Context(), waitNotice)
		n, err := client.Partitions(ctx, topic)
		cancel()
		switch {
		case err == nil && n > 0:
			return n, nil
		case err == nil:
			return 0, fmt.Errorf("topic %s has no partitions", topic)
		case p.Lifecycle.Context().Err() != nil:
			return 0, fmt.Errorf("partitions of %s: %w", topic, context.Cause(p.Lifecycle.Context()))
		case !errors.Is(err, context.DeadlineExceeded):
			return 0, fmt.Errorf("partitions of %s: %w", topic, err)
		}
		p.Log.Warn("waiting for the topic", service.KeyTopic, topic, service.Err(err))
	}
}
