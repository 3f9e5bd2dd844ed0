package warehouse_test

import (
	"os"
	"testing"

	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/warehouse"
)

func TestMain(m *testing.M) { os.Exit(embeddedtest.Main(m)) }

// open returns a migrated database of the test's own.
func open(t testing.TB) *warehouse.DB {
	t.Helper()
	db, _ := openDSN(t)
	return db
}

func openDSN(t testing.TB) (*warehouse.DB, string) {
	t.Helper()
	dsn := embeddedtest.RequireClickHouse(t)
	db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: dsn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db, dsn
}
