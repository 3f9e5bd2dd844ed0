//go:build ignore

// Brings the ClickHouse library of the tests and the demo into the cache, before anything that would hide the progress.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"carom.dev/carom/pipeline/embedded"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := embedded.CacheDir()
	if err == nil {
		_, err = embedded.FetchClickHouse(ctx, dir, os.Stderr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
