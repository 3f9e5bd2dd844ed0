package rules

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/schema"
)

// corpusDir holds labelled answers beside the project; tests that need it are skipped where it is absent.
const corpusDir = "../../../shared/corpus"

type labelled struct {
	Kind         string  `json:"kind"`
	SMTPCode     *string `json:"smtp_code"`
	Enhanced     *string `json:"enhanced"`
	Text         string  `json:"text"`
	ProviderHint *string `json:"provider_hint"`
}

// input is what the command line makes of such a line: the code and enhanced code are given, the source is the remote.
func (l *labelled) input() *Input {
	in := &Input{Outcome: schema.Outcome_BOUNCED, Text: l.Text}
	if l.SMTPCode != nil {
		in.Code, _ = code(*l.SMTPCode)
	}
	if l.Enhanced != nil {
		in.Enhanced = *l.Enhanced
	}
	if l.ProviderHint != nil {
		if id, ok := provider.ByName(*l.ProviderHint); ok {
			in.Provider = id
		}
	}
	return in
}

func corpus(tb testing.TB, file string) []labelled {
	tb.Helper()
	f, err := os.Open(filepath.Join(corpusDir, file))
	if os.IsNotExist(err) {
		tb.Skipf("no labelled corpus at %s", corpusDir)
	}
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var all []labelled
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		var l labelled
		if err := json.Unmarshal(scanner.Bytes(), &l); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		if l.Kind == "response" {
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		tb.Fatalf("%s holds no response", file)
	}
	return all
}

var corpusFiles = []string{
	"sisimai-diag.jsonl", "sisimai-rhost.jsonl", "sisimai-reason.jsonl", "sisimai-strings.jsonl", "zone-mta.jsonl",
	"crisp.jsonl", "bounce-trainer.jsonl",
}

var loaded = sync.OnceValues(Load)

func mustLoad(tb testing.TB) *Set {
	tb.Helper()
	s, err := loaded()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
