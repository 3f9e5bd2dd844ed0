package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// The three binaries, as they are deployed, meet only through Kafka. While mail flows each of them is killed or stopped
// at random and started again, the broker goes down once, two aggregates share the partitions, and in the end every
// event is counted once.
func TestServicesKilledAtRandomCountEveryEventOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	bin := buildServices(t)
	// CAROM_E2E_KAFKA names a broker of a fresh cluster to use instead: Apache Kafka itself, say.
	addr := os.Getenv("CAROM_E2E_KAFKA")
	bounce := func() {}
	if addr == "" {
		options := embedded.BrokerOptions{Dir: t.TempDir(), Port: freePort(t)}
		kafka, err := embedded.StartBroker(options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { kafka.Close() })
		addr = kafka.Addr()
		bounce = func() {
			kafka.Close()
			time.Sleep(time.Second)
			if kafka, err = embedded.StartBroker(options); err != nil {
				t.Fatal(err)
			}
		}
	}
	dsn := embeddedtest.RequireClickHouse(t)

	common := []string{"-kafka.brokers=" + addr, "-kafka.session-timeout=6s", "-kafka.rebalance-timeout=2s", "-http-addr=127.0.0.1:0", "-log-level=info"}
	aggregate := func(name string) *process {
		return start(t, filepath.Join(bin, "aggregate"), append([]string{
			"-topics.create", "-epoch.observe=false", "-clickhouse.dsn=" + dsn, "-rows-every=300ms",
			"-snapshot-every=1s", "-detect.tick-every=1s", "-member=" + name, "-state-dir=" + t.TempDir(),
		}, common...))
	}
	services := []*process{
		aggregate("aggregate-0"), aggregate("aggregate-1"),
		start(t, filepath.Join(bin, "classify"), append([]string{"-member=classify-0"}, common...)),
		start(t, filepath.Join(bin, "ingest"), append([]string{"-member=ingest-0", "-state-dir=" + t.TempDir(), "-snapshot-every=1s"}, common...)),
	}

	cfg := broker.DefaultConfig()
	cfg.Brokers = addr
	client, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := control.WaitGenesis(ctx, client); err != nil {
		t.Fatal(err)
	}

	world := traffic.DefaultConfig()
	world.Minutes, world.PerMinute = 60, 300
	gen, err := traffic.New(world)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 9))
	kills := 0
	for i := 0; ; i++ {
		_, lines, ok := gen.Next()
		if !ok {
			break
		}
		var msgs []broker.Message
		for _, l := range lines { // a record a line, as shippers send them
			msgs = append(msgs, broker.Message{
				Topic: schema.TopicRaw, Partition: broker.PartitionOf([]byte(l.Host), 4), Key: []byte(l.Host), Value: []byte(l.Text),
			})
		}
		if err := client.Produce(ctx, msgs); err != nil {
			t.Fatal(err)
		}
		if i == 31 { // the broker goes down under all of them, and comes back
			bounce()
		}
		if i%6 == 3 {
			kills++
			p := services[rng.IntN(len(services))]
			p.restart(t, rng.IntN(4) > 0)
		}
		time.Sleep(150 * time.Millisecond) // lets the services work while mail flows
	}
	if err := control.Append(ctx, client, &schema.Control{Body: &schema.Control_Close{Close: &schema.Close{}}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range [][2]string{
		{"carom-ingest-mta.raw", schema.TopicRaw},
		{"carom-detect-relay", schema.TopicControl},
		{"carom-classify", schema.TopicEvents},
		{"carom-aggregate-recipients", schema.TopicClassified},
		{"carom-aggregate-load-failures", schema.TopicClassified},
	} {
		if err := local.Reach(ctx, client, h[0], h[1], nil); err != nil {
			t.Fatal(err)
		}
	}
	truth := gen.Truth()
	db, err := warehouse.Open(ctx, warehouse.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// Cells follow with the next tick.
	var got map[schema.Outcome]int64
	for {
		if err := local.Reach(ctx, client, "carom-aggregate-cells", schema.TopicCells, nil); err != nil {
			t.Fatalf("%v; counted so far: %v", err, got)
		}
		totals, err := db.Totals(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = map[schema.Outcome]int64{}
		sum := int64(0)
		for _, c := range totals {
			got[c.Outcome] += c.Events
			sum += c.Events
		}
		if sum >= int64(truth.Deliveries) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	for outcome, want := range map[schema.Outcome]int{
		schema.Outcome_DELIVERED: truth.Delivered + truth.Notices, schema.Outcome_DEFERRED: truth.Deferred, schema.Outcome_BOUNCED: truth.Bounced,
	} {
		if got[outcome] != int64(want) {
			t.Errorf("%s: %d counted, %d generated", outcome.Name(), got[outcome], want)
		}
	}
	counts, err := db.Counts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(truth.Deferred + truth.Bounced); counts.Failures != want {
		t.Errorf("%d raw failures, %d generated", counts.Failures, want)
	}
	for _, p := range services {
		p.stop(t)
	}
	t.Logf("%d restarts under load, %d events", kills, truth.Deliveries)
}

// buildServices builds the three static binaries.
func buildServices(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "carom.dev/carom/cmd/ingest", "carom.dev/carom/cmd/classify", "carom.dev/carom/cmd/aggregate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return dir
}

// process is one service.
type process struct {
	path string
	args []string
	cmd  *exec.Cmd
	log  *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func start(t *testing.T, path string, args []string) *process {
	t.Helper()
	p := &process{path: path, args: args, log: &lockedBuffer{}}
	p.run(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			end := syscall.SIGKILL
			if t.Failed() {
				end = syscall.SIGQUIT // with its goroutines, for whoever reads the failure
			}
			_ = p.cmd.Process.Signal(end)
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(p.path), p.log.b.String())
		}
	})
	return p
}

func (p *process) run(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// restart ends the process, by SIGKILL or in order, and starts it again.
func (p *process) restart(t *testing.T, kill bool) {
	t.Helper()
	if kill {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	} else {
		p.stop(t)
	}
	p.run(t)
}

// stop ends the process in order: exit status 0 within the bound.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: an orderly stop ended with %v", filepath.Base(p.path), err)
	}
	p.cmd = nil
}

// Each service answers for itself: not ready without Kafka, live all the same, and with metrics.
func TestServiceWithoutKafkaIsLiveAndNotReady(t *testing.T) {
	bin := buildServices(t)
	port := freePort(t)
	p := start(t, filepath.Join(bin, "classify"), []string{"-kafka.brokers=127.0.0.1:1", fmt.Sprintf("-http-addr=127.0.0.1:%d", port), "-log-level=error"})
	get := func(path string) (int, string) {
		for range 100 {
			res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
			if err == nil {
				defer res.Body.Close()
				var b bytes.Buffer
				_, _ = b.ReadFrom(res.Body)
				return res.StatusCode, b.String()
			}
			time.Sleep(50 * time.Millisecond)
		}
		return 0, ""
	}
	if code, body := get("/livez"); code != http.StatusOK {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d %s, want 503", code, body)
	}
	if code, body := get("/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics: %d, %d bytes", code, len(body))
	}
	p.stop(t)
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
