package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"carom.dev/carom/pipeline/rules"
)

// corpusDir holds labelled answers beside the project.
const corpusDir = "../../../../shared/corpus"

// Over real answers with labels set by other people, the rules stay above the floor reached so far.
func TestRulesStayAboveTheFloor(t *testing.T) {
	if _, err := os.Stat(corpusDir); os.IsNotExist(err) {
		t.Skipf("no labelled corpus at %s", corpusDir)
	}
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	files, err := measure(set, os.DirFS(corpusDir))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out, files, false); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	var all score
	for _, f := range files {
		all.add(f)
	}
	if all.answers < 500 {
		t.Fatalf("only %d answers", all.answers)
	}
	for _, floor := range []struct {
		name       string
		have, want float64
		atMost     bool
	}{
		{"strict", percent(all.strict, all.answers), 90, false},
		{"lenient", percent(all.lenient, all.answers), 95.5, false},
		{"called hard", percent(all.falseHard, all.soft), 0.5, true},
		{"candidates", percent(all.falseCandidates, all.soft), 0.4, true},
	} {
		if floor.atMost && floor.have > floor.want || !floor.atMost && floor.have < floor.want {
			t.Errorf("%s: %.2f %%, the bound is %.2f %%", floor.name, floor.have, floor.want)
		}
	}
}

// made returns a corpus of the given lines, with a label of its own for each class.
func made(t *testing.T, lines ...string) fstest.MapFS {
	t.Helper()
	labels := map[string]string{}
	for _, c := range rules.Classes() {
		labels[c.Slug] = c.Slug
	}
	labels["recipient.unknown"] = "invalid_recipient"
	text, err := json.Marshal(labels)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{"classes.json": {Data: text}, "a.jsonl": {Data: []byte(strings.Join(lines, "\n"))}}
}

// The numbers mean what the package comment says.
func TestCounts(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	files, err := measure(set, made(t,
		`{"id":"right","kind":"response","text":"550 5.1.1 User unknown","label":"invalid_recipient","coarse":"hard","scored":true}`,
		`{"id":"wider","kind":"response","text":"552 5.2.2 Mailbox full","label":"other","accept":["mailbox.full"],"coarse":"soft","scored":true}`,
		`{"id":"wrong","kind":"response","text":"552 5.2.2 Mailbox full","label":"other","coarse":"soft","scored":true}`,
		`{"id":"hard","kind":"response","text":"550 5.1.1 User unknown","label":"other","coarse":"block","scored":true}`,
		`{"id":"left out","kind":"response","text":"550 5.1.1 User unknown","label":"other","coarse":"soft","scored":false}`,
		`{"id":"mail","kind":"dsn","mail":"eA==","label":"other","coarse":"soft","scored":true}`,
	))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 1 {
		t.Fatalf("%d files", len(files))
	}
	f := files[0]
	if f.answers != 4 || f.strict != 1 || f.lenient != 2 || f.soft != 3 || f.falseHard != 1 || f.falseCandidates != 1 || len(f.misses) != 3 {
		t.Errorf("%+v", f)
	}
	var out bytes.Buffer
	if err := write(&out, files, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"near wider: want other, have mailbox.full by", "miss wrong", "HARD hard", "25.0", "50.0", "33.33"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// A corpus that is not one is refused with the place.
func TestBadCorpus(t *testing.T) {
	set, err := rules.Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		corpus fstest.MapFS
		want   string
	}{
		"no labels":     {fstest.MapFS{}, "read the labels"},
		"unknown class": {fstest.MapFS{"classes.json": {Data: []byte(`{}`)}}, "no label for class"},
		"no JSON":       {made(t, `{"id":"a"`), "a.jsonl: line 1"},
		"no answer":     {made(t, `{"id":"a","kind":"response","scored":true}`), "a.jsonl: line 1"},
	} {
		if _, err := measure(set, c.corpus); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := run(&bytes.Buffer{}, t.TempDir(), false); err == nil {
		t.Error("an empty folder is no corpus")
	}
}
