package incident

import "strings"

// The kinds of incident.
const (
	KindProviderFalseUnknown = "provider_false_unknown" // a provider refuses good recipients; holds suppressions
	KindProviderTimeout      = "provider_timeout"       // a provider does not answer, or answers "later"
	KindProviderPolicy       = "provider_policy"        // a provider refuses or slows our mail as unwanted
	KindIPTimeout            = "ip_timeout"             // the same for one source address
	KindIPBlocked            = "ip_blocked"
	KindIPRefused            = "ip_refused"    // accepted recipients refused, through one source address only
	KindListImport           = "list_import"   // mail to many addresses that do not exist and never took mail
	KindTenantAuth           = "tenant_auth"   // authentication fails wherever the mail goes
	KindTenantPolicy         = "tenant_policy" // content or reputation is refused wherever the mail goes
	KindLocalBacklog         = "local_backlog" // mail grows old or fails in our own queue
	KindLocalNetwork         = "local_network" // connections or look-ups fail to many providers at once
)

// The severities, lowest first.
const (
	SeverityInfo   = "info"
	SeverityTicket = "ticket"
	SeverityPage   = "page"
)

// ActionDeferBulk is the advice of a hold: do not mail the provider in bulk while it lasts.
const ActionDeferBulk = "defer_bulk"

// group is what a class says about the fault. Classes of one group share an incident per scope, except those about the
// recipient, which are held class by class.
type group uint8

const (
	groupOther      group = iota // undetermined: counted, never raised
	groupRecipient               // evidence against the recipient
	groupConnection              // no conversation, or one that broke off
	groupTemporary               // the provider says that it has trouble
	groupPolicy                  // we are unwanted or too fast
	groupAuth
	groupContent
	groupLocal // nothing was said by any provider
	numGroups
)

func (g group) String() string {
	return [numGroups]string{"other", "recipient", "connection", "temporary", "policy", "auth", "content", "local"}[g]
}

func groupOf(class string) group {
	switch class {
	case "recipient.unknown", "recipient.disabled", "recipient.inactive", "recipient.syntax", "recipient.moved", "mailbox.full":
		return groupRecipient
	case "recipient.restricted", "recipient.relay_denied", "remote.rate_limited", "mailbox.rate_limited", "net.banner_refused":
		return groupPolicy
	case "mailbox.temp_unavailable", "domain.routing_loop":
		return groupTemporary
	}
	family, _, _ := strings.Cut(class, ".")
	switch family {
	case "net", "dns":
		return groupConnection
	case "remote", "protocol":
		return groupTemporary
	case "block":
		return groupPolicy
	case "auth":
		return groupAuth
	case "content":
		return groupContent
	case "queue", "local":
		return groupLocal
	}
	return groupOther
}

// prior is the failure rate assumed of a class before anything is known: what large senders see, rounded up so that
// the first day raises too little rather than too much.
func prior(class string, v view) float64 {
	if class == "recipient.unknown" {
		switch v {
		case viewAccepted:
			return 0.002
		case viewUnknown, viewAll:
			return 0.03
		}
		return 0.05
	}
	return 0.005
}
