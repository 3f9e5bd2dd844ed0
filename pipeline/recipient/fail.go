package recipient

import (
	"fmt"
	"time"

	"carom.dev/carom/schema"
)

// Short names of the states: the code of the state table reads like the table.
const (
	ok         = schema.RecipientState_STATE_OK
	pending    = schema.RecipientState_STATE_PENDING
	watch      = schema.RecipientState_STATE_WATCH
	held       = schema.RecipientState_STATE_HELD
	suppressed = schema.RecipientState_STATE_SUPPRESSED
	probation  = schema.RecipientState_STATE_PROBATION
)

// maxLevel bounds the count of doublings; maxDuration is reached long before.
const maxLevel = 30

// fail folds a failure of the recipient's scope: first into records in probation, then into the record of its own group.
// A mail that is not believed decides no probation: one alone would suppress.
func (s *Store) fail(owner uint32, f *failure, to decide) {
	hold := s.holdOver(f.provider, f.class, f.atUs, f.flags&flagAsync != 0)
	scope := s.scopeOf(f)
	if owner != 0 && hold == nil && f.event.Trust != schema.Trust_TRUST_NONE {
		for slot := s.recipients.at(owner).records; slot != 0; slot = s.records.at(slot).next {
			e := s.records.at(slot)
			if s.state(e) != probation || s.scopes.str(e.scope) != scope && f.group != groupHard {
				continue
			}
			if f.atUs > e.atUs && s.another(e, f) && s.addEvidence(e, f) {
				s.suppress(slot, f, min(e.level+1, maxLevel), "failed again in probation", to)
			}
		}
	}
	if hold != nil && (f.group != groupHard || !hold.open && f.accepted != schema.Acceptance_NOT_ACCEPTED) {
		return // under a hold nothing counts, and a late failure of an accepted recipient leaves nothing to undo
	}
	slot := s.open(f.hash, f.event.RecipientKey, f.event.Domain, scope)
	if slot == 0 {
		return
	}
	if owner == 0 {
		s.noteAttempt(s.recipients.at(s.records.at(slot).recipient), f.event)
	}
	if f.group == groupHard {
		s.hard(slot, f, hold, to)
	} else {
		s.windowed(slot, f, to)
	}
	s.settleIdle(slot)
}

// scopeOf names the scope in which a failure counts. A refusal that is not believed reaches no further than one that is.
func (s *Store) scopeOf(f *failure) string {
	if f.group == groupDoubtful && f.event.Tenant != "" && s.policy.Complaint.Scope == ScopeTenant && s.refusal(f.event, f.slug) {
		return s.policy.scope(groupComplaint, f.event.Tenant)
	}
	return s.policy.scope(f.group, f.event.Tenant)
}

// settleIdle gives a record that ended ok its place in the queue of those to forget.
func (s *Store) settleIdle(slot uint32) {
	if e := s.records.at(slot); s.state(e) == ok && e.dueUs == 0 {
		s.change(slot, func(e *record) { e.dueUs = s.forgetUs(e) })
	}
}

// hard is the hard column of the state table. Records that are held, suppressed or on probation stay as they are: what could
// move them has been dealt with before, or is no failure.
func (s *Store) hard(slot uint32, f *failure, hold *incident, to decide) {
	e := s.records.at(slot)
	if f.atUs <= e.atUs {
		return // older than a success, a release or the failure that decided
	}
	if hold != nil {
		if s.state(e) != ok || !s.addEvidence(e, f) {
			return
		}
		if hold.open {
			s.enter(slot, f, held, 0, hold, to)
		} else {
			s.enter(slot, f, probation, 0, hold, to)
		}
		return
	}
	switch s.state(e) {
	case ok:
		s.pend(slot, f, to)
	case pending:
		gap := f.atUs - e.atUs
		if gap < s.policy.Hard.ConfirmAfter.Microseconds() || !s.another(e, f) || !s.addEvidence(e, f) {
			return
		}
		s.suppress(slot, f, e.level, "second message after "+words(gap), to)
	case watch:
		if f.atUs > e.dueUs {
			s.pend(slot, f, to) // the watch is over, only no clock has said so yet
			return
		}
		if !s.another(e, f) || !s.addEvidence(e, f) {
			return
		}
		s.suppress(slot, f, e.level, "again after "+words(f.atUs-e.atUs), to)
	}
}

// pend begins the wait for a confirmation.
func (s *Store) pend(slot uint32, f *failure, to decide) {
	wait := s.policy.Hard.WaitAccepted
	if f.accepted == schema.Acceptance_NOT_ACCEPTED {
		wait = s.policy.Hard.WaitNotAccepted
	}
	e := s.records.at(slot)
	s.dropEvidence(e, func(x *evidence) bool { return s.groups[x.class] == groupHard && x.flags&flagDoubtful == 0 })
	if !s.addEvidence(e, f) {
		return
	}
	s.enter(slot, f, pending, f.atUs+wait.Microseconds(), nil, to)
}

// windowed counts a significant failure and suppresses when there are enough over enough time.
func (s *Store) windowed(slot uint32, f *failure, to decide) {
	e := s.records.at(slot)
	switch s.state(e) {
	case held, suppressed, probation:
		return
	}
	if s.state(e) == ok && f.atUs <= e.atUs {
		return
	}
	count, first, last := s.counted(e, f.group)
	if count > 0 && f.atUs-last > s.decayUs(s.recipients.at(e.recipient)) {
		s.dropEvidence(e, func(x *evidence) bool { return s.evidenceGroup(x) == f.group })
		count = 0
	}
	if count > 0 && (f.atUs-last < s.policy.SignificantGap.Microseconds() || !s.another(e, f)) {
		return
	}
	if !s.addEvidence(e, f) {
		return
	}
	s.change(slot, func(e *record) {
		if s.state(e) == ok {
			e.dueUs = s.forgetUs(e)
		}
	})
	if count == 0 {
		first = f.atUs
	}
	w := s.policy.window(f.group)
	if s.state(e) != ok || count+1 < w.Events || f.atUs-first < w.Over.Microseconds() {
		return
	}
	s.suppress(slot, f, e.level, fmt.Sprintf("%d failures over %s", count+1, words(f.atUs-first)), to)
}

// counted returns the counted failures of a group in a record.
func (s *Store) counted(e *record, g group) (count int, firstUs, lastUs int64) {
	for i := e.evidence; i != 0; {
		x := s.evidence.at(i)
		if s.evidenceGroup(x) == g {
			if count == 0 {
				firstUs = x.atUs
			}
			lastUs = x.atUs
			count++
		}
		i = x.next
	}
	return count, firstUs, lastUs
}

func (s *Store) evidenceGroup(x *evidence) group {
	if x.flags&flagDoubtful != 0 {
		return groupDoubtful
	}
	return s.groups[x.class]
}

// complain suppresses at once; only a person lifts it.
func (s *Store) complain(f *failure, to decide) {
	slot := s.open(f.hash, f.event.RecipientKey, f.event.Domain, s.policy.scope(groupComplaint, f.event.Tenant))
	if slot == 0 {
		return
	}
	e := s.records.at(slot)
	if e.flags&flagPerson == 0 && (s.state(e) != ok || f.atUs > e.atUs) && s.addEvidence(e, f) {
		f.flags |= flagPerson
		s.enter(slot, f, suppressed, 0, nil, to)
	}
	s.settleIdle(slot)
}

// suppress enters suppressed for the time that the failure's group and the level ask for.
func (s *Store) suppress(slot uint32, f *failure, level uint8, reason string, to decide) {
	g := f.group
	if s.state(s.records.at(slot)) == probation {
		g = s.recordGroup(s.records.at(slot)) // twice as long as the suppression that probation followed
	}
	var until int64
	if d := s.policy.suppression(g, level); d != 0 {
		until = f.atUs + d
	}
	previous := s.state(s.records.at(slot))
	s.take(slot, f, suppressed, until, nil)
	s.change(slot, func(e *record) { e.level = level })
	s.decision(slot, previous, cause{event: f.event, us: f.atUs, failure: f, reason: reason}, to)
}

// enter moves a record into a state because of a failure and says so.
func (s *Store) enter(slot uint32, f *failure, state schema.RecipientState, dueUs int64, hold *incident, to decide) {
	previous := s.state(s.records.at(slot))
	s.take(slot, f, state, dueUs, hold)
	why := cause{event: f.event, us: f.atUs, failure: f, hold: hold}
	switch {
	case f.flags&flagPerson != 0:
		why.reason = "refused by the recipient"
	case state == pending:
		why.reason = "waiting for a second message or the all-clear"
	case state == held:
		why.reason = "held, the provider seems to err"
	case state == probation:
		why.reason = "late failure under an ended hold"
	}
	s.decision(slot, previous, why, to)
}

// take makes a failure the deciding one.
func (s *Store) take(slot uint32, f *failure, state schema.RecipientState, dueUs int64, hold *incident) {
	s.change(slot, func(e *record) {
		flags := f.flags
		if s.state(e) == probation && s.recordGroup(e) >= groupDoubtful && f.group != groupComplaint {
			flags = flags&^flagDoubtful | e.flags&flagDoubtful // it prolongs what probation followed
		} else {
			e.class = f.class
		}
		e.state = uint8(state)
		e.atUs, e.dueUs = f.atUs, dueUs
		e.provider = f.provider
		e.code = uint16(f.event.SmtpCode)
		e.accepted = uint8(f.accepted)
		e.flags = flags
		e.incident = 0
		if hold != nil {
			e.incident = hold.number
		}
	})
}

// words says a distance in time for people: "3 h", "14 d".
func words(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	default:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
}
