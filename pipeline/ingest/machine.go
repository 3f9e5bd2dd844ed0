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
	"strings"
	"time"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/envelope"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/source"
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
	maxRecents = 1 << 19 // lines, events and mails remembered against repeats
)

// machine folds one partition of a raw topic: lines, feeds' records and mails into events.
//
// Its output is a function of the log: the same records give the same events with the same ids in the same order, so
// whoever folds them again after a crash repeats what has been sent, and the reader downstream recognises it. The site file
// is a record of the log, too.
type machine struct {
	genesis   *schema.Genesis
	topic     string
	topicNo   int
	partition int32
	keyer     address.Keyer
	location  *time.Location
	count     *counters

	envelope envelope.Reader
	carried  func(envelope.Line) // the methods line, emit and tally, as values made once
	take     source.Emit
	each     func(source.Fate, int, []byte)

	source *source.Reader
	hosts  map[string]hostState
	recent recentLines

	// of the record at hand
	record *broker.Record
	index  uint32
	out    *fold.Outbox
	backed bool // imported
	ref    time.Time
	fed    bool      // it is a feed's body: events are compared one by one with those that came before
	sender string    // by which the body's clock goes: the record's key, else the feed
	latest time.Time // of the body's events
	failed error
	fates  pending
	id     []byte
}

type hostState struct {
	clockUs int64 // latest time stamp of this host
	toldUs  int64 // clock that was last sent downstream, a whole minute
	seenMs  int64
	format  string // of its last line that told
}

func newMachine(cfg Config, g *schema.Genesis, keyer address.Keyer, topic string, partition int32, count *counters) (*machine, error) {
	no := slices.Index(g.RawTopics, topic)
	if no < 0 {
		return nil, fmt.Errorf("topic %s is none of the epoch's raw topics %v", topic, g.RawTopics)
	}
	m := &machine{
		genesis: g, topic: topic, topicNo: no, partition: partition, keyer: keyer, location: cfg.location, count: count,
		source: source.New(cfg.Source), hosts: map[string]hostState{}, recent: newRecentLines(maxRecents),
	}
	m.carried, m.take, m.each = m.line, m.emit, m.tally
	return m, nil
}

// Step implements fold.Machine.
func (m *machine) Step(r *broker.Record, out *fold.Outbox) error {
	defer m.count.flush(&m.fates)
	m.record, m.out, m.index, m.failed = r, out, 0, nil
	m.fed, m.latest = false, time.Time{}
	m.backed = len(r.Header(HeaderImport)) > 0
	m.ref = time.UnixMilli(r.TimeMs)
	if ms, err := strconv.ParseInt(string(r.Header(HeaderReference)), 10, 64); err == nil {
		m.ref = time.UnixMilli(ms)
	}
	if word := r.Header(schema.HeaderControl); len(word) > 0 {
		return m.control(string(word))
	}
	format := string(r.Header(schema.HeaderFormat))
	if format == "" {
		format = m.source.Site().TopicFormat(m.topic)
	}
	if format == "" {
		format, _ = source.Detect(r.Value)
	}
	switch {
	case format == "" || format == source.FormatLines:
		if err := m.envelope.Lines(r.Value, m.carried); err != nil {
			m.unreadable(r, err)
		}
	case format == source.FormatMail:
		if err := m.source.MissingKeys(); err != nil {
			return err // the record is not skipped: it waits until the keys are there
		}
		m.mail()
	case slices.Contains(schema.FeedFormats(), format):
		m.body(format)
	default:
		m.count.fate(&m.fates, source.Fate{Kind: mtalog.KindUnparsed, Reason: "format"}, 1, nil)
		m.deadLetter("format "+strconv.Quote(format)+" is not known", r.Value, string(r.Key))
	}
	return m.failed
}

// control applies a record that steers this fold.
func (m *machine) control(word string) error {
	if word != schema.ControlSite {
		m.count.rejected("control")
		m.deadLetter("control record "+strconv.Quote(word)+" is not known", m.record.Value, "")
		return m.failed
	}
	s, err := site.Parse(m.record.Value)
	if err != nil {
		m.count.rejected("site") // the last good one stays
		m.deadLetter(err.Error(), m.record.Value, "")
		return m.failed
	}
	if s.Revision() > m.source.Site().Revision() {
		m.source.SetSite(s)
	}
	return nil
}

// unreadable keeps the part of a record that is in no form that a shipper writes.
func (m *machine) unreadable(r *broker.Record, err error) {
	reason, rest := "envelope", r.Value
	var e *envelope.Error
	if errors.As(err, &e) {
		reason, rest = "envelope: "+e.Reason.String(), e.Rest
		m.count.rejected("envelope_" + e.Reason.String())
	}
	m.deadLetter(reason, rest, string(r.Key))
}

func (m *machine) line(l envelope.Line) {
	host := cmp.Or(l.Host, string(m.record.Key))
	if m.repeatedLine(l.Text) {
		m.count.repeated()
		return
	}
	// The carrier's own time is a better reference than the time of writing, if it is earlier: a shipper that was away
	// brings old lines. One that is ahead is not believed.
	reference := m.ref
	if !l.Time.IsZero() && l.Time.Before(reference) {
		reference = l.Time
	}
	location := m.location
	if zone := m.source.Site().Location(host); zone != nil {
		location = zone
	}
	f := m.source.Line(mtalog.Input{Line: l.Text, Host: host, Reference: reference, Location: location}, m.take)
	m.count.fate(&m.fates, f, 1, l.Text)
	if f.Kind == mtalog.KindUnparsed {
		m.deadLetter(cmp.Or(f.Reason, "unparsed"), l.Text, f.Host)
		return
	}
	if !m.backed && f.Host != "" && !f.At.IsZero() {
		m.tell(f.Host, f.Format, f.At.UnixMicro())
	}
}

// body reads a webhook's body or a piece of an accounting file.
func (m *machine) body(format string) {
	m.fed = true
	b := source.Body{
		Format: format, Feed: strings.ToValidUTF8(string(m.record.Header(schema.HeaderFeed)), "\uFFFD"),
		Host: strings.ToValidUTF8(string(m.record.Key), "\uFFFD"), Bytes: m.record.Value,
	}
	m.sender = cmp.Or(b.Host, b.Feed)
	m.source.Body(b, m.take, m.each)
	if !m.backed && m.sender != "" && !m.latest.IsZero() {
		m.tell(m.sender, format, m.latest.UnixMicro())
	}
}

func (m *machine) tally(f source.Fate, n int, text []byte) {
	m.count.fate(&m.fates, f, n, text)
	if f.At.After(m.latest) {
		m.latest = f.At
	}
	if f.Kind == mtalog.KindUnparsed {
		m.deadLetter(f.Format+": "+f.Reason, text, f.Host)
	}
}

// mail reads one raw mail. The same mail again - a delivery whose acknowledgement was lost - is a repeat.
func (m *machine) mail() {
	if !m.recent.add(hashOf(m.record.Value)) {
		m.count.repeated()
		return
	}
	in := source.Mail{Bytes: m.record.Value, At: time.UnixMilli(m.record.TimeMs).UTC(), Feed: strings.ToValidUTF8(string(m.record.Header(schema.HeaderFeed)), "\uFFFD")}
	if m.backed {
		in.At = m.ref
	}
	if to := m.record.Header(schema.HeaderRcpt); len(to) > 0 {
		in.To = strings.Split(string(to), "\n")
	}
	f := m.source.Mail(in, m.take)
	m.count.fate(&m.fates, f, 1, nil)
	if f.Kind == mtalog.KindUnparsed {
		m.deadLetter("mail: "+f.Reason, m.record.Value, f.Host)
	}
}

func (m *machine) deadLetter(reason string, value []byte, host string) {
	err := fold.SendDeadLetter(m.out, &schema.DeadLetter{
		Stage: "ingest", Reason: reason, Topic: m.topic, Partition: m.partition, Offset: m.record.Offset, Index: m.index,
		Value: value, Host: strings.ToValidUTF8(host, "\uFFFD"), // a shipper's key may be any bytes
	})
	m.failed = errors.Join(m.failed, err)
}

// emit completes what the source cannot know and sends the event to its recipient's partition.
func (m *machine) emit(ev *schema.DeliveryEvent) {
	if m.fed && m.repeatedEvent(ev) {
		m.count.rejected("repeated")
		return
	}
	to, err := address.Normalize(ev.Recipient)
	if err != nil {
		m.count.rejected("recipient")
		m.deadLetter("recipient: "+err.Error(), m.record.Value, ev.MtaHost)
		return
	}
	key := m.keyer.Key(to)
	ev.RecipientKey, ev.Domain = key, to.Domain
	if ev.Raw == nil {
		ev.Raw = &schema.RawPosition{}
	}
	ev.Raw.Topic, ev.Raw.Partition, ev.Raw.Offset, ev.Raw.Index = m.topic, m.partition, m.record.Offset, m.index
	ev.EventId = m.eventID()
	ev.Backfill = m.backed || m.late(ev)
	m.index++
	m.count.event(ev)

	value := m.out.Alloc(envelopeSize(ev))
	if err := marshalEnvelope(value, ev); err != nil {
		m.failed = errors.Join(m.failed, err)
		return
	}
	owned := m.out.Alloc(len(key))
	copy(owned, key)
	m.out.Send(schema.TopicEvents, broker.PartitionOf(key, int(m.genesis.EventPartitions)), owned, value)
}

// late reports whether an event is older than its source's clock allows. A mail's is the time of writing: the host that it
// names is another's.
func (m *machine) late(ev *schema.DeliveryEvent) bool {
	clock := m.record.TimeMs * 1000
	if ev.Mta != source.FormatMail {
		host := ev.MtaHost
		if m.fed {
			host = m.sender
		}
		clock = m.hosts[host].clockUs
	}
	return ev.OccurredAtUs < clock-lateUs
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
func (m *machine) tell(host, format string, atUs int64) {
	h, known := m.hosts[host]
	if !known {
		if len(m.hosts) >= maxHosts {
			m.forgetHost()
		}
		host = strings.Clone(host)
	}
	atUs = min(atUs, m.record.TimeMs*1000+maxSkewUs)
	h.clockUs = max(h.clockUs, atUs)
	h.seenMs = m.record.TimeMs
	h.format = cmp.Or(format, h.format)
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
		b = state.AppendString(b, h.format)
	}
	b = m.recent.appendState(b)
	return m.source.AppendState(b)
}

// LoadState implements fold.Machine.
func (m *machine) LoadState(b []byte) error {
	r := state.NewReader(b)
	for range r.Count(5) {
		name := r.String()
		m.hosts[name] = hostState{clockUs: r.Varint(), toldUs: r.Varint(), seenMs: r.Varint(), format: r.String()}
	}
	m.recent.loadState(r)
	if err := r.Err(); err != nil {
		return err
	}
	return m.source.LoadState(bytes.Clone(r.Rest()))
}
