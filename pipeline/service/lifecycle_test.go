package service

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// journal records what happened, in order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	if !reflect.DeepEqual(j.lines, want) {
		t.Errorf("got  %q\nwant %q", j.lines, want)
	}
}

// worker runs until its context ends, then takes a second to finish its batch.
func (j *journal) worker(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		j.add(name + " asked")
		time.Sleep(time.Second)
		j.add(name + " done")
		return ctx.Err()
	}
}

func (j *journal) stop(name string, err error) func(context.Context) error {
	return func(context.Context) error {
		j.add(name)
		return err
	}
}

// What was started last stops first, and nothing is asked to stop before its successor has finished.
func TestStopRunsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		ctx, cancel := context.WithCancel(t.Context())
		l := NewLifecycle(ctx, quiet, time.Minute)
		l.OnStop("http", j.stop("http", nil))
		l.Go("writer", j.worker("writer"))
		l.OnStop("client", j.stop("client", nil))
		l.Go("fetcher", j.worker("fetcher"))
		cancel()
		if err := l.Wait(); err != nil {
			t.Errorf("a clean end: %v", err)
		}
		j.expect(t, "fetcher asked", "fetcher done", "client", "writer asked", "writer done", "http")
	})
}

func TestFirstFailureEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		broken := errors.New("broken")
		l := NewLifecycle(t.Context(), quiet, time.Minute)
		l.Go("worker", j.worker("worker"))
		l.Go("failing", func(context.Context) error {
			time.Sleep(time.Hour)
			return broken
		})
		start := time.Now()
		err := l.Wait()
		if !errors.Is(err, broken) || err.Error() != "failing: broken" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != time.Hour+time.Second {
			t.Errorf("ended after %v", took)
		}
		j.expect(t, "worker asked", "worker done")
	})
}

// The context for starting ends at once, so that a long start is interrupted; what runs is not disturbed by it.
func TestContextEndsBeforeAnythingStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		l := NewLifecycle(t.Context(), quiet, time.Minute)
		l.Go("worker", j.worker("worker"))
		l.Stop()
		<-l.Context().Done()
		synctest.Wait()
		j.expect(t)
		if err := l.Wait(); err != nil {
			t.Error(err)
		}
		j.expect(t, "worker asked", "worker done")
	})
}

func TestStopErrorsAreAllReportedAndStopNothing(t *testing.T) {
	var j journal
	a, b, start := errors.New("a broke"), errors.New("b broke"), errors.New("no such topic")
	l := NewLifecycle(t.Context(), quiet, time.Minute)
	l.OnStop("a", j.stop("a", a))
	l.OnStop("ok", j.stop("ok", nil))
	l.OnStop("b", j.stop("b", b))
	l.Fail(start)
	err := l.Wait()
	for _, want := range []error{a, b, start} {
		if !errors.Is(err, want) {
			t.Errorf("error %v lacks %v", err, want)
		}
	}
	j.expect(t, "b", "ok", "a")
}

// The end is bounded even if a stop ignores its context; what comes after it is not run at all, since running it out of
// order would be worse than a crash.
func TestStopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var log bytes.Buffer
		release := make(chan struct{})
		defer close(release)
		broken := errors.New("broken")
		l := NewLifecycle(t.Context(), NewLogger(&log, LogOptions{}), 25*time.Second)
		l.OnStop("http", j.stop("http", nil))
		l.OnStop("stuck", func(context.Context) error { <-release; return nil })
		l.Go("worker", j.worker("worker"))
		l.Fail(broken)
		start := time.Now()
		err := l.Wait()
		if took := time.Since(start); took != 25*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil || !strings.Contains(err.Error(), "stop stuck: not done within 25s, left running: [http]") || !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		if !strings.Contains(log.String(), "stop took too long") {
			t.Errorf("log: %s", &log)
		}
		j.expect(t, "worker asked", "worker done")
	})
}

func TestGoroutineThatIgnoresItsContextIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		l := NewLifecycle(t.Context(), quiet, time.Second)
		l.Go("deaf", func(context.Context) error { <-release; return nil })
		l.Stop()
		if err := l.Wait(); err == nil || !strings.Contains(err.Error(), "stop deaf") {
			t.Errorf("error %v", err)
		}
	})
}

// An error while finishing the last batch is a failure of the whole, though the end had begun without one.
func TestErrorOfTheLastBatchIsReported(t *testing.T) {
	lost := errors.New("commit refused")
	l := NewLifecycle(t.Context(), quiet, time.Minute)
	l.Go("worker", func(ctx context.Context) error { <-ctx.Done(); return lost })
	l.Stop()
	if err := l.Wait(); !errors.Is(err, lost) || strings.Count(err.Error(), "refused") != 1 {
		t.Errorf("error %v", err)
	}
}

func TestGoroutineThatIsDoneLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLifecycle(t.Context(), quiet, time.Minute)
		for range 100 {
			l.Go("job", func(context.Context) error { return nil })
		}
		synctest.Wait()
		if left := l.names(); len(left) != 0 {
			t.Errorf("%d steps left", len(left))
		}
		if l.Context().Err() != nil {
			t.Error("a goroutine that is done began the end")
		}
		l.Stop()
		if err := l.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopsAreLoggedWithTheirDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var j journal
		l := NewLifecycle(t.Context(), NewLogger(&log, LogOptions{Format: LogFormatText}), time.Minute)
		l.Go("writer", j.worker("writer"))
		l.OnStop("client", j.stop("client", errors.New("gone")))
		l.Stop()
		if err := l.Wait(); err == nil {
			t.Error("the error of the stop is lost")
		}
		for _, want := range []string{
			`msg=stopping cause="stop called" bound=1m0s`, `msg="stopped with an error" name=client took=0s err="stop client: gone"`,
			"msg=stopped name=writer took=1s", `msg="all stopped" took=1s`,
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("log lacks %s:\n%s", want, &log)
			}
		}
	})
}

const childEnv = "SERVICE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "stuck":
		os.Exit(child(func(context.Context) error { select {} }))
	case "clean":
		os.Exit(child(func(context.Context) error { return nil }))
	}
}

// child is a service that waits for a signal and then stops.
func child(stop func(context.Context) error) int {
	log := NewLogger(os.Stderr, LogOptions{Format: LogFormatText})
	ctx, cancel := SignalContext(context.Background(), log)
	defer cancel()
	cfg := DefaultConfig()
	cfg.HTTPAddr = "127.0.0.1:0"
	cfg.StopTimeout = 10 * time.Minute
	p, err := Start(ctx, "child", cfg, log)
	if err != nil {
		return Exit(os.Stderr, "child", err)
	}
	p.Lifecycle.OnStop("work", func(ctx context.Context) error {
		fmt.Println("stopping")
		return stop(ctx)
	})
	fmt.Println("started")
	return Exit(os.Stderr, "child", p.Lifecycle.Wait())
}

// startChild runs this test binary as a service; line waits for the next line of its output.
func startChild(t *testing.T, mode string) (cmd *exec.Cmd, line func() string, log *bytes.Buffer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	cmd = exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	log = new(bytes.Buffer)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	return cmd, func() string {
		text, err := r.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}, log
}

func TestSignalEndsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd, line, log := startChild(t, "clean")
		if got := line(); got != "started" {
			t.Fatalf("%q, log:\n%s", got, log)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if got := line(); got != "stopping" {
			t.Errorf("%v: %q", sig, got)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v, log:\n%s", sig, err, log)
		}
		if !strings.Contains(log.String(), sig.String()) {
			t.Errorf("%v is not in the log:\n%s", sig, log)
		}
	}
}

// The second signal ends a process whose orderly end hangs.
func TestSecondSignalQuitsAtOnce(t *testing.T) {
	cmd, line, log := startChild(t, "stuck")
	if got := line(); got != "started" {
		t.Fatalf("%q, log:\n%s", got, log)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := line(); got != "stopping" {
		t.Fatalf("%q, log:\n%s", got, log)
	}
	// The first signal was handled (a stop is under way), so this one is the second.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("ended with %v", err)
	}
	if status := exit.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want to be killed by the second SIGTERM; log:\n%s", exit, log)
	}
}
