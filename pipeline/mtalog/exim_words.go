package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// eximWords reads the words of a failure: src/transports/smtp.c, check_response, and src/deliver.c.
func eximWords(words string, errno int64, a *attempt) {
	a.text = words
	for _, timeout := range [2]string{"Connection timed out", "Connection reset by peer"} {
		// "Connection timed out H=host [ip]: SMTP timeout after X": the host stands within the words.
		if rest, ok := strings.CutPrefix(words, timeout+" H="); ok {
			if after, ok := eximFields(" H="+rest, a); ok && after != "" {
				words, a.text, a.relay = after, after, a.host
			}
		}
	}
	if what, reply, ok := eximCommand(words); ok {
		a.phase = eximPhase(what)
		if !reply {
			return
		}
		// The command may hold an address, and the address a colon.
		i := 0
		if k := strings.IndexByte(what, '<'); k >= 0 && k < len("pipelined MAIL FROM:<") {
			i = max(addressEnd(what, k+1), 0)
		}
		if k := strings.Index(what[i:], ": "); k >= 0 {
			a.text, a.origin = what[i+k+2:], schema.Origin_REMOTE_REPLY
		}
		return
	}
	switch {
	case strings.HasPrefix(words, "Connection refused"), strings.HasPrefix(words, "Connection timed out"),
		strings.HasPrefix(words, "No route to host"), strings.HasPrefix(words, "Network is unreachable"),
		strings.HasPrefix(words, "Host is unreachable"), strings.HasPrefix(words, "Connection reset by peer"),
		errno == 110, errno == 111, errno == 113: // ETIMEDOUT, ECONNREFUSED, EHOSTUNREACH of Linux
		a.phase = schema.Phase_CONNECT
	case strings.HasPrefix(words, "TLS "), strings.HasPrefix(words, "a TLS session is required"),
		strings.HasPrefix(words, "DANE "):
		a.phase = schema.Phase_TLS
	case strings.HasPrefix(words, "Unrouteable address"), strings.HasPrefix(words, "host lookup "),
		strings.HasPrefix(words, "all relevant MX records "), strings.HasPrefix(words, "lowest numbered MX record "),
		strings.HasPrefix(words, "an MX or SRV record "), strings.HasPrefix(words, "all host address lookups failed"),
		strings.HasPrefix(words, "remote host address is the local host"), strings.HasPrefix(words, "lookup of host "):
		a.phase = schema.Phase_DNS
	case strings.HasPrefix(words, "message too big for host"), strings.HasPrefix(words, "message is too big"):
		a.phase = schema.Phase_MAIL
	}
}

// eximCommand finds the command that a conversation stopped at, and whether a reply follows it.
func eximCommand(words string) (what string, reply, ok bool) {
	for _, f := range [...]struct {
		prefix string
		reply  bool
	}{
		{"SMTP error from remote mail server after ", true},
		{"SMTP error from remote mailer after ", true},
		{"LMTP error from remote mail server after ", true},
		{"LMTP error after ", true},
		{"Malformed SMTP reply in response to ", true},
		{"SMTP timeout after ", false},
		{"LMTP timeout after ", false},
		{"Remote host closed connection in response to ", false},
		{"lost connection after ", false},
	} {
		if what, ok = strings.CutPrefix(words, f.prefix); ok {
			return what, f.reply, true
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
