package incident

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"carom.dev/carom/schema"
)

// record is an incident's memory, from its opening until it can neither return nor disturb learning.
type record struct {
	scope
	key      string
	id       string
	kind     string
	severity string
	revision uint32
	state    schema.IncidentState

	onset, opened, lastHit, published, resolved int64   // minutes
	quiet                                       int64   // complete minutes since the last hit
	share                                       float64 // of the window that opened it
	z, control                                  float64 // the highest z so far
	sources                                     int64   // source addresses with failures when it opened
	unobserved                                  bool
	seen                                        int64 // minute of the last finding; of no use after it

	total, atHit totals  // since the onset until now, and until the last hit
	reported     float64 // excess of the last revision
	sinceHit     float64 // attempts
}

type totals struct{ attempts, failures, accepted, expected float64 }

func (t totals) minus(u totals) totals {
	return totals{t.attempts - u.attempts, t.failures - u.failures, t.accepted - u.accepted, t.expected - u.expected}
}

func (t totals) excess() float64 { return max(0, t.failures-t.expected) }

func (r *record) isOpen() bool { return r.state != schema.IncidentState_RESOLVED }

func (r *record) isFleet() bool { return r.provider == "" }

// changes collects revisions.
type changes []*schema.Incident

func (c *changes) add(inc *schema.Incident) {
	if inc != nil {
		*c = append(*c, inc)
	}
}

func compareIncidents(a, b *schema.Incident) int {
	return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Class, b.Class),
		cmp.Compare(a.Id, b.Id), cmp.Compare(a.Revision, b.Revision))
}

// take turns a finding into an open incident or into evidence for one. It returns a revision worth publishing, or nil.
func (d *Detector) take(f finding, t int64) *schema.Incident {
	key := f.key()
	r := d.incidents[key]
	if r != nil && r.isOpen() {
		r.seen = t
		r.z = max(r.z, f.z)
		return nil // age publishes, at its own pace
	}
	if f.kind == KindListImport && f.ip == "" && d.refusing(f.class) {
		return nil
	}
	before, seen := d.hits[key]
	d.hits[key] = t
	if f.z < urgentZ && (!seen || before == t) {
		return nil
	}
	if len(d.open) >= d.cfg.MaxOpen {
		return nil
	}
	delete(d.hits, key)
	if r != nil && t-r.resolved <= minutes(d.cfg.ReopenWithin) {
		return d.reopen(r, f, t)
	}
	onset := d.onset(f, t)
	r = &record{
		scope: f.scope, key: key, id: incidentID(key, onset), kind: f.kind, state: schema.IncidentState_OPEN,
		onset: onset, opened: t, share: f.w.share(), z: f.z, control: f.control,
	}
	r.view = viewAll
	d.incidents[key] = r
	for m := onset; m <= t; m++ {
		d.count(r, m)
	}
	d.hit(r, t)
	r.sources = d.failingSources(r, t)
	r.severity = r.judge()
	d.open = insert(d.open, key)
	return d.publish(r, t)
}

func (d *Detector) reopen(r *record, f finding, t int64) *schema.Incident {
	r.state, r.resolved, r.unobserved = schema.IncidentState_UPDATED, 0, false
	for m := d.onset(f, t); m <= t; m++ {
		d.count(r, m)
	}
	r.z = max(r.z, f.z)
	r.share = f.w.share()
	d.hit(r, t)
	r.severity = higher(r.severity, r.judge())
	d.open = insert(d.open, r.key)
	return d.publish(r, t)
}

// refusing says whether a provider is known to refuse good recipients with this class.
func (d *Detector) refusing(class string) bool {
	for _, key := range d.open {
		if r := d.incidents[key]; r.kind == KindProviderFalseUnknown && r.class == class {
			return true
		}
	}
	return false
}

// hit notes that an incident went on within the last quarter of an hour before t. Its last minute is the one up to which the
// sum of what cannot be explained is highest, so that the time after the end is not counted as part of it.
func (d *Detector) hit(r *record, t int64) {
	r.quiet = 0
	sum, top, end := 0.0, 0.0, r.lastHit
	for m := max(t-blockMinutes+1, r.onset); m <= t; m++ {
		w := d.window(r.scope, m, m)
		sum += w.k - w.mu - 0.35*r.share*w.n
		if sum > top {
			top, end = sum, m
		}
	}
	if end <= r.lastHit {
		return
	}
	r.lastHit, r.sinceHit, r.atHit = end, 0, r.total
	for m := end + 1; m <= t; m++ {
		after := d.tally(r.scope, m)
		r.sinceHit += after.attempts
		r.atHit = r.atHit.minus(after)
	}
}

// onset returns the minute from which the sum of what cannot be explained, up to t, is highest.
func (d *Detector) onset(f finding, t int64) int64 {
	floor := t - ringMinutes + blockMinutes
	if r := d.incidents[f.key()]; r != nil {
		floor = max(floor, r.lastHit+1)
	}
	share := f.w.share()
	sum, top, start := 0.0, 0.0, t
	for m := t; m >= floor; m-- {
		w := d.window(f.scope, m, m)
		sum += w.k - w.mu - 0.35*share*w.n
		if sum > top {
			top, start = sum, m
		}
	}
	return start
}

// count adds a minute to the totals of an incident.
func (d *Detector) count(r *record, m int64) {
	t := d.tally(r.scope, m)
	r.total.attempts += t.attempts
	r.total.failures += t.failures
	r.total.accepted += t.accepted
	r.total.expected += t.expected
	r.sinceHit += t.attempts
}

func (d *Detector) tally(s scope, m int64) totals {
	w := d.window(s, m, m)
	return totals{attempts: w.n, failures: w.k, accepted: d.acceptedFailures(s, m), expected: w.mu}
}

// acceptedFailures counts those at recipients that accepted mail before.
func (d *Detector) acceptedFailures(s scope, m int64) (k float64) {
	for _, name := range d.order {
		if s.provider != "" && name != s.provider {
			continue
		}
		if x := d.providers[name].classes[s.class]; x != nil && s.ip == "" {
			k += float64(x.failures[viewAccepted].at(m))
		}
	}
	return k
}

// age counts the minute for the open incidents, looks whether they go on, and publishes or resolves them.
func (d *Detector) age(t int64, complete bool) (out changes) {
	for _, key := range slices.Clone(d.open) {
		r := d.incidents[key]
		if r.published == t {
			continue // opened or re-opened in this minute, which is counted
		}
		d.count(r, t)
		if r.seen == t || d.goesOn(r, t) {
			d.hit(r, t)
		} else if complete {
			r.quiet++
		}
		out.add(d.settle(r, t))
	}
	keep := max(minutes(d.cfg.ReopenWithin), learnDelay+2*blockMinutes)
	for key, r := range d.incidents {
		if !r.isOpen() && t-r.resolved > keep {
			delete(d.incidents, key)
		}
	}
	return out
}

func (d *Detector) goesOn(r *record, t int64) bool {
	w := d.window(r.scope, max(t-14, r.onset), t)
	return w.k >= 2 && w.z() > evidenceZ && w.share() > 0.3*r.share
}

// settle decides on resolving and on the next revision.
func (d *Detector) settle(r *record, t int64) *schema.Incident {
	wait := d.cfg.ResolveAfter
	if r.ip != "" {
		wait = d.cfg.NarrowResolve
	}
	// Silence is not recovery: mail must have flowed that would have shown the trouble.
	observed := r.sinceHit*r.share >= 5
	given := t-r.lastHit >= minutes(d.cfg.UnobservedStop)
	if r.quiet >= minutes(wait) && observed || given {
		r.state, r.resolved, r.unobserved = schema.IncidentState_RESOLVED, t, !observed
		d.open = remove(d.open, r.key)
		return d.publish(r, t)
	}
	severity := higher(r.severity, r.judge())
	since := t - r.published
	doubled := r.atHit.excess() >= 2*r.reported && since >= 5
	if severity != r.severity || r.lastHit > r.published && (since >= minutes(d.cfg.UpdateEvery) || doubled) {
		r.severity, r.state = severity, schema.IncidentState_UPDATED
		return d.publish(r, t)
	}
	return nil
}

func (d *Detector) publish(r *record, t int64) *schema.Incident {
	r.revision++
	r.published = t
	r.reported = r.atHit.excess()
	return d.report(r)
}

// freezeLimit is after how long an incident that does not end is taken for the new normal: then it is learned.
const freezeLimit = 7 * 24 * 60

func (r *record) covers(from int64) bool {
	return r.onset < from+blockMinutes && (r.isOpen() || r.lastHit >= from) && from-r.opened < freezeLimit
}

// frozen says whether an incident covers a class at a provider in the block that begins at from.
func (d *Detector) frozen(provider, class string, g group, from int64) bool {
	for _, r := range d.incidents {
		if r.covers(from) && r.group == g && (r.isFleet() || r.provider == provider) && (g != groupRecipient || r.class == class) {
			return true
		}
	}
	return false
}

func (d *Detector) frozenFleet(s scope, from int64) bool {
	for _, r := range d.incidents {
		if r.covers(from) && r.group == s.group && (s.group != groupRecipient || r.class == s.class) {
			return true
		}
	}
	return false
}

// incidentID is the same for everybody who sees the same trouble begin at the same time, within a quarter of an hour.
func incidentID(key string, onset int64) string {
	sum := sha256.Sum256([]byte(key + "|" + strconv.FormatInt(onset/blockMinutes, 10)))
	return "inc-" + hex.EncodeToString(sum[:6])
}
