package recipient

import (
	"fmt"
	"slices"

	"carom.dev/carom/schema"
)

// Control folds a control record: Genesis, Policy, AllClear, Tick, Incident and Manual; others are ignored. Records must come
// in the order of their sequence and once; the caller's fold sees to that. An error leaves the state as it was (a policy that
// cannot be read, a hold that names no provider): it is a finding to report, not a reason to stop.
func (s *Store) Control(c *schema.Control, at Position, emit func(*schema.Decision)) error {
	to := decide{at: at, emit: emit}
	switch body := c.Body.(type) {
	case *schema.Control_Genesis:
		if err := s.loadPolicy(body.Genesis.Policy); err != nil {
			return fmt.Errorf("genesis: %w", err)
		}
		s.observe = body.Genesis.Observe
	case *schema.Control_Policy:
		if err := s.loadPolicy(body.Policy.Text); err != nil {
			return fmt.Errorf("control record %d: %w", c.Seq, err)
		}
	case *schema.Control_AllClear:
		s.advance(c, body.AllClear.ThroughUs, to)
		s.mature(c, body.AllClear, to)
	case *schema.Control_Tick:
		s.advance(c, body.Tick.AtUs, to)
	case *schema.Control_Incident:
		return s.incident(c, body.Incident, to)
	case *schema.Control_Manual:
		return s.manual(c, body.Manual, to)
	}
	return nil
}

// loadPolicy puts a policy in force. An empty text stands for DefaultPolicy. It governs what follows; waits and suppressions
// under way keep their times.
func (s *Store) loadPolicy(text string) error {
	if text == "" {
		text = DefaultPolicy
	}
	p, err := ParsePolicy(text)
	if err != nil {
		return err
	}
	s.setPolicy(p)
	return nil
}

// advance moves time and does what is due by itself: suppressions and watches that end, holds that time out, ok records and
// first deliveries that have aged.
func (s *Store) advance(c *schema.Control, us int64, to decide) {
	if us <= s.nowUs {
		return
	}
	s.nowUs = us
	s.settle(us)
	for _, slot := range s.ripe(queueTimers, us+1) {
		e := s.records.at(slot)
		why := cause{seq: c.Seq, us: e.dueUs}
		if s.state(e) == watch {
			s.enqueue(slot)
			why.reason = "no further failure"
			s.lift(slot, e.atUs, why, to)
			continue
		}
		s.enqueue(slot)
		why.reason = "suppression ended"
		s.probe(slot, suppressed, why, to)
	}
	for _, slot := range s.ripe(queueIdle, us+1) {
		s.enqueue(slot)
		s.forget(slot)
	}
	for i := 0; i < len(s.incidents); {
		h := &s.incidents[i]
		switch {
		case h.open && h.untilUs <= us:
			h.open = false
			s.sweepHeld(h, cause{seq: c.Seq, us: h.untilUs, hold: h}, to, false, true)
		case !h.open && h.untilUs+s.policy.HoldMemory.Microseconds() < us:
			s.forgetIncident(i)
			continue
		}
		i++
	}
	s.compact()
}

// mature ends the waits that the detector has evaluated past, but for providers under an open incident.
func (s *Store) mature(c *schema.Control, clear *schema.AllClear, to decide) {
	for n := queueProviders; n < len(s.due); n++ {
		if len(s.due[n]) == 0 || slices.Contains(clear.Except, s.providers.str(uint32(n-queueProviders))) {
			continue
		}
		for _, slot := range s.ripe(n, clear.ThroughUs) {
			s.enqueue(slot)
			e := s.records.at(slot)
			r := s.recipients.at(e.recipient)
			why := cause{seq: c.Seq, us: e.dueUs}
			if schema.Acceptance(e.accepted) != schema.Acceptance_NOT_ACCEPTED ||
				s.acceptedAt(r.hash, s.key(r), e.atUs) != schema.Acceptance_NOT_ACCEPTED {
				s.change(slot, func(e *record) {
					e.state, e.dueUs = uint8(watch), e.atUs+s.policy.Hard.WatchFor.Microseconds()
				})
				why.reason = "accepted before or unknown, the next failure counts"
			} else {
				s.change(slot, func(e *record) {
					e.state, e.dueUs = uint8(suppressed), 0
					if d := s.policy.suppression(groupHard, e.level); d != 0 {
						e.dueUs = why.us + d
					}
				})
				why.reason = "never accepted, no incident in the wait"
			}
			s.decision(slot, pending, why, to)
		}
	}
}

// manual is a person's word. A release without a scope means every scope of the recipient; a suppression without one "*".
func (s *Store) manual(c *schema.Control, m *schema.Manual, to decide) error {
	if len(m.RecipientKey) == 0 || len(m.RecipientKey) > maxStored {
		return fmt.Errorf("control record %d: manual entry with a recipient key of %d bytes", c.Seq, len(m.RecipientKey))
	}
	why := cause{seq: c.Seq, us: c.AtMs * 1000, reason: m.Why, word: "manual"}
	if m.Who != "" {
		why.reason = "by " + m.Who + ": " + m.Why
	}
	hash := hashKey(m.RecipientKey)
	if !m.Suppress {
		owner := s.find(hash, m.RecipientKey)
		if owner == 0 {
			return nil
		}
		for slot := s.recipients.at(owner).records; slot != 0; slot = s.records.at(slot).next {
			e := s.records.at(slot)
			if m.Scope != "" && s.scopes.str(e.scope) != m.Scope {
				continue
			}
			if s.state(e) == ok {
				s.clear(slot, why.us)
				continue
			}
			s.lift(slot, why.us, why, to)
		}
		return nil
	}
	scope := m.Scope
	if scope == "" {
		scope = scopeAll
	}
	slot := s.open(hash, m.RecipientKey, string(domainOf(m.RecipientKey)), scope)
	if slot == 0 {
		return fmt.Errorf("control record %d: no room for a manual suppression", c.Seq)
	}
	previous := s.state(s.records.at(slot))
	s.change(slot, func(e *record) {
		e.state, e.dueUs, e.incident = uint8(suppressed), 0, 0
		e.flags = flagPerson
		e.atUs = max(e.atUs, why.us)
	})
	s.decision(slot, previous, why, to)
	return nil
}
