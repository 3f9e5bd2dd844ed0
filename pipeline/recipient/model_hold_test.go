package recipient

import (
	"slices"

	"carom.dev/carom/schema"
)

func (m *model) incident(in *schema.Incident) {
	var h *hold
	for _, x := range m.holds {
		if x.id == in.Id {
			h = x
		}
	}
	if h == nil {
		if in.State == schema.IncidentState_RESOLVED {
			return
		}
		h = &hold{id: in.Id}
		m.holds = append(m.holds, h)
	}
	if in.Revision <= h.revision {
		return
	}
	first := h.revision == 0
	h.revision, h.provider, h.class, h.from, h.until = in.Revision, in.Provider, in.Class, in.HoldFromUs, in.HoldUntilUs
	if in.State == schema.IncidentState_RESOLVED {
		h.until = min(h.until, in.ResolvedUs)
		h.open = false
		m.end(h, in.ResolvedUs, false)
		return
	}
	h.open = first || h.until > m.nowUs
	if !h.open {
		return
	}
	for _, e := range m.entries {
		before := e.state
		if e.final || before == held || before == probation {
			continue
		}
		if before != ok && m.covers(h, proof{us: e.us, class: e.class, provider: e.provider, async: e.async}) {
			e.state, e.due, e.hold = held, 0, h.id
			m.say(e, before, in.UpdatedUs)
			continue
		}
		e.evidence = slices.DeleteFunc(e.evidence, func(x proof) bool {
			return (x.doubtful || m.p.class(x.class) != groupHard) && m.covers(h, x)
		})
	}
}

func (m *model) end(h *hold, us int64, timedOut bool) {
	for _, e := range m.entries {
		if e.state != held || e.hold != h.id {
			continue
		}
		other := slices.IndexFunc(m.holds, func(o *hold) bool {
			return o.open && m.covers(o, proof{us: e.us, class: e.class, provider: e.provider, async: e.async})
		})
		switch {
		case other >= 0:
			e.hold = m.holds[other].id
		case !timedOut && (e.accepted != schema.Acceptance_NOT_ACCEPTED || m.acceptance(e.who, e.us) != schema.Acceptance_NOT_ACCEPTED):
			m.release(e, h.until)
		default:
			e.state, e.due, e.hold = probation, 0, ""
		}
		m.say(e, held, us)
	}
}
