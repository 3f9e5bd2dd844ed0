package intake

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/service"
)

// The variables that make this test binary a process with doors, to be killed.
const (
	childBroker  = "CAROM_TEST_INTAKE_BROKER"
	childMaildir = "CAROM_TEST_INTAKE_MAILDIR"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(childBroker); addr != "" {
		if err := child(addr, os.Getenv(childMaildir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// allDoors is a configuration with every door.
func allDoors(dir string) Config {
	cfg := lmtpConfig()
	web := testConfig()
	cfg.HTTP, cfg.Endpoints = web.HTTP, web.Endpoints
	cfg.Maildir.Dirs, cfg.Maildir.Interval = []string{dir}, time.Second
	return cfg
}

// child opens all doors, says where, and says "acked" instead of acknowledging anything. It waits to be killed.
func child(addr, dir string) error {
	c := broker.DefaultConfig()
	c.Brokers = addr
	client, err := broker.Open(c)
	if err != nil {
		return err
	}
	shell := service.DefaultConfig()
	shell.HTTPAddr = "127.0.0.1:0"
	p, err := service.Start(context.Background(), "intake", shell, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	cfg := allDoors(dir)
	cfg.Maildir.Dirs = nil // its reader is made below, when the hook is there
	d, err := Open(p, cfg, client)
	if err != nil {
		return err
	}
	acked := func() {
		fmt.Println("acked")
		select {}
	}
	d.http.sink.acked = acked
	fmt.Println(d.HTTPAddr(), d.LMTPAddr())
	cfg.Maildir.Dirs = []string{dir}
	reader, err := newMaildirDoor(cfg, d.http.sink, p.Log)
	if err != nil {
		return err
	}
	line := bufio.NewScanner(os.Stdin)
	for line.Scan() {
		if _, err := reader.sweep(context.Background(), 0, dir, func() {}); err != nil {
			return err
		}
	}
	return line.Err()
}

// killed is a child that is killed.
type killed struct {
	cmd        *exec.Cmd
	in         io.Writer
	out        *bufio.Scanner
	http, lmtp string
}

func (r *rig) child(dir string) *killed {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	k := &killed{cmd: exec.Command(exe)}
	k.cmd.Env = append(os.Environ(), childBroker+"="+r.addr, childMaildir+"="+dir)
	k.cmd.Stderr = os.Stderr
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		r.t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { k.cmd.Process.Kill(); k.cmd.Wait() })
	k.out = bufio.NewScanner(out)
	addrs := strings.Fields(k.line(r.t))
	if len(addrs) != 2 {
		r.t.Fatalf("the child says %q", addrs)
	}
	k.http, k.lmtp = addrs[0], addrs[1]
	return k
}

func (k *killed) line(t *testing.T) string {
	t.Helper()
	if !k.out.Scan() {
		t.Fatalf("the child says no more: %v", k.out.Err())
	}
	return k.out.Text()
}

// kill is kill -9.
func (k *killed) kill(t *testing.T) {
	t.Helper()
	if err := k.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = k.cmd.Wait() // the error is the kill
}

// The process is killed between the brokers' acknowledgement and its own: the sender hears nothing, sends again, and the
// record stands in the log twice. It is not lost, and was not acknowledged before.
func TestKilledBeforeTheAnswer(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)

	k := r.child(dir)
	req := r.childRequest(k, "webhook")
	answered := make(chan error, 1)
	go func() {
		a, err := send(&http.Client{}, req)
		if err == nil {
			err = fmt.Errorf("answered %+v", a)
			t.Error(err)
		}
		answered <- err
	}()
	if l := k.line(t); l != "acked" {
		t.Fatal(l)
	}
	k.kill(t)
	<-answered
	r.want("webhook")

	k = r.child(dir)
	c, err := net.Dial("tcp", k.lmtp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, lmtpOpening+"DATA\r\nmail\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	k.line(t)
	k.kill(t)
	text, _ := io.ReadAll(c) // ends with an error or the end, as the kernel likes
	if strings.Count(string(text), "\r\n250 ") != 3 || !strings.Contains(string(text), "\r\n354 ") {
		t.Errorf("answers %q, want those to LHLO, MAIL and RCPT", text)
	}
	r.want("webhook", "mail\r\n")

	put(t, dir, "new/1", "file")
	k = r.child(dir)
	if _, err := io.WriteString(k.in, "look\n"); err != nil {
		t.Fatal(err)
	}
	k.line(t)
	k.kill(t)
	if got := ls(t, dir+"/new"); got != "1" {
		t.Errorf("in new/: %q", got)
	}
	r.want("webhook", "mail\r\n", "file")

	r.open(allDoors(dir))
	if a := r.post("ses-1", []byte("webhook")); a.status != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if a := r.mail("mail\r\n"); !strings.HasPrefix(a, "250 ") {
		t.Error(a)
	}
	within(t, "the file is moved", func() bool { return ls(t, dir+"/cur") == "1:2,S" && ls(t, dir+"/new") == "" })
	r.want("file", "file", "mail\r\n", "mail\r\n", "webhook", "webhook")
}

func (r *rig) childRequest(k *killed, body string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://"+k.http+"/v1/feeds/ses-1", strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	return req
}
