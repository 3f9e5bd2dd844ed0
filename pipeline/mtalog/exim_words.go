package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// eximWords reads the words of a failure: src/transports/smtp.c, check_response, and src/deliver.c. fault is the system's
// own word for it, if the line has one.
func eximWords(words, fault string, a *attempt) {
	a.text = unescape(words)
	if words == "" {
		words, a.text = fault, fault
	}
	if what, reply, ok := eximCommand(words, a); ok {
		a.phase = eximPhase(what)
		const ehlo = " (EHLO response was: "
		if k := strings.Index(what, ehlo); k >= 0 && a.phase == schema.Phase_EHLO {
			a.text, a.origin = unescape(strings.TrimSuffix(what[k+len(ehlo):], ")")), schema.Origin_REMOTE_REPLY
			return
		}
		if !reply {
			return
		}
		// The command may hold an address, and the address a colon.
		i := 0
		if k := strings.IndexByte(what, '<'); k >= 0 && k < len("pipelined MAIL FROM:<") {
			i = max(addressEnd(what, k+1), 0)
		}
		if k := strings.Index(what[i:], ": "); k >= 0 {
			a.text, a.origin = unescape(eximHostBefore(what[i+k+2:], a)), schema.Origin_REMOTE_REPLY
		}
		return
	}
	switch {
	case strings.HasPrefix(words, "TLS "), strings.HasPrefix(words, "a TLS session is required"),
		strings.HasPrefix(words, "DANE "), strings.HasPrefix(words, "bad first read from TLS conn"):
		a.phase = schema.Phase_TLS
	case strings.HasPrefix(words, "Unrouteable address"), strings.HasPrefix(words, "host lookup "),
		strings.HasPrefix(words, "all relevant MX records "), strings.HasPrefix(words, "lowest numbered MX record "),
		strings.HasPrefix(words, "an MX or SRV record "), strings.HasPrefix(words, "all host address lookups"),
		strings.HasPrefix(words, "remote host address is the local host"), strings.HasPrefix(words, "lookup of "),
		strings.HasPrefix(words, "failed to lookup IP address "), strings.Contains(words, " transport found host "):
		a.phase = schema.Phase_DNS
	case strings.HasPrefix(words, "failed to write a data block"):
		a.phase = schema.Phase_DATA
	case strings.HasPrefix(words, "message too big for host"), strings.HasPrefix(words, "message is too big"):
		a.phase = schema.Phase_MAIL
	case strings.HasPrefix(words, "authentication required but "):
		a.phase = schema.Phase_AUTH
	case strings.HasPrefix(words, "utf8 support required but not offered"):
		a.phase = schema.Phase_EHLO
	case eximUnconnected(words):
		a.phase = schema.Phase_CONNECT
	}
}

// eximUnconnected knows the system's words for a connection that did not come about.
func eximUnconnected(words string) bool {
	for _, prefix := range [...]string{
		"Connection refused", "Connection timed out", "No route to host", "Network is unreachable", "Network unreachable",
		"Host is unreachable", "Connection reset by peer", "Host is down", "Operation timed out", "Network is down",
	} {
		if strings.HasPrefix(words, prefix) {
			return true
		}
	}
	return false
}

// eximHostBefore cuts "host NAME [IP]: " off, which Exim before 4.83 wrote in place of the field H=.
func eximHostBefore(s string, a *attempt) string {
	rest, ok := strings.CutPrefix(s, "host ")
	if !ok || a.host != "" {
		return s
	}
	host, rest, ok := strings.Cut(rest, " [")
	if !ok || strings.IndexByte(host, ' ') >= 0 {
		return s
	}
	ip, _, rest, ok := eximPeer(rest)
	if reply, found := strings.CutPrefix(rest, ": "); ok && found {
		a.host, a.ip, a.relay = host, ip, host
		return reply
	}
	return s
}

// eximCommand finds the command that a conversation stopped at, and whether a reply follows it. Exim before 4.83 named the
// host within the words.
func eximCommand(words string, a *attempt) (what string, reply, ok bool) {
	for _, f := range [...]struct {
		prefix, old, after string
		reply              bool
	}{
		{"SMTP error from remote mail server after ", "", "", true},
		{"SMTP error from remote mailer after ", "", "", true},
		{"LMTP error from remote mail server after ", "", "", true},
		{"LMTP error after ", "", "", true},
		{"Malformed SMTP reply in response to ", "Malformed SMTP reply from ", "in response to ", true},
		{"Malformed SMTP reply (an empty line) in response to ", "Malformed SMTP reply (an empty line) from ", "in response to ", false},
		{"SMTP timeout after ", "SMTP timeout while connected to ", "after ", false},
		{"LMTP timeout after ", "", "", false},
		{"Remote host closed connection in response to ", "Remote host ", "closed connection in response to ", false},
		{"lost connection after ", "", "", false},
	} {
		if what, ok = strings.CutPrefix(words, f.prefix); ok {
			return what, f.reply, true
		}
		if f.old == "" {
			continue
		}
		if rest, found := strings.CutPrefix(words, f.old); found {
			host, rest, found := strings.Cut(rest, " [")
			ip, _, rest, closed := eximPeer(rest)
			if what, ok = strings.CutPrefix(rest, " "+f.after); ok && found && closed {
				if a.host == "" {
					a.host, a.ip, a.relay = host, ip, host
				}
				return what, f.reply, true
			}
		}
	}
	return "", false, false
}

// eximPhase maps the command behind "after" or "in response to".
func eximPhase(what string) schema.Phase {
	what = strings.TrimPrefix(what, "pipelined ")
	switch {
	case strings.HasPrefix(what, "initial connection"):
		return schema.Phase_BANNER
	case strings.HasPrefix(what, "sending data block"):
		return schema.Phase_DATA
	case strings.HasPrefix(what, "end of data"):
		return schema.Phase_EOM
	}
	return phaseOf(what)
}
