package aggregate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"carom.dev/carom/pipeline/state"
)

// clocks derives a partition's watermark from the clocks of the hosts that write to it: the time before which every
// host that counts has told everything. A host counts while it is heard of; one that is far behind the others (a
// shipper that comes back after six hours) does not hold them up: its lines are in order by its own clock, and its
// minutes are counted when they come.
type clocks struct {
	hosts map[string]hostClock
	nowMs int64 // latest time of writing or tick: how long ago a host was heard of is measured with this
	wm    int64 // microseconds, never goes back
}

type hostClock struct {
	atUs   int64 // the host's own clock
	seenMs int64 // when that was written to the raw topic
	raw    int32 // raw partition it came from
}

const (
	hostSilentMs  = 2 * 60 * 1000       // a host that was not heard of for so long does not hold the others up
	allSilentMs   = 10 * 60 * 1000      // when nobody was heard of for so long, there is nothing to wait for
	hostLaggingUs = 10 * 60 * 1_000_000 // nor one so far behind the median
	maxHosts      = 1 << 14
)

func newClocks() *clocks { return &clocks{hosts: map[string]hostClock{}} }

// host takes a host's clock. It reports whether the host was last heard of through another raw partition: the same
// host's lines in two partitions lose their order.
func (c *clocks) host(name string, atUs, seenMs int64, raw int32) (moved bool) {
	old, known := c.hosts[name]
	if !known && len(c.hosts) >= maxHosts {
		c.evict()
	}
	c.hosts[name] = hostClock{atUs: max(old.atUs, atUs), seenMs: max(old.seenMs, seenMs), raw: raw}
	c.nowMs = max(c.nowMs, seenMs)
	return known && old.raw != raw
}

// evict forgets the host that was silent longest.
func (c *clocks) evict() {
	var oldest string
	for name, h := range c.hosts {
		o, ok := c.hosts[oldest]
		if !ok || h.seenMs < o.seenMs || (h.seenMs == o.seenMs && name < oldest) {
			oldest = name
		}
	}
	delete(c.hosts, oldest)
}

// tick takes the leader's time, so that a partition without traffic moves on too.
func (c *clocks) tick(atUs int64) { c.nowMs = max(c.nowMs, atUs/1000) }

// assume sets the watermark by order of a Close record.
func (c *clocks) assume(atUs int64) { c.wm = max(c.wm, atUs) }

// watermark returns the time, in microseconds, before which the partition is complete as far as anybody can know.
func (c *clocks) watermark() int64 {
	var at []int64
	for _, h := range c.hosts {
		if h.seenMs >= c.nowMs-hostSilentMs {
			at = append(at, h.atUs)
		}
	}
	if len(at) == 0 {
		// Before the first host nothing is known to be complete: an installation that only imports makes no such claim.
		if len(c.hosts) > 0 {
			c.wm = max(c.wm, (c.nowMs-allSilentMs)*1000)
		}
		return c.wm
	}
	slices.Sort(at)
	bound := at[len(at)/2] - hostLaggingUs
	for _, t := range at {
		if t >= bound {
			c.wm = max(c.wm, t)
			break
		}
	}
	return c.wm
}

func (c *clocks) appendState(b []byte) []byte {
	b = binary.AppendVarint(b, c.nowMs)
	b = binary.AppendVarint(b, c.wm)
	names := slices.SortedFunc(maps.Keys(c.hosts), cmp.Compare[string])
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, n := range names {
		h := c.hosts[n]
		b = state.AppendString(b, n)
		b = binary.AppendVarint(b, h.atUs)
		b = binary.AppendVarint(b, h.seenMs)
		b = binary.AppendVarint(b, int64(h.raw))
	}
	return b
}

func (c *clocks) loadState(b []byte) error {
	r := state.NewReader(b)
	c.nowMs, c.wm = r.Varint(), r.Varint()
	n := r.Count(4)
	c.hosts = make(map[string]hostClock, n)
	for range n {
		name := r.String()
		c.hosts[name] = hostClock{atUs: r.Varint(), seenMs: r.Varint(), raw: int32(r.Varint())}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("host clocks: %w", err)
	}
	return nil
}
