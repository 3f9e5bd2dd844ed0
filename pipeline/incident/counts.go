package incident

import (
	"cmp"
	"slices"

	"carom.dev/carom/schema"
)

// Sample is the count of one cell of one minute.
type Sample struct {
	Minute     int64 // Unix minutes; samples of another minute than the one folded are skipped
	Provider   string
	Outcome    schema.Outcome
	Class      string // empty for deliveries
	SourceIP   string // our address; empty where the log does not name it
	Acceptance schema.Acceptance
	// Events counts log lines; FirstAttempts those of them that were the first try of their message and recipient.
	// A deferred message is counted once, at its first attempt, or the retries of one outage would look like another.
	// A source that cannot number attempts therefore has to report all as first ones.
	Events, FirstAttempts int64
}

const (
	ringMinutes  = 128 // how far back minutes are kept: the longest window, the lag of learning, the search for an onset
	blockMinutes = 15  // learning goes by blocks of this many minutes
	learnDelay   = 60  // a block is learned when this old, so that an incident found late has not been learned
)

// ring holds the counts of the last ringMinutes minutes.
type ring [ringMinutes]int32

func (r *ring) at(minute int64) int32 { return r[minute&(ringMinutes-1)] }

// sum adds up the minutes from..to, both included.
func (r *ring) sum(from, to int64) (n int64) {
	for m := from; m <= to; m++ {
		n += int64(r[m&(ringMinutes-1)])
	}
	return n
}

func (r *ring) add(minute, n int64) {
	p := &r[minute&(ringMinutes-1)]
	*p = int32(min(int64(*p)+n, 1<<30))
}

func (r *ring) clear(minute int64) { r[minute&(ringMinutes-1)] = 0 }

// view is an exposure: the part of the recipients that attempts and failures are counted for.
type view uint8

const (
	viewAccepted view = iota
	viewUnknown
	viewStranger // not accepted
	viewAll
	numViews
	viewDoubtful // unknown and not accepted together; never learned by itself
)

func viewOf(a schema.Acceptance) view {
	switch a {
	case schema.Acceptance_ACCEPTED:
		return viewAccepted
	case schema.Acceptance_NOT_ACCEPTED:
		return viewStranger
	}
	return viewUnknown
}

// provider is what is known of one provider.
type provider struct {
	name     string
	since    int64 // first minute with traffic
	lastSeen int64
	learned  int64             // minutes of traffic learned
	exposure [numViews]float64 // attempts learned, decayed
	attempts [viewAll]ring
	sources  map[string]*source
	classes  map[string]*series
	// Names in order, so that nothing depends on the order of the maps.
	sourceOrder, classOrder []string
}

// source is one of our addresses at one provider.
type source struct {
	attempts sourceRings
	lastSeen int64
}

// sourceRings counts strangers apart from recipients that accepted mail or may have.
type sourceRings [2]ring

func sourceSlot(v view) int {
	if v == viewStranger {
		return 1
	}
	return 0
}

func (s *sourceRings) sum(v view, from, to int64) int64 {
	switch v {
	case viewAccepted, viewUnknown:
		return s[0].sum(from, to)
	case viewStranger:
		return s[1].sum(from, to)
	}
	return s[0].sum(from, to) + s[1].sum(from, to)
}

// series is one failure class at one provider.
type series struct {
	class       string
	group       group
	failures    [viewAll]ring
	lastSeen    int64
	base        [numViews]baseline
	sourceNoise dispersion
	sources     map[string]*sourceSeries
	sourceOrder []string
}

// sourceSeries is one failure class at one provider through one of our addresses.
type sourceSeries struct {
	failures sourceRings
	lastSeen int64
	factor   ratio // against the provider's rate
}

func insert(order []string, name string) []string {
	i, found := slices.BinarySearch(order, name)
	if found {
		return order
	}
	return slices.Insert(order, i, name)
}

func remove(order []string, name string) []string {
	if i, found := slices.BinarySearch(order, name); found {
		return slices.Delete(order, i, i+1)
	}
	return order
}

// fold adds the samples to the rings of the minute. They are sorted first: which provider, class or address is the one
// too many must not depend on the order in which cells arrive.
func (d *Detector) fold(minute int64, samples []Sample) {
	d.scratch = append(d.scratch[:0], samples...)
	slices.SortFunc(d.scratch, func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Class, b.Class), cmp.Compare(a.SourceIP, b.SourceIP))
	})
	for i := range d.scratch {
		s := &d.scratch[i]
		if s.Minute != minute {
			continue
		}
		attempt, failure := true, true
		count := s.Events
		switch s.Outcome {
		case schema.Outcome_DELIVERED:
			failure = false
		case schema.Outcome_BOUNCED:
		case schema.Outcome_DEFERRED:
			count = s.FirstAttempts
		case schema.Outcome_EXPIRED:
			// Nothing was tried in this minute; what grows old in our queue is a matter of its own.
			attempt = false
			if groupOf(s.Class) != groupLocal {
				s.Class = "queue.expired"
			}
		default:
			continue
		}
		if count <= 0 {
			continue
		}
		d.add(minute, s, count, attempt, failure)
	}
}

func (d *Detector) add(minute int64, s *Sample, count int64, attempt, failure bool) {
	p := d.provider(s.Provider, minute)
	v := viewOf(s.Acceptance)
	src := p.source(s.SourceIP, d.cfg.MaxSources)
	p.lastSeen = minute
	if attempt {
		p.attempts[v].add(minute, count)
		if src != nil {
			src.attempts[sourceSlot(v)].add(minute, count)
			src.lastSeen = minute
		}
	}
	if !failure {
		return
	}
	class := s.Class
	if class == "" {
		class = "undetermined"
	}
	x := d.series(p, class)
	x.failures[v].add(minute, count)
	x.lastSeen = minute
	if src == nil {
		return
	}
	y := x.sources[s.SourceIP]
	if y == nil {
		if d.sourceSeries >= d.cfg.MaxSeries {
			return
		}
		d.sourceSeries++
		y = &sourceSeries{}
		x.sources[s.SourceIP] = y
		x.sourceOrder = insert(x.sourceOrder, s.SourceIP)
	}
	y.failures[sourceSlot(v)].add(minute, count)
	y.lastSeen = minute
}

func (d *Detector) provider(name string, minute int64) *provider {
	if name == "" {
		name = "other"
	}
	p := d.providers[name]
	if p == nil && len(d.providers) >= d.cfg.MaxProviders {
		name = "other"
		p = d.providers[name]
	}
	if p == nil {
		p = &provider{name: name, since: minute, sources: map[string]*source{}, classes: map[string]*series{}}
		d.providers[name] = p
		d.order = insert(d.order, name)
	}
	return p
}

// source returns nil for an address that is not known or one too many.
func (p *provider) source(ip string, limit int) *source {
	s := p.sources[ip]
	if s == nil && ip != "" && len(p.sources) < limit {
		s = &source{}
		p.sources[ip] = s
		p.sourceOrder = insert(p.sourceOrder, ip)
	}
	return s
}

func (d *Detector) series(p *provider, class string) *series {
	x := p.classes[class]
	if x == nil && len(p.classes) >= d.cfg.MaxClasses {
		class = "undetermined"
		x = p.classes[class]
	}
	if x == nil {
		x = &series{class: class, group: groupOf(class), sources: map[string]*sourceSeries{}}
		for v := range x.base {
			// Until now the class did not occur, and that has been seen.
			x.base[v].attempts = p.exposure[v]
		}
		p.classes[class] = x
		p.classOrder = insert(p.classOrder, class)
		d.classes = insert(d.classes, class)
	}
	return x
}

// clearMinute makes room for a minute in every ring.
func (d *Detector) clearMinute(minute int64) {
	for _, p := range d.providers {
		for i := range p.attempts {
			p.attempts[i].clear(minute)
		}
		for _, s := range p.sources {
			s.attempts[0].clear(minute)
			s.attempts[1].clear(minute)
		}
		for _, x := range p.classes {
			for i := range x.failures {
				x.failures[i].clear(minute)
			}
			for _, y := range x.sources {
				y.failures[0].clear(minute)
				y.failures[1].clear(minute)
			}
		}
	}
}

// forgetAfter is how long the memory of a source address or a provider without traffic is kept.
const forgetAfter = 14 * 24 * 60

// evict drops what has not been seen for long, once a day.
func (d *Detector) evict(minute int64) {
	for _, name := range slices.Clone(d.order) {
		p := d.providers[name]
		if p.lastSeen < minute-forgetAfter {
			for _, x := range p.classes {
				d.sourceSeries -= len(x.sources)
			}
			delete(d.providers, name)
			d.order = remove(d.order, name)
			continue
		}
		for _, ip := range slices.Clone(p.sourceOrder) {
			if p.sources[ip].lastSeen < minute-forgetAfter {
				delete(p.sources, ip)
				p.sourceOrder = remove(p.sourceOrder, ip)
			}
		}
		for _, x := range p.classes {
			for _, ip := range slices.Clone(x.sourceOrder) {
				if x.sources[ip].lastSeen < minute-forgetAfter {
					delete(x.sources, ip)
					x.sourceOrder = remove(x.sourceOrder, ip)
					d.sourceSeries--
				}
			}
		}
	}
}
