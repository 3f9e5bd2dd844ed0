package incident

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"carom.dev/carom/schema"
)

// stateVersion is the first byte of a saved state.
const stateVersion = 1

// ErrState is the error of LoadState for bytes that AppendState has not written whole.
var ErrState = errors.New("incident state is damaged")

// AppendState appends everything the detector remembers to dst. Equal detectors give equal bytes.
func (d *Detector) AppendState(dst []byte) []byte {
	e := encoder{append(dst, stateVersion)}
	e.int(d.last)
	e.int(d.learned)
	e.int(int64(len(d.order)))
	for _, name := range d.order {
		d.providers[name].encode(&e, d.last)
	}
	e.int(int64(len(d.fleet)))
	for _, class := range slices.Sorted(maps.Keys(d.fleet)) {
		f := d.fleet[class]
		e.string(class)
		e.floats(f.excess, f.square)
	}
	e.int(int64(len(d.hits)))
	for _, key := range slices.Sorted(maps.Keys(d.hits)) {
		e.string(key)
		e.int(d.hits[key])
	}
	e.int(int64(len(d.incidents)))
	for _, key := range slices.Sorted(maps.Keys(d.incidents)) {
		d.incidents[key].encode(&e)
	}
	return e.b
}

func (p *provider) encode(e *encoder, last int64) {
	e.string(p.name)
	e.int(p.since)
	e.int(p.lastSeen)
	e.int(p.learned)
	e.floats(p.exposure[:]...)
	e.rings(last, p.attempts[:])
	e.int(int64(len(p.sourceOrder)))
	for _, ip := range p.sourceOrder {
		s := p.sources[ip]
		e.string(ip)
		e.int(s.lastSeen)
		e.rings(last, s.attempts[:])
	}
	e.int(int64(len(p.classOrder)))
	for _, class := range p.classOrder {
		x := p.classes[class]
		e.string(class)
		e.int(x.lastSeen)
		e.rings(last, x.failures[:])
		for i := range x.base {
			b := &x.base[i]
			e.floats(b.failures, b.attempts, b.noise.excess, b.noise.square)
		}
		e.floats(x.sourceNoise.excess, x.sourceNoise.square)
		e.int(int64(len(x.sourceOrder)))
		for _, ip := range x.sourceOrder {
			y := x.sources[ip]
			e.string(ip)
			e.int(y.lastSeen)
			e.rings(last, y.failures[:])
			e.floats(y.factor.observed, y.factor.expected)
		}
	}
}

func (r *record) encode(e *encoder) {
	for _, s := range []string{r.provider, r.ip, r.class, r.id, r.kind, r.severity} {
		e.string(s)
	}
	unobserved := int64(0)
	if r.unobserved {
		unobserved = 1
	}
	for _, n := range []int64{
		int64(r.group), int64(r.view), int64(r.revision), int64(r.state), r.onset, r.opened, r.lastHit, r.published, r.resolved,
		r.quiet, r.sources, unobserved,
	} {
		e.int(n)
	}
	e.floats(r.share, r.z, r.control, r.reported, r.sinceHit)
	for _, t := range []totals{r.total, r.atHit} {
		e.floats(t.attempts, t.failures, t.accepted, t.expected)
	}
}

// LoadState replaces what the detector remembers with what AppendState wrote; the parameters stay. After an error,
// which is ErrState, the detector is as before.
func (d *Detector) LoadState(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty", ErrState)
	}
	if b[0] != stateVersion {
		return fmt.Errorf("%w: version %d, this program reads %d", ErrState, b[0], stateVersion)
	}
	c := decoder{b: b[1:]}
	n := NewDetector(d.cfg)
	n.last = c.int()
	n.learned = c.int()
	for range c.count() {
		n.decodeProvider(&c)
	}
	for range c.count() {
		class := c.string()
		n.fleet[class] = dispersion{c.float(), c.float()}
	}
	for range c.count() {
		key := c.string()
		n.hits[key] = c.int()
	}
	for range c.count() {
		r := decodeRecord(&c)
		n.incidents[r.key] = r
		if r.isOpen() {
			n.open = insert(n.open, r.key)
		}
	}
	if c.bad {
		return fmt.Errorf("%w: %d bytes end too early or hold a wrong number", ErrState, len(b))
	}
	if len(c.b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrState, len(c.b))
	}
	if d.last > 0 || n.last > 0 {
		n.pool()
	}
	*d = *n
	return nil
}

func (d *Detector) decodeProvider(c *decoder) {
	p := &provider{name: c.string(), since: c.int(), lastSeen: c.int(), learned: c.int(), sources: map[string]*source{}, classes: map[string]*series{}}
	c.floats(p.exposure[:])
	c.rings(d.last, p.attempts[:])
	for range c.count() {
		s := &source{}
		ip := c.string()
		s.lastSeen = c.int()
		c.rings(d.last, s.attempts[:])
		p.sources[ip] = s
		p.sourceOrder = insert(p.sourceOrder, ip)
	}
	for range c.count() {
		x := &series{class: c.string(), lastSeen: c.int(), sources: map[string]*sourceSeries{}}
		x.group = groupOf(x.class)
		c.rings(d.last, x.failures[:])
		for i := range x.base {
			x.base[i] = baseline{c.float(), c.float(), dispersion{c.float(), c.float()}}
		}
		x.sourceNoise = dispersion{c.float(), c.float()}
		for range c.count() {
			y := &sourceSeries{}
			ip := c.string()
			y.lastSeen = c.int()
			c.rings(d.last, y.failures[:])
			y.factor = ratio{c.float(), c.float()}
			x.sources[ip] = y
			x.sourceOrder = insert(x.sourceOrder, ip)
			d.sourceSeries++
		}
		p.classes[x.class] = x
		p.classOrder = insert(p.classOrder, x.class)
		d.classes = insert(d.classes, x.class)
	}
	d.providers[p.name] = p
	d.order = insert(d.order, p.name)
}

func decodeRecord(c *decoder) *record {
	r := &record{}
	for _, s := range []*string{&r.provider, &r.ip, &r.class, &r.id, &r.kind, &r.severity} {
		*s = c.string()
	}
	r.group, r.view, r.revision, r.state = group(c.int()), view(c.int()), uint32(c.int()), schema.IncidentState(c.int())
	if r.group >= numGroups || r.view > viewDoubtful {
		c.bad, r.group, r.view = true, groupOther, viewAll
	}
	for _, n := range []*int64{&r.onset, &r.opened, &r.lastHit, &r.published, &r.resolved, &r.quiet, &r.sources} {
		*n = c.int()
	}
	r.unobserved = c.int() != 0
	r.share, r.z, r.control, r.reported, r.sinceHit = c.float(), c.float(), c.float(), c.float(), c.float()
	for _, t := range []*totals{&r.total, &r.atHit} {
		*t = totals{c.float(), c.float(), c.float(), c.float()}
	}
	r.key = r.scope.key()
	return r
}

type encoder struct{ b []byte }

func (e *encoder) int(n int64) { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) string(s string) {
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) floats(all ...float64) {
	for _, f := range all {
		e.b = binary.LittleEndian.AppendUint64(e.b, math.Float64bits(f))
	}
}

// rings writes the minutes that are not 0, as their age and count, and a closing age of -1.
func (e *encoder) rings(last int64, all []ring) {
	for i := range all {
		for age := range int64(ringMinutes) {
			if n := all[i].at(last - age); n != 0 {
				e.int(age)
				e.int(int64(n))
			}
		}
		e.int(-1)
	}
}

// decoder reads what encoder wrote. At the first fault it turns bad and gives zeroes.
type decoder struct {
	b   []byte
	bad bool
}

func (c *decoder) int() int64 {
	n, used := binary.Varint(c.b)
	if used <= 0 {
		c.bad, c.b = true, nil
		return 0
	}
	c.b = c.b[used:]
	return n
}

// count reads the length of a list; each of its elements takes a byte at least.
func (c *decoder) count() int64 {
	n := c.int()
	if n < 0 || n > int64(len(c.b)) {
		c.bad, c.b = true, nil
		return 0
	}
	return n
}

func (c *decoder) string() string {
	n, used := binary.Uvarint(c.b)
	if used <= 0 || n > uint64(len(c.b)-used) {
		c.bad, c.b = true, nil
		return ""
	}
	s := string(c.b[used : used+int(n)])
	c.b = c.b[used+int(n):]
	return s
}

func (c *decoder) float() float64 {
	if len(c.b) < 8 {
		c.bad, c.b = true, nil
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(c.b))
	c.b = c.b[8:]
	return f
}

func (c *decoder) floats(to []float64) {
	for i := range to {
		to[i] = c.float()
	}
}

func (c *decoder) rings(last int64, to []ring) {
	for i := range to {
		for {
			age := c.int()
			if age == -1 || c.bad {
				break
			}
			n := c.int()
			if age < 0 || age >= ringMinutes || n < 0 || n > math.MaxInt32 {
				c.bad = true
				break
			}
			to[i][(last-age)&(ringMinutes-1)] = int32(n)
		}
	}
}
