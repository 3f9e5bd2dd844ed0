package mtalog

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

const (
	reached = "relay=mx1.example.net[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)"
	noHost  = "relay=none, delay=1, delays=0/0/1/0, dsn=4.4.3, status=deferred "
)

// A failure that names nobody is told with the host that answered last for the domain, marked, and without an address.
func TestLastMX(t *testing.T) {
	for _, c := range []struct {
		name, recipient, text string
		host, ip              string
		recalled              bool
	}{
		{"DNS, the domain is named", "b@Example.NET", "(Host or domain name not found. Name service error for name=example.net type=MX: Host not found, try again)", "mx1.example.net", "", true},
		{"DNS, the domain is its own host", "b@example.net", "(Host or domain name not found. Name service error for name=example.net type=AAAA: Host not found)", "mx1.example.net", "", true},
		{"TLS without a host", "b@example.net", "(no TLSA records found)", "mx1.example.net", "", true},
		{"DNS, a host is named", "b@example.net", "(Host or domain name not found. Name service error for name=mx2.example.net type=A: Host not found, try again)", "mx2.example.net", "", false},
		{"the words name host and address", "b@example.net", "(connect to mx2.example.net[192.0.2.8]:25: Connection timed out)", "mx2.example.net", "192.0.2.8", false},
		{"TLSA names a host", "b@example.net", "(TLSA lookup error for mx2.example.net:25)", "mx2.example.net", "", false},
		{"null MX", "b@example.net", "(Domain example.net does not accept mail (nullMX))", "", "", false},
		{"loop", "b@example.net", "(mail for example.net loops back to myself)", "", "", false},
		{"not the network", "b@example.net", "(mail transport unavailable)", "", "", false},
		{"suspended", "b@example.net", "(delivery temporarily suspended: Host or domain name not found. Name service error for name=example.net type=MX: Host not found, try again)", "", "", false},
		{"another domain", "b@example.com", "(Host or domain name not found. Name service error for name=example.com type=MX: Host not found, try again)", "", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, "smtp[1]: AAAAAA1: to=<a@example.net>, "+reached, "smtp[1]: BBBBBB1: to=<"+c.recipient+">, "+noHost+c.text)
			if got.RemoteHost != c.host || got.RemoteIp != c.ip || got.RemoteRecalled != c.recalled {
				t.Errorf("remote %q %q, recalled %t; want %q %q, %t", got.RemoteHost, got.RemoteIp, got.RemoteRecalled, c.host, c.ip, c.recalled)
			}
		})
	}
	t.Run("no address, no memory", func(t *testing.T) {
		got := one(t, "lmtp[1]: AAAAAA1: to=<a@example.net>, relay=mta1[private/lmtp], delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)",
			"smtp[1]: BBBBBB1: to=<b@example.net>, "+noHost+"(no TLSA records found)")
		if got.RemoteHost != "" {
			t.Errorf("remote %q: a socket is no MX", got.RemoteHost)
		}
	})
	t.Run("the cause of an expiry says so too, after a snapshot as well", func(t *testing.T) {
		c := NewCorrelator(DefaultConfig())
		var got *schema.DeliveryEvent
		for _, line := range []string{
			"smtp[1]: AAAAAA1: to=<a@example.net>, " + reached,
			"smtp[1]: BBBBBB1: to=<b@example.net>, " + noHost + "(no TLSA records found)",
			"qmgr[1]: BBBBBB1: from=<s@x>, status=expired, returned to sender",
		} {
			state := c.AppendState(nil)
			c = NewCorrelator(DefaultConfig())
			if err := c.LoadState(state); err != nil {
				t.Fatal(err)
			}
			c.Line(Input{Line: []byte(head + line)}, func(ev *schema.DeliveryEvent) { got = proto.Clone(ev).(*schema.DeliveryEvent) })
		}
		if f := got.Cause; f == nil || f.RemoteHost != "mx1.example.net" || !f.RemoteRecalled || f.RemoteIp != "" {
			t.Errorf("cause %v", f)
		}
	})
}

// The memory holds no more than it may, forgets what the log has not named for longest, and survives a snapshot.
func TestLastMXIsBoundedAndRestored(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxDomains = 3
	c := NewCorrelator(cfg)
	see := func(c *Correlator, n int) {
		line := fmt.Sprintf("%ssmtp[1]: AAAAAA1: to=<a@d%d.example>, relay=mx%d.example[192.0.2.7]:25, delay=1, dsn=2.0.0, status=sent (250 ok)", head, n, n)
		c.Line(Input{Line: []byte(line)}, func(*schema.DeliveryEvent) {})
	}
	ask := func(c *Correlator, n int) (host string) {
		line := fmt.Sprintf("%ssmtp[1]: BBBBBB1: to=<a@d%d.example>, relay=none, delay=1, dsn=5.4.4, status=bounced (no TLSA records found)", head, n)
		c.Line(Input{Line: []byte(line)}, func(ev *schema.DeliveryEvent) { host = ev.RemoteHost })
		return host
	}
	for _, n := range []int{1, 2, 3, 1, 4} { // 2 was silent longest
		see(c, n)
	}
	if n := c.Stats().Domains; n != 3 {
		t.Errorf("%d domains", n)
	}
	d := NewCorrelator(cfg)
	if err := d.LoadState(c.AppendState(nil)); err != nil {
		t.Fatal(err)
	}
	if string(d.AppendState(nil)) != string(c.AppendState(nil)) {
		t.Error("the memory did not survive")
	}
	see(c, 5)
	see(d, 5) // 3 goes, in both
	for n, want := range map[int]string{1: "mx1.example", 2: "", 3: "", 4: "mx4.example", 5: "mx5.example"} {
		if a, b := ask(c, n), ask(d, n); a != want || b != want {
			t.Errorf("domain %d: %q and %q after a snapshot, want %q", n, a, b, want)
		}
	}
	cfg.MaxDomains = 0
	none := NewCorrelator(cfg)
	see(none, 1)
	if host := ask(none, 1); host != "" || none.Stats().Domains != 0 {
		t.Errorf("%q remembered where nothing may be", host)
	}
	if err := (Config{MaxEntries: 1, MaxBytes: 1, TTL: 1, MaxDomains: -1}).Validate(); err == nil {
		t.Error("a negative bound is accepted")
	}
}

// A flood of queue ids and domains, as a broken or hostile host writes it, costs no more than the bounds allow.
func TestFloodIsBounded(t *testing.T) {
	cfg := Config{MaxEntries: 1000, MaxBytes: 1 << 20, TTL: time.Hour, MaxDomains: 500}
	c := NewCorrelator(cfg)
	events := 0
	for i := range 20_000 {
		for _, line := range []string{
			fmt.Sprintf("qmgr[1]: %08X: from=<s@x>, size=9, nrcpt=9 (queue active)", i),
			fmt.Sprintf("smtp[1]: %08X: to=<r%d@d%d.example>, relay=mx%d.example[192.0.2.7]:25, delay=1, dsn=4.0.0, status=deferred (host mx said: 450 %0200d)", i, i, i, i, i),
		} {
			c.Line(Input{Line: []byte(head + line)}, func(*schema.DeliveryEvent) { events++ })
		}
		if s := c.Stats(); s.Entries > cfg.MaxEntries || s.Bytes > cfg.MaxBytes || s.Domains > cfg.MaxDomains {
			t.Fatalf("beyond the bounds: %+v", s)
		}
	}
	if s := c.Stats(); events != 20_000 || s.Evicted < 19_000 || s.Entries == 0 {
		t.Errorf("%d events, %+v", events, s)
	}
}

// Deliveries whose queue entry was never seen are events all the same, marked and counted.
func TestOrphansOfARealLog(t *testing.T) {
	log := lines(readGzip(t, filepath.Join("testdata", "postfix-3.11", "mail.log.gz")))
	c := NewCorrelator(DefaultConfig())
	deliveries, orphans := 0, 0
	for _, line := range log {
		if r := (&Correlator{cfg: DefaultConfig(), queue: newQueue(), mx: newLastMX()}).Line(Input{Line: line, Reference: sampleReference}, func(*schema.DeliveryEvent) {}); r.Kind != KindEvent {
			continue // deliveries alone, without the lines that tell of their messages
		}
		deliveries++
		c.Line(Input{Line: line, Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
			if ev.Orphan {
				orphans++
			}
			if ev.HasSender || ev.MessageId != "" || ev.Attempt != 0 {
				t.Fatalf("an orphan knows its message: %v", ev)
			}
		})
	}
	if s := c.Stats(); deliveries < 500 || orphans != deliveries || s.Orphans != uint64(orphans) || s.Events != s.Orphans {
		t.Errorf("%d deliveries, %d orphans, %+v", deliveries, orphans, s)
	}
}
