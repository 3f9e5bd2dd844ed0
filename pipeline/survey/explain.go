package survey

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/rules"
)

// Explanation is how a verdict came about, for people and as JSON.
type Explanation struct {
	Text        string  `json:"text"`
	Subject     string  `json:"subject"` // what the rules saw: codes, phase and words, addresses masked
	Class       string  `json:"class"`
	CauseClass  string  `json:"cause_class,omitempty"`
	Permanence  string  `json:"permanence"`
	Scope       string  `json:"scope"`
	Origin      string  `json:"origin"`
	Phase       string  `json:"phase"`
	Provider    string  `json:"provider"`
	Confidence  string  `json:"confidence"`
	Rule        string  `json:"rule"`
	Ruleset     string  `json:"ruleset"`
	Retry       string  `json:"retry"`
	RetryWhy    string  `json:"retry_why"`
	Suppress    string  `json:"suppress"`
	SuppressWhy string  `json:"suppress_why"`
	Operator    string  `json:"list_operator,omitempty"`
	Mitigation  string  `json:"mitigation_url,omitempty"`
	Code        string  `json:"provider_code,omitempty"`
	Advice      *Advice `json:"advice,omitempty"`
	Layers      []Layer `json:"layers"` // in the order in which they are asked
}

// Advice is what to do about a verdict, or about the cause of an expiry or a postponement.
type Advice struct {
	Cause  string   `json:"cause"`
	Do     []string `json:"do"` // steps, the first one first
	Owner  string   `json:"owner"`
	Retry  string   `json:"retry"`
	Source string   `json:"source,omitempty"`
}

// Layer is what one layer says.
type Layer struct {
	Layer    string `json:"layer"`
	Asked    bool   `json:"asked"`   // false: it does not apply to this text
	Decided  bool   `json:"decided"` // the first that knows the words
	Provider string `json:"provider,omitempty"`
	Rule     string `json:"rule,omitempty"` // empty: no rule of the layer knows the words
	Class    string `json:"class,omitempty"`
	Words    string `json:"words,omitempty"` // what the rule's pattern matched
	Pattern  string `json:"pattern,omitempty"`
	Source   string `json:"source,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// Explain judges in and tells how.
func Explain(set *rules.Set, in *rules.Input) Explanation {
	x := set.Explain(in)
	v := x.Verdict
	e := Explanation{
		Text: strings.ToValidUTF8(in.Text, "\uFFFD"), Subject: strings.ToValidUTF8(x.Subject, "\uFFFD"),
		Class: v.Class, CauseClass: v.CauseClass, Permanence: v.Permanence.Name(), Scope: v.Scope.Name(),
		Origin: v.Origin.Name(), Phase: v.Phase.Name(), Provider: v.Provider, Confidence: v.Confidence.Name(), Rule: v.Rule, Ruleset: v.Ruleset,
		Retry: v.Retry.Name(), RetryWhy: x.Retry, Suppress: v.Suppress.Name(), SuppressWhy: x.Suppress,
		Operator: v.ListOperator, Mitigation: v.MitigationUrl, Code: v.ProviderCode,
		Layers: []Layer{},
	}
	if a := x.Advice; a.Cause != "" {
		e.Advice = &Advice{Cause: a.Cause, Do: a.Do, Owner: a.Owner, Retry: a.Retry, Source: a.Source}
	}
	decided := false
	for _, o := range x.Layers {
		l := Layer{
			Layer: o.Layer.String(), Asked: o.Asked, Provider: o.Provider, Rule: o.Rule, Class: o.Class,
			Words: strings.ToValidUTF8(o.Words, "\uFFFD"), Pattern: o.Pattern, Source: o.Source, File: o.File, Line: o.Line,
		}
		if o.Rule != "" && o.Rule == v.Rule && !decided {
			l.Decided, decided = true, true
		}
		e.Layers = append(e.Layers, l)
	}
	return e
}

// Style says how to write for people.
type Style struct {
	Columns int  // width to keep to; 0 is no limit
	Colour  bool // ANSI colours
}

// paint puts s in an ANSI colour (ECMA-48, section 8.3.117).
func (st Style) paint(code, s string) string {
	if !st.Colour || code == "" || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (st Style) suppress(word, s string) string {
	switch word {
	case "candidate":
		return st.paint(red, s)
	case "windowed", "domain":
		return st.paint(yellow, s)
	}
	return st.paint(green, s)
}

// WriteText writes e for people. Words from outside are made fit for a terminal.
func (e Explanation) WriteText(w io.Writer, st Style) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	axes := []string{e.Permanence}
	if e.Scope != "" {
		axes = append(axes, "scope "+e.Scope)
	}
	class := st.paint(bold, e.Class)
	if e.CauseClass != "" {
		class += " because of " + st.paint(bold, e.CauseClass)
	}
	line("class", "%s (%s)", class, strings.Join(axes, ", "))
	line("provider", "%s", e.Provider)
	line("spoken by", "%s, phase %s", cmp.Or(e.Origin, "unknown"), cmp.Or(e.Phase, "unknown"))
	if e.Rule == "" {
		line("rule", "none knows these words (rule set %s)", e.Ruleset)
	}
	for _, l := range e.Layers {
		if !l.Decided {
			continue
		}
		line("rule", "%s, %s:%d, rule set %s", st.paint(bold, l.Rule), l.File, l.Line, e.Ruleset)
		line("source", "%s", cmp.Or(l.Source, "-"))
		line("words", "%s", quote(l.Words))
	}
	line("confidence", "%s", e.Confidence)
	line("retry", "%s", e.RetryWhy)
	line("suppress", "%s", st.suppress(e.Suppress, e.SuppressWhy))
	for _, f := range [][2]string{{"block list", e.Operator}, {"code", e.Code}, {"mitigation", e.Mitigation}} {
		if f[1] != "" {
			line(f[0], "%s", report.Clean(f[1], maxCell))
		}
	}
	line("seen as", "%s", report.Clean(e.Subject, maxCell))
	if a := e.Advice; a != nil {
		line("cause", "%s", a.Cause)
		for i, step := range a.Do {
			line([]string{"do", ""}[min(i, 1)], "%d %s", i+1, step)
		}
		line("whose", "%s", a.Owner)
	}
	fmt.Fprintf(&b, "\n%s\n", st.paint(bold, "Layers, in the order in which they are asked"))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	t := table{head: []string{"", "layer", "class", "rule", "words"}, mark: func(row int) string {
		switch l := e.Layers[row]; {
		case l.Decided:
			return bold
		case l.Rule == "":
			return dim
		}
		return ""
	}, style: st}
	for _, l := range e.Layers {
		row := []string{"", l.Layer, l.Class, l.Rule, quote(l.Words)}
		if l.Provider != "" {
			row[1] += " (" + l.Provider + ")"
		}
		switch {
		case l.Decided:
			row[0] = "=>"
		case !l.Asked:
			row[2] = "does not apply"
		case l.Rule == "":
			row[2] = "does not know it"
		}
		t.rows = append(t.rows, row)
	}
	return t.write(w, st.Columns)
}

func quote(words string) string {
	if words == "" {
		return ""
	}
	return "\"" + report.Clean(words, maxCell) + "\""
}
