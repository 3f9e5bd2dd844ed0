package incident

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"carom.dev/carom/schema"
)

const minuteUS = 60_000_000

// pageShare is the share of attempts from which trouble of a provider wakes somebody.
const pageShare = 0.10

// judge returns the severity of an incident as it is now.
func (r *record) judge() string {
	switch r.kind {
	case KindProviderFalseUnknown, KindIPTimeout, KindIPBlocked, KindLocalBacklog, KindLocalNetwork:
		return SeverityPage
	case KindProviderTimeout:
		if taken(r.atHit.attempts, r.atHit.failures, r.atHit.expected) >= pageShare {
			return SeverityPage
		}
	}
	return SeverityTicket
}

func higher(a, b string) string {
	order := []string{SeverityInfo, SeverityTicket, SeverityPage}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// maxBreakdown bounds the list of source addresses or providers in a report.
const maxBreakdown = 20

// report writes an incident down. Counts are those until the last excess; what follows is not part of it.
func (d *Detector) report(r *record) *schema.Incident {
	t := r.atHit
	inc := &schema.Incident{
		Id: r.id, Revision: r.revision, State: r.state, Kind: r.kind, Provider: r.provider, Class: r.class, Severity: r.severity,
		OnsetUs: r.onset * minuteUS, OpenedUs: r.opened * minuteUS, UpdatedUs: r.published * minuteUS,
		Attempts: int64(t.attempts), Observed: int64(t.failures), Expected: t.expected, Excess: t.excess(),
		Share: taken(t.attempts, t.failures, t.expected), Z: r.z,
		Breakdown: d.breakdown(r),
	}
	if !r.isOpen() {
		inc.ResolvedUs = r.resolved * minuteUS
	}
	if t.failures > 0 {
		inc.AcceptedShare = t.accepted / t.failures
	}
	if r.kind == KindProviderFalseUnknown {
		inc.Hold, inc.Action = true, ActionDeferBulk
		inc.HoldFromUs = (r.onset - minutes(d.cfg.HoldLead)) * minuteUS
		inc.HoldUntilUs = (r.lastHit + minutes(d.cfg.HoldTTL)) * minuteUS
		if !r.isOpen() {
			inc.HoldUntilUs = inc.ResolvedUs
		}
	}
	inc.Summary = r.summary(inc)
	inc.Suspicion = r.suspicion(inc)
	return inc
}

// breakdown lists where the failures of the last two hours at most are: by source address, by provider where the
// incident is everywhere, and only the one address where it is confined to that.
func (d *Detector) breakdown(r *record) (all []*schema.Breakdown) {
	to := r.lastHit
	from := max(r.onset, d.last-ringMinutes+1)
	if from > to {
		return nil
	}
	if r.isFleet() {
		for _, name := range d.order {
			s := r.scope
			s.provider = name
			all = append(all, cut("provider", name, d.providerWindow(s, from, to)))
		}
	} else if p := d.providers[r.provider]; p != nil {
		for _, ip := range p.sourceOrder {
			if r.ip != "" && ip != r.ip {
				continue
			}
			s := r.scope
			s.ip = ip
			all = append(all, cut("source_ip", ip, d.sourceWindow(s, from, to)))
		}
	}
	all = slices.DeleteFunc(all, func(b *schema.Breakdown) bool { return b.Attempts == 0 && b.Observed == 0 && b.Value != r.ip })
	slices.SortFunc(all, func(a, b *schema.Breakdown) int {
		return cmp.Or(cmp.Compare(b.Observed, a.Observed), cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Value, b.Value))
	})
	return all[:min(len(all), maxBreakdown)]
}

func cut(dimension, value string, w window) *schema.Breakdown {
	return &schema.Breakdown{Dimension: dimension, Value: value, Attempts: int64(w.n), Observed: int64(w.k)}
}

// failingSources counts the source addresses that take part.
func (d *Detector) failingSources(r *record, t int64) (n int64) {
	if x := d.classOf(r.provider, r.class); x != nil {
		for _, y := range x.sources {
			if y.failures.sum(viewAll, max(r.onset, t-ringMinutes+1), t) > 0 {
				n++
			}
		}
	}
	return n
}

func (d *Detector) classOf(provider, class string) *series {
	if p := d.providers[provider]; p != nil {
		return p.classes[class]
	}
	return nil
}

// summary is the one line that on-call reads first.
func (r *record) summary(inc *schema.Incident) string {
	where := r.provider
	if where == "" {
		where = "several providers"
	}
	if r.ip != "" {
		where += " from " + r.ip
	}
	rate, noise := 0.0, 0.0
	if inc.Attempts > 0 {
		rate = inc.Expected / float64(inc.Attempts)
		noise = math.Sqrt(inc.Expected) / float64(inc.Attempts)
	}
	line := fmt.Sprintf("[%s] %s: %s on %s of attempts (expected %s +/- %s), %s excess in %d min",
		strings.ToUpper(r.severity), where, r.class, percent(ratioOf(inc.Observed, inc.Attempts)), percent(rate), percent(noise),
		grouped(int64(math.Round(inc.Excess))), r.lastHit-r.onset+1)
	switch {
	case r.isOpen():
		return line
	case r.unobserved:
		return line + "; closed without mail to judge by"
	}
	return line + "; resolved"
}

func ratioOf(k, n int64) float64 {
	if n == 0 {
		return 0
	}
	return float64(k) / float64(n)
}

// percent has two significant digits, which is what the counts are good for.
func percent(f float64) string {
	switch f *= 100; {
	case f >= 10:
		return fmt.Sprintf("%.0f %%", f)
	case f >= 1:
		return fmt.Sprintf("%.1f %%", f)
	}
	return fmt.Sprintf("%.2f %%", f)
}

// grouped writes 4812 as "4 812".
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// suspicion says whom the counts accuse, in the order in which to look: ourselves first, the provider last.
func (r *record) suspicion(inc *schema.Incident) string {
	sender, own, provider := "possible", "possible", "possible"
	switch r.kind {
	case KindProviderFalseUnknown:
		sender = fmt.Sprintf("unlikely: %s of the refused recipients accepted mail before", percent(inc.AcceptedShare))
		own = fmt.Sprintf("unlikely: %d source addresses are refused, %s", r.sources, r.controlText())
		provider = "likely"
	case KindProviderTimeout:
		sender = "unlikely: not a matter of lists or content"
		own = fmt.Sprintf("possible: check DNS answers, routes and queue; %d source addresses fail, %s", r.sources, r.controlText())
		provider = "likely"
	case KindProviderPolicy:
		sender = "likely: volume, content or complaints; " + r.controlText()
		own = fmt.Sprintf("possible: %d source addresses are concerned", r.sources)
	case KindIPTimeout:
		sender, provider = "unlikely", "possible: other addresses of ours are served"
		own = "likely: this address only; check its route, name and firewall"
	case KindIPBlocked:
		sender = "likely: whoever sends through this address"
		own = "possible: other addresses of ours are served"
	case KindIPRefused:
		sender = "likely: the lists that are mailed through this address only"
		own, provider = "possible: the address is treated in a way of its own", "possible"
	case KindListImport:
		sender = "likely: recipients that never accepted mail do not exist, those that did are served as usual"
		own, provider = "unlikely", "unlikely"
	case KindTenantAuth, KindTenantPolicy:
		sender = "likely: the same mail fails wherever it goes"
		own, provider = "possible: signing or a shared address", "unlikely"
	case KindLocalBacklog:
		sender, own, provider = "possible: more mail than the queue takes", "likely: nothing was said by any provider", "unlikely: several at once"
	case KindLocalNetwork:
		sender, own, provider = "unlikely", "likely: resolver, route or firewall; several providers fail at once", "unlikely"
	}
	return "sender: " + sender + ". own MTA or ESP: " + own + ". provider: " + provider + "."
}

func (r *record) controlText() string {
	if r.control == 0 {
		return "other providers not compared"
	}
	return fmt.Sprintf("other providers at %.2f x the expected", r.control)
}
