package intake

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/feed"
)

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		name, format, body string
		limit              int
		want               string // parts, joined with |; empty: it cannot be split
	}{
		{"fits", feed.SendGrid, `[{"a":1},{"b":2}]`, 17, `[{"a":1},{"b":2}]`},
		{"array", feed.SendGrid, `[{"a":1},{"b":2}]`, 16, `[{"a":1}]|[{"b":2}]`},
		{"as many as fit", feed.SparkPost, `[1,22,333,4,5]`, 7, `[1,22]|[333,4]|[5]`},
		{"commas and brackets in strings", feed.SendGrid, `["a,]","\"],","b"]`, 8, `["a,]"]|["\"],"]|["b"]`},
		{"commas within elements", feed.SendGrid, `[[1,2],{"a":[3,4]},5]`, 15, `[[1,2]]|[{"a":[3,4]},5]`},
		{"white space is kept", feed.SendGrid, "[ 1 ,\n2 , 3 ]", 9, "[ 1 ,\n2 ]|[ 3 ]"},
		{"white space around", feed.SendGrid, " \n[1,2,3]\r\n", 5, "[1,2]|[3]"},
		{"element too large", feed.SendGrid, `[1,"0123456789",2]`, 13, ""},
		{"element just fits", feed.SendGrid, `[1,"0123456789",2]`, 14, `[1]|["0123456789"]|[2]`},
		{"last element too large", feed.SendGrid, `[1,"0123456789"]`, 13, ""},
		{"values one after the other", feed.Postmark, `{"a":1}{"b":2} {"c":3}`, 15, `{"a":1}{"b":2} |{"c":3}`},
		{"values and an array", feed.Mailgun, `{"a":1}[1,2,3]{"b":2}`, 7, `{"a":1}|[1,2,3]|{"b":2}`},
		{"a value too large between others", feed.Mailgun, `{"a":1}{"b":123456}{"c":3}`, 8, ""},
		{"object", feed.SES, `{"a":"0123456789"}`, 10, ""},
		{"broken: never closed", feed.SendGrid, `[1,2,3`, 4, ""},
		{"broken: closed otherwise", feed.SendGrid, `[{"a":1],[2}]`, 9, `[{"a":1]]|[[2}]`},
		{"broken: no commas", feed.SendGrid, `[1 2 3,4]`, 7, `[1 2 3]|[4]`},
		{"broken: an open string", feed.SendGrid, `[1,"2,3,4]`, 6, ""},
		{"broken: only commas", feed.SendGrid, `[,,,,]`, 4, `[,,]|[,]`},
		{"bare closing brackets", feed.SendGrid, `]]]]]]`, 4, `]]]]|]]`},
		{"lines", feed.KumoMTA, "{1}\n{2}\r\n{3}", 8, "{1}\n|{2}\r\n{3}"},
		{"lines, the last one ended", feed.KumoMTA, "{1}\n{2}\n", 4, "{1}\n|{2}\n"},
		{"line too large", feed.KumoMTA, "{1}\n{234567}\n{8}\n", 8, ""},
		{"kumomta as an array", feed.KumoMTA, " [{1},{2}]", 6, "[{1}]|[{2}]"},
		{"rows", feed.PowerMTA, "type,rcpt\nd,a\nd,b\n", 14, "type,rcpt\nd,a\n|d,b\n"},
		{"rows with a line end in a field", feed.PowerMTA, "t\n\"a\nb\",c\nd\n", 9, "t\n|\"a\nb\",c\n|d\n"},
		{"a quote that never ends", feed.PowerMTA, "t,\"\na\nb\nc\n", 6, "t,\"\na\n|b\nc\n"},
		{"row too large", feed.PowerMTA, "t\n0123456789\n", 8, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parts, err := split(tc.format, []byte(tc.body), tc.limit)
			if tc.want == "" {
				if !errors.Is(err, errElement) || parts != nil {
					t.Fatalf("got %q, err %v; want it refused", parts, err)
				}
				return
			}
			if got := string(bytes.Join(parts, []byte("|"))); err != nil || got != tc.want {
				t.Errorf("got %s, err %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

// A megabyte of brackets takes neither a stack nor long.
func TestSplitDeeplyNested(t *testing.T) {
	const depth = 1 << 20
	deep := strings.Repeat("[", depth)
	for _, body := range []string{deep, deep + strings.Repeat("]", depth), strings.Repeat(`{"a":`, depth), `[1,` + deep + strings.Repeat("]", depth) + `,2]`} {
		if _, err := split(feed.SendGrid, []byte(body), 900<<10); !errors.Is(err, errElement) {
			t.Errorf("%.20s: %v", body, err)
		}
	}
	half := strings.Repeat("[", depth/4) + strings.Repeat("]", depth/4)
	parts, err := split(feed.SendGrid, []byte("["+half+","+half+"]"), 900<<10)
	if err != nil || len(parts) != 2 || string(parts[1]) != "["+half+"]" {
		t.Errorf("%d parts, err %v", len(parts), err)
	}
}

// elements returns the elements of all values of a JSON text, as they are written: arrays are taken apart.
func elements(t *testing.T, text []byte) (out []string) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var v json.RawMessage
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var array []json.RawMessage
		if v[0] != '[' {
			out = append(out, string(v))
			continue
		}
		if err := json.Unmarshal(v, &array); err != nil {
			t.Fatalf("%q: %v", v, err)
		}
		for _, e := range array {
			out = append(out, "in an array: "+string(bytes.TrimSpace(e)))
		}
	}
}

// Whatever comes, no part is larger than the limit or empty, and of JSON text all elements are there, whole, as written and
// in order. Lines and rows are cut behind line ends only, and nothing of them is lost.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		`[{"a":"]\",["},{"b":[1,2,{"c":"\\"}]},-1.5e+3,null,"x"]`, `{"a":1} {"b":2}` + "\n" + `[1,2]`, `[[],[[]],{}]`, "[ ]", "\"\\u00e9\" 1 2",
		"{\"type\":\"Bounce\"}\n{\"type\":\"Delivery\"}\r\n", "type,rcpt\r\nb,\"a\r\nb\"\r\n", `[`, `]`, `,`, `"`, `[1,2`, "\x00[\xff]",
	} {
		f.Add([]byte(s), uint8(9), uint8(0))
		f.Add([]byte(s), uint8(14), uint8(2))
	}
	formats := []string{feed.SendGrid, feed.SparkPost, feed.KumoMTA, feed.PowerMTA, feed.SES}
	f.Fuzz(func(t *testing.T, body []byte, limit, which uint8) {
		if len(body) == 0 || limit == 0 {
			return
		}
		format := formats[int(which)%len(formats)]
		before := bytes.Clone(body)
		parts, err := split(format, body, int(limit))
		if !bytes.Equal(body, before) {
			t.Fatal("the body was changed")
		}
		lines := format == feed.PowerMTA || (format == feed.KumoMTA && firstOf(body) != '[')
		if err != nil {
			if !errors.Is(err, errElement) || parts != nil {
				t.Fatalf("parts %q, err %v", parts, err)
			}
			if lines && !slices.ContainsFunc(bytes.SplitAfter(body, []byte("\n")), func(l []byte) bool { return len(l) > int(limit) }) {
				t.Fatalf("%q cannot be split into %d bytes, but no line is so long", body, limit)
			}
			var plain bytes.Buffer
			if !lines && json.Compact(&plain, body) == nil && bytes.Equal(plain.Bytes(), body) && body[0] == '[' &&
				!slices.ContainsFunc(elements(t, body), func(e string) bool { return len(strings.TrimPrefix(e, "in an array: "))+2 > int(limit) }) {
				t.Fatalf("%q cannot be split into %d bytes, but no element is so large", body, limit)
			}
			return
		}
		for _, p := range parts {
			if len(p) > int(limit) || len(p) == 0 {
				t.Fatalf("part %q, limit %d", p, limit)
			}
		}
		if lines {
			if got := bytes.Join(parts, nil); !bytes.Equal(got, body) {
				t.Fatalf("parts make %q, want %q", got, body)
			}
			for _, p := range parts[:len(parts)-1] {
				if p[len(p)-1] != '\n' {
					t.Fatalf("cut within a line: %q", p)
				}
			}
			return
		}
		if !validJSON(body) {
			return
		}
		want, got := elements(t, body), []string(nil)
		for _, p := range parts {
			got = append(got, elements(t, p)...)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q in parts %q:\n%q\nwant\n%q", body, parts, got, want)
		}
	})
}

// validJSON reports whether text is a sequence of JSON values.
func validJSON(text []byte) bool {
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

// Of CSV text, no row is cut and all are there.
func FuzzSplitRows(f *testing.F) {
	f.Add("type,rcpt\r\nb,\"a\r\nb \"\"x\"\"\"\r\nd,c\r\n", uint8(20))
	f.Fuzz(func(t *testing.T, text string, limit uint8) {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil || limit == 0 || text == "" {
			return
		}
		parts, err := split(feed.PowerMTA, []byte(text), int(limit))
		if err != nil {
			return
		}
		long := false // a row that is larger than a part was cut at one of its own line ends
		var got [][]string
		for _, p := range parts {
			r := csv.NewReader(bytes.NewReader(p))
			r.FieldsPerRecord = -1
			some, err := r.ReadAll()
			if err != nil {
				long = true
				break
			}
			got = append(got, some...)
		}
		if long {
			r := csv.NewReader(strings.NewReader(text))
			from, most := int64(0), int64(0)
			for {
				if _, err := r.Read(); err != nil {
					break
				}
				most, from = max(most, r.InputOffset()-from), r.InputOffset()
			}
			if most <= int64(limit) {
				t.Fatalf("parts %q of rows of %d bytes at most", parts, most)
			}
			return
		}
		if !slices.EqualFunc(got, rows, slices.Equal[[]string]) {
			t.Fatalf("got %q, want %q", got, rows)
		}
	})
}
