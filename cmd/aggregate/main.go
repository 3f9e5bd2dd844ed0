// Command aggregate keeps recipients' state, counts, finds incidents and alerts.
package main

import (
	"context"
	"flag"
	"os"

	"carom.dev/carom/pipeline/assembly"
	"carom.dev/carom/pipeline/service"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	fs := flag.NewFlagSet("aggregate", flag.ContinueOnError)
	shell, cfg := service.DefaultConfig(), assembly.DefaultConfig()
	shell.RegisterFlags(fs)
	cfg.RegisterFlags(fs)
	service.Describe(fs, service.Help{
		Summary: "Folds classified events into suppression decisions and minute counts, finds incidents in them and alerts on-call.",
		Examples: []service.Example{
			{Command: "aggregate -kafka.brokers kafka-0:9092,kafka-1:9092 -clickhouse.dsn-file /run/secrets/clickhouse", Explanation: "aggregate, as one replica of the group; one replica leads detection"},
			{Command: "CAROM_KAFKA_BROKERS=kafka:9092 aggregate -config /etc/carom/aggregate.conf", Explanation: "flags win over the environment, the environment over the file"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	log := service.NewLogger(os.Stderr, shell.Log)
	service.LogConfig(log, fs, assembly.FlagDSN)
	ctx, stop := service.SignalContext(context.Background(), log)
	defer stop()
	p, err := service.Start(ctx, "aggregate", shell, log)
	if err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	if err := assembly.Start(p, cfg); err != nil && ctx.Err() == nil { // asked to end while starting is no failure
		p.Lifecycle.Fail(err)
	}
	return service.Exit(os.Stderr, fs.Name(), p.Lifecycle.Wait())
}
