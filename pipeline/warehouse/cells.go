package warehouse

import (
	"context"
	"fmt"
	"math"

	"carom.dev/carom/schema"
)

// CellRow is one merged cell with the version that orders its rewrites.
type CellRow struct {
	*schema.Cell
	Version int64 // from epoch and offset; not negative
}

// The names of the enums in the tables. A test compares them with the tables.
var (
	outcomes    = append(enum{"unspecified"}, enumOf(schema.Outcome_name, schema.Outcome.Name)[1:]...)
	acceptances = enumOf(schema.Acceptance_name, schema.Acceptance.Name)
)

const insertCells = `INSERT INTO outcomes_1m (minute, provider, outcome, class, source_ip, acceptance, backfill, opened_at, cells_partition,
	events, first_attempts, delay_ms_sum, version)`

// maxMinute is the last minute of ClickHouse's DateTime.
const maxMinute = math.MaxUint32/60 - 1

// InsertCells writes the absolute counts of cells that one partition of mail.cells owns. Within a call, and between
// calls, the highest version of a cell wins, in whatever order they come.
func (db *DB) InsertCells(ctx context.Context, cellsPartition int32, rows []CellRow) error {
	for i, r := range rows {
		if err := checkCell(i, r); err != nil {
			return fmt.Errorf("insert cells: %w", err)
		}
	}
	err := insert(ctx, db, insertCells, nil, rows, func(c *columns, rows []CellRow) {
		add(c, rows, func(r CellRow) int64 { return r.Minute * 60 })
		add(c, rows, func(r CellRow) string { return r.Provider })
		add(c, rows, func(r CellRow) string { return outcomes.name(int32(r.Outcome)) })
		add(c, rows, func(r CellRow) string { return r.Class })
		add(c, rows, func(r CellRow) string { return r.SourceIp })
		add(c, rows, func(r CellRow) string { return acceptances.name(int32(r.Acceptance)) })
		add(c, rows, func(r CellRow) bool { return r.Backfill })
		add(c, rows, func(r CellRow) int64 { return r.OpenedAt })
		add(c, rows, func(CellRow) int32 { return cellsPartition })
		add(c, rows, func(r CellRow) uint64 { return uint64(r.Events) })
		add(c, rows, func(r CellRow) uint64 { return uint64(r.FirstAttempts) })
		add(c, rows, func(r CellRow) uint64 { return count(r.DelayMsSum) })
		add(c, rows, func(r CellRow) uint64 { return uint64(r.Version) })
	})
	if err != nil {
		return fmt.Errorf("insert cells of partition %d: %w", cellsPartition, err)
	}
	return nil
}

// checkCell refuses what could only be stored as another number: a minute that is not its own would overwrite a cell.
func checkCell(i int, r CellRow) error {
	switch {
	case r.Cell == nil:
		return &RowError{Index: i, Field: "cell", Value: "nil"}
	case r.Minute < 0 || r.Minute > maxMinute:
		return &RowError{Index: i, Field: "minute", Value: r.Minute}
	case r.Events < 0:
		return &RowError{Index: i, Field: "events", Value: r.Events}
	case r.FirstAttempts < 0:
		return &RowError{Index: i, Field: "first_attempts", Value: r.FirstAttempts}
	case r.Version < 0:
		return &RowError{Index: i, Field: "version", Value: r.Version}
	}
	return nil
}

// progress is one row of cells_progress.
type progress struct {
	partition int32
	through   int64
	version   int64
}

// InsertProgress says that every minute before completeThrough (Unix minutes) that the partition of mail.cells owns has
// been inserted. The highest version wins.
func (db *DB) InsertProgress(ctx context.Context, cellsPartition int32, completeThrough, version int64) error {
	if version < 0 {
		return fmt.Errorf("insert progress: %w", &RowError{Field: "version", Value: version})
	}
	const query = "INSERT INTO cells_progress (cells_partition, complete_through, version)"
	rows := []progress{{cellsPartition, completeThrough, version}}
	err := insert(ctx, db, query, nil, rows, func(c *columns, rows []progress) {
		add(c, rows, func(r progress) int32 { return r.partition })
		add(c, rows, func(r progress) int64 { return r.through })
		add(c, rows, func(r progress) uint64 { return uint64(r.version) })
	})
	if err != nil {
		return fmt.Errorf("insert progress of partition %d: %w", cellsPartition, err)
	}
	return nil
}
