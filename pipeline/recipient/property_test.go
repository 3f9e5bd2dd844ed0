package recipient

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// step is one record of a log: an event or a control record.
type step struct {
	ev *schema.DeliveryEvent
	v  *schema.Verdict
	c  *schema.Control
}

func (x step) fold(t rapid.TB, s *Store, offset int64, out *[]*schema.Decision) schema.Acceptance {
	emit := func(d *schema.Decision) { *out = append(*out, d) }
	if x.ev != nil {
		return s.Apply(x.ev, x.v, Position{Offset: offset}, emit)
	}
	if err := s.Control(x.c, Position{Offset: offset}, emit); err != nil {
		t.Fatal(err)
	}
	return 0
}

// testPolicy never forgets, since the model does not.
func testPolicy(t rapid.TB) string {
	text := strings.NewReplacer("forget_after = 7d", "forget_after = 2000d", "keep_counters = 180d", "keep_counters = 2000d",
		"hold_memory = 30d", "hold_memory = 2000d").Replace(DefaultPolicy)
	if _, err := ParsePolicy(text); err != nil {
		t.Fatal(err)
	}
	return text
}

// drawLog draws a log of few recipients, few messages and many collisions of time. Late events reach two days back.
func drawLog(t *rapid.T) []step {
	base := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	log := []step{{c: &schema.Control{Body: &schema.Control_Genesis{Genesis: &schema.Genesis{Policy: testPolicy(t)}}}}}
	if rapid.Bool().Draw(t, "history") {
		log = append(log, step{v: &schema.Verdict{}, ev: &schema.DeliveryEvent{
			EventId: "seed", OccurredAtUs: base - 100*dayUs, RecipientKey: []byte("seed"), Outcome: schema.Outcome_DELIVERED,
		}})
	}
	classes := []string{"recipient.unknown", "recipient.unknown", "recipient.disabled", "mailbox.full", "recipient.inactive", "recipient.restricted", "content.spam"}
	outcomes := []schema.Outcome{
		schema.Outcome_BOUNCED, schema.Outcome_BOUNCED, schema.Outcome_BOUNCED, schema.Outcome_ASYNC_BOUNCE, schema.Outcome_ASYNC_BOUNCE, schema.Outcome_DEFERRED,
		schema.Outcome_DELIVERED, schema.Outcome_OPENED, schema.Outcome_CLICKED, schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED,
	}
	now, revision := base, map[string]uint32{}
	for i := range rapid.IntRange(1, 120).Draw(t, "records") {
		now += int64(rapid.SampledFrom([]int{0, 10, 60, 130, 1440, 4000}).Draw(t, "minutes later")) * 60_000_000
		control := &schema.Control{Seq: int64(i)}
		provider := rapid.SampledFrom([]string{"apple", "gmail"}).Draw(t, "provider")
		switch kind := rapid.IntRange(0, 19).Draw(t, "kind"); kind {
		case 0, 1:
			control.Body = &schema.Control_Tick{Tick: &schema.Tick{AtUs: now}}
		case 2, 3:
			clear := &schema.AllClear{ThroughUs: now}
			if rapid.Bool().Draw(t, "except") {
				clear.Except = []string{provider}
			}
			control.Body = &schema.Control_AllClear{AllClear: clear}
		case 4:
			id := rapid.SampledFrom([]string{"i1", "i2"}).Draw(t, "incident")
			revision[id]++
			in := &schema.Incident{
				Id: id, Revision: revision[id], State: schema.IncidentState_OPEN, Kind: "provider_false_unknown", Hold: true,
				Provider: provider, Class: "recipient.unknown", HoldFromUs: now - dayUs, HoldUntilUs: now + dayUs, UpdatedUs: now,
			}
			if id == "i2" {
				in.Class = "mailbox.full"
			}
			if rapid.Bool().Draw(t, "resolved") {
				in.State, in.ResolvedUs = schema.IncidentState_RESOLVED, now
			}
			control.Body = &schema.Control_Incident{Incident: in}
		default:
			ev := &schema.DeliveryEvent{
				EventId: fmt.Sprint("e", i), MtaHost: "mx", QueueId: fmt.Sprint("q", rapid.IntRange(max(0, i/4-2), i/4+2).Draw(t, "message")),
				OccurredAtUs: now - int64(rapid.SampledFrom([]int{0, 0, 0, 60, 1440}).Draw(t, "late"))*60_000_000,
				RecipientKey: []byte(rapid.SampledFrom([]string{"a@x", "b@x", "c@y"}).Draw(t, "recipient")),
				Outcome:      rapid.SampledFrom(outcomes).Draw(t, "outcome"),
				Tenant:       rapid.SampledFrom([]string{"", "t1"}).Draw(t, "tenant"),
			}
			v := &schema.Verdict{Provider: provider, Scope: schema.Scope_SCOPE_RECIPIENT, Suppress: schema.Suppress_SUPPRESS_WINDOWED}
			switch ev.Outcome {
			case schema.Outcome_DELIVERED:
			case schema.Outcome_OPENED, schema.Outcome_CLICKED:
				ev.Machine = rapid.IntRange(0, 2).Draw(t, "machine") == 0
			case schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED:
				v.Class, v.Suppress = "notice."+strings.TrimSuffix(ev.Outcome.Name(), "d"), schema.Suppress_SUPPRESS_NEVER
				ev.Trust, ev.Joined = drawTrust(t), rapid.IntRange(0, 5).Draw(t, "joined") == 0
			case schema.Outcome_ASYNC_BOUNCE:
				ev.Trust, ev.Joined = drawTrust(t), rapid.IntRange(0, 5).Draw(t, "joined") == 0
				fallthrough
			default:
				v.Class = rapid.SampledFrom(classes).Draw(t, "class")
				if strings.HasSuffix(v.Class, "unknown") && rapid.IntRange(0, 3).Draw(t, "plain") > 0 || strings.HasSuffix(v.Class, "disabled") {
					v.Suppress = schema.Suppress_SUPPRESS_CANDIDATE
				}
			}
			log = append(log, step{ev: ev, v: v})
			continue
		}
		log = append(log, step{c: control})
	}
	return log
}

// drawTrust draws how much a mail is believed; it may be no mail.
func drawTrust(t *rapid.T) schema.Trust {
	return schema.Trust(rapid.IntRange(0, int(schema.Trust_TRUST_SIGNED)).Draw(t, "trust"))
}

// The Store decides as the plain model does, record by record.
func TestStoreDecidesAsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var m *model
		for i, x := range drawLog(t) {
			var got []*schema.Decision
			acceptance := x.fold(t, s, int64(i), &got)
			if m == nil {
				m = newModel(s.Policy())
			}
			m.out = nil
			if x.ev != nil {
				if want := m.apply(x.ev, x.v); want != acceptance {
					t.Fatalf("record %d: acceptance %s, the model says %s", i, acceptance.Name(), want.Name())
				}
			} else {
				switch body := x.c.Body.(type) {
				case *schema.Control_Tick:
					m.tick(body.Tick.AtUs)
				case *schema.Control_AllClear:
					m.allClear(body.AllClear.ThroughUs, body.AllClear.Except)
				case *schema.Control_Incident:
					m.incident(body.Incident)
				}
			}
			var said []string
			for _, d := range got {
				due := max(d.DueUs, d.ExpiresUs)
				if d.State == held {
					due = 0
				}
				said = append(said, fmt.Sprintf("%s %s %s>%s at %d due %d",
					d.RecipientKey, d.Scope, d.Previous.Name(), d.State.Name(), d.DecidedUs, due))
			}
			slices.Sort(said)
			slices.Sort(m.out)
			if !slices.Equal(said, m.out) {
				t.Fatalf("record %d %v %v\ndecided\n%s\nthe model says\n%s", i, x.ev, x.c, strings.Join(said, "\n"), strings.Join(m.out, "\n"))
			}
		}
	})
}

// Cutting the log at any records, saving and loading, gives the same decisions and the same state bytes as never cutting.
func TestSplitAndRestoredEqualsNeverSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole, split := NewStore(), NewStore()
		var a, b []*schema.Decision
		for i, x := range drawLog(t) {
			if rapid.IntRange(0, 5).Draw(t, "cut") == 0 {
				fresh := NewStore()
				if err := fresh.LoadState(split.AppendState(nil)); err != nil {
					t.Fatal(err)
				}
				split = fresh
			}
			x.fold(t, whole, int64(i), &a)
			x.fold(t, split, int64(i), &b)
		}
		if len(a) != len(b) {
			t.Fatalf("%d decisions, %d when split", len(a), len(b))
		}
		for i := range a {
			if !proto.Equal(a[i], b[i]) {
				t.Fatalf("decision %d is\n%v\nwhen split, else\n%v", i, b[i], a[i])
			}
		}
		if !bytes.Equal(whole.AppendState(nil), split.AppendState(nil)) {
			t.Fatal("the states differ")
		}
	})
}

// However often and whenever its failures come, one message alone never suppresses.
func TestOneMessageNeverSuppresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var out []*schema.Decision
		for i, x := range drawLog(t) {
			if x.ev != nil {
				switch x.ev.Outcome {
				case schema.Outcome_DELIVERED, schema.Outcome_OPENED, schema.Outcome_CLICKED:
					continue // it would only take evidence away
				case schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED:
					continue // the recipient's own word is enough
				}
				x.ev.QueueId = "same"
			} else if x.c.GetGenesis() == nil {
				continue // maturity is the detector's word, not a count
			}
			x.fold(t, s, int64(i), &out)
		}
		for _, d := range out {
			if d.State == suppressed {
				t.Fatalf("suppressed: %v", d)
			}
		}
	})
}

// A mail that nothing shows to be about mail of ours suppresses nobody by itself: what it takes is as many of them, of
// different messages and over as much time, as [doubtful] asks for. Classes that are windowed anyway are left out.
func TestUnbelievedMailNeverSuppressesAlone(t *testing.T) {
	hard := []string{"recipient.unknown", "recipient.disabled", "notice.complaint", "notice.unsubscribe"}
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		seen := map[string][]*schema.DeliveryEvent{}
		var out []*schema.Decision
		for i, x := range drawLog(t) {
			if x.ev != nil {
				if x.ev.Outcome != schema.Outcome_ASYNC_BOUNCE && x.ev.Outcome != schema.Outcome_COMPLAINT && x.ev.Outcome != schema.Outcome_UNSUBSCRIBED ||
					!slices.Contains(hard, x.v.Class) {
					continue
				}
				x.ev.Trust = schema.Trust_TRUST_NONE
				seen[string(x.ev.RecipientKey)] = append(seen[string(x.ev.RecipientKey)], x.ev)
			}
			out = out[:0]
			x.fold(t, s, int64(i), &out)
			for _, d := range out {
				if d.State != suppressed {
					continue
				}
				messages := map[string]bool{}
				first, last := d.DecidedUs, d.DecidedUs
				for _, ev := range seen[string(d.RecipientKey)] {
					messages[ev.QueueId] = true
					first, last = min(first, ev.OccurredAtUs), max(last, ev.OccurredAtUs)
				}
				w := s.Policy().Doubtful
				if d.Scope == scopeAll || len(messages) < w.Events || last-first < w.Over.Microseconds() {
					t.Fatalf("suppressed by %d messages within %s: %v", len(messages), words(last-first), d)
				}
			}
		}
	})
}

// Decision ids differ between decisions and do not depend on anything but the log.
func TestDecisionIDsAreUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore()
		var out []*schema.Decision
		for i, x := range drawLog(t) {
			x.fold(t, s, int64(i), &out)
		}
		seen := map[string]bool{}
		for _, d := range out {
			if len(d.Id) != 32 || seen[d.Id] {
				t.Fatalf("id %q twice or short", d.Id)
			}
			seen[d.Id] = true
		}
	})
}
