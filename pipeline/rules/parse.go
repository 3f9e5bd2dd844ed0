package rules

import (
	"bufio"
	"fmt"
	"io/fs"
	"path"
	"regexp/syntax"
	"slices"
	"strings"

	"carom.dev/carom/schema"
)

// The form of a rule file: lines, read from the top.
//
//	# comment
//	layer: provider            file head: local, provider, text, enhanced or code
//	provider: apple            head, with layer provider only
//	source: https://...        head: RFC section or public page; a rule may name its own
//	signature: PATTERN         head, with layer provider: words by which a reply from an unknown host is this provider's
//	mitigation: HOST...        head: hosts whose links in replies of any rule are kept as mitigation_url
//
//	[apple.rate]               starts a rule; ids are unique over all files
//	class: remote.rate_limited
//	when: 4xx 5.7.x rcpt       every word is a condition: codes, enhanced codes, phases; words of one kind are alternatives
//	                           (nocode, noenhanced: the reply has none)
//	match: too many messages   RE2 over the words in lower case; each further match line is an alternative
//	+ 421 4.7.1 Too many messages       sample that this rule must win: CODE ENHANCED WORDS
//	- 450 4.2.1 Too much                sample that it must not win
//	+ @rcpt 550 No                      a sample with a phase
//
// Optional keys of a rule: permanence, scope, retry, suppress (instead of the class's), list (operator of a block
// list), source, at (phase of which the words speak, where the log does not say), confidence (code: for a guess), provider_code (known or new: keep the bracketed code of the reply).
// A pattern may start with ^, which is the start of the words. Unknown keys are errors. Rules are asked in the order of
// file names, then of lines.

// Bounds of a rule set; an operator's own set must not be able to exhaust a service.
const (
	maxFileBytes   = 256 << 10
	maxRules       = 4000
	maxPatterns    = 12000
	maxPatternSize = 1000
	maxSampleSize  = 1000
)

// Layer is the order of judgement.
type Layer uint8

// The layers, in the order in which they are asked.
const (
	LayerLocal Layer = iota
	LayerProvider
	LayerText
	LayerEnhanced
	LayerCode
	layers
)

// String returns the name that rule files use.
func (l Layer) String() string {
	return [...]string{"local", "provider", "text", "enhanced", "code", "none"}[min(l, layers)]
}

// sample is an answer written for a rule's own test.
type sample struct {
	line  int
	text  string
	phase schema.Phase
}

type rule struct {
	id         string
	layer      Layer
	provider   string
	class      *Class
	permanence schema.Permanence
	scope      schema.Scope
	retry      schema.Retry
	suppress   schema.Suppress
	confidence schema.Confidence
	list       string
	phase      schema.Phase
	keepCode   bool
	newCode    bool
	source     string
	file       string
	line       int
	when       []string
	match      []string
	patterns   []string // over the whole subject
	positive   []sample
	negative   []sample
}

// Problem is one finding of Lint. A set with a problem is not loaded.
type Problem struct {
	File    string
	Line    int
	Rule    string // id, empty for a finding about a file
	Message string
}

// Error returns "file:line: rule: message".
func (p Problem) Error() string {
	s := fmt.Sprintf("%s:%d: ", p.File, p.Line)
	if p.Rule != "" {
		s += p.Rule + ": "
	}
	return s + p.Message
}

// source is what the files say, before any sample has run.
type source struct {
	rules      []*rule
	mitigation []string
	signatures []*rule // of providers, without class
	problems   []Problem
}

// readAll parses every *.rules file of fsys, in the order of names.
func readAll(fsys fs.FS) *source {
	src := &source{}
	names, err := fs.Glob(fsys, "*.rules")
	if err != nil || len(names) == 0 {
		src.fail("", 0, "", "no *.rules file")
		return src
	}
	slices.Sort(names)
	classes := map[string]*Class{}
	for _, c := range taxonomy() {
		classes[c.Slug] = &c
	}
	ids := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		switch {
		case err != nil:
			src.fail(name, 0, "", err.Error())
		case len(text) > maxFileBytes:
			src.fail(name, 0, "", fmt.Sprintf("%d bytes, at most %d", len(text), maxFileBytes))
		default:
			p := &parser{src: src, file: path.Base(name), classes: classes, ids: ids, head: head{layer: layers}}
			p.run(string(text))
		}
	}
	patterns := 0
	for _, r := range src.rules {
		patterns += len(r.patterns)
	}
	if len(src.rules) > maxRules || patterns > maxPatterns {
		src.fail("", 0, "", fmt.Sprintf("%d rules with %d patterns, at most %d with %d", len(src.rules), patterns, maxRules, maxPatterns))
	}
	return src
}

func (s *source) fail(file string, line int, rule, message string) {
	s.problems = append(s.problems, Problem{File: file, Line: line, Rule: rule, Message: message})
}

type head struct {
	layer    Layer
	provider string
	source   string
}

type parser struct {
	src     *source
	file    string
	classes map[string]*Class
	ids     map[string]string // rule id -> file, over all files
	head    head
	rule    *rule
	line    int
}

func (p *parser) run(text string) {
	scanner := bufio.NewScanner(strings.NewReader(text))
	scanner.Buffer(nil, maxFileBytes+1)
	for p.line = 1; scanner.Scan(); p.line++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := p.take(line); err != nil {
			id := ""
			if p.rule != nil {
				id = p.rule.id
			}
			p.src.fail(p.file, p.line, id, err.Error())
		}
	}
	p.finish()
}

func (p *parser) take(line string) error {
	switch {
	case line[0] == '[':
		return p.start(line)
	case line[0] == '+' || line[0] == '-':
		return p.sample(line)
	}
	key, value, found := strings.Cut(line, ":")
	value = strings.TrimSpace(value)
	if !found || value == "" {
		return fmt.Errorf("want key: value, [rule], + sample or - sample, have %q", line)
	}
	if p.rule == nil {
		return p.headLine(key, value)
	}
	return p.ruleLine(key, value)
}

func (p *parser) headLine(key, value string) error {
	switch key {
	case "layer":
		for l := range layers {
			if l.String() == value {
				p.head.layer = l
				return nil
			}
		}
		return fmt.Errorf("unknown layer %q", value)
	case "provider":
		p.head.provider = value
	case "source":
		p.head.source = value
	case "signature":
		if p.head.layer != LayerProvider || p.head.provider == "" {
			return fmt.Errorf("signature before layer: provider and provider: ID")
		}
		pattern, err := overSubject("", value)
		if err != nil {
			return fmt.Errorf("signature: %w", err)
		}
		p.src.signatures = append(p.src.signatures, &rule{provider: p.head.provider, file: p.file, line: p.line, patterns: []string{pattern}})
	case "mitigation":
		p.src.mitigation = append(p.src.mitigation, strings.Fields(value)...)
	default:
		return fmt.Errorf("unknown key %q in the file's head", key)
	}
	return nil
}

func (p *parser) start(line string) error {
	p.finish()
	p.rule = nil
	id, ok := strings.CutSuffix(line[1:], "]")
	if !ok || id == "" || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return fmt.Errorf("want [id] of a-z, 0-9, dot, dash and underscore, have %q", line)
	}
	if p.head.layer == layers {
		return fmt.Errorf("rule %s before the file's layer", id)
	}
	if (p.head.layer == LayerProvider) != (p.head.provider != "") {
		return fmt.Errorf("a provider must be named with layer provider, and only there")
	}
	if file, dup := p.ids[id]; dup {
		return fmt.Errorf("id %s is taken by a rule in %s", id, file)
	}
	p.ids[id] = p.file
	p.rule = &rule{
		id: id, layer: p.head.layer, provider: p.head.provider, source: p.head.source,
		file: p.file, line: p.line,
	}
	return nil
}

func (p *parser) ruleLine(key, value string) error {
	r := p.rule
	var ok bool
	switch key {
	case "class":
		if r.class, ok = p.classes[value]; !ok {
			return fmt.Errorf("class %q is not in the taxonomy", value)
		}
	case "when":
		r.when = append(r.when, strings.Fields(value)...)
	case "match":
		if len(value) > maxPatternSize {
			return fmt.Errorf("pattern of %d bytes, at most %d", len(value), maxPatternSize)
		}
		r.match = append(r.match, value)
	case "permanence":
		r.permanence, ok = byName(value, transient, permanent)
		if !ok {
			return fmt.Errorf("permanence %q, want transient or permanent", value)
		}
	case "scope":
		for n := schema.Scope_SCOPE_RECIPIENT; n <= schema.Scope_SCOPE_LOCAL; n++ {
			if n.Name() == value {
				r.scope, ok = n, true
			}
		}
		if !ok {
			return fmt.Errorf("unknown scope %q", value)
		}
	case "retry":
		r.retry, ok = byName(value, yes, later, no)
		if !ok {
			return fmt.Errorf("retry %q, want yes, later or no", value)
		}
	case "suppress":
		r.suppress, ok = byName(value, never, windowed, candidate, perDomain)
		if !ok {
			return fmt.Errorf("suppress %q, want never, windowed, candidate or domain", value)
		}
	case "confidence":
		if value != "code" {
			return fmt.Errorf("confidence %q, only code can be said", value)
		}
		r.confidence = schema.Confidence_CONFIDENCE_CODE
	case "at":
		if r.phase, ok = schema.PhaseByName(value); !ok {
			return fmt.Errorf("at: unknown phase %q", value)
		}
	case "list":
		r.list = value
	case "provider_code":
		if value != "known" && value != "new" {
			return fmt.Errorf("provider_code %q, want known or new", value)
		}
		r.keepCode, r.newCode = true, value == "new"
	case "source":
		r.source = value
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return nil
}

// named is an enum of the schema with its name for people.
type named interface {
	comparable
	Name() string
}

func byName[T named](name string, values ...T) (T, bool) {
	for _, v := range values {
		if v.Name() == name {
			return v, true
		}
	}
	var zero T
	return zero, false
}

func (p *parser) sample(line string) error {
	if p.rule == nil {
		return fmt.Errorf("sample before the first rule")
	}
	text := strings.TrimSpace(line[1:])
	if text == "" || len(text) > maxSampleSize {
		return fmt.Errorf("sample of %d bytes, want 1 to %d", len(text), maxSampleSize)
	}
	s := sample{line: p.line, text: text}
	if text[0] == '@' {
		name, rest, _ := strings.Cut(text[1:], " ")
		phase, ok := schema.PhaseByName(name)
		if !ok {
			return fmt.Errorf("unknown phase %q", name)
		}
		s.phase, s.text = phase, rest
	}
	if line[0] == '+' {
		p.rule.positive = append(p.rule.positive, s)
	} else {
		p.rule.negative = append(p.rule.negative, s)
	}
	return nil
}

// finish checks the rule that ends here and adds it to the set.
func (p *parser) finish() {
	r := p.rule
	if r == nil {
		return
	}
	bad := func(message string) { p.src.fail(r.file, r.line, r.id, message) }
	coded := r.layer == LayerEnhanced || r.layer == LayerCode
	switch {
	case r.class == nil:
		bad("no class")
		return
	case r.source == "":
		bad("no source: name the RFC section or the public page")
	case len(r.positive) == 0:
		bad("no positive sample")
	case coded && (len(r.match) > 0 || len(r.when) == 0):
		bad("a rule of this layer has conditions and no pattern")
	case !coded && len(r.match) == 0:
		bad("no pattern")
	}
	head, err := condition(r.when)
	if err != nil {
		bad(err.Error())
		return
	}
	if coded {
		r.patterns = []string{head}
	}
	for _, m := range r.match {
		pattern, err := overSubject(head, m)
		if err != nil {
			bad(fmt.Sprintf("match %q: %v", m, err))
			return
		}
		r.patterns = append(r.patterns, pattern)
	}
	p.src.rules = append(p.src.rules, r)
}

// overSubject joins a condition on the subject's head and a pattern over its words.
func overSubject(head, match string) (string, error) {
	words, anchored := strings.CutPrefix(match, "^")
	tree, err := syntax.Parse(words, syntax.Perl)
	if err != nil {
		return "", err
	}
	if err := checkTree(tree); err != nil {
		return "", err
	}
	switch {
	case anchored && head == "":
		return `^[^|]*\|(?:` + words + `)`, nil
	case anchored:
		return head + `(?:` + words + `)`, nil
	case head == "":
		return words, nil
	}
	return head + `.*(?:` + words + `)`, nil
}

// checkTree refuses what can never match a subject (capital letters), and anchors where overSubject cannot place them.
func checkTree(re *syntax.Regexp) error {
	switch re.Op {
	case syntax.OpBeginText, syntax.OpBeginLine:
		return fmt.Errorf("^ is allowed at the very start only")
	case syntax.OpEmptyMatch:
		return fmt.Errorf("matches the empty text")
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			if 'A' <= c && c <= 'Z' {
				return fmt.Errorf("the words are in lower case, %q never matches", c)
			}
		}
	}
	for _, sub := range re.Sub {
		if sub.Op == syntax.OpEmptyMatch { // (?:a|) and the like are an optional part
			continue
		}
		if err := checkTree(sub); err != nil {
			return err
		}
	}
	return nil
}
