package aggregate

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// The watermark is the time before which every host that counts has told everything.
func TestWatermark(t *testing.T) {
	const (
		s      = int64(1_000_000)
		minute = 60 * s
		hour   = 60 * minute
	)
	type host struct {
		name   string
		at     int64 // its own clock, after the start
		seenMs int64 // when that was written, after the start
	}
	ms := func(us int64) int64 { return us / 1000 }
	for _, tc := range []struct {
		name  string
		hosts []host
		tick  int64 // 0: none
		want  int64 // after the start; -1: nothing is known
	}{
		{"nobody was ever heard of", nil, hour, -1},
		{"one host", []host{{"a", hour, ms(hour)}}, 0, hour},
		{"the slowest of several", []host{{"a", hour, ms(hour)}, {"b", hour - 3*minute, ms(hour)}, {"c", hour + minute, ms(hour)}}, 0, hour - 3*minute},
		{"a host's clock does not go back", []host{{"a", hour, ms(hour)}, {"a", hour - 5*minute, ms(hour)}}, 0, hour},
		{
			"one far behind the others does not hold them up",
			[]host{{"a", hour, ms(hour)}, {"b", hour - minute, ms(hour)}, {"late", hour - 30*minute, ms(hour)}},
			0, hour - minute,
		},
		{"just not far enough behind", []host{{"a", hour, ms(hour)}, {"b", hour, ms(hour)}, {"late", hour - 10*minute, ms(hour)}}, 0, hour - 10*minute},
		{"silent for two minutes still counts", []host{{"quiet", hour - 2*minute, ms(hour - 2*minute)}, {"a", hour, ms(hour)}}, 0, hour - 2*minute},
		{"silent for longer does not", []host{{"quiet", hour - 2*minute, ms(hour-2*minute) - 1}, {"a", hour, ms(hour)}}, 0, hour},
		{"a tick tells how long a host was silent", []host{{"a", hour, ms(hour)}, {"b", hour - minute, ms(hour - minute)}}, hour + minute + minute/2, hour},
		{"all silent, not long", []host{{"a", hour, ms(hour)}}, hour + 5*minute, hour},
		{"all silent for ten minutes: nothing to wait for", []host{{"a", hour, ms(hour)}}, hour + 25*minute, hour + 15*minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClocks()
			for _, h := range tc.hosts {
				c.host(h.name, startUs+h.at, startUs/1000+h.seenMs, 0)
			}
			if tc.tick > 0 {
				c.watermark() // it is asked after every clock
				c.tick(startUs + tc.tick)
			}
			want := startUs + tc.want
			if tc.want < 0 {
				want = 0
			}
			if got := c.watermark(); got != want {
				t.Errorf("watermark is %d s after the start, want %d s", (got-startUs)/s, (want-startUs)/s)
			}
		})
	}
}

// Whatever is heard, the watermark never goes back, and the state gives the same watermark when it is loaded elsewhere.
func TestWatermarkNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newClocks()
		before := int64(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			at := startUs + rapid.Int64Range(0, 3*hourUs).Draw(t, "at")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				c.tick(at)
			case 1:
				c.assume(at)
			default:
				c.host(fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "host")), at, startUs/1000+rapid.Int64Range(0, 3*hourUs/1000).Draw(t, "seen"), 0)
			}
			loaded := newClocks()
			if err := loaded.loadState(c.appendState(nil)); err != nil {
				t.Fatal(err)
			}
			now := c.watermark()
			if now < before {
				t.Fatalf("watermark went back from %d to %d", before, now)
			}
			if got := loaded.watermark(); got != now {
				t.Fatalf("loaded clocks give watermark %d, want %d", got, now)
			}
			before = now
		}
	})
}

// The table of hosts is bounded; the one that was silent longest makes room.
func TestHostTableIsBounded(t *testing.T) {
	c := newClocks()
	for i := range maxHosts + 3 {
		seen := int64(startUs/1000 + i)
		if i == 0 {
			seen += 2 * maxHosts // the first was heard of last
		}
		c.host(fmt.Sprint("h", i), startUs, seen, 0)
	}
	_, first := c.hosts["h0"]
	_, second := c.hosts["h1"]
	_, last := c.hosts[fmt.Sprint("h", maxHosts+2)]
	if len(c.hosts) != maxHosts || !first || second || !last {
		t.Errorf("%d hosts; first kept %v, silent longest kept %v, newest kept %v", len(c.hosts), first, second, last)
	}
}
