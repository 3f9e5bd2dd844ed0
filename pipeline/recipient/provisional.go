package recipient

import (
	"crypto/sha256"

	"carom.dev/carom/schema"
)

// provisional holds first deliveries: those to recipients that were not accepted before. They count as accepted, and move
// into the acceptance table, from which nothing can be taken back, once another message was delivered too or provisional_for
// is over. Until then an asynchronous bounce of the message withdraws them. It is a queue in log order with an index; when it
// is full the oldest one moves on early, which is the safe side.
type provisional struct {
	items  []delivery
	head   int
	first  uint64            // number of items[0]
	byHash map[uint64]uint64 // hash -> number of its item
}

// delivery is a first delivery. hash 0 marks one that was withdrawn or has moved on.
type delivery struct {
	hash    uint64
	digest  [16]byte // of the key: a hash alone is no identity
	atUs    int64
	queue   uint32
	message uint32
}

func digest(key []byte) [16]byte {
	sum := sha256.Sum256(key)
	return [16]byte(sum[:16])
}

// find returns the delivery of a recipient, nil when there is none.
func (p *provisional) find(hash uint64, key []byte) *delivery {
	n, ok := p.byHash[hash]
	if !ok {
		return nil
	}
	d := &p.items[n-p.first]
	if d.digest != digest(key) {
		return nil
	}
	return d
}

func (p *provisional) add(d delivery) {
	if p.byHash == nil {
		p.byHash = make(map[uint64]uint64)
	}
	p.byHash[d.hash] = p.first + uint64(len(p.items))
	p.items = append(p.items, d)
}

func (p *provisional) remove(d *delivery) {
	delete(p.byHash, d.hash)
	d.hash = 0
}

// shift takes the oldest item.
func (p *provisional) shift() delivery {
	d := p.items[p.head]
	if d.hash != 0 {
		delete(p.byHash, d.hash)
	}
	p.head++
	if p.head >= 1024 && p.head > len(p.items)/2 {
		n := copy(p.items, p.items[p.head:])
		p.items = p.items[:n]
		p.first += uint64(p.head)
		p.head = 0
	}
	return d
}

func (p *provisional) len() int { return len(p.items) - p.head }

const dayUs = 24 * 60 * 60 * 1_000_000

func dayOf(us int64) int32 {
	d := us / dayUs
	if us%dayUs < 0 {
		d--
	}
	return int32(d)
}

// clampUs keeps a clock that runs ahead from making the acceptance table forget: no delivery lies more than a day and a bit
// ahead of what the detector has evaluated.
func (s *Store) clampUs(us int64) int64 {
	if s.nowUs > 0 && us > s.nowUs+2*dayUs {
		return s.nowUs + 2*dayUs
	}
	return us
}

// acceptedAt tells whether something was delivered to a recipient within accepted_within before a time (or after it: kinder).
func (s *Store) acceptedAt(hash uint64, key []byte, us int64) schema.Acceptance {
	us = s.clampUs(us)
	within := int32(s.policy.AcceptedWithin.Microseconds() / dayUs)
	earliest := dayOf(us) - within
	if day, ok := s.accepted.lookup(hash); ok && day >= earliest {
		return schema.Acceptance_ACCEPTED
	}
	if d := s.provisional.find(hash, key); d != nil && dayOf(d.atUs) >= earliest {
		return schema.Acceptance_ACCEPTED
	}
	if s.firstUs == 0 || us-s.firstUs < s.policy.HistoryNeeded.Microseconds() || s.accepted.forgot && earliest <= s.accepted.base {
		return schema.Acceptance_ACCEPTANCE_UNKNOWN
	}
	return schema.Acceptance_NOT_ACCEPTED
}

// noteDelivery records a delivery of a message.
func (s *Store) noteDelivery(hash uint64, key []byte, before schema.Acceptance, us int64, queue, message uint32) {
	us = s.clampUs(us)
	if d := s.provisional.find(hash, key); d != nil {
		over := d.atUs+s.policy.ProvisionalFor.Microseconds() <= s.nowUs // it only waits behind a later one
		if over || distinct(d.atUs, d.queue, d.message, us, queue, message, s.policy.MessageLifetime.Microseconds()) {
			s.accepted.put(hash, dayOf(d.atUs))
			s.provisional.remove(d)
			s.accepted.put(hash, dayOf(us))
		} else {
			d.atUs = max(d.atUs, us)
		}
		return
	}
	if _, taken := s.provisional.byHash[hash]; before == schema.Acceptance_ACCEPTED || taken {
		s.accepted.put(hash, dayOf(us))
		return
	}
	s.settle(s.nowUs)
	s.provisional.add(delivery{hash: hash, digest: digest(key), atUs: us, queue: queue, message: message})
}

// noteEngagement records that somebody opened a message or followed a link in it: the recipient takes mail, and a first
// delivery is on trial no longer.
func (s *Store) noteEngagement(hash uint64, key []byte, us int64) {
	if d := s.provisional.find(hash, key); d != nil {
		s.accepted.put(hash, dayOf(d.atUs))
		s.provisional.remove(d)
	}
	s.accepted.put(hash, dayOf(s.clampUs(us)))
}

// settle moves first deliveries that nothing withdrew into the acceptance table.
func (s *Store) settle(nowUs int64) {
	for s.provisional.len() > 0 {
		d := s.provisional.items[s.provisional.head]
		full := s.provisional.len() >= s.policy.Limits.Provisional
		if d.hash != 0 && !full && d.atUs+s.policy.ProvisionalFor.Microseconds() > nowUs {
			return
		}
		s.provisional.shift()
		if d.hash != 0 {
			s.accepted.put(d.hash, dayOf(d.atUs))
		}
	}
}

// withdraw takes a first delivery back when an asynchronous bounce of the same message follows in time.
func (s *Store) withdraw(hash uint64, key []byte, us int64, queue, message uint32) {
	d := s.provisional.find(hash, key)
	standing := s.policy.ProvisionalFor.Microseconds()
	if d == nil || us-d.atUs > standing || d.atUs+standing <= s.nowUs {
		return // the second: it only waits behind a later one
	}
	if queue != 0 && queue == d.queue || message != 0 && message == d.message {
		s.provisional.remove(d)
	}
}
