package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func FuzzLines(f *testing.F) {
	for _, v := range shipments(f) {
		f.Add(v)
		f.Add(append(append([]byte("x\n[ "), v...), '\n'))
	}
	f.Add(compressed(f, []byte("a\n{\"message\":\"b\"}")))
	f.Add([]byte("{\"a\":[1,\n{\"log\":\"\\ud800\",\"tag\":\"x:\"}\n2026-11-21T08:28:15Z stdout P x"))
	f.Fuzz(func(t *testing.T, value []byte) {
		total, n := 0, 0
		var r Reader
		err := r.Lines(value, func(l Line) {
			if len(l.Text) == 0 || bytes.IndexByte(l.Text, '\n') >= 0 {
				t.Fatalf("line %q", l.Text)
			}
			if len(l.Host) > maxHostBytes {
				t.Fatalf("host %q", l.Host)
			}
			n++
			total += len(l.Text)
			if l.Format == FormatSyslog {
				total -= maxHostBytes + maxTagBytes + 80
			}
		})
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Parts < 1 || e.Reason == ReasonNone || e.Reason.String() == "") {
			t.Fatalf("error %#v", err)
		}
		if bytes.HasPrefix(value, []byte("\x1f\x8b")) {
			return
		}
		if total > 3*len(value) || n > len(value) || err != nil && len(e.Rest) > len(value)+e.Parts { // half of a surrogate pair, "\ud800", is the longest to write
			t.Fatalf("%d lines of %d bytes from %d, %v", n, total, len(value), err)
		}
		// Whatever the standard library takes for an object, this package takes for one.
		if s := bytes.TrimSpace(value); len(s) > 0 && s[0] == '{' && len(value) < MaxDocumentBytes && json.Valid(s) && err != nil && e.Reason == ReasonSyntax {
			t.Fatalf("valid JSON: %v", err)
		}
	})
}

// part is one thing that a shipper puts in a value, with a word in it that is nowhere else.
func part(kind byte, n int) (value, word string) {
	word = fmt.Sprintf("<%dm>", n)
	return [...]string{
		word + " a",
		`{"message":"` + word + `","host":"h"}`,
		`{"@timestamp":"2026-11-21T08:28:15Z","log":"x ` + word + `\n"}`,
		"2026-11-21T08:28:15Z stdout F x" + word,
		"2026-11-21T08:28:15Z stderr P " + word,
		`{"type":"Bounce","id":"` + word + `"}`,
		`["` + word + `",` + "\n" + `{"msg":"x"}]`,
		`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"` + word + `"}}]}]}]}`,
		"{\n  \"message\": \"" + word + "\"\n}",
		`{"SYSLOG_IDENTIFIER":"x/y","MESSAGE":"` + word + `","PRIORITY":null}`,
		`"` + word + ` \u0041"`,
		"2026-11-21T08:28:15Z h Nov 21 08:28:15 " + word,
		`{"message":"{\"log\":\"` + word + `\"}"}`,
		`{"@version":"1","host":"` + word + `"}`,
	}[kind%14], word
}

// Whatever parts stand in a value, and whatever one damage is done to it anywhere: each word is in exactly one line or in
// Rest. And Rest, submitted again, has all of its words once more.
func FuzzNothingIsLost(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d"), uint16(0), byte(0), byte('\n'))
	f.Add([]byte("\x01\x01\x01"), uint16(30), byte(1), byte('}'))
	f.Add([]byte("\x06\x08\x07\x01"), uint16(44), byte(2), byte('"'))
	f.Add([]byte("\x07\x07"), uint16(60), byte(3), byte('{'))
	f.Fuzz(func(t *testing.T, kinds []byte, at uint16, damage, with byte) {
		if len(kinds) > 40 {
			return
		}
		var words []string
		var b strings.Builder
		for n, k := range kinds {
			v, w := part(k, n)
			words = append(words, w)
			b.WriteString(v)
			b.WriteByte('\n')
		}
		value := []byte(b.String())
		if len(value) == 0 {
			return
		}
		switch i := int(at) % len(value); damage % 4 {
		case 0: // none
		case 1:
			value = value[:i]
		case 2:
			value[i] = with
		case 3:
			value = append(value[:i:i], value[i+1:]...)
		}
		seen := func(value []byte) (lines, rest string) {
			var r Reader
			var out strings.Builder
			err := r.Lines(value, func(l Line) { out.Write(append(bytes.Clone(l.Text), '\n')) })
			var e *Error
			if errors.As(err, &e) {
				rest = string(e.Rest)
			}
			return out.String(), rest
		}
		lines, rest := seen(value)
		again, rest2 := seen([]byte(rest))
		for _, w := range words {
			had := strings.Count(string(value), w)
			if n := strings.Count(lines, w) + strings.Count(rest, w); n != had {
				t.Fatalf("%s is there %d times, %d times in the value\n%s\nlines %s\nrest %s", w, n, had, value, lines, rest)
			}
			if n, had := strings.Count(again, w)+strings.Count(rest2, w), strings.Count(rest, w); n != had {
				t.Fatalf("%s is there %d times, %d times in the rest\n%s\nlines %s\nrest %s", w, n, had, rest, again, rest2)
			}
		}
	})
}
