package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// parentVariable makes the test binary a parent of its own, to be killed by the test.
const parentVariable = "CAROM_TEST_PARENT"

// runParent starts a server as the environment says, prints its process id and DSN, and stays.
func runParent() {
	embedded.MaybeRunChild()
	server, err := embedded.StartClickHouse(context.Background(), embedded.Options{
		Dir: os.Getenv("CAROM_TEST_DIR"), LibPath: os.Getenv("CAROM_TEST_LIB"),
	})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(server.PID(), server.DSN())
	select {}
}

// migrated opens and migrates the server's own database.
func migrated(t *testing.T, server *embedded.ClickHouse) *warehouse.DB {
	t.Helper()
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: server.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestRestartOnTheSameDirectoryKeepsRows(t *testing.T) {
	server, options := embeddedtest.RequireServer(t)
	db := migrated(t, server)
	cell := &schema.Cell{Minute: 28_000_000, Provider: "apple", Outcome: schema.Outcome_DELIVERED, Events: 7}
	if err := db.InsertCells(t.Context(), 0, []warehouse.CellRow{{Cell: cell, Version: 1}}); err != nil {
		t.Fatal(err)
	}
	first := server.DSN()
	db.Close()
	embeddedtest.Stop(t, server)
	if err := server.Err(); err != nil {
		t.Errorf("a stop that was asked for is no error, got %v", err)
	}

	again, err := embedded.StartClickHouse(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer embeddedtest.Stop(t, again)
	if again.DSN() == first {
		t.Error("the password is the one of the last start")
	}
	db = migrated(t, again)
	defer db.Close()
	totals, err := db.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(totals) != 1 || totals[0].Events != 7 {
		t.Errorf("after the restart: %+v", totals)
	}
}

func TestSecondProcessOnADirectoryIsRefused(t *testing.T) {
	server, options := embeddedtest.RequireServer(t)
	_, err := embedded.StartClickHouse(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "is in use by process "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("second start: %v", err)
	}
	// The attempt must not have changed the running server's password.
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: server.DSN()})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
}

func TestTakenPortIsRefused(t *testing.T) {
	_, options := embeddedtest.RequireServer(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	options.Dir = t.TempDir()
	options.NativePort = ln.Addr().(*net.TCPAddr).Port
	_, err = embedded.StartClickHouse(t.Context(), options)
	if err == nil || !strings.Contains(err.Error(), "port in use: 127.0.0.1:"+strconv.Itoa(options.NativePort)) {
		t.Fatalf("got %v", err)
	}
	// The refusal leaves the directory free.
	options.NativePort = 0
	server, err := embedded.StartClickHouse(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	embeddedtest.Stop(t, server)
}

func TestConfigurationIsReadableByTheOwnerOnly(t *testing.T) {
	_, options := embeddedtest.RequireServer(t)
	for _, name := range []string{"config.xml", "users.xml"} {
		info, err := os.Stat(filepath.Join(options.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// The inner session needs a user without a password. Everybody on the machine can use it, so it must reach nothing.
func TestDefaultUserReadsNoTable(t *testing.T) {
	server, _ := embeddedtest.RequireServer(t)
	db := migrated(t, server)
	defer db.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, q := range []string{"SELECT count() FROM carom.outcomes_1m", "SYSTEM SHUTDOWN", "DROP DATABASE carom"} {
		resp, err := client.Post("http://"+server.HTTPAddr()+"/", "text/plain", strings.NewReader(q))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("default ran %s", q)
		}
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// A DSN without a database that exists must not reach the native handshake, which would end the server.
func TestMissingDatabaseIsHarmless(t *testing.T) {
	server, _ := embeddedtest.RequireServer(t)
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: server.DSNFor("nowhere")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Totals(t.Context()); !errors.Is(err, warehouse.ErrNoDatabase) {
		t.Errorf("query: %v", err)
	}
	migrated(t, server).Close()
}

// A client that dies resets its connections, in the middle of the handshake too.
func TestKilledClientsAreHarmless(t *testing.T) {
	server, _ := embeddedtest.RequireServer(t)
	db := migrated(t, server)
	defer db.Close()
	u, err := url.Parse(server.DSN())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	hello := []byte("\x00\x04test\x01\x00\xd0\xa9\x03\x00\x05carom" + string(rune(len(password))) + password)
	for i := range 40 {
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conn.Write(hello)
		if i%2 == 0 {
			conn.Read(make([]byte, 4096))
		}
		conn.(*net.TCPConn).SetLinger(0) // Close sends a reset
		conn.Close()
	}
	for i := range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		if db, err := warehouse.Open(ctx, warehouse.Config{DSN: server.DSN()}); err == nil {
			db.Close()
		}
		cancel()
	}
	// An abort takes the server seconds; an open connection sees the end at once.
	select {
	case <-server.Done():
		t.Fatal(server.Err())
	case <-time.After(time.Second):
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStopDoesNotWaitForClients(t *testing.T) {
	server, _ := embeddedtest.RequireServer(t)
	db := migrated(t, server)
	defer db.Close()
	start := time.Now()
	embeddedtest.Stop(t, server)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	if err := db.Ping(t.Context()); err == nil {
		t.Error("answers after the stop")
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	server, _ := embeddedtest.RequireServer(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+server.HTTPAddr()+"/", strings.NewReader("SELECT 1"))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("carom", "guess")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %s", resp.Status)
	}
}

func TestUnaskedEndIsLoud(t *testing.T) {
	_, options := embeddedtest.RequireServer(t)
	var log strings.Builder
	options.Dir = t.TempDir()
	options.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))
	server, err := embedded.StartClickHouse(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-server.Done()
	if err := server.Err(); err == nil || !strings.Contains(err.Error(), "ended unasked (signal: killed)") {
		t.Errorf("Err: %v", err)
	}
	if !strings.Contains(log.String(), "clickhouse ended unasked") {
		t.Errorf("log: %q", log.String())
	}
	if err := server.Stop(t.Context()); err == nil {
		t.Error("Stop hides the unasked end")
	}
}

// A parent that is killed can tell nobody: the child has to notice by itself, with a client connected too, and the next
// start on the directory waits for it.
func TestKilledParentLeavesNoOrphan(t *testing.T) {
	_, options := embeddedtest.RequireServer(t)
	options.Dir = t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(exe)
	parent.Env = append(os.Environ(), parentVariable+"=1", "CAROM_TEST_DIR="+options.Dir, "CAROM_TEST_LIB="+options.LibPath)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	first, dsn, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatalf("the parent said %q", line)
	}
	t.Cleanup(func() { // of a failed test
		if !gone(pid, 0) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	// With a client connected the server takes seconds to end.
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // reports the kill

	server, err := embedded.StartClickHouse(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer embeddedtest.Stop(t, server)
	if !gone(pid, 10*time.Second) {
		t.Fatalf("server %d outlived its parent", pid)
	}
}

// gone waits for a process that is not a child of this one.
func gone(pid int, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(status), ") Z ") {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
