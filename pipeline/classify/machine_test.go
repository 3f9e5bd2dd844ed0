package classify

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/fold"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

type fatal interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func newTestMachine(t fatal, set *rules.Set) (*machine, *sdkmetric.ManualReader) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	count, err := newCounters(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	return &machine{partition: 5, rules: set, count: count}, reader
}

// loadOnce spares the tests the rule set's own check of its samples.
var loadOnce = sync.OnceValues(rules.Load)

func load(t fatal) *rules.Set {
	t.Helper()
	set, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// step folds one record of mail.events and returns what it sends.
func step(t fatal, m *machine, value []byte) broker.Message {
	t.Helper()
	var out fold.Outbox
	if err := m.Step(&broker.Record{Offset: 11, Key: []byte("key"), Value: value}, &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Messages) != 1 {
		t.Fatalf("%d messages for one record", len(out.Messages))
	}
	return out.Messages[0]
}

func marshal(t fatal, e *schema.Envelope) []byte {
	t.Helper()
	b, err := e.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eventRecord(t fatal, ev *schema.DeliveryEvent) (inner, value []byte) {
	t.Helper()
	inner, err := ev.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return inner, marshal(t, &schema.Envelope{Kind: &schema.Envelope_Event{Event: inner}})
}

func classified(t fatal, m broker.Message) *schema.ClassifiedEvent {
	t.Helper()
	if m.Topic != schema.TopicClassified || m.Partition != 5 || string(m.Key) != "key" {
		t.Fatalf("sent to %s/%d under key %q, want %s/5 under the record's key", m.Topic, m.Partition, m.Key, schema.TopicClassified)
	}
	var env schema.Envelope
	if err := env.UnmarshalVT(m.Value); err != nil || env.GetClassified() == nil {
		t.Fatalf("sent %v, err %v", &env, err)
	}
	return env.GetClassified()
}

func delivered() *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		EventId: "1", Outcome: schema.Outcome_DELIVERED, SmtpCode: 250, Text: "250 2.0.0 ok", Phase: schema.Phase_EOM, Origin: schema.Origin_REMOTE_REPLY,
		Domain: "x.example", RemoteHost: "mx.x.example", Mta: "postfix",
	}
}

func unknownUser() *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		EventId: "2", Outcome: schema.Outcome_BOUNCED, SmtpCode: 550, EnhancedCode: "5.1.1", EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
		Text: "550 5.1.1 <a@x.example>: Recipient address rejected: User unknown", Phase: schema.Phase_RCPT, Origin: schema.Origin_REMOTE_REPLY,
		Domain: "x.example", RemoteHost: "mx.x.example", Mta: "postfix",
	}
}

func expired() *schema.DeliveryEvent {
	u := unknownUser()
	return &schema.DeliveryEvent{
		EventId: "3", Outcome: schema.Outcome_EXPIRED, Text: "expired", Phase: schema.Phase_QUEUE, Origin: schema.Origin_LOCAL_MTA, Domain: "x.example", Mta: "postfix",
		Cause: &schema.Cause{
			SmtpCode: u.SmtpCode, EnhancedCode: u.EnhancedCode, EnhancedSource: u.EnhancedSource, Text: u.Text, Phase: u.Phase, Origin: u.Origin, RemoteHost: u.RemoteHost,
		},
	}
}

// person is what somebody did with a message.
func person(o schema.Outcome) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{EventId: "4", Outcome: o, Domain: "x.example", Mta: "ses", Feed: "eu", FeedEventId: "f"}
}

// An event gets its verdict and is passed on byte by byte, fields that this version does not know included.
func TestEventPassesUnchangedWithItsVerdict(t *testing.T) {
	m, _ := newTestMachine(t, load(t))
	for _, tc := range []struct {
		ev           *schema.DeliveryEvent
		class, cause string
	}{
		{delivered(), "", ""},
		{unknownUser(), "recipient.unknown", ""},
		{expired(), "queue.expired", "recipient.unknown"},
		{person(schema.Outcome_OPENED), "", ""},
		{person(schema.Outcome_CLICKED), "", ""},
		{person(schema.Outcome_UNSUBSCRIBED), "notice.unsubscribe", ""},
		{person(schema.Outcome_COMPLAINT), "notice.complaint", ""},
	} {
		inner, _ := eventRecord(t, tc.ev)
		inner = append(inner, 0xfa, 0x3e, 3, 'n', 'e', 'w') // field 1007, of a later version
		got := classified(t, step(t, m, marshal(t, &schema.Envelope{Kind: &schema.Envelope_Event{Event: inner}})))
		if !bytes.Equal(got.Event, inner) {
			t.Errorf("%s: the event's bytes have changed", tc.ev.Outcome.Name())
		}
		if got.Verdict.Class != tc.class || got.Verdict.CauseClass != tc.cause || got.Verdict.Provider == "" {
			t.Errorf("%s: verdict %v, want class %q, cause %q", tc.ev.Outcome.Name(), got.Verdict, tc.class, tc.cause)
		}
		if got.Verdict.Class != "" && got.Verdict.Ruleset != m.rules.Version() {
			t.Errorf("%s: rule set %q, want %q", tc.ev.Outcome.Name(), got.Verdict.Ruleset, m.rules.Version())
		}
	}
}

// A verdict depends on its own event and on none before.
func TestVerdictDependsOnItsEventAlone(t *testing.T) {
	set := load(t)
	used, _ := newTestMachine(t, set)
	events := []*schema.DeliveryEvent{
		delivered(), unknownUser(), expired(),
		{Outcome: schema.Outcome_DEFERRED, Origin: schema.Origin_LOCAL_MTA, Phase: schema.Phase_CONNECT, Text: "connect to mx.x.example[192.0.2.7]:25: Connection timed out", Mta: "postfix"},
		{Outcome: schema.Outcome_EXPIRED, Text: "expired", Phase: schema.Phase_QUEUE, Origin: schema.Origin_LOCAL_MTA},
		{},
	}
	alone := make([]*schema.Verdict, len(events))
	for i, ev := range events {
		m, _ := newTestMachine(t, set)
		_, value := eventRecord(t, ev)
		alone[i] = classified(t, step(t, m, value)).Verdict
	}
	rapid.Check(t, func(t *rapid.T) {
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(events)-1), 1, 8).Draw(t, "events") {
			_, value := eventRecord(t, events[i])
			if got := classified(t, step(t, used, value)).Verdict; !proto.Equal(got, alone[i]) {
				t.Fatalf("event %d: verdict %v after others, %v alone", i, got, alone[i])
			}
		}
	})
}

// Clocks, control records and ticks keep their place between the events, and every byte.
func TestEverythingElsePassesUnchangedInPlace(t *testing.T) {
	m, _ := newTestMachine(t, load(t))
	_, event := eventRecord(t, unknownUser())
	values := [][]byte{
		event,
		marshal(t, &schema.Envelope{Kind: &schema.Envelope_Clock{Clock: &schema.HostClock{Host: "mx1", AtUs: 60_000_000}}}),
		event,
		append(marshal(t, &schema.Envelope{Kind: &schema.Envelope_Control{Control: &schema.Control{
			Seq: 3, Body: &schema.Control_Leader{Leader: &schema.Term{Leader: "a"}},
		}}}), 0xfa, 0x3e, 1, 'x'),
		marshal(t, &schema.Envelope{Kind: &schema.Envelope_Control{Control: &schema.Control{Seq: 4}}}),
		marshal(t, &schema.Envelope{Kind: &schema.Envelope_Tick{Tick: &schema.Tick{AtUs: 1}}}),
	}
	var out fold.Outbox
	for i, v := range values {
		if err := m.Step(&broker.Record{Offset: int64(i), Key: []byte{byte(i)}, Value: v}, &out); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.Messages) != len(values) {
		t.Fatalf("%d messages for %d records", len(out.Messages), len(values))
	}
	for i, got := range out.Messages {
		if got.Topic != schema.TopicClassified || got.Partition != 5 || !bytes.Equal(got.Key, []byte{byte(i)}) {
			t.Errorf("record %d went to %s/%d under key %q", i, got.Topic, got.Partition, got.Key)
		}
		if isEvent := bytes.Equal(values[i], event); bytes.Equal(got.Value, values[i]) == isEvent {
			t.Errorf("record %d: passed on unchanged is %v, event is %v", i, !isEvent, isEvent)
		}
	}
}

func TestRecordsThatCannotBeReadGoToTheDeadLetter(t *testing.T) {
	for _, tc := range []struct {
		name   string
		value  []byte
		reason string
	}{
		{"garbage", []byte("\xff\xff garbage"), "envelope: "},
		{"empty", nil, "envelope of no known kind"},
		{"of the stage behind", marshal(t, &schema.Envelope{Kind: &schema.Envelope_Classified{Classified: &schema.ClassifiedEvent{}}}), "envelope of no known kind"},
		{"garbage for an event", marshal(t, &schema.Envelope{Kind: &schema.Envelope_Event{Event: []byte("\xff\xff")}}), "event: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, reader := newTestMachine(t, load(t))
			got := step(t, m, tc.value)
			var dead schema.DeadLetter
			if err := dead.UnmarshalVT(got.Value); err != nil || got.Topic != schema.TopicDeadLetter {
				t.Fatalf("sent to %s, err %v", got.Topic, err)
			}
			if dead.Stage != "classify" || dead.Topic != schema.TopicEvents || dead.Partition != 5 || dead.Offset != 11 ||
				!strings.HasPrefix(dead.Reason, tc.reason) || !bytes.Equal(dead.Value, tc.value) {
				t.Errorf("dead letter %v", &dead)
			}
			if n := total(t, reader, "carom.classify.poison"); n != 1 {
				t.Errorf("%d counted, want 1", n)
			}
			_, event := eventRecord(t, unknownUser())
			if v := classified(t, step(t, m, event)).Verdict; v.Class != "recipient.unknown" {
				t.Errorf("the event after it gets %v", v)
			}
			if n := total(t, reader, "carom.classify.verdicts"); n != 1 {
				t.Errorf("%d verdicts counted, want 1", n)
			}
		})
	}
}

func total(t *testing.T, reader *sdkmetric.ManualReader, name string) (n int64) {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if data, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == name {
				for _, p := range data.DataPoints {
					n += p.Value
				}
			}
		}
	}
	return n
}
