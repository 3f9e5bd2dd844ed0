package intake

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"carom.dev/carom/pipeline/service"
)

// tlsCheckEvery is how often a handshake looks whether the files have changed.
const tlsCheckEvery = 10 * time.Second

// tlsFiles is a TLS configuration that follows its files. What cannot be read, as when a certificate has been replaced and
// its key not yet, leaves the one before at work. Safe for concurrent use.
type tlsFiles struct {
	cfg HTTPConfig
	log *slog.Logger

	mu      sync.Mutex
	checked time.Time
	stamp   string // of the files that were last tried
	current *tls.Config
}

func newTLSFiles(cfg HTTPConfig, log *slog.Logger) (*tlsFiles, error) {
	f := &tlsFiles{cfg: cfg, log: log, checked: time.Now()}
	var err error
	f.stamp, f.current, err = f.load()
	return f, err
}

// config is the configuration of a listener.
func (f *tlsFiles) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.get(), nil },
	}
}

func (f *tlsFiles) get() *tls.Config {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) < tlsCheckEvery {
		return f.current
	}
	f.checked = time.Now()
	f.reload()
	return f.current
}

// reload reads the files if they are others than before. The lock is held.
func (f *tlsFiles) reload() {
	stamp, err := f.stat()
	if err == nil && stamp == f.stamp {
		return
	}
	stamp, cfg, err := f.load()
	if err != nil {
		f.log.Warn("the certificate was not read again; the one before serves on", service.Err(err))
		return
	}
	f.stamp, f.current = stamp, cfg
	f.log.Info("the certificate was read again")
}

func (f *tlsFiles) files() []string {
	files := []string{f.cfg.TLSCertFile, f.cfg.TLSKeyFile}
	if f.cfg.ClientCAFile != "" {
		files = append(files, f.cfg.ClientCAFile)
	}
	return files
}

func (f *tlsFiles) stat() (stamp string, err error) {
	for _, name := range f.files() {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprintf("%d %d\n", info.ModTime().UnixNano(), info.Size())
	}
	return stamp, nil
}

// load reads the files. The stamp is taken before: files that change meanwhile are read again.
func (f *tlsFiles) load() (stamp string, cfg *tls.Config, err error) {
	if stamp, err = f.stat(); err != nil {
		return "", nil, fmt.Errorf("-intake.http-tls files: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(f.cfg.TLSCertFile, f.cfg.TLSKeyFile)
	if err != nil {
		return "", nil, fmt.Errorf("-intake.http-tls-cert-file: %w", err)
	}
	cfg = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, Certificates: []tls.Certificate{pair}}
	if f.cfg.ClientCAFile != "" {
		pem, err := os.ReadFile(f.cfg.ClientCAFile)
		if err != nil {
			return "", nil, fmt.Errorf("-intake.http-client-ca-file: %w", err)
		}
		cfg.ClientCAs = x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(pem) {
			return "", nil, errors.New("-intake.http-client-ca-file: no certificate in it")
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return stamp, cfg, nil
}
