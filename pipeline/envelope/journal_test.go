package envelope

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

func logLines(t *testing.T, name string) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "mtalog", "testdata", "postfix-3.11", name))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSuffix(b, []byte("\n")), []byte("\n"))
}

// A run of a real Postfix gives the same events through the journal's JSON export as through the syslog file of the same
// lines: senders, attempts, causes, all but the fraction of a second that the file lacks.
func TestJournalOfAWholeRun(t *testing.T) {
	arrived := time.Date(2026, 11, 28, 18, 0, 0, 0, time.UTC)
	journal := logLines(t, "journal.json.gz")
	file := logLines(t, "mail.log.gz")[:len(journal)]
	var want, got []*schema.DeliveryEvent
	collect := func(events *[]*schema.DeliveryEvent) func(*schema.DeliveryEvent) {
		return func(ev *schema.DeliveryEvent) { *events = append(*events, proto.Clone(ev).(*schema.DeliveryEvent)) }
	}
	plain, carried := mtalog.NewCorrelator(mtalog.DefaultConfig()), mtalog.NewCorrelator(mtalog.DefaultConfig())
	for _, line := range file {
		plain.Line(mtalog.Input{Line: line, Reference: arrived}, collect(&want))
	}
	for from := 0; from < len(journal); from += 7 { // several documents a record, as shippers batch them
		value := bytes.Join(journal[from:min(from+7, len(journal))], []byte("\n"))
		lines, err := read(t, value)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			r := carried.Line(mtalog.Input{Line: l.Text, Host: l.Host, Reference: arrived}, collect(&got))
			if r.Kind == mtalog.KindUnparsed || r.Host != "mta1" {
				t.Fatalf("%s %s of %q: %s", r.Kind, r.Reason, r.Host, l.Text)
			}
		}
	}
	if len(got) != len(want) || len(want) < 150 {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if d := g.OccurredAtUs - w.OccurredAtUs; d < 0 || d >= 1e6 {
			t.Errorf("event %d: off by %d us", i, d)
		}
		for _, ev := range []*schema.DeliveryEvent{g, w} {
			ev.OccurredAtUs = 0
			if ev.Raw.Line != "" {
				ev.Raw.Line = ev.Raw.Line[bytes.IndexByte([]byte(ev.Raw.Line), ']'):] // behind the stamp
			}
			if ev.Cause != nil {
				ev.Cause.OccurredAtUs = 0
			}
		}
		if !proto.Equal(g, w) {
			t.Fatalf("event %d:\ngot  %v\nwant %v", i, g, w)
		}
	}
	if a, b := plain.Stats(), carried.Stats(); a.Kinds != b.Kinds || a.Reasons != b.Reasons {
		t.Errorf("lines became %v, want %v", b.Kinds, a.Kinds)
	}
}
