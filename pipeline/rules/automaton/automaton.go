// Package automaton matches one text against many regular expressions at once and reports the first of them, in the
// order given, that matches anywhere in the text.
//
// All patterns are joined into one automaton that is made deterministic lazily, while texts are read: a byte costs one
// table load however many patterns there are. What a text needs and no earlier text needed is learned on the way, so
// Warm with a representative corpus belongs to every start.
//
// The syntax and the verdict are those of the standard regexp package (RE2 syntax with Perl classes): Match gives the
// lowest i for which regexp.MustCompile(patterns[i]).Match(text) is true. That includes its treatment of invalid UTF-8
// (each byte that starts no valid encoding counts as one U+FFFD) and its ASCII-only \b; there is no known deviation.
// Positions and submatches are not reported: ask regexp for those, for the one pattern that won.
//
// The construction is the classical subset construction on demand (Thompson 1968; Cox, "Regular Expression Matching in
// the Wild", 2010), over a row-displacement table (Tarjan and Yao, "Storing a Sparse Table", 1979).
package automaton

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// DefaultMaxTableBytes is the bound on learned data when Options does not set one.
const DefaultMaxTableBytes = 16 << 20

// Options of Compile. The zero value is usable.
type Options struct {
	// MaxTableBytes bounds what is learned from texts, in bytes: transitions, states and their index. 0 means
	// DefaultMaxTableBytes. At the bound learning starts again from nothing (Stats.Flushes); what was learned before is
	// kept in a smaller, read-only form as long as that fits in three quarters of the bound, then dropped. Too small a
	// bound is slow and changes no answer. It is exceeded by up to a quarter while an array grows, by the handful of
	// states without which there is no progress, and by a second copy while the table is laid out anew. The compiled
	// patterns are not counted; Compile bounds them.
	MaxTableBytes int
}

// Set is a compiled, ordered set of patterns. It is safe for concurrent use; texts on learned paths are matched without
// taking a lock.
type Set struct {
	symbols   [256]uint16 // byte -> symbol, 1..prog.endSymbol-1
	endSymbol uint32
	published atomic.Pointer[view]

	mu    sync.Mutex // guards learning
	learn *learner

	stats counters
}

// Stats describes how a Set is doing. Counters never fall; a steady rise of Misses per byte, or of Flushes, says that
// the table is too small for the texts.
type Stats struct {
	States     int    // states in the table now; those in the read-only part may be counted twice
	TableBytes int    // bytes held by what was learned, now
	Classes    int    // classes of bytes that the patterns do not tell apart
	Misses     uint64 // transitions computed because no earlier text needed them
	Flushes    uint64 // times the table reached its bound and learning started again
}

type counters struct {
	states, tableBytes atomic.Int64
	misses, flushes    atomic.Uint64
}

// Compile joins patterns into a Set. An error is a *PatternError naming the pattern at fault. No patterns give a Set
// that matches nothing.
func Compile(patterns []string, opt Options) (*Set, error) {
	prog, err := compileProgram(patterns)
	if err != nil {
		return nil, err
	}
	if opt.MaxTableBytes <= 0 {
		opt.MaxTableBytes = DefaultMaxTableBytes
	}
	s := &Set{endSymbol: prog.endSymbol}
	s.symbols = prog.symbols
	s.learn = newLearner(prog, opt.MaxTableBytes, s)
	return s, nil
}

// Match returns the index of the first pattern, in the order given to Compile, that matches anywhere in text, or -1.
// It does not retain text, and allocates only while it learns.
func (s *Set) Match(text []byte) int {
	v := s.published.Load()
	slots, symbols := v.slots, &s.symbols
	at := v.start
	for i := 0; i < len(text); i++ {
		sym := uint32(symbols[text[i]])
		next := atomic.LoadUint32(&slots[at>>symbolBits+sym])
		if next&symbolMask != sym {
			return s.resume(v, at, i, text)
		}
		at = next
	}
	next := atomic.LoadUint32(&slots[at>>symbolBits+s.endSymbol])
	if next&symbolMask != s.endSymbol {
		return s.resume(v, at, len(text), text)
	}
	return int(next>>symbolBits) - 1
}

// MatchString is Match for a string.
func (s *Set) MatchString(text string) int {
	return s.Match(unsafe.Slice(unsafe.StringData(text), len(text))) // Match only reads
}

// resume continues a match where the view has no entry: because the verdict is known already, or because the transition
// is to be found in the next view or to be learned.
func (s *Set) resume(v *view, at uint32, i int, text []byte) int {
	for {
		if base := at >> symbolBits; base <= v.decided {
			return int(base) - 1
		}
		if v.next == nil {
			break
		}
		v = v.next
		at, i = s.walk(v, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learn.finish(v, at, i, text)
}

// walk follows text as far as v has entries. It returns the last entry and the number of symbols read.
func (s *Set) walk(v *view, text []byte) (at uint32, i int) {
	at = v.start
	for i = 0; i <= len(text); i++ {
		sym := s.endSymbol
		if i < len(text) {
			sym = uint32(s.symbols[text[i]])
		}
		next := atomic.LoadUint32(&v.slots[at>>symbolBits+sym])
		if next&symbolMask != sym {
			break
		}
		at = next
	}
	return at, i
}

// Warm matches texts so that what they need is in the table. It is worth calling with a corpus that resembles what
// will be matched, before the first Match that matters. It takes about 50 us for a text of 200 bytes that is new, and
// goes over texts again, a few times at most, if they did not fit in the table the first time.
func (s *Set) Warm(texts [][]byte) {
	const passes = 12
	for range passes {
		before := s.stats.flushes.Load()
		for _, text := range texts {
			s.Match(text)
		}
		if s.stats.flushes.Load() == before {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.learn.t = s.learn.t.packed()
	s.learn.publish()
}

// Stats returns the current counters. The fields are read one by one, not as one consistent cut.
func (s *Set) Stats() Stats {
	return Stats{
		States:     int(s.stats.states.Load()),
		TableBytes: int(s.stats.tableBytes.Load()),
		Classes:    int(s.endSymbol) - 1,
		Misses:     s.stats.misses.Load(),
		Flushes:    s.stats.flushes.Load(),
	}
}
