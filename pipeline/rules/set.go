package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// Set is a compiled rule set. It is immutable and safe for concurrent use.
type Set struct {
	version    string
	rules      []*rule
	local      *bank
	providers  map[string]*bank
	signatures *bank // rules of no class: whose pattern names the provider of a reply from an unknown host
	text       *bank
	enhanced   *bank
	code       *bank
	mitigation []string          // hosts whose links are kept
	codes      map[string]string // bracketed provider codes of the samples, so that known ones cost no allocation
	advice     map[adviceKey]Advice
	scratch    sync.Pool // *scratch
}

// LoadFS reads, tests and compiles the *.rules files at the root of fsys. The error joins every Problem.
func LoadFS(fsys fs.FS) (*Set, error) {
	s, problems := load(fsys, compileAutomaton)
	if len(problems) > 0 {
		all := make([]error, len(problems))
		for i, p := range problems {
			all[i] = p
		}
		return nil, fmt.Errorf("rule set: %w", errors.Join(all...))
	}
	return s, nil
}

// load does all of LoadFS and Lint. The set is nil if it could not be compiled.
func load(fsys fs.FS, compile func([]string) (matcher, error)) (*Set, []Problem) {
	src := readAll(fsys)
	s, err := assemble(src, compile)
	if err != nil {
		src.fail("", 0, "", err.Error())
		return nil, src.problems
	}
	if s.version, err = contentHash(fsys); err != nil {
		src.fail("", 0, "", err.Error())
		return nil, src.problems
	}
	return s, append(src.problems, s.test()...)
}

func assemble(src *source, compile func([]string) (matcher, error)) (*Set, error) {
	s := &Set{rules: src.rules, mitigation: src.mitigation, providers: map[string]*bank{}}
	s.scratch.New = func() any { return newScratch() }
	var err error
	if s.advice, err = embeddedAdvice(); err != nil {
		return nil, err
	}
	var byLayer [layers][]*rule
	byProvider := map[string][]*rule{}
	for _, r := range src.rules {
		if r.layer == LayerProvider {
			byProvider[r.provider] = append(byProvider[r.provider], r)
		} else {
			byLayer[r.layer] = append(byLayer[r.layer], r)
		}
	}
	for layer, into := range map[Layer]**bank{LayerLocal: &s.local, LayerText: &s.text, LayerEnhanced: &s.enhanced, LayerCode: &s.code} {
		b, err := newBank(byLayer[layer], compile)
		if err != nil {
			return nil, fmt.Errorf("compile layer %s: %w", layer, err)
		}
		*into = b
	}
	for provider, rules := range byProvider {
		b, err := newBank(rules, compile)
		if err != nil {
			return nil, fmt.Errorf("compile provider %s: %w", provider, err)
		}
		s.providers[provider] = b
	}
	if s.signatures, err = newBank(src.signatures, compile); err != nil {
		return nil, fmt.Errorf("compile signatures: %w", err)
	}
	s.codes = map[string]string{}
	for _, r := range src.rules {
		for _, p := range r.positive {
			if c := bracketed([]byte(strings.ToLower(p.text))); c != nil && r.keepCode && !r.newCode {
				s.codes[string(c)] = strings.ToUpper(string(c))
			}
		}
	}
	return s, nil
}

// contentHash names the rule files' content and the taxonomy.
func contentHash(fsys fs.FS) (string, error) {
	names, err := fs.Glob(fsys, "*.rules")
	if err != nil {
		return "", fmt.Errorf("list rule files: %w", err)
	}
	slices.Sort(names)
	h := sha256.New()
	fmt.Fprintf(h, "taxonomy %s\n", TaxonomyVersion)
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return "", fmt.Errorf("read rule file: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Version returns a short hash of the rule files' content: equal for equal files, whatever the build.
func (s *Set) Version() string { return s.version }

// Len returns the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Count is how much of a set one layer, or one provider of the provider layer, has.
type Count struct {
	Layer    Layer
	Provider string // with LayerProvider
	Rules    int
	Patterns int
	Samples  int // positive and negative
}

// Counts returns the counts of the layers in the order in which they are asked, the providers by name.
func (s *Set) Counts() []Count {
	var all []Count
	for _, r := range s.rules {
		i := slices.IndexFunc(all, func(c Count) bool { return c.Layer == r.layer && c.Provider == r.provider })
		if i < 0 {
			i = len(all)
			all = append(all, Count{Layer: r.layer, Provider: r.provider})
		}
		all[i].Rules++
		all[i].Patterns += len(r.patterns)
		all[i].Samples += len(r.positive) + len(r.negative)
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Layer, b.Layer), cmp.Compare(a.Provider, b.Provider))
	})
	return all
}
