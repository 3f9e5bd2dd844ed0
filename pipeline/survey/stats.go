package survey

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/report"
	"carom.dev/carom/pipeline/source"
)

// Stats says what became of the lines, records and mails: Lines = Event + Known + Unparsed.
type Stats struct {
	Lines    int64       `json:"lines"`
	Event    int64       `json:"event"`    // lines that gave an event, or several
	Known    int64       `json:"known"`    // understood, without an event of their own
	Unparsed int64       `json:"unparsed"` // not understood
	Events   int64       `json:"events"`
	Orphans  int64       `json:"orphans"` // events of messages whose beginning the log does not hold
	Unheard  int64       `json:"unheard"` // recipients of expired messages that no line named
	Hosts    int         `json:"hosts"`   // with an event
	First    time.Time   `json:"first,omitzero"`
	Last     time.Time   `json:"last,omitzero"` // latest stamp of any line
	Feeds    []FeedCount `json:"feeds"`         // with a failure, the one that hides most first
	Detail   []LineCount `json:"detail"`        // by kind, the most frequent first; the sum is Lines
}

// LineCount counts the lines, records or mails of one format and daemon with one fate.
type LineCount struct {
	Kind    string   `json:"kind"`             // event, known or unparsed
	Format  string   `json:"format,omitempty"` // postfix, sendgrid, mail ...; empty where nobody can tell
	Daemon  string   `json:"daemon,omitempty"`
	Reason  string   `json:"reason,omitempty"`
	Lines   int64    `json:"lines"`
	Samples []string `json:"samples,omitempty"` // of unparsed lines, the first ones
}

const (
	maxDaemons  = 64 // daemon names come from the log
	maxSamples  = 3
	sampleRunes = 160
)

// counts adds up Results. Its size is bounded by the closed sets of kinds and reasons, and by maxDaemons.
type counts struct {
	lines       map[fate]*LineCount
	last        *LineCount // of the previous line: most lines repeat its fate
	lastFate    fate
	daemons     map[string]bool
	first, late time.Time
	events      int64
}

type fate struct {
	daemon, format, reason string
	kind                   mtalog.Kind
}

func newCounts() counts {
	return counts{lines: map[fate]*LineCount{}, daemons: map[string]bool{}}
}

// add counts n items of one fate; line is one of them.
func (c *counts) add(line []byte, r source.Fate, n int) {
	if f := (fate{r.Daemon, r.Format, r.Reason, r.Kind}); c.last == nil || f != c.lastFate {
		c.last, c.lastFate = c.of(f), f
	}
	c.last.Lines += int64(n)
	if r.Kind == mtalog.KindUnparsed && len(c.last.Samples) < maxSamples {
		c.last.Samples = append(c.last.Samples, report.Clean(string(line[:min(len(line), 4*sampleRunes)]), sampleRunes))
	}
	if r.At.IsZero() {
		return
	}
	if c.first.IsZero() || r.At.Before(c.first) {
		c.first = r.At
	}
	if r.At.After(c.late) {
		c.late = r.At
	}
}

func (c *counts) of(f fate) *LineCount {
	if !c.daemons[f.daemon] {
		if len(c.daemons) >= maxDaemons {
			f.daemon = "(others)"
		}
		c.daemons[f.daemon] = true
	}
	n := c.lines[f]
	if n == nil {
		n = &LineCount{Kind: kindName(f.kind), Format: f.format, Daemon: f.daemon, Reason: f.reason}
		if n.Reason == "" && f.kind == mtalog.KindState {
			n.Reason = "state"
		}
		c.lines[f] = n
	}
	return n
}

func kindName(k mtalog.Kind) string {
	switch k {
	case mtalog.KindEvent:
		return "event"
	case mtalog.KindUnparsed:
		return "unparsed"
	}
	return "known"
}

func (c *counts) stats() Stats {
	s := Stats{First: c.first, Last: c.late, Feeds: []FeedCount{}, Detail: []LineCount{}}
	for _, n := range c.lines {
		s.Lines += n.Lines
		switch n.Kind {
		case "event":
			s.Event += n.Lines
		case "unparsed":
			s.Unparsed += n.Lines
		default:
			s.Known += n.Lines
		}
	}
	for n := range maps.Values(c.lines) {
		s.Detail = append(s.Detail, *n)
	}
	slices.SortFunc(s.Detail, func(a, b LineCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(b.Lines, a.Lines), cmp.Compare(a.Format, b.Format), cmp.Compare(a.Daemon, b.Daemon), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// WriteText writes the counters for people, text from the log made fit for a terminal.
func (s Stats) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "lines %d = event %d + known %d + unparsed %d; events %d\n", s.Lines, s.Event, s.Known, s.Unparsed, s.Events); err != nil {
		return err
	}
	var rows [][]string
	for _, d := range s.Detail {
		rows = append(rows, []string{d.Kind, cmp.Or(d.Format, "-"), cmp.Or(d.Daemon, "-"), cmp.Or(d.Reason, "-"), fmt.Sprint(d.Lines)})
	}
	t := table{head: []string{"kind", "format", "daemon", "reason", "lines"}, right: []int{4}, rows: rows}
	if err := t.write(w, 0); err != nil {
		return err
	}
	for _, d := range s.Detail {
		for _, line := range d.Samples {
			if _, err := fmt.Fprintf(w, "unparsed (%s): %s\n", d.Reason, report.Clean(line, sampleRunes)); err != nil {
				return err
			}
		}
	}
	return writeFeeds(w, s.Feeds)
}
