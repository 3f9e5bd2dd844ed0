package control_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/control"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/schema"
)

func open(t *testing.T) *broker.Client {
	t.Helper()
	b, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	cfg := broker.DefaultConfig()
	cfg.Brokers = b.Addr()
	c, err := broker.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.EnsureTopics(t.Context(), []broker.Topic{{Name: schema.TopicControl, Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	return c
}

// However many processes make the installation at once, and with whatever parameters, all of them and everybody later go
// by one genesis: the first.
func TestOneGenesisCounts(t *testing.T) {
	c := open(t)
	const makers = 5
	var wg sync.WaitGroup
	got := make([]*schema.Genesis, makers+1)
	waiter := make(chan error, 1)
	go func() { // a service that starts before there is a genesis
		var err error
		got[makers], err = control.WaitGenesis(t.Context(), c)
		waiter <- err
	}()
	for i := range makers {
		wg.Go(func() {
			p := control.DefaultParams()
			p.Epoch, p.EventPartitions = fmt.Sprint("e", i), 1+i
			var err error
			if got[i], err = control.EnsureGenesis(t.Context(), c, p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-waiter; err != nil || t.Failed() {
		t.Fatal(err)
	}
	for i, g := range got {
		if g.Epoch != got[0].Epoch || g.EventPartitions != got[0].EventPartitions {
			t.Errorf("process %d goes by epoch %s with %d partitions, process 0 by %s with %d", i, g.Epoch, g.EventPartitions, got[0].Epoch, got[0].EventPartitions)
		}
	}
	_, before, err := c.Offsets(t.Context(), schema.TopicControl, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := control.DefaultParams()
	p.Epoch = "later"
	g, err := control.EnsureGenesis(t.Context(), c, p)
	if err != nil || g.Epoch != got[0].Epoch {
		t.Errorf("later: epoch %v, err %v; want %s", g, err, got[0].Epoch)
	}
	if _, after, err := c.Offsets(t.Context(), schema.TopicControl, 0); err != nil || after != before {
		t.Errorf("a process that came later wrote: %d records, %d before, err %v", after, before, err)
	}
}

// The genesis says what the parameters say.
func TestGenesisCarriesTheParameters(t *testing.T) {
	p := control.Params{
		Epoch: "7", RawTopics: []string{"mta.b", "mta.a"}, RawPartitions: 2, EventPartitions: 3, CellPartitions: 5, Policy: "words",
		CellOpen: 3 * time.Minute, Observe: true, KeyID: "k1",
	}
	g, err := control.EnsureGenesis(t.Context(), open(t), p)
	if err != nil {
		t.Fatal(err)
	}
	if g.Epoch != "7" || fmt.Sprint(g.RawTopics) != "[mta.b mta.a]" || g.EventPartitions != 3 || g.CellPartitions != 5 || g.Policy != "words" ||
		g.CellOpenMs != 180_000 || !g.Observe || g.KeyId != "k1" {
		t.Errorf("genesis %v", g)
	}
}

// A record's number is its offset, whatever it was written with, and its content is read back by that number.
func TestRecordsAreReadByTheirNumber(t *testing.T) {
	c := open(t)
	for i := range 3 {
		rec := &schema.Control{Seq: 99, Term: int64(i), Body: &schema.Control_Leader{Leader: &schema.Term{Leader: fmt.Sprint("l", i)}}}
		if err := control.Append(t.Context(), c, rec); err != nil {
			t.Fatal(err)
		}
		if rec.AtMs == 0 {
			t.Error("the record has no time of writing")
		}
	}
	for _, seq := range []int64{2, 0, 1} {
		got, err := control.Read(t.Context(), c, seq)
		if err != nil || got.Seq != seq || got.GetLeader().GetLeader() != fmt.Sprint("l", seq) {
			t.Errorf("record %d: %v, err %v", seq, got, err)
		}
	}
	var oe *broker.OffsetError
	if _, err := control.Read(t.Context(), c, 17); !errors.As(err, &oe) {
		t.Errorf("a record that does not exist: err = %v, want an OffsetError", err)
	}
}

// A record that cannot be decoded has a number and no content, for everybody alike; the topic is kept for ever.
func TestUnreadableRecordHasNoContent(t *testing.T) {
	c := open(t)
	if err := c.Produce(t.Context(), []broker.Message{{Topic: schema.TopicControl, Value: []byte("\xff\xff")}}); err != nil {
		t.Fatal(err)
	}
	got, err := control.Read(t.Context(), c, 0)
	if err != nil || got.Seq != 0 || got.Body != nil {
		t.Errorf("read %v, err %v; want a record without a body", got, err)
	}
	got, err = control.Decode(&broker.Record{Offset: 5, Value: []byte("\xff\xff")})
	if err == nil || !strings.Contains(err.Error(), "offset 5") || got.GetSeq() != 5 || got.Body != nil {
		t.Errorf("decoded %v, err %v", got, err)
	}
	// As the first record it is no genesis.
	if _, err := control.WaitGenesis(t.Context(), c); err == nil {
		t.Error("an unreadable first record was taken for a genesis")
	}
}

func TestTopicOfSomebodyElseIsRefused(t *testing.T) {
	c := open(t)
	if err := control.Append(t.Context(), c, &schema.Control{Body: &schema.Control_Tick{Tick: &schema.Tick{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := control.EnsureGenesis(t.Context(), c, control.DefaultParams()); err == nil || !strings.Contains(err.Error(), "no genesis record") {
		t.Errorf("err = %v", err)
	}
}

func TestWaitingForTheGenesisEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := control.WaitGenesis(ctx, open(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
}

func TestParamsThatCannotWorkAreNamed(t *testing.T) {
	if err := control.DefaultParams().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want   string
		change func(*control.Params)
	}{
		{"epoch", func(p *control.Params) { p.Epoch = "" }},
		{"epoch", func(p *control.Params) { p.Epoch = strings.Repeat("x", 17) }},
		{"raw topics", func(p *control.Params) { p.RawTopics = nil }},
		{"raw partitions", func(p *control.Params) { p.RawPartitions = 0 }},
		{"event partitions", func(p *control.Params) { p.EventPartitions = 0 }},
		{"cell partitions", func(p *control.Params) { p.CellPartitions = 0 }},
		{"cell open time", func(p *control.Params) { p.CellOpen = time.Second }},
	} {
		p := control.DefaultParams()
		tc.change(&p)
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("err = %v, want one about %s", err, tc.want)
		}
	}
}

// What the folds rely on: classify writes partition p of mail.classified from partition p of mail.events, the order of
// control records and incidents needs one partition, and what the state cannot be rebuilt without is kept for ever.
func TestTopicsAreWhatTheFoldsRelyOn(t *testing.T) {
	p := control.DefaultParams()
	p.RawTopics, p.RawPartitions, p.EventPartitions, p.CellPartitions, p.Replicas = []string{"mta.a", "mta.b"}, 2, 6, 5, 3
	topics := map[string]broker.Topic{}
	for _, topic := range control.Topics(p) {
		topics[topic.Name] = topic
		if topic.Replicas != 3 {
			t.Errorf("%s has %d replicas, want 3", topic.Name, topic.Replicas)
		}
	}
	for name, want := range map[string]int{
		"mta.a": 2, "mta.b": 2, schema.TopicEvents: 6, schema.TopicClassified: 6, schema.TopicCells: 5, schema.TopicDecisions: 6,
		schema.TopicSuppressions: 6, schema.TopicIncidents: 1, schema.TopicControl: 1, schema.TopicDeadLetter: 1,
	} {
		if topics[name].Partitions != want {
			t.Errorf("%s has %d partitions, want %d", name, topics[name].Partitions, want)
		}
	}
	for _, name := range []string{schema.TopicControl, schema.TopicIncidents} {
		if c := topics[name].Config; c["retention.ms"] != "-1" || c["retention.bytes"] != "-1" || c["cleanup.policy"] != "delete" {
			t.Errorf("%s is not kept for ever: %v", name, c)
		}
	}
	// A shipper whose clock is a year ahead must not make all others look silent: the time of writing is the broker's.
	for _, name := range p.RawTopics {
		if got := topics[name].Config["message.timestamp.type"]; got != "LogAppendTime" {
			t.Errorf("%s takes its records' times from %q", name, got)
		}
	}
	for name, topic := range topics {
		if compacted := topic.Config["cleanup.policy"] == "compact"; compacted != (name == schema.TopicSuppressions) {
			t.Errorf("%s: compacted is %v", name, compacted)
		}
	}
}
