package warehouse_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

const minute = 29_000_000 // 2025-02-19 21:20 UTC

func delivered(m int64, provider string, openedAt, events int64) *schema.Cell {
	return &schema.Cell{Minute: m, Provider: provider, Outcome: schema.Outcome_DELIVERED, SourceIp: "192.0.2.1", Acceptance: schema.Acceptance_ACCEPTED, OpenedAt: openedAt, Events: events, FirstAttempts: events, DelayMsSum: 10 * events}
}

// A cell is written again with every change; repeats and any order must end at the last count.
func TestHighestVersionOfACellWins(t *testing.T) {
	db := open(t)
	var rows []warehouse.CellRow
	for v := int64(1); v <= 20; v++ {
		rows = append(rows, warehouse.CellRow{Cell: delivered(minute, "apple", 100, v), Version: v})
	}
	rows = append(rows, rows...) // a replay
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for batch := range slices.Chunk(rows, 7) {
		if err := db.InsertCells(t.Context(), 0, batch); err != nil {
			t.Fatal(err)
		}
	}
	wantEvents(t, db, 20)
}

// A late event re-opens a pruned minute as a new row, and another partition may own a cell of the same name: readers sum.
func TestReopenedCellsAndPartitionsAreSummed(t *testing.T) {
	db := open(t)
	for partition, cells := range [][]*schema.Cell{
		{delivered(minute, "apple", 100, 5), delivered(minute, "apple", 900, 1)},
		{delivered(minute, "apple", 100, 3)},
	} {
		var rows []warehouse.CellRow
		for _, c := range cells {
			rows = append(rows, warehouse.CellRow{Cell: c, Version: 1})
		}
		if err := db.InsertCells(t.Context(), int32(partition), rows); err != nil {
			t.Fatal(err)
		}
	}
	wantEvents(t, db, 9)
}

func wantEvents(t *testing.T, db *warehouse.DB, want int64) {
	t.Helper()
	totals, err := db.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := warehouse.Total{Minute: minute, Provider: "apple", Outcome: schema.Outcome_DELIVERED, SourceIP: "192.0.2.1", Acceptance: schema.Acceptance_ACCEPTED, Events: want}
	if len(totals) != 1 || totals[0] != w {
		t.Errorf("got %+v, want %+v", totals, w)
	}
}

func TestRowsThatCannotBeStoredAreNamed(t *testing.T) {
	db := open(t)
	good := warehouse.CellRow{Cell: delivered(minute, "apple", 0, 1), Version: 1}
	for name, bad := range map[string]warehouse.CellRow{
		"minute":  {Cell: &schema.Cell{Minute: 1 << 40}, Version: 1},
		"events":  {Cell: &schema.Cell{Minute: minute, Events: -1}, Version: 1},
		"version": {Cell: delivered(minute, "apple", 0, 1), Version: -1},
		"cell":    {Version: 1},
	} {
		err := db.InsertCells(t.Context(), 0, []warehouse.CellRow{good, bad})
		var row *warehouse.RowError
		if !errors.As(err, &row) || row.Index != 1 || row.Field != name {
			t.Errorf("%s: %v", name, err)
		}
		if warehouse.Retryable(err) {
			t.Errorf("%s: retryable", name)
		}
	}
	if totals, err := db.Totals(t.Context()); err != nil || len(totals) != 0 {
		t.Errorf("a refused call wrote %v, %v", totals, err)
	}
}

func TestCompleteThroughIsTheSlowestPartition(t *testing.T) {
	db := open(t)
	want := func(minute int64, ok bool) {
		t.Helper()
		gotMinute, gotOK, err := db.CompleteThrough(t.Context(), 2)
		if err != nil || gotMinute != minute || gotOK != ok {
			t.Errorf("got %d %v %v, want %d %v", gotMinute, gotOK, err, minute, ok)
		}
	}
	put := func(partition int32, through, version int64) {
		t.Helper()
		if err := db.InsertProgress(t.Context(), partition, through, version); err != nil {
			t.Fatal(err)
		}
	}
	want(0, false)
	put(0, minute+5, 10)
	want(0, false)
	put(1, minute+3, 7)
	want(minute+3, true)
	put(1, minute+9, 8)
	want(minute+5, true)
	put(1, minute+3, 7) // a replay
	want(minute+5, true)
	put(2, minute, 1) // of a partition that is none
	want(minute+5, true)
}

// The server is killed again and again while a writer inserts and repeats what failed: every row ends up there once.
func TestKilledServerLosesAndDoublesNothing(t *testing.T) {
	server, options := embeddedtest.RequireServer(t)
	current := server
	restart := func() *warehouse.DB {
		db, err := warehouse.Open(t.Context(), warehouse.Config{DSN: current.DSN(), InsertTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := restart()
	r := rand.New(rand.NewPCG(3, 4))
	const batches, size = 30, 500
	failed := 0
	for b := range batches {
		rows, events := make([]warehouse.CellRow, size), make([]warehouse.FailureRow, size)
		for i := range rows {
			n := int64(b*size + i)
			rows[i] = warehouse.CellRow{Cell: delivered(minute+n, "apple", n, 2), Version: n}
			events[i] = failure(n)
		}
		var killed chan struct{}
		if b%10 == 5 {
			killed = make(chan struct{})
			wait := time.Duration(r.IntN(15)) * time.Millisecond
			go func() {
				time.Sleep(wait) // somewhere within the inserts
				current.Kill()
				close(killed)
			}()
		}
		for attempt := 0; ; attempt++ {
			err := errors.Join(db.InsertCells(t.Context(), 0, rows), db.InsertFailures(t.Context(), events, "t/0/"))
			if killed != nil {
				<-killed
				killed = nil
				db.Close()
				var startErr error
				if current, startErr = embedded.StartClickHouse(t.Context(), options); startErr != nil {
					t.Fatal(startErr)
				}
				defer embeddedtest.Stop(t, current)
				db = restart()
			}
			if err == nil {
				break
			}
			failed++
			if !warehouse.Retryable(err) || attempt > 5 {
				t.Fatal(err)
			}
		}
	}
	defer db.Close()
	totals, err := db.Totals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, x := range totals {
		sum += x.Events
	}
	counts, err := db.Counts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if sum != 2*batches*size || counts.Failures != batches*size {
		t.Errorf("%d events in cells and %d failures, want %d and %d", sum, counts.Failures, 2*batches*size, batches*size)
	}
	t.Logf("%d calls failed and were repeated", failed)
}

func TestTooManyRowsAreRefused(t *testing.T) {
	db := open(t)
	rows := make([]warehouse.CellRow, warehouse.MaxRows+1)
	c := delivered(minute, "apple", 0, 1)
	for i := range rows {
		rows[i] = warehouse.CellRow{Cell: c}
	}
	if err := db.InsertCells(t.Context(), 0, rows); !errors.Is(err, warehouse.ErrTooManyRows) || warehouse.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestRetryable(t *testing.T) {
	db := open(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancelLate()
	<-late.Done()
	rows := []warehouse.CellRow{{Cell: delivered(minute, "apple", 0, 1)}}
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"caller stops", db.InsertCells(cancelled, 0, rows), false},
		{"deadline", db.InsertCells(late, 0, rows), true},
		{"unknown table", db.Exec(t.Context(), "SELECT 1 FROM nowhere"), false},
		{"syntax", db.Exec(t.Context(), "SELEC 1"), false},
		{"memory", db.Exec(t.Context(), "SELECT count() FROM (SELECT groupArray(number) FROM numbers(100000000)) SETTINGS max_memory_usage = 1000000"), true},
		{"too slow", db.Exec(t.Context(), "SELECT sleepEachRow(0.1) FROM numbers(30) SETTINGS max_execution_time = 0.2, max_block_size = 1"), true},
	} {
		if c.name != "nothing" && c.err == nil {
			t.Errorf("%s: no error", c.name)
		}
		if got := warehouse.Retryable(c.err); got != c.want {
			t.Errorf("%s: %v, want %v (%v)", c.name, got, c.want, c.err)
		}
	}
	db.Close()
	if err := db.InsertCells(t.Context(), 0, rows); err == nil || warehouse.Retryable(err) {
		t.Errorf("closed: %v", err)
	}
	if _, err := warehouse.Open(t.Context(), warehouse.Config{DSN: "clickhouse://u:p@127.0.0.1:1/x"}); !warehouse.Retryable(err) || strings.Contains(err.Error(), ":p@") {
		t.Errorf("refused connection: %v", err)
	}
}

func TestConfigIsValidated(t *testing.T) {
	const dsn = "clickhouse://u:secret@127.0.0.1:9000/carom"
	for word, c := range map[string]warehouse.Config{
		"dsn is empty":        {},
		"insert timeout":      {DSN: dsn, InsertTimeout: -1},
		"query timeout":       {DSN: dsn, QueryTimeout: -1},
		"ttl of -1 days":      {DSN: dsn, FailuresTTLDays: -1},
		"max connections":     {DSN: dsn, MaxConns: -1},
		"native protocol":     {DSN: "http://127.0.0.1:8123/carom"},
		"database is missing": {DSN: "clickhouse://127.0.0.1:9000"},
		"clickhouse dsn":      {DSN: "clickhouse://u:secret@127.0.0.1:9000\x7f/carom"},
	} {
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", word, err)
		}
	}
	if err := (warehouse.Config{DSN: dsn}).Validate(); err != nil {
		t.Error(err)
	}
}
