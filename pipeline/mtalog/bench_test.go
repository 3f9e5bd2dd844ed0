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

// BenchmarkPostfixLine measures the reader over the bulk sample: ns and allocations are per line. "newlines" is the floor, and
// "regexp" what one anchored Go regular expression costs for the delivery lines alone.
func BenchmarkPostfixLine(b *testing.B) {
	log := readGzip(b, filepath.Join(sampleFolder(b, "postfix-bulk"), "mail.log.gz"))
	if len(log) > 40<<20 {
		log = log[:bytes.LastIndexByte(log[:40<<20], '\n')+1]
	}
	var deliveries []byte
	for _, line := range lines(log) {
		if bytes.Contains(line, []byte(": to=<")) {
			deliveries = append(append(deliveries, line...), '\n')
		}
	}
	run := func(name string, text []byte, read func(line []byte)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n, rest := 0, text
			for b.Loop() {
				k := bytes.IndexByte(rest, '\n')
				read(rest[:k])
				if rest = rest[k+1:]; len(rest) == 0 {
					rest = text
				}
				n += k + 1
			}
			b.SetBytes(int64(n / b.N))
		})
	}
	sum := 0
	var st stamps
	var f frame
	var m message
	in := Input{Reference: sampleReference}
	scan := func(line []byte) {
		f = frame{}
		if st.readFrame(line, &in, &f) == ReasonNone {
			scanMessage(line, int(f.msg.from), &m)
			sum += int(m.shape)
		}
	}
	expr := regexp.MustCompile(`^(\w{3} [ \d]\d \d\d:\d\d:\d\d) (\S+) ([^/\s]+)/(\w+)\[(\d+)\]: ([0-9A-Za-z]+): to=<([^>]*)>, (?:orig_to=<([^>]*)>, )?` +
		`relay=([^,\[]+)(?:\[([^\]]*)\]:(\d+))?, (?:conn_use=\d+, )?delay=([\d.]+), delays=([\d./]+), dsn=(\d\.\d+\.\d+), status=(\w+) \((.*)\)$`)
	for _, mix := range []struct {
		name string
		text []byte
	}{{"delivery", deliveries}, {"all", log}} {
		run(mix.name+"/newlines", mix.text, func(line []byte) { sum += len(line) })
		run(mix.name+"/scan", mix.text, scan)
		c := NewCorrelator(DefaultConfig())
		emit := func(ev *schema.DeliveryEvent) { sum += len(ev.Recipient) }
		run(mix.name+"/correlate", mix.text, func(line []byte) {
			in.Line = line
			c.Line(in, emit)
		})
	}
	run("delivery/regexp", deliveries[:bytes.LastIndexByte(deliveries[:4<<20], '\n')+1], func(line []byte) {
		if expr.Match(line) {
			sum++
		}
	})
	if sum == 0 {
		b.Fatal("nothing was read")
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
	begin := processTime(b)
	for b.Loop() {
		in.Line = log[k]
		c.Line(in, emit)
		n += len(in.Line)
		if k++; k == len(log) {
			k = 0
		}
	}
	b.ReportMetric(float64(b.N)/(processTime(b)-begin).Seconds(), "lines/cpu-s")
	b.SetBytes(int64(n / b.N))
	st := c.Stats()
	b.ReportMetric(float64(st.Events)/float64(st.Lines), "events/line") // as many in later rounds as in the first
	if sum == 0 && b.N > len(log) {
		b.Fatal("nothing was read")
	}
}

// processTime is what this process has used: wall time lies where the machine is shared.
func processTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
