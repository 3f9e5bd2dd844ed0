package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// maxLineBytes bounds a line; lines with whole mails stand beside the answers.
const maxLineBytes = 64 << 20

// hardLabels say that nothing can be delivered to the address, now or later.
var hardLabels = []string{"invalid_recipient", "inactive_mailbox", "invalid_domain"}

// score counts one file.
type score struct {
	name            string
	answers         int
	strict, lenient int
	soft            int // answers that are not hard
	falseHard       int // of those: called hard against every accepted label
	falseCandidates int // of those: enough alone to suppress
	misses          []miss
}

// miss is an answer that did not get its label.
type miss struct {
	kind  string // "near": accepted; "miss"; "HARD": called hard and is not
	id    string
	want  string // label
	class string // of the verdict
	rule  string
	text  string
}

func (s *score) add(o score) {
	s.answers += o.answers
	s.strict += o.strict
	s.lenient += o.lenient
	s.soft += o.soft
	s.falseHard += o.falseHard
	s.falseCandidates += o.falseCandidates
}

// labelled is what a line has beside the answer itself.
type labelled struct {
	ID     string   `json:"id"`
	Kind   string   `json:"kind"`
	Label  string   `json:"label"`
	Accept []string `json:"accept"`
	Coarse string   `json:"coarse"`
	Scored bool     `json:"scored"`
}

// measure scores every *.jsonl file of corpus that has an answer to score, in the order of names.
func measure(set *rules.Set, corpus fs.FS) ([]score, error) {
	labels, err := readLabels(corpus)
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(corpus, "*.jsonl")
	if err != nil {
		return nil, fmt.Errorf("list corpus: %w", err)
	}
	slices.Sort(names)
	var all []score
	for _, name := range names {
		s, err := measureFile(set, labels, corpus, name)
		if err != nil {
			return nil, err
		}
		if s.answers > 0 {
			all = append(all, s)
		}
	}
	return all, nil
}

// readLabels reads classes.json, which has to know every class.
func readLabels(corpus fs.FS) (map[string]string, error) {
	text, err := fs.ReadFile(corpus, "classes.json")
	if err != nil {
		return nil, fmt.Errorf("read the labels of classes: %w", err)
	}
	labels := map[string]string{}
	if err := json.Unmarshal(text, &labels); err != nil {
		return nil, fmt.Errorf("classes.json: %w", err)
	}
	for _, c := range rules.Classes() {
		if labels[c.Slug] == "" {
			return nil, fmt.Errorf("classes.json: no label for class %s", c.Slug)
		}
	}
	return labels, nil
}

func measureFile(set *rules.Set, labels map[string]string, corpus fs.FS, name string) (score, error) {
	s := score{name: name}
	f, err := corpus.Open(name)
	if err != nil {
		return s, fmt.Errorf("open corpus: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLineBytes)
	for n := 1; lines.Scan(); n++ {
		var l labelled
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return s, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		if l.Kind != eventjson.KindResponse || !l.Scored {
			continue
		}
		r, err := eventjson.ParseResponse(lines.Bytes())
		if err != nil {
			return s, fmt.Errorf("%s: line %d: %w", name, n, err)
		}
		in := input(&r)
		var v schema.Verdict
		set.Classify(&in, &v)
		s.count(&l, labels[v.Class], &v, r.Text)
	}
	if err := lines.Err(); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// input is what carom classify makes of a line: the codes are the remote server's.
func input(r *eventjson.Response) rules.Input {
	in := rules.Input{Outcome: schema.Outcome_BOUNCED, Code: r.SMTPCode, Enhanced: r.Enhanced, Text: r.Text}
	if id, ok := provider.ByName(r.ProviderHint); ok {
		in.Provider = id
	}
	return in
}

// count judges one verdict, whose class has the label got.
func (s *score) count(l *labelled, got string, v *schema.Verdict, text string) {
	s.answers++
	accepted := got == l.Label || slices.Contains(l.Accept, got)
	kind := "miss"
	if accepted {
		s.lenient++
		kind = "near"
	}
	if l.Coarse != "hard" {
		s.soft++
		if !accepted && slices.Contains(hardLabels, got) {
			s.falseHard++
			kind = "HARD"
		}
		if !accepted && v.Suppress == schema.Suppress_SUPPRESS_CANDIDATE {
			s.falseCandidates++
		}
	}
	if got == l.Label {
		s.strict++
		return
	}
	s.misses = append(s.misses, miss{kind: kind, id: l.ID, want: l.Label, class: v.Class, rule: v.Rule, text: text})
}
