package recipient

import "math/bits"

// acceptance remembers, for every recipient that was ever delivered to, the day of the latest delivery: four bytes a slot,
// no key. A lookup may find a day for a recipient that has none (about one in ten thousand, when the fingerprint of another
// one is equal), which only delays a suppression. It never misses one, which would cost a good recipient.
//
// The table is an array of buckets of sixteen slots (a cache line). A recipient's hash gives its home bucket, the bits behind
// those its fingerprint; a full bucket passes on to the next ones. When the table doubles, the fingerprint's first bit becomes
// the last bit of the bucket number, so it can grow without the keys: a fingerprint loses a bit each time, entries written
// later have all of them (the idea of Dayan et al., InfiniFilter, SIGMOD 2023).
//
// Slot layout, from the top: 21 bits fingerprint with a leading one that marks its length, 3 bits distance from the home
// bucket, 8 bits day since base. 0 is empty.
type acceptance struct {
	slots  []uint32
	bits   uint8 // log2 of the number of buckets
	used   int
	base   int32 // day number before the first that can be told
	forgot bool  // days up to base were dropped once: absence says nothing about them
}

const (
	bucketSlots     = 16
	fingerprintBits = 20
	maxDistance     = 7
	maxDayCode      = 255
	minBucketBits   = 4
	maxBucketBits   = 27
	// keepDays is how far a shift of the base reaches back; accepted_within must be shorter.
	keepDays = 150
)

func split(slot uint32) (fingerprint uint32, distance int, day int32) {
	return slot >> 11, int(slot >> 8 & 7), int32(slot & 255)
}

func join(fingerprint uint32, distance int, day int32) uint32 {
	return fingerprint<<11 | uint32(distance)<<8 | uint32(day)
}

// place returns the home bucket of a hash and its full fingerprint, with the leading one.
func (a *acceptance) place(hash uint64) (home int, fingerprint uint32) {
	rest := hash << a.bits >> (64 - fingerprintBits)
	return int(hash >> (64 - a.bits)), 1<<fingerprintBits | uint32(rest)
}

// matches compares a stored fingerprint, perhaps a shorter one, with a full one.
func matches(stored, full uint32) bool {
	length := bits.Len32(stored) - 1
	return full>>(fingerprintBits-length) == stored
}

// lookup returns the latest delivery day known for a hash.
func (a *acceptance) lookup(hash uint64) (day int32, ok bool) {
	_, day, ok = a.search(hash)
	return day, ok
}

func (a *acceptance) search(hash uint64) (at int, day int32, ok bool) {
	if len(a.slots) == 0 {
		return 0, 0, false
	}
	home, full := a.place(hash)
	for d := 0; d <= maxDistance; d++ {
		first := (home + d) & (1<<a.bits - 1) * bucketSlots
		for i, slot := range a.slots[first : first+bucketSlots : first+bucketSlots] {
			if slot == 0 {
				return at, day + a.base, ok // nothing was ever passed on from a bucket with room
			}
			fp, distance, code := split(slot)
			if distance != d || fp != full && !matches(fp, full) {
				continue
			}
			if !ok || code > day {
				at, day, ok = first+i, code, true
			}
		}
	}
	return at, day + a.base, ok
}

// put notes a delivery on a day. Days before base count as the first day after it: too late rather than lost.
func (a *acceptance) put(hash uint64, day int32) {
	if len(a.slots) == 0 {
		a.bits = minBucketBits
		a.slots = make([]uint32, bucketSlots<<a.bits)
		a.base = day - keepDays
	}
	if day-a.base > maxDayCode {
		a.rebuild(a.bits, day-keepDays)
	}
	day = max(day, a.base+1)
	at, known, ok := a.search(hash)
	if ok {
		if day > known {
			fp, d, _ := split(a.slots[at])
			a.slots[at] = join(fp, d, day-a.base)
		}
		return
	}
	if a.used >= len(a.slots)/8*7 && a.bits < maxBucketBits {
		a.rebuild(a.bits+1, a.base)
	}
	for {
		home, full := a.place(hash)
		if a.insert(home, full, day-a.base) {
			return
		}
		a.rebuild(a.bits+1, a.base)
	}
}

// insert writes an entry into the first room behind its home. Where there is none it widens a fingerprint of the same home
// until it matches everything there: crafted hashes cost exactness, not memory. It fails only when the home's own bucket is
// full of entries of others.
func (a *acceptance) insert(home int, fingerprint uint32, day int32) bool {
	for d := 0; d <= maxDistance; d++ {
		first := (home + d) & (1<<a.bits - 1) * bucketSlots
		for i := first; i < first+bucketSlots; i++ {
			if a.slots[i] == 0 {
				a.slots[i] = join(fingerprint, d, day)
				a.used++
				return true
			}
		}
	}
	if a.used > len(a.slots)/2 && a.bits < maxBucketBits {
		return false
	}
	for d := 0; d <= maxDistance; d++ {
		first := (home + d) & (1<<a.bits - 1) * bucketSlots
		for i := first; i < first+bucketSlots; i++ {
			if _, distance, code := split(a.slots[i]); distance == d {
				a.slots[i] = join(1, d, max(day, code))
				return true
			}
		}
	}
	return false
}

// rebuild moves all entries into a table of the given size and base, dropping what lies before the base.
func (a *acceptance) rebuild(size uint8, base int32) {
	for ; ; size++ {
		next := acceptance{slots: make([]uint32, bucketSlots<<size), bits: size, base: base, forgot: a.forgot || base > a.base}
		if a.copyTo(&next) {
			*a = next
			return
		}
	}
}

func (a *acceptance) copyTo(next *acceptance) bool {
	for i, slot := range a.slots {
		fp, distance, code := split(slot)
		day := code + a.base - next.base
		if slot == 0 || day < 1 {
			continue
		}
		home := (i/bucketSlots - distance) & (1<<a.bits - 1)
		if !spread(next, home, fp, a.bits, day) {
			return false
		}
	}
	return true
}

// spread inserts an entry of a table of fewer bits: the leading bits of the fingerprint extend the bucket number; an entry
// that has none left goes into both halves.
func spread(next *acceptance, home int, fp uint32, size uint8, day int32) bool {
	if size == next.bits {
		return next.insert(home, fp, day)
	}
	if fp == 1 {
		return spread(next, home<<1, fp, size+1, day) && spread(next, home<<1|1, fp, size+1, day)
	}
	length := bits.Len32(fp) - 1
	bit := fp >> (length - 1) & 1
	fp = 1<<(length-1) | fp&(1<<(length-1)-1)
	return spread(next, home<<1|int(bit), fp, size+1, day)
}
