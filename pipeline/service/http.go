package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// Timeouts and limits of every HTTP server of Carom. Without them one silent client holds a connection for ever.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// Server is an HTTP server with all its timeouts set, bound to its address from the start.
type Server struct {
	listener net.Listener
	server   *http.Server
}

// Listen binds addr (host:port, port 0 takes a free one) and returns a server for it. A port that is taken is an error
// here and not in [Server.Serve]. The caller owns the server: Serve, or Shutdown without Serve, gives the port back.
func Listen(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) (*Server, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return &Server{listener: l, server: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// Addr returns the address that is bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until [Server.Shutdown]; then it returns nil.
func (s *Server) Serve() error {
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http %s: %w", s.Addr(), err)
	}
	return nil
}

// Shutdown takes no more requests and waits for those under way until ctx ends; then it cuts them off.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.listener.Close() // the server knows its listener only once Serve has begun
	if err := s.server.Shutdown(ctx); err != nil {
		s.server.Close()
		return fmt.Errorf("http %s: %w", s.Addr(), err)
	}
	return nil
}

// publicRoutes serves what probes and Prometheus ask for.
func publicRoutes(h *Health, metrics http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", healthHandler(h.live))
	mux.Handle("GET /readyz", healthHandler(h.ready))
	mux.Handle("GET /metrics", metrics)
	return mux
}

// adminRoutes serves the profiles. They are named one by one: importing net/http/pprof also puts them on
// http.DefaultServeMux, which nothing in Carom serves.
func adminRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// isLoopback reports whether only this machine reaches addr.
func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
