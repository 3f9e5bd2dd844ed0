package mtalog

import (
	"encoding/binary"
	"fmt"
	"math"

	"carom.dev/carom/schema"
)

// stateVersion begins every written table. A table of another version is refused, and the log is read again instead.
const stateVersion = "carom queue 4\n"

// AppendState appends the queue table to b. Equal tables give equal bytes. Together with the position of the next line
// this is all that LoadState needs to go on as if nothing had happened.
func (c *Correlator) AppendState(b []byte) []byte {
	b = append(b, stateVersion...)
	number := make(map[*hostQueue]int, len(c.queue.hosts))
	var hosts []*hostQueue // by their oldest entry, since a map has no order
	for e := c.queue.order.first; e != nil; e = e.links[0].next {
		if _, ok := number[e.host]; !ok {
			number[e.host] = len(hosts)
			hosts = append(hosts, e.host)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(hosts)))
	for _, h := range hosts {
		b = appendString(b, h.name)
		b = binary.AppendVarint(b, h.clock)
	}
	b = binary.AppendUvarint(b, uint64(c.queue.entries))
	for e := c.queue.order.first; e != nil; e = e.links[0].next {
		b = binary.AppendUvarint(b, uint64(number[e.host]))
		b = appendEntry(b, e)
	}
	b = binary.AppendUvarint(b, uint64(len(c.mx.hosts)))
	for d := c.mx.first; d != nil; d = d.next {
		b = appendString(appendString(b, d.domain), d.host)
	}
	return b
}

func appendEntry(b []byte, e *entry) []byte {
	b = appendString(b, e.id)
	b = binary.AppendVarint(b, e.touched)
	b = append(b, flag(e.hasSender, 1)|flag(e.active, 2)|flag(e.known, 4))
	b = appendString(b, e.sender)
	b = appendString(b, e.messageID)
	b = appendString(b, e.labels.Tenant)
	b = appendString(b, e.labels.Stream)
	b = appendString(b, e.labels.Campaign)
	b = append(b, e.labels.Ranks[:]...)
	b = binary.AppendVarint(b, e.size)
	b = binary.AppendVarint(b, e.nrcpt)
	b = binary.AppendVarint(b, e.done)
	b = append(b, byte(e.phase))
	b = appendString(b, e.note)
	b = appendString(b, e.peerHost)
	b = appendString(b, e.peerIP)
	b = binary.AppendUvarint(b, uint64(len(e.waiting)))
	for i := range e.waiting {
		r := &e.waiting[i]
		b = appendString(b, r.address)
		b = appendString(b, r.original)
		b = binary.AppendUvarint(b, uint64(r.attempts))
		b = binary.AppendVarint(b, r.run)
		f := r.cause
		if f == nil {
			b = append(b, 0)
			continue
		}
		b = append(b, 1|flag(f.others, 2)|flag(f.recalled, 4))
		b = binary.AppendVarint(b, f.at)
		b = binary.AppendVarint(b, int64(f.code))
		b = append(b, byte(f.source), byte(f.phase), byte(f.origin))
		b = appendString(b, f.enhanced)
		b = appendString(b, f.text)
		b = appendString(b, f.host)
		b = appendString(b, f.ip)
		b = appendString(b, f.instance)
	}
	return b
}

// LoadState replaces the table by one that AppendState wrote. b is not kept. An error wraps ErrState and leaves the
// Correlator as it was. If the bounds have become narrower, entries are forgotten at the next line that adds one.
func (c *Correlator) LoadState(b []byte) error {
	d := decoder{b: b}
	if !d.literal(stateVersion) {
		return fmt.Errorf("load queue table: version: %w", ErrState)
	}
	q := newQueue()
	hosts := make([]*hostQueue, d.count(2))
	for i := range hosts {
		name := d.string()
		hosts[i] = &hostQueue{name: name, clock: d.varint(), entries: map[string]*entry{}, order: list{which: 1}}
		if q.hosts[name] != nil {
			return fmt.Errorf("load queue table: host %q twice: %w", name, ErrState)
		}
		q.hosts[name] = hosts[i]
	}
	for n := d.count(20); n > 0 && !d.bad; n-- {
		h := d.uvarint()
		if d.bad || h >= uint64(len(hosts)) {
			return fmt.Errorf("load queue table: host %d of %d: %w", h, len(hosts), ErrState)
		}
		e := d.entry(hosts[h])
		if hosts[h].entries[e.id] != nil {
			return fmt.Errorf("load queue table: queue id %q twice: %w", e.id, ErrState)
		}
		hosts[h].entries[e.id] = e
		q.entries++
		q.bytes += e.bytes
		q.order.pushBack(e)
		hosts[h].order.pushBack(e)
	}
	mx := newLastMX()
	for n := d.count(2); n > 0 && !d.bad; n-- {
		domain, host := d.string(), d.string()
		if domain == "" || host == "" || mx.hosts[domain] != nil {
			return fmt.Errorf("load queue table: host %q of domain %q: %w", host, domain, ErrState)
		}
		mx.saw(domain, host, math.MaxInt)
	}
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("load queue table: %d bytes from the end: %w", len(d.b), ErrState)
	}
	for _, h := range hosts {
		if len(h.entries) == 0 {
			return fmt.Errorf("load queue table: host %q has no entries: %w", h.name, ErrState)
		}
	}
	c.queue, c.mx = q, mx
	return nil
}

func (d *decoder) entry(h *hostQueue) *entry {
	e := &entry{host: h, id: d.string(), touched: d.varint()}
	flags := d.byte()
	e.hasSender, e.active, e.known = flags&1 != 0, flags&2 != 0, flags&4 != 0
	if flags > 7 {
		d.bad = true
	}
	e.sender, e.messageID = d.string(), d.string()
	e.labels.Tenant, e.labels.Stream, e.labels.Campaign = d.string(), d.string(), d.string()
	e.labels.Ranks = [3]uint8{d.byte(), d.byte(), d.byte()}
	e.size, e.nrcpt, e.done = d.varint(), d.varint(), d.varint()
	e.phase = schema.Phase(d.byte())
	e.note, e.peerHost, e.peerIP = d.string(), d.string(), d.string()
	e.bytes = entryBytes + int64(len(e.id)+len(e.sender)+len(e.messageID)+len(e.labels.Tenant)+len(e.labels.Stream)+len(e.labels.Campaign)+len(e.note)+len(e.peerHost)+len(e.peerIP))
	n := d.count(5)
	if n > 0 {
		e.waiting = make([]recipient, 0, n)
	}
	for ; n > 0 && !d.bad; n-- {
		r := recipient{recipientID: recipientID{d.string(), d.string()}, attempts: uint32(d.uvarint()), run: d.varint()}
		switch flags := d.byte(); {
		case flags == 0:
		case flags&1 != 0 && flags <= 7:
			r.cause = &cause{
				others: flags&2 != 0, recalled: flags&4 != 0, at: d.varint(), code: int32(d.varint()),
				source: schema.EnhancedSource(d.byte()), phase: schema.Phase(d.byte()), origin: schema.Origin(d.byte()),
				enhanced: d.string(), text: d.string(), host: d.string(), ip: d.string(), instance: d.string(),
			}
		default:
			d.bad = true
		}
		e.waiting = append(e.waiting, r)
		e.bytes += r.size()
	}
	if len(e.waiting) > indexAbove {
		e.reindex()
	}
	return e
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads what the append functions wrote. After the first fault, bad is set and every read gives zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.bad = true
	d.b = nil
}

func (d *decoder) literal(s string) bool {
	if !hasPrefix(d.b, s) {
		return false
	}
	d.b = d.b[len(s):]
	return true
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the number of items of which each has at least size bytes, so that a false one allocates nothing.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count(1)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
