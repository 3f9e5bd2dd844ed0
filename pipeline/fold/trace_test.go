package fold

import (
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/service"
)

// The trace of a batch goes on in the next stage: its context is on the first message to every partition, and a batch
// whose records carry one continues that trace.
func TestTraceContextTravelsInKafkaHeaders(t *testing.T) {
	telemetry, err := service.NewTelemetry(t.Context(), "test", service.TraceOptions{Endpoint: "http://127.0.0.1:1", SampleRatio: 1}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = telemetry.Shutdown(t.Context()) }) // its collector does not exist
	o, err := NewObserver(&service.Process{Telemetry: telemetry, Health: service.NewHealth(), Log: slog.New(slog.DiscardHandler)}, "test")
	if err != nil {
		t.Fatal(err)
	}
	messages := func() *Outbox {
		return &Outbox{Messages: []broker.Message{{Topic: "t", Partition: 0}, {Topic: "t", Partition: 0}, {Topic: "t", Partition: 1}}}
	}
	first := Batch{Topic: "in", Outbox: messages()}
	_, span := o.span(t.Context(), &first)
	span.End()
	header := func(m broker.Message) string {
		for _, h := range m.Headers {
			if h.Key == service.HeaderTraceparent {
				return string(h.Value)
			}
		}
		return ""
	}
	carried := header(first.Outbox.Messages[0])
	if carried == "" || header(first.Outbox.Messages[1]) != "" || header(first.Outbox.Messages[2]) != carried {
		t.Fatalf("headers %q, %q, %q: want the context on the first message to each partition", carried,
			header(first.Outbox.Messages[1]), header(first.Outbox.Messages[2]))
	}
	second := Batch{Topic: "t", Trace: carried, Outbox: messages()}
	ctx, span := o.span(t.Context(), &second)
	span.End()
	id := trace.SpanContextFromContext(ctx).TraceID().String()
	if !strings.Contains(carried, id) || !strings.Contains(header(second.Outbox.Messages[0]), id) {
		t.Errorf("the trace %s was not continued from %s", id, carried)
	}
}
