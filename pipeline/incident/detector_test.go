package incident

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"carom.dev/carom/schema"
)

// The promise of the design: false "user unknown" of 5 percent and more is held within ten minutes at 1000 attempts per minute.
func TestFalseUnknownIsHeldWithinTenMinutes(t *testing.T) {
	check := func(name string, share float64, learn int64) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newSender(seed, 1000)
				s.trouble = refuse("apple", "recipient.unknown", share, learn, learn+45)
				all := s.play(NewDetector(DefaultConfig()), learn+45+60)
				first := opened(all)
				if len(first) != 1 {
					t.Fatalf("seed %d: %d incidents opened, want 1: %v", seed, len(first), first)
				}
				inc := first[0]
				if inc.Kind != KindProviderFalseUnknown || inc.Provider != "apple" || inc.Class != "recipient.unknown" || inc.Severity != SeverityPage {
					t.Errorf("seed %d: opened %s %s %s %s", seed, inc.Kind, inc.Provider, inc.Class, inc.Severity)
				}
				if late := inc.OpenedUs/minuteUS - start - learn; late < 0 || late >= 10 {
					t.Errorf("seed %d: opened %d minutes after the beginning", seed, late)
				}
				if off := inc.OnsetUs/minuteUS - start - learn; off < -3 || off > 3 {
					t.Errorf("seed %d: onset is off by %d minutes", seed, off)
				}
				if !inc.Hold || inc.Action != ActionDeferBulk || inc.HoldFromUs != inc.OnsetUs-10*minuteUS || inc.HoldUntilUs != inc.OpenedUs+day*minuteUS {
					t.Errorf("seed %d: hold %v %q from %d to %d", seed, inc.Hold, inc.Action, inc.HoldFromUs, inc.HoldUntilUs)
				}
				end := last(t, all, inc.Id)
				if end.State != schema.IncidentState_RESOLVED {
					t.Fatalf("seed %d: not resolved: %v", seed, end)
				}
				if wait := end.ResolvedUs/minuteUS - start - learn - 45; wait < 25 || wait > 50 {
					t.Errorf("seed %d: resolved %d minutes after the end", seed, wait)
				}
				if end.Share < 0.7*share || end.Share > 1.3*share {
					t.Errorf("seed %d: share %.3f, really %.3f", seed, end.Share, share)
				}
				if want := 120 * share * 45; end.Excess < 0.7*want || end.Excess > 1.3*want {
					t.Errorf("seed %d: excess %.0f, really about %.0f", seed, end.Excess, want)
				}
				if end.AcceptedShare < 0.4 {
					t.Errorf("seed %d: accepted share %.2f", seed, end.AcceptedShare)
				}
				if len(end.Breakdown) != 4 {
					t.Errorf("seed %d: breakdown %v", seed, end.Breakdown)
				}
			}
		})
	}
	check("5 percent after ten hours", 0.05, lead)
	check("30 percent after ten hours", 0.30, lead)
	check("5 percent after an hour", 0.05, 60)
	check("30 percent after half an hour", 0.30, 30)
}

func TestHoldIsRenewedWhileItLasts(t *testing.T) {
	s := newSender(1, 1000)
	s.trouble = refuse("apple", "recipient.unknown", 0.2, lead, lead+120)
	var until, updates int64
	for _, inc := range s.play(NewDetector(DefaultConfig()), lead+120) {
		if inc.HoldUntilUs <= until {
			t.Errorf("revision %d holds until %d, the one before until %d", inc.Revision, inc.HoldUntilUs, until)
		}
		until = inc.HoldUntilUs
		if inc.State == schema.IncidentState_UPDATED {
			updates++
		}
	}
	if updates < 6 || updates > 20 {
		t.Errorf("%d updates in two hours", updates)
	}
}

func TestNothingIsRaised(t *testing.T) {
	check := func(name string, perMinute float64, end int64, trouble func(int64, *cell)) {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				s := newSender(10+seed, perMinute)
				s.trouble = trouble
				for _, inc := range opened(s.play(NewDetector(DefaultConfig()), end)) {
					t.Errorf("seed %d: minute %d: %s", seed, inc.OpenedUs/minuteUS-start, inc.Summary)
				}
			}
		})
	}
	check("a clean day", 1000, day, nil)
	check("low volume", 10, day, nil)
	check("blips of one to three minutes", 1000, lead+600, func(m int64, c *cell) {
		if c.provider == "apple" && m > lead && m%60 < 3 {
			c.shares[[]string{"net.connect_timeout", "remote.rate_limited", "remote.temp_error"}[m/60%3]] += 0.10
		}
	})
	check("first hours with a list of 8 percent unknown strangers", 1000, 300, func(_ int64, c *cell) {
		if c.acceptance == schema.Acceptance_NOT_ACCEPTED {
			c.shares["recipient.unknown"] = 0.08
		}
	})
	check("history too short to know anybody", 1000, 300, func(_ int64, c *cell) {
		c.acceptance = schema.Acceptance_ACCEPTANCE_UNKNOWN
		c.shares["recipient.unknown"] = 0.08
	})
	check("first minutes of a new provider", 1000, lead+300, func(m int64, c *cell) {
		if c.provider == "gmx" {
			c.shares["remote.greylisted"] = 0.4
			if m < lead {
				c.attempts = 0
			}
		}
	})
	check("retries of deferred mail", 1000, lead+120, func(m int64, c *cell) {
		if m > lead && c.provider == "apple" && m%10 == 0 {
			c.shares["remote.temp_error"] += 0.02
		}
	})
}

// The requirement that a bad list gets no mercy: it is named, and nothing is held.
func TestListImportIsATicketWithoutHold(t *testing.T) {
	list := func(m int64, c *cell) {
		if m >= lead && m < lead+60 && c.acceptance == schema.Acceptance_NOT_ACCEPTED {
			c.attempts *= 3
			c.shares["recipient.unknown"] = 0.35
		}
	}
	s := newSender(3, 1000)
	s.trouble = list
	first := opened(s.play(NewDetector(DefaultConfig()), lead+60))
	if len(first) != 1 || first[0].Kind != KindListImport || first[0].Severity != SeverityTicket || first[0].Hold {
		t.Fatalf("opened %v", first)
	}
}

// Where nobody is known to have accepted mail, a list that goes to all providers must not look like a failing provider.
func TestListImportOfUnknownAcceptanceHoldsNothing(t *testing.T) {
	s := newSender(4, 1000)
	s.trouble = func(m int64, c *cell) {
		c.acceptance = schema.Acceptance_ACCEPTANCE_UNKNOWN
		if m >= lead && m < lead+60 {
			c.attempts *= 1.5
			c.shares["recipient.unknown"] += 0.30
		}
	}
	for _, inc := range s.play(NewDetector(DefaultConfig()), lead+60) {
		if inc.Hold {
			t.Errorf("held: %s", inc.Summary)
		}
	}
}

func TestUnknownAcceptanceCountsAsAcceptedWhenOneProviderFails(t *testing.T) {
	s := newSender(5, 1000)
	burst := refuse("apple", "recipient.unknown", 0.3, lead, lead+30)
	s.trouble = func(m int64, c *cell) {
		c.acceptance = schema.Acceptance_ACCEPTANCE_UNKNOWN
		burst(m, c)
	}
	first := opened(s.play(NewDetector(DefaultConfig()), lead+30))
	if len(first) != 1 || first[0].Kind != KindProviderFalseUnknown || !first[0].Hold {
		t.Fatalf("opened %v", first)
	}
}

// A bad list of unknown recipients at one provider is told by the accepted recipients there, who are served as usual.
func TestAcceptedRecipientsContradict(t *testing.T) {
	s := newSender(6, 1000)
	s.trouble = func(m int64, c *cell) {
		if c.provider == "gmail" && m >= lead && m < lead+60 && c.acceptance == schema.Acceptance_ACCEPTANCE_UNKNOWN {
			c.attempts *= 3
			c.shares["recipient.unknown"] = 0.4
		}
	}
	for _, inc := range s.play(NewDetector(DefaultConfig()), lead+60) {
		if inc.Hold {
			t.Errorf("held: %s", inc.Summary)
		}
	}
}

func TestOneAddressRefusedHoldsNothing(t *testing.T) {
	s := newSender(7, 1000)
	s.trouble = func(m int64, c *cell) {
		if c.provider == "gmail" && c.ip == "192.0.2.3" && m >= lead && m < lead+60 {
			c.shares["recipient.unknown"] += 0.3
		}
	}
	first := opened(s.play(NewDetector(DefaultConfig()), lead+60))
	if len(first) != 1 || first[0].Kind != KindIPRefused || first[0].Hold || confinedSource(first[0]) != "192.0.2.3" {
		t.Fatalf("opened %v", first)
	}
}

func TestKindFollowsScope(t *testing.T) {
	check := func(name string, trouble func(int64, *cell), kind, provider, ip string) {
		t.Run(name, func(t *testing.T) {
			s := newSender(8, 1000)
			s.trouble = trouble
			all := s.play(NewDetector(DefaultConfig()), lead+60+150)
			first := opened(all)
			if len(first) != 1 || first[0].Kind != kind || first[0].Provider != provider || confinedSource(first[0]) != ip || first[0].Hold {
				t.Fatalf("opened %v", first)
			}
			if end := last(t, all, first[0].Id); end.State != schema.IncidentState_RESOLVED {
				t.Errorf("not resolved: %v", end)
			}
		})
	}
	address := func(class string, share float64) func(int64, *cell) {
		return func(m int64, c *cell) {
			if c.provider == "gmail" && c.ip == "192.0.2.2" && m >= lead && m < lead+60 {
				c.shares[class] += share
			}
		}
	}
	check("a provider that does not answer", refuse("yahoo", "net.connect_timeout", 0.3, lead, lead+60), KindProviderTimeout, "yahoo", "")
	check("a provider in trouble", refuse("yahoo", "remote.temp_error", 0.3, lead, lead+60), KindProviderTimeout, "yahoo", "")
	check("a wave of 421 rate limits", refuse("yahoo", "remote.rate_limited", 0.5, lead, lead+60), KindProviderPolicy, "yahoo", "")
	check("an address that is blocked", address("block.ip_blocklist", 0.6), KindIPBlocked, "gmail", "192.0.2.2")
	check("an address without connection", address("net.connect_timeout", 0.6), KindIPTimeout, "gmail", "192.0.2.2")
	check("mail of one tenant that fails authentication", func(m int64, c *cell) {
		if m >= lead && m < lead+60 {
			c.shares["auth.dmarc"] = 0.03
		}
	}, KindTenantAuth, "", "")
	check("connections fail everywhere", func(m int64, c *cell) {
		if m >= lead && m < lead+60 {
			c.shares["net.connect_timeout"] += 0.3
		}
	}, KindLocalNetwork, "", "")
}

func TestExpiriesAtSeveralProvidersAreOurQueue(t *testing.T) {
	s := newSender(9, 1000)
	d := NewDetector(DefaultConfig())
	var all []*schema.Incident
	for m := range int64(lead + 60) {
		samples := s.minute(m)
		for _, p := range []string{"gmail", "microsoft", "apple", "yahoo", "gmx"} {
			n := int64(m % 2)
			if m >= lead {
				n = 20
			}
			samples = append(samples, Sample{start + m, p, schema.Outcome_EXPIRED, "queue.expired", "192.0.2.1", schema.Acceptance_ACCEPTED, n, 0})
		}
		all = append(all, d.Minute(start+m, samples, true)...)
	}
	if first := opened(all); len(first) != 1 || first[0].Kind != KindLocalBacklog || first[0].Severity != SeverityPage || first[0].Hold {
		t.Fatalf("opened %v", first)
	}
}

// A deferred message counts once: its retries are no failures of their own.
func TestRetriesDoNotCount(t *testing.T) {
	s := newSender(12, 1000)
	d := NewDetector(DefaultConfig())
	for m := range int64(lead + 60) {
		samples := s.minute(m)
		if m >= lead {
			samples = append(samples, Sample{start + m, "apple", schema.Outcome_DEFERRED, "remote.temp_error", "192.0.2.1", schema.Acceptance_ACCEPTED, 500, 0})
		}
		for _, inc := range d.Minute(start+m, samples, true) {
			t.Errorf("minute %d: %s", m, inc.Summary)
		}
	}
}

// A return within an hour is the same incident: nobody is paged twice.
func TestReturnReopensTheSameIncident(t *testing.T) {
	s := newSender(13, 1000)
	one, two := refuse("apple", "recipient.unknown", 0.3, lead, lead+30), refuse("apple", "recipient.unknown", 0.3, lead+90, lead+120)
	s.trouble = func(m int64, c *cell) { one(m, c); two(m, c) }
	all := s.play(NewDetector(DefaultConfig()), lead+180)
	var states []schema.IncidentState
	for i, inc := range all {
		if inc.Id != all[0].Id || inc.Revision != uint32(i+1) {
			t.Fatalf("revision %d of %s follows %s", inc.Revision, inc.Id, all[0].Id)
		}
		if n := len(states); n == 0 || states[n-1] != inc.State {
			states = append(states, inc.State)
		}
	}
	want := []schema.IncidentState{schema.IncidentState_OPEN, schema.IncidentState_UPDATED, schema.IncidentState_RESOLVED, schema.IncidentState_UPDATED, schema.IncidentState_RESOLVED}
	if !slices.Equal(states, want) {
		t.Errorf("states %v", states)
	}
}

// Silence is not recovery, but does not keep an incident open for ever.
func TestSilenceIsNotRecovery(t *testing.T) {
	s := newSender(14, 1000)
	s.trouble = refuse("apple", "recipient.unknown", 0.3, lead, lead+30)
	d := NewDetector(DefaultConfig())
	s.play(d, lead+30)
	for _, inc := range d.Minute(start+lead+30+600, nil, true) {
		if inc.State == schema.IncidentState_RESOLVED {
			t.Fatalf("resolved after ten hours without mail: %v", inc)
		}
	}
	out := d.Minute(start+10*day, nil, true)
	if len(out) != 1 || out[0].State != schema.IncidentState_RESOLVED || len(d.Open()) != 0 {
		t.Fatalf("after days without mail: %v", out)
	}
	if wait := out[0].ResolvedUs/minuteUS - start - lead - 30; wait > day+1 {
		t.Errorf("resolved %d minutes after the last mail", wait)
	}
}

func TestIncompleteMinutesAreNoRecovery(t *testing.T) {
	s := newSender(15, 1000)
	s.trouble = refuse("apple", "recipient.unknown", 0.3, lead, lead+30)
	d := NewDetector(DefaultConfig())
	s.play(d, lead+30)
	for m := int64(lead + 30); m < lead+120; m++ {
		for _, inc := range d.Minute(start+m, s.minute(m), false) {
			if inc.State == schema.IncidentState_RESOLVED {
				t.Fatalf("minute %d: resolved on incomplete minutes", m)
			}
		}
	}
}

// An outage of hours must not become the norm: the same outage half a day later is found as fast.
func TestIncidentsAreNotLearned(t *testing.T) {
	s := newSender(16, 1000)
	one, two := refuse("apple", "recipient.unknown", 0.3, lead, lead+360), refuse("apple", "recipient.unknown", 0.05, 2*lead, 2*lead+30)
	s.trouble = func(m int64, c *cell) { one(m, c); two(m, c) }
	first := opened(s.play(NewDetector(DefaultConfig()), 2*lead+30))
	if len(first) != 2 || first[1].OpenedUs/minuteUS-start-2*lead >= 10 {
		t.Fatalf("opened %v", first)
	}
}

func TestMissingMinutesAreHarmless(t *testing.T) {
	s := newSender(17, 1000)
	s.trouble = refuse("apple", "recipient.unknown", 0.3, lead, lead+40)
	d := NewDetector(DefaultConfig())
	var all []*schema.Incident
	for m := range int64(lead + 120) {
		samples := s.minute(m)
		if m%7 < 2 {
			continue
		}
		all = append(all, d.Minute(start+m, samples, true)...)
	}
	if first := opened(all); len(first) != 1 || first[0].Kind != KindProviderFalseUnknown || first[0].OpenedUs/minuteUS-start-lead >= 10 {
		t.Fatalf("opened %v", first)
	}
	if end := all[len(all)-1]; end.State != schema.IncidentState_RESOLVED {
		t.Errorf("not resolved: %v", end)
	}
}

func TestRepeatedMinuteIsSkipped(t *testing.T) {
	s := newSender(18, 1000)
	d := NewDetector(DefaultConfig())
	s.play(d, 100)
	before := d.AppendState(nil)
	if out := d.Minute(start+50, s.minute(50), true); out != nil || !bytes.Equal(before, d.AppendState(nil)) {
		t.Errorf("an old minute changed the state or gave %v", out)
	}
}

// Limits hold, and what is over them is still counted for the whole.
func TestBoundsHold(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxProviders, cfg.MaxClasses, cfg.MaxSources, cfg.MaxSeries = 3, 2, 2, 4
	d := NewDetector(cfg)
	var samples []Sample
	for i := range 50 {
		name := string(rune('a'+i%25)) + string(rune('a'+i/25))
		samples = append(samples, Sample{start, name, schema.Outcome_BOUNCED, "recipient." + name, "192.0.2." + name, schema.Acceptance_ACCEPTED, 1, 1})
	}
	d.Minute(start, samples, true)
	if len(d.providers) > cfg.MaxProviders+1 || d.sourceSeries > cfg.MaxSeries {
		t.Errorf("%d providers, %d series", len(d.providers), d.sourceSeries)
	}
	var n, k int64
	for _, p := range d.providers {
		if len(p.classes) > cfg.MaxClasses+1 || len(p.sources) > cfg.MaxSources {
			t.Errorf("%s: %d classes, %d sources", p.name, len(p.classes), len(p.sources))
		}
		n += p.sum(viewAll, start, start)
		for _, x := range p.classes {
			k += x.sum(viewAll, start, start)
		}
	}
	if n != 50 || k != 50 {
		t.Errorf("%d attempts and %d failures of 50 counted", n, k)
	}
}

func TestConfigNamesTheFault(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	check := func(want string, change func(*Config)) {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	check("incident config: ProviderZ is NaN: it must be within 3 and 20", func(c *Config) { c.ProviderZ = math.NaN() })
	check("incident config: MaxOpen is 0: it must be within 1 and 65536", func(c *Config) { c.MaxOpen = 0 })
	check("incident config: HoldTTL is 1m30s: it must be whole minutes, at least one", func(c *Config) { c.HoldTTL = 90e9 })
}

// Values computed with arbitrary precision from the formula in the documentation of deviance.
func TestDeviance(t *testing.T) {
	check := func(k, mu, phi, want float64) {
		if got := deviance(k, mu, phi); math.Abs(got-want) > 0.005 {
			t.Errorf("deviance(%g, %g, %g) = %.3f, want %.3f", k, mu, phi, got, want)
		}
	}
	check(10, 10, 0.05, 0)
	check(10, 0, 0.05, 0)
	check(30, 10, 0.05, 3.7749)
	check(14, 0.56, 0.333, 5.9440)
	check(1151, 1.3, 0.05, 78.9587)
}
