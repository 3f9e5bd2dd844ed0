package mtalog

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	stdflag "flag"
	"os"
	"path/filepath"
	"testing"
)

var update = stdflag.Bool("update", false, "write testdata/qmail anew")

// testdata/qmail is what the writer gives.
func TestQmailSampleIsTheWriters(t *testing.T) {
	log, truths := qmailFromTruth(readTruth(t, filepath.Join("testdata", "exim", "truth.jsonl.gz")))
	files := map[string]*bytes.Buffer{}
	add := func(name, line string) {
		if files[name] == nil {
			files[name] = &bytes.Buffer{}
		}
		files[name].WriteString(line + "\n")
	}
	for _, l := range log {
		add("send.tai64n.log.gz", qmailTAI64N(l))
		add("send.local.log.gz", qmailLocal(l))
		for _, msg := range qmailSplogger(l) {
			add("mail.log.gz", l.at.Format("Jan _2 15:04:05")+" mta1 qmail: "+msg)
			add("mail.iso.log.gz", l.at.Format("2006-01-02T15:04:05.000000-07:00")+" mta1 qmail: "+msg)
			add("mail.5424.log.gz", "<22>1 "+l.at.Format("2006-01-02T15:04:05.000000-07:00")+" mta1 qmail - - -  "+msg)
		}
	}
	for _, v := range truths {
		seen := []map[string]string{}
		for _, at := range v.Seen {
			seen = append(seen, map[string]string{"ip": at.IP})
		}
		b, err := json.Marshal(map[string]any{
			"recipient": v.Recipient, "sender": v.Sender, "message_id": v.MessageID, "scenario": v.Scenario, "phase": v.Phase,
			"outcome": v.Outcome, "last_code": v.LastCode, "last_enhanced": v.LastEnhanced, "last_reply": v.LastReply, "seen": seen,
		})
		if err != nil {
			t.Fatal(err)
		}
		add("truth.jsonl.gz", string(b))
	}
	for name, want := range files {
		path := filepath.Join("testdata", "qmail", name)
		if *update {
			var b bytes.Buffer
			z := gzip.NewWriter(&b)
			if _, err := z.Write(want.Bytes()); err != nil {
				t.Fatal(err)
			}
			if err := z.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := readGzip(t, path); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s differs from what the writer gives; -update writes it", name)
		}
	}
}
