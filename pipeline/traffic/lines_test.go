package traffic

import (
	"strings"
	"testing"
)

// The examples are delays= of real logs beside the times they stand for.
func TestSecondsAreWrittenAsPostfixDoes(t *testing.T) {
	for _, tc := range []struct {
		micros int64
		want   string
	}{
		{0, "0"},
		{4_999, "0"},
		{5_000, "0.01"},
		{49_000, "0.05"},
		{100_000, "0.1"},
		{724_000, "0.72"},
		{994_999, "0.99"},
		{996_000, "1"},
		{1_300_000, "1.3"},
		{9_960_000, "10"},
		{8_400_000, "8.4"},
		{18_200_000, "18"},
		{3_900_400_000, "3900"},
	} {
		if got := string(appendSeconds(nil, tc.micros)); got != tc.want {
			t.Errorf("%d us: %s, want %s", tc.micros, got, tc.want)
		}
	}
}

// Postfix reads the time back from its long ids; the digits are those of src/global/mail_queue.h.
func TestLongQueueIDHoldsTheTime(t *testing.T) {
	cfg := DefaultConfig()
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const at = int64(1_795_250_028_415_203)
	id := g.queueID(0, at)
	value := func(s string) (v int64) {
		for i := range len(s) {
			for d := range len(base52) {
				if base52[d] == s[i] {
					v = v*52 + int64(d)
				}
			}
		}
		return v
	}
	if got := value(id[:6])*1_000_000 + value(id[6:10]); got != at || id[10] != 'z' {
		t.Errorf("id %s holds %d, want %d and a z behind", id, got, at)
	}
}

// Every place in a reply is one that expand fills in.
func TestRepliesHaveNoUnknownPlaces(t *testing.T) {
	check := func(r *reply) {
		for i := 0; i < len(r.text); i++ {
			if r.text[i] != '$' {
				continue
			}
			if i++; i == len(r.text) || !strings.ContainsRune("rihadDtn", rune(r.text[i])) {
				t.Errorf("unknown place in %q", r.text)
			}
		}
	}
	g := greylisted()
	check(&g)
	share := 0
	for _, p := range providers() {
		share += p.share
		for _, list := range [][]reply{p.accept, p.unknown, p.full} {
			if len(list) == 0 {
				t.Errorf("%s lacks replies", p.id)
			}
			for i := range list {
				check(&list[i])
			}
		}
		for i := range p.trouble {
			check(&p.trouble[i].reply)
		}
	}
	if share != 100 {
		t.Errorf("shares add up to %d", share)
	}
}
