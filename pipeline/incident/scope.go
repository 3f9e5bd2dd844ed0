package incident

// scope is a place where an incident can be: one class, at a provider or everywhere, through one address or all.
type scope struct {
	provider string // empty: all providers
	ip       string // empty: all source addresses
	class    string
	group    group
	view     view
}

// key names the incident that a scope belongs to. Classes of a group share one, except those that are held one by one.
func (s scope) key() string {
	k := s.provider + "|" + s.ip + "|" + s.group.String()
	if s.group == groupRecipient {
		k += "|" + s.class
	}
	return k
}

// window is what a scope saw in some minutes.
type window struct {
	n, k   float64 // attempts, failures
	mu     float64 // failures expected
	spread float64 // phi, with the uncertainty of mu
}

func (w window) z() float64      { return deviance(w.k, w.mu, w.spread) }
func (w window) share() float64  { return taken(w.n, w.k, w.mu) }
func (w window) excess() float64 { return w.k - w.mu }

// parts returns the exposures that are added up for a scope, each with a baseline of its own. Only for the classes about
// the recipient does acceptance make a difference.
func (s scope) parts() []view {
	if s.group != groupRecipient {
		return []view{viewAll}
	}
	switch s.view {
	case viewAll:
		return []view{viewAccepted, viewUnknown, viewStranger}
	case viewDoubtful:
		return []view{viewUnknown, viewStranger}
	}
	return []view{s.view}
}

func (p *provider) sum(v view, from, to int64) (n int64) {
	if v != viewAll {
		return p.attempts[v].sum(from, to)
	}
	for i := range p.attempts {
		n += p.attempts[i].sum(from, to)
	}
	return n
}

func (x *series) sum(v view, from, to int64) (n int64) {
	if v != viewAll {
		return x.failures[v].sum(from, to)
	}
	for i := range x.failures {
		n += x.failures[i].sum(from, to)
	}
	return n
}

// window counts the minutes from..to, both included. What open incidents of a narrower scope explain is left out.
func (d *Detector) window(s scope, from, to int64) window {
	switch {
	case s.ip != "":
		return d.sourceWindow(s, from, to)
	case s.provider != "":
		return d.providerWindow(s, from, to)
	}
	return d.fleetWindow(s, from, to)
}

func (d *Detector) providerWindow(s scope, from, to int64) (w window) {
	p := d.providers[s.provider]
	if p == nil {
		return w
	}
	x := p.classes[s.class]
	if x == nil {
		x = &series{class: s.class, group: s.group}
		for v := range x.base {
			x.base[v].attempts = p.exposure[v]
		}
	}
	for _, v := range s.parts() {
		n := float64(p.sum(v, from, to))
		b := &x.base[v]
		w.n += n
		w.k += float64(x.sum(v, from, to))
		w.mu += n * b.rate(d.usual(s.class, v))
		w.spread = max(w.spread, b.spread())
	}
	if s.group == groupRecipient {
		return w
	}
	for _, key := range d.open {
		o := d.incidents[key].scope
		if o.provider != s.provider || o.ip == "" || o.group != s.group {
			continue
		}
		o.class = s.class
		e := d.sourceWindow(o, from, to)
		w.n, w.k, w.mu = w.n-e.n, w.k-e.k, max(0, w.mu-e.mu)
	}
	return w
}

func (d *Detector) sourceWindow(s scope, from, to int64) (w window) {
	p := d.providers[s.provider]
	if p == nil || p.sources[s.ip] == nil {
		return w
	}
	v := viewAll
	if s.group == groupRecipient && s.view != viewAll {
		v = viewAccepted // stands for accepted and unknown, which are counted together for an address
	}
	w.n = float64(p.sources[s.ip].attempts.sum(v, from, to))
	x := p.classes[s.class]
	if x == nil {
		w.mu, w.spread = w.n*d.usual(s.class, viewAll), noiseStart
		return w
	}
	rate := x.base[viewAll].rate(d.usual(s.class, viewAll))
	if s.group == groupRecipient {
		all := s
		all.ip = ""
		var n, mu float64
		for _, part := range []view{viewAccepted, viewUnknown, viewStranger} {
			if v == viewAll || part != viewStranger {
				all.view = part
				e := d.providerWindow(all, from, to)
				n, mu = n+e.n, mu+e.mu
			}
		}
		if n > 0 {
			rate = mu / n
		}
	}
	w.mu = w.n * rate
	w.spread = max(x.base[viewAll].noise.phi(), x.sourceNoise.phi()) + 1/(x.base[viewAll].failures+shape)
	if y := x.sources[s.ip]; y != nil {
		w.k = float64(y.failures.sum(v, from, to))
		if s.group != groupRecipient {
			w.mu *= y.factor.factor()
		}
	}
	return w
}

// fleetWindow adds up the providers, without those that have an incident of their own in the same group.
func (d *Detector) fleetWindow(s scope, from, to int64) (w window) {
	var failures float64
	for _, name := range d.order {
		one := s
		one.provider = name
		if len(d.open) > 0 && d.isOpen(one.key()) {
			continue
		}
		e := d.providerWindow(one, from, to)
		w.n, w.k, w.mu = w.n+e.n, w.k+e.k, w.mu+e.mu
		if x := d.providers[name].classes[s.class]; x != nil {
			for _, v := range s.parts() {
				failures += x.base[v].failures
			}
		}
	}
	if s.class == "queue.expired" {
		w.n += w.k // an expiry is no attempt
	}
	noise := d.fleet[s.class]
	w.spread = noise.phi() + 1/(failures+shape)
	return w
}

// elsewhere returns how many times more than expected the same class is seen at the other providers, at least 1.
func (d *Detector) elsewhere(s scope, from, to int64) float64 {
	var k, mu float64
	for _, name := range d.order {
		o := s
		o.provider = name
		if name == s.provider || len(d.open) > 0 && d.isOpen(o.key()) {
			continue
		}
		w := d.providerWindow(o, from, to)
		k, mu = k+w.k, mu+w.mu
	}
	return max(1, (3+k)/(3+mu))
}

func fleetScope(class string) scope {
	g := groupOf(class)
	if g == groupRecipient {
		return scope{class: class, group: g, view: viewDoubtful}
	}
	return scope{class: class, group: g, view: viewAll}
}
