package recipient

import "carom.dev/carom/schema"

// queue is a binary heap of record slots by (dueUs, slot). The order is total, so what comes out does not depend on the
// history of insertions. Records know their place, so that a change of mind costs a logarithm and no stale entry stays.
//
// Three kinds of queue exist, so that a control record touches only what is due:
//
//   - queueTimers: suppressions with an end, watches
//   - queueIdle: ok records, by when they are forgotten; its head gives way when the Store is full
//   - queueProviders + n: pending records of provider n, which an all-clear may leave out as a whole
//
// Held records wait in none: their incident knows its end.
type queue []uint32

const (
	queueTimers = iota
	queueIdle
	queueProviders
)

const queueNone = -1

func queueOf(e *record) int {
	switch schema.RecipientState(e.state) {
	case schema.RecipientState_STATE_OK:
		return queueIdle
	case schema.RecipientState_STATE_PENDING:
		return queueProviders + int(e.provider)
	case schema.RecipientState_STATE_WATCH:
		return queueTimers
	case schema.RecipientState_STATE_SUPPRESSED:
		if e.dueUs != 0 {
			return queueTimers
		}
	}
	return queueNone
}

func (s *Store) enqueue(slot uint32) {
	n := queueOf(s.records.at(slot))
	if n == queueNone {
		return
	}
	for n >= len(s.due) {
		s.due = append(s.due, nil)
	}
	q := append(s.due[n], slot)
	s.due[n] = q
	s.records.at(slot).place = uint32(len(q) - 1)
	s.up(q, len(q)-1)
}

func (s *Store) dequeue(slot uint32) {
	e := s.records.at(slot)
	n := queueOf(e)
	if n == queueNone {
		return
	}
	q := s.due[n]
	i, last := int(e.place), len(q)-1
	moved := q[last]
	s.due[n] = q[:last]
	if i == last {
		return
	}
	q[i] = moved
	s.records.at(moved).place = uint32(i)
	s.down(q[:last], i)
	s.up(q[:last], i)
}

// change alters a record and moves it to the queue where it then belongs.
func (s *Store) change(slot uint32, alter func(*record)) {
	s.dequeue(slot)
	alter(s.records.at(slot))
	s.enqueue(slot)
}

func (s *Store) before(a, b uint32) bool {
	x, y := s.records.at(a).dueUs, s.records.at(b).dueUs
	return x < y || x == y && a < b
}

func (s *Store) up(q queue, i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.before(q[i], q[parent]) {
			return
		}
		s.swap(q, i, parent)
		i = parent
	}
}

func (s *Store) down(q queue, i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q); child++ {
			if s.before(q[child], q[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		s.swap(q, i, least)
		i = least
	}
}

func (s *Store) swap(q queue, i, j int) {
	q[i], q[j] = q[j], q[i]
	s.records.at(q[i]).place = uint32(i)
	s.records.at(q[j]).place = uint32(j)
}

// ripe takes the records out of queue n that are due before the given time, in order. They are out of the queue: the caller
// puts each back with enqueue.
func (s *Store) ripe(n int, beforeUs int64) []uint32 {
	var out []uint32
	for len(s.due[n]) > 0 {
		slot := s.due[n][0]
		if s.records.at(slot).dueUs >= beforeUs {
			break
		}
		s.dequeue(slot)
		out = append(out, slot)
	}
	return out
}
