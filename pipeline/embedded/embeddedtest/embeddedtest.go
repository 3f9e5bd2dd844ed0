// Package embeddedtest gives tests a real ClickHouse and a real broker. A test binary that uses ClickHouse calls Main from
// its TestMain; the server is then started once, by the first test that asks, and every test has a database of its own.
//
// Where ClickHouse cannot be had the test is skipped with the reason, and fails where the environment says CI=true: a
// green run there must have run everything.
package embeddedtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/warehouse"
)

// DSNVariable names a running server to use instead of the embedded one.
const DSNVariable = "CAROM_CLICKHOUSE_DSN"

const (
	fetchTimeout = 5 * time.Minute
	stopTimeout  = 10 * time.Second
)

// shared is the one server of this test binary.
var shared struct {
	sync.Mutex
	started bool
	server  *embedded.ClickHouse
	dir     string
	err     error
}

// Main runs the tests and stops the shared server afterwards. It is the whole of a TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }
func Main(m *testing.M) int {
	embedded.MaybeRunChild()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := shared.server.Stop(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	return code
}

// RequireClickHouse returns the DSN of a database that does not exist yet and is dropped after the test. Concurrent
// tests may call it.
func RequireClickHouse(t testing.TB) (dsn string) {
	t.Helper()
	database := "test_" + strings.ToLower(rand.Text())
	dsn, err := withDatabase(os.Getenv(DSNVariable), database)
	if err != nil {
		t.Fatalf("%s: %v", DSNVariable, err)
	}
	if dsn == "" {
		shared.Lock()
		defer shared.Unlock()
		if !shared.started {
			shared.started = true
			shared.server, shared.dir, shared.err = start()
		}
		if shared.err != nil {
			absent(t, shared.err)
		}
		if err := shared.server.Err(); err != nil {
			t.Fatalf("shared server: %v", err)
		}
		dsn = shared.server.DSNFor(database)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := warehouse.DropTestDatabase(ctx, warehouse.Config{DSN: dsn}); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return dsn
}

// RequireServer starts a server for one test, which may kill and restart it. Start it again on the same directory with
// embedded.StartClickHouse and the options returned.
func RequireServer(t testing.TB) (*embedded.ClickHouse, embedded.Options) {
	t.Helper()
	lib, err := library()
	if err != nil {
		absent(t, err)
	}
	o := embedded.Options{Dir: t.TempDir(), LibPath: lib}
	server, err := embedded.StartClickHouse(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Stop(t, server) })
	return server, o
}

// Stop stops a server and reports an error to the test. Stopping one that was killed is harmless.
func Stop(t testing.TB, server *embedded.ClickHouse) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// Broker starts a broker on a free port, stopped after the test.
func Broker(t testing.TB, topics ...embedded.Topic) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir(), Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// absent ends the test: skipped when ClickHouse cannot be had here, failed where CI=true and when it could be had but did
// not start.
func absent(t testing.TB, why error) {
	t.Helper()
	if os.Getenv("CI") == "true" || !errors.Is(why, embedded.ErrNoClickHouse) {
		t.Fatalf("needs ClickHouse: %v", why)
	}
	t.Skipf("needs ClickHouse: %v", why)
}

func library() (string, error) {
	dir, err := embedded.CacheDir()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	return embedded.FetchClickHouse(ctx, dir, os.Stderr)
}

func start() (server *embedded.ClickHouse, dir string, err error) {
	lib, err := library()
	if err != nil {
		return nil, "", err
	}
	if dir, err = os.MkdirTemp("", "carom-clickhouse-"); err != nil {
		return nil, "", err
	}
	server, err = embedded.StartClickHouse(context.Background(), embedded.Options{Dir: dir, LibPath: lib})
	return server, dir, err
}

// withDatabase replaces the database of a DSN; an empty DSN stays empty.
func withDatabase(dsn, database string) (string, error) {
	if dsn == "" {
		return "", nil
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("not a URL") // the error would repeat the password
	}
	u.Path = "/" + database
	return u.String(), nil
}
