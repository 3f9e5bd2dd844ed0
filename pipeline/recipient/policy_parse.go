package recipient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PolicyError says which line of a policy text is wrong.
type PolicyError struct {
	Line int // from 1; 0 when the whole text is meant
	Err  error
}

func (e *PolicyError) Error() string {
	if e.Line == 0 {
		return "policy: " + e.Err.Error()
	}
	return fmt.Sprintf("policy line %d: %v", e.Line, e.Err)
}

func (e *PolicyError) Unwrap() error { return e.Err }

// maxPolicyBytes bounds the text; it travels whole in control records and snapshots.
const maxPolicyBytes = 256 << 10

// policyFormat is the version of the file format that this code reads.
const policyFormat = "1"

// setting is one "key = value" of a section and where it goes.
type setting struct {
	key      string
	optional bool
	set      func(value string) error
	line     int // where it was given, 0 when not yet
}

// section is one block of settings; name is its header without brackets.
type section struct {
	name     string
	settings []*setting
	line     int
}

// policyParser reads the text line by line; the open section takes the settings.
type policyParser struct {
	policy   *Policy
	sections []*section
	windows  int
}

// ParsePolicy reads a policy text: "key = value" lines, "[section]" headers, "#" comments. Every key must be given exactly
// once, unknown keys and sections are refused, and contradictions (a maximum below its start, one class in two groups) too.
// The error is a *PolicyError.
func ParsePolicy(text string) (*Policy, error) {
	if len(text) > maxPolicyBytes {
		return nil, &PolicyError{Err: fmt.Errorf("text of %d bytes, at most %d are allowed", len(text), maxPolicyBytes)}
	}
	p := &Policy{text: text, byClass: make(map[string]group)}
	parser := &policyParser{policy: p}
	parser.sections = p.fixedSections()
	open := parser.sections[0]
	open.line = 1
	number := 0
	for line := range strings.SplitSeq(text, "\n") {
		number++
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var err error
		if strings.HasPrefix(line, "[") {
			open, err = parser.open(line, number)
		} else {
			err = open.set(line, number)
		}
		if err != nil {
			return nil, &PolicyError{Line: number, Err: err}
		}
	}
	if err := parser.missing(); err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, &PolicyError{Err: err}
	}
	if p.Version == "" {
		sum := sha256.Sum256([]byte(text))
		p.Version = hex.EncodeToString(sum[:6])
	}
	return p, nil
}

func (p *policyParser) open(line string, number int) (*section, error) {
	name, ok := strings.CutSuffix(line[1:], "]")
	if !ok {
		return nil, fmt.Errorf("section header %q does not end in ]", line)
	}
	name = strings.Join(strings.Fields(name), " ")
	if window, ok := strings.CutPrefix(name, "window "); ok {
		if p.windows == maxWindows {
			return nil, fmt.Errorf("more than %d window sections", maxWindows)
		}
		p.windows++
		w := &Window{Name: window}
		s := &section{name: name, settings: append(w.settings(), list("classes", &w.Classes))}
		// The window is complete only after its last line; keep it by pointer until then.
		p.sections = append(p.sections, s)
		s.settings = append(s.settings, &setting{optional: true, set: func(string) error {
			p.policy.Windows = append(p.policy.Windows, *w)
			return nil
		}})
	}
	for _, s := range p.sections {
		if s.name != name {
			continue
		}
		if s.line != 0 {
			return nil, fmt.Errorf("section [%s] was given in line %d already", name, s.line)
		}
		s.line = number
		return s, nil
	}
	return nil, fmt.Errorf("unknown section [%s]", name)
}

func (s *section) set(line string, number int) error {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return fmt.Errorf("%q is neither a section nor key = value", line)
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	for _, x := range s.settings {
		if x.key != key || key == "" {
			continue
		}
		if x.line != 0 {
			return fmt.Errorf("%s was given in line %d already", key, x.line)
		}
		x.line = number
		if err := x.set(value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	if s.name == "" {
		return fmt.Errorf("unknown key %q", key)
	}
	return fmt.Errorf("unknown key %q in section [%s]", key, s.name)
}

// missing reports the first setting that was not given, and completes the windows.
func (p *policyParser) missing() error {
	for _, s := range p.sections {
		if s.line == 0 {
			return &PolicyError{Err: fmt.Errorf("section [%s] is missing", s.name)}
		}
		for _, x := range s.settings {
			switch {
			case x.key == "":
				if err := x.set(""); err != nil {
					return &PolicyError{Line: s.line, Err: err}
				}
			case x.line == 0 && !x.optional && s.name == "":
				return &PolicyError{Err: fmt.Errorf("%s is missing", x.key)}
			case x.line == 0 && !x.optional:
				return &PolicyError{Line: s.line, Err: fmt.Errorf("section [%s] lacks %s", s.name, x.key)}
			}
		}
	}
	return nil
}

// fixedSections lists every section but the windows.
func (p *Policy) fixedSections() []*section {
	return []*section{
		{settings: []*setting{
			{key: "format", set: func(v string) error {
				if v != policyFormat {
					return fmt.Errorf("%q, this version reads format %s", v, policyFormat)
				}
				return nil
			}},
			{key: "version", optional: true, set: p.setVersion},
			{key: "mode", optional: true, set: p.setMode},
			duration("accepted_within", &p.AcceptedWithin),
			duration("provisional_for", &p.ProvisionalFor),
			duration("history_needed", &p.HistoryNeeded),
			duration("message_lifetime", &p.MessageLifetime),
			duration("significant_gap", &p.SignificantGap),
			duration("decay_after", &p.DecayAfter),
			count("decay_intervals", &p.DecayIntervals, 1, 100),
			duration("keep_counters", &p.KeepCounters),
			duration("hold_async_grace", &p.HoldAsyncGrace),
			duration("hold_memory", &p.HoldMemory),
			duration("forget_after", &p.ForgetAfter),
		}},
		{name: "hard", settings: []*setting{
			list("classes", &p.Hard.Classes),
			scope("scope", &p.Hard.Scope),
			duration("wait_not_accepted", &p.Hard.WaitNotAccepted),
			duration("wait_accepted", &p.Hard.WaitAccepted),
			duration("confirm_after", &p.Hard.ConfirmAfter),
			duration("watch_for", &p.Hard.WatchFor),
			openEnded("suppress_for", &p.Hard.SuppressFor),
			openEnded("suppress_max", &p.Hard.SuppressMax),
		}},
		{name: "complaint", settings: []*setting{
			list("classes", &p.Complaint.Classes),
			scope("scope", &p.Complaint.Scope),
		}},
		{name: "doubtful", settings: p.Doubtful.settings()},
		{name: "limits", settings: []*setting{
			count("records", &p.Limits.Records, 1, math.MaxInt32),
			count("provisional", &p.Limits.Provisional, 1, math.MaxInt32),
			count("incidents", &p.Limits.Incidents, 1, 65536),
		}},
	}
}

func (w *Window) settings() []*setting {
	return []*setting{
		scope("scope", &w.Scope),
		count("events", &w.Events, 1, maxEvidence),
		duration("over", &w.Over),
		openEnded("suppress_for", &w.SuppressFor),
		openEnded("suppress_max", &w.SuppressMax),
	}
}

func (p *Policy) setVersion(v string) error {
	if v == "" || len(v) > 64 || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%q is not 1 to 64 printable characters without spaces", v)
	}
	p.Version = v
	return nil
}

func (p *Policy) setMode(v string) error {
	switch v {
	case "observe":
		p.Mode = ModeObserve
	case "enforce":
		p.Mode = ModeEnforce
	default:
		return fmt.Errorf("%q is neither observe nor enforce", v)
	}
	return nil
}

// check finds contradictions between settings and builds the class index.
func (p *Policy) check() error {
	if p.AcceptedWithin >= keepDays*24*time.Hour {
		return fmt.Errorf("accepted_within must be shorter than %d days", keepDays)
	}
	groups := []Window{
		groupHard:      {Name: "hard", Classes: p.Hard.Classes, SuppressFor: p.Hard.SuppressFor, SuppressMax: p.Hard.SuppressMax},
		groupComplaint: {Name: "complaint", Classes: p.Complaint.Classes},
		groupDoubtful:  p.Doubtful,
	}
	groups[groupDoubtful].Name = "doubtful"
	groups = append(groups, p.Windows...)
	for g, w := range groups {
		if w.SuppressMax != Forever && (w.SuppressFor == Forever || w.SuppressFor > w.SuppressMax) {
			return fmt.Errorf("section %s: suppress_for is longer than suppress_max", w.Name)
		}
		for _, class := range w.Classes {
			if other, ok := p.byClass[class]; ok {
				return fmt.Errorf("class %s is in %s and in %s", class, groups[other].Name, w.Name)
			}
			p.byClass[class] = group(g)
		}
	}
	return nil
}

func duration(key string, to *time.Duration) *setting {
	return &setting{key: key, set: func(v string) error {
		d, err := parseDuration(v)
		*to = d
		return err
	}}
}

func openEnded(key string, to *time.Duration) *setting {
	return &setting{key: key, set: func(v string) error {
		if v == "forever" {
			*to = Forever
			return nil
		}
		d, err := parseDuration(v)
		if err == nil && d == 0 {
			err = errors.New(`0 is no length; write "forever" for no end`)
		}
		*to = d
		return err
	}}
}

// maxDuration keeps sums of event time and durations far from overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// parseDuration reads a whole number and one of s, m, h, d.
func parseDuration(v string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration such as 90d, 24h, 60m or 30s", v)
	if len(v) < 2 {
		return 0, bad
	}
	unit, ok := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[v[len(v)-1]]
	n, err := strconv.ParseUint(v[:len(v)-1], 10, 32)
	if !ok || err != nil {
		return 0, bad
	}
	if time.Duration(n) > maxDuration/unit {
		return 0, fmt.Errorf("%q is longer than 100 years", v)
	}
	return time.Duration(n) * unit, nil
}

func count(key string, to *int, lowest, most int) *setting {
	return &setting{key: key, set: func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < lowest || n > most {
			return fmt.Errorf("%q is not a whole number from %d to %d", v, lowest, most)
		}
		*to = n
		return nil
	}}
}

func scope(key string, to *ScopeKind) *setting {
	return &setting{key: key, set: func(v string) error {
		i := slices.Index([]string{"all", "tenant", "bulk"}, v)
		if i < 0 {
			return fmt.Errorf("%q is not all, tenant or bulk", v)
		}
		*to = ScopeKind(i + 1)
		return nil
	}}
}

func list(key string, to *[]string) *setting {
	return &setting{key: key, set: func(v string) error {
		*to = strings.Fields(v)
		if len(*to) == 0 {
			return errors.New("no class given")
		}
		return nil
	}}
}
