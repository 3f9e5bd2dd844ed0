package feed

import (
	"bytes"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// benchBody repeats the records of a format's first stories to about 1 MB.
func benchBody(b *testing.B, format string) (body []byte, records int) {
	stories := readStories(b, format)
	switch format {
	case PowerMTA: // deliveries and bounces with all columns
		header, rows, _ := strings.Cut(stories[0].body, "\n")
		body = append(body, header+"\r\n"...)
		for len(body) < 1<<20 {
			body = append(body, strings.ReplaceAll(rows, "\n", "\r\n")+"\r\n"...)
		}
	case KumoMTA: // a delivery with all fields, a bounce, a deferral
		for len(body) < 1<<20 {
			body = append(body, stories[0].body+"\n"+stories[0].body+"\n"+stories[2].body+"\n"+stories[3].body+"\n"...)
		}
	default:
		for len(body) < 1<<20 {
			body = append(body, stories[0].body+"\n"+stories[1].body+"\n"...)
		}
	}
	res, err := New().Parse(format, body, Handler{Event: func(*schema.DeliveryEvent) {}})
	if err != nil || res.Faults > 0 {
		b.Fatalf("%+v, %v", res, err)
	}
	return body, res.Records
}

// processorTime is what this process has used, garbage collection included; wall time on shared machines lies.
func processorTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFeed reads bodies of 1 MB, without a site file and with one that asks for a label in every format's way.
func BenchmarkFeed(b *testing.B) {
	for _, format := range Formats() {
		benchFeed(b, format, format, New())
	}
	for _, format := range Formats() {
		benchFeed(b, format+"+site", format, testParser(b))
	}
}

func benchFeed(b *testing.B, name, format string, p *Parser) {
	b.Run(name, func(b *testing.B) {
		body, records := benchBody(b, format)
		h := Handler{Event: func(*schema.DeliveryEvent) {}}
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		before := processorTime(b)
		for b.Loop() {
			if _, err := p.Parse(format, body, h); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(records)*float64(b.N)/(processorTime(b)-before).Seconds(), "records/cpu-s")
	})
}

// BenchmarkLine is one KumoMTA line a body, as a shipper sends them; encoding/json is the yardstick.
func BenchmarkLine(b *testing.B) {
	line := []byte(readStories(b, KumoMTA)[0].body)
	b.Run("kumomta", func(b *testing.B) {
		p := testParser(b)
		h := Handler{Event: func(*schema.DeliveryEvent) {}}
		b.SetBytes(int64(len(line)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.Parse(KumoMTA, line, h); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		var record struct {
			Type, ID, Sender, Recipient, Queue string
			Response                           struct {
				Code    int
				Content string
				Command string
			}
			EventTime string `json:"event_time"`
		}
		b.SetBytes(int64(len(line)))
		b.ReportAllocs()
		for b.Loop() {
			if err := json.Unmarshal(line, &record); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("newlines", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			if bytes.IndexByte(line, '\n') >= 0 {
				b.Fatal("a newline")
			}
		}
	})
}
