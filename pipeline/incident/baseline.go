package incident

import "math"

// shape is the weight of what is assumed about a rate before it is learned, in failures: a rate learned from many more
// failures than this stands by itself.
const shape = 3

// baseline is the usual rate of a class at a provider and how much it varies.
type baseline struct {
	failures, attempts float64 // decayed
	noise              dispersion
}

// rate returns the usual share of failures, shrunk to q, the rate of the class elsewhere.
func (b *baseline) rate(q float64) float64 {
	return (b.failures + shape) / (b.attempts + shape/q)
}

// spread returns phi for a forecast: the noise, and the uncertainty of a rate estimated from few failures (the variance
// of a gamma distribution with that shape, as a share of its squared mean).
func (b *baseline) spread() float64 {
	return b.noise.phi() + 1/(b.failures+shape)
}

// ratio is observed against expected, decayed.
type ratio struct{ observed, expected float64 }

// factor is bounded: an address with a bad name may fail three times as often as the others before it is an incident.
func (r ratio) factor() float64 {
	return math.Max(0.3, math.Min(3, (r.observed+8)/(r.expected+8)))
}

// dispersion estimates phi in variance = mu + phi*mu^2 by moments over learned blocks. The zero value starts at 0.05.
type dispersion struct{ excess, square float64 }

const (
	noiseForget = 0.999 // a block
	noiseWeight = 100   // of the starting value, in squared expected failures
	noiseStart  = 0.05
	noiseMin    = 0.004
	noiseMax    = 3
)

func (s *dispersion) learn(k, mu float64) {
	s.excess = s.excess*noiseForget + (k-mu)*(k-mu) - mu
	s.square = s.square*noiseForget + mu*mu
}

func (s *dispersion) phi() float64 {
	return math.Max(noiseMin, math.Min(noiseMax, (s.excess+noiseStart*noiseWeight)/(s.square+noiseWeight)))
}

// winsorise caps a count at three standard deviations above the expectation, so that a burst too small or too short to
// be an incident moves the baseline only a little.
func winsorise(k, mu, phi float64) float64 {
	return math.Min(k, mu+3*math.Sqrt(mu+phi*mu*mu)+2)
}

// learnBlock takes the block of minutes from..to into the baselines, except where an incident covers it.
func (d *Detector) learnBlock(from, to int64) {
	decay := math.Exp2(-blockMinutes / d.cfg.HalfLife.Minutes())
	traffic := false
	for _, name := range d.order {
		p := d.providers[name]
		var n [numViews]float64
		for v := viewAccepted; v < viewAll; v++ {
			n[v] = float64(p.attempts[v].sum(from, to))
			n[viewAll] += n[v]
		}
		if n[viewAll] == 0 {
			continue
		}
		traffic = true
		for v := range n {
			p.exposure[v] = p.exposure[v]*decay + n[v]
		}
		for m := from; m <= to; m++ {
			if p.attempts[0].at(m)+p.attempts[1].at(m)+p.attempts[2].at(m) > 0 {
				p.learned++
			}
		}
		for _, class := range p.classOrder {
			x := p.classes[class]
			if d.frozen(p.name, x.class, x.group, from) {
				continue
			}
			var k [numViews]float64
			for v := viewAccepted; v < viewAll; v++ {
				k[v] = float64(x.failures[v].sum(from, to))
				k[viewAll] += k[v]
			}
			for v := viewAccepted; v < numViews; v++ {
				if n[v] > 0 {
					b := &x.base[v]
					mu := n[v] * b.rate(d.usual(class, v))
					w := winsorise(k[v], mu, b.spread())
					b.noise.learn(w, mu)
					b.failures = b.failures*decay + w
					b.attempts = b.attempts*decay + n[v]
				}
			}
			d.learnSources(p, x, from, to, decay)
		}
	}
	if traffic {
		d.learned += blockMinutes
		d.learnFleet(from, to)
	}
	d.pool()
}

func (d *Detector) learnSources(p *provider, x *series, from, to int64, decay float64) {
	rate := x.base[viewAll].rate(d.usual(x.class, viewAll))
	for _, ip := range x.sourceOrder {
		y, src := x.sources[ip], p.sources[ip]
		if src == nil {
			continue
		}
		n := src.attempts.sum(viewAll, from, to)
		if n == 0 {
			continue
		}
		mu := float64(n) * rate
		k := winsorise(float64(y.failures.sum(viewAll, from, to)), mu*y.factor.factor(), x.sourceNoise.phi())
		x.sourceNoise.learn(k, mu*y.factor.factor())
		y.factor.observed = y.factor.observed*decay + k
		y.factor.expected = y.factor.expected*decay + mu
	}
}

// learnFleet learns how much each class varies over all providers together.
func (d *Detector) learnFleet(from, to int64) {
	for _, class := range d.classes {
		sc := fleetScope(class)
		if d.frozenFleet(sc, from) {
			continue
		}
		w := d.window(sc, from, to)
		if w.n == 0 {
			continue
		}
		f := d.fleet[class]
		f.learn(winsorise(w.k, w.mu, f.phi()), w.mu)
		d.fleet[class] = f
	}
}

// pool computes the usual rate of each class over all providers, which is what is assumed of a provider not yet known.
func (d *Detector) pool() {
	clear(d.pooled)
	for _, class := range d.classes {
		var q [numViews]float64
		for v := viewAccepted; v < numViews; v++ {
			failures, attempts := 4.0, 4/prior(class, v)
			for _, name := range d.order {
				if x := d.providers[name].classes[class]; x != nil {
					failures += x.base[v].failures
					attempts += x.base[v].attempts
				}
			}
			q[v] = failures / attempts
		}
		d.pooled[class] = q
	}
}

// usual returns the rate of a class over all providers.
func (d *Detector) usual(class string, v view) float64 {
	if q, ok := d.pooled[class]; ok {
		return q[v]
	}
	return prior(class, v)
}
