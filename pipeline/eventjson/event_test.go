package eventjson

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"carom.dev/carom/schema"
)

// expired is an event with every field that the contract names.
func expired() *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		EventId: "mail.log.0.17.1", OccurredAtUs: time.Date(2026, 11, 21, 8, 28, 19, 55_321_000, time.UTC).UnixMicro(),
		Mta: "postfix", MtaHost: "mx1", QueueId: "4D40BA28CB1", MessageId: "<1@example.com>", Sender: "news@example.com", HasSender: true,
		Recipient: "jane@example.net", OriginalRecipient: "vip@example.org", Tenant: "t1", Stream: "bulk", Attempt: 3,
		Outcome: schema.Outcome_EXPIRED, Final: true, SmtpCode: 450, EnhancedCode: "4.2.2", Text: "returned to sender",
		Phase: schema.Phase_QUEUE, Origin: schema.Origin_LOCAL_MTA, SourceIp: "192.0.2.1", RemoteHost: "mx.example.net", RemoteIp: "2001:db8::1", RemoteRecalled: true,
		DelayMs: 1200, HasDelay: true, Delays: &schema.Delays{BeforeQmgrMs: 10, InQmgrMs: 20, ConnectMs: 30, TransmitMs: 1140},
		EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
		Cause:          &schema.Cause{SmtpCode: 452, EnhancedCode: "4.2.2", Text: "452 4.2.2 full", Phase: schema.Phase_RCPT},
		Raw:            &schema.RawPosition{Topic: "mail.log", Partition: 2, Offset: 17, Index: 1, Line: "Nov 21 ..."},
		Backfill:       true, Campaign: "c1", Trust: schema.Trust_TRUST_KNOWN, ReportingMta: "mx.example.org",
		ForwardedTo: "jim@example.net", Joined: true, Machine: true, Orphan: true, Feed: "sg", FeedEventId: "e1",
	}
}

// The names and their order are a contract; this is its text.
func TestAppendWritesTheContractsNames(t *testing.T) {
	for _, tc := range []struct {
		name string
		ev   *schema.DeliveryEvent
		want string
	}{
		{"everything", expired(), `{"event_id":"mail.log.0.17.1","occurred_at":"2026-11-21T08:28:19.055321Z","mta":"postfix","mta_host":"mx1",` +
			`"queue_id":"4D40BA28CB1","message_id":"<1@example.com>","sender":"news@example.com","recipient":"jane@example.net",` +
			`"original_recipient":"vip@example.org","tenant":"t1","stream":"bulk","campaign":"c1","attempt":3,"outcome":"expired","final":true,` +
			`"smtp_code":450,"enhanced_code":"4.2.2","text":"returned to sender","phase":"queue","origin":"local_mta","source_ip":"192.0.2.1",` +
			`"remote_host":"mx.example.net","remote_ip":"2001:db8::1","remote_recalled":true,"delay_ms":1200,` +
			`"delays_ms":{"before_qmgr":10,"in_qmgr":20,"connect":30,"transmit":1140},"enhanced_source":"remote",` +
			`"cause":{"smtp_code":452,"enhanced_code":"4.2.2","text":"452 4.2.2 full","phase":"rcpt"},` +
			`"trust":"known","reporting_mta":"mx.example.org","forwarded_to":"jim@example.net","joined":true,"machine":true,"orphan":true,` +
			`"feed":"sg","feed_event_id":"e1",` +
			`"raw":{"topic":"mail.log","partition":2,"offset":17,"line":"Nov 21 ..."},"backfill":true}`},
		{
			"absent in the log is absent here",
			&schema.DeliveryEvent{EventId: "f.0.0.0", Mta: "postfix", MtaHost: "h", Recipient: "r@example.com", Outcome: schema.Outcome_DELIVERED, Sender: "not known"},
			`{"event_id":"f.0.0.0","occurred_at":"1970-01-01T00:00:00.000000Z","mta":"postfix","mta_host":"h","recipient":"r@example.com",` +
				`"outcome":"delivered","final":false,"raw":{"topic":"","partition":0,"offset":0},"backfill":false}`,
		},
		{
			"null sender, delay zero, cause without anything",
			&schema.DeliveryEvent{HasSender: true, HasDelay: true, Delays: &schema.Delays{}, Cause: &schema.Cause{}, EnhancedSource: schema.EnhancedSource_ENHANCED_NONE},
			`{"event_id":"","occurred_at":"1970-01-01T00:00:00.000000Z","mta":"","mta_host":"","sender":"","recipient":"","outcome":"","final":false,` +
				`"delay_ms":0,"delays_ms":{"before_qmgr":0,"in_qmgr":0,"connect":0,"transmit":0},"enhanced_source":"none","cause":{},` +
				`"raw":{"topic":"","partition":0,"offset":0},"backfill":false}`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(Append(nil, tc.ev)); got != tc.want {
				t.Errorf("\ngot  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestEnumNamesAreThoseOfSchema(t *testing.T) {
	check := func(field string, table []string, names map[int32]string, name func(int32) string) {
		if len(table) != len(names) {
			t.Errorf("%s: %d names for %d values", field, len(table), len(names))
		}
		for n := range names {
			if int(n) >= len(table) || table[n] != name(n) {
				t.Errorf("%s: value %d is %q in schema and not here", field, n, name(n))
			}
		}
	}
	check("outcome", outcomeNames[:], schema.Outcome_name, func(n int32) string { return schema.Outcome(n).Name() })
	check("phase", phaseNames[:], schema.Phase_name, func(n int32) string { return schema.Phase(n).Name() })
	check("origin", originNames[:], schema.Origin_name, func(n int32) string { return schema.Origin(n).Name() })
	check("trust", trustNames[:], schema.Trust_name, func(n int32) string { return schema.Trust(n).Name() })
	check("enhanced_source", sourceNames[:], schema.EnhancedSource_name, func(n int32) string { return schema.EnhancedSource(n).Name() })
}

func TestAppendSurvivesValuesOfALaterSchema(t *testing.T) {
	ev := &schema.DeliveryEvent{Outcome: 99, Phase: -3, Origin: 77, EnhancedSource: 1 << 30, OccurredAtUs: -1 << 63}
	if b := Append(nil, ev); !json.Valid(b) || !bytes.Contains(b, []byte(`"occurred_at":"0001-01-01T00:00:00.000000Z"`)) {
		t.Errorf("%s", b)
	}
	ev.OccurredAtUs = 1<<63 - 1
	if b := Append(nil, ev); !bytes.Contains(b, []byte(`"occurred_at":"9999-12-31T23:59:59.999999Z"`)) {
		t.Errorf("%s", b)
	}
}

// Whatever bytes stand in a string, encoding/json reads the same text back, on one line, in UTF-8.
func TestHostileTextStaysText(t *testing.T) {
	texts := []string{
		"", `"`, `\`, `\"`, `"},{"event_id":"forged`, "a\nb\r\nc\td", "\x00\x01\x1b[31mred\x1b[0m\x7f", "\u2028\u2029", "\u202eevil\u2066", "\u0080\u009b31m\u009f\u00a0", "日本語 ü",
		"\xff\xfe", "cut \xe2\x82", "\xc0\xaf", "\xed\xa0\x80", "</script><!--", "💥", strings.Repeat("\x00", 100),
	}
	for c := range 256 {
		texts = append(texts, "a"+string([]byte{byte(c)})+"b")
	}
	for _, s := range texts {
		b := Append(nil, &schema.DeliveryEvent{Text: s, Recipient: "r", Outcome: 1})
		var o struct{ Text string }
		if err := json.Unmarshal(b, &o); err != nil {
			t.Fatalf("%q: %v in %s", s, err, b)
		}
		if want := oneByOne(s); o.Text != want {
			t.Errorf("%q came back as %q", s, o.Text)
		}
		if !utf8.Valid(b) || bytes.ContainsAny(b, "\n\r\x1b\x7f\u0080\u009b\u009f\u2028\u2029") {
			t.Errorf("%q is written as %q", s, b)
		}
	}
}

// oneByOne replaces every byte that is no UTF-8, as encoding/json does; strings.ToValidUTF8 replaces runs.
func oneByOne(s string) string { return string([]rune(s)) }

func TestEventsSurviveTheRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := anyEvent().Draw(t, "event")
		first := Append(nil, ev)
		if !json.Valid(first) {
			t.Fatalf("no JSON: %s", first)
		}
		read, err := ParseEvent(first)
		if err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		if second := Append(nil, read); !bytes.Equal(first, second) {
			t.Fatalf("\nwritten %s\nread    %s", first, second)
		}
	})
}

func anyEvent() *rapid.Generator[*schema.DeliveryEvent] {
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), rapid.Just(""))
	return rapid.Custom(func(t *rapid.T) *schema.DeliveryEvent {
		s := func(name string) string { return text.Draw(t, name) }
		ev := &schema.DeliveryEvent{
			EventId: s("id"), OccurredAtUs: rapid.Int64Range(-62135596800e6, 253402300799e6).Draw(t, "at"), Mta: s("mta"), MtaHost: s("host"),
			QueueId: s("queue"), MessageId: s("message"), Recipient: "r" + s("recipient"), OriginalRecipient: s("original"), Tenant: s("tenant"), Stream: s("stream"),
			Attempt: rapid.Uint32().Draw(t, "attempt"), Outcome: schema.Outcome(rapid.Int32Range(1, 11).Draw(t, "outcome")), Final: rapid.Bool().Draw(t, "final"),
			SmtpCode: rapid.Int32().Draw(t, "code"), EnhancedCode: s("enhanced"), Text: s("text"), Phase: schema.Phase(rapid.Int32Range(0, 13).Draw(t, "phase")),
			Origin: schema.Origin(rapid.Int32Range(0, 4).Draw(t, "origin")), SourceIp: s("source"), RemoteHost: s("remote"), RemoteIp: s("ip"), RemoteRecalled: rapid.Bool().Draw(t, "recalled"),
			EnhancedSource: schema.EnhancedSource(rapid.Int32Range(0, 3).Draw(t, "enhanced source")), Backfill: rapid.Bool().Draw(t, "backfill"),
			Raw: &schema.RawPosition{Topic: s("topic"), Partition: rapid.Int32().Draw(t, "partition"), Offset: rapid.Int64().Draw(t, "offset"), Line: s("line")},
		}
		if rapid.Bool().Draw(t, "has mail") {
			ev.Campaign, ev.ReportingMta, ev.ForwardedTo, ev.Feed, ev.FeedEventId = s("campaign"), s("reporting"), s("forwarded"), s("feed"), s("feed event")
			ev.Trust = schema.Trust(rapid.Int32Range(0, 3).Draw(t, "trust"))
			ev.Joined, ev.Machine, ev.Orphan = rapid.Bool().Draw(t, "joined"), rapid.Bool().Draw(t, "machine"), rapid.Bool().Draw(t, "orphan")
		}
		if rapid.Bool().Draw(t, "has sender") {
			ev.Sender, ev.HasSender = s("sender"), true
		}
		if rapid.Bool().Draw(t, "has delay") {
			ev.DelayMs, ev.HasDelay = rapid.Int64().Draw(t, "delay"), true
			ev.Delays = &schema.Delays{ConnectMs: rapid.Int64().Draw(t, "connect")}
		}
		if rapid.Bool().Draw(t, "has cause") {
			ev.Cause = &schema.Cause{SmtpCode: rapid.Int32().Draw(t, "cause code"), Text: s("cause"), Phase: schema.Phase(rapid.Int32Range(0, 13).Draw(t, "cause phase"))}
		}
		return ev
	})
}

func TestParseEventRestoresEverythingTheContractNames(t *testing.T) {
	want := expired()
	want.Raw.Index = 0 // the id tells it
	want.Cause.Origin, want.Cause.EnhancedSource = schema.Origin_REMOTE_REPLY, schema.EnhancedSource_ENHANCED_REMOTE
	got, err := ParseEvent(Append(nil, expired()))
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
}

func TestParseEventTellsWhoMadeTheCausesCode(t *testing.T) {
	for _, tc := range []struct {
		name, cause string
		origin      schema.Origin
		source      schema.EnhancedSource
	}{
		{"in the reply", `{"smtp_code":450,"enhanced_code":"4.2.2","text":"450 4.2.2 full"}`, schema.Origin_REMOTE_REPLY, schema.EnhancedSource_ENHANCED_REMOTE},
		{"not in the reply", `{"smtp_code":450,"enhanced_code":"4.0.0","text":"450 full"}`, schema.Origin_REMOTE_REPLY, schema.EnhancedSource_ENHANCED_MTA},
		{"no reply", `{"enhanced_code":"4.4.1","text":"connect to h[192.0.2.1]:25: Connection timed out"}`, schema.Origin_LOCAL_MTA, schema.EnhancedSource_ENHANCED_MTA},
		{"no code at all", `{"text":"lost connection"}`, schema.Origin_LOCAL_MTA, schema.EnhancedSource_ENHANCED_NONE},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ev, err := ParseEvent([]byte(`{"occurred_at":"2026-11-21T00:00:00Z","recipient":"r","outcome":"expired","cause":` + tc.cause + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if ev.Cause.Origin != tc.origin || ev.Cause.EnhancedSource != tc.source {
				t.Errorf("got %v, %v", ev.Cause.Origin, ev.Cause.EnhancedSource)
			}
		})
	}
}

func TestParseEventNamesWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		`{"occurred_at":"2026-11-21T00:00:00Z","recipient":"r"}`:                                     "outcome: missing",
		`{"occurred_at":"2026-11-21T00:00:00Z","outcome":"delivered"}`:                               "recipient: missing",
		`{"recipient":"r","outcome":"delivered"}`:                                                    "occurred_at: missing",
		`{"occurred_at":"yesterday","recipient":"r","outcome":"delivered"}`:                          "yesterday",
		`{"occurred_at":"2026-11-21T00:00:00Z","recipient":"r","outcome":"lost"}`:                    `outcome: unknown word "lost"`,
		`{"occurred_at":"2026-11-21T00:00:00Z","recipient":"r","outcome":"deferred","phase":"RCPT"}`: `phase: unknown word "RCPT"`,
		`{"smtp_code":"550"}`: "smtp_code",
		`[]`:                  "array",
		`{`:                   "unexpected end",
	} {
		if _, err := ParseEvent([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", line, err, want)
		}
	}
}

// The reader's names are the writer's.
func TestReaderAndWriterKnowTheSameNames(t *testing.T) {
	var written map[string]any
	if err := json.Unmarshal(Append(nil, expired()), &written); err != nil {
		t.Fatal(err)
	}
	var read []string
	for f := range reflect.TypeFor[eventObject]().Fields() {
		read = append(read, f.Tag.Get("json"))
	}
	slices.Sort(read)
	if have := slices.Sorted(maps.Keys(written)); !slices.Equal(have, read) {
		t.Errorf("written %v\nread    %v", have, read)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	ev, b := expired(), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { b = Append(b[:0], ev) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(Append(nil, expired()))
	f.Add([]byte(`{"occurred_at":"0000-01-01T00:00:00+23:59","recipient":"r","outcome":"delivered"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		ev, err := ParseEvent(line)
		if err != nil {
			return
		}
		first := Append(nil, ev)
		again, err := ParseEvent(first)
		if err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		if second := Append(nil, again); !bytes.Equal(first, second) {
			t.Fatalf("\nfirst  %s\nsecond %s", first, second)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	ev, buf := expired(), []byte(nil)
	for b.Loop() {
		buf = Append(buf[:0], ev)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
}

func BenchmarkEncodingJSON(b *testing.B) {
	ev := expired()
	at := time.UnixMicro(ev.OccurredAtUs)
	o := eventObject{
		EventID: ev.EventId, OccurredAt: &at, MTA: ev.Mta, MTAHost: ev.MtaHost, QueueID: ev.QueueId, MessageID: ev.MessageId, Sender: &ev.Sender,
		Recipient: ev.Recipient, Outcome: "expired", Text: ev.Text, RemoteHost: ev.RemoteHost, DelayMS: &ev.DelayMs, Delays: &delayObject{}, Cause: &causeObject{Text: "452 4.2.2 full"},
	}
	for b.Loop() {
		if _, err := json.Marshal(&o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
}
