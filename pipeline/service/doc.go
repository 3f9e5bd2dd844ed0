// Package service is the process shell of Carom's programs: configuration, logger, telemetry, health, HTTP and an
// orderly end. It knows nothing of mail, Kafka or ClickHouse.
//
// A program is a screen of main around it:
//
//	fs := flag.NewFlagSet("carom-classify", flag.ContinueOnError)
//	shell := service.DefaultConfig()
//	shell.RegisterFlags(fs)
//	if err := service.Parse(fs, os.Args[1:]); err != nil {
//		return service.Exit(os.Stderr, fs.Name(), err)
//	}
//	log := service.NewLogger(os.Stderr, shell.Log)
//	service.LogConfig(log, fs)
//	ctx, stop := service.SignalContext(context.Background(), log)
//	defer stop()
//	p, err := service.Start(ctx, "classify", shell, log)
//	if err != nil {
//		return service.Exit(os.Stderr, fs.Name(), err)
//	}
//	if err := classify.Start(p, cfg); err != nil {
//		p.Lifecycle.Fail(err)
//	}
//	return service.Exit(os.Stderr, fs.Name(), p.Lifecycle.Wait())
//
// Nothing here is global: every [Process] has its own registry, tracer, health and listeners, so that several services
// run in one process without seeing each other.
//
// What it promises: the end is ordered. Whatever was started last is stopped first, each step is awaited, the HTTP
// endpoints go last, and the whole is bounded ([Config].StopTimeout). What it does not promise: that the end is orderly.
// A step that exceeds the bound, or a second signal, ends the process where it stands; data must be safe against that.
package service
