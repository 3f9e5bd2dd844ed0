package intake

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/schema"
)

const partitions = 4

// rig is a broker that can go away and come back, with doors on it.
type rig struct {
	t       *testing.T
	dir     string
	addr    string
	port    int
	broker  *embedded.Broker
	client  *broker.Client
	process *service.Process
	doors   *Doors
	log     *syncBuffer
}

// syncBuffer is what was logged.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), log: &syncBuffer{}}
	r.back()
	cfg := broker.DefaultConfig()
	cfg.Brokers = r.addr
	var err error
	if r.client, err = broker.Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	if err := r.client.EnsureTopics(t.Context(), []broker.Topic{{Name: schema.TopicRaw, Partitions: partitions}}); err != nil {
		t.Fatal(err)
	}
	return r
}

// away stops the broker.
func (r *rig) away() { r.broker.Close() }

// back starts it again, on the same port and log.
func (r *rig) back() {
	r.t.Helper()
	var err error
	for range 50 { // the port may still be on its way out
		if r.broker, err = embedded.StartBroker(embedded.BrokerOptions{Dir: r.dir, Port: r.port}); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.broker.Close)
	r.addr = r.broker.Addr()
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.port, err = strconv.Atoi(port); err != nil {
		r.t.Fatal(err)
	}
}

const (
	testToken    = "token-of-sixteen-bytes-or-more"
	testPassword = "password-of-sixteen-bytes"
)

// testConfig has an HTTP door with an endpoint of each format that asks for a token or a password.
func testConfig() Config {
	c := DefaultConfig()
	c.HTTP.Addr = "127.0.0.1:0"
	for _, f := range feed.Formats() {
		c.Endpoints = append(c.Endpoints, Endpoint{
			Name: f + "-1", Format: f, Bearer: [][]byte{[]byte("another-token-of-sixteen-bytes"), []byte(testToken)},
			Basic: []BasicAuth{{User: "carom", Password: []byte(testPassword)}},
		})
	}
	return c
}

// open opens the doors in a process of their own, which stop ends.
func (r *rig) open(cfg Config) {
	r.t.Helper()
	shell := service.DefaultConfig()
	shell.HTTPAddr, shell.StopTimeout = "127.0.0.1:0", 20*time.Second
	log := slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p, err := service.Start(context.Background(), "intake", shell, log)
	if err != nil {
		r.t.Fatal(err)
	}
	r.process = p
	stopped := false
	r.t.Cleanup(func() {
		if !stopped && r.process == p {
			r.stop()
		}
	})
	if r.doors, err = Open(p, cfg, r.client); err != nil {
		r.t.Fatal(err)
	}
}

// stop ends the process in an orderly way.
func (r *rig) stop() {
	r.t.Helper()
	p := r.process
	r.process = nil
	p.Lifecycle.Stop()
	if err := p.Lifecycle.Wait(); err != nil {
		r.t.Errorf("stop: %v", err)
	}
}

// records returns what stands in the topic, partition by partition.
func (r *rig) records() []broker.Record {
	r.t.Helper()
	var all []broker.Record
	for p := range int32(partitions) {
		_, end, err := r.client.Offsets(r.t.Context(), schema.TopicRaw, p)
		if err != nil {
			r.t.Fatal(err)
		}
		reader := r.client.NewReader(schema.TopicRaw, p, 0)
		for next := int64(0); next < end; {
			records, _, err := reader.Fetch(r.t.Context(), time.Second)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, rec := range records {
				if want := broker.PartitionOf(rec.Key, partitions); want != p {
					r.t.Errorf("key %s in partition %d, want %d", rec.Key, p, want)
				}
				next = rec.Offset + 1
				rec.Key, rec.Value = bytes.Clone(rec.Key), bytes.Clone(rec.Value)
				for i := range rec.Headers {
					rec.Headers[i].Value = bytes.Clone(rec.Headers[i].Value)
				}
				all = append(all, rec)
			}
		}
	}
	return all
}

// values returns the values of all records, sorted.
func (r *rig) values() []string {
	r.t.Helper()
	var out []string
	for _, rec := range r.records() {
		out = append(out, string(rec.Value))
	}
	slices.Sort(out)
	return out
}

// want compares the values of all records with those that are wanted, in any order.
func (r *rig) want(values ...string) {
	r.t.Helper()
	slices.Sort(values)
	if got := r.values(); !slices.Equal(got, values) {
		r.t.Errorf("in the log: %s\nwant %s", brief(got), brief(values))
	}
}

func brief(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("%d:%.40q", len(v), v)
	}
	return strings.Join(out, " ")
}

// headers returns a record's headers as text.
func headers(rec broker.Record) string {
	var out []string
	for _, h := range rec.Headers {
		out = append(out, fmt.Sprintf("%s=%s", h.Key, h.Value))
	}
	return strings.Join(out, " ")
}

// count sums a counter, or the values of a gauge, over the series that have all of the labels, each written name=value.
func (r *rig) count(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.process.Telemetry.Registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetName()+"="+l.GetValue()] = true
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// reply is an answer of the HTTP door.
type reply struct {
	status int
	header http.Header
	text   string // of the error
	count  int    // of the records
}

func (r *rig) url(name string) string {
	return "http://" + r.doors.HTTPAddr().String() + "/v1/feeds/" + name
}

// post sends a body with the token.
func (r *rig) post(name string, body []byte) reply {
	r.t.Helper()
	return r.do(r.request(name, body, "Authorization", "Bearer "+testToken))
}

func (r *rig) request(name string, body []byte, headers ...string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.url(name), bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (r *rig) do(req *http.Request) reply {
	r.t.Helper()
	a, err := send(http.DefaultClient, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func send(c *http.Client, req *http.Request) (reply, error) {
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	var said struct {
		Error   string
		Records int
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return reply{}, fmt.Errorf("%q: %w", text, err)
	}
	if resp.Header.Get("Content-Type") != "application/json" || (said.Error == "") != (resp.StatusCode == http.StatusOK) {
		return reply{}, fmt.Errorf("status %d, type %s: %s", resp.StatusCode, resp.Header.Get("Content-Type"), text)
	}
	return reply{resp.StatusCode, resp.Header, said.Error, said.Records}, nil
}

// byOffset sorts records of one partition.
func byOffset(records []broker.Record) []broker.Record {
	slices.SortFunc(records, func(a, b broker.Record) int { return cmp.Compare(a.Offset, b.Offset) })
	return records
}
