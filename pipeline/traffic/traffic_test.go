package traffic_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/schema"
)

// event is what the tests need of a DeliveryEvent.
type event struct {
	at                       time.Time
	host, queueID, recipient string
	outcome                  schema.Outcome
	attempt                  uint32
	delayMS                  int64
	input                    rules.Input
}

// read runs a generator to its end and reads its lines, checking what holds for every run.
func read(t *testing.T, cfg traffic.Config) ([]event, traffic.Truth) {
	t.Helper()
	g, err := traffic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := mtalog.NewCorrelator(mtalog.DefaultConfig())
	var events []event
	last := map[string]time.Time{}
	minutes := 0
	start := cfg.Start.Truncate(time.Minute)
	for {
		minute, lines, ok := g.Next()
		if !ok {
			break
		}
		if want := start.Add(time.Duration(minutes) * time.Minute); !minute.Equal(want) {
			t.Fatalf("minute %d begins at %s, want %s", minutes, minute, want)
		}
		minutes++
		for _, l := range lines {
			in := mtalog.Input{Line: []byte(l.Text), Reference: minute, Location: cfg.Start.Location()}
			r := c.Line(in, func(ev *schema.DeliveryEvent) {
				events = append(events, event{
					at: time.UnixMicro(ev.OccurredAtUs), host: ev.MtaHost, queueID: ev.QueueId, recipient: ev.Recipient, outcome: ev.Outcome,
					attempt: ev.Attempt, delayMS: ev.DelayMs,
					input: rules.Input{
						Outcome: ev.Outcome, Code: ev.SmtpCode, Enhanced: ev.EnhancedCode, EnhancedSource: ev.EnhancedSource, Text: ev.Text,
						Phase: ev.Phase, Origin: ev.Origin, RemoteHost: ev.RemoteHost, Domain: ev.Domain, MTA: ev.Mta,
					},
				})
			})
			switch {
			case r.Kind == mtalog.KindUnparsed:
				t.Fatalf("unparsed (%s): %s", r.Reason, l.Text)
			case r.Reason == mtalog.ReasonUnknownEntry:
				t.Fatalf("about a message that never came: %s", l.Text)
			case r.Host != l.Host:
				t.Fatalf("line of %s says %s: %s", l.Host, r.Host, l.Text)
			case r.At.Before(last[l.Host]):
				t.Fatalf("out of order after %s: %s", last[l.Host], l.Text)
			case r.At.Before(minute) || !r.At.Before(minute.Add(time.Minute)):
				t.Fatalf("in minute %s: %s", minute, l.Text)
			}
			last[l.Host] = r.At
		}
	}
	if minutes != cfg.Minutes || len(last) != len(cfg.Hosts) {
		t.Fatalf("%d minutes of %d hosts, want %d of %d", minutes, len(last), cfg.Minutes, len(cfg.Hosts))
	}
	truth := g.Truth()
	s := c.Stats()
	if s.Lines != uint64(truth.Lines) || s.Events != uint64(truth.Deliveries) {
		t.Fatalf("the log has %d lines and %d events, the truth %d and %d", s.Lines, s.Events, truth.Lines, truth.Deliveries)
	}
	if s.Orphans+s.Replaced+s.Waiting+s.Unheard > 0 {
		t.Fatalf("messages that do not hold together: %+v", s)
	}
	return events, truth
}

func small() traffic.Config {
	cfg := traffic.DefaultConfig()
	cfg.PerMinute, cfg.Minutes = 200, 90
	cfg.ListImport.PerMinute = 40
	return cfg
}

// The truth is what a reader of the lines finds, in sum and for each recipient.
func TestTruthIsWhatTheLinesSay(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	for _, tc := range []struct {
		name   string
		change func(*traffic.Config)
	}{
		{"default", func(*traffic.Config) {}},
		{"traditional stamps", func(c *traffic.Config) { c.Traditional = true }},
		{"short queue ids", func(c *traffic.Config) { c.ShortQueueIDs = true }},
		{"another zone", func(c *traffic.Config) { c.Start = c.Start.In(zone).Add(17 * time.Second) }},
		{"traditional over new year in another zone", func(c *traffic.Config) {
			c.Traditional, c.Start = true, time.Date(2026, 12, 31, 23, 20, 0, 0, zone)
		}},
		{"one host, nothing special", func(c *traffic.Config) { c.Hosts, c.Burst, c.ListImport = []string{"out.sender.example"}, nil, nil }},
		{"hardly any traffic", func(c *traffic.Config) { c.PerMinute, c.ListImport = 1, nil }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := small()
			tc.change(&cfg)
			events, truth := read(t, cfg)

			type tally struct{ delivered, deferred, bounced int }
			found := map[string]tally{}
			first, latest := map[string]time.Time{}, map[string]time.Time{}
			for _, e := range events {
				n := found[e.recipient]
				switch e.outcome {
				case schema.Outcome_DELIVERED:
					n.delivered++
					latest[e.recipient] = e.at
					if n.delivered == 1 {
						first[e.recipient] = e.at
					}
				case schema.Outcome_DEFERRED:
					n.deferred++
				case schema.Outcome_BOUNCED:
					n.bounced++
				default:
					t.Fatalf("outcome %s of %s", e.outcome, e.recipient)
				}
				found[e.recipient] = n
			}
			var sum tally
			same := func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Second } // traditional stamps have no fraction
			for _, r := range truth.Recipients {
				if got, want := found[r.Address], (tally{r.Delivered, r.Deferred, r.Bounced}); got != want || r.Attempts != want.delivered+want.deferred+want.bounced {
					t.Fatalf("%s: the lines say %+v, the truth %+v", r.Address, got, r)
				}
				if !same(first[r.Address], r.FirstDelivered) || !same(latest[r.Address], r.LastDelivered) {
					t.Fatalf("%s: delivered from %s to %s, the truth says %+v", r.Address, first[r.Address], latest[r.Address], r)
				}
				sum.delivered += r.Delivered
				sum.deferred += r.Deferred
				sum.bounced += r.Bounced
				delete(found, r.Address)
			}
			if want := (tally{truth.Delivered, truth.Deferred, truth.Bounced}); sum != want || truth.Attempts != sum.delivered+sum.deferred+sum.bounced {
				t.Errorf("recipients add up to %+v, the truth says %+v of %d attempts", sum, want, truth.Attempts)
			}
			notices := 0
			for to, n := range found {
				if !strings.HasSuffix(to, ".example") || n.deferred+n.bounced > 0 {
					t.Errorf("%s is unknown to the truth: %+v", to, n)
				}
				notices += n.delivered
			}
			if notices != truth.Notices || truth.Deliveries != truth.Notices+truth.Attempts {
				t.Errorf("%d notices, the truth says %d, and %d deliveries of which %d attempts", notices, truth.Notices, truth.Deliveries, truth.Attempts)
			}
		})
	}
}

func TestSameConfigSameLines(t *testing.T) {
	run := func(seed uint64) (text []string) {
		cfg := small()
		cfg.Seed, cfg.Minutes = seed, 40
		g, err := traffic.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, lines, ok := g.Next(); ok; _, lines, ok = g.Next() {
			for _, l := range lines {
				text = append(text, l.Text)
			}
		}
		return text
	}
	if a, b := run(7), run(7); !slices.Equal(a, b) {
		t.Error("two runs with the same seed differ")
	}
	if a, b := run(7), run(8); slices.Equal(a, b) {
		t.Error("the seed makes no difference")
	}
}

// The demonstration: its traffic is what DefaultConfig says, and what a detector and a reader of suppressions need to
// see is in it.
func TestDemonstration(t *testing.T) {
	cfg := traffic.DefaultConfig()
	events, truth := read(t, cfg)
	within(t, "attempts a minute", float64(truth.Attempts-truth.Listed)/float64(cfg.Minutes), 485, 515)
	within(t, "delivered", float64(truth.Delivered)/float64(truth.Attempts), 0.94, 0.98)
	within(t, "deferred", float64(truth.Deferred)/float64(truth.Attempts), 0.01, 0.03)

	var several, base, gone, strangers, listed, listedGone int
	for _, r := range truth.Recipients {
		switch {
		case r.Listed:
			listed++
			if r.Gone {
				listedGone++
			}
			if r.Delivered > 1 {
				t.Errorf("%s of the bad list got %d messages", r.Address, r.Delivered)
			}
		case r.Gone:
			gone += r.Bounced
			if r.Delivered == 0 {
				strangers += r.Bounced
			}
		default:
			base++
			if r.Attempts >= 3 {
				several++
			}
		}
	}
	within(t, "mailed three times or more", float64(several)/float64(base), 0.85, 1)
	within(t, "truly unknown", float64(gone)/float64(truth.Attempts-truth.Listed), 0.004, 0.008)
	within(t, "unknown who never got anything", float64(strangers)/float64(gone), 0.7, 0.95)
	within(t, "recipients of the bad list", float64(listed), 800, 1000)
	within(t, "unknown on the bad list", float64(listedGone)/float64(listed), 0.3, 0.4)
	checkBurst(t, cfg, events, truth, 0.03)
}

// checkBurst holds the burst against its Config.
func checkBurst(t *testing.T, cfg traffic.Config, events []event, truth traffic.Truth, tolerance float64) {
	t.Helper()
	b := cfg.Burst
	from := cfg.Start.Add(b.From)
	until := from.Add(b.For)
	gone := map[string]bool{}
	where := map[string]string{}
	var hit, before int
	for _, r := range truth.Recipients {
		gone[r.Address], where[r.Address] = r.Gone, r.Provider
		if r.FirstFalse.IsZero() {
			continue
		}
		// The answer of an attempt is logged some seconds after its beginning.
		if r.Provider != b.Provider || r.FirstFalse.Before(from) || r.LastFalse.After(until.Add(10*time.Second)) {
			t.Errorf("refused outside of the burst: %+v", r)
		}
		if r.Gone && r.Delivered == 0 {
			t.Errorf("refused falsely, and never existed: %+v", r)
		}
		hit++
		if !r.FirstDelivered.IsZero() && r.FirstDelivered.Before(r.FirstFalse) {
			before++
		}
	}
	if hit == 0 {
		t.Fatal("the burst hit nobody")
	}
	within(t, "hit by the burst and delivered to before", float64(before)/float64(hit), 0.85, 1)
	attempts, refused := 0, 0
	for _, e := range events {
		if where[e.recipient] != b.Provider || gone[e.recipient] || e.at.Before(from) || !e.at.Before(until) {
			continue
		}
		attempts++
		if e.outcome == schema.Outcome_BOUNCED && (e.input.Phase == schema.Phase_RCPT) {
			refused++
		}
	}
	within(t, "share of the burst", float64(refused)/float64(attempts), b.Share-tolerance, b.Share+tolerance)
}

// The burst is at any provider, and its replies are judged as an unknown recipient: the strongest case against them.
func TestBurstIsJudgedUnknown(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range traffic.Providers() {
		t.Run(id, func(t *testing.T) {
			cfg := small()
			cfg.ListImport = nil
			cfg.PerMinute = 400
			cfg.Burst = &traffic.Burst{Provider: id, From: 40 * time.Minute, For: 20 * time.Minute, Share: 0.6}
			events, truth := read(t, cfg)
			checkBurst(t, cfg, events, truth, 0.06)
			unknown := 0
			var v schema.Verdict
			for i := range events {
				set.Classify(&events[i].input, &v)
				if v.Class == "recipient.unknown" {
					unknown++
				}
				if v.Class == "undetermined" {
					t.Errorf("a reply that nothing knows: %s", events[i].input.Text)
				}
			}
			if want := truth.Unknown + truth.FalseUnknown; unknown != want || truth.FalseUnknown == 0 {
				t.Errorf("%d replies are judged as unknown recipients, the truth says %d", unknown, want)
			}
		})
	}
}

// The names of providers are those that Carom finds from the hosts in the log.
func TestProvidersAreRecognised(t *testing.T) {
	events, truth := read(t, small())
	where := map[string]string{}
	for _, r := range truth.Recipients {
		where[r.Address] = r.Provider
	}
	seen := map[string]bool{}
	for _, e := range events {
		want, known := where[e.recipient]
		if !known {
			continue
		}
		if got := provider.Lookup(e.input.RemoteHost, e.input.Domain); got != want {
			t.Fatalf("%s at host %q is at %s, want %s", e.recipient, e.input.RemoteHost, got, want)
		}
		seen[want] = true
	}
	if len(seen) != len(traffic.Providers()) {
		t.Errorf("mail went to %v, want all of %v", seen, traffic.Providers())
	}
}

// What is deferred comes back, later each time, and ends.
func TestDeferredMessagesComeBack(t *testing.T) {
	cfg := small()
	cfg.Minutes = 240
	events, _ := read(t, cfg)
	type key struct{ host, queueID, recipient string }
	tries := map[key][]event{}
	for _, e := range events {
		k := key{e.host, e.queueID, e.recipient}
		tries[k] = append(tries[k], e)
	}
	deferred, ended, delivered, thrice := 0, 0, 0, 0
	for k, list := range tries {
		if list[0].outcome != schema.Outcome_DEFERRED || list[0].at.After(cfg.Start.Add(90*time.Minute)) {
			continue
		}
		deferred++
		last := list[len(list)-1]
		if last.outcome != schema.Outcome_DEFERRED {
			ended++
		}
		if last.outcome == schema.Outcome_DELIVERED {
			delivered++
		}
		if len(list) >= 3 {
			thrice++
		}
		for i, e := range list[1:] {
			if e.attempt != uint32(i+2) || list[i].outcome != schema.Outcome_DEFERRED {
				t.Fatalf("%v: attempt %d follows %s as number %d", k, e.attempt, list[i].outcome, i+2)
			}
			gap := e.at.Sub(list[i].at)
			if gap < 5*time.Minute || gap > 85*time.Minute {
				t.Fatalf("%v: attempt %d comes %s after the one before", k, e.attempt, gap)
			}
			if age := time.Duration(list[i].delayMS) * time.Millisecond; gap < min(age, 4000*time.Second)-time.Second {
				t.Fatalf("%v: attempt %d of a message %s old comes %s later", k, e.attempt, age, gap)
			}
		}
	}
	if thrice == 0 {
		t.Error("no message needed three attempts")
	}
	within(t, "deferred messages that ended", float64(ended)/float64(deferred), 0.8, 1)
	within(t, "deferred messages that were delivered", float64(delivered)/float64(deferred), 0.75, 1)
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := traffic.New(traffic.DefaultConfig()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want   string
		change func(*traffic.Config)
	}{
		{"start is not set", func(c *traffic.Config) { c.Start = time.Time{} }},
		{"minutes is 0", func(c *traffic.Config) { c.Minutes = 0 }},
		{"per minute is -1", func(c *traffic.Config) { c.PerMinute = -1 }},
		{"0 hosts", func(c *traffic.Config) { c.Hosts = nil }},
		{`host "a b"`, func(c *traffic.Config) { c.Hosts = []string{"a b"} }},
		{`host "a" is listed twice`, func(c *traffic.Config) { c.Hosts = []string{"a", "a"} }},
		{`burst at provider "orange", want one of apple`, func(c *traffic.Config) { c.Burst.Provider = "orange" }},
		{"burst from -1s", func(c *traffic.Config) { c.Burst.From = -time.Second }},
		{"burst share is 0", func(c *traffic.Config) { c.Burst.Share = 0 }},
		{"burst share is NaN", func(c *traffic.Config) { c.Burst.Share = math.NaN() }},
		{"list import from 20m0s for 0s", func(c *traffic.Config) { c.ListImport.For = 0 }},
		{"list import per minute is 0", func(c *traffic.Config) { c.ListImport.PerMinute = 0 }},
		{"list import unknown is 1.5", func(c *traffic.Config) { c.ListImport.Unknown = 1.5 }},
	} {
		cfg := traffic.DefaultConfig()
		tc.change(&cfg)
		if _, err := traffic.New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got error %v, want %q", err, tc.want)
		}
	}
}

func within(t *testing.T, what string, got, low, high float64) {
	t.Helper()
	if !(got >= low && got <= high) {
		t.Errorf("%s: %.4g, want %g to %g", what, got, low, high)
	}
}

func BenchmarkNext(b *testing.B) {
	b.ReportAllocs()
	lines, bytes := 0, 0
	for b.Loop() {
		g, err := traffic.New(traffic.DefaultConfig())
		if err != nil {
			b.Fatal(err)
		}
		for _, next, ok := g.Next(); ok; _, next, ok = g.Next() {
			lines += len(next)
			for _, l := range next {
				bytes += len(l.Text) + 1
			}
		}
	}
	b.SetBytes(int64(bytes / b.N))
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
}

func TestGoneAddressesAreMailedOnceMoreAndRefused(t *testing.T) {
	cfg := traffic.DefaultConfig()
	cfg.Minutes, cfg.PerMinute, cfg.Burst, cfg.ListImport = 20, 50, nil, nil
	cfg.Gone = []string{"old.customer1@icloud.com", "old.customer2@gmail.com", "old.customer3@yahoo.com"}
	g, err := traffic.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, _, ok := g.Next(); ok; _, _, ok = g.Next() {
	}
	refused := map[string]int{}
	for _, r := range g.Truth().Recipients {
		if r.Gone && r.Delivered == 0 && r.FirstFalse.IsZero() {
			refused[r.Address] = r.Bounced
		}
	}
	for _, a := range cfg.Gone {
		if refused[a] != 1 {
			t.Errorf("%s was refused %d times, want once", a, refused[a])
		}
	}
	cfg.Gone = []string{"x@nowhere.invalid"}
	if _, err := traffic.New(cfg); err == nil {
		t.Error("an address at no provider's domain was accepted")
	}
}
