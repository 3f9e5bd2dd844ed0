package lmtp

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A mail beyond KeepBytes is cut, one beyond MaxMailBytes refused; both are read to their end and the next one is fine.
func TestLargeMails(t *testing.T) {
	k := &keeper{}
	c := dial(t, start(t, testConfig(), k))
	c.want("220")
	c.send("LHLO x\r\n")
	c.want("250")
	for _, tc := range []struct {
		size       int
		answer     string
		kept, said int
	}{{598, "250", 600, 600}, {599, "250", 600, 601}, {998, "250", 600, 1000}, {999, "552 5.3.4", 0, 0}, {500_000, "552 5.3.4", 0, 0}, {1, "250", 3, 3}} {
		before := len(k.kept())
		c.send("MAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\nDATA\r\n" + strings.Repeat("z", tc.size) + "\r\n.\r\n")
		c.want("250", "250", "354", tc.answer)
		got := k.kept()[before:]
		if (tc.answer == "250") != (len(got) == 1) {
			t.Fatalf("%d bytes: kept %d mails", tc.size, len(got))
		}
		if len(got) == 1 && (len(got[0].Text) != tc.kept || got[0].Size != int64(tc.said)) {
			t.Errorf("%d bytes: kept %d of %d, want %d of %d", tc.size, len(got[0].Text), got[0].Size, tc.kept, tc.said)
		}
	}
	if k.refusals() != "[too_large too_large]" {
		t.Errorf("refused %s", k.refusals())
	}
}

// A client may talk for ever only by sending mails.
func TestIdleTalkEnds(t *testing.T) {
	k := &keeper{}
	c := dial(t, start(t, testConfig(), k))
	_, _ = io.WriteString(c.nc, "LHLO x\r\n"+strings.Repeat("NOOP\r\n", 1000)) // may fail: it is closed
	text, err := io.ReadAll(c.nc)
	if n := strings.Count(string(text), "250 2.0.0"); n > maxIdle || (err == nil && !strings.Contains(string(text), "421 4.7.0")) {
		t.Errorf("%d answers, err %v, end %q", n, err, text[max(0, len(text)-60):])
	}
	if k.refusals() != "[protocol]" {
		t.Errorf("refused %s", k.refusals())
	}
	c = dial(t, start(t, testConfig(), k))
	c.want("220")
	c.send("LHLO x\r\n")
	c.want("250")
	for range 2 * maxIdle {
		c.send("NOOP\r\nMAIL FROM:<>\r\nRCPT TO:<a@in.example>\r\nBDAT 1 LAST\r\nx")
		c.want("250", "250", "250", "250")
	}
}

func TestSilentClientIsLeft(t *testing.T) {
	cfg := testConfig()
	cfg.CommandTimeout = 100 * time.Millisecond
	c := dial(t, start(t, cfg, &keeper{}))
	c.want("220", "421 4.4.2")
	c.end()
	// One byte now and then is no command either.
	c = dial(t, start(t, cfg, &keeper{}))
	for _, b := range "LHLO x" {
		_, _ = io.WriteString(c.nc, string(b)) // may fail: it is closed
		time.Sleep(40 * time.Millisecond)
	}
	c.want("220", "421 4.4.2")
}

func TestConnectionsAreBounded(t *testing.T) {
	k := &keeper{}
	s := start(t, testConfig(), k)
	var open []*client
	for range 3 {
		c := dial(t, s)
		c.want("220")
		open = append(open, c)
	}
	c := dial(t, s)
	c.want("421 4.3.2")
	c.end()
	open[0].send("QUIT\r\n")
	open[0].want("221")
	open[0].end()
	for range 100 { // the place is free a moment after the client has heard so
		c = dial(t, s)
		line, err := c.r.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "220") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no place became free")
}

// The end waits for mails that are on their way, and for nobody else.
func TestShutdown(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	k := &keeper{deliver: func(context.Context, *Mail) error { entered <- true; <-release; return nil }}
	cfg := testConfig()
	cfg.CommandTimeout = time.Hour
	s := start(t, cfg, k)
	idle, sending, delivering := dial(t, s), dial(t, s), dial(t, s)
	idle.want("220")
	sending.send(opening + "DATA\r\nfoo\r\n")
	sending.want("220", "250", "250", "250", "354")
	delivering.send(opening + "DATA\r\nbar\r\n.\r\nNOOP\r\n")
	delivering.want("220", "250", "250", "250", "354")
	<-entered
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(t.Context()) }()
	idle.want("421 4.3.2")
	idle.end()
	sending.send(".\r\n")
	<-entered
	close(release)
	for _, c := range []*client{sending, delivering} {
		c.want("250 2.0.0", "421 4.3.2")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(k.kept()) != 2 {
		t.Errorf("%d mails kept, want 2", len(k.kept()))
	}
	if _, err := net.Dial("tcp", s.ln.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

// Beyond its bound, the end cuts off whoever is left, and a delivery is told so.
func TestShutdownIsBounded(t *testing.T) {
	entered := make(chan bool)
	k := &keeper{deliver: func(ctx context.Context, _ *Mail) error { entered <- true; <-ctx.Done(); return ctx.Err() }}
	s := start(t, testConfig(), k)
	c, half := dial(t, s), dial(t, s)
	c.send(opening + "DATA\r\nfoo\r\n.\r\n")
	half.send(opening + "DATA\r\nfoo\r\n")
	half.want("220", "250", "250", "250", "354")
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("err %v", err)
	}
	if len(k.kept()) != 0 {
		t.Error("a mail was kept")
	}
}
