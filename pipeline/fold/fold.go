// Package fold runs a state machine over a Kafka partition and keeps the promise that everything else stands on:
//
//	state of a partition = fold(Step, log[0..next))
//
// A Machine is pure: Step sees the state and one record, nothing else. This package does the rest, in one order for
// every batch, so that a reader can say what happens when the process dies at any line:
//
//	1 fetch    the batch at next; a gap, a truncated or a re-created log is an error, never skipped
//	2 fold     Step for every record; what has to leave goes to the Outbox
//	3 publish  the Outbox, acknowledged by every in-sync replica (or the warehouse); tried again until it works
//	4 snapshot state and next together, in one file, every so often; only what is published is ever saved
//	5 commit   what is published to the consumer group: a hint for people and lag monitors, never read back by stateful folds
//
// Death before 3 is done: nothing happened, or part of the outbox is out; the next owner restores the last snapshot,
// folds the same records and publishes the same messages again, in the same order. Death between 3 and 4: the same.
// Readers of the outbox therefore see repeats, always in order, and remove them by the source position that each
// message carries. Two owners at once (a paused process that wakes up) are two such writers, and equally harmless.
//
// A stateless fold (no Dir) has nothing to save; it starts at the group's committed offset, which trails what is
// published.
package fold

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"time"

	"carom.dev/carom/pipeline/broker"
)

// Machine is the state of one partition. It belongs to one goroutine.
type Machine interface {
	// Step folds one record. r and what it refers to are valid until the outbox is published. An error means that the
	// fold cannot go on (a broken invariant); bad input is not an error but data.
	Step(r *broker.Record, out *Outbox) error
	// AppendState appends the whole state to b; LoadState restores it into a new machine. Splitting a log anywhere,
	// saving and loading must equal never splitting.
	AppendState(b []byte) []byte
	LoadState(b []byte) error
}

// Outbox collects what a batch has to publish. Nothing in it leaves before the batch is folded.
type Outbox struct {
	Messages []broker.Message
	arena    []byte
}

// Alloc returns n bytes that live until the outbox is published.
func (o *Outbox) Alloc(n int) []byte {
	if len(o.arena)+n > cap(o.arena) {
		o.arena = make([]byte, 0, max(1<<20, n))
	}
	from := len(o.arena)
	o.arena = o.arena[:from+n]
	return o.arena[from : from+n : from+n]
}

// Send adds a message. key and value must live until the outbox is published.
func (o *Outbox) Send(topic string, partition int32, key, value []byte) {
	o.Messages = append(o.Messages, broker.Message{Topic: topic, Partition: partition, Key: key, Value: value})
}

func (o *Outbox) reset() {
	clear(o.Messages)
	o.Messages = o.Messages[:0]
	o.arena = o.arena[:0]
}

// Batch is what Publish gets.
type Batch struct {
	Topic     string
	Partition int32
	From, To  int64 // offsets folded since the last publish: [From, To)
	Records   int
	Trace     string // traceparent of the first record that carried one
	Outbox    *Outbox
}

// Config describes a fold.
type Config struct {
	Stage  string // for logs and snapshot names
	Topic  string
	Group  string
	Member string // stable name of this replica
	// Dir keeps the snapshots; empty makes the fold stateless.
	Dir           string
	SnapshotEvery time.Duration
	// Volatile machines change between records too (deliveries acknowledged, say); they are saved although no record came.
	Volatile bool
	// Linger lets batches grow before they are published, for sinks that want large writes. Messages must not refer to
	// records then.
	Linger time.Duration
	// MaxPending publishes before Linger is over when that many records have been folded; with 0 Linger has no effect.
	MaxPending int
	// Compacted topics have holes in their offsets.
	Compacted bool
	// AcceptIncomplete starts a stateful fold without a snapshot although the log no longer begins at 0.
	AcceptIncomplete bool

	New func(partition int32) (Machine, error)
	// Publish makes the effects of a batch durable. It may be called again with the same batch after an error.
	Publish func(ctx context.Context, m Machine, b Batch) error
	// While, if set, runs in a goroutine of its own for as long as this member owns the partition. The machine is folded
	// at the same time: what both touch is theirs to guard.
	While   func(ctx context.Context, partition int32, m Machine)
	Observe *Observer
	Logger  *slog.Logger
}

const (
	fetchWait   = 500 * time.Millisecond
	commitEvery = time.Second
	drainFor    = 10 * time.Second
)

// Run folds the partitions that the group hands to this member, until ctx ends. On the way out every worker finishes
// its batch, publishes and saves it.
func Run(ctx context.Context, client *broker.Client, cfg Config) error {
	partitions, err := client.Partitions(ctx, cfg.Topic)
	if err != nil {
		return err
	}
	group := broker.GroupConfig{ID: cfg.Group, Topic: cfg.Topic, Member: cfg.Member, Logger: cfg.Logger, Joined: cfg.Observe.joined}
	return client.Run(ctx, group, func(ctx context.Context, a broker.Assignment) error {
		w := &worker{
			cfg: &cfg, client: client, last: -1, partition: a.Partition, partitions: partitions, assignment: a,
			log: cfg.Logger.With("fold", cfg.Stage, "topic", cfg.Topic, "partition", a.Partition),
		}
		defer cfg.Observe.stopped(a.Partition)
		return w.run(ctx)
	})
}

type worker struct {
	cfg        *Config
	client     *broker.Client
	partition  int32
	partitions int
	assignment broker.Assignment
	log        *slog.Logger

	machine Machine
	next    int64  // first offset that is not folded
	last    int64  // offset of the last record folded
	lastCRC uint32 // of that record: recognises a re-created log

	outbox   Outbox
	pending  int   // records folded and not published
	from     int64 // first of them
	trace    string
	since    time.Time
	saved    int64 // next of the last snapshot
	savedAt  time.Time
	hinted   int64
	hintedAt time.Time
	caughtUp bool
}

func (w *worker) run(ctx context.Context) error {
	if err := w.start(ctx); err != nil {
		w.cfg.Observe.failed(w.partition, "start")
		return err
	}
	w.cfg.Observe.restored(w.partition)
	if w.cfg.While != nil {
		owned, release := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.cfg.While(owned, w.partition, w.machine)
		}()
		defer func() { release(); <-done }()
	}
	reader := w.client.NewReader(w.cfg.Topic, w.partition, w.next)
	for ctx.Err() == nil {
		w.cfg.Observe.progress(w.partition)
		wait := fetchWait
		if w.pending > 0 {
			wait = max(0, min(wait, w.cfg.Linger-time.Since(w.since)))
		}
		records, end, err := reader.Fetch(ctx, wait)
		if err != nil && ctx.Err() == nil {
			if !broker.Retryable(err) {
				w.cfg.Observe.failed(w.partition, "fetch")
				return err
			}
			w.log.Warn("fetch failed; trying again", "err", err)
			w.pause(ctx, 200*time.Millisecond)
			continue
		}
		if err := w.fold(records, reader.Markers(), reader.Next()); err != nil {
			w.cfg.Observe.failed(w.partition, "fold")
			return err
		}
		w.caughtUp = w.next >= end
		w.cfg.Observe.folded(w.partition, len(records), end-w.next)
		due := w.pending > 0 && (time.Since(w.since) >= w.cfg.Linger || w.pending >= w.cfg.MaxPending)
		if due {
			if err := w.publish(ctx); err != nil {
				break // the end came in between: stop publishes once more, within its bound
			}
		}
		if w.pending == 0 {
			w.save(false)
			w.hint(false)
		}
	}
	return w.stop()
}

// stop publishes and saves what is folded, within a bound: what does not make it is folded again by the next owner.
func (w *worker) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainFor)
	defer cancel()
	if w.pending > 0 {
		if err := w.publish(ctx); err != nil {
			return err
		}
	}
	w.save(true)
	w.hint(true)
	return nil
}

func (w *worker) fold(records []broker.Record, markers []broker.Range, next int64) error {
	for i := range records {
		r := &records[i]
		w.passMarkers(markers)
		if r.Offset != w.next && (!w.cfg.Compacted || r.Offset < w.next) {
			return fmt.Errorf("%s/%d: read offset %d, want %d: records are missing in between", w.cfg.Topic, w.partition, r.Offset, w.next)
		}
		if w.pending == 0 {
			w.from, w.since = w.next, time.Now()
		}
		if w.trace == "" && len(r.Headers) > 0 {
			w.trace = string(r.Header("traceparent"))
		}
		if err := w.machine.Step(r, &w.outbox); err != nil {
			return fmt.Errorf("fold %s/%d at %d: %w", w.cfg.Topic, w.partition, r.Offset, err)
		}
		w.next = r.Offset + 1
		w.pending++
	}
	if n := len(records); n > 0 {
		w.last, w.lastCRC = records[n-1].Offset, recordCRC(&records[n-1])
	}
	w.passMarkers(markers)
	if w.cfg.Compacted {
		w.next = max(w.next, next)
	}
	return nil
}

// passMarkers steps over places that hold transaction markers.
func (w *worker) passMarkers(markers []broker.Range) {
	for _, m := range markers {
		if m.First <= w.next && w.next <= m.Last {
			w.next = m.Last + 1
		}
	}
}

// publish tries until it works: nothing may overtake the batch, and dropping it would lose it until the next restart.
func (w *worker) publish(ctx context.Context) error {
	started := time.Now()
	b := Batch{
		Topic: w.cfg.Topic, Partition: w.partition, From: w.from, To: w.next, Records: w.pending,
		Trace: w.trace, Outbox: &w.outbox,
	}
	ctx, span := w.cfg.Observe.span(ctx, &b)
	defer span.End()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := w.cfg.Publish(ctx, w.machine, b)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("publish %s/%d [%d, %d): %w", w.cfg.Topic, w.partition, w.from, w.next, err)
		}
		w.cfg.Observe.failed(w.partition, "publish")
		w.log.Warn("publish failed; trying again", "from", w.from, "to", w.next, "err", err)
		w.pause(ctx, pause)
		w.cfg.Observe.progress(w.partition)
	}
	w.cfg.Observe.published(w.partition, len(w.outbox.Messages), time.Since(started))
	w.outbox.reset()
	w.pending, w.trace = 0, ""
	return nil
}

func (w *worker) save(now bool) {
	if w.cfg.Dir == "" || (w.saved == w.next && !w.cfg.Volatile) || (!now && time.Since(w.savedAt) < w.cfg.SnapshotEvery) {
		return
	}
	started := time.Now()
	n, err := w.snapshots().write(w.header(), w.machine)
	w.savedAt = time.Now()
	if err != nil {
		// Not fatal: the state is in memory and in the log; only a restart takes longer.
		w.cfg.Observe.failed(w.partition, "snapshot")
		w.log.Error("snapshot failed", "err", err)
		return
	}
	w.saved = w.next
	w.cfg.Observe.snapshotted(w.partition, n, time.Since(started))
}

// hint commits what is published, for lag monitors and people, and as the start of a stateless fold. Once the worker has
// caught up it does so soon.
func (w *worker) hint(now bool) {
	every := commitEvery
	if w.caughtUp {
		every = commitEvery / 10
	}
	if w.hinted == w.next || (!now && time.Since(w.hintedAt) < every) {
		return
	}
	w.hintedAt = time.Now()
	if err := w.assignment.Commit(w.next); err != nil {
		w.log.Debug("committing the hint failed", "err", err)
		return
	}
	w.hinted = w.next
}

func (w *worker) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func recordCRC(r *broker.Record) uint32 {
	return crc32.Update(crc32.Checksum(r.Key, castagnoli), castagnoli, r.Value)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrIncomplete means that the state cannot be rebuilt: there is no snapshot and the log no longer begins at 0.
var ErrIncomplete = errors.New("no snapshot, and the beginning of the log is gone")
