package rules

import "carom.dev/carom/pipeline/rules/automaton"

// matcher finds the first of an ordered list of patterns that matches a subject; -1 if none does.
type matcher interface {
	Match(subject []byte) int
}

// tableBytes bounds what one layer's automaton learns from the texts it sees. There are a few layers and about a dozen
// providers; the large layer is the general text.
const tableBytes = 32 << 20

// compileAutomaton joins all patterns of a layer into one automaton: a byte of the subject costs one table load,
// however many patterns there are.
func compileAutomaton(patterns []string) (matcher, error) {
	dotAll := make([]string, len(patterns))
	for i, p := range patterns {
		dotAll[i] = `(?s)` + p
	}
	return automaton.Compile(dotAll, automaton.Options{MaxTableBytes: tableBytes})
}

// bank is one layer's rules, or one provider's.
type bank struct {
	rules   []*rule
	owner   []*rule // of each pattern
	matcher matcher
}

func newBank(rules []*rule, compile func([]string) (matcher, error)) (*bank, error) {
	b := &bank{rules: rules}
	var patterns []string
	for _, r := range rules {
		for _, p := range r.patterns {
			patterns = append(patterns, p)
			b.owner = append(b.owner, r)
		}
	}
	if len(patterns) == 0 {
		return b, nil
	}
	var err error
	if b.matcher, err = compile(patterns); err != nil {
		return nil, err
	}
	return b, nil
}

// first returns the rule that wins the subject, nil for none. b may be nil.
func (b *bank) first(subject []byte) *rule {
	if b == nil || b.matcher == nil {
		return nil
	}
	if i := b.matcher.Match(subject); i >= 0 {
		return b.owner[i]
	}
	return nil
}
