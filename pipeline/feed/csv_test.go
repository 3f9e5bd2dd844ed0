package feed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// collector gathers what a CSV tells, in order.
type collector struct{ out []string }

func (c *collector) handler() Handler {
	return Handler{
		Event: func(ev *schema.DeliveryEvent) { c.out = append(c.out, tell(ev)) },
		Fault: func(err *Error) { c.out = append(c.out, fmt.Sprintf("fault %s %q", err.Reason, err.Value)) },
	}
}

const sampleCSV = "type,timeLogged,rcpt,dsnDiag\r\n" +
	"b,1772352001,a@dest.example,\"smtp;550-5.1.1 no\n550 5.1.1 such \"\"user\"\"\"\r\n" +
	"d,1772352002,b@dest.example,smtp;250 ok\n" +
	"type,rcpt,timeLogged\n" +
	"rb,c@dest.example,1772352003\n"

// A file cut between any two lines, with or without the line ends that shippers take off, gives the same events, also
// when the state is written out and read back at each cut.
func TestPiecesOfAFile(t *testing.T) {
	var whole collector
	if res, err := NewCSV(New()).Parse([]byte(sampleCSV), whole.handler()); err != nil || res.Events != 3 || res.Faults != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(sampleCSV, "\n"), "\n")
	for _, bare := range []bool{false, true} {
		for mask := range 1 << (len(lines) - 1) {
			var got collector
			c := NewCSV(New())
			piece := ""
			for i, line := range lines {
				piece += line
				if mask>>i&1 == 0 && i < len(lines)-1 {
					continue
				}
				if bare {
					piece = strings.TrimSuffix(piece, "\n")
				}
				if _, err := c.Parse([]byte(piece), got.handler()); err != nil {
					t.Fatal(err)
				}
				piece = ""
				state := c.AppendState(nil)
				c = NewCSV(New())
				if err := c.LoadState(state); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(c.AppendState(nil), state) {
					t.Fatal("the state did not survive")
				}
			}
			if res := c.Close(got.handler()); res != (Result{}) {
				t.Fatalf("left over: %+v", res)
			}
			if strings.Join(got.out, "\n") != strings.Join(whole.out, "\n") {
				t.Fatalf("cut %b: got\n%s\nwant\n%s", mask, strings.Join(got.out, "\n"), strings.Join(whole.out, "\n"))
			}
		}
	}
}

// A broken row costs only itself, whatever its quotes try to swallow.
func TestBrokenRowsCostOnlyThemselves(t *testing.T) {
	const good = "d,1772352002,b@dest.example,smtp;250 ok"
	for _, c := range []struct {
		name, row string
		want      Reason
	}{
		{"NUL", "d,1772352001,a\x00@dest.example,x", ReasonNUL},
		{"NUL in quotes", "d,1772352001,a@dest.example,\"x\x00\"", ReasonNUL},
		{"too few", "d,1772352001", ReasonColumns},
		{"too many", "d,1772352001,a@dest.example,x,y", ReasonColumns},
		{"behind the quote", `d,1772352001,"a@dest.example"x,y`, ReasonQuote},
		{"never closed", `d,1772352001,"a@dest.example,y`, ReasonQuote},
		{"closed in the next row", "d,1772352001,\"a@dest.example,y\n" + strings.Replace(good, "smtp", `"smtp`, 1) + `"`, ReasonQuote},
		{"two rows made one", "d,1772352001,\"a@dest.example,y\n" + good + `"`, ReasonColumns},
		{"too long", "d,1772352001,a@dest.example," + strings.Repeat("x", MaxRecordBytes), ReasonTooLong},
		{"too long in quotes", `d,1772352001,a@dest.example,"` + strings.Repeat("x", MaxRecordBytes), ReasonTooLong},
		{"more columns than any header", strings.Repeat(",", maxColumns+1), ReasonColumns},
	} {
		t.Run(c.name, func(t *testing.T) {
			var why []Reason
			var to []string
			body := "type,timeLogged,rcpt,dsnDiag\n" + good + "\n" + c.row + "\n" + good + "\n"
			res, err := New().Parse(PowerMTA, []byte(body), Handler{
				Event: func(ev *schema.DeliveryEvent) { to = append(to, ev.Recipient) },
				Fault: func(err *Error) {
					why = append(why, err.Reason)
					if want, _, _ := strings.Cut(c.row, "\n"); err.Value != want || err.Offset != 29+len(good)+1 || err.Record != 3 {
						t.Errorf("fault at %d, record %d, of %d bytes", err.Offset, err.Record, len(err.Value))
					}
				},
			})
			if err != nil || res.Faults != 1 || len(why) != 1 || why[0] != c.want {
				t.Fatalf("%+v, %v, reasons %v", res, err, why)
			}
			if want := 2 + strings.Count(c.row, "\n"); len(to) != want {
				t.Errorf("%d events, want %d", len(to), want)
			}
		})
	}
}

// An open record waits within its bound only, and Close gives it up.
func TestOpenRecordIsBounded(t *testing.T) {
	var got collector
	c := NewCSV(New())
	mustParse := func(piece string) Result {
		t.Helper()
		res, err := c.Parse([]byte(piece), got.handler())
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	mustParse("type,timeLogged,rcpt,dsnDiag\n")
	if res := mustParse(`d,1772352001,a@dest.example,"smtp;250`); res != (Result{}) {
		t.Fatalf("%+v", res)
	}
	for range 100 {
		mustParse(strings.Repeat("x", 1000))
	}
	if len(got.out) == 0 || got.out[0] != `fault too_long "d,1772352001,a@dest.example,\"smtp;250"` {
		t.Fatalf("%.200v", got.out)
	}
	got.out = nil
	mustParse(`d,1772352001,a@dest.example,"smtp;250`)
	mustParse("d,1772352002,b@dest.example,x")
	res := c.Close(got.handler())
	if res.Faults != 1 || res.Events != 1 || len(got.out) != 2 || !strings.HasPrefix(got.out[1], "b@dest.example") {
		t.Fatalf("%+v: %v", res, got.out)
	}
	if res := c.Close(got.handler()); res != (Result{}) {
		t.Errorf("closed twice: %+v", res)
	}
}

// LoadState refuses what AppendState did not write and leaves the reader as it was.
func TestLoadStateRefuses(t *testing.T) {
	c := NewCSV(New())
	if _, err := c.Parse([]byte("type,timeLogged,rcpt\nb,1772352001,\"open"), Handler{}); err != nil {
		t.Fatal(err)
	}
	state := c.AppendState(nil)
	for n := range state {
		if err := c.LoadState(state[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("%d of %d bytes: %v", n, len(state), err)
		}
	}
	for _, bad := range []string{string(state) + "x", stateVersion + "\x05a,b\r\n\x00", stateVersion + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if err := c.LoadState([]byte(bad)); !errors.Is(err, ErrState) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if !bytes.Equal(c.AppendState(nil), state) {
		t.Error("the reader was changed")
	}
}
