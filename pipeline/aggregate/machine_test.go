package aggregate

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/cells"
	"carom.dev/carom/schema"
)

func manual(seq, term int64, recipient string) *schema.Control {
	return &schema.Control{Seq: seq, Term: term, AtMs: startUs / 1000, Body: &schema.Control_Manual{
		Manual: &schema.Manual{RecipientKey: []byte(recipient + "@x.example"), Suppress: true, Who: "eve", Why: "asked"},
	}}
}

func genesisRecord(seq int64) *schema.Control {
	return &schema.Control{Seq: seq, Body: &schema.Control_Genesis{Genesis: testGenesis}}
}

func leaderRecord(seq int64) *schema.Control {
	return &schema.Control{Seq: seq, Body: &schema.Control_Leader{Leader: &schema.Term{Leader: "x"}}}
}

// suppressed lists the recipients that are suppressed by what a log of control records sends.
func suppressed(t *testing.T, sent []broker.Message) string {
	var out []string
	for _, d := range decisions(t, sent) {
		name, _, _ := strings.Cut(string(d.RecipientKey), "@")
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// mail.control reaches every partition in order, perhaps repeated, perhaps with holes; each record is applied once and in
// its place, and what a leader writes after its successor began is not applied.
func TestControlRecordsApplyOnceInOrder(t *testing.T) {
	all := []*schema.Control{
		genesisRecord(0), manual(1, 0, "a"), leaderRecord(2), manual(3, 2, "b"), leaderRecord(4), manual(5, 2, "stale"), manual(6, 4, "c"),
		manual(7, 0, "d"),
	}
	for _, tc := range []struct {
		name    string
		relayed []int
		want    string
		read    []int64 // from mail.control
	}{
		{"in order", []int{0, 1, 2, 3, 4, 5, 6, 7}, "a b c d", nil},
		{"each twice", []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}, "a b c d", nil},
		{"again from the start", []int{0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7}, "a b c d", nil},
		{"begins late", []int{3, 4, 5, 6, 7}, "a b c d", []int64{0, 1, 2}},
		{"with holes", []int{0, 3, 7}, "a b c d", []int64{1, 2, 4, 5, 6}},
		{"hole, then what was left out", []int{0, 1, 4, 2, 3, 5, 6, 7}, "a b c d", []int64{2, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			count, read := gauge(t)
			var asked []int64
			d := newDriver(t, count, func(seq int64) (*schema.Control, error) {
				asked = append(asked, seq)
				return all[seq], nil
			})
			for _, i := range tc.relayed {
				d.step(encodeControl(t, all[i]))
			}
			if got := suppressed(t, d.sent); got != tc.want {
				t.Errorf("suppressed %q, want %q", got, tc.want)
			}
			if fmt.Sprint(asked) != fmt.Sprint(tc.read) || read("carom.aggregate.control_gaps") != int64(len(tc.read)) {
				t.Errorf("read %v from mail.control and counted %d, want %v", asked, read("carom.aggregate.control_gaps"), tc.read)
			}
		})
	}
}

// A hole that cannot be filled stops the fold: going on would leave this partition with another state than the others.
func TestControlRecordThatCannotBeReadStopsTheFold(t *testing.T) {
	down := errors.New("the broker is down")
	d := newDriver(t, noCounters(t), func(int64) (*schema.Control, error) { return nil, down })
	d.step(encodeControl(t, genesisRecord(0)))
	if _, err := d.try(encodeControl(t, manual(3, 0, "a"))); !errors.Is(err, down) || !strings.Contains(err.Error(), "control record 1 is missing before 3") {
		t.Errorf("err = %v", err)
	}
}

// Of two processes that started an installation at once, the second one's genesis counts for nothing.
func TestSecondGenesisIsIgnored(t *testing.T) {
	d := newDriver(t, noCounters(t), nil)
	d.step(encodeControl(t, genesisRecord(0)))
	other := &schema.Control{Seq: 1, Body: &schema.Control_Genesis{Genesis: &schema.Genesis{Epoch: "2", Observe: true}}}
	d.step(encodeControl(t, other))
	d.step(encodeControl(t, manual(2, 0, "a")))
	if got := decisions(t, d.sent); len(got) != 1 || got[0].DryRun {
		t.Errorf("decisions %v, want one that is no dry run", got)
	}
}

// A policy that cannot be read leaves the one before in force; it is counted, and the fold goes on.
func TestRefusedControlRecordIsCounted(t *testing.T) {
	count, read := gauge(t)
	d := newDriver(t, count, nil)
	d.step(encodeControl(t, genesisRecord(0)))
	d.step(encodeControl(t, &schema.Control{Seq: 1, Body: &schema.Control_Policy{Policy: &schema.Policy{Text: "no such thing"}}}))
	d.step(encodeControl(t, manual(2, 0, "a")))
	if n := read("carom.aggregate.control_refused"); n != 1 || suppressed(t, d.sent) != "a" {
		t.Errorf("%d refused, suppressed %q; want 1 and the record after it applied", n, suppressed(t, d.sent))
	}
}

func TestRecordsThatCannotBeReadGoToTheDeadLetter(t *testing.T) {
	ev, v := event(1, &schema.RawPosition{Topic: "mta.raw"}, startUs, schema.Outcome_BOUNCED)
	noPlace, _ := event(1, &schema.RawPosition{}, startUs, schema.Outcome_BOUNCED)
	noPlace.Raw = nil
	for _, tc := range []struct {
		name   string
		value  []byte
		reason string
	}{
		{"garbage", []byte("\xff\xff garbage"), "envelope: "},
		{"empty", nil, "envelope of no known kind"},
		{"an event of the stage before", encode(t, &schema.Envelope{Kind: &schema.Envelope_Event{Event: []byte("x")}}), "envelope of no known kind"},
		{"garbage for an event", encode(t, &schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{
			Event: []byte("\xff\xff"), Verdict: v,
		}}}), "event: "},
		{"no verdict", encodeEvent(t, ev, nil), "event without a source position or verdict"},
		{"no source position", encodeEvent(t, noPlace, v), "event without a source position or verdict"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			count, read := gauge(t)
			d := newDriver(t, count, nil)
			d.offset = 41
			d.step(tc.value)
			if len(d.sent) != 1 || d.sent[0].Topic != schema.TopicDeadLetter {
				t.Fatalf("sent %v", d.sent)
			}
			var dead schema.DeadLetter
			if err := dead.UnmarshalVT(d.sent[0].Value); err != nil {
				t.Fatal(err)
			}
			if dead.Stage != "aggregate" || dead.Topic != schema.TopicClassified || dead.Partition != 1 || dead.Offset != 41 ||
				!strings.HasPrefix(dead.Reason, tc.reason) || string(dead.Value) != string(tc.value) {
				t.Errorf("dead letter %v", &dead)
			}
			if n := read("carom.aggregate.poison"); n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
			// The partition goes on, and a good event at the same place is no repeat of a bad one.
			d.step(encodeEvent(t, ev, v))
			if n := read("carom.aggregate.events"); n != 1 {
				t.Errorf("%d events folded after it, want 1", n)
			}
		})
	}
}

// Repeats are counted as such, whatever raw partition they come from; a place is no repeat of the same place elsewhere.
func TestRepeatsAreCounted(t *testing.T) {
	count, read := gauge(t)
	d := newDriver(t, count, nil)
	place := func(topic string, partition int32, offset int64, index uint32) *schema.RawPosition {
		return &schema.RawPosition{Topic: topic, Partition: partition, Offset: offset, Index: index}
	}
	for _, raw := range []*schema.RawPosition{
		place("mta.raw", 0, 5, 0), place("mta.raw", 0, 5, 1), place("mta.raw", 1, 5, 1), place("mta.raw2", 0, 5, 1),
		place("mta.raw", 0, 5, 1), place("mta.raw", 0, 5, 0), place("mta.raw", 0, 4, 9), place("mta.raw", 1, 5, 1),
		place("mta.raw", 0, 6, 0),
	} {
		ev, v := event(1, raw, startUs, schema.Outcome_DELIVERED)
		d.step(encodeEvent(t, ev, v))
	}
	d.step(encodeTick(t, startUs))
	var events int64
	for _, c := range cellRecords(t, d.sent) {
		if c.Cell != nil {
			events += c.Cell.Events
		}
	}
	if events != 5 || read("carom.aggregate.events") != 9 {
		t.Errorf("%d events in the cells of %d read, want 5 of 9", events, read("carom.aggregate.events"))
	}
}

// A partition says how far it is complete after it has sent every cell before, to every partition of mail.cells, and numbers
// what it sends.
func TestProgressFollowsTheCells(t *testing.T) {
	d := newDriver(t, noCounters(t), nil)
	place := int64(0)
	raw := func() *schema.RawPosition {
		place++
		return &schema.RawPosition{Topic: "mta.raw", Offset: place}
	}
	d.step(encodeClock(t, "mx1", raw(), startUs, startUs/1000))
	for i := range 40 {
		ev, v := event(i, raw(), startUs+int64(i)*1_000_000, schema.Outcome_DELIVERED)
		ev.SourceIp = fmt.Sprint("192.0.2.", i%10)
		if sent := d.step(encodeEvent(t, ev, v)); len(sent) != 0 {
			t.Fatalf("an event sends %v: cells leave when their minute closes", sent)
		}
	}
	if sent := d.step(encodeClock(t, "mx1", raw(), startUs, startUs/1000)); len(sent) != 0 {
		t.Fatalf("a clock within the minute sends %v", sent)
	}
	offset := d.offset
	sent := d.step(encodeClock(t, "mx1", raw(), startUs+minuteUs, (startUs+minuteUs)/1000))
	progress := map[int32]bool{}
	events := int64(0)
	for i, c := range cellRecords(t, sent) {
		if c.Epoch != "1" || c.SourcePartition != 1 || c.SourceOffset != offset || int(c.Index) != i {
			t.Errorf("record %d says epoch %s, partition %d, place %d.%d", i, c.Epoch, c.SourcePartition, c.SourceOffset, c.Index)
		}
		p := sent[i].Partition
		if c.Cell == nil {
			progress[p] = true
			if c.WatermarkUs != startUs+minuteUs {
				t.Errorf("progress %d, want %d", c.WatermarkUs, int64(startUs+minuteUs))
			}
			continue
		}
		events += c.Cell.Events
		if progress[p] {
			t.Errorf("partition %d was told the progress before its cells", p)
		}
		if want := broker.PartitionOf(cells.PartitionKey(c.Cell), 3); p != want {
			t.Errorf("cell %v goes to partition %d, want %d", c.Cell, p, want)
		}
	}
	if len(progress) != 3 || events != 40 {
		t.Errorf("progress to %d of 3 partitions, %d of 40 events in cells", len(progress), events)
	}
}

// A stream that moves no clock, an import, does not grow without end, and closes when it is told to.
func TestCellsLeaveWithoutAClock(t *testing.T) {
	d := newDriver(t, noCounters(t), nil)
	d.step(encodeControl(t, genesisRecord(0)))
	d.m.sinceClose = closeAfter - 2
	for i := range 3 {
		ev, v := event(i, &schema.RawPosition{Topic: "mta.raw", Offset: int64(i)}, startUs, schema.Outcome_DELIVERED)
		sent := d.step(encodeEvent(t, ev, v))
		if got := len(cellRecords(t, sent)) > 0; got != (i == 1) {
			t.Errorf("event %d of the last %d: cells leave: %v", i, closeAfter, got)
		}
	}
	end := &schema.Control{Seq: 1, Body: &schema.Control_Close{Close: &schema.Close{AtUs: startUs + hourUs}}}
	got := cellRecords(t, d.step(encodeControl(t, end)))
	if len(got) != 4 || got[0].Cell.GetEvents() != 3 || got[3].WatermarkUs != startUs+hourUs {
		t.Errorf("the close sends %v, want the cell and the progress that it was told", got)
	}
}

// One host in two raw partitions loses the order of its lines: that is counted.
func TestHostInTwoPartitionsIsCounted(t *testing.T) {
	count, read := gauge(t)
	d := newDriver(t, count, nil)
	for i, p := range []int32{0, 0, 1, 1, 0} {
		clock := encodeClock(t, "mx1", &schema.RawPosition{Topic: "mta.raw", Partition: p, Offset: int64(i)}, startUs, startUs/1000)
		d.step(clock)
		if i == 2 {
			d.step(encodeClock(t, "mx1", &schema.RawPosition{Topic: "mta.raw"}, startUs, startUs/1000)) // a repeat: it moved no more
		}
	}
	if n := read("carom.aggregate.hosts_in_two_partitions"); n != 2 {
		t.Errorf("%d counted, want 2", n)
	}
}

// A decision goes to the history and to the list, by recipient alone, so that all its scopes stay in order.
func TestDecisionGoesToHistoryAndList(t *testing.T) {
	d := newDriver(t, noCounters(t), nil)
	d.step(encodeControl(t, genesisRecord(0)))
	sent := d.step(encodeControl(t, manual(1, 0, "a")))
	if len(sent) != 2 || sent[0].Topic != schema.TopicDecisions || sent[1].Topic != schema.TopicSuppressions {
		t.Fatalf("sent %v", sent)
	}
	for _, m := range sent {
		if string(m.Key) != "*\x00a@x.example" || m.Partition != broker.PartitionOf([]byte("a@x.example"), 2) || string(m.Value) != string(sent[0].Value) {
			t.Errorf("%s gets key %q in partition %d", m.Topic, m.Key, m.Partition)
		}
	}
}

func TestStateThatIsCutIsRefused(t *testing.T) {
	d := newDriver(t, noCounters(t), nil)
	ev, v := event(1, &schema.RawPosition{Topic: "mta.raw"}, startUs, schema.Outcome_BOUNCED)
	d.step(encodeEvent(t, ev, v))
	d.step(encodeClock(t, "mx1", &schema.RawPosition{Topic: "mta.raw", Index: 1}, startUs, startUs/1000))
	state := d.m.AppendState(nil)
	for i := 0; i < len(state); i += 1 + i/20 {
		d.fresh()
		if err := d.m.LoadState(state[:i]); err == nil {
			t.Errorf("%d of %d bytes were loaded", i, len(state))
		}
	}
}

// Engagement is counted under its own outcome, a machine's apart; what mail tells a second time is counted nowhere and
// moves no state; what was refused behind our next hop is counted, but for no address of ours.
func TestWhatIsCountedWhere(t *testing.T) {
	count, read := gauge(t)
	d := newDriver(t, count, nil)
	d.step(encodeControl(t, genesisRecord(0)))
	offset := int64(0)
	fold := func(outcome schema.Outcome, change func(*schema.DeliveryEvent)) {
		ev, v := event(1, &schema.RawPosition{Topic: "mta.raw", Offset: offset}, startUs+offset, outcome)
		change(ev)
		offset++
		d.step(encodeEvent(t, ev, v))
	}
	nothing := func(*schema.DeliveryEvent) {}
	fold(schema.Outcome_OPENED, nothing)
	fold(schema.Outcome_CLICKED, nothing)
	fold(schema.Outcome_OPENED, func(ev *schema.DeliveryEvent) { ev.Machine = true })
	fold(schema.Outcome_UNSUBSCRIBED, nothing)
	fold(schema.Outcome_ASYNC_BOUNCE, func(ev *schema.DeliveryEvent) { ev.RecipientKey, ev.Joined = []byte("r2@x.example"), true })
	fold(schema.Outcome_ASYNC_BOUNCE, func(ev *schema.DeliveryEvent) {
		ev.RecipientKey, ev.ForwardedTo = []byte("r3@x.example"), "b@y.example"
	})
	fold(schema.Outcome_ASYNC_BOUNCE, func(ev *schema.DeliveryEvent) {
		ev.RecipientKey, ev.ReportingMta, ev.RemoteHost = []byte("r4@x.example"), "mx.x.example", "mx.y.example"
	})
	fold(schema.Outcome_ASYNC_BOUNCE, func(ev *schema.DeliveryEvent) {
		ev.RecipientKey, ev.ReportingMta, ev.RemoteHost = []byte("r5@x.example"), "mx.x.example", "mx.x.example"
	})
	d.step(encodeTick(t, startUs+hourUs))
	var got []string
	for _, r := range cellRecords(t, d.sent) {
		if c := r.Cell; c != nil {
			got = append(got, fmt.Sprintf("%s %q %q %d, %d first", c.Outcome.Name(), c.Class, c.SourceIp, c.Events, c.FirstAttempts))
		}
	}
	want := []string{
		`async_bounce "recipient.unknown" "" 2, 2 first`, `async_bounce "recipient.unknown" "192.0.2.1" 1, 1 first`,
		`opened "" "192.0.2.1" 1, 0 first`, `opened "machine" "192.0.2.1" 1, 0 first`,
		`clicked "" "192.0.2.1" 1, 0 first`, `unsubscribed "recipient.unknown" "192.0.2.1" 1, 1 first`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("cells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var decided []string
	for _, x := range decisions(t, d.sent) {
		decided = append(decided, fmt.Sprintf("%s %s", x.RecipientKey, x.State.Name()))
	}
	if got, want := strings.Join(decided, ", "), "r1@x.example suppressed, r3@x.example pending, r4@x.example pending, r5@x.example pending"; got != want {
		t.Errorf("decisions %s, want %s", got, want)
	}
	if n := read("carom.aggregate.events"); n != offset {
		t.Errorf("%d events counted, want all %d", n, offset)
	}
}
