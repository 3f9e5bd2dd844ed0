package mtalog

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// BenchmarkPostfixLine measures what a line of Postfix costs against a search for newlines over the same bytes, and one
// anchored Go regular expression over the same deliveries, in one run: the passes take turns, a piece of the log each, so
// that what else the machine does hits all of them alike, and CPU time is counted, the collector's included. "x-newline"
// is the price in newline scans (wanted: at most 5), "x-regexp" the gain on the expression (at least 15), for the reader
// alone; "correlate" is the whole Correlator, events included.
func BenchmarkPostfixLine(b *testing.B) {
	log := readGzip(b, filepath.Join(sampleFolder(b, "postfix-bulk"), "mail.log.gz"))
	var deliveries []byte
	for _, line := range lines(log) {
		if bytes.Contains(line, []byte(": to=<")) {
			deliveries = append(append(deliveries, line...), '\n')
		}
	}
	b.Run("all", func(b *testing.B) { benchmarkPasses(b, log, false) })
	b.Run("delivery", func(b *testing.B) { benchmarkPasses(b, deliveries, true) })
}

// pass is one way to read lines, and what it has cost.
type pass struct {
	name string
	read func(line []byte)
	rest []byte
	cpu  time.Duration
	n    int
}

// step reads the next lines of text.
func (p *pass) step(text []byte, lines int) {
	before := cpuTime()
	for range lines {
		if len(p.rest) == 0 {
			p.rest = text
		}
		k := bytes.IndexByte(p.rest, '\n')
		p.read(p.rest[:k])
		p.rest = p.rest[k+1:]
	}
	p.cpu += cpuTime() - before
	p.n += lines
}

func (p *pass) perLine() float64 { return float64(p.cpu.Nanoseconds()) / float64(p.n) }

func benchmarkPasses(b *testing.B, text []byte, withRegexp bool) {
	sum := 0
	var st stamps
	var f frame
	var m message
	in := Input{Reference: sampleReference}
	c := NewCorrelator(DefaultConfig())
	emit := func(ev *schema.DeliveryEvent) { sum += len(ev.Recipient) }
	passes := []*pass{
		{name: "newline", read: func(line []byte) { sum += len(line) }},
		{name: "scan", read: func(line []byte) {
			f = frame{}
			if st.readFrame(line, &in, &f) == ReasonNone {
				scanMessage(line, int(f.msg.from), &m)
				sum += int(m.shape)
			}
		}},
		{name: "correlate", read: func(line []byte) {
			in.Line = line
			c.Line(in, emit)
		}},
	}
	if withRegexp {
		expr := regexp.MustCompile(`^(\w{3} [ \d]\d \d\d:\d\d:\d\d) (\S+) ([^/\s]+)/(\w+)\[(\d+)\]: ([0-9A-Za-z]+): to=<([^>]*)>, (?:orig_to=<([^>]*)>, )?` +
			`relay=([^,\[]+)(?:\[([^\]]*)\]:(\d+))?, (?:conn_use=\d+, )?delay=([\d.]+), delays=([\d./]+), dsn=(\d\.\d+\.\d+), status=(\w+) \((.*)\)$`)
		passes = append(passes, &pass{name: "regexp", read: func(line []byte) {
			if expr.Match(line) {
				sum++
			}
		}})
	}
	const piece = 20_000 // lines
	for b.Loop() {
		for _, p := range passes {
			p.step(text, piece)
		}
	}
	if sum == 0 {
		b.Fatal("nothing was read")
	}
	newline, scan := passes[0].perLine(), passes[1].perLine()
	for _, p := range passes {
		b.ReportMetric(p.perLine(), p.name+"-ns/line")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(text))/float64(bytes.Count(text, []byte("\n"))), "B/line")
	b.ReportMetric(scan/newline, "x-newline")
	b.ReportMetric(passes[2].perLine()/newline, "correlate-x-newline")
	if withRegexp {
		b.ReportMetric(passes[3].perLine()/scan, "x-regexp")
	}
}

// cpuTime is the CPU time that the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// The reader allocates nothing; the Correlator one string a line that becomes an event, and what it has to remember of a
// message that is new to it.
func TestAllocationsPerLine(t *testing.T) {
	log := lines(readGzip(t, filepath.Join("testdata", "postfix", "mail.log.gz")))
	in := Input{Reference: sampleReference}
	var st stamps
	var f frame
	var m message
	if n := testing.AllocsPerRun(5, func() {
		for _, line := range log {
			f = frame{}
			if st.readFrame(line, &in, &f) == ReasonNone {
				scanMessage(line, int(f.msg.from), &m)
			}
		}
	}); n != 0 {
		t.Errorf("the reader: %g allocations for %d lines", n, len(log))
	}
	c := NewCorrelator(DefaultConfig())
	line := []byte("Nov 21 08:28:19 mta1 postfix/smtp[1]: 4jWlpz2sbgz13: to=<u@example.net>, relay=mx.example.net[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=4.2.2, status=deferred (host mx.example.net[192.0.2.7] said: 452 4.2.2 full (in reply to RCPT TO command))")
	active := []byte("Nov 21 08:28:19 mta1 postfix/qmgr[1]: 4jWlpz2sbgz13: from=<s@example.com>, size=2185, nrcpt=1 (queue active)")
	emit := func(*schema.DeliveryEvent) {}
	if n := testing.AllocsPerRun(100, func() {
		in.Line = active
		c.Line(in, emit)
		in.Line = line
		c.Line(in, emit)
	}); n > 1 {
		t.Errorf("the Correlator: %g allocations for an attempt and the line before it, want the one copy of the line", n)
	}
}

// BenchmarkFormatLine measures the reader of each other MTA over its sample, the whole one where it is there: ns and
// allocations are per line, and lines/cpu-s is by the process's CPU time, garbage
// collection included.
func BenchmarkFormatLine(b *testing.B) {
	for _, sample := range samples() {
		for _, file := range sample.files {
			path := filepath.Join("..", "..", "..", "shared", "samples", sample.format.String(), file)
			if _, err := os.Stat(path); err != nil {
				path = filepath.Join("testdata", sample.format.String(), file)
			}
			b.Run(sample.format.String()+"/"+file, func(b *testing.B) { benchmarkFormat(b, lines(readGzip(b, path))) })
		}
	}
}

func benchmarkFormat(b *testing.B, log [][]byte) {
	c := NewCorrelator(DefaultConfig())
	in := Input{Host: "carrier", Reference: sampleReference}
	sum, n, k := 0, 0, 0
	emit := func(ev *schema.DeliveryEvent) { sum += len(ev.Recipient) }
	b.ReportAllocs()
	begin := cpuTime()
	for b.Loop() {
		in.Line = log[k]
		c.Line(in, emit)
		n += len(in.Line)
		if k++; k == len(log) {
			k = 0
		}
	}
	b.ReportMetric(float64(b.N)/(cpuTime()-begin).Seconds(), "lines/cpu-s")
	b.SetBytes(int64(n / b.N))
	st := c.Stats()
	b.ReportMetric(float64(st.Events)/float64(st.Lines), "events/line") // as many in later rounds as in the first
	if sum == 0 && b.N > len(log) {
		b.Fatal("nothing was read")
	}
}
