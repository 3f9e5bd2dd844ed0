package cells

import (
	"cmp"
	"encoding/binary"
	"strings"

	"carom.dev/carom/pipeline/state"
	"carom.dev/carom/schema"
)

// ClassMachine is the class of engagement by a machine, which people's numbers leave out. It is none of the taxonomy.
const ClassMachine = "machine"

// Key is a minute and the dimensions of a cell. Class is empty for successes but ClassMachine.
type Key struct {
	Minute     int64 // Unix minutes
	Provider   string
	Outcome    schema.Outcome
	Class      string
	SourceIP   string
	Acceptance schema.Acceptance
	Backfill   bool
}

// KeyOf returns the key of a cell as it stands on the wire.
func KeyOf(c *schema.Cell) Key {
	return Key{
		Minute: c.Minute, Provider: c.Provider, Outcome: c.Outcome, Class: c.Class,
		SourceIP: c.SourceIp, Acceptance: c.Acceptance, Backfill: c.Backfill,
	}
}

// Compare orders keys by minute first.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		cmp.Compare(k.Minute, o.Minute),
		strings.Compare(k.Provider, o.Provider),
		cmp.Compare(k.Outcome, o.Outcome),
		strings.Compare(k.Class, o.Class),
		strings.Compare(k.SourceIP, o.SourceIP),
		cmp.Compare(k.Acceptance, o.Acceptance),
		cmp.Compare(number(k.Backfill), number(o.Backfill)),
	)
}

// PartitionKey returns the Kafka key of a cell: its minute and dimensions, so that all sources' parts of a row meet in one
// partition. Strings carry their length, so different cells have different keys. OpenedAt is not in it.
func PartitionKey(c *schema.Cell) []byte {
	return appendKey(make([]byte, 0, 32+len(c.Provider)+len(c.Class)+len(c.SourceIp)), KeyOf(c))
}

func appendKey(b []byte, k Key) []byte {
	b = binary.AppendVarint(b, k.Minute)
	b = state.AppendString(b, k.Provider)
	b = binary.AppendVarint(b, int64(k.Outcome))
	b = state.AppendString(b, k.Class)
	b = state.AppendString(b, k.SourceIP)
	b = binary.AppendVarint(b, int64(k.Acceptance))
	return append(b, byte(number(k.Backfill)))
}

// own returns the key with strings of its own: those of an event may lie in a buffer that is used again.
func (k Key) own() Key {
	k.Provider, k.Class, k.SourceIP = strings.Clone(k.Provider), strings.Clone(k.Class), strings.Clone(k.SourceIP)
	return k
}

// sum is what a cell counts.
type sum struct {
	events, firstAttempts, delayMs int64
}

func (s *sum) add(o sum) {
	s.events += o.events
	s.firstAttempts += o.firstAttempts
	s.delayMs += o.delayMs
}

func wire(k Key, openedAt int64, s sum) *schema.Cell {
	return &schema.Cell{
		Minute: k.Minute, Provider: k.Provider, Outcome: k.Outcome, Class: k.Class, SourceIp: k.SourceIP,
		Acceptance: k.Acceptance, Backfill: k.Backfill, OpenedAt: openedAt,
		Events: s.events, FirstAttempts: s.firstAttempts, DelayMsSum: s.delayMs,
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
