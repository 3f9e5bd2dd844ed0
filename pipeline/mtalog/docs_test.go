package mtalog

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

// Each format has a page, which the index names, and the example at the page's end is what a run gives. -update writes it.
func TestDocumentedExamples(t *testing.T) {
	folder := filepath.Join("..", "..", "docs", "formats")
	index, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range Formats()[1:] {
		t.Run(format, func(t *testing.T) {
			if !bytes.Contains(index, []byte("["+format+"]("+format+".md)")) {
				t.Error("the index does not name its page")
			}
			name := filepath.Join(folder, format+".md")
			page, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			head, example, ok := strings.Cut(string(page), "\n## Example\n\n")
			blocks := strings.Split(strings.TrimRight(example, "\n"), "\n\n")
			if !ok || len(blocks) != 3 {
				t.Fatalf("want lines, words and event, have %d blocks", len(blocks))
			}
			c := NewCorrelator(DefaultConfig())
			var last []byte
			for line := range strings.Lines(blocks[0]) {
				line = strings.TrimPrefix(line, "    ")
				r := c.Line(Input{Line: []byte(line), Host: "mta1", Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
					last = eventjson.Append(last[:0], ev)
				})
				if r.Kind == KindUnparsed {
					t.Errorf("%s: %s", r.Reason, line)
				}
			}
			got := withoutPosition(t, last)
			if *update {
				text := head + "\n## Example\n\n" + blocks[0] + "\n\n" + blocks[1] + "\n\n    " + strings.Join(breakLines(got), "\n     ") + "\n"
				if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			var want bytes.Buffer
			if err := json.Compact(&want, []byte(blocks[2])); err != nil {
				t.Fatal(err)
			}
			if want.String() != got {
				t.Errorf("got\n%s\nthe page says\n%s", got, want.String())
			}
		})
	}
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
