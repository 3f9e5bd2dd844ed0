package warehouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// MaxRows bounds one insert, so that it is one block on the server (max_insert_block_size is 1,048,449) and its memory
// is bounded here.
const MaxRows = 500_000

// maxTime is the last moment that is stored, Unix microseconds: 2100-01-01. ClickHouse's DateTime, which the TTL is
// computed with, ends in 2106; a log with a broken clock may say more.
const maxTime = 4_102_444_800_000_000

// columns fills the columns of one block, in the order of the INSERT's list. After the first error it does nothing.
type columns struct {
	batch   driver.Batch
	next    int
	err     error
	scratch []any // one slice for each type of value; the driver copies what it is given
}

// add appends one column: value is called for every row, in order.
func add[R, T any](c *columns, rows []R, value func(R) T) {
	if c.err != nil {
		return
	}
	values := buffer[T](c, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	if err := c.batch.Column(c.next).Append(values); err != nil {
		c.err = fmt.Errorf("column %d: %w", c.next+1, err)
	}
	c.next++
}

// buffer returns the slice of T that the columns of this block share; all have the same number of rows.
func buffer[T any](c *columns, rows int) []T {
	for _, s := range c.scratch {
		if values, ok := s.([]T); ok {
			return values
		}
	}
	values := make([]T, rows)
	c.scratch = append(c.scratch, values)
	return values
}

// insert sends one block. settings may be nil.
func insert[R any](ctx context.Context, db *DB, query string, settings clickhouse.Settings, rows []R, fill func(*columns, []R)) error {
	if len(rows) == 0 {
		return nil
	}
	if len(rows) > MaxRows {
		return fmt.Errorf("%w: %d, limit %d", ErrTooManyRows, len(rows), MaxRows)
	}
	ctx, cancel := context.WithTimeout(ctx, db.cfg.InsertTimeout)
	defer cancel()
	all := clickhouse.Settings{
		"async_insert": 0,
		// A replay of old logs may touch many time partitions at once.
		"max_partitions_per_insert_block": 0,
	}
	for k, v := range settings {
		all[k] = v
	}
	conn, err := db.pool(ctx)
	if err != nil {
		return err
	}
	batch, err := conn.PrepareBatch(clickhouse.Context(ctx, clickhouse.WithSettings(all)), query)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	c := &columns{batch: batch}
	fill(c, rows)
	if c.err != nil {
		// The connection is in the middle of an insert: Abort drops it.
		_ = batch.Abort()
		return c.err
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("send %d rows: %w", len(rows), err)
	}
	return nil
}

// at converts Unix microseconds. Times outside of what is stored become its first or last moment.
func at(us int64) time.Time { return time.UnixMicro(min(max(us, 0), maxTime)).UTC() }

// count converts a count that cannot be negative; a negative one, the result of a broken clock, is 0.
func count(v int64) uint64 { return uint64(max(v, 0)) }

// small converts a code or port; what does not fit is none.
func small[T int32 | uint32](v T) uint16 {
	if v < 0 || int64(v) > 65535 {
		return 0
	}
	return uint16(v)
}

// enum is the names of an enum by number, as the tables spell them. A number of a newer release has the name of 0.
type enum []string

func (e enum) name(n int32) string {
	if n < 0 || int(n) >= len(e) {
		return e[0]
	}
	return e[n]
}

// enumOf lists the names for the numbers of a protobuf enum, which have no gaps.
func enumOf[E ~int32](numbers map[int32]string, name func(E) string) enum {
	e := make(enum, len(numbers))
	for n := range numbers {
		e[n] = name(E(n))
	}
	return e
}
