package feed

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// kumoStory is the life of messages, one record a line, in the order of the log.
const kumoStory = `{"type":"TransientFailure","id":"m1","recipient":["a@dest.example","b@dest.example"],"timestamp":1757003200,"num_attempts":0,"response":{"code":452,"enhanced_code":{"class":4,"subject":2,"detail":2},"content":"mailbox full","command":"RCPT TO:<a@dest.example>"},"peer_address":{"name":"mx1.dest.example.","addr":"198.51.100.7"}}
{"type":"TransientFailure","id":"m1","recipient":"a@dest.example","timestamp":1757003300,"num_attempts":1,"response":{"code":400,"enhanced_code":null,"content":"KumoMTA internal: failed to connect to any candidate hosts: Connection refused"}}
{"type":"TransientFailure","id":"m1","recipient":"a@dest.example","timestamp":1757003400,"num_attempts":2,"response":{"code":451,"enhanced_code":null,"content":"scheduled queue is suspended: pause"}}
{"type":"TransientFailure","id":"m2","recipient":"a@dest.example","timestamp":1757003400,"response":{"code":421,"content":"later","command":"MAIL"},"peer_address":{"addr":"198.51.100.7"}}
{"type":"Delivery","id":"m2","recipient":"a@dest.example","timestamp":1757003500,"response":{"code":250,"content":"ok","command":"."},"peer_address":{"addr":"198.51.100.7"}}
{"type":"Expiration","id":"m1","recipient":["a@dest.example","b@dest.example"],"timestamp":1757003600,"num_attempts":3,"response":{"code":551,"enhanced_code":{"class":5,"subject":4,"detail":7},"content":"Next delivery time would be 2025-09-11T16:27:51Z which exceeds max_age"}}
{"type":"Expiration","id":"m2","recipient":"a@dest.example","timestamp":1757003600,"response":{"code":551,"content":"Next delivery time would be 2025-09-11T16:27:51Z which exceeds max_age"}}
`

// An expiry's cause is the last real failure of the same message and recipient: not another's, and not a pause. It is the
// same when the table is written out and read back at each line.
func TestExpiryRemembersItsCause(t *testing.T) {
	run := func(reload bool) (causes []string) {
		m := NewMemory(DefaultMemoryConfig())
		p := New()
		for line := range strings.Lines(kumoStory) {
			_, err := p.Parse(KumoMTA, []byte(line), Handler{Event: func(ev *schema.DeliveryEvent) {
				m.Complete(ev)
				if ev.Outcome == schema.Outcome_EXPIRED {
					c := ev.Cause
					causes = append(causes, fmt.Sprintf("%s %s: %d %s %s %s %s %s/%s %d %q", ev.QueueId, ev.Recipient, c.GetSmtpCode(), c.GetEnhancedCode(),
						c.GetEnhancedSource().Name(), c.GetPhase().Name(), c.GetOrigin().Name(), c.GetRemoteHost(), c.GetRemoteIp(), c.GetOccurredAtUs(), c.GetText()))
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if !reload {
				continue
			}
			state := m.AppendState(nil)
			m = NewMemory(DefaultMemoryConfig())
			if err := m.LoadState(state); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.AppendState(nil), state) {
				t.Fatal("the state did not survive")
			}
		}
		if m.Entries() != 0 || m.Bytes() != 0 {
			t.Errorf("%d entries, %d bytes are left", m.Entries(), m.Bytes())
		}
		return causes
	}
	want := []string{
		`m1 a@dest.example: 0  none connect local_mta / 1757003300000000 "400 KumoMTA internal: failed to connect to any candidate hosts: Connection refused"`,
		`m1 b@dest.example: 452 4.2.2 remote rcpt remote_reply mx1.dest.example/198.51.100.7 1757003200000000 "452 4.2.2 mailbox full"`,
		`m2 a@dest.example: 0     / 0 ""`,
	}
	for _, reload := range []bool{false, true} {
		if got := run(reload); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("reload %t: got\n%s\nwant\n%s", reload, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func deferral(id string, at time.Time) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		Mta: KumoMTA, QueueId: id, Recipient: "a@dest.example", Outcome: schema.Outcome_DEFERRED, OccurredAtUs: at.UnixMicro(), Text: "451 later", SmtpCode: 451,
	}
}

func expiry(id string, at time.Time) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{
		Mta: KumoMTA, QueueId: id, Recipient: "a@dest.example", Outcome: schema.Outcome_EXPIRED, OccurredAtUs: at.UnixMicro(),
	}
}

// The table is bounded by entries, by bytes and by log time; what waited longest without news goes first. One stamp from the
// future forgets two entries at most, and an older record does not replace a newer one.
func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1757003200, 0)
	cfg := DefaultMemoryConfig()
	cfg.MaxEntries = 3
	m := NewMemory(cfg)
	for _, id := range []string{"1", "2", "3", "1", "4"} {
		m.Complete(deferral(id, now))
	}
	for id, known := range map[string]bool{"1": true, "2": false, "3": true, "4": true} {
		ev := expiry(id, now)
		if m.Complete(ev); (ev.Cause != nil) != known {
			t.Errorf("%s: cause %v", id, ev.Cause)
		}
	}

	m = NewMemory(DefaultMemoryConfig())
	m.Complete(deferral("old", now))
	ev := expiry("old", now.Add(8*24*time.Hour+time.Second))
	if m.Complete(ev); ev.Cause != nil {
		t.Errorf("a cause of last week: %v", ev.Cause)
	}

	for k := range 10 {
		m.Complete(deferral(fmt.Sprint(k), now))
	}
	m.Complete(deferral("future", now.AddDate(10, 0, 0)))
	if m.Entries() != 9 {
		t.Errorf("%d entries behind one stamp from the future", m.Entries())
	}

	m = NewMemory(DefaultMemoryConfig())
	m.Complete(deferral("1", now.Add(time.Minute)))
	late := deferral("1", now)
	late.Text = "an earlier attempt"
	m.Complete(late)
	ev = expiry("1", now.Add(time.Hour))
	if m.Complete(ev); ev.Cause.GetText() != "451 later" {
		t.Errorf("cause %v", ev.Cause)
	}

	cfg = DefaultMemoryConfig()
	cfg.MaxBytes = 100_000
	m = NewMemory(cfg)
	for k := range 1000 {
		ev := deferral(fmt.Sprint(k), now)
		ev.Text = strings.Repeat("x", maxText)
		m.Complete(ev)
		if m.Bytes() > cfg.MaxBytes {
			t.Fatalf("%d bytes", m.Bytes())
		}
	}
	if m.Entries() < 100 {
		t.Errorf("%d entries", m.Entries())
	}
}

// Other MTAs' events, and a cause that is known, are left alone.
func TestMemoryIsOfKumoMTA(t *testing.T) {
	now := time.Unix(1757003200, 0)
	m := NewMemory(DefaultMemoryConfig())
	other := deferral("1", now)
	other.Mta = "postfix"
	m.Complete(other)
	m.Complete(deferral("", now))
	if m.Entries() != 0 {
		t.Errorf("%d entries", m.Entries())
	}
	m.Complete(deferral("1", now))
	ev := expiry("1", now)
	ev.Cause = &schema.Cause{Text: "known"}
	if m.Complete(ev); ev.Cause.Text != "known" || m.Entries() != 0 {
		t.Errorf("cause %v, %d entries", ev.Cause, m.Entries())
	}
}

// LoadState refuses what AppendState did not write and leaves the table as it was.
func TestMemoryLoadStateRefuses(t *testing.T) {
	m := NewMemory(DefaultMemoryConfig())
	for _, id := range []string{"1", "2"} {
		m.Complete(deferral(id, time.Unix(1757003200, 0)))
	}
	state := m.AppendState(nil)
	bad := [][]byte{append(bytes.Clone(state), 'x'), bytes.Replace(state, []byte("2\x00a@"), []byte("1\x00a@"), 1), bytes.ReplaceAll(state, []byte("\x00a@"), []byte("-a@"))}
	for n := range state {
		bad = append(bad, state[:n])
	}
	for _, b := range bad {
		if err := m.LoadState(b); !errors.Is(err, ErrState) {
			t.Errorf("%q: %v", b, err)
		}
	}
	if !bytes.Equal(m.AppendState(nil), state) {
		t.Error("the table was changed")
	}
}
