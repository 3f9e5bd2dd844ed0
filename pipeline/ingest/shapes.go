package ingest

import (
	"context"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"carom.dev/carom/pipeline/source"
)

// shapeKey is an unparsed item without what makes it one of a kind.
type shapeKey struct{ format, daemon, reason, sample string }

// shapeBytes is how much of a line makes its shape: the header and the first words.
const shapeBytes = 160

func (c *counters) shape(f source.Fate, n int, text []byte) {
	key := shapeKey{f.Format, f.Daemon, f.Reason, mask(text)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.shapes[key]; !known && len(c.shapes) >= maxShapes {
		key = shapeKey{reason: f.Reason, sample: "other"}
	}
	c.shapes[key] += int64(n)
}

func (c *counters) observeShapes(_ context.Context, o metric.Int64Observer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, n := range c.shapes {
		o.Observe(n, metric.WithAttributes(attribute.String("format", k.format), attribute.String("daemon", k.daemon),
			attribute.String("reason", k.reason), attribute.String("sample", k.sample)))
	}
	return nil
}

// mask makes a line fit to be shown: words that hold an at sign or a digit, which may be addresses, ids, times or numbers,
// become "*", and what is not printable a blank. Runs of them become one.
func mask(text []byte) string {
	var b strings.Builder
	last := ""
	cut := strings.ToValidUTF8(string(text[:min(len(text), shapeBytes)]), " ")
	for word := range strings.FieldsFuncSeq(cut, func(r rune) bool { return r <= ' ' || r == 0x7f || r == utf8.RuneError }) {
		if strings.ContainsAny(word, "@0123456789%") || len(word) > 40 {
			word = "*"
		}
		if word == "*" && last == "*" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
		last = word
	}
	return b.String()
}
