package incident

import (
	"bytes"
	"slices"
	"testing"

	"carom.dev/carom/schema"
)

// What is no attempt is neither counted nor learned, however much of it comes: engagement, complaints, wishes to be left
// out, and what mail tells, be it that an address of ours is blocked.
func TestOnlyAttemptsAndExpiriesCount(t *testing.T) {
	s := newSender(23, 600)
	plain, crowded := NewDetector(DefaultConfig()), NewDetector(DefaultConfig())
	for m := range int64(240) {
		samples := s.minute(m)
		extra := slices.Clone(samples)
		for _, o := range []schema.Outcome{
			schema.Outcome_ASYNC_BOUNCE, schema.Outcome_DELAYED, schema.Outcome_COMPLAINT, schema.Outcome_SUSPENDED, schema.Outcome_OPENED,
			schema.Outcome_CLICKED, schema.Outcome_UNSUBSCRIBED,
		} {
			for _, class := range []string{"", "block.ip_blocklist", "recipient.unknown"} {
				extra = append(extra, Sample{
					Minute: start + m, Provider: "apple", Outcome: o, Class: class, SourceIP: "192.0.2.1", Acceptance: schema.Acceptance_ACCEPTED,
					Events: 1000, FirstAttempts: 1000,
				})
			}
		}
		plain.Minute(start+m, samples, true)
		if found := crowded.Minute(start+m, extra, true); len(found) != 0 {
			t.Fatalf("minute %d: found %v", m, found[0])
		}
	}
	if !bytes.Equal(plain.AppendState(nil), crowded.AppendState(nil)) {
		t.Error("what was learned differs")
	}
}
