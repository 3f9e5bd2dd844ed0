package fold

import (
	"context"
	"fmt"
	"time"

	"carom.dev/carom/pipeline/broker"
)

// start decides where to begin and proves that the log at that place is the one that the state was folded from.
func (w *worker) start(ctx context.Context) error {
	first, last, err := w.client.Offsets(ctx, w.cfg.Topic, w.partition)
	if err != nil {
		return err
	}
	if w.cfg.Dir == "" {
		return w.startStateless(first, last)
	}
	if err := w.restore(); err != nil {
		return err
	}
	switch {
	case w.next == 0 && first > 0 && !w.cfg.AcceptIncomplete && !w.cfg.Compacted:
		return fmt.Errorf("%s/%d begins at offset %d: %w; put a snapshot back, or accept the loss with the accept-incomplete flag",
			w.cfg.Topic, w.partition, first, ErrIncomplete)
	case w.next == 0:
		w.next = first
	case w.next < first || w.next > last:
		return fmt.Errorf("the snapshot in %s: %w", w.cfg.Dir,
			&broker.OffsetError{Topic: w.cfg.Topic, Partition: w.partition, Offset: w.next, First: first, Last: last})
	case w.last >= first && !w.cfg.Compacted:
		if err := w.checkContent(ctx); err != nil {
			return err
		}
	}
	w.saved, w.savedAt, w.hinted = w.next, time.Now(), w.assignment.Committed
	w.log.Info("fold starts", "offset", w.next, "first", first, "last", last)
	return nil
}

func (w *worker) startStateless(first, last int64) error {
	m, err := w.cfg.New(w.partition)
	if err != nil {
		return err
	}
	w.machine = m
	w.next = w.assignment.Committed
	if w.next < 0 {
		w.next = first
	}
	if w.next < first || w.next > last {
		return fmt.Errorf("committed position of group %s: %w", w.cfg.Group,
			&broker.OffsetError{Topic: w.cfg.Topic, Partition: w.partition, Offset: w.next, First: first, Last: last})
	}
	w.hinted = w.next
	w.log.Info("fold starts", "offset", w.next, "first", first, "last", last)
	return nil
}

// restore loads the newest snapshot that is whole; a damaged one is put aside and the one before it is taken.
func (w *worker) restore() error {
	store := w.snapshots()
	files, err := store.list()
	if err != nil {
		return err
	}
	for _, f := range files {
		m, err := w.cfg.New(w.partition)
		if err != nil {
			return err
		}
		h, err := store.read(f, m)
		if err != nil {
			w.cfg.Observe.failed(w.partition, "restore")
			w.log.Error("snapshot is damaged; taking the one before it", "file", f, "err", err)
			if err := store.putAside(f); err != nil {
				return err
			}
			continue
		}
		if h.Partitions != w.partitions {
			return fmt.Errorf("snapshot %s was taken with %d partitions of %s, there are %d now: the count is fixed for an epoch of the log",
				f, h.Partitions, w.cfg.Topic, w.partitions)
		}
		w.machine, w.next, w.last, w.lastCRC = m, h.Next, h.Last, h.LastCRC
		return nil
	}
	m, err := w.cfg.New(w.partition)
	if err != nil {
		return err
	}
	w.machine, w.next, w.last = m, 0, -1
	return nil
}

// checkContent compares the last record folded with what the snapshot saw there: a topic that was deleted and made
// again, or a log that lost its end in an unclean election and grew anew, has other words at that place.
func (w *worker) checkContent(ctx context.Context) error {
	r := w.client.NewReader(w.cfg.Topic, w.partition, w.last)
	for {
		records, _, err := r.Fetch(ctx, fetchWait)
		if err != nil && broker.Retryable(err) && ctx.Err() == nil {
			w.pause(ctx, 200*time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if len(records) == 0 {
			continue
		}
		if got := recordCRC(&records[0]); records[0].Offset != w.last || got != w.lastCRC {
			return fmt.Errorf("%s/%d: the record at offset %d is not the one that the state was folded from: the topic was made again, or lost its end",
				w.cfg.Topic, w.partition, w.last)
		}
		return nil
	}
}

func (w *worker) header() header {
	return header{
		Stage: w.cfg.Stage, Topic: w.cfg.Topic, Partition: w.partition, Partitions: w.partitions,
		Next: w.next, Last: w.last, LastCRC: w.lastCRC,
	}
}

func (w *worker) snapshots() snapshots {
	return snapshots{dir: w.cfg.Dir, stage: w.cfg.Stage, topic: w.cfg.Topic, partition: w.partition}
}
