package survey

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/schema"
)

func encode(events *[]string) func(*schema.DeliveryEvent) {
	return func(ev *schema.DeliveryEvent) { *events = append(*events, string(eventjson.Append(nil, ev))) }
}

// Every line is counted once, ids are unique, and a second run gives the same bytes.
func TestReadingALogTwiceGivesTheSameEvents(t *testing.T) {
	text := sample(t, "mail.log.gz")
	var runs [2][]string
	for i := range runs {
		log := NewLog(nil, nil)
		ids := map[string]bool{}
		mustRead(t, log, "mail.log", text, func(ev *schema.DeliveryEvent) {
			encode(&runs[i])(ev)
			if ids[ev.EventId] {
				t.Errorf("id %s twice", ev.EventId)
			}
			ids[ev.EventId] = true
			if want := fmt.Sprintf("mail.log.0.%d.%d", ev.Raw.Offset, ev.Raw.Index); ev.EventId != want || ev.Raw.Topic != "mail.log" {
				t.Errorf("id %s, want %s", ev.EventId, want)
			}
			line := bytes.Split(text, []byte("\n"))[ev.Raw.Offset]
			if !bytes.Contains(line, []byte(ev.QueueId)) {
				t.Errorf("line %d is not about %s", ev.Raw.Offset, ev.QueueId)
			}
		})
		s := log.Stats()
		if n := int64(bytes.Count(text, []byte("\n"))); s.Lines != n || s.Event+s.Known+s.Unparsed != n {
			t.Errorf("%d lines are counted as %+v", n, s)
		}
		if s.Events != int64(len(runs[i])) || s.Hosts != 1 {
			t.Errorf("%d events, stats %+v", len(runs[i]), s)
		}
	}
	if !slices.Equal(runs[0], runs[1]) {
		t.Error("the runs differ")
	}
}

// Messages are followed from one file into the next, wherever the log was cut.
func TestMessagesGoOnInTheNextFile(t *testing.T) {
	text := sample(t, "mail.iso.log.gz")
	strip := func(ev *schema.DeliveryEvent) { ev.EventId, ev.Raw.Topic, ev.Raw.Offset = "", "", 0 }
	var want []string
	mustRead(t, NewLog(nil, nil), "whole", text, func(ev *schema.DeliveryEvent) { strip(ev); encode(&want)(ev) })
	lines := bytes.SplitAfter(text, []byte("\n"))
	for _, at := range []int{100, len(lines) / 2, len(lines) - 50} {
		var got []string
		log := NewLog(nil, nil)
		for i, part := range [][][]byte{lines[:at], lines[at:]} {
			mustRead(t, log, fmt.Sprint(i), bytes.Join(part, nil), func(ev *schema.DeliveryEvent) { strip(ev); encode(&got)(ev) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("cut at line %d: the events differ", at)
		}
	}
}

const sentLine = "Nov 21 08:28:19 mx1 postfix/smtp[1]: 4D40BA28CB1: to=<r@example.com>, relay=mx.example.com[192.0.2.1]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (250 ok)\n"

type seen struct {
	OccurredAtUs int64
	Backfill     bool
	MtaHost      string
}

func read(t *testing.T, text string, src Source) ([]seen, *Log, error) {
	t.Helper()
	var at []seen
	log := NewLog(nil, nil)
	err := log.Read(t.Context(), strings.NewReader(text), src, func(ev *schema.DeliveryEvent) error {
		at = append(at, seen{ev.OccurredAtUs, ev.Backfill, ev.MtaHost})
		return nil
	})
	return at, log, err
}

func TestInputsWithoutMailLinesAreRefused(t *testing.T) {
	exim := "2026-11-21 08:43:00 1abc-def <= a@example.com\n"
	cron := "Nov 21 08:28:19 mx1 cron[1]: (root) CMD (true)\n"
	for _, tc := range []struct {
		name, text, want string // want is empty where the input is taken
	}{
		{"empty", "", "x: no line of a known mail server found: it is empty"},
		{"a mainlog whose host nobody names", strings.Repeat(exim, 7), "x: no line of a known mail server found in 7 lines; it begins with \"2026-11-21 08:43:00 1abc-def <= a@example.com\""},
		{"another program", cron, "x: no line of a known mail server found in 1 lines"},
		{"binary", "\x7fELF\x00\x1b[31m" + strings.Repeat("\n", headerlessLines+5), "in the first 10000 lines, nor any syslog header"},
		{"one line late in a syslog", strings.Repeat(cron, 2*headerlessLines) + sentLine, ""},
		{"no newline at the end", strings.TrimSuffix(sentLine, "\n"), ""},
		{"carriage returns", strings.ReplaceAll(sentLine, "\n", "\r\n"), ""},
		{"a line of Postfix that is not understood", "Nov 21 08:28:19 mx1 postfix/smtp[1]: 4D40BA28CB1: to=<r@example.com>, relay=mx\n", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := Source{Name: "x", Reference: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
			_, _, err := read(t, tc.text, src)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (!errors.Is(err, ErrUnrecognized) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %s", err, tc.want)
			case strings.ContainsAny(fmt.Sprint(err), "\x1b\x7f"):
				t.Errorf("a control character in %q", err)
			}
			src.Any = true
			if _, log, err := read(t, tc.text, src); err != nil || log.Stats().Lines != linesOf(tc.text) {
				t.Errorf("told to take it: %v, %d lines", err, log.Stats().Lines)
			}
		})
	}
}

func linesOf(text string) int64 {
	n := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		n++
	}
	return int64(n)
}

func TestYearOfStampsWithoutOne(t *testing.T) {
	line := func(stamp string) string { return stamp + sentLine[len("Nov 21 08:28:19"):] }
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no zone data: ", err)
	}
	for _, tc := range []struct {
		name, stamp string
		src         Source
		want        string
	}{
		{"first second of the year", "Jan  1 00:00:00", Source{Reference: EndOfYear(2024, nil)}, "2024-01-01T00:00:00Z"},
		{"last second of the year", "Dec 31 23:59:59", Source{Reference: EndOfYear(2024, nil)}, "2024-12-31T23:59:59Z"},
		{"leap day", "Feb 29 12:00:00", Source{Reference: EndOfYear(2024, nil)}, "2024-02-29T12:00:00Z"},
		{"first second, zone", "Jan  1 00:00:00", Source{Reference: EndOfYear(2024, berlin), Location: berlin}, "2023-12-31T23:00:00Z"},
		{"last second, zone", "Dec 31 23:59:59", Source{Reference: EndOfYear(2024, berlin), Location: berlin}, "2024-12-31T22:59:59Z"},
		{"before the reference", "Dec 31 23:00:00", Source{Reference: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}, "2025-12-31T23:00:00Z"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events, _, err := read(t, line(tc.stamp), tc.src)
			if err != nil || len(events) != 1 {
				t.Fatalf("%d events, %v", len(events), err)
			}
			if got := time.UnixMicro(events[0].OccurredAtUs).UTC().Format(time.RFC3339); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestLateLinesAreBackfillByTheirOwnHostsClock(t *testing.T) {
	at := func(host, clock string) string {
		return "2026-11-21T" + clock + "+00:00 " + host + sentLine[len("Nov 21 08:28:19 mx1"):]
	}
	events, _, err := read(t, at("a", "08:00:00")+at("b", "12:00:00")+at("a", "08:05:00")+at("b", "11:50:00")+at("b", "11:49:59")+at("a", "08:06:00"), Source{})
	if err != nil {
		t.Fatal(err)
	}
	want := []bool{false, false, false, false, true, false}
	for i, ev := range events {
		if ev.Backfill != want[i] {
			t.Errorf("event %d of host %s: backfill %v", i, ev.MtaHost, ev.Backfill)
		}
	}
	if len(events) != len(want) {
		t.Errorf("%d events", len(events))
	}
}

func TestHostOfTheCarrierIsForLinesWithoutOne(t *testing.T) {
	events, _, err := read(t, strings.Replace(sentLine, " mx1 ", " ", 1)+sentLine, Source{Host: "carrier", Reference: EndOfYear(2026, nil)})
	if err != nil || len(events) != 2 || events[0].MtaHost != "carrier" || events[1].MtaHost != "mx1" {
		t.Errorf("%+v, %v", events, err)
	}
}

func TestOverlongLinesAreCountedAndSkipped(t *testing.T) {
	long := sentLine[:60] + strings.Repeat("x", 3*readBufferBytes) + "\n"
	events, log, err := read(t, sentLine+long+sentLine+long[:len(long)-1], Source{Reference: EndOfYear(2026, nil)})
	s := log.Stats()
	if err != nil || len(events) != 2 || s.Lines != 4 || s.Unparsed != 2 {
		t.Errorf("%d events, %+v, %v", len(events), s, err)
	}
	for _, d := range s.Detail {
		if d.Kind == "unparsed" && (d.Reason != "too_long" || len(d.Samples) == 0 || len(d.Samples[0]) > 4*sampleRunes) {
			t.Errorf("%+v", d)
		}
	}
}

// Reading ends at the first error, with the events before it handed over, and says where it was.
func TestReadingEndsOnErrors(t *testing.T) {
	src := Source{Name: "mail.log", Reference: EndOfYear(2026, nil)}
	broken := errors.New("broken")
	n := 0
	count := func(*schema.DeliveryEvent) error { n++; return nil }

	err := NewLog(nil, nil).Read(t.Context(), io.MultiReader(strings.NewReader(sentLine), iotest.ErrReader(broken)), src, count)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "mail.log: line 2") || n != 1 {
		t.Errorf("%v after %d events", err, n)
	}
	n = 0
	err = NewLog(nil, nil).Read(t.Context(), strings.NewReader(strings.Repeat(sentLine, 3)), src, func(*schema.DeliveryEvent) error { n++; return broken })
	if !errors.Is(err, broken) || n != 1 {
		t.Errorf("%v after %d events", err, n)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := NewLog(nil, nil).Read(ctx, strings.NewReader(sentLine), src, count); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDaemonNamesFromTheLogAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 10 * maxDaemons {
		fmt.Fprintf(&b, "Nov 21 08:28:19 mx1 postfix/evil%d[1]: x\n", i)
	}
	_, log, err := read(t, b.String(), Source{Reference: EndOfYear(2026, nil)})
	s := log.Stats()
	if err != nil || len(s.Detail) > maxDaemons+1 || s.Lines != 10*maxDaemons {
		t.Errorf("%d rows for %d lines, %v", len(s.Detail), s.Lines, err)
	}
}

// A part of the large log of the development samples: the ledger holds, and nothing stays unparsed.
func TestBulkLogAddsUp(t *testing.T) {
	f, err := os.Open("../../../shared/samples/postfix-bulk/mail.log.gz")
	if os.IsNotExist(err) {
		t.Skip("no bulk sample beside the project")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(io.LimitReader(z, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	log, sum := NewLog(nil, nil), New(ownRules(t), false)
	mustRead(t, log, "mail.log", text, sum.Event)
	s := log.Stats()
	if n := int64(bytes.Count(text, []byte("\n"))); s.Lines != n || s.Event+s.Known != n || s.Unparsed != 0 {
		t.Errorf("%d lines are counted as %d + %d + %d", n, s.Event, s.Known, s.Unparsed)
	}
	if r := sum.Report(s); r.Naive.Dropped == 0 || r.Naive.Wrong+r.Naive.Evidence != r.Naive.Dropped {
		t.Errorf("%+v", r.Naive)
	}
}

// What carom parse does: lines to JSON.
func BenchmarkLinesToJSON(b *testing.B) {
	text := sample(b, "mail.iso.log.gz")
	var line []byte
	for b.Loop() {
		mustRead(b, NewLog(nil, nil), "mail.log", text, func(ev *schema.DeliveryEvent) { line = eventjson.Append(line[:0], ev) })
	}
	b.ReportMetric(float64(bytes.Count(text, []byte("\n"))*b.N)/b.Elapsed().Seconds(), "lines/s")
}
