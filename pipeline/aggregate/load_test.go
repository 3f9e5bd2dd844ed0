package aggregate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// The rows that the merge gives are the same whatever repeats on mail.cells, and wherever it restarts.
func TestRepeatedCellRecordsDoNotChangeTheRows(t *testing.T) {
	count := noCounters(t)
	type row struct {
		key      string
		openedAt int64
		events   int64
	}
	rapid.Check(t, func(t *rapid.T) {
		// Two sources, each with cells that grow and progress now and then.
		var streams [2][]*schema.CellRecord
		want := map[string]int64{} // events by source cell
		for s := range streams {
			for o := range rapid.IntRange(1, 10).Draw(t, "closes") {
				rec := &schema.CellRecord{Epoch: "1", SourcePartition: int32(s), SourceOffset: int64(o)}
				if rapid.IntRange(0, 3).Draw(t, "progress") == 0 {
					rec.WatermarkUs = startUs + int64(o)*minuteUs
				} else {
					rec.Cell = &schema.Cell{Minute: startUs/minuteUs + int64(o/4), Provider: "apple", OpenedAt: int64(o / 4), Events: int64(1 + o)}
					want[fmt.Sprint(s, rec.Cell.Minute)] = rec.Cell.Events
				}
				streams[s] = append(streams[s], rec)
			}
		}
		var log []*schema.CellRecord
		orders := [2][]int{emission(t, len(streams[0]), 2), emission(t, len(streams[1]), 2)}
		for len(orders[0])+len(orders[1]) > 0 {
			s := rapid.IntRange(0, 1).Draw(t, "source")
			if len(orders[s]) == 0 {
				s = 1 - s
			}
			log = append(log, streams[s][orders[s][0]])
			orders[s] = orders[s][1:]
		}

		m := newMerger(0, testGenesis, count)
		rows := map[row]int64{} // version; the highest of a row counts
		var out fold.Outbox
		for i, rec := range log {
			value, err := rec.MarshalVT()
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Step(&broker.Record{Offset: int64(i), Value: value}, &out); err != nil {
				t.Fatal(err)
			}
			for j := range value {
				value[j] = 0xaa
			}
			if rapid.IntRange(0, 3).Draw(t, "written") == 0 {
				m.merge.Drain(func(c *schema.Cell, version int64) {
					rows[row{fmt.Sprint(c.Provider, c.Minute), c.OpenedAt, c.Events}] = version
				})
			}
			if rapid.IntRange(0, 4).Draw(t, "restart") == 0 {
				state := m.AppendState(nil)
				m = newMerger(0, testGenesis, count)
				if err := m.LoadState(state); err != nil || !bytes.Equal(m.AppendState(nil), state) {
					t.Fatalf("restored state differs, err %v", err)
				}
			}
		}
		m.merge.Drain(func(c *schema.Cell, version int64) {
			rows[row{fmt.Sprint(c.Provider, c.Minute), c.OpenedAt, c.Events}] = version
		})
		if len(out.Messages) != 0 {
			t.Fatalf("sent %v", out.Messages)
		}
		type rowID struct {
			key      string
			openedAt int64
		}
		last := map[rowID]row{}
		for r, version := range rows {
			id := rowID{r.key, r.openedAt}
			if old, ok := last[id]; !ok || rows[old] < version {
				last[id] = r
			}
		}
		var got, sum int64
		for _, r := range last {
			got += r.events
		}
		for _, n := range want {
			sum += n
		}
		if got != sum {
			t.Fatalf("the rows count %d events, want %d: %v", got, sum, last)
		}
	})
}

func TestCellRecordThatCannotBeReadGoesToTheDeadLetter(t *testing.T) {
	count, read := gauge(t)
	m := newMerger(2, testGenesis, count)
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: 7, Value: []byte("\xff\xff")}, &out); err != nil {
		t.Fatal(err)
	}
	var dead schema.DeadLetter
	if len(out.Messages) != 1 || out.Messages[0].Topic != schema.TopicDeadLetter || dead.UnmarshalVT(out.Messages[0].Value) != nil {
		t.Fatalf("sent %v", out.Messages)
	}
	if dead.Stage != "cells" || dead.Topic != schema.TopicCells || dead.Partition != 2 || dead.Offset != 7 || read("carom.aggregate.poison") != 1 {
		t.Errorf("dead letter %v, %d counted", &dead, read("carom.aggregate.poison"))
	}
}

// A loader keeps its rows until they are written, and nothing of the records that they came from.
func TestLoaderKeepsRowsUntilTheyAreWritten(t *testing.T) {
	down := errors.New("the warehouse is down")
	var calls [][]string
	var tokens []string
	fail := true
	l := &loader[warehouse.FailureRow]{
		topic: schema.TopicClassified, partition: 3, count: noCounters(t), decode: decodeFailure,
		insert: func(_ context.Context, rows []warehouse.FailureRow, token string) error {
			var ids []string
			for _, r := range rows {
				ids = append(ids, r.Event.EventId+" "+r.Verdict.Class+" "+string(r.Event.RecipientKey))
			}
			calls, tokens = append(calls, ids), append(tokens, token)
			if fail {
				return down
			}
			return nil
		},
	}
	var out fold.Outbox
	for i, outcome := range []schema.Outcome{schema.Outcome_BOUNCED, schema.Outcome_DELIVERED, schema.Outcome_DEFERRED} {
		ev, v := event(i, &schema.RawPosition{Topic: "mta.raw", Offset: int64(i)}, startUs, outcome)
		value := encodeEvent(t, ev, v)
		if err := l.Step(&broker.Record{Offset: int64(10 + i), Value: value}, &out); err != nil {
			t.Fatal(err)
		}
		for j := range value {
			value[j] = 0xaa
		}
	}
	for i, value := range [][]byte{encodeTick(t, startUs), encodeClock(t, "mx1", &schema.RawPosition{}, startUs, 0), encodeControl(t, genesisRecord(0))} {
		if err := l.Step(&broker.Record{Offset: int64(13 + i), Value: value}, &out); err != nil {
			t.Fatal(err)
		}
	}
	b := fold.Batch{Topic: schema.TopicClassified, Partition: 3, From: 10, To: 16, Outbox: &out}
	if err := l.publish(t.Context(), nil, b); !errors.Is(err, down) {
		t.Fatalf("err = %v", err)
	}
	fail = false
	for range 2 { // the second time there is nothing left
		if err := l.publish(t.Context(), nil, b); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"1.0.0.0.0 recipient.unknown r0@x.example", "1.0.0.2.0 recipient.unknown r2@x.example"}
	if len(calls) != 2 || !slices.Equal(calls[0], want) || !slices.Equal(calls[1], want) || tokens[0] != "mail.classified/3/10" || tokens[1] != tokens[0] {
		t.Errorf("inserts %q under tokens %q, want %q twice under one token", calls, tokens, want)
	}
	if len(out.Messages) != 0 {
		t.Errorf("sent %v", out.Messages)
	}
}

// What is no failure never reaches the table of failures: deliveries and engagement. What mail tells a second time does.
func TestFailuresHoldFailuresOnly(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	for outcome := range schema.Outcome_name {
		ev, _ := event(1, &schema.RawPosition{Topic: "mta.raw"}, startUs, schema.Outcome(outcome))
		ev.Joined = ev.Outcome == schema.Outcome_ASYNC_BOUNCE
		v := &schema.Verdict{}
		set.Classify(&rules.Input{Outcome: ev.Outcome, Text: "550 5.1.1 user unknown", Domain: ev.Domain}, v)
		row, wanted, err := decodeFailure(encodeEvent(t, ev, v))
		if err != nil {
			t.Fatal(err)
		}
		success := ev.Outcome == schema.Outcome_DELIVERED || ev.Outcome == schema.Outcome_OPENED || ev.Outcome == schema.Outcome_CLICKED
		if wanted == success || wanted && row.Event.Joined != ev.Joined {
			t.Errorf("%s: a row is %v, %v", ev.Outcome.Name(), wanted, row.Event)
		}
	}
}

func TestLoaderSendsWhatItCannotReadToTheDeadLetter(t *testing.T) {
	count, read := gauge(t)
	bad := [][]byte{
		[]byte("\xff\xff"),
		encodeEvent(t, &schema.DeliveryEvent{}, nil),
		encode(t, &schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{
			Event: []byte("\xff\xff"), Verdict: &schema.Verdict{Class: "recipient.unknown"},
		}}}),
	}
	var out fold.Outbox
	failures := &loader[warehouse.FailureRow]{topic: schema.TopicClassified, count: count, decode: decodeFailure}
	for _, b := range bad {
		if err := failures.Step(&broker.Record{Value: b}, &out); err != nil {
			t.Fatal(err)
		}
	}
	decisions := &loader[*schema.Decision]{topic: schema.TopicDecisions, count: count, decode: decodeDecision}
	incidents := &loader[*schema.Incident]{topic: schema.TopicIncidents, count: count, decode: decodeIncident}
	for _, l := range []fold.Machine{decisions, incidents} {
		if err := l.Step(&broker.Record{Offset: 9, Value: bad[0]}, &out); err != nil {
			t.Fatal(err)
		}
	}
	if n := read("carom.aggregate.poison"); len(out.Messages) != 5 || n != 5 || len(failures.rows)+len(decisions.rows)+len(incidents.rows) != 0 {
		t.Errorf("%d dead letters, %d counted; want 5 and no rows", len(out.Messages), n)
	}
	var dead schema.DeadLetter
	if err := dead.UnmarshalVT(out.Messages[4].Value); err != nil || dead.Topic != schema.TopicIncidents || dead.Offset != 9 {
		t.Errorf("dead letter %v, err %v", &dead, err)
	}
}
