package schema

import "strings"

// Engaged says whether the event is engagement: the message was displayed, or a link in it followed.
func (x Outcome) Engaged() bool { return x == Outcome_OPENED || x == Outcome_CLICKED }

// ByMachine says whether the event is engagement by a machine, which says nothing about the recipient.
func (x *DeliveryEvent) ByMachine() bool { return x.Machine && x.Outcome.Engaged() }

// CountedSource returns the source address that the event is counted for: SourceIp, or none if the event is a bounce or
// delay told by mail of a conversation that was not ours. The server that refused saw somebody else's address then,
// whatever block or rate it speaks of. So it is where the address was forwarded, and where the host that wrote the mail is
// neither the one that refused (our next hop, which took the message first) nor our own that sent it. An event that names
// no writer comes from an email API, which tells of its own conversations.
func (x *DeliveryEvent) CountedSource() string {
	if x.Outcome != Outcome_ASYNC_BOUNCE && x.Outcome != Outcome_DELAYED {
		return x.SourceIp
	}
	if x.ForwardedTo != "" || x.ReportingMta != "" && !sameHost(x.ReportingMta, x.RemoteHost) && !sameHost(x.ReportingMta, x.MtaHost) {
		return ""
	}
	return x.SourceIp
}

// sameHost compares names of hosts, in any case and with or without the final dot (RFC 4343; RFC 1034, section 3.1).
func sameHost(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
