package recipient

// slab is a growing array of fixed-size records in chunks: growing copies nothing and the garbage collector has nothing to
// scan, since T holds no pointers. Slots are numbered from 1; 0 means none. Which slot a record gets depends only on the
// order of alloc and release, and a snapshot keeps the free list, so slots are a function of the log.
type slab[T any] struct {
	chunks [][]T
	used   uint32 // slots ever handed out
	free   []uint32
}

const (
	chunkBits = 12
	chunkLen  = 1 << chunkBits
)

func (s *slab[T]) at(slot uint32) *T {
	i := slot - 1
	return &s.chunks[i>>chunkBits][i&(chunkLen-1)]
}

func (s *slab[T]) alloc() uint32 {
	if n := len(s.free); n > 0 {
		slot := s.free[n-1]
		s.free = s.free[:n-1]
		return slot
	}
	if s.used>>chunkBits == uint32(len(s.chunks)) {
		s.chunks = append(s.chunks, make([]T, chunkLen))
	}
	s.used++
	return s.used
}

func (s *slab[T]) release(slot uint32) {
	var zero T
	*s.at(slot) = zero
	s.free = append(s.free, slot)
}

// live is the number of records in use.
func (s *slab[T]) live() int { return int(s.used) - len(s.free) }

// arena holds the variable bytes of records: keys, domains, event ids. Bytes are never changed in place; what records drop is
// garbage until the Store copies the rest into a new arena.
type arena struct {
	chunks  [][]byte
	garbage int
	live    int
}

const (
	arenaBits  = 20
	arenaChunk = 1 << arenaBits
	// maxStored bounds one string, so that an offset stays 32 bits and no string straddles two chunks.
	maxStored = 1 << 12
)

// put copies the parts behind each other and returns where they begin. ok is false when 4 GiB are full.
func (a *arena) put(parts ...[]byte) (at uint32, ok bool) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+n > arenaChunk {
		if len(a.chunks) == 1<<(32-arenaBits) {
			return 0, false
		}
		a.chunks = append(a.chunks, make([]byte, 0, arenaChunk))
		last++
	}
	at = uint32(last)<<arenaBits | uint32(len(a.chunks[last]))
	for _, p := range parts {
		a.chunks[last] = append(a.chunks[last], p...)
	}
	a.live += n
	return at, true
}

func (a *arena) get(at uint32, n int) []byte {
	i := at & (arenaChunk - 1)
	return a.chunks[at>>arenaBits][i : int(i)+n : int(i)+n]
}

func (a *arena) drop(n int) {
	a.live -= n
	a.garbage += n
}

// wasteful says when copying pays: more garbage than live bytes, and enough of it to matter.
func (a *arena) wasteful() bool { return a.garbage > a.live && a.garbage > 4*arenaChunk }

// names gives small numbers to strings that repeat: classes, providers, rules, scopes. Number 0 is the empty string. It only
// grows; limit is its bound.
type names struct {
	list  []string
	byStr map[string]uint32
	limit int
}

func newNames(limit int) names {
	return names{list: []string{""}, byStr: map[string]uint32{"": 0}, limit: limit}
}

// id returns the number of s. ok is false, with number 0, when s is new and the table is full.
func (n *names) id(s string) (id uint32, ok bool) {
	if id, ok = n.byStr[s]; ok {
		return id, true
	}
	if len(n.list) >= n.limit {
		return 0, false
	}
	id = uint32(len(n.list))
	s = string([]byte(s)) // may point into a decoded batch
	n.list = append(n.list, s)
	n.byStr[s] = id
	return id, true
}

func (n *names) str(id uint32) string { return n.list[id] }
