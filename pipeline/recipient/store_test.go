package recipient

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// Recipients are told apart by their keys: a hash that collides changes nothing, also after a restore and a removal.
func TestEqualHashesAreTwoRecipients(t *testing.T) {
	s := NewStore()
	keys := [][]byte{[]byte("a@x"), []byte("b@x"), []byte("c@x")}
	for _, k := range keys {
		if s.open(42, k, "x", scopeAll) == 0 {
			t.Fatal("no room")
		}
	}
	owners := func(s *Store) (out []string) {
		for _, k := range keys {
			if o := s.find(42, k); o == 0 {
				out = append(out, "none")
			} else {
				out = append(out, string(s.key(s.recipients.at(o))))
			}
		}
		return out
	}
	if got := owners(s); !slices.Equal(got, []string{"a@x", "b@x", "c@x"}) {
		t.Fatal(got)
	}
	fresh := NewStore()
	if err := fresh.LoadState(s.AppendState(nil)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, fresh} {
		s.forget(s.recipients.at(s.find(42, keys[1])).records)
		if got := owners(s); !slices.Equal(got, []string{"a@x", "none", "c@x"}) {
			t.Error(got)
		}
	}
}

// Churn leaves neither records nor bytes behind, and the arena is copied when most of it is garbage.
func TestForgottenRecipientsLeaveNothing(t *testing.T) {
	s := NewStore()
	emit := func(*schema.Decision) {}
	us := storyStart.UnixMicro()
	for round := range 3 {
		for i := range 60_000 {
			s.Apply(&schema.DeliveryEvent{
				EventId: fmt.Sprintf("event-%d-%d-with-a-rather-long-name", round, i), OccurredAtUs: us, Outcome: schema.Outcome_BOUNCED,
				RecipientKey: fmt.Appendf(nil, "recipient-%d-%d@somewhere.example", round, i), Domain: "somewhere.example", QueueId: "q",
			}, &schema.Verdict{Class: "mailbox.full", Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_WINDOWED},
				Position{}, emit)
		}
		us += 200 * dayUs
		tick := &schema.Control{Body: &schema.Control_Tick{Tick: &schema.Tick{AtUs: us}}}
		if err := s.Control(tick, Position{}, emit); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Records != 0 || st.Recipients != 0 || st.Evidence != 0 || len(s.index) != 0 || s.arena.live != 0 {
			t.Fatalf("round %d leaves %+v", round, st)
		}
	}
	if n := len(s.arena.chunks); n > 8 {
		t.Errorf("%d MiB of keys for nobody", n)
	}
}

// Copying the arena changes no key and no event id.
func TestArenaCopyKeepsTheLiving(t *testing.T) {
	s := NewStore()
	var got []string
	emit := func(d *schema.Decision) {
		got = append(got, fmt.Sprintf("%s %s %v", d.RecipientKey, d.Domain, d.EventIds))
	}
	fail := func(key, domain, id, queue string, hours int64) {
		s.Apply(&schema.DeliveryEvent{
			EventId: id, OccurredAtUs: storyStart.UnixMicro() + hours*3_600_000_000, Outcome: schema.Outcome_BOUNCED,
			RecipientKey: []byte(key), Domain: domain, QueueId: queue,
		}, &schema.Verdict{Class: "recipient.unknown", Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_CANDIDATE},
			Position{}, emit)
	}
	fail("clear@one.example", "one.example", "e1", "q1", 0)
	fail("digest", "two.example", "e2", "q2", 0)
	got = nil
	s.arena.garbage = 5 * arenaChunk
	fail("clear@one.example", "one.example", "e3", "q3", 3)
	if s.arena.garbage != 0 {
		t.Fatal("nothing was copied")
	}
	fail("digest", "two.example", "e4", "q4", 3)
	want := []string{"clear@one.example one.example [e1 e3]", "digest two.example [e2 e4]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A state cut anywhere, or with bytes to spare, is an error and leaves the Store as it was.
func TestDamagedStateIsRefused(t *testing.T) {
	st := &storyteller{t: t, s: NewStore()}
	for line := range strings.Lines(`deliver to=seed at=-100d msg=s
fail to=ann at=0d msg=m1 class=recipient.unknown provider=apple
fail to=bob at=0d msg=m2 class=mailbox.full provider=apple
incident id=i1 rev=1 kind=x provider=gmail from=0d until=2d at=1d3h
`) {
		st.run(strings.TrimSpace(line))
	}
	good := st.s.AppendState(nil)
	for n := range good {
		if st.s.LoadState(good[:n]) == nil {
			t.Fatalf("%d of %d bytes are accepted", n, len(good))
		}
	}
	if st.s.LoadState(append(slices.Clone(good), 0)) == nil {
		t.Error("a byte too many is accepted")
	}
	if st.s.LoadState(append([]byte{9}, good[1:]...)) == nil {
		t.Error("another format is accepted")
	}
	if !bytes.Equal(st.s.AppendState(nil), good) {
		t.Error("a refused state changed the Store")
	}
}

func TestEventsWithoutAKeyAreCountedAndIgnored(t *testing.T) {
	s := NewStore()
	s.Apply(&schema.DeliveryEvent{Outcome: schema.Outcome_BOUNCED}, &schema.Verdict{}, Position{}, nil)
	if st := s.Stats(); st.Unkeyed != 1 || s.firstUs != 0 {
		t.Errorf("%+v", st)
	}
}

// A decision carries what a consumer needs to explain it.
func TestDecisionIsComplete(t *testing.T) {
	s := NewStore()
	var d *schema.Decision
	s.Apply(&schema.DeliveryEvent{
		EventId: "e1", OccurredAtUs: 1_000_000, Outcome: schema.Outcome_BOUNCED, RecipientKey: []byte("a@x.example"), Domain: "x.example",
		QueueId: "q", Backfill: true, SmtpCode: 550, EnhancedCode: "5.1.1", EnhancedSource: schema.EnhancedSource_ENHANCED_MTA,
	}, &schema.Verdict{
		Class: "recipient.unknown", Provider: "apple", Rule: "r1", Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_CANDIDATE,
	}, Position{Partition: 3, Offset: 77}, func(x *schema.Decision) { d = x })
	want := &schema.Decision{
		Id: d.GetId(), RecipientKey: []byte("a@x.example"), Scope: "*", State: pending, DecidedUs: 1_000_000, DueUs: 1_000_000 + dayUs,
		Class: "recipient.unknown", Provider: "apple", Reason: "550 unknown, waiting for a second message or the all-clear",
		Policy: s.Policy().Version, EventIds: []string{"e1"}, RuleIds: []string{"r1"}, HardEvents: 1, Partition: 3, Offset: 77,
		Backfill: true, Domain: "x.example", Version: 77,
	}
	if fmt.Sprint(d) != fmt.Sprint(want) {
		t.Errorf("got\n%v\nwant\n%v", d, want)
	}
}

// One release that lifts two scopes makes two decisions with different ids.
func TestDecisionIDsTellScopesApart(t *testing.T) {
	s := NewStore()
	ids := map[string]string{}
	manual := func(seq int64, scope string, suppress bool) {
		c := &schema.Control{Seq: seq, Body: &schema.Control_Manual{Manual: &schema.Manual{
			RecipientKey: []byte("a@x.example"), Scope: scope, Suppress: suppress,
		}}}
		err := s.Control(c, Position{}, func(d *schema.Decision) {
			if other, ok := ids[d.Id]; ok {
				t.Errorf("scopes %s and %s share an id", other, d.Scope)
			}
			ids[d.Id] = d.Scope
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	manual(1, "*", true)
	manual(2, "bulk", true)
	manual(3, "", false)
	if len(ids) != 4 {
		t.Errorf("%d decisions", len(ids))
	}
}

// A recipient's own word counts whether or not the policy lists its class.
func TestRefusalNeedsNoClassInThePolicy(t *testing.T) {
	text := strings.Replace(DefaultPolicy, "classes = notice.complaint notice.unsubscribe", "classes = notice.challenge", 1)
	for _, o := range []schema.Outcome{schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED} {
		s := NewStore()
		genesis := &schema.Control{Body: &schema.Control_Genesis{Genesis: &schema.Genesis{Policy: text}}}
		if err := s.Control(genesis, Position{}, nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		s.Apply(&schema.DeliveryEvent{EventId: "e", OccurredAtUs: 1, Outcome: o, RecipientKey: []byte("a@x.example"), Tenant: "t1"},
			&schema.Verdict{Class: "notice.x"}, Position{}, func(d *schema.Decision) { got = append(got, d.Scope+" "+d.State.Name()) })
		if want := []string{"tenant:t1 suppressed"}; !slices.Equal(got, want) {
			t.Errorf("%s: decided %q, want %q", o.Name(), got, want)
		}
	}
}
