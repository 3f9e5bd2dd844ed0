package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"carom.dev/carom/pipeline/warehouse"
)

const (
	serviceUser  = "carom"
	lockName     = "carom.lock"
	portAttempts = 3
	startTimeout = time.Minute
	killTimeout  = 5 * time.Second
)

// Options say where and how ClickHouse runs.
type Options struct {
	Dir        string       // data, configuration and lock; made when missing
	LibPath    string       // libchdb.so, as FetchClickHouse returned it
	HTTPPort   int          // 0 picks a free one
	NativePort int          // 0 picks a free one
	Logger     *slog.Logger // nil discards; an end that nobody asked for is logged as an error
}

// ClickHouse is a running server. Its methods are safe for concurrent use.
type ClickHouse struct {
	cmd      *exec.Cmd
	stdin    io.Closer
	lock     *os.File
	log      *slog.Logger
	words    *tail
	password string
	http     string
	front    *relay

	stopping atomic.Bool // the end was asked for
	killed   atomic.Bool // and by a signal
	done     chan struct{}
	err      error // written before done is closed
}

// StartClickHouse starts the server on 127.0.0.1 and returns when it answers queries on both ports as the service user.
// The password of that user is made anew at every start. Cancelling ctx ends the start, not a server that has started.
//
// A directory that another process works on, and a port that is taken, are errors. A server whose own parent has just
// died is given the seconds that it needs to end.
func StartClickHouse(ctx context.Context, o Options) (*ClickHouse, error) {
	if o.Dir == "" || o.LibPath == "" {
		return nil, errors.New("start clickhouse: directory and library path are needed")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("start clickhouse: %w", err)
	}
	o.Dir = dir
	if err := os.MkdirAll(filepath.Join(o.Dir, "data"), 0o700); err != nil {
		return nil, fmt.Errorf("start clickhouse: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errors.New("not ready in time"))
	defer cancel()
	// The lock comes before the files: a running server would read its users from the new ones.
	lock, err := waitLock(ctx, o.Dir, lockName, (*lockedError).ownerGone)
	if err != nil {
		return nil, fmt.Errorf("start clickhouse: %w", err)
	}
	for attempt := 1; ; attempt++ {
		c, err := startOnce(ctx, o, lock)
		if err == nil {
			return c, nil
		}
		// A port that was picked may be taken by somebody else before the server listens on it.
		if errors.Is(err, errPortTaken) && attempt < portAttempts {
			continue
		}
		lock.Close()
		return nil, fmt.Errorf("start clickhouse in %s: %w", o.Dir, err)
	}
}

var errPortTaken = errors.New("port in use")

func startOnce(ctx context.Context, o Options, lock *os.File) (*ClickHouse, error) {
	httpPort, err := listenablePort(o.HTTPPort)
	if err != nil {
		return nil, err
	}
	front, err := newRelay(net.JoinHostPort("127.0.0.1", strconv.Itoa(o.NativePort)))
	if err != nil {
		return nil, err
	}
	c, err := startBehind(ctx, o, lock, httpPort, front)
	if err != nil {
		front.close()
		return nil, err
	}
	return c, nil
}

// startBehind starts the server behind the relay, which clients use as its native port.
func startBehind(ctx context.Context, o Options, lock *os.File, httpPort int, front *relay) (*ClickHouse, error) {
	nativePort, err := listenablePort(0)
	if err != nil {
		return nil, err
	}
	front.target = net.JoinHostPort("127.0.0.1", strconv.Itoa(nativePort))
	password := rand.Text()
	config, err := writeConfig(o.Dir, password)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own binary: %w", err)
	}
	c := &ClickHouse{
		lock:     lock,
		log:      o.Logger.With("component", "clickhouse", "dir", o.Dir),
		words:    &tail{log: o.Logger.With("component", "clickhouse")},
		password: password,
		http:     net.JoinHostPort("127.0.0.1", strconv.Itoa(httpPort)),
		front:    front,
		done:     make(chan struct{}),
	}
	// The query never ends before its standard input does, and the server lives as long as its query.
	c.cmd = exec.Command(exe, childWord, o.LibPath,
		"--config-file="+config, "--path="+filepath.Join(o.Dir, "data"),
		"--http_port="+strconv.Itoa(httpPort), "--tcp_port="+strconv.Itoa(nativePort), "--listen_host=127.0.0.1",
		"--query", "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; SELECT count() FROM file('/dev/stdin','TSV','x String') FORMAT Null")
	c.cmd.Dir = o.Dir
	c.cmd.Env = append(os.Environ(), "TZ=UTC")
	c.cmd.Stderr = c.words
	// The child keeps the lock too: if this process is killed, the directory stays taken until the child has ended.
	c.cmd.ExtraFiles = []*os.File{lock}
	// Ctrl-C goes to the whole process group and would end the server on the spot. Pdeathsig is no alternative to the
	// pipe: it fires when the thread that forked ends (golang.org/issue/27505).
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make standard input: %w", err)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", exe, err)
	}
	ready := make(chan struct{})
	go c.watch(ready)
	go front.serve()
	if err := c.awaitReady(ctx); err != nil {
		c.stopping.Store(true)
		c.stdin.Close()
		c.kill()
		return nil, err
	}
	close(ready)
	return c, nil
}

// watch records how the child ended. Until ready is closed a failure belongs to the start, which reports it.
func (c *ClickHouse) watch(ready <-chan struct{}) {
	defer close(c.done)
	err := c.cmd.Wait()
	c.front.close()
	c.front.wait()
	if c.stopping.Load() {
		// A crash on the way out loses nothing that was answered, but somebody should know.
		if err != nil && !c.killed.Load() {
			c.err = fmt.Errorf("clickhouse crashed while stopping (%w): %s", err, c.words.last())
		}
		return
	}
	state := "exit status 0"
	if err != nil {
		state = err.Error()
	}
	c.err = fmt.Errorf("clickhouse ended unasked (%s): %s", state, c.words.last())
	if strings.Contains(c.words.last(), "Code: 210.") {
		c.err = fmt.Errorf("%w: %w", errPortTaken, c.err)
	}
	select {
	case <-ready:
		c.log.Error("clickhouse ended unasked", "state", state, "words", c.words.last())
	default:
	}
}

// awaitReady waits until both ports answer. Another server may answer /ping on a port that was taken: only the native
// login with this start's password proves that the server is ours.
func (c *ClickHouse) awaitReady(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	var last error
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if last = c.probe(ctx, client); last == nil {
			return nil
		}
		select {
		case <-c.done:
			return c.err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w: %s", context.Cause(ctx), last, c.words.last())
		case <-time.After(wait):
		}
	}
}

func (c *ClickHouse) probe(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http+"/ping", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ping: %s", resp.Status)
	}
	db, err := warehouse.Open(ctx, warehouse.Config{DSN: c.DSNFor("default")})
	if err != nil {
		return err
	}
	return db.Close()
}

// Stop cuts off the clients, closes the server's standard input and waits for its end, a fraction of a second. When ctx
// ends before, the server is killed. Stopping twice is harmless.
func (c *ClickHouse) Stop(ctx context.Context) error {
	defer c.lock.Close()
	if !c.stopping.Swap(true) {
		c.front.close()
		c.stdin.Close()
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("stop clickhouse: killed: %w", context.Cause(ctx))
	}
}

// Kill ends the server as a crash would (SIGKILL) and waits for its end. Tests of recovery use it.
func (c *ClickHouse) Kill() {
	c.stopping.Store(true)
	c.stdin.Close()
	c.kill()
	c.lock.Close()
}

func (c *ClickHouse) kill() {
	c.killed.Store(true)
	// Errors mean that it has ended already.
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	select {
	case <-c.done:
	case <-time.After(killTimeout): // in an uninterruptible system call; nothing more can be done
	}
}

// Done is closed when the server has ended, for whatever reason.
func (c *ClickHouse) Done() <-chan struct{} { return c.done }

// Err tells how the server ended: nil while it runs and after Stop or Kill, an error with its last words otherwise.
func (c *ClickHouse) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// DSN is the address for warehouse.Config, database "carom", with the password of this start.
func (c *ClickHouse) DSN() string { return c.DSNFor("carom") }

// DSNFor is DSN with another database. The database need not exist: warehouse.DB.Migrate makes it.
func (c *ClickHouse) DSNFor(database string) string {
	u := url.URL{Scheme: "clickhouse", User: url.UserPassword(serviceUser, c.password), Host: c.front.ln.Addr().String(), Path: "/" + database}
	return u.String()
}

// HTTPAddr is host:port of the HTTP interface, which also serves /play.
func (c *ClickHouse) HTTPAddr() string { return c.http }

// PID is the process id of the server.
func (c *ClickHouse) PID() int { return c.cmd.Process.Pid }

// listenablePort returns port, or a free one for 0, after listening on it for a moment.
func listenablePort(port int) (int, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return 0, fmt.Errorf("%w: 127.0.0.1:%d: %w", errPortTaken, port, err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}
