// Package lmtp is a server of the Local Mail Transfer Protocol (RFC 2033) that takes mails for one purpose: to hand them to
// a Handler, whole or cut, and to answer for each recipient what became of them. It relays nothing and knows no mailboxes.
//
// Extensions: PIPELINING (RFC 2920), ENHANCEDSTATUSCODES (RFC 2034), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING
// (RFC 3030) and SIZE (RFC 1870). There is no TLS and no authentication: it listens on loopback or a Unix socket.
//
// A mail is answered with 250 only after Handler.Deliver returned nil. It ends at CRLF.CRLF and nowhere else; lines in it may
// have any length and any bytes, NUL and bare LF included. Commands end with CRLF and nothing else. What a client sends
// after a timeout within a mail is never read as commands: the connection ends there.
//
// The library github.com/emersion/go-smtp (0.25.1) was tried first. After a timeout in DATA it reads what follows in the
// mail as commands, it misses the end of a mail whose last line ends in CR CR LF, and it answers a BDAT LAST that is too
// large once instead of once for each recipient.
package lmtp

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Config bounds what a client may take. All fields are needed.
type Config struct {
	Hostname       string // in the greeting
	MaxConnections int    // at a time; more are answered 421
	MaxRecipients  int    // of a mail; more are answered 452
	MaxMailBytes   int64  // of a mail; announced with SIZE, larger ones are answered 552
	KeepBytes      int    // of a mail; the rest is read and dropped
	CommandTimeout time.Duration
	DataTimeout    time.Duration // of a whole mail, or of a chunk (BDAT)
}

// Mail is a mail with its envelope.
type Mail struct {
	From string   // reverse-path without its angle brackets, as it came; empty: the null one
	To   []string // the recipients that were taken, at least one, in their order
	Text []byte   // its first KeepBytes, with the transparency of RFC 5321, section 4.5.2 undone; never nil
	Size int64    // of all of it
}

// Handler says what is taken, and takes it. Its methods are called by several connections at a time.
type Handler interface {
	// Recipient reports whether mail for an address, as it came, is taken. No is answered 550 5.7.1.
	Recipient(address string) bool
	// Deliver takes a mail for all of its recipients. An error is answered 451 4.3.0: the client keeps the mail and tries
	// again. ctx ends when a stop exceeds its bound. Text belongs to Deliver until it returns.
	Deliver(ctx context.Context, m *Mail) error
	// Refused is told what did not lead to a delivery.
	Refused(Refusal)
}

// Refusal names why something was not taken. The set is closed, so it may label a metric.
type Refusal string

// The refusals.
const (
	RefusedBusy      Refusal = "busy"      // a connection beyond MaxConnections
	RefusedRecipient Refusal = "recipient" // Handler.Recipient said no
	RefusedTooLarge  Refusal = "too_large" // a mail of more than MaxMailBytes
	RefusedTimeout   Refusal = "timeout"   // a mail that did not come to its end in time
	RefusedAborted   Refusal = "aborted"   // a mail during which the client went away, or that the stop cut off
	RefusedProtocol  Refusal = "protocol"  // a client that does not speak LMTP, or makes too many mistakes
)

// Server serves one listener.
type Server struct {
	cfg     Config
	handler Handler
	ln      net.Listener
	ctx     context.Context // of Deliver
	cancel  context.CancelFunc

	mu      sync.Mutex
	closing bool
	conns   map[*conn]struct{} // bounded by MaxConnections
	wg      sync.WaitGroup
}

// NewServer returns a server for ln, which it owns from now on.
func NewServer(cfg Config, ln net.Listener, h Handler) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{cfg: cfg, handler: h, ln: ln, ctx: ctx, cancel: cancel, conns: map[*conn]struct{}{}}
}

// Serve answers clients until Shutdown; then it returns nil.
func (s *Server) Serve() error {
	for {
		c, err := s.ln.Accept()
		switch {
		case err == nil:
			s.admit(c)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // of one connection, or out of files for a moment
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func (s *Server) admit(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.MaxConnections
	closing := s.closing
	if !full && !closing {
		s.conns[c] = struct{}{}
		s.wg.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closing:
		c.goodbye("421 4.3.2 the service is stopping, try again later")
	case full:
		s.handler.Refused(RefusedBusy)
		c.goodbye("421 4.3.2 too many connections, try again later")
	default:
		go func() {
			defer s.wg.Done()
			defer s.forget(c)
			c.serve()
		}()
	}
}

func (s *Server) forget(c *conn) {
	c.nc.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// Shutdown takes no more connections. Clients that are between two commands are answered 421, the others after the mail that
// they are sending. When ctx ends, those that are left are cut off, which is an error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	err := s.ln.Close()
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		c.wake()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return err
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.nc.Close()
	}
	s.mu.Unlock()
	<-done // Deliver obeys its context, and everything else fails with the connection
	return errors.Join(err, ctx.Err())
}
