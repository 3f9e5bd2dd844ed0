package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

const (
	scopePrefix = "carom.dev/carom/"
	maxScrapes  = 4    // at a time; more are answered with 503
	maxSeries   = 2000 // per instrument; more are summed up in one series with otel_metric_overflow="true"
)

// Telemetry is what a service measures with. Nothing of it is global.
//
// Instrument names follow OpenTelemetry (carom.ingest.lines, unit {line}; carom.ingest.batch.duration, unit s) and
// appear in Prometheus with unit and kind appended (carom_ingest_lines_total, carom_ingest_batch_duration_seconds).
// Histograms have buckets for latencies in seconds from 1 ms to 60 s; anything else gives its own with
// [metric.WithExplicitBucketBoundaries].
type Telemetry struct {
	Meter    metric.Meter
	Tracer   trace.Tracer
	Registry *prometheus.Registry // also has the runtime's metrics (go_*) and the process's (process_*)

	shutdown []func(context.Context) error
}

// NewTelemetry returns the telemetry of the service of that name. Traces leave only if o.Endpoint is set; failures to
// deliver them are logged once per outage and counted (carom_trace_export_failures_total), and never disturb the
// service.
func NewTelemetry(ctx context.Context, name string, o TraceOptions, log *slog.Logger) (*Telemetry, error) {
	attrs := []attribute.KeyValue{semconv.ServiceName("carom-" + name), semconv.ServiceVersion(Version())}
	if host, err := os.Hostname(); err == nil { // in Kubernetes the pod's name
		attrs = append(attrs, semconv.ServiceInstanceID(host))
	}
	res := resource.NewSchemaless(attrs...)
	t := &Telemetry{Registry: prometheus.NewRegistry()}
	t.Registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(t.Registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(), // one scope per registry: the labels would say nothing
		otelprometheus.WithAggregationSelector(aggregation))
	if err != nil {
		return nil, fmt.Errorf("metrics exporter: %w", err)
	}
	meters := sdkmetric.NewMeterProvider(
		sdkmetric.WithReader(reader),
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(maxSeries))
	t.Meter = meters.Meter(scopePrefix + name)
	t.shutdown = append(t.shutdown, meters.Shutdown)

	if o.Endpoint == "" {
		t.Tracer = noop.NewTracerProvider().Tracer(scopePrefix + name)
		return t, nil
	}
	endpoint, err := url.JoinPath(o.Endpoint, "v1", "traces")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trace exporter: %w", err), t.Shutdown(ctx))
	}
	otlp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trace exporter: %w", err), t.Shutdown(ctx))
	}
	failures, err := t.Meter.Int64Counter("carom.trace.export.failures",
		metric.WithDescription("Batches of spans that the collector did not take."))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("trace exporter: %w", err), t.Shutdown(ctx))
	}
	spans := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&spanExporter{next: otlp, log: log, failures: failures}),
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.SampleRatio))))
	t.Tracer = spans.Tracer(scopePrefix + name)
	t.shutdown = append(t.shutdown, spans.Shutdown)
	return t, nil
}

// aggregation is the SDK's default but for histograms, whose default buckets suit milliseconds.
func aggregation(kind sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	if kind == sdkmetric.InstrumentKindHistogram {
		return sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60,
		}}
	}
	return sdkmetric.DefaultAggregationSelector(kind)
}

// Handler serves the registry in Prometheus's formats.
func (t *Telemetry) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		Registry:            t.Registry,
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError, // one bad collector must not blind the operator to the rest
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
}

// Shutdown sends the spans that are left, until ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for i := len(t.shutdown) - 1; i >= 0; i-- {
		errs = append(errs, t.shutdown[i](ctx))
	}
	return errors.Join(errs...)
}

// spanExporter reports the failures of an exporter to the service's own logger and metrics; the SDK would hand them to
// a handler that is global to the process.
type spanExporter struct {
	next     sdktrace.SpanExporter
	log      *slog.Logger
	failures metric.Int64Counter
	failing  atomic.Bool
}

func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.next.ExportSpans(ctx, spans)
	if err != nil {
		e.failures.Add(ctx, 1)
		if !e.failing.Swap(true) {
			e.log.Warn("traces are not delivered", Err(err))
		}
	} else if e.failing.Swap(false) {
		e.log.Info("traces are delivered again")
	}
	return nil
}

func (e *spanExporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }

// HeaderTraceparent is the name of the Kafka header, and the HTTP one, that carries the trace context.
// W3C Trace Context, section 3.2.1.
const HeaderTraceparent = "traceparent"

// Traceparent returns the trace context of ctx as a traceparent value, or "" if it has none. W3C Trace Context,
// section 3.2.2.
func Traceparent(ctx context.Context) string {
	var c traceparent
	propagation.TraceContext{}.Inject(ctx, &c)
	return string(c)
}

// WithTraceparent returns ctx with the trace context of a traceparent value. A value that is empty or malformed changes
// nothing, as the standard demands: the next span then begins a trace.
func WithTraceparent(ctx context.Context, value string) context.Context {
	c := traceparent(value)
	return propagation.TraceContext{}.Extract(ctx, &c)
}

// traceparent is a carrier of that one header; tracestate is dropped.
type traceparent string

func (t *traceparent) Get(key string) string {
	if key == HeaderTraceparent {
		return string(*t)
	}
	return ""
}

func (t *traceparent) Set(key, value string) {
	if key == HeaderTraceparent {
		*t = traceparent(value)
	}
}

func (t *traceparent) Keys() []string { return []string{HeaderTraceparent} }
