package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Lifecycle starts things and stops them in reverse order. Register each stop next to its start:
//
//	db, err := warehouse.Open(ctx, cfg)
//	if err != nil {
//		return err
//	}
//	life.OnStop("warehouse", db.Close)
//	life.Go("writer", db.Write)
//
// The end begins when the parent context ends, when a goroutine fails, or with [Lifecycle.Stop] or [Lifecycle.Fail];
// [Lifecycle.Wait] then performs it. Safe for concurrent use.
type Lifecycle struct {
	log     *slog.Logger
	timeout time.Duration
	parent  context.Context
	ctx     context.Context // ends when the end begins
	begin   context.CancelCauseFunc
	group   *errgroup.Group

	mu    sync.Mutex
	steps []*step // in start order; bounded by what runs, a goroutine that ends by itself removes its own
}

type step struct {
	name string
	stop func(context.Context) error
}

var errStop = errors.New("stop called")

// NewLifecycle returns a lifecycle whose end, begun at the latest when parent ends, may take timeout.
func NewLifecycle(parent context.Context, log *slog.Logger, timeout time.Duration) *Lifecycle {
	ctx, begin := context.WithCancelCause(parent)
	group, ctx := errgroup.WithContext(ctx)
	return &Lifecycle{log: log, timeout: timeout, parent: parent, ctx: ctx, begin: begin, group: group}
}

// Context ends when the end begins, before anything is stopped. It is for starting things (an end during a long start
// interrupts it) and for those that may break off at any point. What has to finish first uses the context that
// [Lifecycle.Go] gives it.
func (l *Lifecycle) Context() context.Context { return l.ctx }

// Go runs f in a goroutine. The context of f ends when it is f's turn to stop: after everything that was started later
// has stopped. f then has until the end's bound to return. An error of f begins the end and is returned by Wait; nil
// means that f is done, and so does the error of its own ended context.
//
// Go is for what lives about as long as the service. It must not be called once Wait has returned.
func (l *Lifecycle) Go(name string, f func(context.Context) error) {
	// The parent's end must not reach f before its turn.
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.parent))
	done := make(chan struct{})
	var err error // of f; written before done is closed
	s := &step{name: name, stop: func(bound context.Context) error {
		cancel()
		select {
		case <-done:
			return err
		case <-bound.Done():
			return bound.Err()
		}
	}}
	l.push(s)
	l.group.Go(func() error {
		defer cancel()
		defer close(done)
		err = f(ctx)
		if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
			err = nil
			if l.ctx.Err() == nil { // once the end has begun, the step stays and is logged in its turn
				l.remove(s)
			}
			return nil
		}
		err = fmt.Errorf("%s: %w", name, err)
		return err
	})
}

// OnStop registers the stop of what has just been started. The context of stop ends with the bound of the whole end. An
// error of stop is logged and returned by Wait, and the steps after it run all the same.
func (l *Lifecycle) OnStop(name string, stop func(context.Context) error) {
	l.push(&step{name: name, stop: func(ctx context.Context) error {
		if err := stop(ctx); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
		return nil
	}})
}

// Stop begins the end without an error. Only the first beginning counts.
func (l *Lifecycle) Stop() { l.begin(errStop) }

// Fail begins the end with an error, which Wait returns: for a start that did not get through. A nil err is like Stop.
func (l *Lifecycle) Fail(err error) {
	if err == nil {
		l.Stop()
		return
	}
	l.group.Go(func() error { return err })
}

// Wait waits for the beginning of the end and then stops everything, last started first, one after the other. If that
// takes longer than the bound, the step under way and those left are abandoned, which is an error: the caller should
// exit. Wait returns the error that began the end, joined with those of the stops. Call it once.
func (l *Lifecycle) Wait() error {
	<-l.ctx.Done()
	cause := context.Cause(l.ctx)
	began := time.Now()
	l.log.Info("stopping", "cause", cause, "bound", l.timeout)
	bound, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()

	var errs []error
	for s := l.pop(); s != nil; s = l.pop() {
		start := time.Now()
		returned, err := runStep(bound, s)
		took := slog.Duration(KeyTook, time.Since(start))
		if !returned {
			left := l.names()
			l.log.Error("stop took too long; abandoned", KeyName, s.name, took, "left", left)
			errs = append(errs, fmt.Errorf("stop %s: not done within %v, left running: %v", s.name, l.timeout, left))
			// The goroutines cannot be waited for any more, so their error is told by the cause alone.
			if l.parent.Err() == nil && !errors.Is(cause, errStop) {
				errs = append([]error{cause}, errs...)
			}
			return errors.Join(errs...)
		}
		if err != nil {
			l.log.Error("stopped with an error", KeyName, s.name, took, Err(err))
			errs = append(errs, err)
			continue
		}
		l.log.Info("stopped", KeyName, s.name, took)
	}
	l.log.Info("all stopped", slog.Duration(KeyTook, time.Since(began)))
	// Every goroutine has ended by now. The first error is among errs unless it came from Fail.
	if err := l.group.Wait(); err != nil && !errors.Is(errors.Join(errs...), err) {
		errs = append([]error{err}, errs...)
	}
	return errors.Join(errs...)
}

// runStep reports whether the step returned before ctx ended, and its error.
func runStep(ctx context.Context, s *step) (returned bool, err error) {
	done := make(chan error, 1)
	go func() { done <- s.stop(ctx) }()
	select {
	case err := <-done:
		return ctx.Err() == nil || err == nil, err
	case <-ctx.Done():
		return false, nil
	}
}

func (l *Lifecycle) push(s *step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, s)
}

func (l *Lifecycle) pop() *step {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.steps) == 0 {
		return nil
	}
	s := l.steps[len(l.steps)-1]
	l.steps = l.steps[:len(l.steps)-1]
	return s
}

func (l *Lifecycle) remove(s *step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range l.steps {
		if t == s {
			l.steps = append(l.steps[:i], l.steps[i+1:]...)
			return
		}
	}
}

// names returns the names of the steps that are left, in the order in which they would stop.
func (l *Lifecycle) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.steps))
	for i := len(l.steps) - 1; i >= 0; i-- {
		names = append(names, l.steps[i].name)
	}
	return names
}
