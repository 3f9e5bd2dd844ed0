package envelope

import (
	"bytes"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// zstandard returns b as one frame of Zstandard without its size in front, as a stream is written.
func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestZstandardIsInflated(t *testing.T) {
	one, two := zstandard(t, []byte("a\n{\"message\":\"b\"}\n")), zstandard(t, []byte("c"))
	lines, err := read(t, append(one, two...))
	if err != nil || len(lines) != 3 || string(lines[1].Text) != "b" || string(lines[2].Text) != "c" {
		t.Errorf("%q, %v", texts(lines), err)
	}
}

// A proper prefix of compressed text is refused as a whole: a line that was cut must not pass for a line.
func TestEveryPrefixOfCompressedTextIsRefused(t *testing.T) {
	text := []byte(header + message + "\n" + header + message)
	for _, whole := range [][]byte{compressed(t, text), zstandard(t, text)} {
		for n := 4; n < len(whole); n++ {
			lines, err := read(t, whole[:n])
			if err == nil || err.Reason != ReasonCompression || len(lines) != 0 || !bytes.Equal(err.Rest, whole[:n]) {
				t.Fatalf("%d bytes: %d lines, %v", n, len(lines), err)
			}
		}
	}
}

// What is inflated is bounded, whatever a frame says of its size and however many there are.
func TestBombsAreRefused(t *testing.T) {
	half := zstandard(t, make([]byte, MaxValueBytes/2+1))
	for name, value := range map[string][]byte{
		"gzip":                  compressed(t, make([]byte, MaxValueBytes+1)),
		"gzip members":          append(compressed(t, make([]byte, MaxValueBytes)), compressed(t, []byte("a"))...),
		"Zstandard":             zstandard(t, make([]byte, MaxValueBytes+1)),
		"frames of Zstandard":   append(half, half...),
		"a value above the sum": make([]byte, MaxValueBytes+1),
	} {
		var r Reader
		err := r.Lines(value, func(l Line) { t.Errorf("%s: a line of %d bytes", name, len(l.Text)) })
		if e, ok := err.(*Error); !ok || e.Reason != ReasonTooLong && e.Reason != ReasonCompression {
			t.Errorf("%s: %v", name, err)
		}
		if cap(r.inflated) > 2*MaxValueBytes {
			t.Errorf("%s: %d bytes inflated", name, cap(r.inflated))
		}
	}
}

// The work on a value is a few times its length, whatever it holds. It is counted in bytes and elements passed over, so
// that the machine's load does not matter. The worst is a document that is opened 16 times and never closed.
func TestWorkIsLinear(t *testing.T) {
	const n = 1 << 18
	fill := func(unit string) []byte { return []byte(strings.Repeat(unit, n/len(unit))) }
	document := func(head, unit, tail string) []byte { return append([]byte(head), append(fill(unit), tail...)...) }
	worst := 0
	for name, value := range map[string][]byte{
		"arrays":                   fill("["),
		"arrays on lines":          fill("[\n"),
		"arrays in a field":        document(`{"message":`, "[", ""),
		"objects":                  fill(`{"a":`),
		"objects on lines":         fill("{\"a\":\n"),
		"documents that never end": fill("{\"a\":[1,\n"),
		"never closed, then items": document(strings.Repeat("{\"a\":[\n", MaxDepth/2-1), "{},\n", ""),
		"open strings":             fill("{\"\n"),
		"open strings, far quotes": fill("{\"" + strings.Repeat("x", 1000) + "\n" + strings.Repeat("y\n", 1000)),
		"blanks":                   document(`{"a"`, " ", ""),
		"blank lines":              document(`{`, "\n", ""),
		"openers and blank lines":  fill("{\n\n\n\n\n\n\n\n"),
		"quotes that are escaped":  document(`{"`, `\"`, ""),
		"slashes and quotes":       fill(`{"\\\\\\\\\\\\\\"`),
		"many documents":           fill("{\"message\":\"a\"}\n"),
		"an array of documents":    document("[", `{"message":"a"},`, `{"message":"b"}]`),
		"one name many times":      document(`{"x":1`, `,"message":"a"`, "}"),
		"strings in a message":     document(`{"message":[""`, `,"a"`, "]}"),
		"documents in a message":   document(`{"message":"`, `{\"log\":\n`, `"}`),
		"JSON strings":             fill("\"a\"\n"),
		"open JSON strings":        fill("\"\n"),
		"an export":                document(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}`, `,{"body":{"stringValue":"a"}}`, `]}]}]}`),
		"an export's attributes": document(`{"resourceLogs":[{"resource":{"attributes":[{}`, `,{"key":"host.name","value":{"stringValue":"h"}}`,
			`]},"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}`),
		"lists in an export": document(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"kvlistValue":{"values":[{"key":"message","value":{"kvlistValue":{"values":[{}`,
			`,{"key":"message","value":{"stringValue":"a"}}`, `]}}}]}}}]}]}]}`),
		"stacked lines": fill("2026-11-21T08:28:15Z {\"name\":\"h\",\"x\":{\"name\":1}} Nov 21 08:28:15 x\n"),
	} {
		var r Reader
		lines := 0
		_ = r.Lines(value, func(Line) { lines++ })
		times := r.scanned / len(value)
		worst = max(worst, times)
		if times > 2*MaxDepth {
			t.Errorf("%s: passed over %d times, %d lines", name, times, lines)
		}
	}
	if worst < 2 {
		t.Errorf("nothing was counted: %d", worst)
	}
}
