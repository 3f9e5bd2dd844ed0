package service

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// SignalContext returns a context that ends with the first SIGTERM or SIGINT, or with parent. The second signal quits the
// process at once, whatever it is doing. Call stop when the process no longer waits for signals. One call per process:
// in a process of several services it belongs to main.
func SignalContext(parent context.Context, log *slog.Logger) (ctx context.Context, stop context.CancelFunc) {
	// signal.NotifyContext ends the context before its stop can be called; a second signal in between would be lost. Here
	// the runtime's default is back before anyone hears of the first: the next signal kills. (As process 1 of a
	// container, which the kernel shields from that, the runtime then exits with status 2.)
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			log.Info("stop asked for; a second signal quits at once", "signal", s)
			cancel(fmt.Errorf("signal: %v", s))
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	return ctx, func() { cancel(nil) }
}
