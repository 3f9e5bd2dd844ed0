package rules

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"carom.dev/carom/pipeline/provider"
)

//go:embed advice.txt
var adviceText string

// Advice is what an operator can do about a failure of one class. It is for people: nothing is decided from it.
type Advice struct {
	Class    string
	Provider string   // whose answers it is about; empty: anybody's
	Cause    string   // one sentence
	Do       []string // steps, the first one first
	Owner    string   // who can repair it: sender, operator (of the sending MTA), provider or list
	Retry    string   // one sentence
	Source   string   // public page; empty for general knowledge
}

var adviceOwners = []string{"sender", "operator", "provider", "list"}

type adviceKey struct{ class, provider string }

// The embedded advice is parsed once, by the first Load.
var embeddedAdvice = sync.OnceValues(func() (map[adviceKey]Advice, error) { return parseAdvice(adviceText) })

// Advice returns what to do about a failure of class at a provider: the provider's own advice, else the general one. The
// zero Advice is returned for a class that is none. The caller must not change Do.
func (s *Set) Advice(class, provider string) Advice {
	if a, ok := s.advice[adviceKey{class, provider}]; ok {
		return a
	}
	return s.advice[adviceKey{class, ""}]
}

// parseAdvice reads advice.txt, whose head gives its form. Every class has to have general advice.
func parseAdvice(text string) (map[adviceKey]Advice, error) {
	all := map[adviceKey]Advice{}
	classes := map[string]bool{}
	for _, c := range taxonomy() {
		classes[c.Slug] = true
	}
	var a Advice
	finish := func() error {
		if a.Class == "" {
			return nil
		}
		key := adviceKey{a.Class, a.Provider}
		if _, dup := all[key]; dup {
			return fmt.Errorf("second advice for %s %s", a.Class, a.Provider)
		}
		if a.Cause == "" || len(a.Do) == 0 || a.Owner == "" || a.Retry == "" {
			return fmt.Errorf("advice for %s %s lacks a cause, a step, an owner or a word about retrying", a.Class, a.Provider)
		}
		if a.Provider != "" && a.Source == "" {
			return fmt.Errorf("advice for %s %s has no source", a.Class, a.Provider)
		}
		all[key] = a
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		err := func() error {
			if line[0] != '[' {
				return a.take(line)
			}
			if err := finish(); err != nil {
				return err
			}
			head, ok := strings.CutSuffix(line[1:], "]")
			class, from, named := strings.Cut(head, " ")
			a = Advice{Class: class, Provider: from}
			if !ok || !classes[class] {
				return fmt.Errorf("want [class] or [class provider], have %q", line)
			}
			if id, known := provider.ByName(from); named && (!known || id != from) {
				return fmt.Errorf("unknown provider %q", from)
			}
			return nil
		}()
		if err != nil {
			return nil, fmt.Errorf("advice.txt:%d: %w", i+1, err)
		}
	}
	if err := finish(); err != nil {
		return nil, fmt.Errorf("advice.txt: %w", err)
	}
	for _, c := range taxonomy() {
		if _, ok := all[adviceKey{c.Slug, ""}]; !ok {
			return nil, fmt.Errorf("advice.txt: nothing about %s", c.Slug)
		}
	}
	return all, nil
}

// take reads a line "key: value".
func (a *Advice) take(line string) error {
	key, value, _ := strings.Cut(line, ":")
	if value = strings.TrimSpace(value); value == "" || a.Class == "" {
		return fmt.Errorf("want key: value behind a [class], have %q", line)
	}
	field := map[string]*string{"cause": &a.Cause, "owner": &a.Owner, "retry": &a.Retry, "source": &a.Source}[key]
	switch {
	case key == "do":
		a.Do = append(a.Do, value)
		return nil
	case field == nil:
		return fmt.Errorf("unknown key %q", key)
	case *field != "":
		return fmt.Errorf("second %s", key)
	case key == "owner" && !slices.Contains(adviceOwners, value):
		return fmt.Errorf("owner %q, want one of %s", value, strings.Join(adviceOwners, ", "))
	}
	*field = value
	return nil
}
