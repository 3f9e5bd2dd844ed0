package incident

import (
	"slices"

	"carom.dev/carom/schema"
)

// Detector finds incidents in minutes. The zero value is not usable; it is not safe for concurrent use.
type Detector struct {
	cfg  Config
	last int64 // minute folded last; 0 before the first

	providers    map[string]*provider
	order        []string // their names
	classes      []string // names of all classes seen
	sourceSeries int
	learned      int64 // minutes of traffic
	fleet        map[string]dispersion

	incidents map[string]*record // by key: open ones, and resolved ones as long as they matter
	open      []string           // keys of the open ones, in order
	hits      map[string]int64   // minute of the last hit, by key

	pooled  map[string][numViews]float64 // derived from the baselines
	scratch []Sample
}

// NewDetector returns a detector that has seen nothing. A Config that Validate refuses gives undefined answers.
func NewDetector(cfg Config) *Detector {
	return &Detector{
		cfg:       cfg,
		providers: map[string]*provider{},
		fleet:     map[string]dispersion{},
		incidents: map[string]*record{},
		hits:      map[string]int64{},
		pooled:    map[string][numViews]float64{},
	}
}

// Last returns the minute folded last, 0 before the first.
func (d *Detector) Last() int64 { return d.last }

// Minute folds all samples of one minute and returns the incident revisions it caused, ordered by scope. Minutes come in
// ascending order. A gap is time without traffic; a minute at or before the last one is skipped, so that a repeat is
// harmless. complete is false when not all partitions had reported: such a minute counts, but is no sign of recovery.
// The incidents returned belong to the caller.
func (d *Detector) Minute(minute int64, samples []Sample, complete bool) []*schema.Incident {
	if minute <= d.last {
		return nil
	}
	var out []*schema.Incident
	if d.last > 0 {
		// After so many empty minutes nothing is open and every ring is empty.
		settled := d.last + minutes(d.cfg.UnobservedStop) + ringMinutes
		for m := d.last + 1; m < minute && m <= settled; m++ {
			out = append(out, d.step(m, nil, true)...)
		}
	}
	return append(out, d.step(minute, samples, complete)...)
}

func (d *Detector) step(minute int64, samples []Sample, complete bool) []*schema.Incident {
	d.last = minute
	d.clearMinute(minute)
	d.fold(minute, samples)
	if minute%blockMinutes == 0 {
		d.learnBlock(minute-learnDelay-blockMinutes, minute-learnDelay-1)
	}
	if minute%(24*60) == 0 {
		d.evict(minute)
	}
	out := d.scan(minute)
	out = append(out, d.age(minute, complete)...)
	slices.SortStableFunc(out, func(a, b *schema.Incident) int { return compareIncidents(a, b) })
	return out
}

// Open returns the incidents that are open, as of the last minute, ordered by scope. They belong to the caller.
func (d *Detector) Open() []*schema.Incident {
	var out []*schema.Incident
	for _, key := range d.open {
		out = append(out, d.report(d.incidents[key]))
	}
	slices.SortStableFunc(out, compareIncidents)
	return out
}

func (d *Detector) isOpen(key string) bool {
	if len(d.open) == 0 {
		return false
	}
	_, found := slices.BinarySearch(d.open, key)
	return found
}
