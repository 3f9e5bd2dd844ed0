package survey

import "strings"

// adviceOn returns a short line for a class, empty where there is nothing to do.
func adviceOn(class string) string {
	group, _, _ := strings.Cut(class, ".")
	switch class {
	case "mailbox.full", "mailbox.temp_unavailable":
		return "the address may be alive: count it within a window, do not drop it"
	case "mailbox.rate_limited", "remote.rate_limited":
		return "too fast for this server: lower connections and messages an hour for it; never the recipient's fault"
	case "remote.greylisted":
		return "normal: retry from the same source IP after the time that the server names"
	case "recipient.unknown", "recipient.disabled", "recipient.syntax", "recipient.moved":
		return "stop mailing these, unless one provider says so of many at once: then it is the provider that fails"
	case "recipient.relay_denied":
		return "the domain's mail goes to a host that does not take it: their DNS or your transport table"
	case "undetermined":
		return "see the words that no rule knows, below"
	}
	switch group {
	case "domain":
		return "check whether the domains are misspelt before they count against anyone"
	case "dns":
		return "resolvers, yours or theirs; says nothing about recipients"
	case "net":
		return "network or overload: compare by source IP and MX host; never the recipient's fault"
	case "block":
		return "about your IP or domain: read the reply's link, slow down, ask for delisting; do not drop the recipients"
	case "auth":
		return "fix SPF, DKIM, DMARC or reverse DNS of the sending domain; recipients are innocent"
	case "content":
		return "about the message: find the campaign; recipients are innocent"
	case "recipient":
		return "weak evidence alone: counts within a window"
	case "queue", "local":
		return "your own MTA's doing"
	case "protocol":
		return "the dialogue failed: look at the raw lines"
	}
	return ""
}
