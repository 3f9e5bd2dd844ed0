package survey

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/pipeline/report"
)

// Rows shown to people; JSON has all.
const (
	maxProviderRows = 15
	maxReasonRows   = 6 // per provider
	maxUnknownRows  = 12
	maxNaiveRows    = 12
	maxNames        = 3
)

// WriteText writes r for people, no wider than st.Columns. Text from the log is made fit for a terminal.
func (r *Report) WriteText(w io.Writer, st Style) error {
	p := &page{style: st}
	p.input(r)
	p.outcomes(r)
	p.providers(r)
	p.afterwards(r)
	p.reasons(r)
	p.codeless(r)
	p.unknown(r)
	p.naive(r)
	_, err := w.Write(p.b.Bytes())
	return err
}

// page gathers the text; writing into it never fails.
type page struct {
	b     bytes.Buffer
	style Style
}

func (p *page) heading(format string, args ...any) {
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
	fmt.Fprintf(&p.b, "%s\n", p.style.paint(bold, fmt.Sprintf(format, args...)))
}

func (p *page) line(format string, args ...any) {
	p.wrapped("  ", fmt.Sprintf(format, args...), "")
}

// advice is a short word on what to do.
func (p *page) advice(format string, args ...any) {
	p.wrapped("  -> ", fmt.Sprintf(format, args...), green)
}

// wrapped writes words, broken at blanks, behind a prefix.
func (p *page) wrapped(prefix, words, colour string) {
	lead, col := prefix, 0
	var line strings.Builder
	flush := func() {
		p.b.WriteString(p.style.paint(colour, lead+line.String()) + "\n")
		lead = strings.Repeat(" ", len(prefix))
		line.Reset()
		col = 0
	}
	for word := range strings.FieldsSeq(report.Clean(words, 2000)) {
		n := displayWidth(word)
		if col > 0 && p.style.Columns > 0 && len(prefix)+col+1+n > p.style.Columns {
			flush()
		}
		if col > 0 {
			line.WriteByte(' ')
			col++
		}
		line.WriteString(word)
		col += n
	}
	flush()
}

func (p *page) table(t table) {
	t.style = p.style
	_ = t.write(&p.b, p.style.Columns) // a buffer takes everything
}

func (p *page) input(r *Report) {
	in := r.Input
	p.heading("Read")
	p.line("%d lines: %d with an event, %d understood without one, %d not understood", in.Lines, in.Event, in.Known, in.Unparsed)
	span := ""
	if !in.First.IsZero() {
		span = fmt.Sprintf(", %s to %s UTC (%s)", in.First.Format(time.DateTime), in.Last.Format(time.DateTime), in.Last.Sub(in.First).Round(time.Second))
	}
	p.line("%d events of %s%s", in.Events, plural(int64(in.Hosts), "host"), span)
	if in.Orphans > 0 {
		p.line("%d events belong to messages that began before the log", in.Orphans)
	}
	if in.Unparsed > 0 {
		p.advice("carom parse -stats shows samples of the lines that were not understood")
	}
}

func (p *page) outcomes(r *Report) {
	total := int64(0)
	for _, o := range r.Outcomes {
		total += o.Count
	}
	p.heading("Outcomes")
	t := table{head: []string{"outcome", "events", "share"}, right: []int{1, 2}}
	for _, o := range r.Outcomes {
		t.rows = append(t.rows, []string{o.Name, fmt.Sprint(o.Count), percent(share(o.Count, total))})
	}
	p.table(t)
}

func (p *page) providers(r *Report) {
	p.heading("Providers (delivered %% of what has ended: delivered, bounced or expired)")
	t := table{
		head:  []string{"provider", "attempts", "deferred", "bounced", "expired", "suspended", "delivered", "delivered %"},
		right: []int{1, 2, 3, 4, 5, 6, 7},
	}
	row := func(q Provider) {
		rate := "-"
		if q.ended() > 0 {
			rate = percent(q.Share)
		}
		t.rows = append(t.rows, []string{
			q.Provider, number(q.Attempts), number(q.Deferred), number(q.Bounced), number(q.Expired), number(q.Suspended), number(q.Delivered), rate,
		})
	}
	rest := Provider{}
	for i, q := range r.Providers {
		if i < maxProviderRows {
			row(q)
			continue
		}
		rest.Attempts += q.Attempts
		rest.Delivered += q.Delivered
		rest.Deferred += q.Deferred
		rest.Bounced += q.Bounced
		rest.Expired += q.Expired
		rest.Suspended += q.Suspended
	}
	if n := len(r.Providers) - maxProviderRows; n > 0 {
		rest.Provider, rest.Share = fmt.Sprintf("(%d more)", n), share(rest.Delivered, rest.ended())
		row(rest)
	}
	p.table(t)
}

// afterwards is what came when delivery was over. A log alone tells nothing of it.
func (p *page) afterwards(r *Report) {
	t := table{
		head:  []string{"provider", "async bounces", "delay warnings", "complaints", "unsubscribed", "opened", "clicked", "by machines"},
		right: []int{1, 2, 3, 4, 5, 6, 7},
	}
	row := func(name string, a *After) {
		t.rows = append(t.rows, []string{
			name, number(a.AsyncBounced), number(a.Delayed), number(a.Complaints), number(a.Unsubscribed), number(a.Opened), number(a.Clicked), number(a.Machine),
		})
	}
	rest, more := After{}, 0
	for i := range r.Providers {
		q := &r.Providers[i]
		switch {
		case q.After == After{}:
		case len(t.rows) < maxProviderRows:
			row(q.Provider, &q.After)
		default:
			more++
			rest.add(&q.After)
		}
	}
	if len(t.rows) == 0 {
		return
	}
	if more > 0 {
		row(fmt.Sprintf("(%d more)", more), &rest)
	}
	p.heading("After the next hop had taken it")
	p.table(t)
}

func (p *page) reasons(r *Report) {
	p.heading("Reasons (rule set %s)", r.Ruleset)
	t := table{head: []string{"provider", "class", "deferred", "suspended", "bounced", "expired"}, right: []int{2, 3, 4, 5}}
	mail := slices.ContainsFunc(r.Providers, func(q Provider) bool { return q.AsyncBounced > 0 })
	if mail {
		t.head, t.right = append(t.head, "async bounces"), append(t.right, 6)
	}
	row := func(provider, class string, c *Reason) {
		cells := []string{provider, class, number(c.Deferred), number(c.Suspended), number(c.Bounced), number(c.Expired)}
		if mail {
			cells = append(cells, number(c.AsyncBounced))
		}
		t.rows = append(t.rows, cells)
	}
	total := map[string]int64{}
	for i, q := range r.Providers {
		rest := Reason{}
		for k := range q.Reasons {
			c := &q.Reasons[k]
			total[c.Class] += c.events()
			switch {
			case i >= maxProviderRows:
			case k < maxReasonRows:
				name := ""
				if k == 0 {
					name = q.Provider
				}
				row(name, c.Class, c)
			default:
				rest.Deferred += c.Deferred
				rest.Suspended += c.Suspended
				rest.Bounced += c.Bounced
				rest.Expired += c.Expired
				rest.AsyncBounced += c.AsyncBounced
			}
		}
		if n := len(q.Reasons) - maxReasonRows; n > 0 && i < maxProviderRows {
			row("", fmt.Sprintf("(%d more)", n), &rest)
		}
	}
	if len(t.rows) == 0 {
		p.line("nothing failed")
		return
	}
	p.table(t)
	given := map[string]bool{}
	for _, c := range ranking(total) {
		if words := adviceOn(c.Name); words != "" && !given[words] && len(given) < maxNames {
			given[words] = true
			p.advice("%s: %s", c.Name, words)
		}
	}
}

func (p *page) codeless(r *Report) {
	if len(r.Codeless) == 0 {
		return
	}
	p.heading("Failures without an answer")
	t := table{head: []string{"kind", "events", "what happened", "mostly at"}, right: []int{1}}
	most := r.Codeless[0]
	for _, c := range r.Codeless {
		t.rows = append(t.rows, []string{strings.ReplaceAll(c.Kind, "_", " "), number(c.Events), c.Meaning, names(c.Providers)})
		t.notes = append(t.notes, c.Example)
		if c.Events > most.Events {
			most = c
		}
	}
	p.table(t)
	p.advice("%s: %s", strings.ReplaceAll(most.Kind, "_", " "), most.Advice)
}

func (p *page) unknown(r *Report) {
	if r.Unknown.Events == 0 {
		return
	}
	p.heading("Words that no rule knows: %s, %s", plural(r.Unknown.Events, "event"), plural(int64(len(r.Unknown.Texts)), "shape"))
	t := table{head: []string{"events", "code", "judged as", "mostly at"}, right: []int{0}}
	for i, u := range r.Unknown.Texts {
		if i == maxUnknownRows {
			break
		}
		code := "-"
		if u.SMTPCode != 0 {
			code = fmt.Sprint(u.SMTPCode)
		}
		t.rows = append(t.rows, []string{number(u.Events), code, u.Class, names(u.Providers)})
		t.notes = append(t.notes, u.Text)
	}
	p.table(t)
	if n := len(r.Unknown.Texts) - maxUnknownRows; n > 0 {
		p.line("and %d more shapes; -json lists them", n)
	}
	if r.Unknown.Beyond > 0 {
		p.line("%d events of yet other shapes were counted only", r.Unknown.Beyond)
	}
	p.advice("unknown words never suppress anybody at once; carom explain shows how far the layers came")
}

func (p *page) naive(r *Report) {
	n := r.Naive
	p.heading("Recipients lost by a list that drops everybody after a final failure")
	if n.Dropped == 0 {
		p.line("nobody had a final failure")
		return
	}
	p.line("Such a list drops %s. For %d of them (%s) this log holds no sufficient evidence:", plural(n.Dropped, "recipient"), n.Wrong, percent(n.Share))
	t := table{head: []string{"recipients", "share", "what the failure says"}, right: []int{0, 1}}
	for _, row := range []struct {
		count int64
		words string
	}{
		{n.Delivered, "nothing any more: mail was delivered or read later"},
		{n.Nothing, "nothing about them: rate, block, content, network"},
		{n.Weak, "too little alone, such as a full mailbox"},
		{n.Domain, "something about the domain, not about them"},
		{n.Evidence, "that they are gone: Carom waits, then suppresses, too"},
	} {
		t.rows = append(t.rows, []string{number(row.count), percent(share(row.count, n.Dropped)), row.words})
	}
	p.table(t)
	if len(n.Reasons) > 0 {
		p.b.WriteByte('\n')
		t = table{head: []string{"recipients", "class", "why not", "mostly at"}, right: []int{0}}
		for i, c := range n.Reasons {
			if i == maxNaiveRows {
				break
			}
			row := []string{number(c.Recipients), c.Class, strings.ReplaceAll(c.Why, "_", " "), names(c.Providers)}
			note := ""
			if c.Example != nil {
				note = c.Example.Recipient + ": " + c.Example.Text
			}
			t.rows, t.notes = append(t.rows, row), append(t.notes, note)
		}
		p.table(t)
	}
	if k := len(n.Reasons) - maxNaiveRows; k > 0 {
		p.line("and %d more reasons; -json lists them", k)
	}
	if n.Untracked > 0 {
		p.line("%d final failures of yet other recipients were not looked at", n.Untracked)
	}
	p.advice("a log read once knows no history and no outage: bursts of false \"unknown user\" are held by the running system, not here")
}

// names lists the first few of a ranking.
func names(ranked []Count) string {
	var out []string
	for i, c := range ranked {
		if i == maxNames {
			out = append(out, fmt.Sprintf("+%d", len(ranked)-maxNames))
			break
		}
		out = append(out, c.Name)
	}
	return cmp.Or(strings.Join(out, " "), "-")
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
