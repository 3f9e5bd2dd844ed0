package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/state"
	"carom.dev/carom/schema"
)

// The same records give the same messages in the same order, wherever the log is split and the state restored; their places
// are contiguous, and a clock never goes before an event of an earlier minute.
func TestSameRecordsGiveSameEventsWhereverSplit(t *testing.T) {
	log := sample(t)
	events, clocks := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		straight, restarted := newDriver(t), newDriver(t)
		from := rapid.IntRange(0, len(log)-1).Draw(t, "from")
		lines := log[from:min(len(log), from+rapid.IntRange(1, 120).Draw(t, "lines"))]
		offset := int64(rapid.IntRange(0, 1000).Draw(t, "offset"))
		told := int64(0)
		for len(lines) > 0 {
			n := min(len(lines), rapid.IntRange(1, 8).Draw(t, "in the record"))
			r := raw{offset: offset, host: "mta1", text: strings.Join(lines[:n], "\n"), written: -3 * time.Hour}
			// Lines of before come again now and then, some of them with the next ones.
			if again := rapid.IntRange(0, 9).Draw(t, "again"); again < n {
				r.text += "\n" + strings.Join(lines[:again], "\r\n")
			}
			lines = lines[n:]
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				restarted.restart()
			}
			a, b := straight.step(r), restarted.step(r)
			if !slices.EqualFunc(a, b, func(x, y broker.Message) bool {
				return x.Topic == y.Topic && x.Partition == y.Partition && bytes.Equal(x.Key, y.Key) && bytes.Equal(x.Value, y.Value)
			}) {
				t.Fatalf("record %d: a restarted fold sends other messages than a straight one", offset)
			}
			o := take(t, a)
			for i, p := range o.places {
				if p.Topic != "mta.raw" || p.Partition != 2 || p.Offset != offset || int(p.Index) != i {
					t.Fatalf("message %d of record %d says its place is %s/%d %d.%d", i, offset, p.Topic, p.Partition, p.Offset, p.Index)
				}
			}
			for _, ev := range o.events {
				if want := fmt.Sprintf("e1.1.2.%d.%d", offset, ev.Raw.Index); ev.EventId != want {
					t.Fatalf("event id %s, want %s", ev.EventId, want)
				}
				// The log is in order, so nothing older than what was told may come.
				before := told
				for _, c := range o.clocks {
					if c.Raw.Index < ev.Raw.Index {
						before = max(before, c.AtUs)
					}
				}
				if ev.OccurredAtUs < before {
					t.Fatalf("event of %s after the clock said %s", time.UnixMicro(ev.OccurredAtUs).UTC(), time.UnixMicro(before).UTC())
				}
			}
			for _, c := range o.clocks {
				if c.AtUs <= told || c.AtUs%60_000_000 != 0 || c.Host != "mta1" || c.LoggedAtMs != noon.Add(r.written).UnixMilli() {
					t.Fatalf("clock %v after one of %d", c, told)
				}
				told = c.AtUs
			}
			events, clocks = events+len(o.events), clocks+len(o.clocks)
			offset++
		}
		if !bytes.Equal(straight.m.AppendState(nil), restarted.m.AppendState(nil)) {
			t.Fatal("the states of a restarted and a straight fold differ")
		}
	})
	if events == 0 || clocks == 0 {
		t.Errorf("%d events, %d clocks: nothing was tested", events, clocks)
	}
}

// A minute is told when a line of a later one has been seen, per host, once, and to every partition.
func TestClockIsToldWhenAMinuteIsOver(t *testing.T) {
	d := newDriver(t)
	at := func(seconds int) time.Duration { return time.Duration(seconds) * time.Second }
	tells := func(offset int64, host string, seconds int, want string) {
		t.Helper()
		line := delivery(at(seconds), host, fmt.Sprint("AAAAAA", offset), "a@x.example", sent)
		o := take(t, d.step(raw{offset: offset, host: host, text: line, written: at(seconds)}))
		got := ""
		for _, c := range o.clocks {
			got += c.Host + time.UnixMicro(c.AtUs).UTC().Format(" 15:04:05")
			if c.Raw.Index != 1 {
				t.Errorf("record %d: the clock goes before the event", offset)
			}
		}
		if got != want {
			t.Errorf("record %d: told %q, want %q", offset, got, want)
		}
	}
	tells(0, "mx1", 30, "mx1 12:00:00")
	tells(1, "mx1", 59, "")
	tells(2, "mx2", 59, "mx2 12:00:00")
	tells(3, "mx1", 60, "mx1 12:01:00")
	tells(4, "mx1", 50, "") // a clock does not go back
	tells(5, "mx1", 200, "mx1 12:03:00")
	d.restart()
	tells(6, "mx1", 210, "")
	tells(7, "mx2", 130, "mx2 12:02:00")
}

// A host whose clock runs ahead is believed five minutes, or its next events would all seem late.
func TestClockInTheFutureIsClamped(t *testing.T) {
	d := newDriver(t)
	o := take(t, d.step(raw{host: "mx1", text: delivery(10*time.Hour, "mx1", "AAAAAA1", "a@x.example", sent)}))
	if len(o.clocks) != 1 || o.clocks[0].AtUs != noon.Add(5*time.Minute).UnixMicro() {
		t.Fatalf("clocks %v, want one, at 12:05", o.clocks)
	}
	o = take(t, d.step(raw{offset: 1, host: "mx1", text: delivery(0, "mx1", "AAAAAA2", "b@x.example", sent)}))
	if len(o.events) != 1 || o.events[0].Backfill {
		t.Errorf("events %v, want one that is not backfill", o.events)
	}
}

// Lateness is measured with the host's own clock, not with the others'.
func TestLateLinesAreBackfill(t *testing.T) {
	d := newDriver(t)
	offset := int64(0)
	backfill := func(host string, after time.Duration) bool {
		t.Helper()
		line := delivery(after, host, fmt.Sprint("AAAAAA", offset), "a@x.example", sent)
		o := take(t, d.step(raw{offset: offset, host: host, text: line, written: time.Hour}))
		offset++
		if len(o.events) != 1 {
			t.Fatalf("%d events of one line", len(o.events))
		}
		return o.events[0].Backfill
	}
	for _, tc := range []struct {
		host  string
		after time.Duration
		want  bool
	}{
		{"mx1", time.Hour, false},
		{"mx1", 50 * time.Minute, false}, // ten minutes
		{"mx1", 50*time.Minute - time.Second, true},
		{"mx1", -24 * time.Hour, true},
		{"mx2", -6 * time.Hour, false}, // a shipper that comes back after hours is in order by its own clock
		{"mx2", -6*time.Hour + time.Minute, false},
		{"mx2", -7 * time.Hour, true},
	} {
		if got := backfill(tc.host, tc.after); got != tc.want {
			t.Errorf("line of %s at %s: backfill is %v, want %v", tc.host, tc.after, got, tc.want)
		}
	}
}

// Imported lines are judged and counted; they neither alert nor move a clock. Their reference gives stamps a year.
func TestImportIsBackfillAndMovesNoClock(t *testing.T) {
	d := newDriver(t)
	line := "Mar  3 10:00:00 mx1 postfix/smtp[9]: AAAAAA1: to=<a@x.example>, relay=mx[192.0.2.7]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=" + sent
	reference := fmt.Sprint(time.Date(2019, 3, 4, 0, 0, 0, 0, time.UTC).UnixMilli())
	o := take(t, d.step(raw{host: "mx1", text: line, headers: []broker.Header{
		{Key: HeaderImport, Value: []byte("1")}, {Key: HeaderReference, Value: []byte(reference)},
	}}))
	if len(o.events) != 1 || !o.events[0].Backfill || o.events[0].OccurredAtUs != time.Date(2019, 3, 3, 10, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("events %v, want one of 2019 that is backfill", o.events)
	}
	if len(o.clocks) != 0 || len(d.m.hosts) != 0 {
		t.Errorf("clocks %v, hosts %v; want none", o.clocks, d.m.hosts)
	}
	// Without the headers the same words are of this year and move the clock.
	o = take(t, d.step(raw{offset: 1, host: "mx1", text: strings.Replace(line, "AAAAAA1", "AAAAAA2", 1)}))
	if len(o.events) != 1 || o.events[0].Backfill || time.UnixMicro(o.events[0].OccurredAtUs).UTC().Year() != 2026 || len(o.clocks) != 1 {
		t.Errorf("live: events %v, clocks %v", o.events, o.clocks)
	}
}

// What a shipper sends again is dropped and counted, also over a restart. Lines that only look alike are not.
func TestRepeatedDeliveryLinesAreDropped(t *testing.T) {
	d := newDriver(t)
	a := delivery(0, "mx1", "AAAAAA1", "a@x.example", sent)
	b := delivery(0, "mx1", "AAAAAA1", "b@x.example", sent)
	later := delivery(time.Second, "mx1", "AAAAAA1", "a@x.example", sent)
	for i, tc := range []struct {
		host, text string
		events     int
		repeated   int64
	}{
		{"mx1", a + "\n" + a, 1, 1},
		{"mx1", b + "\n" + a, 1, 2},
		{"mx1", later, 1, 2},
		{"mx2", a, 1, 2}, // through another carrier it may be another host of that name
		{"mx1", a + "\r\n" + b + "\n\n" + later + "\n", 0, 5},
	} {
		o := take(t, d.step(raw{offset: int64(i), host: tc.host, text: tc.text}))
		if len(o.events) != tc.events || d.lines("repeated") != tc.repeated {
			t.Errorf("record %d: %d events, %d repeated lines; want %d, %d", i, len(o.events), d.lines("repeated"), tc.events, tc.repeated)
		}
		d.restart()
	}
}

// The memory against repeats is bounded, and forgets the oldest first, also after it was saved.
func TestRecentLinesForgetTheOldest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 5
		set := newRecentLines(limit)
		var kept []uint64 // oldest first
		for range rapid.IntRange(0, 40).Draw(t, "lines") {
			h := rapid.Uint64Range(0, 12).Draw(t, "line")
			fresh := !slices.Contains(kept, h)
			if got := set.add(h); got != fresh {
				t.Fatalf("add(%d) = %v, with %v remembered", h, got, kept)
			}
			if fresh {
				kept = append(kept, h)
				kept = kept[max(0, len(kept)-limit):]
			}
			if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
				b := set.appendState(nil)
				set = newRecentLines(limit)
				in := state.NewReader(append(b, 'x'))
				set.loadState(in)
				if in.Err() != nil || string(in.Rest()) != "x" {
					t.Fatalf("rest %q, err %v", in.Rest(), in.Err())
				}
			}
			if len(set.set) != len(kept) || len(set.ring) != len(kept) {
				t.Fatalf("%d and %d lines remembered, want %d", len(set.set), len(set.ring), len(kept))
			}
		}
	})
}

// What cannot be read is counted and kept for people, with the reason and its place, and takes nothing else with it.
func TestUnreadableLinesGoToTheDeadLetter(t *testing.T) {
	d := newDriver(t)
	good := delivery(0, "mx1", "AAAAAA1", "a@x.example", sent)
	garbage := "\xff\x00 no log line"
	cut := delivery(0, "mx1", "AAAAAA2", "b@x.example", sent)
	cut = cut[:strings.Index(cut, ", delays")]
	noAddress := delivery(0, "mx1", "AAAAAA3", "@", sent)
	o := take(t, d.step(raw{offset: 7, host: "mx1", text: strings.Join([]string{garbage, good, cut, noAddress, "", good + "x"}, "\r\n")}))
	if len(o.events) != 2 || o.events[0].Recipient != "a@x.example" {
		t.Errorf("%d events beside the garbage, want 2", len(o.events))
	}
	type dead struct {
		reason, value string
		index         uint32
	}
	want := []dead{{"frame", garbage, 0}, {"cut", cut, 2}, {"recipient: ", noAddress, 2}}
	if len(o.dead) != len(want) {
		t.Fatalf("dead letters %v, want %d", o.dead, len(want))
	}
	for i, w := range want {
		g := o.dead[i]
		if g.Stage != "ingest" || g.Topic != "mta.raw" || g.Partition != 2 || g.Offset != 7 || g.Index != w.index ||
			!strings.HasPrefix(g.Reason, w.reason) || !strings.Contains(string(g.Value), w.value) {
			t.Errorf("dead letter %v\nwant %q at index %d with %q", g, w.reason, w.index, w.value)
		}
	}
	if n := d.lines("unparsed"); n != 2 {
		t.Errorf("%d lines counted as unparsed, want 2", n)
	}
}

// A record may hold several lines, with either line end; every line is counted once.
func TestSeveralLinesInARecord(t *testing.T) {
	qmgr := stamp(0) + " mx1 postfix/qmgr[1]: AAAAAA1: from=<s@y.example>, size=9, nrcpt=2 (queue active)"
	a, b := delivery(0, "mx1", "AAAAAA1", "a@x.example", sent), delivery(0, "mx1", "AAAAAA1", "b@x.example", sent)
	removed := stamp(0) + " mx1 postfix/qmgr[1]: AAAAAA1: removed"
	var first output
	for _, end := range []string{"\n", "\r\n"} {
		for _, tail := range []string{"", end, end + end} {
			d := newDriver(t)
			o := take(t, d.step(raw{host: "mx1", text: strings.Join([]string{qmgr, a, b, removed}, end) + tail}))
			if len(o.events) != 2 || len(o.dead) != 0 || o.events[1].Sender != "s@y.example" || o.events[1].Recipient != "b@x.example" {
				t.Fatalf("line end %q, tail %q: events %v, dead letters %v", end, tail, o.events, o.dead)
			}
			if n := d.lines("event") + d.lines("state") + d.lines("noise"); n != 4 {
				t.Errorf("line end %q, tail %q: %d lines counted, want 4", end, tail, n)
			}
			if first.events == nil {
				first = o
			}
			if o.events[0].String() != first.events[0].String() {
				t.Errorf("line end %q, tail %q: event %v, want %v", end, tail, o.events[0], first.events[0])
			}
		}
	}
}

// The table of hosts is bounded; the one that was silent longest makes room.
func TestHostTableIsBounded(t *testing.T) {
	d := newDriver(t)
	for i := range maxHosts {
		d.m.hosts[fmt.Sprint("h", i)] = hostState{seenMs: noon.UnixMilli() + int64(i)}
	}
	d.step(raw{host: "new", text: delivery(time.Hour, "new", "AAAAAA1", "a@x.example", sent), written: time.Hour})
	_, oldest := d.m.hosts["h0"]
	_, second := d.m.hosts["h1"]
	_, newest := d.m.hosts["new"]
	if len(d.m.hosts) != maxHosts || oldest || !second || !newest {
		t.Errorf("%d hosts; silent longest kept %v, next %v, new one %v", len(d.m.hosts), oldest, second, newest)
	}
}

func TestStateThatIsCutIsRefused(t *testing.T) {
	d := newDriver(t)
	d.step(raw{host: "mx1", text: delivery(0, "mx1", "AAAAAA1", "a@x.example", "deferred (x)")})
	state := d.m.AppendState(nil)
	for i := range state {
		d.fresh()
		if err := d.m.LoadState(state[:i]); err == nil {
			t.Errorf("%d of %d bytes were loaded", i, len(state))
		}
	}
}

func TestTopicOutsideTheEpochIsRefused(t *testing.T) {
	d := newDriver(t)
	if _, err := newMachine(DefaultConfig(), testGenesis, address.Keyer{}, "mta.unknown", 0, d.count); err == nil {
		t.Error("a topic that has no number in this epoch was taken: its event ids would be another topic's")
	}
}

// The envelope that is written by hand is the one that the generated code writes.
func TestEnvelopeIsWhatTheGeneratedCodeWrites(t *testing.T) {
	for _, n := range []int{0, 1, 100, 127, 128, 16_383, 16_384, 1 << 18} {
		ev := &schema.DeliveryEvent{Text: strings.Repeat("x", n), EventId: "e1.0.0.0.0"}
		inner, err1 := ev.MarshalVT()
		want, err2 := (&schema.Envelope{Kind: &schema.Envelope_Event{Event: inner}}).MarshalVT()
		got := make([]byte, envelopeSize(ev))
		if err := errors.Join(err1, err2, marshalEnvelope(got, ev)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("an event with %d bytes of text: %d bytes, want %d; err %v", n, len(got), len(want), err)
		}
	}
}
