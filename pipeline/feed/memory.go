package feed

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"carom.dev/carom/schema"
)

// MemoryConfig bounds what Memory keeps.
type MemoryConfig struct {
	MaxEntries int           // messages times recipients that wait for another attempt
	MaxBytes   int           // of all entries
	TTL        time.Duration // of log time; keep it above max_age, which is 7 days by default
}

// DefaultMemoryConfig fits KumoMTA's default lifetime of a message.
func DefaultMemoryConfig() MemoryConfig {
	return MemoryConfig{MaxEntries: 1_000_000, MaxBytes: 512 << 20, TTL: 8 * 24 * time.Hour}
}

// Validate names the field that cannot be.
func (c MemoryConfig) Validate() error {
	switch {
	case c.MaxEntries < 1:
		return fmt.Errorf("max entries %d: want 1 or more", c.MaxEntries)
	case c.MaxBytes < 1:
		return fmt.Errorf("max bytes %d: want 1 or more", c.MaxBytes)
	case c.TTL <= 0:
		return fmt.Errorf("ttl %s: want more than 0", c.TTL)
	}
	return nil
}

// The bounds of an entry: its strings are cut, the text at maxCauseText. entryBytes is about what an entry costs beside its strings.
const (
	maxCauseText = 512
	entryBytes   = 240
)

// Memory fills in what KumoMTA's Expiration leaves out. That record says only that the next attempt "would be" too late; why
// the attempts before it failed stands in the TransientFailure records of the same message and recipient. Memory
// keeps the last real one of each, within bounds: what waited longest without news is forgotten first, and its expiry
// has no cause. Attempts that were put off without being made (SUSPENDED) do not count.
//
// Memory is a fold of the events: what it keeps depends on their order and times alone. It is not safe for concurrent use.
// Make one with NewMemory.
type Memory struct {
	cfg     MemoryConfig
	entries map[string]*list.Element // of *failure, by queue id and recipient
	order   *list.List               // the one without news for longest is first
	bytes   int
	cause   schema.Cause // reused
}

// failure is the last real one of a message and recipient.
type failure struct {
	key                                string
	at                                 int64 // Unix microseconds
	code                               int32
	enhanced, text, remoteHost, remote string
	phase                              schema.Phase
	origin                             schema.Origin
	source                             schema.EnhancedSource
}

// NewMemory returns an empty table. It panics if cfg does not pass Validate.
func NewMemory(cfg MemoryConfig) *Memory {
	if err := cfg.Validate(); err != nil {
		panic("feed: " + err.Error())
	}
	return &Memory{cfg: cfg, entries: map[string]*list.Element{}, order: list.New()}
}

// Entries returns the number of failures that are remembered, Bytes about their size.
func (m *Memory) Entries() int { return len(m.entries) }

// Bytes returns about the size of what is remembered.
func (m *Memory) Bytes() int { return m.bytes }

// Complete takes the next event: it remembers a deferral, sets the cause of an expiry that has none, and forgets what is
// final. Events of other MTAs, and those without a queue id, pass unchanged. The cause belongs to the caller until the
// next call.
func (m *Memory) Complete(ev *schema.DeliveryEvent) {
	if ev.Mta != KumoMTA || ev.QueueId == "" {
		return
	}
	switch ev.Outcome {
	case schema.Outcome_DEFERRED:
		m.remember(ev)
		return
	case schema.Outcome_DELIVERED, schema.Outcome_BOUNCED, schema.Outcome_EXPIRED:
	default:
		return
	}
	e := m.entries[causeKey(ev)]
	if e == nil {
		return
	}
	f := e.Value.(*failure)
	if ev.Outcome == schema.Outcome_EXPIRED && ev.Cause == nil && !m.old(f, ev.OccurredAtUs) {
		c := &m.cause
		c.Reset()
		c.OccurredAtUs, c.SmtpCode, c.EnhancedCode, c.EnhancedSource = f.at, f.code, f.enhanced, f.source
		c.Text, c.Phase, c.Origin, c.RemoteHost, c.RemoteIp = f.text, f.phase, f.origin, f.remoteHost, f.remote
		ev.Cause = c
	}
	m.remove(e)
}

func causeKey(ev *schema.DeliveryEvent) string { return ev.QueueId + "\x00" + ev.Recipient }

func (m *Memory) old(f *failure, now int64) bool { return now-f.at > m.cfg.TTL.Microseconds() }

// remember keeps a deferral, unless a later one is known.
func (m *Memory) remember(ev *schema.DeliveryEvent) {
	key := causeKey(ev)
	if e := m.entries[key]; e != nil {
		if e.Value.(*failure).at > ev.OccurredAtUs {
			return
		}
		m.remove(e)
	}
	// The event's strings are parts of its body, which must not be kept for their sake.
	m.add(&failure{
		key: key, at: ev.OccurredAtUs, code: ev.SmtpCode, enhanced: strings.Clone(ev.EnhancedCode), text: strings.Clone(cut(ev.Text, maxCauseText)),
		remoteHost: strings.Clone(ev.RemoteHost), remote: strings.Clone(ev.RemoteIp), phase: ev.Phase, origin: ev.Origin, source: ev.EnhancedSource,
	})
	// One event makes room for two, so that a stamp from the future costs others no more than that.
	for range 2 {
		if e := m.order.Front(); e != nil && m.old(e.Value.(*failure), ev.OccurredAtUs) {
			m.remove(e)
		}
	}
	m.bound()
}

func (m *Memory) bound() {
	for len(m.entries) > m.cfg.MaxEntries || (m.bytes > m.cfg.MaxBytes && len(m.entries) > 0) {
		m.remove(m.order.Front())
	}
}

func (m *Memory) add(f *failure) {
	m.entries[f.key] = m.order.PushBack(f)
	m.bytes += f.size()
}

func (m *Memory) remove(e *list.Element) {
	f := m.order.Remove(e).(*failure)
	delete(m.entries, f.key)
	m.bytes -= f.size()
}

func (f *failure) size() int {
	return entryBytes + len(f.key) + len(f.enhanced) + len(f.text) + len(f.remoteHost) + len(f.remote)
}

// memoryVersion begins a written table.
const memoryVersion = "carom kumomta memory 1\n"

// AppendState appends the table to b. With the position of the next event, this is all that LoadState needs to go on as if
// nothing had happened.
func (m *Memory) AppendState(b []byte) []byte {
	b = append(b, memoryVersion...)
	b = binary.AppendUvarint(b, uint64(len(m.entries)))
	for e := m.order.Front(); e != nil; e = e.Next() {
		f := e.Value.(*failure)
		b = appendString(b, f.key)
		b = binary.AppendVarint(b, f.at)
		b = binary.AppendVarint(b, int64(f.code))
		b = append(b, byte(f.phase), byte(f.origin), byte(f.source))
		for _, s := range [...]string{f.enhanced, f.text, f.remoteHost, f.remote} {
			b = appendString(b, s)
		}
	}
	return b
}

// LoadState replaces the table by one that AppendState wrote; b is not kept. An error wraps ErrState and leaves the table
// as it was. If the bounds have become narrower, entries are forgotten at the next deferral.
func (m *Memory) LoadState(b []byte) error {
	s, ok := strings.CutPrefix(string(b), memoryVersion)
	if !ok {
		return fmt.Errorf("load kumomta memory: version: %w", ErrState)
	}
	d := decoder{s: s}
	loaded := NewMemory(m.cfg)
	for n := d.count(10); n > 0 && !d.bad; n-- {
		f := &failure{key: strings.Clone(d.string()), at: d.varint()}
		code := d.varint()
		f.code = int32(code)
		f.phase, f.origin, f.source = schema.Phase(d.byte()), schema.Origin(d.byte()), schema.EnhancedSource(d.byte())
		f.enhanced, f.text = strings.Clone(d.string()), strings.Clone(d.string())
		f.remoteHost, f.remote = strings.Clone(d.string()), strings.Clone(d.string())
		if d.bad || code != int64(f.code) || loaded.entries[f.key] != nil || !strings.Contains(f.key, "\x00") {
			return fmt.Errorf("load kumomta memory: entry %d from the end: %w", n, ErrState)
		}
		loaded.add(f)
	}
	if d.bad || d.s != "" {
		return fmt.Errorf("load kumomta memory: %d bytes from the end: %w", len(d.s), ErrState)
	}
	m.entries, m.order, m.bytes = loaded.entries, loaded.order, loaded.bytes
	return nil
}
