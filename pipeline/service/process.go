package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// Process is what a stage is given: everything around its own work.
type Process struct {
	Log       *slog.Logger // carries the stage's name
	Telemetry *Telemetry
	Health    *Health
	Lifecycle *Lifecycle

	http  *Server
	admin *Server // nil without Config.AdminAddr
}

// Start brings up the shell of the service of that name ("ingest"): telemetry first, then the HTTP endpoints. The caller
// builds the service on p.Lifecycle and then calls p.Lifecycle.Wait, also after a start that did not get through. As soon
// as the end begins, /readyz says so; the endpoints answer until everything else has stopped.
func Start(ctx context.Context, name string, cfg Config, log *slog.Logger) (*Process, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	log = log.With(KeyStage, name)
	telemetry, err := NewTelemetry(ctx, name, cfg.Trace, log)
	if err != nil {
		return nil, err
	}
	p := &Process{
		Log:       log,
		Telemetry: telemetry,
		Health:    NewHealth(),
		Lifecycle: NewLifecycle(ctx, log, cfg.StopTimeout),
	}
	p.http, err = Listen(ctx, cfg.HTTPAddr, publicRoutes(p.Health, telemetry.Handler(log)), log)
	if err == nil && cfg.AdminAddr != "" {
		p.admin, err = Listen(ctx, cfg.AdminAddr, adminRoutes(), log)
	}
	if err != nil {
		if p.http != nil {
			err = errors.Join(err, p.http.Shutdown(ctx))
		}
		return nil, errors.Join(err, telemetry.Shutdown(ctx))
	}

	p.Lifecycle.OnStop("telemetry", telemetry.Shutdown)
	p.serve("http", p.http)
	if p.admin != nil {
		p.serve("admin http", p.admin)
		if !isLoopback(p.admin.Addr()) {
			log.Warn("profiles are served without authentication beyond this machine", KeyAddr, p.admin.Addr())
		}
	}
	context.AfterFunc(p.Lifecycle.Context(), p.Health.Stopping)
	log.Info("started", "version", Version(), KeyAddr, p.http.Addr())
	return p, nil
}

// serve runs s until its turn to stop.
func (p *Process) serve(name string, s *Server) {
	p.Lifecycle.Go(name, func(context.Context) error { return s.Serve() })
	p.Lifecycle.OnStop(name+" connections", s.Shutdown)
}

// Addr returns where /livez, /readyz and /metrics are served.
func (p *Process) Addr() net.Addr { return p.http.Addr() }

// AdminAddr returns where the profiles are served, nil if nowhere.
func (p *Process) AdminAddr() net.Addr {
	if p.admin == nil {
		return nil
	}
	return p.admin.Addr()
}
