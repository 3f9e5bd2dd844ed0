package rules

import (
	"fmt"
	"io/fs"

	"carom.dev/carom/schema"
)

// Lint reads, compiles and tests the rule files of fsys and returns every problem: first
// those of the form, then those that the samples show, each in the order of files and lines.
func Lint(fsys fs.FS) []Problem {
	_, problems := load(fsys, compileAutomaton)
	return problems
}

// test runs every sample of every rule.
func (s *Set) test() []Problem {
	var problems []Problem
	report := func(r *rule, line int, format string, args ...any) {
		problems = append(problems, Problem{r.file, line, r.id, fmt.Sprintf(format, args...)})
	}
	seen := map[string]*rule{}
	work := newScratch()
	for _, r := range s.rules {
		for _, p := range r.patterns {
			key := r.layer.String() + " " + r.provider + " " + p
			if other, dup := seen[key]; dup {
				report(r, r.line, "same pattern as rule %s", other.id)
			}
			seen[key] = r
		}
		for _, p := range r.positive {
			winner := s.winner(r, p, work)
			switch {
			case winner == nil:
				report(r, p.line, "does not win its sample %q: no rule of its layer does", p.text)
			case winner != r:
				report(r, p.line, "does not win its sample %q: rule %s stands before it", p.text, winner.id)
			}
		}
		for _, n := range r.negative {
			if s.winner(r, n, work) == r {
				report(r, n.line, "wins its negative sample %q", n.text)
			}
		}
	}
	return problems
}

// winner returns the rule of r's own layer (and provider) that wins a sample.
func (s *Set) winner(r *rule, sm sample, work *scratch) *rule {
	in := Input{Outcome: schema.Outcome_BOUNCED, Text: sm.text, Phase: sm.phase}
	a := unwrap(&in)
	work.subject = appendHead(work.subject[:0], a.code, a.enhanced, a.phase)
	work.subject = appendWords(work.subject, a.text, a.code, a.enhanced)
	switch r.layer {
	case LayerLocal:
		return s.local.first(work.subject)
	case LayerProvider:
		return s.providers[r.provider].first(work.subject)
	case LayerText:
		return s.text.first(work.subject)
	case LayerEnhanced:
		return s.enhanced.first(work.subject)
	}
	return s.code.first(work.subject)
}
