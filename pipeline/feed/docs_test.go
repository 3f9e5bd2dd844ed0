package feed

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/schema"
)

// The example at the end of each format's page is what a run gives. -update writes it.
func TestDocumentedExamples(t *testing.T) {
	for _, format := range Formats() {
		t.Run(format, func(t *testing.T) {
			name := filepath.Join("..", "..", "docs", "formats", format+".md")
			page, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			head, example, ok := strings.Cut(string(page), "\n## Example\n\n")
			blocks := strings.Split(strings.TrimSpace("\n"+example), "\n\n")
			if !ok || len(blocks) != 3 {
				t.Fatalf("want record, words and event, have %d blocks", len(blocks))
			}
			input, want := unindent(blocks[0]), unindent(blocks[2])
			if format == KumoMTA { // whose records are lines
				input = compact(t, input)
			}
			p := New()
			p.SetFeed("in")
			var got []byte
			res, err := p.Parse(format, []byte(input), Handler{Event: func(ev *schema.DeliveryEvent) { got = eventjson.Append(got, ev) }})
			if err != nil || res.Events != 1 || res.Faults != 0 {
				t.Fatalf("%+v, %v", res, err)
			}
			told := withoutPosition(t, got)
			if *update {
				blocks[2] = "    " + strings.Join(breakLines(told), "\n     ")
				text := head + "\n## Example\n\n    " + strings.TrimPrefix(blocks[0], "    ") + "\n\n" + blocks[1] + "\n\n" + blocks[2] + "\n"
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if compact(t, want) != told {
				t.Errorf("got\n%s\nthe page says\n%s", told, want)
			}
		})
	}
}

func unindent(block string) string {
	var b strings.Builder
	for line := range strings.Lines(block) {
		b.WriteString(strings.TrimPrefix(line, "    "))
	}
	return b.String()
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// withoutPosition takes event_id, which is first, and raw, which is followed by backfill, off an event.
func withoutPosition(t *testing.T, event []byte) string {
	s, ok1 := strings.CutPrefix(string(event), `{"event_id":"",`)
	before, after, ok2 := strings.Cut(s, `,"raw":{`)
	if i := strings.LastIndex(after, `,"backfill":`); ok1 && ok2 && i >= 0 {
		return "{" + before + after[i:]
	}
	t.Fatalf("event %s", event)
	return ""
}

// breakLines breaks an object between members, for people.
func breakLines(object string) (lines []string) {
	from, last := 0, 0
	for i := 1; i < len(object); i++ {
		if object[i-1] != ',' || object[i] != '"' {
			continue
		}
		if i-from > 130 && last > from {
			lines = append(lines, object[from:last])
			from = last
		}
		last = i
	}
	return append(lines, object[from:])
}
