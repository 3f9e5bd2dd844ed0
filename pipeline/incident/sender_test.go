package incident

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"carom.dev/carom/schema"
)

// start is a minute at a block's beginning.
const start = 29_000_010

// sender is a small synthetic world: providers, four source addresses, three sorts of recipients, Poisson counts whose
// rates wander by 15 percent from one quarter of an hour to the next.
type sender struct {
	rand      *rand.Rand
	perMinute float64
	trouble   func(minute int64, c *cell)
	noise     map[string]float64
}

// cell is what is sent in a minute to one provider from one address to one sort of recipient; shares are by class.
type cell struct {
	provider, ip string
	acceptance   schema.Acceptance
	attempts     float64
	shares       map[string]float64
}

func newSender(seed uint64, perMinute float64) *sender {
	return &sender{rand: rand.New(rand.NewPCG(seed, 7)), perMinute: perMinute, noise: map[string]float64{}}
}

func (s *sender) poisson(mean float64) int64 {
	if mean > 30 {
		return max(0, int64(math.Round(mean+math.Sqrt(mean)*s.rand.NormFloat64())))
	}
	k, p, limit := int64(0), s.rand.Float64(), math.Exp(-mean)
	for p > limit {
		p *= s.rand.Float64()
		k++
	}
	return k
}

// minute returns the samples of a minute, counted from 0.
func (s *sender) minute(m int64) (out []Sample) {
	providers := []struct {
		name  string
		share float64
	}{{"gmail", 0.45}, {"microsoft", 0.25}, {"apple", 0.12}, {"yahoo", 0.10}, {"gmx", 0.08}}
	ips := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}
	for _, p := range providers {
		for _, ip := range ips {
			for _, a := range []struct {
				acceptance schema.Acceptance
				share      float64
				unknown    float64
			}{{schema.Acceptance_ACCEPTED, 0.75, 0.0006}, {schema.Acceptance_ACCEPTANCE_UNKNOWN, 0.10, 0.01}, {schema.Acceptance_NOT_ACCEPTED, 0.15, 0.035}} {
				c := cell{p.name, ip, a.acceptance, s.perMinute * p.share * a.share / float64(len(ips)), map[string]float64{
					"recipient.unknown": a.unknown, "mailbox.full": 0.004, "net.connect_timeout": 0.002, "remote.rate_limited": 0.006,
					"block.ip_blocklist": 0.001, "remote.temp_error": 0.002,
				}}
				if m%15 == 0 {
					s.noise[p.name] = math.Exp(0.15 * s.rand.NormFloat64())
				}
				for class := range c.shares {
					c.shares[class] *= s.noise[p.name]
				}
				if s.trouble != nil {
					s.trouble(m, &c)
				}
				out = append(out, s.samples(start+m, c)...)
			}
		}
	}
	return out
}

func (s *sender) samples(minute int64, c cell) (out []Sample) {
	good := s.poisson(c.attempts)
	classes := make([]string, 0, len(c.shares))
	for class := range c.shares {
		classes = append(classes, class)
	}
	slices.Sort(classes)
	for _, class := range classes {
		n := min(good, s.poisson(c.attempts*c.shares[class]))
		good -= n
		outcome := schema.Outcome_DEFERRED
		if groupOf(class) == groupRecipient {
			outcome = schema.Outcome_BOUNCED
		}
		if n > 0 {
			out = append(out, Sample{minute, c.provider, outcome, class, c.ip, c.acceptance, n, n})
		}
	}
	if good > 0 {
		out = append(out, Sample{minute, c.provider, schema.Outcome_DELIVERED, "", c.ip, c.acceptance, good, good})
	}
	return out
}

// play runs minutes 0..end-1 and returns all revisions.
func (s *sender) play(d *Detector, end int64) (out []*schema.Incident) {
	for m := range end {
		out = append(out, d.Minute(start+m, s.minute(m), true)...)
	}
	return out
}

func opened(all []*schema.Incident) (out []*schema.Incident) {
	for _, inc := range all {
		if inc.Revision == 1 {
			out = append(out, inc)
		}
	}
	return out
}

func last(t *testing.T, all []*schema.Incident, id string) *schema.Incident {
	t.Helper()
	for _, inc := range slices.Backward(all) {
		if inc.Id == id {
			return inc
		}
	}
	t.Fatalf("no revision of %s", id)
	return nil
}

// refuse turns a share of everything sent to a provider in minutes from..to-1 into a class.
func refuse(provider, class string, share float64, from, to int64) func(int64, *cell) {
	return func(m int64, c *cell) {
		if c.provider == provider && m >= from && m < to {
			c.shares[class] += share
		}
	}
}

const (
	day  = 24 * 60
	lead = 10 * 60 // of quiet before the trouble begins
)
