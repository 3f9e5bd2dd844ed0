package intake

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lmtpConfig has an LMTP door for one domain.
func lmtpConfig() Config {
	cfg := DefaultConfig()
	cfg.LMTP.Addr = "127.0.0.1:0"
	cfg.LMTP.Domains = []string{"Bounces.example", "b\u00fccher.example"}
	return cfg
}

// dialogue says something by LMTP and returns all that was answered.
func (r *rig) dialogue(said string) string {
	r.t.Helper()
	c, err := net.Dial(r.doors.LMTPAddr().Network(), r.doors.LMTPAddr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, said); err != nil {
		r.t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		r.t.Fatalf("%q: %v", text, err)
	}
	return string(text)
}

const lmtpOpening = "LHLO mx.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@bounces.example>\r\n"

// mail sends one by LMTP and returns the answer to its end.
func (r *rig) mail(text string) string {
	r.t.Helper()
	said := r.dialogue(lmtpOpening + fmt.Sprintf("BDAT %d LAST\r\n%sQUIT\r\n", len(text), text))
	lines := strings.Split(strings.TrimSpace(said), "\r\n")
	return lines[len(lines)-2]
}

func maildir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"new", "cur", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// put delivers a file as a delivery agent does: written in tmp/, then moved.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	tmp := filepath.Join(dir, "tmp", filepath.Base(name))
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// ls lists a directory.
func ls(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// While the broker is away, no door acknowledges anything; when it is back, what is sent again is taken. Nothing that was
// acknowledged is missing, and nothing that was not was thrown away by its sender.
func TestBrokerAway(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	cfg := allDoors(dir)
	cfg.Timeout = time.Second
	r.open(cfg)
	if a := r.post("ses-1", []byte("before")); a.status != http.StatusOK {
		t.Fatalf("%+v", a)
	}
	r.away()
	if a := r.post("ses-1", []byte("webhook")); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "10" || !strings.Contains(a.text, "again") {
		t.Errorf("%+v", a)
	}
	if a := r.mail("by lmtp\r\n"); !strings.HasPrefix(a, "451 4.3.0") {
		t.Errorf("answer %s", a)
	}
	put(t, dir, "new/1", "from a maildir\n")
	within(t, "the reader tries", func() bool { return r.count("carom_intake_requests_total", "door=maildir", "result=broker") > 0 })
	if got := ls(t, dir+"/new"); got != "1" {
		t.Errorf("in new/: %q", got)
	}
	for _, door := range []string{"http", "lmtp"} {
		if n := r.count("carom_intake_requests_total", "result=broker", "door="+door); n != 1 {
			t.Errorf("%s: %v counted", door, n)
		}
	}
	r.back()
	within(t, "the webhook is taken", func() bool { return r.post("ses-1", []byte("webhook")).status == http.StatusOK })
	within(t, "the mail is taken", func() bool { return strings.HasPrefix(r.mail("by lmtp\r\n"), "250 ") })
	within(t, "the file is moved", func() bool { return ls(t, dir+"/cur") == "1:2,S" })
	// A write that timed out may have got through after all: a repeat, never a loss.
	got := r.values()
	want := []string{"before", "by lmtp\r\n", "from a maildir\n", "webhook"}
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("in the log %q, want %q", got, want)
	}
}

// The broker goes away and comes back under load. Whatever was acknowledged is in the log.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	r := newRig(t)
	cfg := allDoors(maildir(t))
	cfg.Timeout = time.Second
	r.open(cfg)
	var mu sync.Mutex
	acknowledged, refused := map[string]bool{}, 0
	note := func(body string, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if ok {
			acknowledged[body] = true
		} else {
			refused++
		}
	}
	stop := make(chan bool)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				body := fmt.Sprintf("body %d of %d\r\n", i, w)
				if w%2 == 0 {
					note(body, r.post("ses-1", []byte(body)).status == http.StatusOK)
				} else {
					note(body, strings.HasPrefix(r.mail(body), "250 "))
				}
			}
		})
	}
	for _, outage := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 100 * time.Millisecond} {
		time.Sleep(150 * time.Millisecond)
		r.away()
		time.Sleep(outage)
		r.back()
	}
	before := func() int { mu.Lock(); defer mu.Unlock(); return len(acknowledged) }()
	within(t, "it is taken again", func() bool { mu.Lock(); defer mu.Unlock(); return len(acknowledged) > before+20 })
	close(stop)
	wg.Wait()
	in := map[string]bool{}
	for _, v := range r.values() {
		in[v] = true
	}
	for body := range acknowledged {
		if !in[body] {
			t.Errorf("%q was acknowledged and is not in the log", body)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused: the broker was not away long enough to tell")
	}
	t.Logf("%d acknowledged, %d refused, %d in the log", len(acknowledged), refused, len(in))
}

// The end finishes what has begun, and takes nothing new.
func TestOrderlyEnd(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	cfg := allDoors(dir)
	r.open(cfg)
	if missing := r.process.Health.Missing(); missing != nil {
		t.Errorf("not ready: %v", missing)
	}
	entered, release := make(chan bool), make(chan bool)
	r.doors.http.sink.acked = func() { entered <- true; <-release }
	var wg sync.WaitGroup
	wg.Go(func() {
		if a := r.post("ses-1", []byte("webhook")); a.status != http.StatusOK {
			t.Errorf("%+v", a)
		}
	})
	<-entered
	wg.Go(func() {
		if a := r.dialogue(lmtpOpening + "DATA\r\nmail\r\n.\r\n"); !strings.Contains(a, "250 2.0.0 ok\r\n421 4.3.2 ") {
			t.Errorf("answers %q", a)
		}
	})
	<-entered
	put(t, dir, "new/1", "file")
	<-entered
	httpAddr, lmtpAddr := r.doors.HTTPAddr(), r.doors.LMTPAddr()
	p := r.process
	p.Lifecycle.Stop()
	ended := make(chan error, 1)
	go func() { ended <- p.Lifecycle.Wait() }()
	time.Sleep(100 * time.Millisecond)
	select {
	case err := <-ended:
		t.Fatalf("ended before its work was done: %v", err)
	default:
	}
	close(release)
	wg.Wait()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	r.process = nil
	if got := ls(t, dir+"/cur"); got != "1:2,S" {
		t.Errorf("in cur/: %q", got)
	}
	r.want("file", "mail\r\n", "webhook")
	for _, a := range []net.Addr{httpAddr, lmtpAddr} {
		if c, err := net.Dial("tcp", a.String()); err == nil {
			c.Close()
			t.Errorf("%s still listens", a)
		}
	}
}

// Without a topic, the doors stay shut and the process is not ready; the end interrupts the wait.
func TestNoTopic(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.Topic = "none"
	r.open(DefaultConfig()) // no doors
	if r.doors.HTTPAddr() != nil || r.doors.LMTPAddr() != nil {
		t.Error("doors are open")
	}
	done := make(chan error, 1)
	go func() {
		_, err := Open(r.process, cfg, r.client)
		done <- err
	}()
	within(t, "it is not ready", func() bool { return slices.Contains(r.process.Health.Missing(), "intake: not yet") })
	r.process.Lifecycle.Stop()
	if err := <-done; err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("err %v", err)
	}
}
