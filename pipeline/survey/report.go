package survey

import (
	"cmp"
	"maps"
	"slices"

	"carom.dev/carom/schema"
)

// Report is what a Survey found. Its order depends on counts and names alone.
type Report struct {
	Input     Stats      `json:"input"`
	Ruleset   string     `json:"ruleset"`
	Outcomes  []Count    `json:"outcomes"`  // events by outcome, in the order of schema; machine is engagement by machines
	Providers []Provider `json:"providers"` // most attempts first
	Codeless  []Silence  `json:"codeless"`  // in the order of a delivery; kinds that do not occur are left out
	Unknown   Unknown    `json:"unknown"`
	Naive     Naive      `json:"naive"`
}

// Count is a number under a name.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// Provider is what one provider answered.
type Provider struct {
	Provider  string   `json:"provider"`
	Attempts  int64    `json:"attempts"` // delivered, deferred and bounced; an expiry ends a message, a postponement tries nothing
	Delivered int64    `json:"delivered"`
	Deferred  int64    `json:"deferred"`
	Bounced   int64    `json:"bounced"`
	Expired   int64    `json:"expired"`
	Suspended int64    `json:"suspended"`
	Share     float64  `json:"delivered_share"` // of the recipients whose message has ended: delivered, bounced or expired; 0 if none has
	Reasons   []Reason `json:"reasons"`         // most events first
	After
}

// After is what came when delivery was over: mail about mail, and what people did. What did not occur is left out.
type After struct {
	AsyncBounced int64 `json:"async_bounced,omitempty"` // refused by mail after the next hop had taken it
	Delayed      int64 `json:"delayed,omitempty"`       // warnings by mail
	Complaints   int64 `json:"complaints,omitempty"`
	Unsubscribed int64 `json:"unsubscribed,omitempty"`
	Opened       int64 `json:"opened,omitempty"`  // by a person
	Clicked      int64 `json:"clicked,omitempty"` // by a person
	Machine      int64 `json:"machine,omitempty"` // opened or clicked by a machine
}

func (a *After) add(b *After) {
	a.AsyncBounced += b.AsyncBounced
	a.Delayed += b.Delayed
	a.Complaints += b.Complaints
	a.Unsubscribed += b.Unsubscribed
	a.Opened += b.Opened
	a.Clicked += b.Clicked
	a.Machine += b.Machine
}

func (p *Provider) ended() int64 { return p.Delivered + p.Bounced + p.Expired }

func (p *Provider) failures() int64 {
	return p.Deferred + p.Bounced + p.Expired + p.Suspended + p.AsyncBounced
}

// Reason counts failures of one class; those behind expiries and postponements under the class of their cause.
type Reason struct {
	Class        string `json:"class"`
	Deferred     int64  `json:"deferred"`
	Bounced      int64  `json:"bounced"`
	Expired      int64  `json:"expired"`
	Suspended    int64  `json:"suspended"`
	AsyncBounced int64  `json:"async_bounced,omitempty"`
}

func (r *Reason) events() int64 {
	return r.Deferred + r.Bounced + r.Expired + r.Suspended + r.AsyncBounced
}

// Silence counts failures in which no server gave an answer.
type Silence struct {
	Kind      string  `json:"kind"` // dns, connect, banner, tls, command, lost_connection, after_final_dot, expiry, suspended or local
	Meaning   string  `json:"meaning"`
	Events    int64   `json:"events"`
	Providers []Count `json:"providers"`
	Example   string  `json:"example"` // of the first event; of an expiry, its last real cause
	Advice    string  `json:"advice"`
}

// Unknown lists words that no rule knows: nothing but the basic code, or nothing at all, judged them.
type Unknown struct {
	Events int64         `json:"events"`
	Beyond int64         `json:"beyond"` // events of further shapes, beyond what is kept
	Texts  []UnknownText `json:"texts"`  // most events first
}

// UnknownText is one shape of unknown words.
type UnknownText struct {
	Template  string  `json:"template"`
	Events    int64   `json:"events"`
	SMTPCode  int32   `json:"smtp_code,omitempty"`
	Class     string  `json:"class"` // that the fallback gave
	Providers []Count `json:"providers"`
	Text      string  `json:"text"` // of the first event
}

// Report returns what has been found so far in the lines that input counts.
func (s *Survey) Report(input Stats) *Report {
	r := &Report{
		Input: input, Ruleset: s.set.Version(), Outcomes: []Count{}, Providers: []Provider{}, Codeless: []Silence{},
		Unknown: Unknown{Events: s.unknowns, Beyond: s.crowded, Texts: []UnknownText{}}, Naive: s.naive(),
	}
	for o, n := range s.outcomes {
		if n > 0 {
			r.Outcomes = append(r.Outcomes, Count{outcomeName(o), n})
		}
	}
	for name, c := range s.providers {
		r.Providers = append(r.Providers, c.provider(name))
	}
	slices.SortFunc(r.Providers, func(a, b Provider) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(b.failures(), a.failures()), cmp.Compare(a.Provider, b.Provider))
	})
	for kind := range silences {
		if c := s.codeless[kind]; c.events > 0 {
			name, meaning, advice := kind.words()
			r.Codeless = append(r.Codeless, Silence{name, meaning, c.events, ranking(c.providers), c.example, advice})
		}
	}
	for template, u := range s.unknown {
		r.Unknown.Texts = append(r.Unknown.Texts, UnknownText{template, u.events, u.code, u.class, ranking(u.providers), u.text})
	}
	slices.SortFunc(r.Unknown.Texts, func(a, b UnknownText) int {
		return cmp.Or(cmp.Compare(b.Events, a.Events), cmp.Compare(a.Template, b.Template))
	})
	return r
}

// outcomeName names a count by outcome.
func outcomeName(o int) string {
	if o == machines {
		return "machine"
	}
	return cmp.Or(schema.Outcome(o).Name(), "unspecified")
}

func (c *providerCount) provider(name string) Provider {
	at := func(n *[outcomes]int64, o schema.Outcome) int64 { return n[o] }
	p := Provider{
		Provider: name, Delivered: at(&c.outcomes, schema.Outcome_DELIVERED), Deferred: at(&c.outcomes, schema.Outcome_DEFERRED),
		Bounced: at(&c.outcomes, schema.Outcome_BOUNCED), Expired: at(&c.outcomes, schema.Outcome_EXPIRED),
		Suspended: at(&c.outcomes, schema.Outcome_SUSPENDED), Reasons: []Reason{},
		After: After{
			AsyncBounced: at(&c.outcomes, schema.Outcome_ASYNC_BOUNCE), Delayed: at(&c.outcomes, schema.Outcome_DELAYED),
			Complaints: at(&c.outcomes, schema.Outcome_COMPLAINT), Unsubscribed: at(&c.outcomes, schema.Outcome_UNSUBSCRIBED),
			Opened: at(&c.outcomes, schema.Outcome_OPENED), Clicked: at(&c.outcomes, schema.Outcome_CLICKED), Machine: c.outcomes[machines],
		},
	}
	p.Attempts = p.Delivered + p.Deferred + p.Bounced
	p.Share = share(p.Delivered, p.ended())
	for class, n := range c.reasons {
		p.Reasons = append(p.Reasons, Reason{
			class, at(n, schema.Outcome_DEFERRED), at(n, schema.Outcome_BOUNCED), at(n, schema.Outcome_EXPIRED), at(n, schema.Outcome_SUSPENDED),
			at(n, schema.Outcome_ASYNC_BOUNCE),
		})
	}
	slices.SortFunc(p.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.events(), a.events()), cmp.Compare(a.Class, b.Class))
	})
	return p
}

// ranking orders counts, the largest first.
func ranking(m map[string]int64) []Count {
	out := make([]Count, 0, len(m))
	for name := range maps.Keys(m) {
		out = append(out, Count{name, m[name]})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return out
}

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
