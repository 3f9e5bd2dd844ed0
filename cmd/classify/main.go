// Command classify gives delivery events their verdict.
package main

import (
	"context"
	"flag"
	"os"

	"carom.dev/carom/pipeline/classify"
	"carom.dev/carom/pipeline/service"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	fs := flag.NewFlagSet("classify", flag.ContinueOnError)
	shell, cfg := service.DefaultConfig(), classify.DefaultConfig()
	shell.RegisterFlags(fs)
	cfg.RegisterFlags(fs)
	service.Describe(fs, service.Help{
		Summary: "Reads delivery events from mail.events, classifies them and writes them with their verdict to mail.classified.",
		Examples: []service.Example{
			{Command: "classify -kafka.brokers kafka-0:9092,kafka-1:9092", Explanation: "classify, as one replica of the group"},
			{Command: "CAROM_KAFKA_BROKERS=kafka:9092 classify -config /etc/carom/classify.conf", Explanation: "flags win over the environment, the environment over the file"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	log := service.NewLogger(os.Stderr, shell.Log)
	service.LogConfig(log, fs)
	ctx, stop := service.SignalContext(context.Background(), log)
	defer stop()
	p, err := service.Start(ctx, "classify", shell, log)
	if err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	if err := classify.Start(p, cfg); err != nil && ctx.Err() == nil { // asked to end while starting is no failure
		p.Lifecycle.Fail(err)
	}
	return service.Exit(os.Stderr, fs.Name(), p.Lifecycle.Wait())
}
