package aggregate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/cells"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/recipient"
	"carom.dev/carom/pipeline/state"
	"carom.dev/carom/schema"
)

// machine folds one partition of mail.classified: recipients into decisions, events into minute cells.
//
// What repeats in the log is removed here. Every event carries its place in the raw log; ingest emits the events of a
// raw partition in order and without a gap, so whatever is not above the highest place seen has been folded already,
// no matter who repeated it or when.
type machine struct {
	partition int32
	genesis   *schema.Genesis
	// control reads one record of mail.control; its content at an offset never changes, so reading it is part of the log.
	control func(seq int64) (*schema.Control, error)
	count   *counters

	seen       map[rawPartition]rawPlace
	controlSeq int64 // last applied, -1 before the first
	term       int64
	clocks     *clocks
	recipients *recipient.Store
	cells      *cells.Source
	sinceClose int

	ev       schema.DeliveryEvent
	envelope schema.Envelope
}

type rawPartition struct {
	topic     string
	partition int32
}

type rawPlace struct {
	offset int64
	index  uint32
}

func (p rawPlace) after(q rawPlace) bool {
	return p.offset > q.offset || (p.offset == q.offset && p.index > q.index)
}

const (
	// closeAfter bounds how many events may wait for a minute to close, for streams that move no clock (imports).
	closeAfter = 100_000
	// maxOpenCells bounds the cells in memory.
	maxOpenCells = 200_000
)

func newMachine(partition int32, g *schema.Genesis, control func(int64) (*schema.Control, error), count *counters) (*machine, error) {
	m := &machine{
		partition: partition, genesis: g, control: control, count: count,
		seen: map[rawPartition]rawPlace{}, controlSeq: -1, term: -1, clocks: newClocks(),
		recipients: recipient.NewStore(), cells: cells.NewSource(g.CellOpenMs/60_000, maxOpenCells),
	}
	return m, nil
}

// Step implements fold.Machine.
func (m *machine) Step(r *broker.Record, out *fold.Outbox) error {
	m.envelope.Reset()
	if err := m.envelope.UnmarshalVTUnsafe(r.Value); err != nil {
		return m.poison(r, out, fmt.Errorf("envelope: %w", err))
	}
	switch k := m.envelope.Kind.(type) {
	case *schema.Envelope_Classified:
		return m.event(r, k.Classified, out)
	case *schema.Envelope_Clock:
		return m.clock(r, k.Clock, out)
	case *schema.Envelope_Control:
		// Its words outlive the record (a hold's provider, say), so it is decoded once more, with strings of its own.
		owned := &schema.Envelope{}
		if err := owned.UnmarshalVT(r.Value); err != nil {
			return m.poison(r, out, fmt.Errorf("control record: %w", err))
		}
		return m.controls(r, owned.GetControl(), out)
	case *schema.Envelope_Tick:
		return m.tick(r, k.Tick, out)
	}
	return m.poison(r, out, errors.New("envelope of no known kind"))
}

func (m *machine) poison(r *broker.Record, out *fold.Outbox, cause error) error {
	m.count.poison()
	return fold.DeadLetter(out, "aggregate", schema.TopicClassified, m.partition, r, cause)
}

// fresh reports whether the record at this place has not been folded before, and remembers it.
func (m *machine) fresh(raw *schema.RawPosition) bool {
	// The name is a view into the record, and assigning to a map replaces an equal key: it has to be a string that lasts.
	key := rawPartition{partition: raw.Partition}
	if i := slices.Index(m.genesis.RawTopics, raw.Topic); i >= 0 {
		key.topic = m.genesis.RawTopics[i]
	} else {
		key.topic = strings.Clone(raw.Topic)
	}
	place := rawPlace{raw.Offset, raw.Index}
	if last, known := m.seen[key]; known && !place.after(last) {
		return false
	}
	m.seen[key] = place
	return true
}

func (m *machine) event(r *broker.Record, c *schema.ClassifiedEvent, out *fold.Outbox) error {
	ev := &m.ev
	ev.Reset()
	if err := ev.UnmarshalVTUnsafe(c.Event); err != nil {
		return m.poison(r, out, fmt.Errorf("event: %w", err))
	}
	if ev.Raw == nil || c.Verdict == nil {
		return m.poison(r, out, errors.New("event without a source position or verdict"))
	}
	if !m.fresh(ev.Raw) {
		m.count.duplicate()
		return nil
	}
	at := recipient.Position{Partition: m.partition, Offset: r.Offset}
	var failed error
	acceptance := m.recipients.Apply(ev, c.Verdict, at, func(d *schema.Decision) {
		failed = errors.Join(failed, m.decide(d, out))
	})
	if failed != nil {
		return failed
	}
	if ev.Joined { // the log has told it, and was counted
		m.count.joined()
		return nil
	}
	key := cells.Key{
		Minute: floorDiv(ev.OccurredAtUs, 60_000_000), Provider: c.Verdict.Provider, Outcome: ev.Outcome, Class: classOf(ev, c.Verdict),
		SourceIP: ev.CountedSource(), Acceptance: acceptance, Backfill: ev.Backfill,
	}
	m.cells.Add(key, r.Offset, ev.Attempt == 1 && !ev.Outcome.Engaged(), ev.DelayMs)
	m.count.folded()
	if m.sinceClose++; m.sinceClose >= closeAfter || m.cells.Full() {
		return m.close(r.Offset, out)
	}
	return nil
}

// classOf is the class under which an event is counted. Successes have none, but engagement by a machine stands apart.
func classOf(ev *schema.DeliveryEvent, v *schema.Verdict) string {
	switch {
	case ev.ByMachine():
		return cells.ClassMachine
	case ev.Outcome == schema.Outcome_DELIVERED || ev.Outcome.Engaged():
		return ""
	}
	return v.Class
}

func (m *machine) clock(r *broker.Record, c *schema.HostClock, out *fold.Outbox) error {
	if c.Raw == nil || !m.fresh(c.Raw) {
		return nil
	}
	if m.clocks.host(strings.Clone(c.Host), c.AtUs, c.LoggedAtMs, c.Raw.Partition) {
		m.count.hostMoved()
	}
	return m.advance(r.Offset, false, out)
}

func (m *machine) controls(r *broker.Record, c *schema.Control, out *fold.Outbox) error {
	if c.Seq <= m.controlSeq {
		return nil
	}
	for seq := m.controlSeq + 1; seq < c.Seq; seq++ {
		missing, err := m.control(seq)
		if err != nil {
			return fmt.Errorf("control record %d is missing before %d: %w", seq, c.Seq, err)
		}
		m.count.controlGap()
		if err := m.apply(r.Offset, missing, out); err != nil {
			return err
		}
	}
	return m.apply(r.Offset, c, out)
}

func (m *machine) apply(offset int64, c *schema.Control, out *fold.Outbox) error {
	m.controlSeq = c.Seq
	if c.GetLeader() != nil {
		m.term = c.Seq
	} else if c.Term > 0 && c.Term < m.term {
		return nil // written by a leader that had been replaced
	}
	if c.GetGenesis() != nil && c.Seq != 0 {
		return nil
	}
	var failed error
	at := recipient.Position{Partition: m.partition, Offset: offset}
	refused := m.recipients.Control(c, at, func(d *schema.Decision) { failed = errors.Join(failed, m.decide(d, out)) })
	if failed != nil {
		return failed
	}
	if refused != nil { // the state is as it was: every fold refuses the same record
		m.count.refusedControl(m.partition, c.Seq, refused)
	}
	if end := c.GetClose(); end != nil {
		m.clocks.assume(end.AtUs)
		return m.advance(offset, true, out)
	}
	return nil
}

// tick moves time on, also where there is no traffic.
func (m *machine) tick(r *broker.Record, t *schema.Tick, out *fold.Outbox) error {
	m.clocks.tick(t.AtUs)
	var failed error
	at := recipient.Position{Partition: m.partition, Offset: r.Offset}
	err := m.recipients.Control(&schema.Control{Body: &schema.Control_Tick{Tick: t}}, at, func(d *schema.Decision) {
		failed = errors.Join(failed, m.decide(d, out))
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("tick: %w", err)
	}
	return m.advance(r.Offset, true, out)
}

// advance closes what the watermark has passed.
func (m *machine) advance(offset int64, force bool, out *fold.Outbox) error {
	before := m.clocks.wm
	now := m.clocks.watermark()
	if force || now/60_000_000 > before/60_000_000 {
		return m.close(offset, out)
	}
	return nil
}

// close emits the cells that changed, then says how far this partition is complete. It happens at places that the log
// alone decides, so a fold that is repeated emits the same records in the same order.
func (m *machine) close(offset int64, out *fold.Outbox) error {
	m.sinceClose = 0
	wm := m.clocks.watermark()
	index := uint32(0)
	var failed error
	send := func(rec *schema.CellRecord, partition int32, key []byte) {
		rec.Epoch, rec.SourcePartition, rec.SourceOffset, rec.Index = m.genesis.Epoch, m.partition, offset, index
		index++
		value := out.Alloc(rec.SizeVT())
		if _, err := rec.MarshalToSizedBufferVT(value); err != nil {
			failed = errors.Join(failed, fmt.Errorf("encode cell: %w", err))
			return
		}
		out.Send(schema.TopicCells, partition, key, value)
	}
	m.cells.Close(wm/60_000_000, false, func(c *schema.Cell, final bool) {
		key := cells.PartitionKey(c)
		send(&schema.CellRecord{Cell: c, Final: final}, broker.PartitionOf(key, int(m.genesis.CellPartitions)), key)
	})
	for p := range m.genesis.CellPartitions {
		send(&schema.CellRecord{WatermarkUs: wm}, p, nil)
	}
	return failed
}

// decide sends a decision to the history and to the compacted list.
func (m *machine) decide(d *schema.Decision, out *fold.Outbox) error {
	value := out.Alloc(d.SizeVT())
	if _, err := d.MarshalToSizedBufferVT(value); err != nil {
		return fmt.Errorf("encode decision: %w", err)
	}
	key := out.Alloc(len(d.Scope) + 1 + len(d.RecipientKey))
	n := copy(key, d.Scope)
	key[n] = 0
	copy(key[n+1:], d.RecipientKey)
	// By recipient alone, so that all scopes of one recipient stay in order.
	partition := broker.PartitionOf(d.RecipientKey, int(m.genesis.EventPartitions))
	out.Send(schema.TopicDecisions, partition, key, value)
	out.Send(schema.TopicSuppressions, partition, key, value)
	m.count.decision(d)
	return nil
}

// AppendState implements fold.Machine.
func (m *machine) AppendState(b []byte) []byte {
	b = binary.AppendVarint(b, m.controlSeq)
	b = binary.AppendVarint(b, m.term)
	b = binary.AppendUvarint(b, uint64(m.sinceClose))
	keys := slices.SortedFunc(maps.Keys(m.seen), func(a, c rawPartition) int {
		if d := strings.Compare(a.topic, c.topic); d != 0 {
			return d
		}
		return int(a.partition - c.partition)
	})
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = state.AppendString(b, k.topic)
		b = binary.AppendVarint(b, int64(k.partition))
		b = binary.AppendVarint(b, m.seen[k].offset)
		b = binary.AppendUvarint(b, uint64(m.seen[k].index))
	}
	b = state.AppendBytes(b, m.clocks.appendState(nil))
	b = state.AppendBytes(b, m.recipients.AppendState(nil))
	return state.AppendBytes(b, m.cells.AppendState(nil))
}

// LoadState implements fold.Machine.
func (m *machine) LoadState(b []byte) error {
	r := state.NewReader(b)
	m.controlSeq, m.term, m.sinceClose = r.Varint(), r.Varint(), int(r.Uvarint())
	for range r.Count(4) {
		k := rawPartition{topic: r.String(), partition: int32(r.Varint())}
		m.seen[k] = rawPlace{offset: r.Varint(), index: uint32(r.Uvarint())}
	}
	clocks, recipients, counts := r.Bytes(), r.Bytes(), r.Bytes()
	if err := r.Err(); err != nil {
		return err
	}
	if err := m.clocks.loadState(clocks); err != nil {
		return err
	}
	if err := m.recipients.LoadState(recipients); err != nil {
		return fmt.Errorf("recipients: %w", err)
	}
	if err := m.cells.LoadState(counts); err != nil {
		return fmt.Errorf("cells: %w", err)
	}
	return nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
