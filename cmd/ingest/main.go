// Command ingest reads log lines, feeds' records and bounce mails from Kafka and writes delivery events.
package main

import (
	"context"
	"flag"
	"os"

	"carom.dev/carom/pipeline/ingest"
	"carom.dev/carom/pipeline/service"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	shell, cfg := service.DefaultConfig(), ingest.DefaultConfig()
	shell.RegisterFlags(fs)
	cfg.RegisterFlags(fs)
	service.Describe(fs, service.Help{
		Summary: "Reads log lines, feeds' records and bounce mails from the raw topics and writes delivery events to mail.events. Its doors, closed\n" +
			"by default, take webhooks (-intake.http-addr) and mails (-intake.lmtp-addr, -intake.maildir-dirs) and write them to a raw topic.",
		Examples: []service.Example{
			{Command: "ingest -kafka.brokers kafka-0:9092,kafka-1:9092", Explanation: "read the raw topics of the epoch, as one replica of the group"},
			{Command: "ingest -site /etc/carom/site.yaml -keys-dir /run/secrets/carom -intake.http-addr :8443 -intake.lmtp-addr 127.0.0.1:2003", Explanation: "with a site file, webhooks and bounce mails"},
			{Command: "CAROM_KAFKA_BROKERS=kafka:9092 ingest -config /etc/carom/ingest.conf", Explanation: "flags win over the environment, the environment over the file"},
		},
	})
	if err := service.Parse(fs, args); err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	log := service.NewLogger(os.Stderr, shell.Log)
	service.LogConfig(log, fs)
	ctx, stop := service.SignalContext(context.Background(), log)
	defer stop()
	p, err := service.Start(ctx, "ingest", shell, log)
	if err != nil {
		return service.Exit(os.Stderr, fs.Name(), err)
	}
	if err := ingest.Start(p, cfg); err != nil && ctx.Err() == nil { // asked to end while starting is no failure
		p.Lifecycle.Fail(err)
	}
	return service.Exit(os.Stderr, fs.Name(), p.Lifecycle.Wait())
}
