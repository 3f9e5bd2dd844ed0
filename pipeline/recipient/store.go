package recipient

import (
	"bytes"

	"github.com/cespare/xxhash/v2"
)

// Position is where in mail.classified a record stands. Decisions carry it; Offset is their version.
type Position struct {
	Partition int32
	Offset    int64
}

// Store is the state of all recipients of one partition. It is not safe for concurrent use: its owner folds one log.
type Store struct {
	policy   *Policy
	observe  bool  // as the genesis record said
	nowUs    int64 // the highest time of an AllClear or Tick
	firstUs  int64 // the earliest event of an attempt; 0 before the first. Everything since is history.
	latestUs int64 // the latest failure; a hold that grows beyond it has nothing to sweep

	index      map[uint64]uint32 // xxhash64 of the key -> first recipient with it; the keys decide
	recipients slab[recipient]
	records    slab[record]
	evidence   slab[evidence]
	arena      arena

	classes   names
	providers names
	rules     names
	scopes    names
	groups    []group // class number -> group in the current policy

	due       []queue // by event time of what happens next: see queue.go
	incidents []incident
	ended     uint32 // number of the last incident

	accepted    acceptance
	provisional provisional

	stats Stats
}

// Stats counts what a Store did and holds. Counters are part of the state: after a restore they go on.
type Stats struct {
	Recipients  int // with at least one record
	Records     int
	Evidence    int
	Provisional int
	Incidents   int
	Accepted    int   // slots in use in the acceptance table
	Bytes       int64 // of slabs, arena and acceptance table, without the Go map that indexes them

	Decisions int64
	Evicted   int64 // ok records that gave way at limits.records
	Refused   int64 // evidence that found no room
	Unkeyed   int64 // events without a recipient key, ignored
}

// recipient is an address with at least one record.
type recipient struct {
	hash     uint64
	key      uint32 // arena: key, then the domain when it is not the key's own end
	records  uint32 // chain through record.next
	same     uint32 // next recipient with the same hash
	sent     uint32 // latest attempt, Unix seconds
	interval uint32 // smoothed distance between mails, seconds; 0 unknown
	keyLen   uint16
	domLen   uint16 // of a domain stored after the key; 0 means that the key ends in it
}

// record is the state of one recipient in one scope.
type record struct {
	atUs      int64 // deciding evidence; in state ok the floor: older failures do not count
	dueUs     int64 // what happens next by itself; 0 nothing. Its meaning depends on the state.
	recipient uint32
	next      uint32 // of the same recipient
	scope     uint32
	evidence  uint32 // chain, oldest first
	incident  uint32 // that holds it
	place     uint32 // in its queue
	class     uint16
	provider  uint16
	code      uint16 // SMTP code of the deciding evidence
	state     uint8  // schema.RecipientState
	accepted  uint8  // schema.Acceptance when the deciding evidence came
	flags     uint8
	level     uint8 // suppressions since the last success
	pieces    uint8 // of evidence
}

// evidence is one failure that counts.
type evidence struct {
	atUs     int64
	queue    uint32 // hash of MTA host and queue id; 0 when absent
	message  uint32 // hash of the message id; 0 when absent
	id       uint32 // arena
	next     uint32
	class    uint16
	provider uint16
	rule     uint16
	idLen    uint8
	flags    uint8
}

// Flags of records and evidence.
const (
	flagPerson   = 1 << iota // only a person lifts it
	flagAsync                // the evidence came by mail
	flagDoubtful             // a hard class or a refusal, trusted within a window only
	flagBackfill
	flagContradicted // of a suppression: engagement after it has been put on record
)

// NewStore returns an empty Store under DefaultPolicy, which holds until a Genesis record brings another.
func NewStore() *Store {
	p, err := ParsePolicy(DefaultPolicy)
	if err != nil {
		panic(err) // embedded; a test parses it
	}
	s := &Store{
		index:     make(map[uint64]uint32),
		classes:   newNames(1 << 12),
		providers: newNames(1 << 12),
		rules:     newNames(1 << 16),
		scopes:    newNames(1 << 20),
		due:       make([]queue, queueProviders),
	}
	s.setPolicy(p)
	return s
}

func (s *Store) setPolicy(p *Policy) {
	s.policy = p
	s.groups = s.groups[:0]
	for _, class := range s.classes.list {
		s.groups = append(s.groups, p.class(class))
	}
}

// Policy returns the policy in force.
func (s *Store) Policy() *Policy { return s.policy }

// Len is the number of records: (recipient, scope) pairs that anything is known about.
func (s *Store) Len() int { return s.records.live() }

// Stats returns the counters and sizes.
func (s *Store) Stats() Stats {
	st := s.stats
	st.Recipients = s.recipients.live()
	st.Records = s.records.live()
	st.Evidence = s.evidence.live()
	st.Provisional = len(s.provisional.byHash)
	st.Incidents = len(s.incidents)
	st.Accepted = s.accepted.used
	st.Bytes = s.bytes()
	return st
}

// find returns the slot of a key, 0 when the recipient has no record.
func (s *Store) find(hash uint64, key []byte) uint32 {
	for slot := s.index[hash]; slot != 0; {
		r := s.recipients.at(slot)
		if bytes.Equal(s.key(r), key) {
			return slot
		}
		slot = r.same
	}
	return 0
}

func (s *Store) key(r *recipient) []byte { return s.arena.get(r.key, int(r.keyLen)) }

func (s *Store) domain(r *recipient) string {
	if r.domLen != 0 {
		return string(s.arena.get(r.key, int(r.keyLen)+int(r.domLen))[r.keyLen:])
	}
	return string(domainOf(s.key(r)))
}

// domainOf returns what follows the last @; nothing for a digest.
func domainOf(key []byte) []byte {
	i := bytes.LastIndexByte(key, '@')
	if i < 0 {
		return nil
	}
	return key[i+1:]
}

// open returns the record of a recipient and scope, making both when needed. 0 means that there is no room, counted.
func (s *Store) open(hash uint64, key []byte, domain, scope string) uint32 {
	number, ok := s.scopes.id(scope)
	if !ok || len(key) > maxStored || len(domain) > maxStored {
		s.stats.Refused++
		return 0
	}
	owner := s.find(hash, key)
	if owner != 0 {
		for e := s.recipients.at(owner).records; e != 0; e = s.records.at(e).next {
			if s.records.at(e).scope == number {
				return e
			}
		}
	}
	if s.records.live() >= s.policy.Limits.Records {
		if !s.evict(owner) {
			s.stats.Refused++
			return 0
		}
	}
	if owner == 0 {
		var suffix []byte
		if string(domainOf(key)) != domain {
			suffix = []byte(domain)
		}
		at, ok := s.arena.put(key, suffix)
		if !ok {
			s.stats.Refused++
			return 0
		}
		owner = s.recipients.alloc()
		*s.recipients.at(owner) = recipient{
			hash: hash, key: at, keyLen: uint16(len(key)), domLen: uint16(len(suffix)), same: s.index[hash],
		}
		s.index[hash] = owner
	}
	slot := s.records.alloc()
	r := s.recipients.at(owner)
	*s.records.at(slot) = record{recipient: owner, scope: number, next: r.records}
	r.records = slot
	s.enqueue(slot)
	return slot
}

// evict forgets the ok record that is nearest to being forgotten. The recipient that asks for room keeps its own.
func (s *Store) evict(keep uint32) bool {
	q := s.due[queueIdle]
	if len(q) == 0 {
		return false
	}
	slot := q[0]
	if s.records.at(slot).recipient == keep && keep != 0 {
		return false
	}
	s.forget(slot)
	s.stats.Evicted++
	return true
}

// forget removes a record, and its recipient with the last one.
func (s *Store) forget(slot uint32) {
	e := s.records.at(slot)
	s.dequeue(slot)
	s.dropEvidence(e, func(*evidence) bool { return true })
	owner := e.recipient
	r := s.recipients.at(owner)
	for p := &r.records; ; p = &s.records.at(*p).next {
		if *p == slot {
			*p = e.next
			break
		}
	}
	s.records.release(slot)
	if r.records != 0 {
		return
	}
	if s.index[r.hash] == owner {
		if r.same == 0 {
			delete(s.index, r.hash)
		} else {
			s.index[r.hash] = r.same
		}
	} else {
		p := s.recipients.at(s.index[r.hash])
		for p.same != owner {
			p = s.recipients.at(p.same)
		}
		p.same = r.same
	}
	s.arena.drop(int(r.keyLen) + int(r.domLen))
	s.recipients.release(owner)
}

// compact copies the live bytes into a new arena, in slot order, once most of the old one is garbage.
func (s *Store) compact() {
	if !s.arena.wasteful() {
		return
	}
	var fresh arena
	for i := range s.recipients.used {
		if r := s.recipients.at(i + 1); r.keyLen != 0 {
			r.key, _ = fresh.put(s.arena.get(r.key, int(r.keyLen)+int(r.domLen)))
		}
	}
	for i := range s.evidence.used {
		if x := s.evidence.at(i + 1); x.idLen != 0 {
			x.id, _ = fresh.put(s.arena.get(x.id, int(x.idLen)))
		}
	}
	s.arena = fresh
}

// addEvidence appends a failure to a record. At maxEvidence the second oldest of its group gives way: the first one tells the
// span, and the one that goes is older than any retry. It reports false, counted, when there is no room for the event's id.
func (s *Store) addEvidence(e *record, f *failure) bool {
	id := f.event.EventId
	if len(id) > 255 {
		id = id[:255]
	}
	if e.pieces == maxEvidence {
		seen := 0
		s.dropEvidence(e, func(*evidence) bool { seen++; return seen == 2 })
	}
	at, ok := s.arena.put([]byte(id))
	if !ok {
		s.stats.Refused++
		return false
	}
	slot := s.evidence.alloc()
	*s.evidence.at(slot) = evidence{
		atUs: f.atUs, queue: f.queue, message: f.message, id: at, idLen: uint8(len(id)),
		class: f.class, provider: f.provider, rule: f.rule, flags: f.flags,
	}
	p := &e.evidence
	for *p != 0 {
		p = &s.evidence.at(*p).next
	}
	*p = slot
	e.pieces++
	return true
}

// dropEvidence removes the evidence of a record for which drop says so, asking from the oldest on.
func (s *Store) dropEvidence(e *record, drop func(*evidence) bool) {
	for p := &e.evidence; *p != 0; {
		slot := *p
		x := s.evidence.at(slot)
		if !drop(x) {
			p = &x.next
			continue
		}
		*p = x.next
		s.arena.drop(int(x.idLen))
		s.evidence.release(slot)
		e.pieces--
	}
}

// hashKey places a recipient; it identifies nothing.
func hashKey(key []byte) uint64 { return xxhash.Sum64(key) }
