package recipient

import (
	"errors"
	"fmt"

	"carom.dev/carom/schema"
)

// kindProviderPurge is the kind of an incident whose failures turned out to be meant: the provider deleted accounts.
const kindProviderPurge = "provider_purge"

// incident is a hold: failures of a provider and class within a time say nothing about their recipients.
type incident struct {
	id       string
	kind     string
	provider string
	class    string // "" covers every class
	number   uint32
	revision uint32
	fromUs   int64
	untilUs  int64
	open     bool
}

// holdOver returns the hold that covers a failure, an open one first, or nil.
func (s *Store) holdOver(provider, class uint16, us int64, async bool) *incident {
	var found *incident
	for i := range s.incidents {
		h := &s.incidents[i]
		if s.covers(h, provider, class, us, async) && (found == nil || h.open && !found.open) {
			found = h
		}
	}
	return found
}

// covers says whether a hold covers a failure: provider, class group, and event time. A bounce by mail is as late as its
// sender's queue was slow, so it has a grace at the end.
func (s *Store) covers(h *incident, provider, class uint16, us int64, async bool) bool {
	until := h.untilUs
	if async {
		until += s.policy.HoldAsyncGrace.Microseconds()
	}
	if us < h.fromUs || us > until || s.providers.str(uint32(provider)) != h.provider {
		return false
	}
	if h.class == "" || h.class == s.classes.str(uint32(class)) {
		return true
	}
	g := s.policy.class(h.class)
	return g != groupNone && g == s.groups[class]
}

// incident folds one revision of a finding. Those that never hold are not kept.
func (s *Store) incident(c *schema.Control, in *schema.Incident, to decide) error {
	h := s.incidentByID(in.Id)
	closes := in.State == schema.IncidentState_RESOLVED || !in.Hold
	if in.Hold && in.Provider == "" {
		return fmt.Errorf("hold of incident %s: no provider named", in.Id)
	}
	if h == nil {
		if closes {
			return nil
		}
		if err := s.roomForIncident(); err != nil {
			return fmt.Errorf("hold of incident %s: %w", in.Id, err)
		}
		s.ended++
		s.incidents = append(s.incidents, incident{id: in.Id, number: s.ended})
		h = &s.incidents[len(s.incidents)-1]
	}
	if in.Revision <= h.revision {
		return nil
	}
	before := *h
	h.revision, h.kind = in.Revision, in.Kind
	if in.Provider != "" {
		h.provider, h.class = in.Provider, in.Class
	}
	if in.HoldFromUs != 0 {
		h.fromUs = in.HoldFromUs
	}
	if in.HoldUntilUs != 0 {
		h.untilUs = in.HoldUntilUs
	}
	us := max(in.OpenedUs, in.UpdatedUs)
	if !closes {
		h.open = h.untilUs > s.nowUs || before.revision == 0
		if !h.open {
			return nil
		}
		if h.provider != before.provider || h.class != before.class || h.fromUs < before.fromUs || !before.open ||
			h.untilUs > before.untilUs && s.latestUs > before.untilUs {
			s.sweep(h, cause{seq: c.Seq, us: us, hold: h, reason: "held, the provider seems to err"}, to)
		}
		return nil
	}
	if in.ResolvedUs != 0 {
		us = in.ResolvedUs
		h.untilUs = min(h.untilUs, in.ResolvedUs)
	}
	h.open = false
	s.sweepHeld(h, cause{seq: c.Seq, us: us, hold: h}, to, h.kind == kindProviderPurge, false)
	return nil
}

func (s *Store) incidentByID(id string) *incident {
	for i := range s.incidents {
		if s.incidents[i].id == id {
			return &s.incidents[i]
		}
	}
	return nil
}

// roomForIncident forgets the oldest ended hold when the table is full.
func (s *Store) roomForIncident() error {
	if len(s.incidents) < s.policy.Limits.Incidents {
		return nil
	}
	for i := range s.incidents {
		if !s.incidents[i].open {
			s.forgetIncident(i)
			return nil
		}
	}
	return errors.New("too many open holds")
}

func (s *Store) forgetIncident(i int) {
	s.incidents = append(s.incidents[:i], s.incidents[i+1:]...)
}

// sweep puts everything under a hold whose deciding failure it covers, suppressions included (the amnesty for those already
// made), and drops the covered failures that were only counted. It visits every record: holds open rarely.
func (s *Store) sweep(h *incident, why cause, to decide) {
	for i := range s.records.used {
		slot := i + 1
		e := s.records.at(slot)
		if e.recipient == 0 || e.flags&flagPerson != 0 {
			continue
		}
		switch s.state(e) {
		case pending, watch, suppressed:
			if !s.covers(h, e.provider, e.class, e.atUs, e.flags&flagAsync != 0) {
				break
			}
			previous := s.state(e)
			s.change(slot, func(e *record) {
				e.state, e.dueUs, e.incident = uint8(held), 0, h.number
			})
			s.decision(slot, previous, why, to)
			continue
		case held, probation:
			continue
		}
		s.dropEvidence(e, func(x *evidence) bool {
			return s.evidenceGroup(x) >= groupDoubtful && s.covers(h, x.provider, x.class, x.atUs, x.flags&flagAsync != 0)
		})
	}
}

// sweepHeld ends what a hold held: amnesty, purge, or the end of its time.
func (s *Store) sweepHeld(h *incident, why cause, to decide, purge, timedOut bool) {
	for i := range s.records.used {
		slot := i + 1
		e := s.records.at(slot)
		if e.recipient == 0 || s.state(e) != held || e.incident != h.number {
			continue
		}
		why := why
		if other := s.holdOver(e.provider, e.class, e.atUs, e.flags&flagAsync != 0); other != nil && other.open {
			why.hold, why.reason = other, "still held by another incident"
			s.change(slot, func(e *record) { e.incident = other.number })
			s.decision(slot, held, why, to)
			continue
		}
		r := s.recipients.at(e.recipient)
		good := schema.Acceptance(e.accepted) != schema.Acceptance_NOT_ACCEPTED ||
			s.acceptedAt(r.hash, s.key(r), e.atUs) != schema.Acceptance_NOT_ACCEPTED
		switch {
		case purge:
			s.purge(slot, why, to)
		case timedOut:
			why.reason = "hold ended without a finding"
			s.probe(slot, held, why, to)
		case good:
			why.reason = "amnesty, accepted before or unknown"
			s.lift(slot, h.untilUs, why, to)
		default:
			why.reason = "amnesty, never accepted"
			s.probe(slot, held, why, to)
		}
	}
}

// purge makes a held failure count after all.
func (s *Store) purge(slot uint32, why cause, to decide) {
	s.change(slot, func(e *record) {
		e.state = uint8(suppressed)
		if d := s.policy.suppression(s.recordGroup(e), e.level); d != 0 {
			e.dueUs = e.atUs + d
		}
	})
	why.reason = "the provider closed these accounts"
	s.decision(slot, held, why, to)
}

// probe puts a record on probation.
func (s *Store) probe(slot uint32, previous schema.RecipientState, why cause, to decide) {
	s.change(slot, func(e *record) { e.state, e.dueUs, e.incident = uint8(probation), 0, 0 })
	s.decision(slot, previous, why, to)
}
