package survey

import (
	"strings"

	"carom.dev/carom/schema"
)

// silence is a kind of failure in which no server gave an answer.
type silence int

// The kinds, in the order of a delivery.
const (
	silentDNS silence = iota
	silentConnect
	silentBanner
	silentTLS
	silentCommand
	silentLost
	silentDot
	silentExpiry
	silentSuspended
	silentLocal
	silences
)

const classLost = "net.conn_lost"

type silenceCount struct {
	events    int64
	providers map[string]int64
	example   string
}

// words returns the kind's stable name, what it is and what to do.
func (k silence) words() (name, meaning, advice string) {
	switch k {
	case silentDNS:
		return "dns", "no usable mail host in DNS", "look at your resolvers before you blame the domains: a failed look-up is not a missing domain"
	case silentConnect:
		return "connect", "no TCP connection", "compare by MX host and by your source IP: one source IP alone means a block or a route"
	case silentBanner:
		return "banner", "connected, no greeting", "usually a server that holds back a sender it distrusts, or is overloaded: fewer connections, then look at reputation"
	case silentTLS:
		return "tls", "handshake or certificate failed", "see which side refuses: protocol version, certificate, DANE or MTA-STS policy"
	case silentCommand:
		return "command", "no answer to a command", "check timeouts and path MTU; a server that stalls at RCPT TO is often tarpitting"
	case silentLost:
		return "lost_connection", "the connection broke off", "many from one provider at once is a throttle without words: slow down there"
	case silentDot:
		return "after_final_dot", "no answer after the message was sent", "may have been delivered: these retries are where duplicates come from"
	case silentExpiry:
		return "expiry", "queue lifetime ran out", "count it by its last real cause, never as a dead address"
	case silentSuspended:
		return "suspended", "postponed by your own MTA, not tried", "not an attempt: leave it out of any rate"
	}
	return "local", "your own MTA's finding", "size, loops, configuration: nothing that the recipient did"
}

// silent counts ev if nobody answered it. A code quoted by a postponement is that of an earlier attempt.
func (s *Survey) silent(ev *schema.DeliveryEvent, v *schema.Verdict) {
	var kind silence
	switch {
	case ev.Outcome == schema.Outcome_EXPIRED:
		kind = silentExpiry
	case ev.Outcome == schema.Outcome_SUSPENDED:
		kind = silentSuspended
	case ev.SmtpCode != 0 || ev.Origin == schema.Origin_REMOTE_REPLY || ev.Outcome == schema.Outcome_ASYNC_BOUNCE:
		return // a bounce mail is an answer
	default:
		kind = silenceOf(ev.Phase, v.Class)
	}
	n := &s.codeless[kind]
	if n.providers == nil {
		n.providers = map[string]int64{}
		text := ev.Text
		if ev.Cause != nil {
			text = ev.Cause.Text
		}
		n.example = s.sample(text, ev.Recipient)
	}
	n.events++
	n.providers[v.Provider]++
}

func silenceOf(phase schema.Phase, class string) silence {
	switch group, _, _ := strings.Cut(class, "."); group {
	case "net", "dns", "domain", "undetermined":
	default:
		return silentLocal // such as a message larger than the server announced
	}
	switch phase {
	case schema.Phase_DNS:
		return silentDNS
	case schema.Phase_CONNECT:
		return silentConnect
	case schema.Phase_BANNER:
		return silentBanner
	case schema.Phase_TLS:
		return silentTLS
	case schema.Phase_EOM:
		return silentDot
	case schema.Phase_EHLO, schema.Phase_AUTH, schema.Phase_MAIL, schema.Phase_RCPT, schema.Phase_DATA, schema.Phase_QUIT:
		if class == classLost {
			return silentLost
		}
		return silentCommand
	}
	if class == classLost {
		return silentLost
	}
	return silentLocal
}
