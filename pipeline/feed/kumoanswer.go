package feed

import (
	"cmp"
	"strings"

	"carom.dev/carom/schema"
)

// attempt fills in what the records of deliveries and failures say.
func (k *kumoRecord) attempt(ev *schema.DeliveryEvent) {
	ev.SourceIp = cut(k.sourceIP, maxString)
	ev.RemoteHost, ev.RemoteIp = cut(strings.TrimSuffix(k.peerName, "."), maxString), cut(k.peerIP, maxString)
	born, ok := stamp(k.createdAt)
	if !ok {
		born, ok = stamp(k.created)
	}
	if ok {
		setDelay(ev, ev.OccurredAtUs-born)
	}
	a := k.answer(ev.Outcome)
	fill(ev, a)
	remote := a.origin == schema.Origin_REMOTE_REPLY
	if remote && k.enhanced != "" {
		// KumoMTA has taken the code out of the reply; it makes up none for a remote's.
		ev.EnhancedCode, ev.EnhancedSource = k.enhanced, schema.EnhancedSource_ENHANCED_REMOTE
	}
	if ev.Outcome == schema.Outcome_DEFERRED {
		ev.Final = false
		if kumoNoAttempt(k.content) && !remote {
			ev.Outcome = schema.Outcome_SUSPENDED
		}
	}
	// num_attempts is raised when a message goes back into its queue, behind the record: it counts the earlier attempts.
	if n := count(k.attempts); k.attempts != "" {
		ev.Attempt = n
		if ev.Outcome != schema.Outcome_SUSPENDED && ev.Outcome != schema.Outcome_EXPIRED && k.kind != "AdminBounce" {
			ev.Attempt++
		}
	}
}

// kumoInternal marks most of what KumoMTA finds by itself.
const kumoInternal = "KumoMTA internal: "

// answer tells the remote's reply from KumoMTA's own words, which are marked, or have no command that they answer.
func (k *kumoRecord) answer(outcome schema.Outcome) answer {
	a := answer{text: k.reply, origin: schema.Origin_REMOTE_REPLY, enhanced: k.enhanced}
	a.code = number(k.code)
	phase, own := kumoOwn(k.content)
	switch {
	case outcome == schema.Outcome_DELIVERED && k.peerIP != "":
		a.phase = schema.Phase_EOM
	case strings.HasPrefix(k.content, kumoInternal):
		a.origin, a.phase = schema.Origin_LOCAL_MTA, phase
		if phase == schema.Phase_PHASE_UNSPECIFIED {
			a.phase = commandPhase(k.command)
		}
	case k.command != "" && outcome != schema.Outcome_EXPIRED:
		a.phase = commandPhase(k.command)
	case outcome == schema.Outcome_EXPIRED, k.kind == "AdminBounce":
		a.origin, a.phase = schema.Origin_LOCAL_MTA, schema.Phase_QUEUE
	default:
		if own || k.peerIP == "" {
			a.origin, a.phase = schema.Origin_LOCAL_MTA, phase
		}
	}
	return a
}

// compose writes the response as it stood on the wire, and an id for the record, since id names the message. Both are
// parts of one string: each record has them.
func (k *kumoRecord) compose() {
	code, gap, enhanced, gap2 := k.code, " ", k.enhanced, " "
	if len(code) != 3 {
		code, gap, enhanced, gap2 = "", "", "", ""
	} else if enhanced == "" {
		gap2 = ""
	}
	n := len(code) + len(gap) + len(enhanced) + len(gap2) + len(k.content)
	if k.id == "" {
		k.reply = code + gap + enhanced + gap2 + k.content
		return
	}
	both := code + gap + enhanced + gap2 + k.content + k.id + "/" + k.kind + "/" + k.attempts + "/" + cmp.Or(k.event, k.at)
	k.reply, k.eventID = both[:n], both[n:]
}

// commandPhase maps a command, as it was sent or as KumoMTA's sources name it, to its phase; "." is the final dot.
func commandPhase(command string) schema.Phase {
	for _, c := range [...]struct {
		verb  string
		phase schema.Phase
	}{
		{"RCPT", schema.Phase_RCPT},
		{".", schema.Phase_EOM},
		{"DataDot", schema.Phase_EOM},
		{"MAIL", schema.Phase_MAIL},
		{"DATA", schema.Phase_DATA},
		{"EHLO", schema.Phase_EHLO},
		{"HELO", schema.Phase_EHLO},
		{"LHLO", schema.Phase_EHLO},
		{"STARTTLS", schema.Phase_TLS},
		{"AUTH", schema.Phase_AUTH},
		{"QUIT", schema.Phase_QUIT},
	} {
		if len(command) >= len(c.verb) && strings.EqualFold(command[:len(c.verb)], c.verb) {
			return c.phase
		}
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// kumoOwn recognises KumoMTA's own words and the phase that they speak of.
func kumoOwn(content string) (phase schema.Phase, own bool) {
	words, internal := strings.CutPrefix(content, kumoInternal)
	switch {
	case strings.HasPrefix(words, "failed to connect to any candidate hosts"):
		return connectPhase(words), true
	case internal:
		if _, command, ok := strings.Cut(words, "for response to "); ok {
			return commandPhase(strings.TrimLeft(command, "[\" ")), true
		}
		return schema.Phase_PHASE_UNSPECIFIED, true
	case kumoNoAttempt(content), strings.HasPrefix(content, "Next delivery time would be "):
		return schema.Phase_QUEUE, true
	case strings.HasPrefix(content, "MX consisted solely of hosts on the skip_hosts list"),
		strings.HasPrefix(content, "MX didn't resolve to any hosts"),
		strings.HasPrefix(content, "Recipient address has a null MX"):
		return schema.Phase_DNS, true
	}
	return schema.Phase_PHASE_UNSPECIFIED, false
}

// connectPhase judges the list of candidates that failed: by the last failure in it, which was the last try.
func connectPhase(words string) schema.Phase {
	phase, last := schema.Phase_CONNECT, -1
	for _, w := range [...]struct {
		words string
		phase schema.Phase
	}{
		{"read initial banner", schema.Phase_BANNER},
		{"TLS handshake", schema.Phase_TLS},
		{"DANE TLSA lookup", schema.Phase_TLS},
		{"Connection refused", schema.Phase_CONNECT},
		{"Network is unreachable", schema.Phase_CONNECT},
	} {
		if k := strings.LastIndex(words, w.words); k > last {
			phase, last = w.phase, k
		}
	}
	return phase
}

// kumoNoAttempt recognises the words of a message that was put off without an attempt.
func kumoNoAttempt(content string) bool {
	content = strings.TrimPrefix(content, kumoInternal)
	for _, w := range [...]string{"bulk delay of ready queue", "throttled message rate", "ready queue throttled"} {
		if strings.HasPrefix(content, w) {
			return true
		}
	}
	return strings.Contains(content, "scheduled queue is suspended: ")
}
