package incident

import "slices"

// windows are the lengths looked at, in minutes. The maximum over them is a likelihood ratio scan: the short one finds
// outages, the long one what is small or slow.
var windows = [...]int64{5, 15, 60}

// Bars that are not a matter of taste: the share of attempts from which people act, and counts below which a share
// means nothing.
const (
	minShareAccepted = 0.006
	minShareUnknown  = 0.05
	minShareProvider = 0.02
	minShareSource   = 0.05
	minShareStranger = 0.06
	minShareFleet    = 0.02
	minShareTenant   = 0.005 // of everybody's mail, when one tenant's fails

	minExcessAccepted = 12
	minExcess         = 15
	minExcessFleet    = 25

	minRatioStranger = 2.5 // a mailing is often twice as bad as the last one
	urgentZ          = 9   // raised at the first sight
	evidenceZ        = 2.5 // goes on
)

// finding is a scope whose counts passed every test in one minute.
type finding struct {
	scope
	kind    string
	w       window
	from    int64 // first minute of the window
	z       float64
	control float64 // the same class at the other providers, as a multiple of the expectation; 0: not applicable
}

type bar struct{ z, share, excess, ratio float64 }

func (d *Detector) bar(s scope) bar {
	switch {
	case s.ip != "":
		return bar{d.cfg.SourceZ, minShareSource, minExcess, 1}
	case s.provider == "" && s.group == groupRecipient:
		return bar{d.cfg.ProviderZ, minShareStranger, minExcessFleet, minRatioStranger}
	case s.provider == "" && (s.group == groupAuth || s.group == groupContent):
		return bar{d.cfg.ProviderZ, minShareTenant, minExcessFleet, 1}
	case s.provider == "":
		return bar{d.cfg.ProviderZ, minShareFleet, minExcessFleet, 1}
	case s.group == groupRecipient && s.view == viewAccepted:
		return bar{d.cfg.ProviderZ, minShareAccepted, minExcessAccepted, 1}
	case s.group == groupRecipient:
		return bar{d.cfg.ProviderZ, minShareUnknown, minExcess, 1}
	}
	return bar{d.cfg.ProviderZ, minShareProvider, minExcess, 1}
}

func (b bar) passes(w window) bool {
	return w.excess() >= b.excess && w.share() >= b.share && w.k >= b.ratio*w.mu
}

// best returns the window with the highest z that passes the bars, as seen at minute t. Windows do not reach back into
// an incident of the same key that has ended: its failures are explained.
func (d *Detector) best(s scope, t int64) (f finding, found bool) {
	b := d.bar(s)
	floor := t - windows[len(windows)-1] + 1
	if r := d.incidents[s.key()]; r != nil {
		if r.isOpen() {
			floor = max(floor, r.onset)
		} else {
			floor = max(floor, r.lastHit+1)
		}
	}
	if d.window(s, floor, t).k < b.excess {
		return f, false // nor in any shorter window
	}
	for _, length := range windows {
		from := max(t-length+1, floor)
		if from > t {
			continue
		}
		w := d.window(s, from, t)
		if !b.passes(w) {
			continue
		}
		if z := w.z(); z >= b.z && z > f.z {
			f, found = finding{scope: s, w: w, from: from, z: z}, true
		}
	}
	return f, found
}

// lasting tells an incident from a blip and from the echo of one in a long window.
func (d *Detector) lasting(f finding, t int64) bool {
	excess := f.w.excess()
	length := t - f.from + 1
	if length < 2 {
		return f.z >= urgentZ && f.group == groupRecipient
	}
	quarter := (length + 3) / 4
	if d.window(f.scope, t-quarter+1, t).excess() < 0.12*excess {
		return false
	}
	if f.group == groupRecipient && f.provider != "" || f.w.share() >= 0.3 && excess >= 100 {
		// Refused recipients burn, so waiting costs; and this much is no blip.
		return true
	}
	var perMinute []float64
	for m := f.from; m <= t; m++ {
		perMinute = append(perMinute, d.window(f.scope, m, m).excess())
	}
	slices.Sort(perMinute)
	for _, e := range perMinute[max(0, len(perMinute)-3):] {
		excess -= e
	}
	return excess > 8 && excess > 0.2*f.w.excess()
}

// scan looks at every scope and returns what it opened, re-opened or updated.
func (d *Detector) scan(t int64) (out changes) {
	for _, class := range d.classes {
		if f, found := d.findFleet(class, t); found {
			out.add(d.take(f, t))
		}
	}
	for _, name := range d.order {
		p := d.providers[name]
		for _, class := range p.classOrder {
			x := p.classes[class]
			if x.group == groupOther || x.group == groupLocal || x.lastSeen < t-windows[0] {
				continue
			}
			if d.isOpen(fleetScope(class).key()) && x.group != groupRecipient {
				continue // explained by what goes wrong everywhere
			}
			for _, f := range d.findProvider(p, x, t) {
				out.add(d.take(f, t))
			}
		}
	}
	for key, m := range d.hits {
		if m < t-3 {
			delete(d.hits, key)
		}
	}
	return out
}

func (d *Detector) findProvider(p *provider, x *series, t int64) (found []finding) {
	if t-p.since < minutes(d.cfg.FirstLook) {
		return nil
	}
	s := scope{provider: p.name, class: x.class, group: x.group, view: viewAll}
	if x.group == groupRecipient {
		for _, v := range []view{viewAccepted, viewUnknown} {
			s.view = v
			if f, ok := d.findRefusal(s, p, x, t); ok {
				return []finding{f}
			}
		}
		return nil
	}
	if p.learned < minutes(d.cfg.WarmUp) {
		return nil // a rate that is only assumed is not enough to accuse a provider
	}
	if f, ok := d.best(s, t); ok && d.survivesControl(&f, t) && d.lasting(f, t) {
		if ip, confined := d.confined(f, p, x, t); confined {
			f = d.narrow(f, ip, t)
		} else {
			f.kind = providerKind(x.group)
		}
		return []finding{f}
	}
	if x.group == groupAuth || x.group == groupContent || d.isOpen(s.key()) || len(p.sources) < 2 {
		return nil
	}
	for _, ip := range x.sourceOrder {
		if x.sources[ip].lastSeen < t-windows[0] {
			continue
		}
		s.ip = ip
		f, ok := d.best(s, t)
		if ok && d.onlyHere(f, t) && d.lasting(f, t) {
			f.kind = sourceKind(x.group)
			found = append(found, f)
		}
	}
	return found
}

// findRefusal looks for good recipients that a provider refuses.
func (d *Detector) findRefusal(s scope, p *provider, x *series, t int64) (finding, bool) {
	f, ok := d.best(s, t)
	if !ok || !d.survivesControl(&f, t) || !d.lasting(f, t) {
		return f, false
	}
	if s.view == viewUnknown && d.acceptedContradict(f, t) {
		return f, false
	}
	f.kind = KindProviderFalseUnknown
	if ip, confined := d.confined(f, p, x, t); confined {
		f = d.narrow(f, ip, t)
		if s.view == viewUnknown {
			f.kind = KindListImport
		}
	}
	return f, true
}

// acceptedContradict says whether recipients that did accept mail are served as usual, where there are enough of them
// to tell: then the unknown ones are refused because they do not exist.
func (d *Detector) acceptedContradict(f finding, t int64) bool {
	s := f.scope
	s.view = viewAccepted
	w := d.window(s, f.from, t)
	want := 0.3 * f.w.share() * w.n
	return want >= 3 && w.excess() < want
}

// survivesControl repeats the test against what the same class does at the other providers in the same minutes.
func (d *Detector) survivesControl(f *finding, t int64) bool {
	f.control = d.elsewhere(f.scope, f.from, t)
	w := f.w
	w.mu *= f.control
	b := d.bar(f.scope)
	return w.z() >= b.z-1 && b.passes(w)
}

// confined says whether one source address explains a finding at a provider, by the likelihood of "the same share of
// everybody's attempts" against "all of it here".
func (d *Detector) confined(f finding, p *provider, x *series, t int64) (string, bool) {
	type element struct {
		ip string
		w  window
	}
	var all []element
	var total window
	for _, ip := range p.sourceOrder {
		s := f.scope
		s.ip = ip
		if f.group != groupRecipient && d.isOpen(s.key()) {
			continue // left out of the provider's window as well
		}
		if w := d.sourceWindow(s, f.from, t); w.n > 0 {
			all = append(all, element{ip, w})
			total.n, total.k, total.mu = total.n+w.n, total.k+w.k, total.mu+w.mu
		}
	}
	if len(all) < 2 || total.k <= total.mu {
		return "", false
	}
	share := total.share()
	uniform, usual := 0.0, 0.0
	for _, e := range all {
		uniform += poisson(e.w.k, e.w.mu+share*max(0, e.w.n-e.w.mu))
		usual += poisson(e.w.k, e.w.mu)
	}
	for _, e := range all {
		single := usual - poisson(e.w.k, e.w.mu) + poisson(e.w.k, e.w.k)
		explains := e.w.excess() / total.excess()
		rest := window{n: total.n - e.w.n, k: total.k - e.w.k, mu: total.mu - e.w.mu, spread: f.w.spread}
		quiet := rest.z() < 4 || rest.share() < d.bar(f.scope).share || rest.excess() < 6
		if single-uniform > 6 && explains > 0.7 && quiet {
			return e.ip, true
		}
	}
	return "", false
}

// narrow turns a finding at a provider into one about a source address.
func (d *Detector) narrow(f finding, ip string, t int64) finding {
	f.ip = ip
	f.kind = sourceKind(f.group)
	if w := d.window(f.scope, f.from, t); w.n > 0 {
		f.w = w
	}
	return f
}

// onlyHere says whether the other addresses do clearly better at the same provider.
func (d *Detector) onlyHere(f finding, t int64) bool {
	s := f.scope
	s.ip = ""
	all := d.window(s, f.from, t)
	rest := window{n: all.n - f.w.n, k: all.k - f.w.k, mu: max(0, all.mu-f.w.mu)}
	return rest.n > 0 && rest.share() < 0.25*f.w.share()
}

// findFleet looks for what goes wrong at several providers at once: that is the mail, the list, or ourselves.
func (d *Detector) findFleet(class string, t int64) (finding, bool) {
	s := fleetScope(class)
	if s.group == groupOther || s.group == groupTemporary || d.learned < minutes(d.cfg.WarmUp) {
		return finding{}, false
	}
	f, ok := d.best(s, t)
	if !ok || !d.lasting(f, t) {
		return f, false
	}
	f.kind = fleetKind(s.group)
	if s.group == groupRecipient {
		// Where accepted recipients fail as well it is a provider, and the list is innocent.
		s.view = viewAccepted
		w := d.window(s, f.from, t)
		return f, w.excess() < max(3, 0.15*f.w.share()*w.n)
	}
	return f, d.widespread(f, t)
}

// widespread says whether a finding over all providers is one of several providers, and of most of the traffic.
func (d *Detector) widespread(f finding, t int64) bool {
	var most, n float64
	hit := 0
	for _, name := range d.order {
		s := f.scope
		s.provider = name
		w := d.providerWindow(s, f.from, t)
		most = max(most, w.excess())
		if w.n > 0 && w.z() >= 2 && w.share() >= 0.3*f.w.share() {
			hit++
			n += w.n
		}
	}
	return hit >= min(3, len(d.order)) && hit >= 2 && n >= 0.5*f.w.n && most <= 0.8*f.w.excess()
}

func providerKind(g group) string {
	switch g {
	case groupRecipient:
		return KindProviderFalseUnknown
	case groupConnection, groupTemporary:
		return KindProviderTimeout
	}
	return KindProviderPolicy
}

func sourceKind(g group) string {
	switch g {
	case groupRecipient:
		return KindIPRefused
	case groupConnection, groupTemporary:
		return KindIPTimeout
	case groupAuth:
		return KindTenantAuth // a dedicated address is also one tenant
	case groupContent:
		return KindTenantPolicy
	}
	return KindIPBlocked
}

func fleetKind(g group) string {
	switch g {
	case groupRecipient:
		return KindListImport
	case groupConnection:
		return KindLocalNetwork
	case groupAuth:
		return KindTenantAuth
	case groupLocal:
		return KindLocalBacklog
	}
	return KindTenantPolicy
}
