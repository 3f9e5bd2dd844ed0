package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/schema"
)

// maxEvidence bounds the replies quoted in a text.
const maxEvidence = 5

// Text renders an incident for somebody on call, in the order in which it is asked: what, since when, where, whom to
// suspect and why, the evidence, what has been done, what to do. It is plain text of several lines, masked and free of
// control characters; it may still hold < and &, so that whoever puts it into HTML or Slack has to escape it.
func Text(inc *schema.Incident) string {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			b.WriteString(label + text + "\n")
		}
	}
	line("", clean(inc.Summary, 1000))
	since := "since " + stamp(inc.OnsetUs) + " (onset estimate); detected " + stamp(inc.OpenedUs)
	switch inc.State {
	case schema.IncidentState_RESOLVED:
		since += "; resolved " + stamp(inc.ResolvedUs)
	case schema.IncidentState_UPDATED:
		since += "; goes on at " + stamp(inc.UpdatedUs)
	}
	line("", since)
	line("scope: ", scopeText(inc))
	if inc.Observed > 0 && inc.AcceptedShare > 0 {
		line("recipients: ", percent(inc.AcceptedShare)+" of those refused accepted mail before")
	}
	line("suspects: ", clean(inc.Suspicion, 1000))
	for _, e := range evidenceLines(inc) {
		line("evidence: ", e)
	}
	line("done: ", holdText(inc))
	for i, s := range steps(inc) {
		line(fmt.Sprintf("do %d: ", i+1), s)
	}
	line("id ", fmt.Sprintf("%s revision %d", clean(inc.Id, 100), inc.Revision))
	return b.String()
}

// stamp writes event time as RFC 3339 in UTC, to the minute: the resolution of the counts.
func stamp(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04Z")
}

func percent(f float64) string {
	if f < 0.1 {
		return fmt.Sprintf("%.1f %%", 100*f)
	}
	return fmt.Sprintf("%.0f %%", 100*f)
}

// maxScope bounds the members named of each dimension.
const maxScope = 6

// scopeText says where the failures are, dimension by dimension, worst first.
func scopeText(inc *schema.Incident) string {
	var parts []string
	if inc.Provider != "" {
		parts = append(parts, "provider "+clean(inc.Provider, 100))
	} else {
		parts = append(parts, "all providers")
	}
	if ip := confinedSource(inc); ip != "" {
		parts = append(parts, "only from "+clean(ip, 100))
	}
	var dimensions []string
	for _, d := range inc.Breakdown {
		if !slices.Contains(dimensions, d.Dimension) {
			dimensions = append(dimensions, d.Dimension)
		}
	}
	for _, dimension := range dimensions {
		var members []string
		all, hit, counted := 0, 0, false
		for _, d := range inc.Breakdown {
			if d.Dimension != dimension {
				continue
			}
			all++
			counted = counted || d.Attempts > 0
			if d.Observed > 0 {
				hit++
			}
			if len(members) >= maxScope {
				continue
			}
			if d.Attempts > 0 {
				members = append(members, fmt.Sprintf("%s %s of %d", clean(d.Value, 100), percent(float64(d.Observed)/float64(d.Attempts)), d.Attempts))
			} else if d.Observed > 0 {
				members = append(members, fmt.Sprintf("%s %d", clean(d.Value, 100), d.Observed))
			}
		}
		if !counted { // only failures are known by it: there is no "of all"
			parts = append(parts, fmt.Sprintf("%s: %s", clean(dimension, 40), strings.Join(members, ", ")))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s: %d of %d with failures (%s)", clean(dimension, 40), hit, all, strings.Join(members, ", ")))
	}
	return strings.Join(parts, "; ")
}

func evidenceLines(inc *schema.Incident) (lines []string) {
	for _, e := range inc.Evidence[:min(len(inc.Evidence), maxEvidence)] {
		at := time.UnixMicro(e.OccurredAtUs).UTC().Format("2006-01-02T15:04:05Z")
		peer := clean(e.RemoteHost, 200)
		if e.RemoteIp != "" {
			peer += "[" + clean(e.RemoteIp, 60) + "]"
		}
		if peer == "" {
			peer = "no peer"
		}
		line := at + " " + peer
		if e.SourceIp != "" {
			line += " from " + clean(e.SourceIp, 60)
		}
		reply := defang(clean(e.Text, maxReply))
		if e.SmtpCode > 0 && !strings.HasPrefix(reply, fmt.Sprint(e.SmtpCode)) {
			reply = strings.Join(strings.Fields(fmt.Sprintf("%d %s %s", e.SmtpCode, clean(e.EnhancedCode, 20), reply)), " ")
		}
		line += ": " + reply
		if e.Count > 1 {
			line += fmt.Sprintf(" (x %d)", e.Count)
		}
		lines = append(lines, line)
	}
	return lines
}

func holdText(inc *schema.Incident) string {
	if !inc.Hold {
		return ""
	}
	scope := "suppressions for (" + clean(inc.Provider, 100) + ", " + clean(inc.Class, 100) + ")"
	if inc.State == schema.IncidentState_RESOLVED {
		return scope + " were held from " + stamp(inc.HoldFromUs) + " to " + stamp(inc.HoldUntilUs) + "; amnesty for those made meanwhile"
	}
	text := scope + " HELD from " + stamp(inc.HoldFromUs) + " until " + stamp(inc.HoldUntilUs) + ", renewing"
	if inc.Action == "defer_bulk" {
		text += "; bulk mail to these recipients is deferred"
	}
	return text
}

// confinedSource returns the source address that an incident is confined to, or "": then the breakdown names no other.
func confinedSource(inc *schema.Incident) string {
	confined := strings.HasPrefix(inc.Kind, "ip_")
	switch inc.Kind {
	case "list_import", "tenant_auth", "tenant_policy":
		confined = inc.Provider != "" // seen through one dedicated address
	}
	if confined {
		for _, b := range inc.Breakdown {
			if b.Dimension == "source_ip" {
				return b.Value
			}
		}
	}
	return ""
}

// steps says what to do, by kind.
func steps(inc *schema.Incident) []string {
	if inc.State == schema.IncidentState_RESOLVED {
		if inc.Hold {
			return []string{"check the amnesty: list what was released and what was kept"}
		}
		return nil
	}
	switch inc.Kind {
	case "provider_false_unknown":
		return []string{
			"confirm with two test mailboxes at the provider",
			"check the provider's status page and other senders",
			"defer bulk mail to the provider, keep transactional mail going",
			"write to the provider's postmaster: source addresses, domain, UTC times, replies",
			"check the amnesty when it is resolved",
		}
	case "provider_timeout":
		return []string{
			"see whether a connection was made, to which peer, and whether that peer is in a fresh MX answer",
			"compare queue age and other source addresses at the same MX",
			"check the provider's status page; write to its postmaster with times, addresses and replies",
		}
	case "provider_policy":
		return []string{
			"look at volume and content of the last hours, by tenant",
			"check the source addresses and domains on block lists and in the provider's postmaster tools",
			"slow down to this provider",
		}
	case "ip_timeout":
		return []string{
			"test a connection from this address to the provider's MX",
			"check its route, firewall and reverse name",
			"take it out of the pool for this provider",
		}
	case "ip_blocked":
		return []string{
			"check the address on block lists and in the replies' links",
			"find who sent what through it in the last hours",
			"take it out of the pool for this provider; ask for delisting when the cause is gone",
		}
	case "ip_refused", "list_import":
		return []string{
			"find the mailing and its list; pause it",
			"ask the owner where the addresses come from",
			"let the suppressions stand",
		}
	case "tenant_auth":
		return []string{"check SPF, DKIM and DMARC of the sending domains in the replies", "pause the tenant until they pass"}
	case "tenant_policy":
		return []string{"find the mailing that is refused; pause it", "check its links and domains on block lists"}
	case "local_backlog":
		return []string{"check queue size, age, disk and load of the MTAs", "see when the oldest mail was last tried and why it waits"}
	case "local_network":
		return []string{"check resolver, routes and firewall of the MTAs", "compare with a connection from another network"}
	}
	return nil
}
