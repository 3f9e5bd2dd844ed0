package feed

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// reasons reads a body and returns how its records and it were refused, and the recipients of its events.
func reasons(t *testing.T, format, body string) (why, to []string) {
	t.Helper()
	res, err := New().Parse(format, []byte(body), Handler{
		Event: func(ev *schema.DeliveryEvent) { to = append(to, ev.Recipient) },
		Fault: func(err *Error) { why = append(why, err.Reason.String()) },
	})
	if err != nil {
		why = append(why, "body "+err.(*Error).Reason.String())
	}
	if res.Faults != len(why) && err == nil {
		t.Errorf("%d faults counted, %q told", res.Faults, why)
	}
	return why, to
}

// What no feed ought to send is refused with a reason of its own, and costs no other record.
func TestHostileBodies(t *testing.T) {
	const (
		gridGood = `{"email":"a@dest.example","timestamp":1757003271,"event":"delivered"}`
		kumoGood = `{"type":"Delivery","id":"ok","recipient":"a@dest.example","timestamp":1757003285}`
		pmtaHead = "type,timeLogged,rcpt\n"
		pmtaGood = "d,1772352000,a@dest.example\n"
	)
	for _, c := range []struct {
		name, format, body string
		why                string // reasons joined by blanks
		events             int
	}{
		{"deep in an ignored member", SendGrid, `[` + gridGood + `,{"email":"b@dest.example","timestamp":1757003271,"event":"delivered","x":` + nested(1<<20) + `},` + gridGood + `]`, "", 3},
		{"deep in a known member", SendGrid, `[` + gridGood + `,{"email":` + nested(1<<20) + `,"timestamp":1757003271,"event":"delivered"},` + gridGood + `]`, "recipient", 2},
		{"deep and open", SendGrid, `[` + gridGood + `,` + strings.Repeat(`{"a":`, 1<<20), "body syntax", 0},
		{"deep line", KumoMTA, kumoGood + "\n" + nested(1<<20) + "\n" + kumoGood, "format", 2},
		{"line deep and open", KumoMTA, kumoGood + "\n" + strings.Repeat("[", 1<<20) + "\n" + kumoGood, "syntax", 2},
		{"brackets that do not fit", SendGrid, `[{"x":[{"y":[1}]]}]`, "body syntax", 0},
		{"key without value", SendGrid, `[{"x":{"y"}}]`, "body syntax", 0},
		{"value without key", SendGrid, `[{"x":{1:2}}]`, "body syntax", 0},
		{"numbers as strings", SendGrid, `{"email":"a@dest.example","timestamp":"1757003271","event":"deferred","attempt":"3"}`, "", 1},
		{"strings as numbers", SendGrid, `{"email":7,"timestamp":1757003271,"event":"delivered"}`, "recipient", 0},
		{"fractions and exponents", SendGrid, `{"email":"a@dest.example","timestamp":1.757003271e9,"event":"delivered"}`, "", 1},
		{"a time in milliseconds", SendGrid, `{"email":"a@dest.example","timestamp":1757003271000,"event":"delivered"}`, "time", 0},
		{"a negative time", SendGrid, `{"email":"a@dest.example","timestamp":-5,"event":"delivered"}`, "time", 0},
		{"null everywhere", SendGrid, `[{"email":null,"timestamp":null,"event":null},` + gridGood + `]`, "format", 1},
		{"a key twice: the last counts", SendGrid, `{"email":"b@dest.example","email":"a@dest.example","timestamp":1757003271,"event":"bounce","event":"delivered"}`, "", 1},
		{"lone surrogates", SendGrid, `{"email":"a\ud800@dest.example","timestamp":1757003271,"event":"delivered"}`, "", 1},
		{"byte order mark", SendGrid, "\xEF\xBB\xBF" + gridGood, "", 1},
		{"byte order mark behind the begin", SendGrid, gridGood + "\n\xEF\xBB\xBF" + gridGood, "body syntax", 0},
		{"UTF-16", SendGrid, utf16le(gridGood), "body encoding", 0},
		{"UTF-16 line", KumoMTA, kumoGood + "\n" + utf16le(kumoGood) + "\n" + kumoGood, "encoding", 2},
		{"tiny elements", SendGrid, "[" + strings.Repeat("0,", 100_000) + gridGood + "]", strings.TrimSuffix(strings.Repeat("format ", 100_000), " "), 1},
		{"every line its mark", KumoMTA, "\xEF\xBB\xBF" + kumoGood + "\r\n\xEF\xBB\xBF" + kumoGood, "", 2},
		{"a broken line", KumoMTA, kumoGood + "\n{\"type\":\n" + kumoGood, "syntax", 2},

		{"a million columns", PowerMTA, pmtaHead + pmtaGood + strings.Repeat(",", 1<<20) + "\n" + pmtaGood, "columns", 2},
		{"a header of a million columns", PowerMTA, "type" + strings.Repeat(",", 1<<20) + "\n" + pmtaGood, "columns header", 0},
		{"a quote open for megabytes", PowerMTA, pmtaHead + `d,1772352000,"` + strings.Repeat("x", 3<<20) + "\n" + pmtaGood, "too_long", 1},
		{"a quote open at the end", PowerMTA, pmtaHead + pmtaGood + `d,1772352000,"a@dest.example`, "quote", 1},
		{"NUL", PowerMTA, pmtaHead + "d,1772352000,a\x00@dest.example\n" + pmtaGood, "nul", 1},
		{"UTF-16", PowerMTA, utf16le("type,timeLogged,rcpt\n"), "encoding nul", 0},
		{"mark in front of a second header", PowerMTA, pmtaHead + pmtaGood + "\xEF\xBB\xBF" + pmtaHead + pmtaGood, "", 2},
		{"a row above the header", PowerMTA, pmtaGood + pmtaHead + pmtaGood, "header", 1},
	} {
		t.Run(c.format+"/"+c.name, func(t *testing.T) {
			why, to := reasons(t, c.format, c.body)
			if got := strings.Join(why, " "); got != c.why || len(to) != c.events {
				t.Errorf("refused %.200q, want %.200q; %d events, want %d", got, c.why, len(to), c.events)
			}
		})
	}
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func utf16le(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte(c)
		b.WriteByte(0)
	}
	return b.String()
}

// The largest bodies of the worst shapes take time in proportion to their size. Anything that grew with its square would
// take hours here.
func TestWorstBodiesAreLinear(t *testing.T) {
	start := processorTime(t)
	fill := func(begin, s, end string) string {
		return begin + strings.Repeat(s, (MaxBodyBytes-len(begin)-len(end))/len(s)) + end
	}
	const head = "type,timeLogged,rcpt\n"
	many, long := `["a@dest.example"`+strings.Repeat(`,"a@dest.example"`, MaxRecipients-1)+`]`, strings.Repeat("x", 5<<20)
	bounced := `[` + strings.Repeat(`{"emailAddress":"a@dest.example"},`, MaxRecipients-1) + `{"emailAddress":"a@dest.example"}]`
	for _, c := range []struct{ format, body string }{
		{PowerMTA, fill(head, "x\",\"\n", "")}, // each row opens a quote, whether the last was open or not
		{PowerMTA, fill(head, strings.Repeat("x", 120)+"\",\"\n", "")},
		{PowerMTA, fill(head+`"`, "x\n", "")},
		{PowerMTA, fill(head+`"`, `""`, "")},
		{PowerMTA, fill(head, ",", "")},
		{SES, fill("", "[", "")},
		{SES, fill("", `{"a":`, "")},
		{SES, fill("[", "7,", "7]")},
		{SES, fill("{", `"a":1,`, `"a":1}`)},
		{SES, fill(`{"Type":"Notification","Message":"`, `\u0022`, `"}`)},
		{KumoMTA, fill("", "{\n", "")},
		{KumoMTA, fill(`{"type":"Bounce","recipient":[`, `"a",`, `"a"]}`)},
		// Long strings that many recipients share.
		{KumoMTA, `{"type":"TransientFailure","timestamp":1757003271,"id":"` + long + `","recipient":` + many + `,"response":{"code":451,"content":"` + long[:4<<20] + `"}}`},
		{KumoMTA, `{"type":"Feedback","timestamp":1757003271,"recipient":"x","feedback_report":{"original_rcpt_to":` + many + `,"original_message":"` + strings.Repeat(`a:b\n`, 1<<20) + `"}}`},
		{SES, `{"eventType":"Bounce","mail":{"timestamp":"2025-09-04T16:27:50Z","messageId":"` + long[:1<<20] + `"},"bounce":{"bounceType":"` + long[:4<<20] + `","bouncedRecipients":` + bounced + `}}`},
		{SES, `{"eventType":"DeliveryDelay","mail":{"timestamp":"2025-09-04T16:27:50Z"},"deliveryDelay":{"delayType":"` + long + `","delayedRecipients":` + bounced + `}}`},
	} {
		res, err := testParser(t).Parse(c.format, []byte(c.body), Handler{})
		if err == nil && res.Records == 0 {
			t.Errorf("nothing of %.20q: %+v", c.body, res)
		}
	}
	if d := processorTime(t) - start; d > time.Minute {
		t.Errorf("%s for bodies of %d bytes", d, MaxBodyBytes)
	}
}

// A value of another type, in any place of any record, costs that record at most: what stands beside it gives the same
// events, and all are counted.
func TestWrongTypesCostOneRecord(t *testing.T) {
	wrong := []any{nil, -1.5, "\x00\ufffd", []any{nil, []any{1.0}, map[string]any{"a": nil}}, map[string]any{"a": []any{"b"}}}
	tried := 0
	for _, format := range Formats() {
		if format == PowerMTA {
			continue
		}
		good := goodRecord(t, format)
		want := tellAll(t, format, good)
		for _, s := range readStories(t, format) {
			dec := json.NewDecoder(strings.NewReader(s.body))
			for {
				var value any
				if dec.Decode(&value) != nil {
					break // the stories of faults hold what is no JSON
				}
				for _, mutated := range mutations(value, wrong) {
					tried++
					body := good + "\n" + mutated + "\n" + good
					checkBody(t, format, []byte(body))
					got := tellAll(t, format, body)
					if len(got) < 2*len(want) || !slices.Equal(got[:len(want)], want) || !slices.Equal(got[len(got)-len(want):], want) {
						t.Fatalf("%s: beside %s: got\n%s\nwant\n%s", format, mutated, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			}
		}
	}
	if tried < 5000 {
		t.Errorf("only %d mutations", tried)
	}
}

// goodRecord is the first record of a format's stories.
func goodRecord(t *testing.T, format string) string {
	var value json.RawMessage
	if err := json.NewDecoder(strings.NewReader(readStories(t, format)[0].body)).Decode(&value); err != nil {
		t.Fatal(err)
	}
	return string(value)
}

func tellAll(t *testing.T, format, body string) (out []string) {
	_, err := testParser(t).Parse(format, []byte(body), Handler{Event: func(ev *schema.DeliveryEvent) { out = append(out, tell(ev)) }})
	if err != nil {
		t.Fatalf("%v of %s", err, body)
	}
	return out
}

// mutations returns value as JSON with each of its parts replaced in turn by each of the others.
func mutations(value any, by []any) (out []string) {
	var walk func(part any, put func(any))
	walk = func(part any, put func(any)) {
		for _, w := range by {
			put(w)
			text, err := json.Marshal(value)
			if err != nil {
				panic(fmt.Sprint("marshal what was unmarshalled: ", err))
			}
			out = append(out, string(text))
		}
		put(part)
		switch part := part.(type) {
		case map[string]any:
			for k, v := range part {
				walk(v, func(w any) { part[k] = w })
			}
		case []any:
			for k, v := range part {
				walk(v, func(w any) { part[k] = w })
			}
		case string: // JSON within a string: SNS
			var inner any
			if strings.HasPrefix(part, "{") && json.Unmarshal([]byte(part), &inner) == nil {
				for _, text := range mutations(inner, by) {
					put(text)
					whole, err := json.Marshal(value)
					if err != nil {
						panic(fmt.Sprint("marshal what was unmarshalled: ", err))
					}
					out = append(out, string(whole))
				}
				put(part)
			}
		}
	}
	if m, ok := value.(map[string]any); ok {
		for k, v := range m {
			walk(v, func(w any) { m[k] = w })
		}
	}
	if list, ok := value.([]any); ok {
		for k, v := range list {
			walk(v, func(w any) { list[k] = w })
		}
	}
	return out
}

// Words that name no stage and no server have neither code nor phase, whatever number stands beside them.
func TestVagueWordsHaveNeitherCodeNorPhase(t *testing.T) {
	for _, c := range []struct{ format, body string }{
		{SendGrid, `{"email":"a@dest.example","timestamp":1757003271,"event":"deferred","response":"timeout"}`},
		{SendGrid, `{"email":"a@dest.example","timestamp":1757003271,"event":"bounce","type":"blocked","reason":"soft bounce","status":""}`},
		{SendGrid, `{"email":"a@dest.example","timestamp":1757003271,"event":"bounce"}`},
		{SparkPost, `{"msys":{"message_event":{"type":"delay","timestamp":1757003271,"rcpt_to":"a@dest.example","error_code":"","raw_reason":"Soft Bounce"}}}`},
		{SparkPost, `{"msys":{"message_event":{"type":"delay","timestamp":1757003271,"rcpt_to":"a@dest.example","error_code":"421","raw_reason":"421 [internal] Connection timed out"}}}`},
		{SES, `{"eventType":"Bounce","mail":{},"bounce":{"bounceType":"Transient","bounceSubType":"General","timestamp":"2025-09-04T16:27:52Z","bouncedRecipients":[{"emailAddress":"a@dest.example"}]}}`},
		{SES, `{"eventType":"DeliveryDelay","mail":{},"deliveryDelay":{"delayType":"TransientCommunicationFailure","timestamp":"2025-09-04T16:27:52Z","delayedRecipients":[{"emailAddress":"a@dest.example"}]}}`},
		{SES, `{"eventType":"Bounce","mail":{},"bounce":{"bounceType":"Undetermined","bounceSubType":"Undetermined","timestamp":"2025-09-04T16:27:52Z","bouncedRecipients":[{"emailAddress":"a@dest.example","diagnosticCode":"timeout"}]}}`},
		{Mailgun, `{"event-data":{"event":"failed","severity":"temporary","reason":"generic","timestamp":1757003271,"recipient":"a@dest.example","delivery-status":{"code":499,"message":"timeout"}}}`},
		{Mailgun, `{"event-data":{"event":"failed","severity":"permanent","reason":"generic","timestamp":1757003271,"recipient":"a@dest.example","delivery-status":{"code":0,"message":"","description":"soft bounce"}}}`},
		{Postmark, `{"RecordType":"Bounce","TypeCode":4096,"Name":"Soft bounce","Description":"Unable to temporarily deliver message.","Details":"timeout","Email":"a@dest.example","BouncedAt":"2025-09-04T16:27:51Z"}`},
		{Postmark, `{"RecordType":"Bounce","TypeCode":2,"Name":"Message delayed","Email":"a@dest.example","BouncedAt":"2025-09-04T16:27:51Z"}`},
		{KumoMTA, `{"type":"TransientFailure","recipient":"a@dest.example","timestamp":1757003271,"response":{"code":421,"content":"KumoMTA internal: timeout"}}`},
		{PowerMTA, "type,timeLogged,rcpt,bounceCat\nb,1772352000,a@dest.example,bad-connection\n"},
		{PowerMTA, "type,timeLogged,rcpt,dsnStatus,dsnDiag\nt,1772352000,a@dest.example,4.4.2 (bad connection),\n"},
		{PowerMTA, "type,timeLogged,rcpt,dsnDiag\nt,1772352000,a@dest.example,smtp;timeout\n"},
	} {
		ev := one(t, New(), c.format, c.body)
		if ev.SmtpCode != 0 || ev.Phase != 0 || ev.Origin == schema.Origin_REMOTE_REPLY || ev.EnhancedSource == schema.EnhancedSource_ENHANCED_REMOTE {
			t.Errorf("%s\ngave code %d, phase %s, origin %s, enhanced by %s", c.body, ev.SmtpCode, ev.Phase.Name(), ev.Origin.Name(), ev.EnhancedSource.Name())
		}
	}
}
