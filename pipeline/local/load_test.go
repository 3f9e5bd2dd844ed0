package local

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"carom.dev/carom/pipeline/broker"
)

func TestHostOfFindsTheHostBehindTheStamp(t *testing.T) {
	for line, want := range map[string]string{
		"Nov 21 08:28:19 mta1 postfix/smtp[314]: QID: x":                 "mta1",
		"Nov  1 08:28:19 mta2.example.com postfix/smtp[314]: QID: x":     "mta2.example.com",
		"2026-11-21T08:28:15.419532+00:00 mta3 postfix/smtp[1]: QID: x":  "mta3",
		"<22>1 2026-11-21T08:28:15.419532+00:00 mta4 postfix 213 - -  x": "mta4",
		"Nov 21":   "",
		"":         "",
		"\x00\x01": "",
	} {
		if got := HostOf([]byte(line)); got != want {
			t.Errorf("HostOf(%q) = %q, want %q", line, got, want)
		}
	}
}

// The lines of one host keep their order, whatever stands between them and however many records they fill.
func TestPackedLinesKeepEachHostsOrder(t *testing.T) {
	var lines []Line
	for i := range 5000 {
		host := fmt.Sprintf("mta%d", i%3)
		lines = append(lines, Line{Host: host, Text: fmt.Appendf(nil, "%s line %d %s", host, i, strings.Repeat("x", i%90))})
	}
	got := map[string][]string{}
	for _, m := range pack(lines, 4, []broker.Header{{Key: "h"}}) {
		if len(m.Value) > recordBytes {
			t.Fatalf("a record of %d bytes", len(m.Value))
		}
		if m.Partition != broker.PartitionOf(m.Key, 4) || len(m.Headers) != 1 {
			t.Fatalf("partition %d, %d headers", m.Partition, len(m.Headers))
		}
		got[string(m.Key)] = append(got[string(m.Key)], strings.Split(strings.TrimSuffix(string(m.Value), "\n"), "\n")...)
	}
	for host := range got {
		var want []string
		for _, l := range lines {
			if l.Host == host {
				want = append(want, string(l.Text))
			}
		}
		if strings.Join(got[host], "\n") != strings.Join(want, "\n") {
			t.Errorf("%s: %d lines came out of %d, or in another order", host, len(got[host]), len(want))
		}
	}
}

func TestDecompressReadsGzipAndPlain(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprint(w, "a log")
	w.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]string{"gzip": z.String(), "zstd": string(enc.EncodeAll([]byte("a log"), nil)), "plain": "a log", "empty": ""} {
		r, err := Decompress(strings.NewReader(in))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b, err := io.ReadAll(r)
		if want := map[string]string{"gzip": "a log", "zstd": "a log", "plain": "a log", "empty": ""}[name]; err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}
