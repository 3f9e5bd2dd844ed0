package envelope

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// A JSON record that no shipper made is handed on whole and marked, even where one of its fields is called "message"; and
// one that a shipper carries loses the shipper's wrapping, and nothing more.
func TestDocumentsOfOthersStayWhole(t *testing.T) {
	const (
		kumo     = `{"type":"Bounce","id":"d7ef132b","sender":"a@x.example","recipient":"b@y.example","queue":"y.example","response":{"code":550,"content":"unknown"},"timestamp":1795249695,"meta":{"message":"m","host":"h"}}`
		ses      = `{"notificationType":"Bounce","mail":{"messageId":"x"},"bounce":{"timestamp":"2026-11-21T08:28:15Z"}}`
		sns      = `{"Type":"Notification","MessageId":"22b8","TopicArn":"arn:aws:sns:eu-west-1:1:t","Message":"{\"notificationType\":\"Bounce\"}","Timestamp":"2026-11-21T08:28:15Z","Signature":"x"}`
		bridge   = `{"version":"0","id":"6a7e","detail-type":"Email Bounced","source":"aws.ses","time":"2026-11-21T08:28:15Z","detail":{"eventType":"Bounce"}}`
		mailgun  = `{"signature":{"timestamp":"1795249695","token":"t","signature":"s"},"event-data":{"event":"failed","timestamp":1795249695.1,"log-level":"error","message":{"headers":{"message-id":"x"}},"delivery-status":{"message":"550 unknown"}}}`
		sendgrid = `{"email":"b@y.example","event":"bounce","timestamp":1795249695,"sg_event_id":"x","message":"spring campaign","log":"y","host":"z"}`
		postmark = `{"RecordType":"Bounce","ID":42,"Email":"b@y.example","Message":"m","Details":"smtp;550","MessageStream":"outbound"}`
		spark    = `{"msys":{"message_event":{"type":"bounce","message_id":"x","raw_reason":"550"}}}`
	)
	quoted := func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) }
	for _, c := range []struct {
		name, value string
		want        []string
		host        string
	}{
		{"KumoMTA", kumo, []string{kumo}, ""},
		{"KumoMTA, lines", kumo + "\n" + kumo + "\n", []string{kumo, kumo}, ""},
		{"KumoMTA by Vector", `{"file":"/var/log/kumomta/x","host":"mta1","message":"` + quoted(kumo) + `","source_type":"file","timestamp":"2026-11-21T08:28:15Z"}`, []string{kumo}, "mta1"},
		{"KumoMTA by the journal", `{"_HOSTNAME":"mta1","SYSLOG_IDENTIFIER":"kumod","_PID":"7","__REALTIME_TIMESTAMP":"1795249695055321","MESSAGE":"` + quoted(kumo) + `"}`, []string{kumo}, "mta1"},
		{"KumoMTA by a container runtime", "2026-11-21T08:28:15Z stdout F " + kumo, []string{kumo}, ""},
		{"KumoMTA by the Collector", `{"resourceLogs":[{"resource":{"attributes":[{"key":"host.name","value":{"stringValue":"mta1"}}]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"` + quoted(kumo) + `"}}]}]}]}`, []string{kumo}, "mta1"},
		{"SES", ses, []string{ses}, ""},
		{"SNS", sns, []string{sns}, ""},
		{"SNS by a queue", `{"message":"` + quoted(sns) + `","source_type":"aws_sqs","timestamp":"2026-11-21T08:28:15Z"}`, []string{sns}, ""},
		{"EventBridge", bridge, []string{bridge}, ""},
		{"Mailgun", mailgun, []string{mailgun}, ""},
		{"SendGrid", "[" + sendgrid + "," + sendgrid + "]", []string{sendgrid, sendgrid}, ""},
		{"Postmark", postmark, []string{postmark}, ""},
		{"SparkPost", "[" + spark + "]", []string{spark}, ""},
	} {
		lines, err := read(t, []byte(c.value))
		if err != nil || !reflect.DeepEqual(texts(lines), c.want) {
			t.Errorf("%s: %q, %v", c.name, texts(lines), err)
			continue
		}
		for _, l := range lines {
			if l.Format != FormatDocument || l.Host != c.host {
				t.Errorf("%s: format %q, host %q", c.name, l.Format, l.Host)
			}
		}
	}
}

func TestCarriers(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 28, 15, 301_000_000, time.UTC)
	line := func(text, host string) Line { return Line{Text: []byte(text), Host: host} }
	for _, c := range []struct {
		name, value string
		want        []Line
	}{
		// dma writes its queue id where others have a process id, and the lines of a reply.
		{
			"a message of lines has one header", `{"_HOSTNAME":"h","SYSLOG_IDENTIFIER":"dma","SYSLOG_PID":"a3e9af.55b1","SYSLOG_TIMESTAMP":"Nov 21 08:28:15 ","MESSAGE":[53,53,48,45,97,13,10,53,53,48,32,98,10]}`,
			[]Line{{Text: []byte("Nov 21 08:28:15 h dma[a3e9af.55b1]: 550-a#015#012550 b"), Host: "h", Format: FormatSyslog}},
		},
		{"escaped newlines stay", "Nov 21 08:28:15 h dma[a.b]: x: 550-a#015#012550 b", []Line{line("Nov 21 08:28:15 h dma[a.b]: x: 550-a#015#012550 b", "")}},
		{"the journal's datagram, where the message is null", `{"_HOSTNAME":"h","MESSAGE":null,"SYSLOG_RAW":"<22>Nov 21 08:28:15 postfix/qmgr[7]: x"}`, []Line{line("<22>Nov 21 08:28:15 postfix/qmgr[7]: x", "h")}},
		{"text sequence", "\x1e{\"log\":\"a\"}\n\x1e{\"log\":\"b\"}\n", []Line{line("a", ""), line("b", "")}},
		{"a JSON string", "\"a \\\"b\\\"\\u003c\"\n\"c\" d\n\"\"\n\"e", []Line{line(`a "b"<`, ""), line(`"c" d`, ""), line(`""`, ""), line(`"e`, "")}},
		{"a row of CSV", "\"d\",\"2026-11-21 08:28:15+0000\"\n", []Line{line(`"d","2026-11-21 08:28:15+0000"`, "")}},
		{"a message in quotes stays with its header", `{"program":"p","time":"Nov 21 08:28:15","log":"\"a\""}`, []Line{{Text: []byte(`Nov 21 08:28:15 p: "a"`), Format: FormatSyslog}}},
		{"holes", "\x00\x00\x00\x00\x00\x00\x00\x00a\n\x00\x00\x00\x00\x00\x00\nb\x00\x00\x00\x00\x00\x00\n", []Line{line("a", ""), line("b", "")}},
		{"a hole without an end", "\x00\x00\x00\x00\x00\x00\x00\x00a", []Line{line("a", "")}},
		{"a NUL is no hole", "a\x00b\n\x00c\x00\n", []Line{line("a\x00b", ""), line("\x00c\x00", "")}},
		{"byte order mark, CR LF", "\xEF\xBB\xBFa\r\nb\r\n", []Line{line("a", ""), line("b", "")}},
		{"two names of one rank, and twice the same", `{"host":"h","host":"i","message":"a","message":"b"}`, []Line{line("a", "h")}},
		{"pieces by Fluent Bit", `{"log":"a","logtag":"P"}` + "\n" + `{"log":"b","logtag":"F"}`, []Line{{Text: []byte("a"), Piece: true}, line("b", "")}},
		{"pieces by Vector", `{"message":"a","_partial":true}{"message":"b","_partial":false}`, []Line{{Text: []byte("a"), Piece: true}, line("b", "")}},
		{"pieces by Docker", `{"log":"a","partial_message":"true"}`, []Line{{Text: []byte("a"), Piece: true}}},
		{"Logstash's plain codec", "2026-11-21T08:28:15.301Z h 2026-11-21 08:28:15 1vMabc-1 Completed", []Line{{Text: []byte("2026-11-21 08:28:15 1vMabc-1 Completed"), Host: "h", Time: at}}},
		{"Logstash's plain codec, no host", "2026-11-21T08:28:15.301Z %{host} <22>x", []Line{{Text: []byte("<22>x"), Time: at}}},
		{"Logstash's plain codec, ECS", "2026-11-21T08:28:15.301Z {\"hostname\":\"h\",\"ip\":[\"192.0.2.1\"]} 2026-11-21T08:28:15Z g p: x", []Line{{Text: []byte("2026-11-21T08:28:15Z g p: x"), Host: "h", Time: at}}},
		{"a tag is no host", "2026-11-21T08:28:15.301Z postfix/smtp[7]: Nov 21 08:28:15 x", []Line{line("2026-11-21T08:28:15.301Z postfix/smtp[7]: Nov 21 08:28:15 x", "")}},
		{"a syslog line", "2026-11-21T08:28:15.301Z h p: Nov 21 08:28:15 x", []Line{line("2026-11-21T08:28:15.301Z h p: Nov 21 08:28:15 x", "")}},
		{
			"an export of several", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a\nb"}},{"body":{"stringValue":""}}]},{"logRecords":[]}],"resource":{"attributes":[{"value":{"stringValue":"h"},"key":"host.name"}]}},` +
				`{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"host.hostname","value":{"stringValue":"i"}},{"key":"n","value":{"arrayValue":{"values":[{"intValue":"1"}]}}}],"body":{"stringValue":"c"},"observedTimeUnixNano":"1795249695301000000"}]}]}]}`,
			[]Line{line("a", "h"), line("b", "h"), {Text: []byte("c"), Host: "i", Time: at}},
		},
		{"an export in an array", `[{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]},{"log":"b"}]`, []Line{line("a", ""), line("b", "")}},
		{"no export", `{"x":{"resourceLogs":[{"log":"a"}]},"log":"b"}`, []Line{line("b", "")}},
	} {
		lines, err := read(t, []byte(c.value))
		if err != nil || !reflect.DeepEqual(lines, c.want) {
			t.Errorf("%s:\ngot  %q %+v, %v\nwant %q %+v", c.name, texts(lines), lines, err, texts(c.want), c.want)
		}
	}
}

func utf16Bytes(s string, high, low int) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		two := [2]byte{}
		two[high], two[low] = byte(u>>8), byte(u)
		b = append(b, two[:]...)
	}
	return b
}

// What holds no lines that could be told is kept whole, with a reason that says what to change.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  []byte
		reason Reason
	}{
		{"UTF-16, little end first", utf16Bytes("\uFEFFNov 21\n", 1, 0), ReasonEncoding},
		{"UTF-16, big end first", utf16Bytes("\uFEFFNov 21\n", 0, 1), ReasonEncoding},
		{"UTF-16 without a mark", utf16Bytes("Nov 21\n", 1, 0), ReasonEncoding},
		{"UTF-16 without a mark, big end first", utf16Bytes("Nov 21\n", 0, 1), ReasonEncoding},
		{"msgpack with a newline in it", []byte("\x82\xa3log\xa2a\n\xa4date\x01"), ReasonMsgpack},
		{"OTLP as protobuf", []byte("\n\x2e\n\x13\n\x11\n\thost.name\x12\x04\n\x02h1\x12\x17\x12\x15*\x13\n\x11a line\nand so on..."), ReasonBinary},
		{"schema registry, a number that is text", []byte("\x00\x00\x00\x00AAx"), ReasonBinary},
		{"LZ4", []byte("\x04\x22\x4d\x18x"), ReasonCompression},
		{"compressed twice", compressed(t, compressed(t, []byte("a"))), ReasonCompression},
		{"compressed twice, Zstandard", zstandard(t, compressed(t, []byte("a"))), ReasonCompression},
		{"a record of an export without a body", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[]}]}]}]}`), ReasonNoMessage},
		{"an export without records", []byte(`{"resourceLogs":[{"resource":{}}]}`), ReasonNoMessage},
		{"an export of strings", []byte(`{"resourceLogs":["a"]}`), ReasonNoMessage},
	} {
		lines, err := read(t, c.value)
		if err == nil || err.Reason != c.reason || len(lines) != 0 {
			t.Errorf("%s: %q, %v", c.name, texts(lines), err)
			continue
		}
		if !bytes.Contains(c.value, err.Rest) || len(err.Rest) == 0 {
			t.Errorf("%s: rest %q", c.name, err.Rest)
		}
	}
}

func TestWrapped(t *testing.T) {
	for name, v := range shipments(t) {
		first, _, _ := bytes.Cut(v, []byte("\n"))
		if name == "vector-pretty.json" {
			first = v // "{" alone is a line
		}
		if got, want := Wrapped(first), !strings.HasPrefix(name, "plain-"); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	for _, line := range []string{"", "a", "{", `"`, `"d","x"`, "[12] x", "2026-11-21", "2026-11-21T08:28:15.301Z h p: Nov 21 08:28:15 x"} {
		if Wrapped([]byte(line)) {
			t.Errorf("%q is told as wrapped", line)
		}
	}
}
