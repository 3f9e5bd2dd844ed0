package recipient

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"carom.dev/carom/schema"
)

// model is the state table written down as plainly as possible: maps, slices, no bounds, no queues, everything scanned. It
// shares with the Store only the parsed policy.
type model struct {
	p        *Policy
	nowUs    int64
	firstUs  int64
	latestUs int64
	mailed   map[string][]delivered // per recipient, every delivery that stands
	settled  map[string]bool        // recipients whose first delivery nothing can take back
	entries  []*entry
	people   map[string]*person
	holds    []*hold
	out      []string
}

type delivered struct {
	us  int64
	msg string
}

type person struct{ sent, interval int64 }

type entry struct {
	who, scope string
	state      schema.RecipientState
	us, due    int64
	class      string
	provider   string
	doubtful   bool
	async      bool
	final      bool // only a person lifts it
	read       bool // while suppressed, and said so
	level      uint8
	accepted   schema.Acceptance
	hold       string
	evidence   []proof
}

type proof struct {
	us              int64
	msg             string
	class, provider string
	doubtful, async bool
}

type hold struct {
	id, provider, class string
	from, until         int64
	revision            uint32
	open                bool
}

func newModel(p *Policy) *model {
	return &model{p: p, mailed: map[string][]delivered{}, settled: map[string]bool{}, people: map[string]*person{}}
}

func (m *model) say(e *entry, before schema.RecipientState, us int64) {
	m.out = append(m.out, fmt.Sprintf("%s %s %s>%s at %d due %d", e.who, e.scope, before.Name(), e.state.Name(), us, e.due))
}

// acceptance: any standing delivery not older than accepted_within, by whole days.
func (m *model) acceptance(who string, us int64) schema.Acceptance {
	if m.nowUs > 0 {
		us = min(us, m.nowUs+2*dayUs)
	}
	for _, d := range m.mailed[who] {
		if us/dayUs-d.us/dayUs <= m.p.AcceptedWithin.Microseconds()/dayUs {
			return schema.Acceptance_ACCEPTED
		}
	}
	if m.firstUs == 0 || us-m.firstUs < m.p.HistoryNeeded.Microseconds() {
		return schema.Acceptance_ACCEPTANCE_UNKNOWN
	}
	return schema.Acceptance_NOT_ACCEPTED
}

func (m *model) apply(ev *schema.DeliveryEvent, v *schema.Verdict) schema.Acceptance {
	who, us, msg := string(ev.RecipientKey), ev.OccurredAtUs, ev.QueueId
	read := ev.Outcome == schema.Outcome_OPENED || ev.Outcome == schema.Outcome_CLICKED
	refused := ev.Outcome == schema.Outcome_COMPLAINT || ev.Outcome == schema.Outcome_UNSUBSCRIBED
	async := ev.Outcome == schema.Outcome_ASYNC_BOUNCE
	logged := !read && !refused && !async
	if ev.Joined || read && ev.Machine {
		return m.acceptance(who, us)
	}
	if logged && (m.firstUs == 0 || us < m.firstUs) {
		m.firstUs = us
	}
	if ds := m.mailed[who]; async && ev.Trust != schema.Trust_TRUST_NONE && len(ds) > 0 {
		last := ds[0].us
		others := slices.ContainsFunc(ds, func(d delivered) bool { last = max(last, d.us); return d.msg != msg })
		standing := m.p.ProvisionalFor.Microseconds()
		if !others && !m.settled[who] && us-last <= standing {
			delete(m.mailed, who)
		}
	}
	acc := m.acceptance(who, us)
	if p := m.people[who]; p != nil && logged {
		at := us / 1_000_000
		switch {
		case p.sent == 0:
			p.sent = at
		case at > p.sent:
			gap := at - p.sent
			p.sent = at
			if gap >= 86400 && p.interval == 0 {
				p.interval = gap
			} else if gap >= 86400 {
				p.interval = (3*p.interval + gap) / 4
			}
		}
	}
	if ev.Outcome == schema.Outcome_DELIVERED || read {
		at := us
		if m.nowUs > 0 {
			at = min(at, m.nowUs+2*dayUs)
		}
		m.mailed[who] = append(m.mailed[who], delivered{at, msg})
		m.settled[who] = m.settled[who] || read
		m.succeeded(who, ev.Tenant, us, read)
		return acc
	}
	g := m.p.groupOf(v.Class, v.Suppress)
	if refused {
		g = groupComplaint
	}
	scope := ""
	if g != groupNone {
		scope = m.p.scope(g, ev.Tenant)
	}
	unbelieved := ev.Trust == schema.Trust_TRUST_NONE
	if unbelieved && (g == groupHard || g == groupComplaint) {
		g = groupDoubtful
		if !refused || ev.Tenant == "" {
			scope = "bulk"
		}
	}
	if g == groupNone {
		return acc
	}
	m.latestUs = max(m.latestUs, us)
	x := proof{us, msg, v.Class, v.Provider, g == groupDoubtful, async}
	if g == groupComplaint {
		m.refuse(who, scope, acc, x)
	} else {
		m.fail(who, scope, g, acc, x, logged, unbelieved)
	}
	return acc
}

// refuse suppresses until a person says otherwise.
func (m *model) refuse(who, scope string, acc schema.Acceptance, x proof) {
	e := m.entry(who, scope)
	if m.people[who] == nil {
		m.people[who] = &person{}
	}
	if e.final || e.state == ok && x.us <= e.us {
		return
	}
	e.evidence, e.accepted = append(e.evidence, x), acc
	before := e.state
	e.class, e.doubtful, e.final = x.class, false, true
	e.state, e.due, e.us, e.provider, e.async, e.hold = suppressed, 0, x.us, x.provider, x.async, ""
	m.say(e, before, x.us)
}

func (m *model) succeeded(who, tenant string, us int64, read bool) {
	for _, e := range m.entries {
		if e.who != who || e.final || strings.HasPrefix(e.scope, "tenant:") && e.scope != "tenant:"+tenant {
			continue
		}
		before := e.state
		switch {
		case e.state == ok:
			e.evidence = slices.DeleteFunc(e.evidence, func(x proof) bool { return x.us <= us })
			e.us = max(e.us, us)
			e.level = 0
		case us <= e.us || e.state == held:
		case e.state == suppressed && read:
			if m.p.class(e.class) == groupHard && !e.read {
				e.read = true
				m.say(e, suppressed, us)
			}
		case e.state == suppressed && m.hardEntry(e):
		default:
			m.release(e, us)
			m.say(e, before, us)
		}
	}
}

func (m *model) hardEntry(e *entry) bool { return m.p.class(e.class) == groupHard && !e.doubtful }

func (m *model) release(e *entry, us int64) {
	e.state, e.due, e.level, e.hold, e.final, e.doubtful, e.read = ok, 0, 0, "", false, false, false
	e.evidence = slices.DeleteFunc(e.evidence, func(x proof) bool { return x.us <= us })
	e.us = max(e.us, us)
}

func (m *model) entry(who, scope string) *entry {
	for _, e := range m.entries {
		if e.who == who && e.scope == scope {
			return e
		}
	}
	e := &entry{who: who, scope: scope}
	m.entries = append(m.entries, e)
	return e
}

func (m *model) another(e *entry, x proof) bool {
	return !slices.ContainsFunc(e.evidence, func(y proof) bool { return x.msg == y.msg })
}

func (m *model) covers(h *hold, x proof) bool {
	until := h.until
	if x.async {
		until += m.p.HoldAsyncGrace.Microseconds()
	}
	return x.provider == h.provider && h.from <= x.us && x.us <= until && m.p.class(x.class) == m.p.class(h.class)
}

func (m *model) decide(e *entry, x proof, state schema.RecipientState, due int64) {
	before := e.state
	if before != probation || m.hardEntry(e) {
		e.class, e.doubtful = x.class, x.doubtful
	}
	e.state, e.due, e.us, e.provider, e.async, e.hold, e.read = state, due, x.us, x.provider, x.async, "", false
	m.say(e, before, x.us)
}

// fail takes in what says something against a recipient: logged, if a log told it; unbelieved, if it was a mail of unknown
// origin, which decides no probation.
func (m *model) fail(who, scope string, g group, acc schema.Acceptance, x proof, logged, unbelieved bool) {
	var over *hold
	for _, h := range m.holds {
		if m.covers(h, x) && (over == nil || h.open && !over.open) {
			over = h
		}
	}
	own := false
	for _, e := range m.entries {
		if e.who != who || e.state != probation || over != nil || e.scope != scope && g != groupHard {
			continue
		}
		own = own || e.scope == scope
		if !unbelieved && x.us > e.us && m.another(e, x) {
			e.evidence = append(e.evidence, x)
			e.level++
			eg := m.p.class(e.class)
			if e.doubtful {
				eg = groupDoubtful
			}
			e.accepted = acc
			m.decide(e, x, suppressed, until(x.us, m.p.suppression(eg, e.level)))
		}
	}
	if own || over != nil && (g != groupHard || !over.open && acc != schema.Acceptance_NOT_ACCEPTED) {
		return
	}
	e := m.entry(who, scope)
	if m.people[who] == nil {
		m.people[who] = &person{}
		if logged {
			m.people[who].sent = x.us / 1_000_000
		}
	}
	if e.final {
		return
	}
	if g == groupHard {
		m.hard(e, x, acc, over)
	} else {
		m.count(e, x, g, acc)
	}
}

func until(us, d int64) int64 {
	if d == 0 {
		return 0
	}
	return us + d
}

func (m *model) hard(e *entry, x proof, acc schema.Acceptance, over *hold) {
	switch {
	case x.us <= e.us:
	case over != nil && e.state != ok:
	case over != nil && over.open:
		e.evidence, e.accepted = append(e.evidence, x), acc
		m.decide(e, x, held, 0)
		e.hold = over.id
	case over != nil:
		e.evidence, e.accepted = append(e.evidence, x), acc
		m.decide(e, x, probation, 0)
	case e.state == ok, e.state == watch && x.us > e.due:
		e.evidence = slices.DeleteFunc(e.evidence, func(y proof) bool { return m.p.class(y.class) == groupHard && !y.doubtful })
		e.evidence, e.accepted = append(e.evidence, x), acc
		wait := m.p.Hard.WaitAccepted
		if acc == schema.Acceptance_NOT_ACCEPTED {
			wait = m.p.Hard.WaitNotAccepted
		}
		m.decide(e, x, pending, x.us+wait.Microseconds())
	case e.state == pending && x.us-e.us >= m.p.Hard.ConfirmAfter.Microseconds() && m.another(e, x), e.state == watch && m.another(e, x):
		e.evidence, e.accepted = append(e.evidence, x), acc
		m.decide(e, x, suppressed, until(x.us, m.p.suppression(groupHard, e.level)))
	}
}

func (m *model) count(e *entry, x proof, g group, acc schema.Acceptance) {
	if e.state == held || e.state == suppressed || e.state == probation || e.state == ok && x.us <= e.us {
		return
	}
	same := func(y proof) bool {
		if y.doubtful || x.doubtful {
			return y.doubtful && x.doubtful
		}
		return m.p.class(y.class) == g
	}
	mine := func() (list []proof) {
		for _, y := range e.evidence {
			if same(y) {
				list = append(list, y)
			}
		}
		return list
	}
	if list := mine(); len(list) > 0 {
		last := list[len(list)-1].us
		if x.us-last > max(m.p.DecayAfter.Microseconds(), 3*m.people[e.who].interval*1_000_000) {
			e.evidence = slices.DeleteFunc(e.evidence, same)
		} else if x.us-last < m.p.SignificantGap.Microseconds() || !m.another(e, x) {
			return
		}
	}
	e.evidence = append(e.evidence, x)
	list, w := mine(), m.p.window(g)
	if e.state == ok && len(list) >= w.Events && x.us-list[0].us >= w.Over.Microseconds() {
		e.accepted = acc
		m.decide(e, x, suppressed, until(x.us, m.p.suppression(g, e.level)))
	}
}

func (m *model) tick(us int64) {
	if us <= m.nowUs {
		return
	}
	m.nowUs = us
	for who, ds := range m.mailed {
		last := slices.MaxFunc(ds, func(a, b delivered) int { return cmp.Compare(a.us, b.us) }).us
		m.settled[who] = m.settled[who] || last+m.p.ProvisionalFor.Microseconds() <= us
	}
	for _, e := range m.entries {
		before, due := e.state, e.due
		switch {
		case e.due == 0 || e.due > us:
		case e.state == watch:
			m.release(e, e.us)
			m.say(e, before, due)
		case e.state == suppressed:
			e.state, e.due = probation, 0
			m.say(e, before, due)
		}
	}
	for _, h := range m.holds {
		if h.open && h.until <= us {
			h.open = false
			m.end(h, h.until, true)
		}
	}
}

func (m *model) allClear(through int64, except []string) {
	m.tick(through)
	for _, e := range m.entries {
		if e.state != pending || e.due >= through || slices.Contains(except, e.provider) {
			continue
		}
		due := e.due
		if e.accepted != schema.Acceptance_NOT_ACCEPTED || m.acceptance(e.who, e.us) != schema.Acceptance_NOT_ACCEPTED {
			e.state, e.due = watch, e.us+m.p.Hard.WatchFor.Microseconds()
		} else {
			e.state, e.due = suppressed, until(due, m.p.suppression(groupHard, e.level))
		}
		m.say(e, pending, due)
	}
}
