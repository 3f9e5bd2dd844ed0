package feed

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// hostCollector gathers what Files tells, by host.
type hostCollector map[string][]string

func (c hostCollector) handler(host func() string) Handler {
	return Handler{
		Event: func(ev *schema.DeliveryEvent) { c[ev.MtaHost] = append(c[ev.MtaHost], tell(ev)) },
		Fault: func(err *Error) { c[host()] = append(c[host()], fmt.Sprintf("fault %s %q", err.Reason, err.Value)) },
	}
}

// Rows of many hosts that come interleaved line by line give what each host's file gives by itself, also when the table
// is written out and read back between any two lines.
func TestInterleavedHosts(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	files := map[string][]string{}
	var hosts []string
	for k := range 5 {
		host := fmt.Sprintf("mta%d", k)
		hosts = append(hosts, host)
		files[host] = strings.SplitAfter(strings.ReplaceAll(sampleCSV, "a@dest", fmt.Sprintf("h%d@dest", k)), "\n")
	}
	want := hostCollector{}
	for _, host := range hosts {
		p := New()
		p.SetHost(host)
		if _, err := p.Parse(PowerMTA, []byte(strings.Join(files[host], "")), want.handler(func() string { return host })); err != nil {
			t.Fatal(err)
		}
	}
	got := hostCollector{}
	f := NewFiles(New(), DefaultFilesConfig())
	left := slices.Clone(hosts)
	for len(left) > 0 {
		k := rng.IntN(len(left))
		host := left[k]
		line := files[host][0]
		if files[host] = files[host][1:]; len(files[host]) == 0 {
			left = slices.Delete(left, k, k+1)
		}
		if _, err := f.Parse(host, []byte(strings.TrimSuffix(line, "\n")), got.handler(func() string { return host })); err != nil {
			t.Fatal(err)
		}
		state := f.AppendState(nil)
		f = NewFiles(New(), DefaultFilesConfig())
		if err := f.LoadState(state); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.AppendState(nil), state) {
			t.Fatal("the state did not survive")
		}
	}
	for _, host := range hosts {
		if len(want[host]) != 3 || !slices.Equal(got[host], want[host]) {
			t.Errorf("%s: got\n%s\nwant\n%s", host, strings.Join(got[host], "\n"), strings.Join(want[host], "\n"))
		}
	}
}

// Beyond its bound the table forgets the host that was silent longest. Its open record is told, and its next rows are
// faults until a header comes.
func TestFilesAreBounded(t *testing.T) {
	cfg := DefaultFilesConfig()
	cfg.MaxHosts = 2
	f := NewFiles(New(), cfg)
	var faults []string
	h := Handler{Fault: func(err *Error) { faults = append(faults, err.Reason.String()+" "+err.Value) }}
	parse := func(host, rows string) Result {
		t.Helper()
		res, err := f.Parse(host, []byte(rows), h)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	const header = "type,timeLogged,rcpt\n"
	parse("a", header+"d,1772352000,\"open")
	parse("b", header)
	parse("a", "and more") // a is not the oldest now
	parse("c", header)
	if f.Hosts() != 2 || f.Expects("b", []byte("d,1,x")) || !f.Expects("a", []byte("x")) || !f.Expects("c", []byte("d,1,x")) {
		t.Fatalf("%d hosts", f.Hosts())
	}
	if res := parse("d", header); res.Faults != 2 || len(faults) != 2 || faults[0] != "quote d,1772352000,\"open" || faults[1] != "columns and more" {
		t.Fatalf("%+v, %q", res, faults)
	}
	if res := parse("a", "d,1772352000,x@dest.example"); res.Faults != 1 || faults[2] != "header d,1772352000,x@dest.example" || f.Hosts() != 2 {
		t.Fatalf("%+v, %q, %d hosts", res, faults, f.Hosts())
	}

	cfg.MaxHosts, cfg.MaxBytes = 1000, 2*MaxRecordBytes
	f = NewFiles(New(), cfg)
	for k := range 200 {
		parse(fmt.Sprint(k), "type,rcpt,"+strings.Repeat("x", 2000)+"\n")
		if f.Bytes() > cfg.MaxBytes {
			t.Fatalf("%d bytes of %d hosts", f.Bytes(), f.Hosts())
		}
	}
	if f.Hosts() < 50 {
		t.Errorf("%d hosts", f.Hosts())
	}
}

// Close tells of every host's open record, and leaves the headers.
func TestFilesClose(t *testing.T) {
	f := NewFiles(New(), DefaultFilesConfig())
	faults := 0
	h := Handler{Fault: func(*Error) { faults++ }}
	for _, host := range []string{"a", "b"} {
		if _, err := f.Parse(host, []byte("type,timeLogged,rcpt\nd,1,\"open"), h); err != nil {
			t.Fatal(err)
		}
	}
	if res := f.Close(h); res.Faults != 2 || faults != 2 {
		t.Errorf("%+v", res)
	}
	if res := f.Close(h); res != (Result{}) || f.Hosts() != 2 || f.Bytes() != 2*len("atype,timeLogged,rcpt\r\n") {
		t.Errorf("%+v, %d hosts, %d bytes", res, f.Hosts(), f.Bytes())
	}
}

// LoadState refuses what AppendState did not write and leaves the table as it was.
func TestFilesLoadStateRefuses(t *testing.T) {
	f := NewFiles(New(), DefaultFilesConfig())
	for _, host := range []string{"a", "b"} {
		if _, err := f.Parse(host, []byte("type,timeLogged,rcpt\nd,1,\"open"), Handler{}); err != nil {
			t.Fatal(err)
		}
	}
	state := f.AppendState(nil)
	twice := bytes.Replace(state, []byte("\x01b"), []byte("\x01a"), 1)
	bad := [][]byte{append(bytes.Clone(state), 'x'), twice, []byte(filesVersion + "\x01\x01a\x00\x00"), []byte(filesVersion + "\xff\xff\xff\xff\x0f")}
	for n := range state {
		bad = append(bad, state[:n])
	}
	for _, b := range bad {
		if err := f.LoadState(b); !errors.Is(err, ErrState) {
			t.Errorf("%q: %v", b, err)
		}
	}
	if !bytes.Equal(f.AppendState(nil), state) {
		t.Error("the table was changed")
	}
}

// Single lines are known for what they are: records and header rows by themselves, rows by the header of their host.
func TestLinesAreDetected(t *testing.T) {
	const header = `type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId`
	for line, want := range map[string]string{
		header:                                PowerMTA,
		"\xEF\xBB\xBF" + header:               PowerMTA,
		`"type","timeLogged","rcpt"` + "\r\n": PowerMTA,
		"rcpt,TYPE,dsnDiag":                   PowerMTA,
		"type,something":                      "",
		"d,2026-03-01 09:00:05+0100,a,b":      "",
		`{"type":"Delivery","id":"1","queue":"a@b","timestamp":1}`:            KumoMTA,
		`  {"id":"1","recipient":["a"],"timestamp":1,"type":"Bounce"}` + "\n": KumoMTA,
		`{"type":"","id":"1","queue":"a@b","timestamp":1}`:                    "",
		`{"type":7,"id":"1","queue":"a@b","timestamp":1}`:                     "",
		`Nov 21 08:00:00 mta1 postfix/smtp[1]: A1: to=<type,rcpt,timelogged>`: "",
		"\xEF\xBB\xBF": "",
	} {
		if got, ok := Detect([]byte(line)); got != want || ok != (want != "") {
			t.Errorf("%q detected as %q", line, got)
		}
	}
	f := NewFiles(New(), DefaultFilesConfig())
	row := []byte("b,1772352000,1772352000,n@s.example,a@dest.example" + strings.Repeat(",", 16))
	if f.Expects("mta1", row) {
		t.Error("a row without header is expected")
	}
	if _, err := f.Parse("mta1", []byte(header), Handler{}); err != nil {
		t.Fatal(err)
	}
	if open := `b,"` + string(row[2:]); !f.Expects("mta1", []byte(open)) {
		t.Error("a row whose quoted field goes on in the next line is not expected")
	}
	if !f.Expects("mta1", row) || f.Expects("mta2", row) {
		t.Error("the row is not known by its host's header")
	}
	for _, line := range []string{"", "Nov 21 08:00:00 mta1 postfix/smtp[1]: x", "b,too few", "zz" + string(row[1:])} {
		if f.Expects("mta1", []byte(line)) {
			t.Errorf("%q is expected", line)
		}
	}
}
