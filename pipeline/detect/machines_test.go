package detect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/alert"
	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/schema"
)

type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

// step folds one record, spoils its bytes as the next fetch does, and returns what is sent.
func step(t fatal, m fold.Machine, offset int64, msg interface{ MarshalVT() ([]byte, error) }) []broker.Message {
	t.Helper()
	value, err := msg.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: offset, Value: value}, &out); err != nil {
		t.Fatal(err)
	}
	for i := range value {
		value[i] = 0xaa
	}
	return out.Messages
}

func leaderRecord(name string) *schema.Control {
	return &schema.Control{Body: &schema.Control_Leader{Leader: &schema.Term{Leader: name}}}
}

func allClear(term, through int64) *schema.Control {
	return &schema.Control{Term: term, Body: &schema.Control_AllClear{AllClear: &schema.AllClear{ThroughUs: through}}}
}

func incidentRecord(term int64, id string, revision uint32, state schema.IncidentState) *schema.Control {
	return &schema.Control{Term: term, Body: &schema.Control_Incident{Incident: revisionOf(id, revision, state)}}
}

func revisionOf(id string, revision uint32, state schema.IncidentState) *schema.Incident {
	return &schema.Incident{Id: id, Revision: revision, State: state, Provider: "apple", Class: "recipient.unknown", Severity: "page", UpdatedUs: int64(revision)}
}

// Every control record reaches every partition, in order and with its number; incidents go to their topic too.
func TestRelayCopiesInOrderToEveryPartition(t *testing.T) {
	m := &relay{partitions: 3}
	records := []*schema.Control{
		{Body: &schema.Control_Genesis{Genesis: &schema.Genesis{Epoch: "1"}}},
		leaderRecord("a"), incidentRecord(1, "i1", 1, schema.IncidentState_OPEN), allClear(1, 60),
		incidentRecord(1, "i1", 2, schema.IncidentState_RESOLVED),
	}
	var seqs [3][]int64
	var incidents []string
	for i, c := range records {
		for _, msg := range step(t, m, int64(i), c) {
			if msg.Topic == schema.TopicIncidents {
				var in schema.Incident
				if err := in.UnmarshalVT(msg.Value); err != nil || msg.Partition != 0 || string(msg.Key) != in.Id {
					t.Fatalf("incident %v in partition %d under key %q, err %v", &in, msg.Partition, msg.Key, err)
				}
				incidents = append(incidents, fmt.Sprint(in.Id, " ", in.Revision))
				continue
			}
			var env schema.Envelope
			if err := env.UnmarshalVT(msg.Value); err != nil || msg.Topic != schema.TopicEvents {
				t.Fatalf("sent to %s, err %v", msg.Topic, err)
			}
			got := env.GetControl()
			want := records[i].CloneVT()
			want.Seq = int64(i)
			if !proto.Equal(got, want) {
				t.Errorf("record %d arrives as %v", i, got)
			}
			seqs[msg.Partition] = append(seqs[msg.Partition], got.Seq)
		}
	}
	for p, s := range seqs {
		if fmt.Sprint(s) != "[0 1 2 3 4]" {
			t.Errorf("partition %d got records %v", p, s)
		}
	}
	if fmt.Sprint(incidents) != "[i1 1 i1 2]" {
		t.Errorf("incidents %v", incidents)
	}
}

// mail.control is kept for ever: a record that cannot be read would stop every fold of it for ever. Its number goes on,
// without content, so that nobody looks for it.
func TestRelayGoesOnBehindARecordThatCannotBeRead(t *testing.T) {
	m := &relay{partitions: 2}
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: 7, Value: []byte("\xff\xff")}, &out); err != nil {
		t.Fatal(err)
	}
	var dead schema.DeadLetter
	if len(out.Messages) != 3 || out.Messages[0].Topic != schema.TopicDeadLetter || dead.UnmarshalVT(out.Messages[0].Value) != nil {
		t.Fatalf("sent %v", out.Messages)
	}
	if dead.Stage != "relay" || dead.Topic != schema.TopicControl || dead.Offset != 7 || !strings.Contains(dead.Reason, "control record at offset 7") {
		t.Errorf("dead letter %v", &dead)
	}
	for p, msg := range out.Messages[1:] {
		var env schema.Envelope
		if err := env.UnmarshalVT(msg.Value); err != nil || msg.Partition != int32(p) || env.GetControl().GetSeq() != 7 || env.GetControl().GetBody() != nil {
			t.Errorf("partition %d got %v, err %v", msg.Partition, &env, err)
		}
	}
	v := newView()
	if err := v.Step(&broker.Record{Offset: 7, Value: []byte("\xff\xff")}, &out); err != nil {
		t.Errorf("view: %v", err)
	}
}

func TestViewFoldsTermsAndIgnoresFormerLeaders(t *testing.T) {
	v := newView()
	type view struct {
		term    int64
		leader  string
		through int64
		open    string
	}
	for i, tc := range []struct {
		record *schema.Control
		want   view
	}{
		{&schema.Control{Body: &schema.Control_Genesis{Genesis: &schema.Genesis{}}}, view{-1, "", 0, ""}},
		{leaderRecord("a"), view{1, "a", 0, ""}},
		{allClear(1, 60), view{1, "a", 60, ""}},
		{incidentRecord(1, "i1", 1, schema.IncidentState_OPEN), view{1, "a", 60, "i1.1"}},
		{leaderRecord("b"), view{4, "b", 60, "i1.1"}},
		{allClear(1, 120), view{4, "b", 60, "i1.1"}}, // by the former leader, that did not know yet
		{incidentRecord(1, "i1", 2, schema.IncidentState_RESOLVED), view{4, "b", 60, "i1.1"}},
		{incidentRecord(1, "i9", 1, schema.IncidentState_OPEN), view{4, "b", 60, "i1.1"}},
		{incidentRecord(4, "i0", 1, schema.IncidentState_OPEN), view{4, "b", 60, "i0.1 i1.1"}},
		{incidentRecord(4, "i1", 2, schema.IncidentState_UPDATED), view{4, "b", 60, "i0.1 i1.2"}},
		{allClear(4, 30), view{4, "b", 60, "i0.1 i1.2"}}, // it never goes back
		{incidentRecord(4, "i1", 3, schema.IncidentState_RESOLVED), view{4, "b", 60, "i0.1"}},
		{allClear(4, 180), view{4, "b", 180, "i0.1"}},
		{allClear(0, 240), view{4, "b", 240, "i0.1"}}, // of no term: by a person or a tool
	} {
		_, _, _, _, changed := v.state()
		if sent := step(t, v, int64(i), tc.record); len(sent) != 0 {
			t.Fatalf("record %d: the view sends %v", i, sent)
		}
		select {
		case <-changed:
		default:
			t.Errorf("record %d: nobody is told of the change", i)
		}
		var got view
		var open []*schema.Incident
		got.term, got.leader, got.through, open, _ = v.state()
		for _, in := range open {
			got.open = strings.TrimSpace(fmt.Sprintf("%s %s.%d", got.open, in.Id, in.Revision))
		}
		if got != tc.want {
			t.Errorf("record %d: view %+v, want %+v", i, got, tc.want)
		}
	}
}

// Saved and loaded anywhere, the view is that of the whole log; only the name of a leader, a process that is gone, is not.
func TestRestoredViewIsTheViewOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		straight, restarted := newView(), newView()
		term := int64(0)
		for i := range int64(rapid.IntRange(1, 30).Draw(t, "records")) {
			var c *schema.Control
			written := max(0, term-rapid.Int64Range(0, 2).Draw(t, "stale by"))
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				c, term = leaderRecord(fmt.Sprint("l", i)), i
			case 1:
				c = allClear(written, rapid.Int64Range(0, 1000).Draw(t, "through"))
			default:
				state := rapid.SampledFrom([]schema.IncidentState{schema.IncidentState_OPEN, schema.IncidentState_UPDATED, schema.IncidentState_RESOLVED}).Draw(t, "state")
				c = incidentRecord(written, fmt.Sprint("i", rapid.IntRange(0, 3).Draw(t, "id")), uint32(i), state)
			}
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				b := restarted.AppendState([]byte("before"))
				restarted = newView()
				if err := restarted.LoadState(b[len("before"):]); err != nil {
					t.Fatal(err)
				}
			}
			step(t, straight, i, c)
			step(t, restarted, i, c)
			if !bytes.Equal(straight.AppendState(nil), restarted.AppendState(nil)) {
				t.Fatalf("after record %d the restored view is another one", i)
			}
		}
	})
	if err := newView().LoadState([]byte("\xff\xff")); err == nil {
		t.Error("garbage was loaded")
	}
}

// receiver is a channel that takes a notification when it is told to.
type receiver struct {
	take chan struct{}
	got  chan string
}

func (r *receiver) Name() string { return "receiver" }

func (r *receiver) Send(ctx context.Context, n alert.Notification) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.take:
		r.got <- n.ID
		return nil
	}
}

func newReceiver() *receiver {
	return &receiver{take: make(chan struct{}, 10), got: make(chan string, 10)}
}

func newTestAlerts(t *testing.T, cfg alert.Config, r *receiver) *alerts {
	t.Helper()
	m, err := newAlerts(cfg, []alert.Channel{r}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func owed(m *alerts) (out []string) {
	for _, o := range m.dispatcher.Pending().Owed {
		out = append(out, fmt.Sprint(o.Channel, " ", o.Incident.Id, ".", o.Incident.Revision))
	}
	return out
}

// What a channel is owed survives a restart; what was acknowledged before the snapshot is not sent again, and what the log
// repeats is not owed twice.
func TestOwedAlertsSurviveARestart(t *testing.T) {
	r := newReceiver()
	m := newTestAlerts(t, alert.DefaultConfig(), r)
	first, second := revisionOf("i1", 1, schema.IncidentState_OPEN), revisionOf("i2", 1, schema.IncidentState_OPEN)
	step(t, m, 0, first)
	step(t, m, 1, second)
	restart := func() {
		t.Helper()
		b := m.AppendState([]byte("before"))
		m = newTestAlerts(t, alert.DefaultConfig(), r)
		if err := m.LoadState(b[len("before"):]); err != nil {
			t.Fatal(err)
		}
		if again := m.AppendState([]byte("before")); !bytes.Equal(again, b) {
			t.Fatal("a state that was saved, loaded and saved again is another one")
		}
	}
	deliver := func(want string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.run(ctx) }()
		before := len(owed(m))
		r.take <- struct{}{}
		select {
		case id := <-r.got:
			if id != want {
				t.Errorf("notification %s, want %s", id, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is delivered")
		}
		for deadline := time.Now().Add(20 * time.Second); len(owed(m)) == before; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("what was acknowledged is still owed")
			}
		}
		cancel()
		<-done
	}
	restart()
	if got := fmt.Sprint(owed(m)); got != "[receiver i1.1 receiver i2.1]" {
		t.Fatalf("owed after a restart: %s", got)
	}
	deliver("i1-r1-receiver")
	restart()
	step(t, m, 0, first) // the log again
	step(t, m, 1, second)
	if got := fmt.Sprint(owed(m)); got != "[receiver i2.1]" {
		t.Fatalf("owed after the log was read again: %s", got)
	}
	deliver("i2-r1-receiver")
	restart()
	step(t, m, 2, revisionOf("i1", 2, schema.IncidentState_RESOLVED))
	if got := fmt.Sprint(owed(m)); got != "[receiver i1.2]" {
		t.Errorf("owed after the resolution: %s", got)
	}
	if err := m.LoadState([]byte("\xff\xff")); err == nil {
		t.Error("garbage was loaded")
	}
}

// A channel that is owed too much makes the fold wait; no incident is passed over.
func TestFullChannelStopsTheFoldNotTheIncident(t *testing.T) {
	cfg := alert.DefaultConfig()
	cfg.MaxOwed = 1
	m := newTestAlerts(t, cfg, newReceiver())
	step(t, m, 0, revisionOf("i1", 1, schema.IncidentState_OPEN))
	value, err := revisionOf("i2", 1, schema.IncidentState_OPEN).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: 1, Value: value}, &out); !errors.Is(err, alert.ErrFull) {
		t.Errorf("err = %v, want ErrFull", err)
	}
}

func TestIncidentThatCannotBeReadGoesToTheDeadLetter(t *testing.T) {
	m := newTestAlerts(t, alert.DefaultConfig(), newReceiver())
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: 4, Value: []byte("\xff\xff")}, &out); err != nil {
		t.Fatal(err)
	}
	var dead schema.DeadLetter
	if len(out.Messages) != 1 || dead.UnmarshalVT(out.Messages[0].Value) != nil || dead.Topic != schema.TopicIncidents || dead.Offset != 4 || dead.Stage != "alerts" {
		t.Errorf("sent %v", out.Messages)
	}
	if len(owed(m)) != 0 {
		t.Errorf("owed %v", owed(m))
	}
}
