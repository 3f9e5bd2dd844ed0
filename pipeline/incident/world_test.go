package incident

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// worldClasses translates the generator's class names.
func worldClasses() map[string]string {
	return map[string]string{
		"recipient_unknown": "recipient.unknown", "recipient_disabled": "recipient.disabled", "mailbox_full": "mailbox.full",
		"domain_nx": "domain.not_found", "dns_timeout": "dns.timeout", "connect_timeout": "net.connect_timeout",
		"connect_refused": "net.connect_refused", "data_timeout": "net.eom_timeout", "tls_failure": "net.tls_failure",
		"greylist": "remote.greylisted", "rate_limited": "remote.rate_limited", "reputation_defer": "block.reputation_ip",
		"spam_block": "content.spam", "policy_block": "block.policy", "auth_failure": "auth.unauthenticated",
		"ip_blocklisted": "block.ip_blocklist", "content_block": "content.url", "too_big": "content.too_large",
		"relay_denied": "recipient.relay_denied", "protocol_error": "protocol.error", "other_5xx": "undetermined",
		"other_4xx": "remote.temp_error", "local_queue_expired": "queue.expired", "routing_loop": "domain.routing_loop",
	}
}

// TestGeneratedWorld prints what the detector finds in a world of the labelled generator, scored by the generator's own
// scorer. It informs and takes a minute per world, so it runs on demand: CAROM_WORLD="-seed 1 -days 21 -train 14 -rate 1000".
func TestGeneratedWorld(t *testing.T) {
	world := os.Getenv("CAROM_WORLD")
	if world == "" {
		t.Skip("CAROM_WORLD is not set")
	}
	tool := filepath.Join("..", "..", "..", "shared", "tools", "deliverysim")
	if _, err := os.Stat(tool); err != nil {
		t.Skip("the generator is not present next to the project")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "deliverysim")
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	run("go", "build", "-C", tool, "-o", bin, ".")
	run(bin, append([]string{"gen", "-out", dir}, strings.Fields(world)...)...)

	start := time.Now()
	found := detectWorld(t, dir)
	t.Logf("detected in %v", time.Since(start).Round(time.Millisecond))
	if err := os.WriteFile(filepath.Join(dir, "found.jsonl"), found, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Log(run(bin, "score", "-truth", filepath.Join(dir, "truth.json"), "-incidents", filepath.Join(dir, "found.jsonl"), "-long"))
}

// worldEpoch is a Monday.
const worldEpoch = 28_401_120

func detectWorld(t *testing.T, dir string) []byte {
	names := map[string]string{}
	for theirs, ours := range worldClasses() {
		names[ours] = theirs
	}
	type key struct {
		provider, ip string
		accepted     bool
	}
	failures, attempts := openCSV(t, dir, "failures.csv"), openCSV(t, dir, "attempts.csv")
	d := NewDetector(DefaultConfig())
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for attempts.row != nil || failures.row != nil {
		minute := min(attempts.minute, failures.minute)
		left := map[key]int64{}
		for ; attempts.row != nil && attempts.minute == minute; attempts.next(t) {
			r := attempts.row
			n, accepted := number(t, r[4]), number(t, r[5])
			left[key{r[1], r[2], true}] += accepted
			left[key{r[1], r[2], false}] += n - accepted
		}
		var samples []Sample
		for ; failures.row != nil && failures.minute == minute; failures.next(t) {
			r := failures.row
			k := key{r[1], r[3], r[7] == "1"}
			n := number(t, r[8])
			s := Sample{
				Minute: worldEpoch + minute, Provider: r[1], Class: worldClasses()[r[2]], SourceIP: r[3], Acceptance: acceptance(k.accepted),
				Outcome: schema.Outcome_BOUNCED, Events: n, FirstAttempts: n,
			}
			if s.Class == "queue.expired" {
				s.Outcome = schema.Outcome_EXPIRED
			}
			left[k] -= n
			samples = append(samples, s)
		}
		for k, n := range left {
			if n > 0 {
				samples = append(samples, Sample{
					Minute: worldEpoch + minute, Provider: k.provider, SourceIP: k.ip, Acceptance: acceptance(k.accepted),
					Outcome: schema.Outcome_DELIVERED, Events: n, FirstAttempts: n,
				})
			}
		}
		for _, inc := range d.Minute(worldEpoch+minute, samples, true) {
			if os.Getenv("CAROM_WORLD_SHOW") != "" {
				t.Log(minute, inc.Revision, inc.State, inc.Kind, inc.Summary)
			}
			if inc.Revision != 1 {
				continue
			}
			line := map[string]any{
				"opened_min": inc.OpenedUs/minuteUS - worldEpoch, "onset_min": inc.OnsetUs/minuteUS - worldEpoch,
				"classes": []string{names[inc.Class]}, "kind": worldKind(inc.Kind), "hold": inc.Hold, "source_ip": -1,
			}
			if inc.Provider != "" {
				line["providers"] = []string{inc.Provider}
			}
			if ip := confinedSource(inc); ip != "" {
				line["source_ip"] = number(t, ip)
			}
			if err := enc.Encode(line); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out.Bytes()
}

func worldKind(kind string) string {
	switch kind {
	case KindTenantPolicy, KindLocalNetwork, KindIPRefused:
		return "other"
	}
	return kind
}

func acceptance(accepted bool) schema.Acceptance {
	if accepted {
		return schema.Acceptance_ACCEPTED
	}
	return schema.Acceptance_NOT_ACCEPTED
}

type csvFile struct {
	scan   *bufio.Scanner
	row    []string
	minute int64
}

func openCSV(t *testing.T, dir, name string) *csvFile {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	c := &csvFile{scan: bufio.NewScanner(f)}
	c.scan.Scan() // names of the columns
	c.next(t)
	return c
}

func (c *csvFile) next(t *testing.T) {
	if !c.scan.Scan() {
		c.row, c.minute = nil, 1<<62
		return
	}
	c.row = strings.Split(c.scan.Text(), ",")
	c.minute = number(t, c.row[0])
}

func number(t *testing.T, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(fmt.Errorf("read world: %w", err))
	}
	return n
}
