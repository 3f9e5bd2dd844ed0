package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"carom.dev/carom/pipeline/traffic"
	"carom.dev/carom/schema"
)

// The whole system, broker included, is killed again and again in the middle of an import and started again on the same
// directory. In the end ClickHouse and the decisions are those of a run that nobody disturbed, and both are the truth.
func TestKilledSystemGivesTheSameNumbers(t *testing.T) {
	requireClickHouse(t)
	cfg := traffic.DefaultConfig()
	cfg.Minutes, cfg.PerMinute = 100, 300
	input, truth := writeLog(t, cfg)

	undisturbed := run(t, t.TempDir(), input, nil)
	if got := eventCount(undisturbed); got != int64(truth.Deliveries) {
		t.Fatalf("undisturbed: %d events, %d were generated", got, truth.Deliveries)
	}
	for outcome, want := range map[schema.Outcome]int{
		schema.Outcome_DELIVERED: truth.Delivered + truth.Notices, schema.Outcome_DEFERRED: truth.Deferred, schema.Outcome_BOUNCED: truth.Bounced,
	} {
		if got := eventCount(undisturbed, outcome); got != int64(want) {
			t.Errorf("undisturbed: %d events %s, %d were generated", got, outcome.Name(), want)
		}
	}

	rng := rand.New(rand.NewPCG(7, 7))
	var kills []time.Duration
	for range 6 {
		kills = append(kills, 1500*time.Millisecond+time.Duration(rng.IntN(2500))*time.Millisecond)
	}
	killed := run(t, t.TempDir(), input, kills)
	if !reflect.DeepEqual(undisturbed.Totals, killed.Totals) {
		t.Errorf("totals differ: %d events undisturbed, %d killed", eventCount(undisturbed), eventCount(killed))
	}
	if undisturbed.Failures != killed.Failures {
		t.Errorf("failures: %d undisturbed, %d killed", undisturbed.Failures, killed.Failures)
	}
	if !reflect.DeepEqual(undisturbed.Recipients, killed.Recipients) {
		t.Errorf("decisions differ: %d recipients undisturbed, %d killed", len(undisturbed.Recipients), len(killed.Recipients))
	}
}

// run starts the system as a process of its own, kills it after each of the given times, and lets it finish in the end.
func run(t *testing.T, dir, input string, kills []time.Duration) outcome {
	t.Helper()
	for _, after := range append(kills, 0) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"="+dir+"\n"+input)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if after > 0 {
			time.Sleep(after) // the moment of death is the test's input
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed: its status says so and nothing else
			continue
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the system did not finish: %v", err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "outcome.json"))
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	return o
}
