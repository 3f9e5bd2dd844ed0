package intake

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

func mailKey(text string) string {
	sum := xxhash.Sum64String(text)
	return hex.EncodeToString([]byte{byte(sum >> 56), byte(sum >> 48), byte(sum >> 40), byte(sum >> 32), byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// A mail comes into the log as it was sent, with its envelope; twice the same one, in one partition.
func TestMailBecomesARecord(t *testing.T) {
	r := newRig(t)
	r.open(lmtpConfig())
	const text = "Subject: \x00 \xff\r\n\r\n.\nMAIL FROM:<x@y.example>\n.\r\n.leading dot\r\n"
	const said = "LHLO mx.example\r\nMAIL FROM:<b+x=y@out.example>\r\nRCPT TO:<\"A b\"@BOUNCES.example>\r\nRCPT TO:<c@b\u00fccher.example>\r\nRCPT TO:<d@xn--bcher-kva.example>\r\n" +
		"RCPT TO:<e@elsewhere.example>\r\nRCPT TO:<f@bounces.example@elsewhere.example>\r\nRCPT TO:<g@sub.bounces.example>\r\nDATA\r\n" +
		"Subject: \x00 \xff\r\n\r\n..\nMAIL FROM:<x@y.example>\n.\r\n..leading dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<h@bounces.example>\r\nDATA\r\n" +
		"Subject: \x00 \xff\r\n\r\n..\nMAIL FROM:<x@y.example>\n.\r\n..leading dot\r\n.\r\nQUIT\r\n"
	var codes []string
	for line := range strings.Lines(r.dialogue(said)) {
		if line[3] == ' ' {
			codes = append(codes, strings.Join(strings.Fields(line)[:2], " "))
		}
	}
	want := "250 SIZE,250 2.1.0,250 2.1.5,250 2.1.5,250 2.1.5,550 5.7.1,550 5.7.1,550 5.7.1,354 go,250 2.0.0,250 2.0.0,250 2.0.0,250 2.1.0,250 2.1.5,354 go,250 2.0.0,221 2.0.0"
	if got := strings.Join(codes[1:], ","); got != want {
		t.Errorf("answers %s\nwant %s", got, want)
	}
	records := byOffset(r.records())
	if len(records) != 2 {
		t.Fatalf("%d records", len(records))
	}
	for i, want := range []string{
		"carom-format=mail carom-feed=lmtp carom-return-path=b+x=y@out.example carom-rcpt=\"A b\"@BOUNCES.example\nc@b\u00fccher.example\nd@xn--bcher-kva.example",
		"carom-format=mail carom-feed=lmtp carom-return-path= carom-rcpt=h@bounces.example",
	} {
		rec := records[i]
		if string(rec.Value) != text || string(rec.Key) != mailKey(text) || headers(rec) != want {
			t.Errorf("record %d: key %s, headers %s\nwant %s\n%q", i, rec.Key, headers(rec), want, rec.Value)
		}
	}
	for result, n := range map[string]float64{"ok": 2, "recipient": 3} {
		if got := r.count("carom_intake_requests_total", "door=lmtp", "result="+result); got != n {
			t.Errorf("%v counted as %s, want %v", got, result, n)
		}
	}
	for _, address := range []string{"bounces.example", "elsewhere.example", "out.example"} {
		if strings.Contains(strings.ToLower(r.log.String()), "@"+address) {
			t.Errorf("the log shows an address of %s", address)
		}
	}
}

// Of a large mail the begin is kept, and its size; the key is that of what is kept.
func TestLargeMailIsCut(t *testing.T) {
	r := newRig(t)
	cfg := lmtpConfig()
	cfg.KeepBytes, cfg.LMTP.MaxMailBytes = 100<<10, 1<<20
	r.open(cfg)
	text := strings.Repeat("0123456789abcde\n", 40<<10)
	if a := r.mail(text[:100<<10]); !strings.HasPrefix(a, "250") {
		t.Fatal(a)
	}
	if a := r.mail(text); !strings.HasPrefix(a, "250") {
		t.Fatal(a)
	}
	if a := r.mail(text + text); !strings.HasPrefix(a, "552 5.3.4") {
		t.Fatal(a)
	}
	for i, rec := range byOffset(r.records()) {
		cut := string(rec.Header("carom-cut"))
		if string(rec.Value) != text[:100<<10] || string(rec.Key) != mailKey(text[:100<<10]) || (i == 0 && rec.Header("carom-cut") != nil) || (i == 1 && cut != fmt.Sprint(len(text))) {
			t.Errorf("record %d: %d bytes, cut %q", i, len(rec.Value), cut)
		}
	}
	if n := len(r.records()); n != 2 {
		t.Errorf("%d records", n)
	}
}

// A socket is for those whom its permissions let in; a killed process's is taken over, a living one's is not.
func TestUnixSocket(t *testing.T) {
	r := newRig(t)
	cfg := lmtpConfig()
	path := filepath.Join(t.TempDir(), "lmtp")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	cfg.LMTP.Addr = "unix:" + path
	cfg.LMTP.SocketMode = 0o622
	cfg.LMTP.Domains = []string{"*"}
	cfg.LMTP.Allow = nil // of no matter
	r.open(cfg)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o622 {
		t.Errorf("mode %v, err %v", info.Mode(), err)
	}
	if a := r.dialogue("LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@anything.example>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n"); !strings.Contains(a, "250 2.0.0 ok\r\n221") {
		t.Errorf("answers %q", a)
	}
	r.want("x\r\n")
	if _, err := openLMTP(t.Context(), cfg, r.doors.lmtp.sink, r.process.Log); err == nil {
		t.Error("a second process took the socket")
	}
	if a := r.dialogue("QUIT\r\n"); !strings.Contains(a, "221") {
		t.Errorf("the first one's answer %q", a)
	}
	r.stop()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLMTP(t.Context(), cfg, &sink{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file: %q, %v", text, err)
	}
}

// Only the networks that are allowed may connect; others are told to come later, since the list may be wrong.
func TestNetworks(t *testing.T) {
	r := newRig(t)
	cfg := lmtpConfig()
	cfg.LMTP.Allow = []string{"192.0.2.0/24", "2001:db8::/32"}
	r.open(cfg)
	if a := r.dialogue(""); !strings.HasPrefix(a, "421 4.7.1 ") {
		t.Errorf("answer %q", a)
	}
	if n := r.count("carom_intake_requests_total", "result=forbidden"); n != 1 {
		t.Errorf("%v counted", n)
	}
	l := r.doors.lmtp.listener.(*allowListener)
	for ip, want := range map[string]bool{"192.0.2.9": true, "::ffff:192.0.2.9": true, "192.0.3.1": false, "2001:db8::1": true, "fe80::1": false, "127.0.0.1": false} {
		if got := l.allowed(&net.TCPAddr{IP: net.ParseIP(ip)}); got != want {
			t.Errorf("%s: %t, want %t", ip, got, want)
		}
	}
	if l.allowed(&net.UnixAddr{}) {
		t.Error("an address that is none")
	}
}
