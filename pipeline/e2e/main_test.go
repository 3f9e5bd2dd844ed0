package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/local"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// childVariable makes the test binary run one system over one input, as carom dev does, so that it can be killed.
const childVariable = "CAROM_E2E_CHILD"

func TestMain(m *testing.M) {
	embedded.MaybeRunChild()
	if spec := os.Getenv(childVariable); spec != "" {
		if err := child(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(embeddedtest.Main(m))
}

// outcome is what two runs over the same input have to agree on. Offsets, and what is derived from them, may differ: an
// interrupted import sends its last step twice.
type outcome struct {
	Totals     []warehouse.Total
	Failures   int64
	Recipients []string // key, scope, state, class: the last decision of each
}

// child imports the log, waits until all of it has arrived, and writes the outcome.
func child(spec string) error {
	dir, input, _ := strings.Cut(spec, "\n")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	s, err := local.Start(ctx, config(dir), quiet(), os.Stderr)
	if err != nil {
		return err
	}
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if _, err := s.Import(ctx, input, func(int64) {}); err != nil {
		return err
	}
	if err := s.Drain(ctx, time.Time{}); err != nil {
		return err
	}
	o, err := result(ctx, s)
	if err != nil {
		return err
	}
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return errors.Join(s.Stop(), os.WriteFile(filepath.Join(dir, "outcome.json"), b, 0o600))
}

func config(dir string) local.Config {
	cfg := local.DefaultConfig(dir)
	cfg.ClickHouseDSN = databaseOf(dir)
	cfg.Services.Ingest.SnapshotEvery = time.Second
	cfg.Services.Back.Aggregate.SnapshotEvery = time.Second
	return cfg
}

// databaseOf names a database of its own for a directory on the server of the environment; without one it is empty, and
// the engine is the embedded one.
func databaseOf(dir string) string {
	u, err := url.Parse(os.Getenv(embeddedtest.DSNVariable))
	if err != nil || u.Host == "" {
		return ""
	}
	u.Path = fmt.Sprintf("/test_%08x", crc32.ChecksumIEEE([]byte(dir)))
	return u.String()
}

func quiet() *slog.Logger {
	return service.NewLogger(os.Stderr, service.LogOptions{Format: service.LogFormatText, Level: slog.LevelError})
}

func result(ctx context.Context, s *local.System) (outcome, error) {
	totals, err := s.DB.Totals(ctx)
	if err != nil {
		return outcome{}, err
	}
	counts, err := s.DB.Counts(ctx)
	if err != nil {
		return outcome{}, err
	}
	last, err := s.Decisions(ctx)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{Totals: totals, Failures: counts.Failures}
	for key, d := range last {
		o.Recipients = append(o.Recipients, fmt.Sprintf("%q %s %s", key, d.State.Name(), d.Class))
	}
	slices.Sort(o.Recipients)
	return o, nil
}

// requireClickHouse skips, or fails in CI, where the embedded engine cannot be had.
func requireClickHouse(t *testing.T) {
	t.Helper()
	if os.Getenv(embeddedtest.DSNVariable) != "" {
		return
	}
	cache, err := embedded.CacheDir()
	if err == nil {
		_, err = embedded.FetchClickHouse(t.Context(), cache, os.Stderr)
	}
	if err != nil && os.Getenv("CI") != "" {
		t.Fatalf("no ClickHouse: %v", err)
	}
	if err != nil {
		t.Skipf("no ClickHouse: %v", err)
	}
}

// writeLog makes up a log, gzipped, and returns its name and the truth about it.
func writeLog(t *testing.T, cfg traffic.Config) (string, traffic.Truth) {
	t.Helper()
	g, err := traffic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "mail.log.gz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := bufio.NewWriter(z)
	for _, lines, ok := g.Next(); ok; _, lines, ok = g.Next() {
		for _, l := range lines {
			fmt.Fprintln(w, l.Text)
		}
	}
	if err := errors.Join(w.Flush(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return name, g.Truth()
}

func eventCount(o outcome, outcomes ...schema.Outcome) int64 {
	n := int64(0)
	for _, t := range o.Totals {
		if len(outcomes) == 0 || slices.Contains(outcomes, t.Outcome) {
			n += t.Events
		}
	}
	return n
}
