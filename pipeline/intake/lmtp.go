package intake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/intake/lmtp"
	"carom.dev/carom/pipeline/service"
)

// lmtpDoor takes mails by LMTP. It implements lmtp.Handler.
type lmtpDoor struct {
	sink     *sink
	listener net.Listener
	server   *lmtp.Server
	domains  map[string]bool // normalised; "*" is all
	notices  *notices
}

func openLMTP(ctx context.Context, cfg Config, s *sink, log *slog.Logger) (*lmtpDoor, error) {
	d := &lmtpDoor{sink: s, domains: map[string]bool{}, notices: newNotices(log)}
	for _, name := range cfg.LMTP.Domains {
		d.domains[address.NormalizeDomain(name)] = true
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	if d.listener, err = d.listen(ctx, cfg.LMTP); err != nil {
		return nil, fmt.Errorf("-intake.lmtp-addr: %w", err)
	}
	d.server = lmtp.NewServer(lmtp.Config{
		Hostname: host, MaxConnections: cfg.LMTP.MaxConnections, MaxRecipients: cfg.LMTP.MaxRecipients,
		MaxMailBytes: cfg.LMTP.MaxMailBytes, KeepBytes: cfg.KeepBytes,
		CommandTimeout: cfg.LMTP.CommandTimeout, DataTimeout: cfg.LMTP.DataTimeout,
	}, d.listener, d)
	return d, nil
}

func (d *lmtpDoor) listen(ctx context.Context, cfg LMTPConfig) (net.Listener, error) {
	var lc net.ListenConfig
	path, unix := strings.CutPrefix(cfg.Addr, "unix:")
	if !unix {
		l, err := lc.Listen(ctx, "tcp", cfg.Addr)
		if err != nil {
			return nil, err
		}
		allow := make([]netip.Prefix, len(cfg.Allow))
		for i, a := range cfg.Allow {
			if allow[i], err = netip.ParsePrefix(a); err != nil {
				return nil, errors.Join(err, l.Close())
			}
		}
		return &allowListener{Listener: l, allow: allow, forbid: d.forbid}, nil
	}
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, fs.FileMode(cfg.SocketMode)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStaleSocket removes a socket on which nobody listens: a process that was killed leaves it behind. Anything else is
// left alone, and the listener says that the address is in use.
func removeStaleSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return err
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return c.Close()
	}
	return os.Remove(path)
}

// allowListener closes connections from anywhere else than the networks that may connect.
type allowListener struct {
	net.Listener
	allow  []netip.Prefix
	forbid func(net.Conn)
}

func (l *allowListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.allowed(c.RemoteAddr()) {
			return c, nil
		}
		l.forbid(c)
	}
}

func (l *allowListener) allowed(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, p := range l.allow {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// forbid answers for now, not for good: a forgotten network should delay reports, not return them.
func (d *lmtpDoor) forbid(c net.Conn) {
	d.sink.meters.request(doorLMTP, doorLMTP, resultForbidden)
	d.notices.warn(doorLMTP, "forbidden", "a client is in none of the networks of -intake.lmtp-allow", service.KeyAddr, c.RemoteAddr())
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write([]byte("421 4.7.1 this address may not connect\r\n")) // into an empty buffer; who is gone needs no answer
	c.Close()
}

// Recipient implements lmtp.Handler.
func (d *lmtpDoor) Recipient(addr string) bool {
	return d.domains["*"] || d.domains[address.NormalizeDomain(addr[strings.LastIndexByte(addr, '@')+1:])]
}

// Deliver implements lmtp.Handler: it returns nil when the brokers have the mail.
func (d *lmtpDoor) Deliver(ctx context.Context, m *lmtp.Mail) error {
	d.sink.meters.inFlight.Add(ctx, 1, doorOption(doorLMTP))
	defer d.sink.meters.inFlight.Add(ctx, -1, doorOption(doorLMTP))
	err := d.sink.write(ctx, doorLMTP, doorLMTP, mailRecord(doorLMTP, m.Text, m.Size, &envelope{from: m.From, to: m.To}))
	if err != nil {
		d.sink.meters.request(doorLMTP, doorLMTP, resultBroker)
		d.notices.warn(doorLMTP, "broker", "mail cannot be written; its sender keeps it", service.KeyTopic, d.sink.topic, service.Err(err))
		return err
	}
	d.sink.meters.request(doorLMTP, doorLMTP, resultOK)
	return nil
}

// Refused implements lmtp.Handler.
func (d *lmtpDoor) Refused(why lmtp.Refusal) {
	d.sink.meters.request(doorLMTP, doorLMTP, result(why))
	if why == lmtp.RefusedRecipient || why == lmtp.RefusedTooLarge {
		d.notices.warn(doorLMTP, string(why), "mail refused")
	}
}
