package warehouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Config says which server and how long to wait for it. Zero durations and counts mean the defaults.
type Config struct {
	// DSN is clickhouse://user:password@host:9000/database, several hosts separated by commas, settings as query
	// parameters. The database need not exist: Migrate makes it.
	DSN string
	// TLS replaces what the DSN says with secure=true.
	TLS *tls.Config
	// InsertTimeout bounds one insert, from waiting for a connection to the server's answer. Default 30 s.
	InsertTimeout time.Duration
	// QueryTimeout bounds one query or statement. Default 60 s.
	QueryTimeout time.Duration
	// FailuresTTLDays is how long the raw failures are kept; Migrate applies it. Default 90.
	FailuresTTLDays int
	// MaxConns bounds the open connections. Default 8.
	MaxConns int
}

// DefaultConfig returns the defaults, without a DSN.
func DefaultConfig() Config {
	return Config{InsertTimeout: 30 * time.Second, QueryTimeout: time.Minute, FailuresTTLDays: 90, MaxConns: 8}
}

// maxTTLDays keeps time + TTL within ClickHouse's DateTime, which ends in 2106.
const maxTTLDays = 3650

// Validate names the first field that cannot be used.
func (c Config) Validate() error {
	switch {
	case c.DSN == "":
		return errors.New("clickhouse dsn is empty")
	case c.InsertTimeout < 0:
		return fmt.Errorf("clickhouse insert timeout %s is negative", c.InsertTimeout)
	case c.QueryTimeout < 0:
		return fmt.Errorf("clickhouse query timeout %s is negative", c.QueryTimeout)
	case c.FailuresTTLDays < 0 || c.FailuresTTLDays > maxTTLDays:
		return fmt.Errorf("clickhouse failures ttl of %d days is not within 1 to %d", c.FailuresTTLDays, maxTTLDays)
	case c.MaxConns < 0:
		return fmt.Errorf("clickhouse max connections %d is negative", c.MaxConns)
	}
	_, err := c.options()
	return err
}

// withDefaults fills the zero fields.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	if c.InsertTimeout == 0 {
		c.InsertTimeout = d.InsertTimeout
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = d.QueryTimeout
	}
	if c.FailuresTTLDays == 0 {
		c.FailuresTTLDays = d.FailuresTTLDays
	}
	if c.MaxConns == 0 {
		c.MaxConns = d.MaxConns
	}
	return c
}

func (c Config) options() (*clickhouse.Options, error) {
	o, err := clickhouse.ParseDSN(c.DSN)
	if err != nil {
		return nil, fmt.Errorf("clickhouse dsn: %w", err)
	}
	if o.Protocol != clickhouse.Native {
		return nil, errors.New("clickhouse dsn: the native protocol is needed (clickhouse://host:9000)")
	}
	if o.Auth.Database == "" {
		return nil, errors.New("clickhouse dsn: database is missing (clickhouse://host:9000/carom)")
	}
	if c.TLS != nil {
		o.TLS = c.TLS
	}
	if o.Compression == nil {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if c.MaxConns > 0 {
		o.MaxOpenConns, o.MaxIdleConns = c.MaxConns, c.MaxConns
	}
	// On by default since ClickHouse 26: a server that buffers answers before the rows are written.
	o.Settings["async_insert"] = 0
	return o, nil
}

// ErrNoDatabase says that the database of the DSN does not exist yet: run Migrate.
var ErrNoDatabase = errors.New("clickhouse database does not exist")

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	cfg   Config
	conn  driver.Conn
	ready atomic.Bool // the database exists
}

// Open connects and asks the server one question, so that a wrong address, user or password is told here. That the
// database does not exist yet is no error: Migrate makes it, and until then everything else fails with ErrNoDatabase.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	o, err := cfg.options()
	if err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(o)
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	db := &DB{cfg: cfg, conn: conn}
	if err := db.Ping(ctx); err != nil && !errors.Is(err, ErrNoDatabase) {
		conn.Close()
		return nil, fmt.Errorf("open clickhouse at %v: %w", o.Addr, err)
	}
	return db, nil
}

// pool returns the connections once the database is known to exist. The question goes through a connection without a
// database, because a login to one that does not exist is refused, and ends the embedded ClickHouse 26.7 altogether.
func (db *DB) pool(ctx context.Context) (driver.Conn, error) {
	if db.ready.Load() {
		return db.conn, nil
	}
	exists := false
	err := db.outside(ctx, func(ctx context.Context, conn driver.Conn, database string) error {
		const q = "SELECT count() > 0 FROM system.databases WHERE name = {database:String}"
		return conn.QueryRow(ctx, q, clickhouse.Named("database", database)).Scan(&exists)
	})
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, ErrNoDatabase
	}
	db.ready.Store(true)
	return db.conn, nil
}

// outside runs f on a connection of its own that has no database; database is the DSN's.
func (db *DB) outside(ctx context.Context, f func(ctx context.Context, conn driver.Conn, database string) error) error {
	o, err := db.cfg.options()
	if err != nil {
		return err
	}
	database := o.Auth.Database
	o.Auth.Database = ""
	conn, err := clickhouse.Open(o)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	return f(ctx, conn, database)
}

// Ping runs SELECT 1.
func (db *DB) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	conn, err := db.pool(ctx)
	if err != nil {
		return err
	}
	var one uint8
	return conn.QueryRow(ctx, "SELECT 1").Scan(&one)
}

// Close closes all connections.
func (db *DB) Close() error { return db.conn.Close() }
