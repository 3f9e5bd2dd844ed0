package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxLineBytes bounds a command with its CRLF. RFC 5321, section 4.5.3.1.4: 512 octets and what extensions add, of
	// which SMTPUTF8's addresses are the most.
	maxLineBytes = 2048
	// maxIdle bounds the commands that bring no mail nearer: NOOP, RSET, mistakes. It is counted anew with each mail.
	maxIdle      = 100
	writeTimeout = 30 * time.Second
)

// conn is one client.
type conn struct {
	s  *Server
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer

	mu      sync.Mutex
	waiting bool // for a command, of which nothing has been read yet

	greeted bool // LHLO came
	idle    int

	from    string
	hasFrom bool
	to      []string
	body    *body // of the chunks so far; nil before the first BDAT
}

func newConn(s *Server, nc net.Conn) *conn {
	return &conn{s: s, nc: nc, r: bufio.NewReaderSize(nc, maxLineBytes), w: bufio.NewWriterSize(nc, 512)}
}

// wake makes a client that is waited for hear of the stop. Server.mu is held.
func (c *conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only if the connection is gone
	}
}

// wait begins the wait for a command; false if the server is stopping. A stop that begins later calls wake.
func (c *conn) wait() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.closing {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = true
	return c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.CommandTimeout)) == nil
}

func (c *conn) waited() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
}

func (c *conn) serve() {
	c.reply("220 " + c.s.cfg.Hostname + " LMTP")
	for {
		line, ok := c.command()
		if !ok {
			return
		}
		idle := c.idle
		if !c.handle(line) {
			return
		}
		if c.idle > maxIdle && c.idle != idle {
			c.s.handler.Refused(RefusedProtocol)
			c.goodbye("421 4.7.0 too many commands without a mail")
			return
		}
	}
}

// command returns the next line without its CRLF. Not ok: the client is gone, or has been told why it goes.
func (c *conn) command() (line []byte, ok bool) {
	// Replies wait while the next command is here already: RFC 2920, section 3.2.
	if b, _ := c.r.Peek(c.r.Buffered()); bytes.IndexByte(b, '\n') < 0 {
		if c.w.Flush() != nil {
			return nil, false
		}
	}
	if !c.wait() {
		c.goodbye("421 4.3.2 the service is stopping, try again later")
		return nil, false
	}
	line, err := c.r.ReadSlice('\n')
	c.waited()
	switch {
	case err == nil:
	case errors.Is(err, bufio.ErrBufferFull):
		c.s.handler.Refused(RefusedProtocol)
		c.goodbye("500 5.5.2 line too long")
		return nil, false
	case errors.Is(err, os.ErrDeadlineExceeded) && c.s.stopping():
		c.goodbye("421 4.3.2 the service is stopping, try again later")
		return nil, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.goodbye("421 4.4.2 no command came in time")
		return nil, false
	default:
		return nil, false
	}
	// A line that ends in a bare LF, or holds a CR or NUL, comes from a program that speaks something else, or from
	// somebody who hopes that two programs read it differently. RFC 5321, section 2.3.8.
	line, crlf := bytes.CutSuffix(line, []byte("\r\n"))
	if !crlf || bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		c.s.handler.Refused(RefusedProtocol)
		c.goodbye("500 5.5.2 lines end with CRLF and hold neither CR, LF nor NUL")
		return nil, false
	}
	return line, true
}

func (c *conn) reply(lines ...string) {
	// A client that does not read fails the write at its deadline; the next read then ends the connection.
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	for _, l := range lines {
		_, _ = c.w.WriteString(l + "\r\n")
	}
}

// again is a reply to a mistake, or to a command that brings no mail nearer.
func (c *conn) again(line string) bool {
	c.idle++
	c.reply(line)
	return true
}

// goodbye is the last reply.
func (c *conn) goodbye(line string) {
	c.reply(line)
	_ = c.w.Flush() // the client may be gone; so are we
	c.nc.Close()
}

// handle answers one command; false if the connection has ended.
func (c *conn) handle(line []byte) bool {
	verb, arg, _ := strings.Cut(string(line), " ")
	verb = strings.ToUpper(verb)
	if !c.greeted {
		switch verb {
		case "LHLO", "NOOP", "RSET", "QUIT", "HELO", "EHLO", "VRFY", "MAIL", "RCPT", "DATA", "BDAT":
		default: // a browser that was made to send here, for one: its body could hold a dialogue
			c.s.handler.Refused(RefusedProtocol)
			c.goodbye("500 5.5.1 this is LMTP")
			return false
		}
	}
	switch verb {
	case "LHLO":
		return c.lhlo(arg)
	case "HELO", "EHLO": // RFC 2033, section 4.1
		return c.again("500 5.5.1 this is LMTP: use LHLO")
	case "MAIL":
		return c.mail(arg)
	case "RCPT":
		return c.rcpt(arg)
	case "DATA":
		return c.data(arg)
	case "BDAT":
		return c.bdat(arg)
	case "RSET":
		c.reset()
		return c.again("250 2.0.0 ok")
	case "NOOP":
		return c.again("250 2.0.0 ok")
	case "VRFY":
		return c.again("252 2.5.0 send some mail and see")
	case "QUIT":
		c.goodbye("221 2.0.0 bye")
		return false
	}
	return c.again("500 5.5.1 command not known")
}

func (c *conn) reset() {
	c.from, c.hasFrom, c.to, c.body = "", false, nil, nil
}

func (c *conn) lhlo(arg string) bool {
	if strings.TrimSpace(arg) == "" {
		return c.again("501 5.5.4 LHLO needs a name")
	}
	c.reset()
	c.greeted = true
	c.idle++
	c.reply(
		"250-"+c.s.cfg.Hostname,
		"250-PIPELINING",
		"250-ENHANCEDSTATUSCODES",
		"250-8BITMIME",
		"250-SMTPUTF8",
		"250-CHUNKING",
		fmt.Sprintf("250 SIZE %d", c.s.cfg.MaxMailBytes),
	)
	return true
}

// mail begins a transaction. RFC 5321, section 4.1.1.2.
func (c *conn) mail(arg string) bool {
	switch {
	case !c.greeted:
		return c.again("503 5.5.1 LHLO first")
	case c.hasFrom:
		return c.again("503 5.5.1 a mail has begun already")
	}
	path, rest, ok := cutPath(arg, "FROM:")
	if !ok || (path != "" && !validAddress(path)) {
		return c.again("501 5.1.7 MAIL FROM:<address> is needed")
	}
	for _, p := range strings.Fields(rest) {
		name, value, _ := strings.Cut(p, "=")
		switch strings.ToUpper(name) {
		case "SIZE": // RFC 1870, section 3: up to 20 digits
			size, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return c.again("501 5.5.4 SIZE is no number")
			}
			if size > uint64(c.s.cfg.MaxMailBytes) {
				c.s.handler.Refused(RefusedTooLarge)
				return c.again("552 5.3.4 too large")
			}
		case "BODY":
			if v := strings.ToUpper(value); v != "7BIT" && v != "8BITMIME" {
				return c.again("501 5.5.4 BODY is neither 7BIT nor 8BITMIME")
			}
		case "SMTPUTF8": // addresses may be UTF-8 with and without it: they are kept, not acted on
		default:
			return c.again("555 5.5.4 parameter not known")
		}
	}
	c.from, c.hasFrom = path, true
	c.reply("250 2.1.0 ok")
	return true
}

// rcpt adds a recipient. RFC 5321, section 4.1.1.3.
func (c *conn) rcpt(arg string) bool {
	if !c.hasFrom || c.body != nil {
		return c.again("503 5.5.1 MAIL first")
	}
	path, rest, ok := cutPath(arg, "TO:")
	switch {
	case !ok || path == "" || !validAddress(path):
		return c.again("501 5.1.3 RCPT TO:<address> is needed")
	case strings.TrimSpace(rest) != "":
		return c.again("555 5.5.4 parameter not known")
	case len(c.to) >= c.s.cfg.MaxRecipients:
		return c.again("452 4.5.3 too many recipients")
	case !c.s.handler.Recipient(path):
		c.s.handler.Refused(RefusedRecipient)
		return c.again("550 5.7.1 not a domain of this server")
	}
	c.to = append(c.to, path)
	c.reply("250 2.1.5 ok")
	return true
}

// data takes a mail that ends with a dot. RFC 5321, section 4.1.1.4; RFC 2033, section 4.2.
func (c *conn) data(arg string) bool {
	switch {
	case arg != "":
		return c.again("501 5.5.4 DATA takes no argument")
	case c.body != nil: // RFC 3030, section 2
		return c.again("503 5.5.1 chunks came: go on with BDAT")
	case len(c.to) == 0:
		return c.again("503 5.5.1 no recipient was taken")
	}
	c.reply("354 go on, end with CRLF.CRLF")
	if c.w.Flush() != nil || c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.DataTimeout)) != nil {
		return false
	}
	b := newBody(c.s.cfg.KeepBytes)
	if err := b.readDotted(c.r); err != nil {
		return c.broken(err)
	}
	c.deliver(b)
	return true
}

// bdat takes a chunk. RFC 3030, section 2.
func (c *conn) bdat(arg string) bool {
	f := strings.Fields(arg)
	last := len(f) == 2 && strings.EqualFold(f[1], "LAST")
	if len(f) == 0 || len(f) > 2 || (len(f) == 2 && !last) {
		// What follows is a chunk of a size that nobody knows.
		c.s.handler.Refused(RefusedProtocol)
		c.goodbye("501 5.5.4 BDAT size [LAST] is needed")
		return false
	}
	size, err := strconv.ParseUint(f[0], 10, 63)
	if err != nil || size > uint64(2*c.s.cfg.MaxMailBytes) {
		// Too much to read only to come to the next command.
		c.s.handler.Refused(RefusedTooLarge)
		c.goodbye("552 5.3.4 the chunk is too large")
		return false
	}
	if c.w.Flush() != nil || c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.DataTimeout)) != nil {
		return false
	}
	if len(c.to) == 0 {
		if _, err := io.CopyN(io.Discard, c.r, int64(size)); err != nil {
			return c.broken(err)
		}
		return c.again("503 5.5.1 no recipient was taken")
	}
	if c.body == nil {
		c.body = newBody(c.s.cfg.KeepBytes)
	}
	if _, err := io.CopyN(c.body, c.r, int64(size)); err != nil {
		return c.broken(err)
	}
	switch {
	case last:
		c.deliver(c.body)
	case c.body.size > c.s.cfg.MaxMailBytes:
		c.reset()
		c.s.handler.Refused(RefusedTooLarge)
		return c.again("552 5.3.4 too large")
	default:
		c.reply("250 2.0.0 ok, go on")
	}
	return true
}

// broken ends a connection on which a mail did not come to its end: whatever still comes is no command.
func (c *conn) broken(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.s.handler.Refused(RefusedTimeout)
		c.goodbye("421 4.4.2 the mail did not end in time")
		return false
	}
	c.s.handler.Refused(RefusedAborted)
	return false
}

// deliver hands a mail over and answers once for each recipient, in their order. RFC 2033, section 4.2.
func (c *conn) deliver(b *body) {
	answer := "250 2.0.0 ok"
	if b.size > c.s.cfg.MaxMailBytes {
		c.s.handler.Refused(RefusedTooLarge)
		answer = "552 5.3.4 too large"
	} else if err := c.s.handler.Deliver(c.s.ctx, &Mail{From: c.from, To: c.to, Text: b.text, Size: b.size}); err != nil {
		answer = "451 4.3.0 cannot be kept now, try again later"
	}
	for range c.to {
		c.reply(answer)
	}
	c.reset()
	c.idle = 0
}
