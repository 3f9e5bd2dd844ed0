package rules

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// samplesDir holds runs of real MTAs against a scripted server, with what that server answered.
const samplesDir = "../../../shared/samples"

// scenarios says which class each scripted answer has, by a plain reading of its words.
var scenarios = map[string][]string{
	"ic-421-rate": {"remote.rate_limited"}, "ic-450-rate": {"remote.rate_limited"},
	"ic-511-unknown": {"recipient.unknown"}, "ic-511-nouser": {"recipient.unknown"},
	"ic-422-quota": {"mailbox.full"}, "ic-422-quota-ok": {"mailbox.full"},
	"ic-571-hme1": {"auth.unauthenticated"}, "ic-570-proofpoint": {"block.ip_blocklist"},
	"ic-571-cs02": {"content.phishing"}, "ic-571-hm08": {"block.policy"},
	"gm-511-multi": {"recipient.unknown"}, "gm-452-quota": {"mailbox.full"}, "gm-421-4728": {"block.reputation_ip"},
	"gm-5726-unauth": {"auth.unauthenticated"}, "gm-552-size": {"content.too_large"},
	"yh-554-disabled": {"recipient.disabled"}, "yh-552-nouser": {"recipient.unknown"},
	"yh-421-tss04-ok": {"block.complaints"}, "yh-554-policy": {"block.policy"},
	"ms-550-nouser": {"recipient.unknown"}, "ms-550-57511": {"block.reputation_ip"},
	"ms-451-47500-ok": {"remote.rate_limited", "block.reputation_ip"}, "ms-550-5410": {"recipient.unknown"},
	"ot-greylist": {"remote.greylisted"}, "ot-greylist-noenh": {"remote.greylisted"},
	"ot-relay": {"recipient.relay_denied"}, "ot-noenh-550": {"recipient.unknown"}, "ot-bare-550": {"recipient.unknown"},
	"ot-latin1": {"content.spam", "block.policy"}, "ot-tab": {"recipient.unknown"},
	"ot-mismatch": {"recipient.disabled"}, "ot-eom-421": {"remote.temp_error"},
	"cn-banner421-ok": {"remote.rate_limited"}, "cn-banner554m": {"block.reputation_ip"},
	"cn-ehlo550": {"auth.ptr"}, "cn-mail451": {"auth.sender_rejected"}, "cn-mail553": {"auth.sender_rejected"},
	"cn-mx2b": {"net.banner_refused"}, "cn-tls454-enf": {"net.tls_failure"},
}

// What real servers' words mean does not depend on which MTA met them.
func TestScriptedAnswers(t *testing.T) {
	set := mustLoad(t)
	files, err := filepath.Glob(filepath.Join(samplesDir, "*", "truth.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skipf("no samples at %s", samplesDir)
	}
	judged := map[string]int{}
	for _, file := range files {
		if strings.Contains(file, "bulk") {
			continue // its table does not hold every answer
		}
		for _, r := range truth(t, file) {
			want, known := scenarios[r.Scenario]
			if !known {
				continue
			}
			for _, s := range r.Seen {
				if s.Code < 400 || s.Code == 421 && s.Phase == "connect" {
					continue
				}
				phase, _ := schema.PhaseByName(s.Phase)
				in := Input{
					Outcome: schema.Outcome_DEFERRED, Text: s.Reply, Phase: phase, Origin: schema.Origin_REMOTE_REPLY,
					RemoteHost: s.Host, Domain: r.Recipient[strings.LastIndexByte(r.Recipient, '@')+1:],
				}
				var v schema.Verdict
				set.Classify(&in, &v)
				judged[r.Scenario]++
				if !slices.Contains(want, v.Class) {
					t.Errorf("%s %s: have %s by %s, want %v: %.100s", filepath.Base(filepath.Dir(file)), r.Scenario, v.Class, v.Rule, want, s.Reply)
				}
			}
		}
	}
	if len(judged) < 30 {
		t.Errorf("only %d scenarios seen: %v", len(judged), judged)
	}
}

type outcome struct {
	Recipient string `json:"recipient"`
	Scenario  string `json:"scenario"`
	Seen      []struct {
		Host  string `json:"host"`
		Phase string `json:"phase"`
		Reply string `json:"reply"`
		Code  int    `json:"code"`
	} `json:"seen"`
}

func truth(t *testing.T, file string) []outcome {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []outcome
	scanner := bufio.NewScanner(z)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		var o outcome
		if err := json.Unmarshal(scanner.Bytes(), &o); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, o)
	}
	return all
}
