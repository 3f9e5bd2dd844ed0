package intake

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// result is what became of a request, a mail or a file. The set is closed.
type result string

// The results. All but ok and repeated leave nothing in the log, or nothing that was acknowledged.
const (
	resultOK           result = "ok"
	resultRepeated     result = "repeated"     // HTTP: written and acknowledged before, by its token
	resultNotFound     result = "not_found"    // HTTP: no such feed
	resultMethod       result = "method"       // HTTP: not POST
	resultUnauthorized result = "unauthorized" // HTTP: token, password or signature
	resultTooLarge     result = "too_large"    // more than is taken
	resultElement      result = "element"      // HTTP: larger than a record, and cannot be split
	resultEncoding     result = "encoding"     // HTTP: unknown content encoding
	resultMalformed    result = "malformed"    // HTTP: broken gzip
	resultEmpty        result = "empty"        // HTTP
	resultTimeout      result = "timeout"      // did not come in time
	resultAborted      result = "aborted"      // the client went away
	resultBusy         result = "busy"         // beyond a bound on what is done at a time
	resultCertificate  result = "certificate"  // HTTP: SNS cannot be reached, or gave no certificate
	resultBroker       result = "broker"       // Kafka did not take it
	resultRecipient    result = "recipient"    // LMTP: not one of the domains
	resultForbidden    result = "forbidden"    // LMTP: not one of the networks
	resultProtocol     result = "protocol"     // LMTP: something else than LMTP
	resultVanished     result = "vanished"     // Maildir: gone before it was read
	resultIrregular    result = "irregular"    // Maildir: a link, a directory or another thing that is no mail
	resultUnreadable   result = "unreadable"   // Maildir
	resultMove         result = "move"         // Maildir: written, and still where it was; it will be written again
)

// meters are the instruments of all doors.
type meters struct {
	requests  metric.Int64Counter
	records   metric.Int64Counter
	bytes     metric.Int64Counter
	forgotten metric.Int64Counter
	inFlight  metric.Int64UpDownCounter
	ack       metric.Float64Histogram
	backlog   metric.Int64Gauge
	oldest    metric.Float64Gauge
}

func newMeters(m metric.Meter) (*meters, error) {
	var errs [8]error
	out := &meters{}
	out.requests, errs[0] = m.Int64Counter("carom.intake.requests", metric.WithUnit("{request}"),
		metric.WithDescription("requests, mails and files by what became of them"))
	out.records, errs[1] = m.Int64Counter("carom.intake.records", metric.WithUnit("{record}"),
		metric.WithDescription("records written and acknowledged by the brokers"))
	out.bytes, errs[2] = m.Int64Counter("carom.intake.written", metric.WithUnit("By"),
		metric.WithDescription("bytes of the values of these records"))
	out.forgotten, errs[3] = m.Int64Counter("carom.intake.tokens.forgotten", metric.WithUnit("{token}"),
		metric.WithDescription("tokens of Mailgun that were forgotten before they were too old: their signature could be used again"))
	out.inFlight, errs[4] = m.Int64UpDownCounter("carom.intake.in_flight", metric.WithUnit("{request}"),
		metric.WithDescription("requests and mails that are being taken"))
	out.ack, errs[5] = m.Float64Histogram("carom.intake.ack.duration", metric.WithUnit("s"),
		metric.WithDescription("time to write the records of a request, until the brokers acknowledged them"))
	out.backlog, errs[6] = m.Int64Gauge("carom.intake.maildir.backlog", metric.WithUnit("{file}"),
		metric.WithDescription("mails that a Maildir held at the last look, by the number of the Maildir"))
	out.oldest, errs[7] = m.Float64Gauge("carom.intake.maildir.oldest", metric.WithUnit("s"),
		metric.WithDescription("age of the oldest of them; 0 if there is none"))
	return out, errors.Join(errs[:]...)
}

func doorOption(door string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("door", door)))
}

func feedOption(door, feed string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("door", door), attribute.String("feed", feed)))
}

// request counts one by its result. feed is that of an endpoint or a door, never a name that a client gave.
func (m *meters) request(door, feed string, r result) {
	m.requests.Add(context.Background(), 1, metric.WithAttributeSet(attribute.NewSet(
		attribute.String("door", door), attribute.String("feed", feed), attribute.String("result", string(r)))))
}

func (m *meters) written(door, feed string, records, bytes int, took time.Duration) {
	ctx, o := context.Background(), feedOption(door, feed)
	m.records.Add(ctx, int64(records), o)
	m.bytes.Add(ctx, int64(bytes), o)
	m.ack.Record(ctx, took.Seconds(), doorOption(door))
}
