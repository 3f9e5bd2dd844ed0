package lmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// keeper is a handler that keeps everything.
type keeper struct {
	mu      sync.Mutex
	mails   []Mail
	refused []Refusal
	deliver func(ctx context.Context, m *Mail) error // before a mail is kept
}

func (k *keeper) Recipient(address string) bool { return strings.HasSuffix(address, "@in.example") }

func (k *keeper) Deliver(ctx context.Context, m *Mail) error {
	if k.deliver != nil {
		if err := k.deliver(ctx, m); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := *m
	kept.Text = slices.Clone(m.Text)
	k.mails = append(k.mails, kept)
	return nil
}

func (k *keeper) Refused(why Refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused = append(k.refused, why)
}

func (k *keeper) kept() []Mail {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.mails)
}

func (k *keeper) refusals() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return fmt.Sprint(k.refused)
}

func testConfig() Config {
	return Config{
		Hostname: "in.example", MaxConnections: 3, MaxRecipients: 3, MaxMailBytes: 1000, KeepBytes: 600,
		CommandTimeout: 5 * time.Second, DataTimeout: 5 * time.Second,
	}
}

func start(t *testing.T, cfg Config, k *keeper) *Server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(cfg, ln, k)
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.Shutdown(ctx) // a test may have done it, and clients may be left
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// client speaks line by line.
type client struct {
	t  *testing.T
	nc net.Conn
	r  *textproto.Reader
	c  *textproto.Conn
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := textproto.NewConn(nc)
	return &client{t: t, nc: nc, r: &c.Reader, c: c}
}

// send writes bytes as they are.
func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatal(err)
	}
}

// want reads one reply for each of the begins that are wanted.
func (c *client) want(begins ...string) {
	c.t.Helper()
	for _, b := range begins {
		for {
			line, err := c.r.ReadLine()
			if err != nil {
				c.t.Fatalf("reading a reply, %q wanted: %v", b, err)
			}
			if len(line) > 3 && line[3] == '-' {
				continue
			}
			if !strings.HasPrefix(line, b) {
				c.t.Fatalf("reply %q, want %q", line, b)
			}
			break
		}
	}
}

// end wants the server to have closed the connection.
func (c *client) end() {
	c.t.Helper()
	if line, err := c.r.ReadLine(); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		c.t.Fatalf("reply %q, err %v; want the connection closed", line, err)
	}
}

const opening = "LHLO mx.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\n"

// A whole dialogue: what was said, what was answered, and what arrived.
func TestDialogue(t *testing.T) {
	k := &keeper{}
	c := dial(t, start(t, testConfig(), k))
	c.want("220 in.example LMTP")
	c.send("lhlo mx.example\r\n")
	var said []string
	for {
		line, err := c.r.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, line)
		if line[3] == ' ' {
			break
		}
	}
	if got, want := strings.Join(said, "|"), "250-in.example|250-PIPELINING|250-ENHANCEDSTATUSCODES|250-8BITMIME|250-SMTPUTF8|250-CHUNKING|250 SIZE 1000"; got != want {
		t.Errorf("LHLO: %s\nwant %s", got, want)
	}
	// All at once: RFC 2920.
	c.send("MAIL FROM:<b+1=2@out.example> SIZE=20 BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<\"x >y\"@in.example>\r\nRCPT TO:<c@elsewhere.example>\r\nRCPT TO:<@relay.example,@b.example:\u00fc@in.example>\r\nDATA\r\n")
	c.want("250 2.1.0", "250 2.1.5", "550 5.7.1", "250 2.1.5", "354 ")
	c.send("Subject: x\r\n\r\n..\r\n.dot\r\n.\r\n")
	c.want("250 2.0.0", "250 2.0.0") // one for each recipient that was taken: RFC 2033, section 4.2
	c.send("MAIL FROM:<>\r\nRCPT TO:<d@in.example>\r\nRSET\r\nVRFY d\r\nNOOP\r\nDATA\r\nquit\r\n")
	c.want("250 2.1.0", "250 2.1.5", "250 2.0.0", "252 2.5.0", "250 2.0.0", "503 5.5.1", "221 2.0.0")
	c.end()
	got := k.kept()
	if len(got) != 1 {
		t.Fatalf("%d mails, want 1", len(got))
	}
	m := got[0]
	const text = "Subject: x\r\n\r\n.\r\ndot\r\n"
	if m.From != "b+1=2@out.example" || strings.Join(m.To, "|") != "\"x >y\"@in.example|\u00fc@in.example" || string(m.Text) != text || m.Size != int64(len(text)) {
		t.Errorf("got %+v, %q", m, m.Text)
	}
	if k.refusals() != "[recipient]" {
		t.Errorf("refused %s", k.refusals())
	}
}

// The client hears 250 only when the mail is kept; while that takes, it hears nothing.
func TestAcknowledgementFollowsDelivery(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	k := &keeper{deliver: func(context.Context, *Mail) error { entered <- true; <-release; return nil }}
	c := dial(t, start(t, testConfig(), k))
	c.send(opening + "DATA\r\n")
	c.want("220", "250", "250", "250", "354")
	c.send("x\r\n.\r\n")
	<-entered
	if err := c.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.nc.Read(make([]byte, 1)); n != 0 || !isTimeout(err) {
		t.Fatalf("read %d bytes, err %v before the mail was kept", n, err)
	}
	if err := c.nc.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	close(release)
	line := make([]byte, 9)
	if _, err := io.ReadFull(c.nc, line); err != nil || string(line) != "250 2.0.0" {
		t.Fatalf("%q, err %v", line, err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// What cannot be kept stays with the client: 451 for each recipient, and the connection goes on.
func TestFailedDeliveryIsTemporary(t *testing.T) {
	fail := true
	k := &keeper{deliver: func(context.Context, *Mail) error {
		if fail {
			return errors.New("broker is away")
		}
		return nil
	}}
	c := dial(t, start(t, testConfig(), k))
	const mail = "MAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\nRCPT TO:<b@in.example>\r\n"
	c.send("LHLO x\r\n" + mail + "DATA\r\nx\r\n.\r\n")
	c.want("220", "250", "250", "250", "250", "354", "451 4.3.0", "451 4.3.0")
	fail = false
	c.send(mail + "BDAT 3 LAST\r\nx\r\n")
	c.want("250", "250", "250", "250 2.0.0", "250 2.0.0")
	if got := k.kept(); len(got) != 1 || len(got[0].To) != 2 {
		t.Errorf("kept %v", got)
	}
}

// A mail ends at CRLF.CRLF and nowhere else, and is what was sent.
func TestEndOfMail(t *testing.T) {
	const next = "MAIL FROM:<forged@out.example>\r\nRCPT TO:<forged@in.example>\r\nDATA\r\nforged\r\n"
	for _, tc := range []struct{ name, sent, want string }{
		{"empty", ".\r\n", ""},
		{"one line", "x\r\n.\r\n", "x\r\n"},
		{"dots", "..\r\n...\r\n.x\r\nx.\r\n.\r\n", ".\r\n..\r\nx\r\nx.\r\n"},
		{"bare LF around a dot", "x\n.\n" + next + ".\r\n", "x\n.\n" + next},
		{"bare LF before a dot", "x\n.\r\n" + next + ".\r\n", "x\n.\r\n" + next},
		{"bare CR around a dot", "x\r.\r" + next + ".\r\n", "x\r.\r" + next},
		{"bare LF behind a dot", "x\r\n.\n" + next + ".\r\n", "x\r\n\n" + next}, // the dot goes, as at every line's begin
		{"CR CR LF before a dot", "x\r\n.\r\r\n" + next + ".\r\n", "x\r\n\r\r\n" + next},
		{"last line ends with CR CR LF", "x\r\r\n.\r\n", "x\r\r\n"},
		{"dot, CR, dot", "x\r\n.\r.\r\n.\r\n", "x\r\n\r.\r\n"},
		{"NUL and bytes that are no text", "\x00\xff\xfe\r\n.\r\n", "\x00\xff\xfe\r\n"},
		{"a long line", strings.Repeat("y", 5000) + "\r\n.\r\n", strings.Repeat("y", 5000) + "\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := &keeper{}
			cfg := testConfig()
			cfg.MaxMailBytes, cfg.KeepBytes = 1<<20, 1<<20
			c := dial(t, start(t, cfg, k))
			c.send(opening + "DATA\r\n" + tc.sent + "QUIT\r\n")
			c.want("220", "250", "250", "250", "354", "250 2.0.0", "221")
			got := k.kept()
			if len(got) != 1 || string(got[0].Text) != tc.want || got[0].Size != int64(len(tc.want)) {
				t.Errorf("kept %+v\nwant one, %q", got, tc.want)
			}
		})
	}
}

// A mail that stops half-way ends the connection: what comes later is part of the mail, not a command.
func TestNothingIsReadAfterATimeout(t *testing.T) {
	for name, begin := range map[string]string{"DATA": "DATA\r\nfoo\r\n", "BDAT": "BDAT 500 LAST\r\nfoo\r\n", "BDAT without recipients": "RSET\r\nBDAT 500\r\nfoo\r\n"} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{}
			cfg := testConfig()
			cfg.DataTimeout = 100 * time.Millisecond
			c := dial(t, start(t, cfg, k))
			c.send(opening + begin)
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(c.nc, "MAIL FROM:<>\r\nRCPT TO:<forged@in.example>\r\nDATA\r\nforged\r\n.\r\n") // may fail: it is closed
			text, err := io.ReadAll(c.nc)
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			if n := len(k.kept()); n != 0 || k.refusals() != "[timeout]" {
				t.Errorf("%d mails kept, refused %s; replies %q", n, k.refusals(), text)
			}
			if err == nil && !strings.HasSuffix(string(text), "421 4.4.2 the mail did not end in time\r\n") {
				t.Errorf("replies %q", text)
			}
		})
	}
}

// What is no LMTP ends the connection before it can do anything.
func TestOtherProtocolsAreShownOut(t *testing.T) {
	for name, tc := range map[string]struct{ sent, want string }{
		"HTTP":                 {"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + opening + "DATA\r\nx\r\n.\r\n", "500 5.5.1"},
		"bare LF":              {"LHLO x\nMAIL FROM:<>\n", "500 5.5.2"},
		"bare CR":              {"LHLO x\rMAIL FROM:<>\r\n", "500 5.5.2"},
		"NUL":                  {"LHLO x\x00\r\n", "500 5.5.2"},
		"a long line":          {"LHLO " + strings.Repeat("x", 3000) + "\r\n", "500 5.5.2"},
		"a line without end":   {strings.Repeat("x", 1<<20), "500 5.5.2"},
		"BDAT without a size":  {opening + "BDAT\r\nMAIL FROM:<>\r\n", ""},
		"BDAT of a silly size": {opening + "BDAT 99999999999\r\nMAIL FROM:<>\r\n", ""},
		"BDAT beyond numbers":  {opening + "BDAT 99999999999999999999999 LAST\r\n", ""},
		"BDAT, negative":       {opening + "BDAT -1 LAST\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{}
			c := dial(t, start(t, testConfig(), k))
			_, _ = io.WriteString(c.nc, tc.sent) // may fail: it is closed
			text, err := io.ReadAll(c.nc)
			if err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatal(err)
			}
			if len(k.kept()) != 0 || k.refusals() == "[]" || strings.Contains(string(text), "354") {
				t.Errorf("%d mails kept, refused %s, replies %q", len(k.kept()), k.refusals(), text)
			}
			if err == nil && !strings.Contains(string(text), tc.want) {
				t.Errorf("replies %q, want %s", text, tc.want)
			}
		})
	}
}

func TestCommandsOutOfPlace(t *testing.T) {
	long := strings.Repeat("x", 600)
	c := dial(t, start(t, testConfig(), &keeper{}))
	c.want("220")
	for _, tc := range [][2]string{
		{"MAIL FROM:<>", "503"},
		{"RCPT TO:<a@in.example>", "503"},
		{"DATA", "503"},
		{"EHLO x", "500 5.5.1"}, // RFC 2033, section 4.1
		{"HELO x", "500 5.5.1"},
		{"LHLO", "501"},
		{"LHLO x", "250"},
		{"STARTTLS", "500"},
		{"", "500"},
		{"MAIL", "501"},
		{"MAIL FROM:a@b.example", "501"},
		{"MAIL FROM:<a@b.example", "501"},
		{"MAIL FROM:<a@b.example>x", "501"},
		{"MAIL FROM:<a\x01@b.example>", "501"},
		{"MAIL FROM:<a\xff@b.example>", "501"},
		{"MAIL FROM:<" + long + "@b.example>", "501"},
		{"MAIL FROM:<nobody>", "501"},
		{"MAIL FROM:<> SIZE=x", "501"},
		{"MAIL FROM:<> SIZE=1001", "552 5.3.4"},
		{"MAIL FROM:<> SIZE=99999999999999999999", "501"},
		{"MAIL FROM:<> BODY=BINARYMIME", "501"},
		{"MAIL FROM:<> RET=HDRS", "555"},
		{"MAIL FROM:<> BODY=7bit", "250"},
		{"MAIL FROM:<>", "503"},
		{"RCPT TO:<>", "501"},
		{"RCPT TO:<postmaster>", "501"},
		{"RCPT TO:<a@in.example> NOTIFY=NEVER", "555"},
		{"DATA", "503"},
		{"RCPT TO:<a@in.example>", "250"},
		{"RCPT TO:<b@in.example>", "250"},
		{"RCPT TO:<c@in.example>", "250"},
		{"RCPT TO:<d@in.example>", "452 4.5.3"},
		{"DATA x", "501"},
		{"BDAT 0", "250"},
		{"DATA", "503"}, // RFC 3030, section 2
		{"RCPT TO:<a@in.example>", "503"},
		{"LHLO again", "250"},
		{"DATA", "503"},
		{"MAIL FROM:<>", "250"},
	} {
		c.send(tc[0] + "\r\n")
		c.want(tc[1])
	}
}

// Chunks: RFC 3030. Every recipient is answered once after the last, whatever became of the mail.
func TestChunks(t *testing.T) {
	k := &keeper{}
	c := dial(t, start(t, testConfig(), k))
	// All in one packet, with bytes that look like an end and like commands.
	c.send(opening + "BDAT 7\r\nx\r\n.\r\nBDAT 6 LAST\r\nRSET\r\n" + "MAIL FROM:<>\r\n")
	c.want("220", "250", "250", "250", "250", "500", "250", "250") // 7 was one more than the chunk and took the B of BDAT
	c = dial(t, start(t, testConfig(), k))
	c.send(opening + "BDAT 6\r\nx\r\n.\r\nBDAT 6 LAST\r\nRSET\r\n" + "MAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\nRCPT TO:<b@in.example>\r\n")
	c.want("220", "250", "250", "250", "250 2.0.0", "250 2.0.0", "250", "250", "250")
	big := strings.Repeat("z", 1001)
	c.send("BDAT 1001 LAST\r\n" + big + "MAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\n")
	c.want("552 5.3.4", "552 5.3.4", "250", "250")
	c.send("BDAT 1001\r\n" + big + "BDAT 1 LAST\r\nxNOOP\r\n")
	c.want("552 5.3.4", "503", "250")
	c.send("BDAT 4\r\nNOOPNOOP\r\n") // a chunk without a transaction is read and dropped
	c.want("503", "250")
	got := k.kept()
	if len(got) != 1 || string(got[0].Text) != "x\r\n.\r\nRSET\r\n" {
		t.Errorf("kept %+v", got)
	}
}
