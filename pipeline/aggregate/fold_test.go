package aggregate

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/cells"
	"carom.dev/carom/pipeline/recipient"
	"carom.dev/carom/schema"
)

// record is one record of mail.classified and what it stands for.
type record struct {
	value   []byte
	event   *schema.DeliveryEvent
	verdict *schema.Verdict
	control *schema.Control
	tick    *schema.Tick
}

// drawControls draws the content of mail.control.
func drawControls(t *rapid.T) (out []*schema.Control) {
	add := func(c *schema.Control) {
		c.Seq, c.AtMs = int64(len(out)), startUs/1000
		out = append(out, c)
	}
	add(&schema.Control{Body: &schema.Control_Genesis{Genesis: testGenesis}})
	term := int64(0)
	for i := range rapid.IntRange(0, 8).Draw(t, "controls") {
		us := startUs + int64(i)*3*hourUs
		written := term
		if written > 0 && rapid.IntRange(0, 4).Draw(t, "stale") == 0 {
			written--
		}
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			term = int64(len(out))
			add(&schema.Control{Body: &schema.Control_Leader{Leader: &schema.Term{Leader: "a"}}})
		case 1:
			add(&schema.Control{Term: written, Body: &schema.Control_AllClear{AllClear: &schema.AllClear{ThroughUs: us}}})
		case 2:
			add(&schema.Control{Term: written, Body: &schema.Control_Incident{Incident: &schema.Incident{
				Id: "apple-1", Revision: uint32(i + 1), State: schema.IncidentState_OPEN, Kind: "provider_false_unknown", Provider: "apple",
				Class: "recipient.unknown", Hold: true, OpenedUs: us, UpdatedUs: us, HoldFromUs: startUs, HoldUntilUs: us + 12*hourUs,
			}}})
		case 3:
			add(&schema.Control{Term: written, Body: &schema.Control_Incident{Incident: &schema.Incident{
				Id: "apple-1", Revision: uint32(i + 1), State: schema.IncidentState_RESOLVED, Provider: "apple", Class: "recipient.unknown",
				UpdatedUs: us, ResolvedUs: us,
			}}})
		case 4:
			add(&schema.Control{Body: &schema.Control_Manual{Manual: &schema.Manual{
				RecipientKey: []byte("r1@x.example"), Suppress: rapid.Bool().Draw(t, "suppress"), Who: "eve", Why: "asked",
			}}})
		case 5:
			add(&schema.Control{Body: &schema.Control_Policy{Policy: &schema.Policy{Text: fmt.Sprintf("version = edit%d\n", i) + recipient.DefaultPolicy}}})
		}
	}
	return out
}

// drawLog draws a partition of mail.classified: what two writers made of two raw partitions, what a relay made of
// mail.control, ticks, in any interleaving. The relay may leave a record out.
func drawLog(t *rapid.T, controls []*schema.Control) []record {
	var streams [][]record
	for p := range int32(2) {
		var messages []record
		at := int64(startUs)
		for o := range rapid.IntRange(1, 12).Draw(t, "raw records") {
			at += rapid.Int64Range(0, 2*hourUs).Draw(t, "pause")
			for i := range rapid.IntRange(1, 2).Draw(t, "in the record") {
				raw := &schema.RawPosition{Topic: "mta.raw", Partition: p, Offset: int64(o), Index: uint32(i)}
				if rapid.IntRange(0, 3).Draw(t, "clock") == 0 {
					messages = append(messages, record{value: encodeClock(t, fmt.Sprint("mx", p), raw, at-at%minuteUs, at/1000)})
					continue
				}
				outcome := rapid.SampledFrom([]schema.Outcome{
					schema.Outcome_DELIVERED, schema.Outcome_BOUNCED, schema.Outcome_BOUNCED, schema.Outcome_BOUNCED, schema.Outcome_ASYNC_BOUNCE, schema.Outcome_OPENED,
				}).Draw(t, "outcome")
				ev, v := event(rapid.IntRange(0, 2).Draw(t, "recipient"), raw, at, outcome)
				ev.Machine = outcome == schema.Outcome_OPENED && rapid.Bool().Draw(t, "machine")
				if outcome == schema.Outcome_ASYNC_BOUNCE {
					ev.Joined = rapid.Bool().Draw(t, "joined")
					ev.ForwardedTo = rapid.SampledFrom([]string{"", "b@y.example"}).Draw(t, "forwarded to")
				}
				messages = append(messages, record{value: encodeEvent(t, ev, v), event: ev, verdict: v})
			}
		}
		var stream []record
		for _, i := range emission(t, len(messages), 2) {
			stream = append(stream, messages[i])
		}
		streams = append(streams, stream)
	}
	var relayed []record
	for _, i := range emission(t, len(controls), 2) {
		if i != len(controls)-1 && rapid.IntRange(0, 5).Draw(t, "left out") == 0 {
			continue
		}
		relayed = append(relayed, record{value: encodeControl(t, controls[i]), control: controls[i]})
	}
	var ticks []record
	for i := range rapid.IntRange(0, 4).Draw(t, "ticks") {
		tick := &schema.Tick{AtUs: startUs + int64(i)*7*hourUs}
		ticks = append(ticks, record{value: encodeTick(t, tick.AtUs), tick: tick})
	}
	streams = append(streams, relayed, ticks)
	var log []record
	for len(streams) > 0 {
		i := rapid.IntRange(0, len(streams)-1).Draw(t, "next from")
		if len(streams[i]) == 0 {
			streams = append(streams[:i], streams[i+1:]...)
			continue
		}
		log = append(log, streams[i][0])
		streams[i] = streams[i][1:]
	}
	// The last tick makes every cell leave.
	last := &schema.Tick{AtUs: startUs + 40*hourUs}
	return append(log, record{value: encodeTick(t, last.AtUs), tick: last})
}

// model is the slow obvious fold: every event id and every control record counts once, cells are counted in a map.
type model struct {
	store     *recipient.Store
	controls  []*schema.Control
	seen      map[string]bool
	applied   int
	term      int64
	cells     map[cells.Key]totals
	decisions []*schema.Decision
}

type totals struct{ events, firsts, delayMs int64 }

func (m *model) fold(offset int64, r record) error {
	at := recipient.Position{Partition: 1, Offset: offset}
	emit := func(d *schema.Decision) { m.decisions = append(m.decisions, d) }
	switch {
	case r.tick != nil:
		return m.store.Control(&schema.Control{Body: &schema.Control_Tick{Tick: r.tick}}, at, emit)
	case r.control != nil:
		for m.applied <= int(r.control.Seq) {
			c := m.controls[m.applied]
			m.applied++
			if c.GetLeader() != nil {
				m.term = c.Seq
			} else if c.Term > 0 && c.Term < m.term {
				continue
			}
			if err := m.store.Control(c, at, emit); err != nil {
				return err
			}
		}
	case r.event != nil && !m.seen[r.event.EventId]:
		m.seen[r.event.EventId] = true
		if r.event.Joined {
			return nil
		}
		acceptance := m.store.Apply(r.event, r.verdict, at, emit)
		k := cells.Key{
			Minute: r.event.OccurredAtUs / minuteUs, Provider: r.verdict.Provider, Outcome: r.event.Outcome, Class: r.verdict.Class,
			SourceIP: r.event.SourceIp, Acceptance: acceptance,
		}
		firsts := int64(1)
		if r.event.Outcome == schema.Outcome_OPENED {
			firsts = 0
		}
		if r.event.Machine {
			k.Class = "machine"
		}
		if r.event.ForwardedTo != "" {
			k.SourceIP = ""
		}
		c := m.cells[k]
		m.cells[k] = totals{c.events + 1, c.firsts + firsts, c.delayMs + r.event.DelayMs}
	}
	return nil
}

// What repeats in the log, in any order that contiguous writers can bring about, changes neither decisions nor numbers,
// and neither does a restart at any record.
func TestRepeatsAndRestartsChangeNothing(t *testing.T) {
	count := noCounters(t)
	repeated, gaps, decided, held := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		controls := drawControls(t)
		log := drawLog(t, controls)
		readControl := func(seq int64) (*schema.Control, error) {
			gaps++
			return controls[seq], nil
		}
		straight := newDriver(t, count, readControl)
		restarted := newDriver(t, count, readControl)
		want := &model{store: recipient.NewStore(), controls: controls, seen: map[string]bool{}, cells: map[cells.Key]totals{}}
		for i, r := range log {
			if r.event != nil && want.seen[r.event.EventId] {
				repeated++
			}
			if err := want.fold(int64(i), r); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
				restarted.restart()
			}
			a, b := straight.step(r.value), restarted.step(r.value)
			if !slices.EqualFunc(a, b, sameMessage) {
				t.Fatalf("record %d: a restarted fold sends\n%v\na straight one\n%v", i, b, a)
			}
		}
		if !bytes.Equal(straight.m.AppendState(nil), restarted.m.AppendState(nil)) {
			t.Fatal("the states of a restarted and a straight fold differ")
		}

		got := decisions(t, straight.sent)
		if len(got) != len(want.decisions) {
			t.Fatalf("%d decisions, want %d\ngot  %v\nwant %v", len(got), len(want.decisions), got, want.decisions)
		}
		for i, d := range got {
			if !proto.Equal(d, want.decisions[i]) {
				t.Fatalf("decision %d\ngot  %v\nwant %v", i, d, want.decisions[i])
			}
			decided++
			if d.State == schema.RecipientState_STATE_HELD {
				held++
			}
		}
		// A cell's last record counts; rows that were opened anew add up.
		type id struct {
			key      cells.Key
			openedAt int64
		}
		latest := map[id]totals{}
		for _, r := range cellRecords(t, straight.sent) {
			if c := r.Cell; c != nil {
				latest[id{cells.KeyOf(c), c.OpenedAt}] = totals{c.Events, c.FirstAttempts, c.DelayMsSum}
			}
		}
		sums := map[cells.Key]totals{}
		for k, c := range latest {
			s := sums[k.key]
			sums[k.key] = totals{s.events + c.events, s.firsts + c.firsts, s.delayMs + c.delayMs}
		}
		if !maps.Equal(sums, want.cells) {
			t.Fatalf("cells\ngot  %v\nwant %v", sums, want.cells)
		}
	})
	if repeated == 0 || gaps == 0 || decided == 0 || held == 0 {
		t.Errorf("%d repeats, %d control gaps, %d decisions, %d of them held: something was not tested", repeated, gaps, decided, held)
	}
}
