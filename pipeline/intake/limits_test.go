package intake

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// raw speaks HTTP/1.1 by hand.
func (r *rig) raw(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.doors.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

const rawHead = "POST /v1/feeds/ses-1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + testToken + "\r\n"

// A body without end is cut off at the bound; the server reads no more than that.
func TestEndlessBody(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	c := r.raw(t)
	if _, err := io.WriteString(c, rawHead+"Transfer-Encoding: chunked\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, c)
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", 1<<20, bytes.Repeat([]byte("x"), 1<<20)))
	sent := 0
	for sent < 1<<10 { // a gigabyte
		if _, err := c.Write(chunk); err != nil {
			break
		}
		sent++
	}
	if sent > 64 { // what the kernel's buffers hold is not read
		t.Errorf("%d MB were taken", sent)
	}
	if n := r.count("carom_intake_requests_total", "result=too_large"); n != 1 {
		t.Errorf("%v counted", n)
	}
	r.want()
}

// Slow clients are left after the read timeout and hold little meanwhile; others are served.
func TestSlowClients(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.HTTP.ReadTimeout = time.Second
	cfg.HTTP.MaxInFlight = 1
	r.open(cfg)
	head, body := r.raw(t), r.raw(t)
	if _, err := io.WriteString(head, "POST /v1/feeds/ses-1 HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(body, rawHead+"Content-Length: 8000000\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if a := r.post("ses-1", []byte("{}")); a.status != http.StatusOK {
		t.Fatalf("while others are slow: %+v", a)
	}
	text, err := io.ReadAll(body)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 408 ") || !strings.Contains(string(text), "Connection: close") {
		t.Errorf("slow body: %q, err %v", text, err)
	}
	if text, err := io.ReadAll(head); err != nil || strings.Contains(string(text), "200") {
		t.Errorf("slow header: %q, err %v", text, err)
	}
	if n := r.count("carom_intake_requests_total", "result=timeout"); n != 1 {
		t.Errorf("%v timeouts counted", n)
	}
	r.want("{}")
}

// A client that goes away within its body leaves nothing.
func TestAbortedBody(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	c := r.raw(t)
	if _, err := io.WriteString(c, rawHead+"Content-Length: 100\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	within(t, "the abort is counted", func() bool { return r.count("carom_intake_requests_total", "result=aborted") == 1 })
	r.want()
}

// Headers without end are refused by the server.
func TestHeaderFlood(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	c := r.raw(t)
	go func() {
		io.WriteString(c, rawHead) // ends with an error when the server closes
		for range 10_000 {
			if _, err := io.WriteString(c, "X-Flood: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
				return
			}
		}
	}()
	text, err := io.ReadAll(c)
	if !strings.HasPrefix(string(text), "HTTP/1.1 431 ") {
		t.Errorf("%q, err %v", text, err)
	}
	r.want()
}

// Beyond the bound on requests, or on bytes, a client is asked to come again, at once.
func TestBusy(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.HTTP.MaxInFlight = 1
	cfg.HTTP.MaxInFlightBytes = 2 * int64(cfg.HTTP.MaxBodyBytes)
	r.open(cfg)
	entered, release := make(chan bool, 10), make(chan bool)
	r.doors.http.sink.acked = func() {
		entered <- true
		select {
		case <-release:
		case <-time.After(5 * time.Second):
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if a := r.post("ses-1", []byte("first")); a.status != http.StatusOK {
			t.Errorf("%+v", a)
		}
	})
	<-entered
	if n := r.count("carom_intake_in_flight", "door=http"); n != 1 {
		t.Errorf("%v in flight", n)
	}
	if a := r.post("ses-1", []byte("second")); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", a)
	}
	close(release)
	wg.Wait()
	r.doors.http.sink.acked = nil
	// Two bodies of 8 MiB, half here: their buffers are all that may be held.
	big := bytes.Repeat([]byte("x"), 8<<20-1)
	var slow []net.Conn
	for range 2 {
		c := r.raw(t)
		if _, err := fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", rawHead, len(big), big[:5<<20]); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	var a reply
	within(t, "the bound on bytes is reached", func() bool {
		a = r.post("ses-1", []byte("third"))
		return a.status != http.StatusOK
	})
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", a)
	}
	for _, c := range slow {
		c.Close()
	}
	within(t, "the bytes are given back", func() bool { return r.post("ses-1", []byte("fourth")).status == http.StatusOK })
	within(t, "nothing is in flight", func() bool { return r.count("carom_intake_in_flight", "door=http") == 0 })
}

// Connections beyond the bound wait, and come in when another goes.
func TestConnectionsWait(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.HTTP.MaxConnections = 2
	r.open(cfg)
	held := []net.Conn{r.raw(t), r.raw(t)}
	for _, c := range held {
		if _, err := io.WriteString(c, rawHead+"Content-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 12)); err != nil {
			t.Fatal(err)
		}
	}
	c := r.raw(t)
	if _, err := io.WriteString(c, rawHead+"Content-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("a third connection was served")
	}
	held[0].Close()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 12)
	if _, err := io.ReadFull(c, line); err != nil || string(line) != "HTTP/1.1 200" {
		t.Errorf("%q, err %v", line, err)
	}
}

// within waits until ok holds.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: did not come", what)
		}
	}
}

// A broken invariant costs its request only, and is said where people look.
func TestPanicIsLogged(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	r.doors.http.sink.acked = func() { panic("broken") }
	if a, err := send(http.DefaultClient, r.request("ses-1", []byte("{}"), "Authorization", "Bearer "+testToken)); err == nil {
		t.Errorf("answered %+v", a)
	}
	if !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), "broken invariant") {
		t.Errorf("log %s", r.log)
	}
	r.doors.http.sink.acked = nil
	if a := r.post("ses-1", []byte("{}")); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
}
