package recipient

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"carom.dev/carom/schema"
)

// cause is why a record changed: an event or a control record.
type cause struct {
	event   *schema.DeliveryEvent // nil: a control record
	seq     int64                 // of the control record
	us      int64                 // event time of the decision
	failure *failure              // that decided, when the event was one
	hold    *incident
	reason  string
	word    string // class word instead of the record's, "manual"

	// What the record held before the change dropped it; see describe.
	hard  uint32
	ids   []string
	rules []string
}

// maxIDs bounds the event and rule ids of one decision; the latest are kept.
const maxIDs = 4

// describe lists a record's evidence for a decision.
func (s *Store) describe(e *record) (hard uint32, ids, rules []string) {
	for i := e.evidence; i != 0; {
		x := s.evidence.at(i)
		if s.groups[x.class] == groupHard && x.flags&flagDoubtful == 0 {
			hard++
		}
		ids = append(ids, string(s.arena.get(x.id, int(x.idLen))))
		if rule := s.rules.str(uint32(x.rule)); rule != "" {
			rules = append(rules, rule)
		}
		i = x.next
	}
	return hard, ids[max(0, len(ids)-maxIDs):], rules[max(0, len(rules)-maxIDs):]
}

// decision emits the state of a record.
func (s *Store) decision(slot uint32, previous schema.RecipientState, why cause, to decide) {
	e := s.records.at(slot)
	r := s.recipients.at(e.recipient)
	if why.ids == nil {
		why.hard, why.ids, why.rules = s.describe(e)
	}
	d := &schema.Decision{
		RecipientKey: append([]byte(nil), s.key(r)...),
		Scope:        s.scopes.str(e.scope),
		State:        s.state(e),
		Previous:     previous,
		DecidedUs:    why.us,
		Class:        s.classes.str(uint32(e.class)),
		Provider:     s.providers.str(uint32(e.provider)),
		Policy:       s.policy.Version,
		EventIds:     why.ids,
		RuleIds:      why.rules,
		DryRun:       s.policy.Mode == ModeObserve || s.policy.Mode == ModeGenesis && s.observe,
		HardEvents:   why.hard,
		Acceptance:   schema.Acceptance(e.accepted),
		Partition:    to.at.Partition,
		Offset:       to.at.Offset,
		Backfill:     e.flags&flagBackfill != 0,
		Domain:       s.domain(r),
		Version:      to.at.Offset,
	}
	if g := s.recordGroup(e); g >= groupDoubtful {
		n, _, _ := s.counted(e, g)
		d.WindowEvents = uint32(n)
	}
	if why.word != "" {
		d.Class = why.word
	}
	if why.hold != nil {
		d.IncidentId = why.hold.id
	}
	switch d.State {
	case pending:
		d.DueUs = e.dueUs
	case suppressed, watch:
		d.ExpiresUs = e.dueUs
	case held:
		d.ExpiresUs = why.hold.untilUs
	}
	d.Reason = reason(why, d)
	d.Id = s.decisionID(d, why)
	s.stats.Decisions++
	to.emit(d)
}

// reason puts the answer in front: "550 5.1.1 unknown, second message after 3 h".
func reason(why cause, d *schema.Decision) string {
	var parts []string
	if f := why.failure; f != nil {
		if f.event.SmtpCode != 0 {
			parts = append(parts, strconv.Itoa(int(f.event.SmtpCode)))
		}
		if f.event.EnhancedCode != "" && f.event.EnhancedSource == schema.EnhancedSource_ENHANCED_REMOTE {
			parts = append(parts, f.event.EnhancedCode)
		}
	}
	class := d.Class
	if why.failure != nil {
		class = why.failure.slug
	}
	if d.State != ok && why.word == "" {
		parts = append(parts, strings.ReplaceAll(class[strings.LastIndexByte(class, '.')+1:], "_", " "))
	}
	if len(parts) == 0 {
		return why.reason
	}
	return strings.Join(parts, " ") + ", " + why.reason
}

// decisionID is the same whenever the same record of the log is folded: recipient, scope, policy, cause and state make it.
func (s *Store) decisionID(d *schema.Decision, why cause) string {
	var b []byte
	field := func(x string) {
		b = binary.AppendUvarint(b, uint64(len(x)))
		b = append(b, x...)
	}
	field(string(d.RecipientKey))
	field(d.Scope)
	field(d.Policy)
	if why.event != nil {
		b = append(b, 'e')
		field(why.event.EventId)
	} else {
		b = append(b, 'c')
		b = binary.AppendVarint(b, why.seq)
	}
	b = binary.AppendVarint(b, int64(d.State))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
