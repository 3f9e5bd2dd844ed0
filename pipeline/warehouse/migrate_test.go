package warehouse_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sync/errgroup"

	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	db := open(t)
	const q = "SELECT toString(groupArray(create_table_query)) FROM (SELECT create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name)"
	first, err := db.Text(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := db.Text(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("tables differ after the second run")
	}
	migrations, err := db.Migrations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range migrations {
		if !m.Applied {
			t.Errorf("%s is not marked", m.Name)
		}
	}
	if len(migrations) == 0 {
		t.Error("no migrations")
	}
}

func TestConcurrentMigrationsAgree(t *testing.T) {
	dsn := embeddedtest.RequireClickHouse(t)
	var g errgroup.Group
	for range 6 {
		g.Go(func() error {
			db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn})
			if err != nil {
				return err
			}
			defer db.Close()
			return db.Migrate(t.Context())
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// A database of the version before is taken over without rewriting a part; its rows have the defaults of what is new, and a
// process of that version, which knows nothing of it, may still write.
func TestUpgradeTakesOverRows(t *testing.T) {
	dsn := embeddedtest.RequireClickHouse(t)
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	before := fstest.MapFS{}
	for _, name := range []string{"0001_cells", "0002_failures", "0003_decisions", "0004_incidents", "0005_views"} {
		text, err := schema.ClickHouseMigrations.ReadFile("clickhouse/" + name + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		before["clickhouse/"+name+".sql"] = &fstest.MapFile{Data: text}
	}
	if err := db.MigrateFiles(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	write := func(id string) {
		t.Helper()
		for _, q := range []string{
			"INSERT INTO failures (event_id, occurred_at, outcome, phase, mta, provider, class) SELECT '" + id + "', now(), 'bounced', 'rcpt', 'postfix', 'apple', 'recipient.unknown'",
			"INSERT INTO outcomes_1m (minute, provider, outcome, events, opened_at) SELECT now(), 'apple', 'delivered', 1, cityHash64('" + id + "')",
		} {
			if err := db.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("old")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	write("older process")
	for q, want := range map[string]string{
		"SELECT arrayStringConcat(groupArray(concat(event_id, toString(trust), toString(joined), campaign, feed)), ' ') FROM (SELECT * FROM failures FINAL ORDER BY event_id)": "oldfalse older processfalse",
		"SELECT concat(toString(sum(failures)), ' ', toString(sum(no_code)), ' ', toString(sum(no_phase))) FROM feed_opacity":                                                  "2 2 0",
		"SELECT toString(sum(events)) FROM top_failures":                                            "2",
		"SELECT concat(toString(sum(delivered)), ' ', toString(sum(opened))) FROM providers_hourly": "2 0",
		"SELECT toString(count()) FROM system.mutations WHERE database = currentDatabase()":         "0",
	} {
		if got, err := db.Text(t.Context(), q); err != nil || got != want {
			t.Errorf("%s: got %q, want %q, %v", q, got, want, err)
		}
	}
}

func TestChangedMigrationIsRefused(t *testing.T) {
	db := open(t)
	changed := fstest.MapFS{}
	err := fs.WalkDir(schema.ClickHouseMigrations, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := schema.ClickHouseMigrations.ReadFile(path)
		if strings.Contains(path, "0002_") {
			text = append(text, "-- one word more\n"...)
		}
		changed[path] = &fstest.MapFile{Data: text}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	changed["clickhouse/0099_later.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE later (n UInt8) ENGINE = Memory;\n")}
	err = db.MigrateFiles(t.Context(), changed)
	if !errors.Is(err, warehouse.ErrMigrationChanged) || !strings.Contains(err.Error(), "0002_failures.sql") {
		t.Fatalf("got %v", err)
	}
	n, err := db.Text(t.Context(), "SELECT toString(count()) FROM system.tables WHERE database = currentDatabase() AND name = 'later'")
	if err != nil || n != "0" {
		t.Errorf("a later migration ran before the refusal: %s %v", n, err)
	}
}

func TestFailuresTTLFollowsTheSetting(t *testing.T) {
	db, dsn := openDSN(t)
	const q = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'failures'"
	ttl := func(days int) {
		t.Helper()
		engine, err := db.Text(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("TTL toDateTime(occurred_at) + toIntervalDay(%d) ", days); !strings.Contains(engine, want) {
			t.Errorf("want %q in %q", want, engine)
		}
	}
	ttl(90)
	short, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn, FailuresTTLDays: 14})
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if err := short.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ttl(14)
}

// The writers spell enums by name; a name that the table does not have would fail the whole block.
func TestEnumsMatchTheTables(t *testing.T) {
	db := open(t)
	for table, columns := range warehouse.Enums() {
		for column, names := range columns {
			values := make([]string, len(names))
			for i, n := range names {
				values[i] = fmt.Sprintf("'%s' = %d", n, i)
			}
			want := "Enum8(" + strings.Join(values, ", ") + ")"
			got, err := db.Text(t.Context(), fmt.Sprintf("SELECT type FROM system.columns WHERE database = currentDatabase() AND table = '%s' AND name = '%s'", table, column))
			if err != nil {
				t.Fatalf("%s.%s: %v", table, column, err)
			}
			if got != want {
				t.Errorf("%s.%s is %s, written as %s", table, column, got, want)
			}
		}
	}
}

func TestEveryColumnIsDocumented(t *testing.T) {
	db := open(t)
	got, err := db.Text(t.Context(), `SELECT arrayStringConcat(groupArray(table || '.' || name), ', ') FROM system.columns
		WHERE database = currentDatabase() AND comment = '' AND table != 'suppressions_from_decisions'`)
	if err != nil {
		t.Fatal(err)
	}
	if got != "" {
		t.Errorf("columns without a comment: %s", got)
	}
}

func TestDropTestDatabaseRefusesOtherNames(t *testing.T) {
	_, dsn := openDSN(t)
	other := strings.Replace(dsn, "/test_", "/carom_", 1)
	if err := warehouse.DropTestDatabase(t.Context(), warehouse.Config{DSN: other}); err == nil {
		t.Error("dropped a database that is not a test's")
	}
}
