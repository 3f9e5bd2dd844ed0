package incident

import (
	"fmt"
	"time"
)

// Config are the parameters of a Detector. Two detectors with equal parameters give equal answers; the state does not
// contain them, so a change applies from the next minute on. Durations are whole minutes of event time.
type Config struct {
	// ProviderZ is the bar of the test value for a provider or for everything we send. The default 5 is one chance in
	// 3.5 million a look: about 300 series looked at each minute give less than one false finding a week.
	ProviderZ float64
	// SourceZ is the bar for one of our addresses at one provider; there are some 20 times as many series of this sort.
	SourceZ float64

	HalfLife       time.Duration // after which a learned count weighs half; default 5 days
	FirstLook      time.Duration // traffic of a provider shorter than this raises nothing; default 15 min
	WarmUp         time.Duration // learned time before anything but a holding kind is raised; default 3 h
	ResolveAfter   time.Duration // without excess, while mail flows; default 30 min
	NarrowResolve  time.Duration // the same for incidents confined to one source address; default 2 h
	ReopenWithin   time.Duration // a return this soon continues the same incident; default 60 min
	UnobservedStop time.Duration // an incident without mail to judge it by ends after this; default 24 h
	UpdateEvery    time.Duration // between revisions of an incident that goes on; default 15 min
	HoldLead       time.Duration // a hold begins this much before the estimated onset; default 10 min
	HoldTTL        time.Duration // a hold lasts this long after the last excess; default 24 h

	MaxProviders int // further ones are counted as "other"; default 512
	MaxClasses   int // per provider, further ones are counted as "undetermined"; default 128
	MaxSources   int // source addresses per provider; further ones count for the provider only; default 1024
	MaxSeries    int // of (provider, class, source address); further ones count for the provider only; default 100000
	MaxOpen      int // open incidents at a time; further findings wait; default 256
}

// DefaultConfig returns the parameters of a new installation.
func DefaultConfig() Config {
	return Config{
		ProviderZ:      5,
		SourceZ:        5.5,
		HalfLife:       5 * 24 * time.Hour,
		FirstLook:      15 * time.Minute,
		WarmUp:         3 * time.Hour,
		ResolveAfter:   30 * time.Minute,
		NarrowResolve:  2 * time.Hour,
		ReopenWithin:   time.Hour,
		UnobservedStop: 24 * time.Hour,
		UpdateEvery:    15 * time.Minute,
		HoldLead:       10 * time.Minute,
		HoldTTL:        24 * time.Hour,
		MaxProviders:   512,
		MaxClasses:     128,
		MaxSources:     1024,
		MaxSeries:      100_000,
		MaxOpen:        256,
	}
}

// Validate names the first field with a value that makes no sense.
func (c Config) Validate() error {
	for _, f := range []struct {
		name     string
		value    float64
		min, max float64
	}{
		{"ProviderZ", c.ProviderZ, 3, 20},
		{"SourceZ", c.SourceZ, 3, 20},
		{"MaxProviders", float64(c.MaxProviders), 1, 1 << 20},
		{"MaxClasses", float64(c.MaxClasses), 1, 1 << 16},
		{"MaxSources", float64(c.MaxSources), 1, 1 << 20},
		{"MaxSeries", float64(c.MaxSeries), 1, 1 << 24},
		{"MaxOpen", float64(c.MaxOpen), 1, 1 << 16},
	} {
		if !(f.value >= f.min && f.value <= f.max) {
			return fmt.Errorf("incident config: %s is %g: it must be within %g and %g", f.name, f.value, f.min, f.max)
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"HalfLife", c.HalfLife},
		{"FirstLook", c.FirstLook},
		{"WarmUp", c.WarmUp},
		{"ResolveAfter", c.ResolveAfter},
		{"NarrowResolve", c.NarrowResolve},
		{"ReopenWithin", c.ReopenWithin},
		{"UnobservedStop", c.UnobservedStop},
		{"UpdateEvery", c.UpdateEvery},
		{"HoldLead", c.HoldLead},
		{"HoldTTL", c.HoldTTL},
	} {
		if f.value < time.Minute || f.value%time.Minute != 0 {
			return fmt.Errorf("incident config: %s is %v: it must be whole minutes, at least one", f.name, f.value)
		}
	}
	return nil
}

func minutes(d time.Duration) int64 { return int64(d / time.Minute) }
