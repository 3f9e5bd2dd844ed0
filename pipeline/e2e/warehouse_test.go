package e2e

import (
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/schema"
)

// ClickHouse cannot be reached for a while. Decisions go on meanwhile, nothing is wrong afterwards, and in the end every
// event is counted once.
func TestUnreachableClickHouseDelaysNumbersAndNoDecision(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dsn, err := url.Parse(embeddedtest.RequireClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	line := newProxy(t, dsn.Host)
	dsn.Host = line.addr()
	cfg := config(t.TempDir())
	cfg.ClickHouseDSN = dsn.String()
	s, err := local.Start(ctx, cfg, quiet(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}

	world := traffic.DefaultConfig()
	world.Minutes, world.PerMinute = 40, 300
	world.Start = time.Now().UTC().Add(-40 * time.Minute)
	gen, err := traffic.New(world)
	if err != nil {
		t.Fatal(err)
	}
	send := func(minutes int) {
		t.Helper()
		for range minutes {
			_, lines, ok := gen.Next()
			if !ok {
				t.Fatal("the traffic ended")
			}
			out := make([]local.Line, len(lines))
			for j, l := range lines {
				out[j] = local.Line{Host: l.Host, Text: []byte(l.Text)}
			}
			if err := s.Send(ctx, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	decisions := func() int {
		t.Helper()
		all, err := s.Decisions(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	send(20)
	if err := s.Drain(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	before := decisions()
	line.cut()
	send(20)
	// The folds reach the end of the log without ClickHouse.
	limit, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	for _, h := range [][2]string{
		{"carom-ingest-mta.raw", schema.TopicRaw}, {"carom-classify", schema.TopicEvents}, {"carom-aggregate-recipients", schema.TopicClassified},
	} {
		if err := local.Reach(limit, s.Client, h[0], h[1], nil); err != nil {
			t.Fatalf("with ClickHouse away: %v", err)
		}
	}
	if after := decisions(); after <= before {
		t.Errorf("%d decisions before ClickHouse went away, %d after another twenty minutes of mail", before, after)
	}
	time.Sleep(3 * time.Second) // writers and the leader meet the outage, several times
	line.mend()
	if err := s.Drain(ctx, time.Time{}); err != nil {
		t.Fatal(err)
	}
	o, err := result(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	truth := gen.Truth()
	for outcome, want := range map[schema.Outcome]int{
		schema.Outcome_DELIVERED: truth.Delivered + truth.Notices, schema.Outcome_DEFERRED: truth.Deferred, schema.Outcome_BOUNCED: truth.Bounced,
	} {
		if got := eventCount(o, outcome); got != int64(want) {
			t.Errorf("%s: %d counted, %d generated", outcome.Name(), got, want)
		}
	}
	if want := int64(truth.Deferred + truth.Bounced); o.Failures != want {
		t.Errorf("%d raw failures, %d generated", o.Failures, want)
	}
}

// proxy stands between Carom and ClickHouse and can be cut.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	down     bool
	conns    map[net.Conn]struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	go p.serve()
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return // closed at the end of the test
		}
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		if down {
			_ = in.Close()
			continue
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		for _, d := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(d[0], d[1]) // either end closing ends both
				_, _ = d[0].Close(), d[1].Close()
				p.mu.Lock()
				delete(p.conns, d[0])
				p.mu.Unlock()
			}()
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}
