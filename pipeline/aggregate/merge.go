package aggregate

import (
	"context"
	"fmt"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/cells"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// merger folds one partition of mail.cells: the counts of all source partitions into one row per cell. The rows are
// absolute, with the offset that changed them last as their version; writing them twice changes nothing.
type merger struct {
	partition int32
	count     *counters
	merge     *cells.Merge
	rec       schema.CellRecord
	next      int64               // offset behind the last record folded
	told      int64               // progress that was written last
	rows      []warehouse.CellRow // changed and not written yet
}

func newMerger(partition int32, g *schema.Genesis, count *counters) *merger {
	return &merger{partition: partition, count: count, merge: cells.NewMerge(int(g.EventPartitions), g.CellOpenMs/60_000), told: -1}
}

// Step implements fold.Machine.
func (m *merger) Step(r *broker.Record, out *fold.Outbox) error {
	m.next = r.Offset + 1
	m.rec.Reset()
	if err := m.rec.UnmarshalVT(r.Value); err != nil {
		m.count.poison()
		return fold.DeadLetter(out, "cells", schema.TopicCells, m.partition, r, fmt.Errorf("cell: %w", err))
	}
	m.merge.Apply(&m.rec, r.Offset)
	return nil
}

// publish writes the rows that changed, and only then that they are complete.
func (m *merger) publish(ctx context.Context, client *broker.Client, db *warehouse.DB, b fold.Batch) error {
	if err := client.Produce(ctx, b.Outbox.Messages); err != nil {
		return err
	}
	m.merge.Drain(func(c *schema.Cell, version int64) {
		m.rows = append(m.rows, warehouse.CellRow{Cell: c, Version: version})
	})
	if len(m.rows) > 0 {
		if err := db.InsertCells(ctx, m.partition, m.rows); err != nil {
			return err
		}
		clear(m.rows)
		m.rows = m.rows[:0]
	}
	through := m.merge.Progress() / 60_000_000
	if through <= m.told {
		return nil
	}
	if err := db.InsertProgress(ctx, m.partition, through, m.next); err != nil {
		return err
	}
	m.told = through
	return nil
}

// AppendState implements fold.Machine.
func (m *merger) AppendState(b []byte) []byte { return m.merge.AppendState(b) }

// LoadState implements fold.Machine.
func (m *merger) LoadState(b []byte) error { return m.merge.LoadState(b) }
