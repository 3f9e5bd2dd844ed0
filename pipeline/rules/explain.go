package rules

import (
	"regexp"

	"carom.dev/carom/schema"
)

// Explanation says how a verdict came about.
type Explanation struct {
	Verdict  *schema.Verdict
	Subject  string    // what the patterns saw
	Layers   []Opinion // every layer that had an opinion, in order; the first one decided
	Retry    string    // why
	Suppress string    // why
	Advice   Advice    // what to do about it, or about the cause of an expiry or a postponement; zero for a delivery
}

// Opinion is what one layer says.
type Opinion struct {
	Layer    Layer
	Asked    bool   // false: the layer does not apply (no reply of the remote, or no provider rules)
	Provider string // with LayerProvider: whose rules were asked
	Rule     string // empty: no rule of the layer knows the answer
	Class    string
	Source   string // public source of the rule
	File     string
	Line     int
	Pattern  string
	Words    string // what the pattern matched
}

// Explain classifies in and says which layers were asked, which rule fired on which words, and what the layers behind it
// would have said. It is for people: it allocates freely.
func (s *Set) Explain(in *Input) Explanation {
	e := Explanation{Verdict: &schema.Verdict{}}
	s.Classify(in, e.Verdict)
	what := in
	if in.Outcome == schema.Outcome_EXPIRED && in.Cause != nil {
		what = in.Cause
	}
	work := newScratch()
	j := s.judge(what, work)
	e.Subject = string(work.subject)
	for layer := range layers {
		b, o := s.bankOf(layer, &j), Opinion{Layer: layer, Asked: layer != LayerLocal || j.answer.local || !j.answer.remote && j.answer.code == 0}
		if layer == LayerProvider {
			o.Provider = j.words
			o.Asked = b != nil
		}
		if o.Asked {
			o.describe(b, work.subject)
		}
		e.Layers = append(e.Layers, o)
	}
	e.Retry, e.Suppress = s.reasons(e.Verdict, j.rule)
	e.Advice = s.Advice(or(e.Verdict.CauseClass, e.Verdict.Class), e.Verdict.Provider)
	return e
}

func (s *Set) bankOf(layer Layer, j *judgement) *bank {
	switch layer {
	case LayerLocal:
		return s.local
	case LayerProvider:
		return s.providers[j.words]
	case LayerText:
		return s.text
	case LayerEnhanced:
		return s.enhanced
	}
	return s.code
}

// describe finds the layer's rule and, with a Go regexp, its words.
func (o *Opinion) describe(b *bank, subject []byte) {
	r := b.first(subject)
	if r == nil {
		return
	}
	o.Rule, o.Class, o.Source, o.File, o.Line = r.id, r.class.Slug, r.source, r.file, r.line
	for i, p := range r.patterns {
		at := regexp.MustCompile(`(?s)` + p).FindIndex(subject) // compiled before, at load
		if at == nil {
			continue
		}
		o.Words = string(subject[at[0]:at[1]])
		if i < len(r.match) {
			o.Pattern = r.match[i]
			if m := regexp.MustCompile(`(?s)` + trimAnchor(r.match[i])).FindIndex(subject); m != nil {
				o.Words = string(subject[m[0]:m[1]])
			}
		}
		return
	}
}

func trimAnchor(p string) string {
	if p[0] == '^' {
		return p[1:]
	}
	return p
}

// reasons puts the two answers into words.
func (s *Set) reasons(v *schema.Verdict, r *rule) (retry, suppress string) {
	switch v.Retry {
	case schema.Retry_RETRY_NO:
		retry = "no: trying this message again would give the same answer"
	case schema.Retry_RETRY_LATER:
		retry = "later and slower: the answer is about rate or reputation, not about this message"
	case schema.Retry_RETRY_YES:
		retry = "yes, as the queue does: the condition may pass"
	default:
		retry = "not asked: nothing failed"
	}
	if v.Class == classExpired {
		retry = "no: the queue lifetime ran out"
	}
	switch v.Suppress {
	case schema.Suppress_SUPPRESS_CANDIDATE:
		suppress = "candidate: says that this recipient does not exist; one may be enough, after the wait that the policy asks for"
	case schema.Suppress_SUPPRESS_WINDOWED:
		suppress = "windowed: says something about this recipient, but not enough alone"
	case schema.Suppress_SUPPRESS_DOMAIN:
		suppress = "domain: says something about the domain; domain rules count it"
	case schema.Suppress_SUPPRESS_NEVER:
		suppress = "never: says nothing about the recipient"
	default:
		suppress = "not asked: nothing failed"
	}
	if v.Suppress == windowed && r != nil && r.class.Suppress == candidate && r.suppress == 0 {
		suppress += " (the words alone would be a candidate, but the code is temporary or speaks of something else)"
	}
	return retry, suppress
}
