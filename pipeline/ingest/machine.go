package ingest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/envelope"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/state"
	"carom.dev/carom/schema"
)

// HeaderImport marks a raw record as part of an import: its events are counted and judged, and never alert.
const HeaderImport = "carom-import"

// HeaderReference, Unix milliseconds, says when an imported record was current; it gives stamps without a year theirs.
// Without it the time of writing counts.
const HeaderReference = "carom-reference"

const (
	lateUs     = 10 * 60 * 1_000_000 // a line so much older than its host's clock is backfill
	maxSkewUs  = 5 * 60 * 1_000_000  // a host's clock is believed so far ahead of the time of writing
	maxHosts   = 1 << 14
	maxRecents = 1 << 18 // lines remembered against a shipper's repeats
)

// machine folds one partition of a raw topic: lines into events.
//
// Its output is a function of the log: the same records give the same events with the same ids in the same order, so
// whoever folds them again after a crash repeats what has been sent, and the reader downstream recognises it.
type machine struct {
	genesis   *schema.Genesis
	topic     string
	topicNo   int
	partition int32
	keyer     address.Keyer
	location  *time.Location
	count     *counters

	envelope envelope.Reader
	carried  func(envelope.Line) // line, as a value made once

	lines  *mtalog.Correlator
	hosts  map[string]hostState
	recent recentLines

	// of the record at hand
	record *broker.Record
	index  uint32
	out    *fold.Outbox
	backed bool // imported
	ref    time.Time
	failed error
	id     []byte
}

type hostState struct {
	clockUs int64 // latest time stamp of this host
	toldUs  int64 // clock that was last sent downstream, a whole minute
	seenMs  int64
}

func newMachine(cfg Config, g *schema.Genesis, keyer address.Keyer, topic string, partition int32, count *counters) (*machine, error) {
	no := slices.Index(g.RawTopics, topic)
	if no < 0 {
		return nil, fmt.Errorf("topic %s is none of the epoch's raw topics %v", topic, g.RawTopics)
	}
	m := &machine{
		genesis: g, topic: topic, topicNo: no, partition: partition, keyer: keyer, location: cfg.location, count: count,
		lines: mtalog.NewCorrelator(cfg.Correlator), hosts: map[string]hostState{}, recent: newRecentLines(maxRecents),
	}
	m.carried = m.line
	return m, nil
}

// Step implements fold.Machine.
func (m *machine) Step(r *broker.Record, out *fold.Outbox) error {
	m.record, m.out, m.index, m.failed = r, out, 0, nil
	m.backed = len(r.Header(HeaderImport)) > 0
	m.ref = time.UnixMilli(r.TimeMs)
	if ms, err := strconv.ParseInt(string(r.Header(HeaderReference)), 10, 64); err == nil {
		m.ref = time.UnixMilli(ms)
	}
	if err := m.envelope.Lines(r.Value, m.carried); err != nil {
		m.unreadable(r, err)
	}
	return m.failed
}

// unreadable keeps the part of a record that is in no form that a shipper writes.
func (m *machine) unreadable(r *broker.Record, err error) {
	reason, rest := "envelope", r.Value
	var e *envelope.Error
	if errors.As(err, &e) {
		reason, rest = "envelope: "+e.Reason.String(), e.Rest
		m.count.rejected("envelope_" + e.Reason.String())
	}
	m.failed = errors.Join(m.failed, fold.SendDeadLetter(m.out, &schema.DeadLetter{
		Stage: "ingest", Reason: reason, Topic: m.topic, Partition: m.partition, Offset: r.Offset, Index: m.index, Value: rest, Host: string(r.Key),
	}))
}

func (m *machine) line(l envelope.Line) {
	line := l.Text
	if m.repeated(line) {
		m.count.repeated()
		return
	}
	// The carrier's own time is a better reference than the time of writing, if it is earlier: a shipper that was away
	// brings old lines. One that is ahead is not believed.
	reference := m.ref
	if !l.Time.IsZero() && l.Time.Before(reference) {
		reference = l.Time
	}
	res := m.lines.Line(mtalog.Input{
		Line: line, Host: cmp.Or(l.Host, string(m.record.Key)), Reference: reference, Location: m.location,
	}, m.emit)
	m.count.result(res)
	if res.Kind == mtalog.KindUnparsed {
		m.deadLetter(line, res)
		return
	}
	if !m.backed && res.Host != "" && !res.At.IsZero() {
		m.tell(res.Host, res.At.UnixMicro())
	}
}

// repeated reports whether the same delivery line came from this host within the last minutes of its own time: a
// shipper that lost its acknowledgement or re-read a rotated file sends it again, stamp and process id included.
func (m *machine) repeated(line []byte) bool {
	if !bytes.Contains(line, []byte(" status=")) {
		return false
	}
	h := xxhash.New()
	_, _ = h.Write(m.record.Key)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(line)
	return !m.recent.add(h.Sum64())
}

func (m *machine) deadLetter(line []byte, res mtalog.Result) {
	err := fold.SendDeadLetter(m.out, &schema.DeadLetter{
		Stage: "ingest", Reason: res.Reason.String(), Topic: m.topic, Partition: m.partition, Offset: m.record.Offset, Index: m.index,
		Value: line, Host: res.Host,
	})
	m.failed = errors.Join(m.failed, err)
}

// emit completes what the log cannot know and sends the event to its recipient's partition.
func (m *machine) emit(ev *schema.DeliveryEvent) {
	to, err := address.Normalize(ev.Recipient)
	if err != nil {
		m.count.rejected("recipient")
		m.failed = errors.Join(m.failed, fold.SendDeadLetter(m.out, &schema.DeadLetter{
			Stage: "ingest", Reason: "recipient: " + err.Error(), Topic: m.topic, Partition: m.partition,
			Offset: m.record.Offset, Index: m.index, Value: m.record.Value, Host: ev.MtaHost,
		}))
		return
	}
	key := m.keyer.Key(to)
	ev.RecipientKey, ev.Domain = key, to.Domain
	if ev.Raw == nil {
		ev.Raw = &schema.RawPosition{}
	}
	ev.Raw.Topic, ev.Raw.Partition, ev.Raw.Offset, ev.Raw.Index = m.topic, m.partition, m.record.Offset, m.index
	ev.EventId = m.eventID()
	ev.Backfill = m.backed || ev.OccurredAtUs < m.hosts[ev.MtaHost].clockUs-lateUs
	m.index++

	value := m.out.Alloc(envelopeSize(ev))
	if err := marshalEnvelope(value, ev); err != nil {
		m.failed = errors.Join(m.failed, err)
		return
	}
	owned := m.out.Alloc(len(key))
	copy(owned, key)
	m.out.Send(schema.TopicEvents, broker.PartitionOf(key, int(m.genesis.EventPartitions)), owned, value)
}

// eventID is the source position in words: epoch, number of the raw topic, partition, offset, number within the record.
func (m *machine) eventID() string {
	b := append(m.id[:0], m.genesis.Epoch...)
	b = strconv.AppendInt(append(b, '.'), int64(m.topicNo), 10)
	b = strconv.AppendInt(append(b, '.'), int64(m.partition), 10)
	b = strconv.AppendInt(append(b, '.'), m.record.Offset, 10)
	b = strconv.AppendUint(append(b, '.'), uint64(m.index), 10)
	m.id = b
	return string(b)
}

// tell moves a host's clock and, when a minute is over, says so to every partition: what comes later from this host is
// of a later minute.
func (m *machine) tell(host string, atUs int64) {
	h, known := m.hosts[host]
	if !known && len(m.hosts) >= maxHosts {
		m.forgetHost()
	}
	atUs = min(atUs, m.record.TimeMs*1000+maxSkewUs)
	h.clockUs = max(h.clockUs, atUs)
	h.seenMs = m.record.TimeMs
	minute := h.clockUs - h.clockUs%60_000_000
	if minute > h.toldUs {
		h.toldUs = minute
		clock := &schema.Envelope{Kind: &schema.Envelope_Clock{Clock: &schema.HostClock{
			Raw:  &schema.RawPosition{Topic: m.topic, Partition: m.partition, Offset: m.record.Offset, Index: m.index},
			Host: host, AtUs: minute, LoggedAtMs: m.record.TimeMs,
		}}}
		m.index++
		value := m.out.Alloc(clock.SizeVT())
		if _, err := clock.MarshalToSizedBufferVT(value); err != nil {
			m.failed = errors.Join(m.failed, fmt.Errorf("encode clock: %w", err))
		}
		for p := range m.genesis.EventPartitions {
			m.out.Send(schema.TopicEvents, p, nil, value)
		}
	}
	m.hosts[host] = h
}

// forgetHost drops the host that was silent longest.
func (m *machine) forgetHost() {
	var oldest string
	for name, h := range m.hosts {
		o, ok := m.hosts[oldest]
		if !ok || h.seenMs < o.seenMs || (h.seenMs == o.seenMs && name < oldest) {
			oldest = name
		}
	}
	delete(m.hosts, oldest)
}

// AppendState implements fold.Machine.
func (m *machine) AppendState(b []byte) []byte {
	names := slices.SortedFunc(maps.Keys(m.hosts), cmp.Compare[string])
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, n := range names {
		h := m.hosts[n]
		b = state.AppendString(b, n)
		b = binary.AppendVarint(b, h.clockUs)
		b = binary.AppendVarint(b, h.toldUs)
		b = binary.AppendVarint(b, h.seenMs)
	}
	b = m.recent.appendState(b)
	return m.lines.AppendState(b)
}

// LoadState implements fold.Machine.
func (m *machine) LoadState(b []byte) error {
	r := state.NewReader(b)
	for range r.Count(4) {
		name := r.String()
		m.hosts[name] = hostState{clockUs: r.Varint(), toldUs: r.Varint(), seenMs: r.Varint()}
	}
	m.recent.loadState(r)
	if err := r.Err(); err != nil {
		return err
	}
	if err := m.lines.LoadState(r.Rest()); err != nil {
		return fmt.Errorf("queue table: %w", err)
	}
	return nil
}
