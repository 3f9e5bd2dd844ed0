// Package report prints for people: tables that line up, progress, findings. Text from outside is printed as text.
package report

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/alert"
	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// Printer writes results to one stream and progress to another. It is not safe for concurrent use.
type Printer struct {
	out, progress io.Writer
	started       time.Time
}

// New returns a printer; the clock of its progress starts now.
func New(out, progress io.Writer) *Printer {
	return &Printer{out: out, progress: progress, started: time.Now()}
}

// Progress says what is being done, with the time since the start.
func (p *Printer) Progress(format string, args ...any) {
	fmt.Fprintf(p.progress, "%5.1fs  %s\n", time.Since(p.started).Seconds(), fmt.Sprintf(format, args...))
}

// Heading begins a section.
func (p *Printer) Heading(format string, args ...any) {
	fmt.Fprintf(p.out, "\n%s\n", fmt.Sprintf(format, args...))
}

// Text writes lines as they are, but for control characters.
func (p *Printer) Text(s string) {
	for _, line := range strings.Split(strings.TrimRight(s, "\n"), "\n") {
		fmt.Fprintf(p.out, "  %s\n", Clean(line, 400))
	}
}

// Table writes rows in columns. The columns named in right are aligned to the right.
func (p *Printer) Table(header []string, rows [][]string, right ...int) {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range append([][]string{header}, rows...) {
		for _, i := range right {
			row[i] = strings.Repeat(" ", widths[i]-len([]rune(row[i]))) + row[i]
		}
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	w.Flush()
}

// Clean makes text from outside fit for a terminal: no control or direction characters, no longer than limit runes.
func Clean(s string, limit int) string {
	n := 0
	s = strings.Map(func(r rune) rune {
		switch {
		case n >= limit:
			return -1
		case r == '\t', r == '\n', r == '\r':
			r = ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			r = '·'
		}
		n++
		return r
	}, s)
	if n >= limit {
		s += "…"
	}
	return s
}

// Summary prints what ClickHouse holds: providers and classes, and the recipients with a decision.
func (p *Printer) Summary(ctx context.Context, db *warehouse.DB) error {
	if err := p.Providers(ctx, db, 0); err != nil {
		return err
	}
	if err := p.Suppressed(ctx, db, 12); err != nil {
		return err
	}
	n, err := db.Counts(ctx)
	if err != nil {
		return err
	}
	p.Heading("In ClickHouse: %d failures kept raw, %d decisions, %d recipients now suppressed, held or pending, %d incidents", n.Failures, n.Decisions, n.Suppressed, n.Incidents)
	return nil
}

// Providers prints the table of providers and classes, the limit most frequent classes of each provider; 0 prints all.
func (p *Printer) Providers(ctx context.Context, db *warehouse.DB, limit int) error {
	table, err := db.ProviderClassTable(ctx)
	if err != nil {
		return err
	}
	p.Heading("Providers and classes")
	var rows [][]string
	add := func(provider, class string, r warehouse.ProviderClass) {
		rows = append(rows, []string{provider, class, count(r.Events), count(r.Delivered), count(r.Deferred), count(r.Bounced)})
	}
	for len(table) > 0 {
		var rest warehouse.ProviderClass
		more, i := 0, 0
		for ; i < len(table) && table[i].Provider == table[0].Provider; i++ {
			r := table[i]
			if limit > 0 && i >= limit {
				more++
				rest.Events, rest.Delivered, rest.Deferred, rest.Bounced = rest.Events+r.Events, rest.Delivered+r.Delivered, rest.Deferred+r.Deferred, rest.Bounced+r.Bounced
				continue
			}
			class := r.Class
			if class == "" {
				class = "delivered"
			}
			add(r.Provider, class, r)
		}
		if more > 0 {
			add(table[0].Provider, fmt.Sprintf("%d more", more), rest)
		}
		table = table[i:]
	}
	p.Table([]string{"provider", "class", "events", "delivered", "deferred", "given up"}, rows, 2, 3, 4, 5)
	return nil
}

// Suppressed prints the recipients that may not be mailed as usual now, the last decisions first, addresses masked.
func (p *Printer) Suppressed(ctx context.Context, db *warehouse.DB, limit int) error {
	const all = 100_000
	list, err := db.SuppressedTable(ctx, all)
	if err != nil {
		return err
	}
	states := map[string]int{}
	for _, s := range list {
		states[s.State]++
	}
	p.Heading("Recipients: %d suppressed, %d held, %d pending", states["suppressed"], states["held"], states["pending"])
	var rows [][]string
	for _, state := range []string{"suppressed", "held", "pending"} {
		shown := 0
		for _, s := range list {
			if s.State != state || shown >= limit {
				continue
			}
			shown++
			until := "-"
			if !s.ExpiresAt.IsZero() {
				until = s.ExpiresAt.UTC().Format("2006-01-02")
			}
			rows = append(rows, []string{Clean(address.Mask(string(s.RecipientKey)), 40), s.State, s.Scope, s.Class, until, Clean(s.Reason, 70)})
		}
		if states[state] > shown && shown > 0 {
			rows = append(rows, []string{fmt.Sprintf("... %d more", states[state]-shown), state, "", "", "", ""})
		}
	}
	if len(rows) > 0 {
		p.Table([]string{"recipient", "state", "scope", "class", "until", "reason"}, rows)
	}
	return nil
}

// Incident prints a finding as on-call reads it.
func (p *Printer) Incident(i *schema.Incident) { p.Text(alert.Text(i)) }

func count(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
