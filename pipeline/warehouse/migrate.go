package warehouse

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"carom.dev/carom/schema"
)

// ErrMigrationChanged says that a migration was applied with another content than this binary has.
var ErrMigrationChanged = errors.New("migration differs from the applied one")

// migrationAttempts bounds the repeats when processes that start together meet on a statement.
const migrationAttempts = 5

const createMigrations = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    number UInt32 COMMENT 'of the file',
    name String COMMENT 'of the file',
    checksum String COMMENT 'SHA-256 of the file',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'wall clock of the server'
)
ENGINE = ReplacingMergeTree
ORDER BY (number, checksum)
COMMENT 'migrations that were applied'`

// Migration is one file of schema.ClickHouseMigrations.
type Migration struct {
	Number     uint32
	Name       string // file name
	Checksum   string // SHA-256, hexadecimal
	Applied    bool
	statements []string
}

// Migrate makes the database and applies what is missing. It may be called at every start and by several processes at
// once: each statement can be run twice. A file that was applied with another content is refused before anything is
// changed. Migrations of a newer binary are left alone, so an older one still starts.
func (db *DB) Migrate(ctx context.Context) error {
	return db.migrate(ctx, schema.ClickHouseMigrations)
}

func (db *DB) migrate(ctx context.Context, files fs.FS) error {
	if err := db.createDatabase(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := db.exec(ctx, createMigrations); err != nil {
		return fmt.Errorf("migrate: create table of migrations: %w", err)
	}
	migrations, err := db.migrations(ctx, files)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, m := range migrations {
		if m.Applied {
			continue
		}
		if err := db.apply(ctx, m); err != nil {
			return fmt.Errorf("migrate: %s: %w", m.Name, err)
		}
	}
	if err := db.setFailuresTTL(ctx); err != nil {
		return fmt.Errorf("migrate: ttl of failures: %w", err)
	}
	return nil
}

// Migrations lists the files of this binary and whether they are applied. The database has to exist.
func (db *DB) Migrations(ctx context.Context) ([]Migration, error) {
	return db.migrations(ctx, schema.ClickHouseMigrations)
}

func (db *DB) migrations(ctx context.Context, files fs.FS) ([]Migration, error) {
	migrations, err := readMigrations(files)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	conn, err := db.pool(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, "SELECT number, checksum FROM schema_migrations FINAL ORDER BY number, checksum")
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var number uint32
		var checksum string
		if err := rows.Scan(&number, &checksum); err != nil {
			return nil, fmt.Errorf("read applied migrations: %w", err)
		}
		i := slices.IndexFunc(migrations, func(m Migration) bool { return m.Number == number })
		if i < 0 {
			continue
		}
		if migrations[i].Checksum != checksum {
			return nil, fmt.Errorf("%w: %s", ErrMigrationChanged, migrations[i].Name)
		}
		migrations[i].Applied = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	return migrations, nil
}

// readMigrations reads clickhouse/NNNN_name.sql in order of the numbers.
func readMigrations(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "clickhouse/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var migrations []Migration
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		base := path.Base(name)
		number, _, _ := strings.Cut(base, "_")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number", base)
		}
		if len(migrations) > 0 && migrations[len(migrations)-1].Number >= uint32(n) {
			return nil, fmt.Errorf("migration %s has the number of another one", base)
		}
		sum := sha256.Sum256(text)
		migrations = append(migrations, Migration{Number: uint32(n), Name: base, Checksum: hex.EncodeToString(sum[:]), statements: statements(string(text))})
	}
	return migrations, nil
}

// statements splits a file at semicolons that end a line.
func statements(text string) []string {
	var out []string
	for s := range strings.SplitSeq(text+"\n", ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (db *DB) apply(ctx context.Context, m Migration) error {
	for _, s := range m.statements {
		if err := db.execRepeating(ctx, s); err != nil {
			return err
		}
	}
	return db.exec(ctx, "INSERT INTO schema_migrations (number, name, checksum) SELECT {number:UInt32}, {name:String}, {checksum:String}",
		clickhouse.Named("number", m.Number), clickhouse.Named("name", m.Name), clickhouse.Named("checksum", m.Checksum))
}

// execRepeating runs a statement again when the server says that somebody else is making or has just made the same thing.
func (db *DB) execRepeating(ctx context.Context, statement string) error {
	for attempt := 1; ; attempt++ {
		err := db.exec(ctx, statement)
		if !isCode(err, codeTableExists) && !isCode(err, codeUnknownTable) || attempt == migrationAttempts {
			return err
		}
	}
}

func (db *DB) createDatabase(ctx context.Context) error {
	return db.outside(ctx, func(ctx context.Context, conn driver.Conn, database string) error {
		if err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS {database:Identifier}", clickhouse.Named("database", database)); err != nil {
			return fmt.Errorf("create database %s: %w", database, err)
		}
		return nil
	})
}

// setFailuresTTL changes the TTL only where it differs: the change rewrites every part of the table.
func (db *DB) setFailuresTTL(ctx context.Context) error {
	want := "toDateTime(occurred_at) + toIntervalDay(" + strconv.Itoa(db.cfg.FailuresTTLDays) + ")"
	const q = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'failures'"
	var engine string
	if err := db.query(ctx, "engine of failures", q, nil, func(r driver.Rows) error { return r.Scan(&engine) }); err != nil {
		return err
	}
	if strings.Contains(engine, "TTL "+want+" ") {
		return nil
	}
	return db.exec(ctx, "ALTER TABLE failures MODIFY TTL "+want)
}

func (db *DB) exec(ctx context.Context, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.QueryTimeout)
	defer cancel()
	conn, err := db.pool(ctx)
	if err != nil {
		return err
	}
	return conn.Exec(ctx, statement, args...)
}

// testPrefix is what the name of a database has to begin with to be dropped.
const testPrefix = "test_"

// DropTestDatabase removes the database of the DSN with everything in it. It is for tests and refuses every name that does
// not begin with test_.
func DropTestDatabase(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	db := &DB{cfg: cfg.withDefaults()}
	return db.outside(ctx, func(ctx context.Context, conn driver.Conn, database string) error {
		if !strings.HasPrefix(database, testPrefix) {
			return fmt.Errorf("drop database %s: its name does not begin with %s", database, testPrefix)
		}
		return conn.Exec(ctx, "DROP DATABASE IF EXISTS {database:Identifier} SYNC", clickhouse.Named("database", database))
	})
}
