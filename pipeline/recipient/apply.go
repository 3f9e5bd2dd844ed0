package recipient

import (
	"encoding/binary"
	"strings"

	"carom.dev/carom/schema"
	"github.com/cespare/xxhash/v2"
)

// failure is an event that says something against a recipient, with what the rules ask about it.
type failure struct {
	event    *schema.DeliveryEvent
	verdict  *schema.Verdict
	hash     uint64
	slug     string // class that counts: the verdict's, or its cause's
	group    group
	accepted schema.Acceptance
	atUs     int64
	queue    uint32
	message  uint32
	class    uint16
	provider uint16
	rule     uint16
	flags    uint8
}

// decide is where decisions of one record of the log go, with what they have in common.
type decide struct {
	at   Position
	emit func(*schema.Decision)
}

// Apply folds one event that is known to be new; duplicates of one event are the caller's to remove. It returns the
// recipient's acceptance before this event, for counting (an asynchronous bounce first withdraws the delivery of its own
// message), and emits a decision for every change of state, at most one per scope; one more says that engagement
// contradicts a suppression, which stays. What is told a second time (joined) and what a machine opened or clicked changes
// nothing.
//
// The event and the verdict are not kept. emit owns what it gets.
func (s *Store) Apply(ev *schema.DeliveryEvent, v *schema.Verdict, at Position, emit func(*schema.Decision)) schema.Acceptance {
	key := ev.RecipientKey
	if len(key) == 0 || len(key) > maxStored {
		s.stats.Unkeyed++
		return schema.Acceptance_ACCEPTANCE_UNKNOWN
	}
	us, hash := ev.OccurredAtUs, hashKey(key)
	if ev.Joined || ev.ByMachine() {
		return s.acceptedAt(hash, key, us)
	}
	if attempted(ev.Outcome) && (s.firstUs == 0 || us < s.firstUs) {
		s.firstUs = us
	}
	queue, message := messageKey(ev)
	if ev.Outcome == schema.Outcome_ASYNC_BOUNCE && ev.Trust != schema.Trust_TRUST_NONE {
		s.withdraw(hash, key, us, queue, message)
	}
	accepted := s.acceptedAt(hash, key, us)
	owner := s.find(hash, key)
	if owner != 0 {
		s.noteAttempt(s.recipients.at(owner), ev)
	}
	to := decide{at: at, emit: emit}
	if ev.Outcome == schema.Outcome_DELIVERED || ev.Outcome.Engaged() {
		if ev.Outcome.Engaged() {
			s.noteEngagement(hash, key, us)
		} else {
			s.noteDelivery(hash, key, accepted, us, queue, message)
		}
		if owner != 0 {
			s.success(owner, ev, to)
		}
		return accepted
	}
	f := failure{
		event: ev, verdict: v, hash: hash, slug: classOf(v), accepted: accepted,
		atUs: us, queue: queue, message: message,
	}
	f.group = s.groupFor(ev, v, f.slug)
	if f.group == groupNone {
		return accepted
	}
	s.number(&f)
	s.latestUs = max(s.latestUs, us)
	if f.group == groupComplaint {
		s.complain(&f, to)
	} else {
		s.fail(owner, &f, to)
	}
	s.compact()
	return accepted
}

// classOf is the class that counts: an expiry counts as its last real failure.
func classOf(v *schema.Verdict) string {
	if v.CauseClass != "" {
		return v.CauseClass
	}
	return v.Class
}

// attempted says whether an outcome is of a source that tells of deliveries, too. Only such a source makes history: from
// bounce mails, complaints or opens alone nobody learns who took mail.
func attempted(o schema.Outcome) bool {
	switch o {
	case schema.Outcome_DELIVERED, schema.Outcome_DEFERRED, schema.Outcome_BOUNCED, schema.Outcome_EXPIRED, schema.Outcome_SUSPENDED:
		return true
	}
	return false
}

// groupFor says in which group an event counts, groupNone when it says nothing about its recipient. A mail that nothing
// shows to be about mail of ours can be anybody's: it counts within a window at most.
func (s *Store) groupFor(ev *schema.DeliveryEvent, v *schema.Verdict, class string) group {
	g := s.plainGroup(ev, v, class)
	if ev.Trust == schema.Trust_TRUST_NONE && (g == groupHard || g == groupComplaint) {
		return groupDoubtful
	}
	return g
}

// plainGroup is groupFor whoever says it.
func (s *Store) plainGroup(ev *schema.DeliveryEvent, v *schema.Verdict, class string) group {
	if s.refusal(ev, class) {
		return groupComplaint
	}
	switch ev.Outcome {
	case schema.Outcome_DEFERRED, schema.Outcome_BOUNCED, schema.Outcome_EXPIRED, schema.Outcome_ASYNC_BOUNCE:
	default:
		return groupNone
	}
	if v.Scope != schema.Scope_SCOPE_RECIPIENT {
		return groupNone
	}
	return s.policy.groupOf(class, v.Suppress)
}

// refusal says whether an event is the recipient's own word that it wants no such mail.
func (s *Store) refusal(ev *schema.DeliveryEvent, class string) bool {
	return ev.Outcome == schema.Outcome_COMPLAINT || ev.Outcome == schema.Outcome_UNSUBSCRIBED || s.policy.class(class) == groupComplaint
}

// number gives the failure's names their numbers. A full table leaves the empty name.
func (s *Store) number(f *failure) {
	class, _ := s.classes.id(f.slug)
	for len(s.groups) < len(s.classes.list) {
		s.groups = append(s.groups, s.policy.class(s.classes.list[len(s.groups)]))
	}
	provider, _ := s.providers.id(f.verdict.Provider)
	rule, _ := s.rules.id(f.verdict.Rule)
	f.class, f.provider, f.rule = uint16(class), uint16(provider), uint16(rule)
	if f.event.Outcome == schema.Outcome_ASYNC_BOUNCE {
		f.flags |= flagAsync
	}
	if f.group == groupDoubtful {
		f.flags |= flagDoubtful
	}
	if f.event.Backfill {
		f.flags |= flagBackfill
	}
}

// messageKey hashes the two identities of a message: MTA host with queue id, and message id. 0 stands for an absent one.
func messageKey(ev *schema.DeliveryEvent) (queue, message uint32) {
	var d xxhash.Digest
	if ev.QueueId != "" {
		d.Reset()
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(ev.MtaHost)))
		_, _ = d.Write(n[:])
		_, _ = d.WriteString(ev.MtaHost)
		_, _ = d.WriteString(ev.QueueId)
		queue = uint32(d.Sum64()) | 1
	}
	if ev.MessageId != "" {
		message = uint32(xxhash.Sum64String(ev.MessageId)) | 1
	}
	return queue, message
}

// distinct says whether two failures are known to be of two messages. Equal on either identity is one message. When nothing
// can be compared (a bounce mail names the message id, the log line only the queue id) they are two once no queue keeps a
// message that long.
func distinct(aUs int64, aQueue, aMessage uint32, bUs int64, bQueue, bMessage uint32, lifetimeUs int64) bool {
	queues := aQueue != 0 && bQueue != 0
	messages := aMessage != 0 && bMessage != 0
	switch {
	case queues && aQueue == bQueue, messages && aMessage == bMessage:
		return false
	case queues || messages:
		return true
	default:
		return max(aUs-bUs, bUs-aUs) > lifetimeUs
	}
}

// another says whether a failure is of a message that none of the record's evidence is of.
func (s *Store) another(e *record, f *failure) bool {
	lifetime := s.policy.MessageLifetime.Microseconds()
	for i := e.evidence; i != 0; {
		x := s.evidence.at(i)
		if !distinct(x.atUs, x.queue, x.message, f.atUs, f.queue, f.message, lifetime) {
			return false
		}
		i = x.next
	}
	return true
}

// noteAttempt learns the recipient's own interval between mails, from distances that no retry explains.
func (s *Store) noteAttempt(r *recipient, ev *schema.DeliveryEvent) {
	switch ev.Outcome {
	case schema.Outcome_DELIVERED, schema.Outcome_DEFERRED, schema.Outcome_BOUNCED, schema.Outcome_EXPIRED:
	default:
		return
	}
	at := uint32(max(ev.OccurredAtUs, 0) / 1_000_000)
	if r.sent == 0 {
		r.sent = at
		return
	}
	if at <= r.sent {
		return
	}
	gap := at - r.sent
	r.sent = at
	if int64(gap)*1_000_000 < s.policy.SignificantGap.Microseconds() {
		return
	}
	if r.interval == 0 {
		r.interval = gap
	} else {
		r.interval = uint32((3*uint64(r.interval) + uint64(gap)) / 4)
	}
}

// decayUs is how old the last counted failure of a recipient may be before its counters are dropped.
func (s *Store) decayUs(r *recipient) int64 {
	own := int64(r.interval) * int64(s.policy.DecayIntervals) * 1_000_000
	return max(own, s.policy.DecayAfter.Microseconds())
}

// success folds a delivery or engagement into the records of its recipient. Engagement is worth a delivery, but ends no
// suppression: a client may show old mail long after the mailbox has gone, and reading does not make room in it.
func (s *Store) success(owner uint32, ev *schema.DeliveryEvent, to decide) {
	for slot := s.recipients.at(owner).records; slot != 0; slot = s.records.at(slot).next {
		e := s.records.at(slot)
		scope := s.scopes.str(e.scope)
		if len(scope) > len(scopeTenantPrefix) && scope != scopeTenantPrefix+ev.Tenant {
			continue // another tenant's mail
		}
		if e.flags&flagPerson != 0 || ev.OccurredAtUs <= e.atUs && s.state(e) != schema.RecipientState_STATE_OK {
			continue
		}
		switch s.state(e) {
		case schema.RecipientState_STATE_OK:
			s.clear(slot, ev.OccurredAtUs)
		case schema.RecipientState_STATE_PENDING, schema.RecipientState_STATE_WATCH, schema.RecipientState_STATE_PROBATION:
			s.lift(slot, ev.OccurredAtUs, cause{event: ev, us: ev.OccurredAtUs, reason: ev.Outcome.Name()}, to)
		case schema.RecipientState_STATE_SUPPRESSED:
			switch {
			case ev.Outcome.Engaged():
				s.contradict(slot, ev, to)
			case s.recordGroup(e) >= groupDoubtful:
				s.lift(slot, ev.OccurredAtUs, cause{event: ev, us: ev.OccurredAtUs, reason: "delivered, counters reset"}, to)
			}
		}
	}
}

// contradict puts on record, once for each suppression, that somebody reads mail of an address that is suppressed because
// it is said not to exist. The state stays; whoever reviews suppressions finds the decision.
func (s *Store) contradict(slot uint32, ev *schema.DeliveryEvent, to decide) {
	e := s.records.at(slot)
	if s.groups[e.class] != groupHard || e.flags&flagContradicted != 0 {
		return
	}
	e.flags |= flagContradicted
	why := cause{event: ev, us: ev.OccurredAtUs, reason: ev.Outcome.Name() + " " + words(ev.OccurredAtUs-e.atUs) + " after the failure, kept"}
	why.hard, why.ids, why.rules = s.describe(e)
	why.ids = append(why.ids, strings.Clone(ev.EventId)) // the event is not kept
	why.ids = why.ids[max(0, len(why.ids)-maxIDs):]
	s.decision(slot, suppressed, why, to)
}

// clear drops the counted failures before a success and raises the floor.
func (s *Store) clear(slot uint32, us int64) {
	s.change(slot, func(e *record) {
		s.dropEvidence(e, func(x *evidence) bool { return x.atUs <= us })
		e.atUs = max(e.atUs, us)
		e.level = 0
		e.dueUs = s.forgetUs(e)
	})
}

// lift makes a record ok, with a floor under which failures no longer count.
func (s *Store) lift(slot uint32, floorUs int64, why cause, to decide) {
	previous := s.state(s.records.at(slot))
	s.change(slot, func(e *record) {
		why.hard, why.ids, why.rules = s.describe(e)
		s.dropEvidence(e, func(x *evidence) bool { return x.atUs <= floorUs })
		e.state = uint8(schema.RecipientState_STATE_OK)
		e.flags = 0
		e.level = 0
		e.atUs = max(e.atUs, floorUs)
		e.dueUs = s.forgetUs(e)
	})
	s.decision(slot, previous, why, to)
}

// forgetUs is when an ok record may go.
func (s *Store) forgetUs(e *record) int64 {
	at := e.atUs + s.policy.ForgetAfter.Microseconds()
	keep := max(s.decayUs(s.recipients.at(e.recipient)), s.policy.KeepCounters.Microseconds())
	for i := e.evidence; i != 0; i = s.evidence.at(i).next {
		at = max(at, s.evidence.at(i).atUs+keep)
	}
	return at
}

func (s *Store) state(e *record) schema.RecipientState { return schema.RecipientState(e.state) }

// recordGroup is the group of the deciding failure.
func (s *Store) recordGroup(e *record) group {
	if e.flags&flagDoubtful != 0 {
		return groupDoubtful
	}
	return s.groups[e.class]
}
