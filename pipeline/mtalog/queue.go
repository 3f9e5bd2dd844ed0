package mtalog

import (
	"strings"
	"time"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// queue is the table of queue entries of all hosts. Every change to it is a function of the lines alone.
type queue struct {
	hosts   map[string]*hostQueue
	entries int
	bytes   int64
	// All entries by the order of their last line: what is forgotten first stands first. Each host's own list is in the
	// same order.
	order list
}

// hostQueue is one host's part of the table. It exists while it has entries.
type hostQueue struct {
	name    string
	clock   int64 // latest time of its lines, Unix microseconds; never goes back
	entries map[string]*entry
	order   list
}

// entry is one message in one host's queue.
type entry struct {
	host      *hostQueue
	id        string
	touched   int64 // host clock at its last line
	sender    string
	hasSender bool
	messageID string
	labels    site.Labels // whose the message is, by the facts so far
	size      int64
	nrcpt     int64
	active    bool // qmgr has named sender, size and number of recipients
	known     bool // some line other than a delivery has been seen: events are no orphans
	done      int64
	waiting   []recipient
	index     map[recipientID]int // into waiting, once it is long
	bytes     int64

	// What lines without a recipient said last about the message or the session; a line with recipients is joined to it.
	phase    schema.Phase
	note     string
	peerHost string
	peerIP   string

	links [2]link // in queue.order, in hostQueue.order
}

// recipientID tells recipients of one entry apart: Postfix delivers once for each pair.
type recipientID struct{ address, original string }

// recipient is one that was deferred or suspended and not yet finished.
type recipient struct {
	recipientID
	attempts uint32
	run      int64  // tells attempts apart where one attempt writes several lines; 0 where each line is one
	cause    *cause // last failure; nil if nothing is known of any
}

// cause is a failure: what an expiry is blamed on.
type cause struct {
	others   bool // made another message suspend the destination; a failure of the recipient's own takes its place
	at       int64
	code     int32
	enhanced string
	source   schema.EnhancedSource
	text     string
	phase    schema.Phase
	origin   schema.Origin
	host, ip string
	recalled bool   // host is what lastMX knew
	instance string // what tried to deliver: the line that ends it is another daemon's
}

// Estimated sizes in memory, with map and list overheads.
const (
	entryBytes     = 320
	recipientBytes = 64
	causeBytes     = 128
)

// indexAbove is the number of waiting recipients from which a map finds them faster than a search.
const indexAbove = 16

// tick moves a host's clock and forgets what has been silent for longer than ttl.
func (q *queue) tick(h *hostQueue, at int64, ttl time.Duration) (aged uint64) {
	if at <= h.clock {
		return 0
	}
	h.clock = at
	limit := at - ttl.Microseconds()
	for e := h.order.first; e != nil && e.touched < limit; e = h.order.first {
		q.remove(e)
		aged++
	}
	return aged
}

// add makes an entry, and its host where needed.
func (q *queue) add(host string, id []byte, at int64) *entry {
	h := q.hosts[host]
	if h == nil {
		h = &hostQueue{name: strings.Clone(host), clock: at, entries: map[string]*entry{}, order: list{which: 1}}
		q.hosts[h.name] = h
	}
	e := &entry{host: h, id: string(id)}
	h.entries[e.id] = e
	q.entries++
	q.order.pushBack(e)
	h.order.pushBack(e)
	q.grow(e, entryBytes+int64(len(e.id)))
	return e
}

// touch makes e the last in order.
func (q *queue) touch(e *entry) {
	e.touched = e.host.clock
	q.order.moveToBack(e)
	e.host.order.moveToBack(e)
}

// rename gives e another queue id, of which there is no entry, and lets it begin anew as a message that qmgr has not seen.
func (q *queue) rename(e *entry, id []byte) {
	delete(e.host.entries, e.id)
	q.grow(e, int64(len(id)-len(e.id)))
	e.id = string(id)
	e.host.entries[e.id] = e
	e.active, e.known, e.done = false, false, 0
}

func (q *queue) remove(e *entry) {
	q.order.unlink(e)
	e.host.order.unlink(e)
	delete(e.host.entries, e.id)
	if len(e.host.entries) == 0 {
		delete(q.hosts, e.host.name)
	}
	q.entries--
	q.bytes -= e.bytes
}

func (q *queue) grow(e *entry, n int64) {
	e.bytes += n
	q.bytes += n
}

// find returns the place of a waiting recipient, or -1.
func (e *entry) find(id recipientID) int {
	if e.index != nil {
		if k, ok := e.index[id]; ok {
			return k
		}
		return -1
	}
	for k := range e.waiting {
		if e.waiting[k].recipientID == id {
			return k
		}
	}
	return -1
}

// wait adds a recipient and returns its place. The strings are copied.
func (q *queue) wait(e *entry, id recipientID) int {
	id = recipientID{strings.Clone(id.address), strings.Clone(id.original)}
	k := len(e.waiting)
	e.waiting = append(e.waiting, recipient{recipientID: id})
	if e.index != nil {
		e.index[id] = k
	} else if k >= indexAbove {
		e.reindex()
	}
	q.grow(e, e.waiting[k].size())
	return k
}

func (e *entry) reindex() {
	e.index = make(map[recipientID]int, 2*len(e.waiting))
	for i := range e.waiting {
		e.index[e.waiting[i].recipientID] = i
	}
}

// finish takes a waiting recipient out; the last one takes its place.
func (q *queue) finish(e *entry, k int) {
	q.grow(e, -e.waiting[k].size())
	last := len(e.waiting) - 1
	if e.index != nil {
		delete(e.index, e.waiting[k].recipientID)
		if k != last {
			e.index[e.waiting[last].recipientID] = k
		}
	}
	e.waiting[k] = e.waiting[last]
	e.waiting[last] = recipient{}
	e.waiting = e.waiting[:last]
}

// blame records a real failure of a waiting recipient.
func (q *queue) blame(e *entry, k int, c cause) {
	r := &e.waiting[k]
	q.grow(e, -r.size())
	old := r.cause
	if old == nil {
		old = &cause{}
	}
	c.enhanced = keep(old.enhanced, c.enhanced)
	c.text = keep(old.text, c.text)
	c.host = keep(old.host, c.host)
	c.ip = keep(old.ip, c.ip)
	c.instance = keep(old.instance, c.instance)
	*old = c
	r.cause = old
	q.grow(e, r.size())
}

// keep returns a copy of s that does not hold the line it was cut from; old itself if it is the same.
func keep(old, s string) string {
	if old == s {
		return old
	}
	return strings.Clone(s)
}

func (r *recipient) size() int64 {
	n := recipientBytes + len(r.address) + len(r.original)
	if c := r.cause; c != nil {
		n += causeBytes + len(c.enhanced) + len(c.text) + len(c.host) + len(c.ip) + len(c.instance)
	}
	return int64(n)
}

// setString replaces one of an entry's strings.
func (q *queue) setString(e *entry, field *string, s string) {
	if *field != s {
		q.grow(e, int64(len(s)-len(*field)))
		*field = strings.Clone(s)
	}
}

// hint replaces what is known of the message's last trouble.
func (q *queue) hint(e *entry, phase schema.Phase, note, host, ip string) {
	e.phase = phase
	q.setString(e, &e.note, note)
	q.setString(e, &e.peerHost, host)
	q.setString(e, &e.peerIP, ip)
}

// list is a doubly linked list through an entry's links[which].
type list struct {
	first, last *entry
	which       uint8
}

type link struct{ prev, next *entry }

func (l *list) pushBack(e *entry) {
	e.links[l.which] = link{prev: l.last}
	if l.last != nil {
		l.last.links[l.which].next = e
	} else {
		l.first = e
	}
	l.last = e
}

func (l *list) unlink(e *entry) {
	k := e.links[l.which]
	if k.prev != nil {
		k.prev.links[l.which].next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.links[l.which].prev = k.prev
	} else {
		l.last = k.prev
	}
	e.links[l.which] = link{}
}

func (l *list) moveToBack(e *entry) {
	if l.last != e {
		l.unlink(e)
		l.pushBack(e)
	}
}
