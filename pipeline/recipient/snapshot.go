package recipient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// stateFormat is the first byte of a state.
const stateFormat = 1

// AppendState appends the whole state. Slabs, queues and free lists are written as they lie in memory, which is a function of
// the log: equal logs give equal bytes, and a Store that loads them goes on exactly as the one that wrote them. The index is
// left out and rebuilt.
func (s *Store) AppendState(b []byte) []byte {
	w := &writer{b: append(b, stateFormat)}
	w.string(s.policy.text)
	w.bool(s.observe)
	w.ints(s.nowUs, s.firstUs, s.latestUs, s.stats.Decisions, s.stats.Evicted, s.stats.Refused, s.stats.Unkeyed)
	for _, n := range []*names{&s.classes, &s.providers, &s.rules, &s.scopes} {
		w.uint(uint64(len(n.list) - 1))
		for _, x := range n.list[1:] {
			w.string(x)
		}
	}
	writeSlab(w, &s.recipients, func(r *recipient) {
		w.u64(r.hash)
		w.u32(r.key, r.records, r.sent, r.interval)
		w.u16(r.keyLen, r.domLen)
	})
	writeSlab(w, &s.records, func(e *record) {
		w.u64(uint64(e.atUs), uint64(e.dueUs))
		w.u32(e.recipient, e.next, e.scope, e.evidence, e.incident, e.place)
		w.u16(e.class, e.provider, e.code)
		w.b = append(w.b, e.state, e.accepted, e.flags, e.level, e.pieces)
	})
	writeSlab(w, &s.evidence, func(x *evidence) {
		w.u64(uint64(x.atUs))
		w.u32(x.queue, x.message, x.id, x.next)
		w.u16(x.class, x.provider, x.rule)
		w.b = append(w.b, x.idLen, x.flags)
	})
	w.ints(int64(s.arena.garbage), int64(s.arena.live))
	w.uint(uint64(len(s.arena.chunks)))
	for _, c := range s.arena.chunks {
		w.string(unsafe.String(unsafe.SliceData(c), len(c)))
	}
	w.uint(uint64(len(s.due)))
	for _, q := range s.due {
		w.uint(uint64(len(q)))
		w.u32(q...)
	}
	w.uint(uint64(s.ended))
	w.uint(uint64(len(s.incidents)))
	for i := range s.incidents {
		h := &s.incidents[i]
		w.string(h.id)
		w.string(h.kind)
		w.string(h.provider)
		w.string(h.class)
		w.u32(h.number, h.revision)
		w.ints(h.fromUs, h.untilUs)
		w.bool(h.open)
	}
	s.accepted.write(w)
	s.provisional.write(w)
	return w.b
}

func writeSlab[T any](w *writer, s *slab[T], one func(*T)) {
	w.uint(uint64(s.used))
	for slot := uint32(1); slot <= s.used; slot++ {
		one(s.at(slot))
	}
	w.uint(uint64(len(s.free)))
	w.u32(s.free...)
}

func (a *acceptance) write(w *writer) {
	w.b = append(w.b, a.bits)
	w.ints(int64(a.used), int64(a.base))
	w.bool(a.forgot)
	w.uint(uint64(len(a.slots)))
	w.u32(a.slots...)
}

func (p *provisional) write(w *writer) {
	w.uint(uint64(p.len()))
	for _, d := range p.items[p.head:] {
		w.u64(d.hash, uint64(d.atUs))
		w.b = append(w.b, d.digest[:]...)
		w.u32(d.queue, d.message)
	}
}

// LoadState replaces the state by one that AppendState wrote. On error the Store is unchanged. Checksums are the snapshot's
// matter; what is read is checked so far that references stay inside their tables.
func (s *Store) LoadState(b []byte) error {
	next := NewStore()
	if err := next.load(&reader{b: b}); err != nil {
		return fmt.Errorf("load recipients: %w", err)
	}
	*s = *next
	return nil
}

func (s *Store) load(r *reader) error {
	if v := r.u8(); r.err == nil && v != stateFormat {
		return fmt.Errorf("format %d, this version reads %d", v, stateFormat)
	}
	p, err := ParsePolicy(r.string())
	if err != nil {
		return errors.Join(r.err, err)
	}
	s.observe = r.bool()
	for _, n := range []*int64{
		&s.nowUs, &s.firstUs, &s.latestUs,
		&s.stats.Decisions, &s.stats.Evicted, &s.stats.Refused, &s.stats.Unkeyed,
	} {
		*n = r.int()
	}
	for _, n := range []*names{&s.classes, &s.providers, &s.rules, &s.scopes} {
		for range r.count(1) {
			if _, ok := n.id(r.string()); !ok {
				return errors.New("too many names")
			}
		}
	}
	s.setPolicy(p)
	readSlab(r, &s.recipients, 28, func(x *recipient) {
		x.hash = r.u64()
		x.key, x.records, x.sent, x.interval = r.u32(), r.u32(), r.u32(), r.u32()
		x.keyLen, x.domLen = r.u16(), r.u16()
	})
	readSlab(r, &s.records, 51, func(e *record) {
		e.atUs, e.dueUs = int64(r.u64()), int64(r.u64())
		e.recipient, e.next, e.scope, e.evidence, e.incident, e.place = r.u32(), r.u32(), r.u32(), r.u32(), r.u32(), r.u32()
		e.class, e.provider, e.code = r.u16(), r.u16(), r.u16()
		e.state, e.accepted, e.flags, e.level, e.pieces = r.u8(), r.u8(), r.u8(), r.u8(), r.u8()
	})
	readSlab(r, &s.evidence, 32, func(x *evidence) {
		x.atUs = int64(r.u64())
		x.queue, x.message, x.id, x.next = r.u32(), r.u32(), r.u32(), r.u32()
		x.class, x.provider, x.rule = r.u16(), r.u16(), r.u16()
		x.idLen, x.flags = r.u8(), r.u8()
	})
	s.arena.garbage, s.arena.live = int(r.int()), int(r.int())
	for range r.count(1) {
		c := r.string()
		if len(c) > arenaChunk {
			return errors.New("a chunk of keys is too long")
		}
		s.arena.chunks = append(s.arena.chunks, append(make([]byte, 0, arenaChunk), c...))
	}
	s.due = make([]queue, r.count(1))
	for i := range s.due {
		s.due[i] = r.list()
	}
	s.ended = uint32(r.uint())
	for range r.count(1) {
		s.incidents = append(s.incidents, incident{
			id: r.string(), kind: r.string(), provider: r.string(), class: r.string(),
			number: r.u32(), revision: r.u32(), fromUs: r.int(), untilUs: r.int(), open: r.bool(),
		})
	}
	s.accepted = acceptance{bits: r.u8(), used: int(r.int()), base: int32(r.int()), forgot: r.bool(), slots: r.list()}
	for range r.count(40) {
		d := delivery{hash: r.u64(), atUs: int64(r.u64())}
		copy(d.digest[:], r.take(len(d.digest)))
		d.queue, d.message = r.u32(), r.u32()
		s.provisional.restore(d)
	}
	if r.err == nil && len(r.b) > 0 {
		return fmt.Errorf("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return r.err
	}
	return s.relink()
}

func (p *provisional) restore(d delivery) {
	if d.hash == 0 {
		p.items = append(p.items, d)
		return
	}
	p.add(d)
}

func readSlab[T any](r *reader, s *slab[T], size int, one func(*T)) {
	n := r.count(size)
	for range n {
		s.used++
		if int(s.used) > len(s.chunks)<<chunkBits {
			s.chunks = append(s.chunks, make([]T, chunkLen))
		}
		one(s.at(s.used))
	}
	s.free = r.list()
}

// relink rebuilds the index and checks every reference.
func (s *Store) relink() error {
	bad := errors.New("a reference leads nowhere")
	inArena := func(at uint32, n int) bool {
		chunk := int(at >> arenaBits)
		return n == 0 || chunk < len(s.arena.chunks) && int(at&(arenaChunk-1))+n <= len(s.arena.chunks[chunk])
	}
	if len(s.due) < queueProviders || len(s.accepted.slots) != 0 && (s.accepted.bits > maxBucketBits ||
		len(s.accepted.slots) != bucketSlots<<s.accepted.bits) {
		return bad
	}
	for slot := uint32(1); slot <= s.recipients.used; slot++ {
		r := s.recipients.at(slot)
		if !inArena(r.key, int(r.keyLen)+int(r.domLen)) || r.records > s.records.used {
			return bad
		}
		if r.keyLen != 0 {
			r.same = s.index[r.hash]
			s.index[r.hash] = slot
		}
	}
	for slot := uint32(1); slot <= s.records.used; slot++ {
		e := s.records.at(slot)
		if e.recipient > s.recipients.used || e.next > s.records.used || e.evidence > s.evidence.used ||
			int(e.scope) >= len(s.scopes.list) || int(e.class) >= len(s.classes.list) || int(e.provider) >= len(s.providers.list) {
			return bad
		}
	}
	for slot := uint32(1); slot <= s.evidence.used; slot++ {
		x := s.evidence.at(slot)
		if !inArena(x.id, int(x.idLen)) || x.next > s.evidence.used || int(x.class) >= len(s.classes.list) ||
			int(x.provider) >= len(s.providers.list) || int(x.rule) >= len(s.rules.list) {
			return bad
		}
	}
	for _, q := range s.due {
		for i, slot := range q {
			if slot == 0 || slot > s.records.used || s.records.at(slot).place != uint32(i) {
				return bad
			}
		}
	}
	for _, free := range []struct {
		list []uint32
		used uint32
	}{{s.recipients.free, s.recipients.used}, {s.records.free, s.records.used}, {s.evidence.free, s.evidence.used}} {
		for _, slot := range free.list {
			if slot == 0 || slot > free.used {
				return bad
			}
		}
	}
	return nil
}

// bytes is what slabs, arena and acceptance table take.
func (s *Store) bytes() int64 {
	n := len(s.recipients.chunks)*chunkLen*int(unsafe.Sizeof(recipient{})) +
		len(s.records.chunks)*chunkLen*int(unsafe.Sizeof(record{})) +
		len(s.evidence.chunks)*chunkLen*int(unsafe.Sizeof(evidence{})) +
		len(s.arena.chunks)*arenaChunk + 4*len(s.accepted.slots) +
		cap(s.provisional.items)*int(unsafe.Sizeof(delivery{}))
	for _, q := range s.due {
		n += 4 * cap(q)
	}
	return int64(n)
}

// writer appends little-endian numbers and length-prefixed strings.
type writer struct{ b []byte }

func (w *writer) uint(n uint64)   { w.b = binary.AppendUvarint(w.b, n) }
func (w *writer) string(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) bool(x bool) {
	if x {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) ints(list ...int64) {
	for _, n := range list {
		w.b = binary.AppendVarint(w.b, n)
	}
}

func (w *writer) u64(list ...uint64) {
	for _, n := range list {
		w.b = binary.LittleEndian.AppendUint64(w.b, n)
	}
}

func (w *writer) u32(list ...uint32) {
	for _, n := range list {
		w.b = binary.LittleEndian.AppendUint32(w.b, n)
	}
}

func (w *writer) u16(list ...uint16) {
	for _, n := range list {
		w.b = binary.LittleEndian.AppendUint16(w.b, n)
	}
}

// reader takes a state apart. After the first error everything is zero.
type reader struct {
	b   []byte
	err error
}

var errShort = errors.New("state ends early")

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.err, r.b = errShort, nil
		return make([]byte, max(0, min(n, 16)))
	}
	x := r.b[:n]
	r.b = r.b[n:]
	return x
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reader) bool() bool  { return r.u8() != 0 }

func (r *reader) int() int64 {
	x, n := binary.Varint(r.b)
	r.take(max(n, 1))
	if n <= 0 {
		r.err, r.b = errShort, nil
	}
	return x
}

func (r *reader) uint() uint64 {
	x, n := binary.Uvarint(r.b)
	r.take(max(n, 1))
	if n <= 0 {
		r.err, r.b = errShort, nil
		return 0
	}
	return x
}

// count reads a number of items that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.err, r.b = errShort, nil
		return 0
	}
	return int(n)
}

func (r *reader) string() string { return string(r.take(r.count(1))) }

func (r *reader) list() []uint32 {
	n := r.count(4)
	if n == 0 {
		return nil
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = r.u32()
	}
	return out
}
