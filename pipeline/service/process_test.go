package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.HTTPAddr = "127.0.0.1:0"
	cfg.StopTimeout = 5 * time.Second
	return cfg
}

func start(t *testing.T, name string, cfg Config) *Process {
	t.Helper()
	p, err := Start(t.Context(), name, cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Lifecycle.Stop)
	return p
}

func fetch(t *testing.T, addr net.Addr, path string) (int, string) {
	t.Helper()
	resp, err := http.Get("http://" + addr.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func count(t *testing.T, p *Process, name string) {
	t.Helper()
	c, err := p.Telemetry.Meter.Int64Counter(name, metric.WithUnit("{line}"), metric.WithDescription("Lines read."))
	if err != nil {
		t.Fatal(err)
	}
	c.Add(t.Context(), 3)
}

func TestMetricsExposition(t *testing.T) {
	p := start(t, "ingest", testConfig())
	count(t, p, "carom.ingest.lines")
	h, err := p.Telemetry.Meter.Float64Histogram("carom.ingest.batch.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	h.Record(t.Context(), 0.004)
	own, err := p.Telemetry.Meter.Int64Histogram("carom.ingest.batch.size", metric.WithUnit("By"), metric.WithExplicitBucketBoundaries(1024))
	if err != nil {
		t.Fatal(err)
	}
	own.Record(t.Context(), 1000)
	status, body := fetch(t, p.Addr(), "/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	for _, want := range []string{
		"# HELP carom_ingest_lines_total Lines read.\n", "\ncarom_ingest_lines_total 3\n",
		`carom_ingest_batch_duration_seconds_bucket{le="0.0025"} 0` + "\n", `carom_ingest_batch_duration_seconds_bucket{le="0.005"} 1` + "\n",
		`carom_ingest_batch_size_bytes_bucket{le="1024"} 1` + "\n",
		`service_name="carom-ingest"`, `service_version="` + Version() + `"`, "\ngo_goroutines ", "\nprocess_resident_memory_bytes ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("exposition lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

// Several services in one process do not see each other's metrics, health or addresses.
func TestProcessesShareNothing(t *testing.T) {
	a, b := start(t, "ingest", testConfig()), start(t, "classify", testConfig())
	count(t, a, "carom.lines")
	a.Health.Condition("assigned").Met()
	if status, _ := fetch(t, a.Addr(), "/readyz"); status != http.StatusOK {
		t.Errorf("a is not ready: %d", status)
	}
	if status, _ := fetch(t, b.Addr(), "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("b is ready: %d", status)
	}
	if _, body := fetch(t, b.Addr(), "/metrics"); strings.Contains(body, "carom_lines") || strings.Contains(body, "carom-ingest") {
		t.Errorf("a's metrics are among b's")
	}
}

func TestProfilesNeedAnAdminAddress(t *testing.T) {
	cfg := testConfig()
	p := start(t, "ingest", cfg)
	if p.AdminAddr() != nil {
		t.Errorf("admin address %v without being asked for", p.AdminAddr())
	}
	cfg.AdminAddr = "127.0.0.1:0"
	q := start(t, "ingest", cfg)
	if status, body := fetch(t, q.AdminAddr(), "/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("profile: %d %.100s", status, body)
	}
	for path, addr := range map[string]net.Addr{"/debug/pprof/": p.Addr(), "/debug/pprof/heap": q.Addr(), "/metrics": q.AdminAddr()} {
		if status, _ := fetch(t, addr, path); status != http.StatusNotFound {
			t.Errorf("%s on the wrong address: %d", path, status)
		}
	}
}

// /readyz says that the end has begun, and /metrics still answers, while the stage stops.
func TestEndpointsOutliveTheStage(t *testing.T) {
	p := start(t, "ingest", testConfig())
	p.Health.Condition("assigned").Met()
	p.Lifecycle.OnStop("stage", func(ctx context.Context) error {
		for {
			status, body := fetch(t, p.Addr(), "/readyz")
			if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
				break
			}
			if ctx.Err() != nil {
				t.Errorf("never saw the end begin: %d %q", status, body)
				break
			}
		}
		if status, _ := fetch(t, p.Addr(), "/metrics"); status != http.StatusOK {
			t.Errorf("metrics while stopping: %d", status)
		}
		return nil
	})
	p.Lifecycle.Stop()
	if err := p.Lifecycle.Wait(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", p.Addr().String()); err == nil {
		conn.Close()
		t.Error("the port is still open after the end")
	}
}

func TestStartReportsATakenPortAndLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := testConfig()
	cfg.AdminAddr = taken.Addr().String()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.HTTPAddr = free.Addr().String()
	free.Close()
	if _, err := Start(t.Context(), "ingest", cfg, quiet); err == nil || !strings.Contains(err.Error(), cfg.AdminAddr) {
		t.Fatalf("error %v does not name %s", err, cfg.AdminAddr)
	}
	again, err := net.Listen("tcp", cfg.HTTPAddr)
	if err != nil {
		t.Fatalf("the other port was not given back: %v", err)
	}
	again.Close()
	cfg.StopTimeout = 0
	if _, err := Start(t.Context(), "ingest", cfg, quiet); ExitCode(err) != ExitUsage {
		t.Errorf("a bad configuration: %v", err)
	}
}

// A client that sends its header slowly, or nothing, does not hold a connection for ever.
func TestServerHasAllTimeouts(t *testing.T) {
	s, err := Listen(t.Context(), "127.0.0.1:0", http.NotFoundHandler(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	for name, d := range map[string]time.Duration{
		"read header": s.server.ReadHeaderTimeout, "read": s.server.ReadTimeout, "write": s.server.WriteTimeout, "idle": s.server.IdleTimeout,
	} {
		if d <= 0 || d > 5*time.Minute {
			t.Errorf("%s timeout is %v", name, d)
		}
	}
}

func TestTraceparentRoundTrip(t *testing.T) {
	const value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ctx := WithTraceparent(t.Context(), value)
	span := trace.SpanContextFromContext(ctx)
	if span.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || span.SpanID().String() != "b7ad6b7169203331" || !span.IsSampled() || !span.IsRemote() {
		t.Errorf("span context %+v", span)
	}
	if got := Traceparent(ctx); got != value {
		t.Errorf("got %s, want %s", got, value)
	}
	for _, bad := range []string{"", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff" + value[2:], value[:len(value)-1], strings.Repeat("x", 1<<20)} {
		if got := Traceparent(WithTraceparent(t.Context(), bad)); got != "" {
			t.Errorf("%.60q became %q", bad, got)
		}
	}
	// A stage that sends no traces passes the context on all the same.
	p := start(t, "classify", testConfig())
	ctx, s := p.Telemetry.Tracer.Start(ctx, "batch")
	defer s.End()
	if got := Traceparent(ctx); got != value {
		t.Errorf("through a service without traces: %s, want %s", got, value)
	}
}

// collector is an OTLP/HTTP collector that counts requests.
type collector struct {
	mu     sync.Mutex
	paths  []string
	bodies string
	status int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.URL.Path)
	c.bodies += string(body)
	w.WriteHeader(c.status)
}

func TestTracesReachTheCollector(t *testing.T) {
	c := &collector{status: http.StatusOK}
	srv := httptest.NewServer(c)
	defer srv.Close()
	cfg := testConfig()
	cfg.Trace = TraceOptions{Endpoint: srv.URL + "/base", SampleRatio: 1}
	p := start(t, "classify", cfg)
	ctx, span := p.Telemetry.Tracer.Start(t.Context(), "batch of lines")
	if value := Traceparent(ctx); !strings.HasSuffix(value, "-01") {
		t.Errorf("traceparent %q is not sampled", value)
	}
	span.End()
	p.Lifecycle.Stop()
	if err := p.Lifecycle.Wait(); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(c.paths) != "[/base/v1/traces]" {
		t.Errorf("requests to %v", c.paths)
	}
	for _, want := range []string{"batch of lines", "carom-classify", Version()} {
		if !strings.Contains(c.bodies, want) {
			t.Errorf("spans lack %q", want)
		}
	}
}

// A collector that refuses is counted, and logged once for the outage, and fails nothing.
func TestRefusedTracesDisturbNothing(t *testing.T) {
	c := &collector{status: http.StatusBadRequest}
	srv := httptest.NewServer(c)
	defer srv.Close()
	p := start(t, "classify", testConfig())
	var log bytes.Buffer
	next, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Shutdown(t.Context())
	failures, err := p.Telemetry.Meter.Int64Counter("carom.trace.export.failures")
	if err != nil {
		t.Fatal(err)
	}
	e := &spanExporter{next: next, log: NewLogger(&log, LogOptions{}), failures: failures}
	spans := tracetest.SpanStubs{{Name: "batch"}}.Snapshots()
	for _, status := range []int{400, 400, 400, 200, 200} {
		c.status = status
		if err := e.ExportSpans(t.Context(), spans); err != nil {
			t.Errorf("status %d: %v", status, err)
		}
	}
	if _, metrics := fetch(t, p.Addr(), "/metrics"); !strings.Contains(metrics, "\ncarom_trace_export_failures_total 3\n") {
		t.Errorf("failures are not counted:\n%s", metrics)
	}
	for _, msg := range []string{"traces are not delivered", "traces are delivered again"} {
		if n := strings.Count(log.String(), msg); n != 1 {
			t.Errorf("%q logged %d times:\n%s", msg, n, &log)
		}
	}
}

func TestVersionOfABuild(t *testing.T) {
	info := func(version string, settings ...string) *debug.BuildInfo {
		bi := &debug.BuildInfo{Main: debug.Module{Version: version}}
		for i := 0; i < len(settings); i += 2 {
			bi.Settings = append(bi.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return bi
	}
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for want, bi := range map[string]*debug.BuildInfo{
		"v1.2.3":                   info("v1.2.3", "vcs.revision", revision),
		"devel":                    info("(devel)"),
		"devel-0123456789ab":       info("(devel)", "vcs.revision", revision, "vcs.modified", "false"),
		"devel-0123456789ab+dirty": info("", "vcs.revision", revision, "vcs.modified", "true"),
	} {
		if got := versionOf(bi); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
