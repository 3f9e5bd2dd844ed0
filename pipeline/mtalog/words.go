package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// finding is what the text of a delivery line says.
type finding struct {
	phase     schema.Phase
	origin    schema.Origin
	suspended bool   // no attempt was made
	text      string // the remote reply alone, or the MTA's own words
	host      string // "H[IP]" or "H[IP]:25" as named in the words; empty if none is
	open      bool   // the words lack the end that Postfix would have written: the line was cut
}

// suspendedWords begin the text of a recipient whose destination is left alone for a while: qmgr hands it to error(8).
const suspendedWords = "delivery temporarily suspended: "

// readWords reads the text of a line whose status is not "sent". relayNone tells that no host was reached.
func readWords(text string, relayNone bool) finding {
	if rest, ok := strings.CutPrefix(text, suspendedWords); ok {
		f := readWords(rest, relayNone)
		return finding{
			phase: schema.Phase_QUEUE, origin: schema.Origin_LOCAL_MTA, suspended: true,
			text: text, host: f.host, open: f.open,
		}
	}
	f := finding{origin: schema.Origin_LOCAL_MTA, text: text}
	first, rest, _ := strings.Cut(text, " ")
	switch first {
	case "host":
		host, words, _ := strings.Cut(rest, " ")
		if reply, ok := strings.CutPrefix(words, "said: "); ok {
			f.host = host
			return answer(f, reply)
		}
		if reply, ok := strings.CutPrefix(words, "refused to talk to me: "); ok {
			// The greeting, or the answer to EHLO: src/smtp/smtp_proto.c has one text for both.
			f.phase, f.origin, f.text, f.host = schema.Phase_BANNER, schema.Origin_REMOTE_REPLY, reply, host
			return f
		}
	case "connect":
		if target, ok := strings.CutPrefix(rest, "to "); ok {
			f.phase = schema.Phase_CONNECT
			f.host, _, _ = strings.Cut(target, ": ")
			return f
		}
	case "conversation":
		if target, ok := strings.CutPrefix(rest, "with "); ok {
			var words string
			f.host, words, _ = strings.Cut(target, " ")
			f.phase = phaseWhile(strings.TrimPrefix(words, "timed out while "))
			return f
		}
	case "lost":
		if target, ok := strings.CutPrefix(rest, "connection with "); ok {
			var words string
			f.host, words, _ = strings.Cut(target, " ")
			f.phase = phaseWhile(strings.TrimPrefix(words, "while "))
			return f
		}
	case "TLS":
		f.phase = schema.Phase_TLS
		const refused = " refused to start TLS: "
		if target, ok := strings.CutPrefix(rest, "is required, but host "); ok {
			if host, reply, ok := strings.Cut(target, refused); ok {
				f.origin, f.text, f.host = schema.Origin_REMOTE_REPLY, reply, host
				return f
			}
		}
		if _, host, ok := strings.Cut(rest, "not offered by host "); ok {
			f.host = host
		}
		return f
	case "Protocol":
		// A 2yz or 3yz that does not belong there: src/smtp/smtp_trouble.c.
		if words, ok := strings.CutPrefix(rest, "error: "); ok {
			if g := readWords(words, relayNone); g.origin == schema.Origin_REMOTE_REPLY {
				return g
			}
		}
	case "SASL":
		f.phase = schema.Phase_AUTH
		if _, target, ok := strings.Cut(rest, "; server "); ok {
			if host, reply, ok := strings.Cut(target, " said: "); ok {
				f.origin, f.text, f.host = schema.Origin_REMOTE_REPLY, reply, host
			}
		}
		return f
	case "message":
		if _, host, ok := strings.Cut(rest, " of server "); ok {
			// Found before MAIL FROM, from the SIZE that the server announced. RFC 1870, section 6.
			f.phase, f.host = schema.Phase_MAIL, host
			return f
		}
	case "SMTPUTF8":
		f.phase = schema.Phase_EHLO
		if _, host, ok := strings.Cut(rest, "not offered by host "); ok {
			f.host = host
		}
		return f
	case "Sender":
		// RFC 8689; Postfix 3.11 has the same words as behind "TLS is required".
		if words, ok := strings.CutPrefix(rest, "requested REQUIRETLS, but "); ok {
			f.phase = schema.Phase_TLS
			if host, reply, ok := strings.Cut(strings.TrimPrefix(words, "host "), " refused to start TLS: "); ok {
				f.origin, f.text, f.host = schema.Origin_REMOTE_REPLY, reply, host
			} else if _, host, ok := strings.Cut(words, "not offered by host "); ok {
				f.host = host
			} else {
				f.host = lastServer(words)
			}
			return f
		}
	}
	f.phase, f.host = ownPhase(text, relayNone), ownHost(text)
	return f
}

// lastServer returns the host at the end of words that are about all hosts of a destination.
func lastServer(text string) string {
	_, host, _ := strings.Cut(text, " The last attempted server was ")
	return host
}

// ownHost returns the host that words of Postfix's own are about, empty if they name none. What could not be looked up
// by address is a host; what has no MX is a domain.
func ownHost(text string) string {
	const dns, tlsa = "Name service error for name=", "TLSA lookup error for "
	if k := strings.Index(text, dns); k >= 0 && k <= len("Host or domain name not found. ") {
		if host, words, ok := strings.Cut(text[k+len(dns):], " "); ok && (strings.HasPrefix(words, "type=A:") || strings.HasPrefix(words, "type=AAAA:")) {
			return host
		}
		return ""
	}
	if host, ok := strings.CutPrefix(text, tlsa); ok {
		return host
	}
	return lastServer(text)
}

// answer reads "said: REPLY (in reply to C command)". The remote may have written the same words; Postfix's are last.
func answer(f finding, reply string) finding {
	f.origin = schema.Origin_REMOTE_REPLY
	const inReply = " (in reply to "
	k := strings.LastIndex(reply, inReply)
	if k < 0 || !strings.HasSuffix(reply, ")") {
		f.text, f.open = reply, true
		return f
	}
	f.text = reply[:k]
	f.phase = phaseOf(reply[k+len(inReply):])
	return f
}

// phaseOf maps the command named in "in reply to": src/smtp/smtp_proto.c, xfer_request.
func phaseOf(command string) schema.Phase {
	switch {
	case strings.HasPrefix(command, "RCPT TO"):
		return schema.Phase_RCPT
	case strings.HasPrefix(command, "end of DATA"):
		return schema.Phase_EOM
	case strings.HasPrefix(command, "MAIL FROM"):
		return schema.Phase_MAIL
	case strings.HasPrefix(command, "DATA"), strings.HasPrefix(command, "message body"):
		return schema.Phase_DATA
	case strings.HasPrefix(command, "EHLO"), strings.HasPrefix(command, "HELO"), strings.HasPrefix(command, "LHLO"),
		strings.HasPrefix(command, "XFORWARD"):
		return schema.Phase_EHLO
	case strings.HasPrefix(command, "STARTTLS"):
		return schema.Phase_TLS
	case strings.HasPrefix(command, "AUTH"):
		return schema.Phase_AUTH
	case strings.HasPrefix(command, "QUIT"), strings.HasPrefix(command, "final RSET"):
		return schema.Phase_QUIT
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// phaseWhile maps what went on when a conversation broke: src/smtp/smtp_proto.c, xfer_states.
func phaseWhile(words string) schema.Phase {
	if strings.HasPrefix(words, "receiving the initial server greeting") {
		return schema.Phase_BANNER
	}
	verb, what, _ := strings.Cut(words, " ")
	what = strings.TrimPrefix(what, "the ")
	switch verb {
	case "sending":
		if strings.HasPrefix(what, "end of data") {
			return schema.Phase_EOM
		}
		return phaseOf(what)
	case "performing", "negotiating", "receiving":
		switch {
		case strings.Contains(what, "TLS"):
			return schema.Phase_TLS
		case strings.Contains(what, "SASL"), strings.Contains(what, "AUTH"), strings.Contains(what, "authentication"):
			return schema.Phase_AUTH
		}
		return phaseOf(what)
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// ownPhase judges words of Postfix's own that name no command. Texts of local, virtual and pipe (relayNone is false) come
// from no conversation and have no phase.
func ownPhase(text string, relayNone bool) schema.Phase {
	switch {
	case strings.HasPrefix(text, "Host or domain name not found."),
		strings.HasPrefix(text, "Name service error"),
		strings.HasPrefix(text, "unable to look up host "),
		strings.HasPrefix(text, "Unable to look up "),
		strings.HasPrefix(text, "unable to find primary relay for "),
		strings.HasPrefix(text, "Name server loop for "),
		strings.HasPrefix(text, "no MX host for "),
		strings.HasPrefix(text, "no SRV host for "),
		strings.HasSuffix(text, ": host not found"),
		strings.HasPrefix(text, "Domain ") && strings.Contains(text, "(nullMX"): // RFC 7505
		return schema.Phase_DNS
	case strings.HasPrefix(text, "mail for ") && strings.HasSuffix(text, " loops back to myself"):
		if relayNone {
			return schema.Phase_DNS
		}
		return schema.Phase_EHLO // the server's name for itself is ours
	case strings.HasPrefix(text, "message requires SMTPUTF8"): // Postfix 3.11
		return schema.Phase_EHLO
	case strings.HasPrefix(text, "Cannot start TLS"),
		strings.HasPrefix(text, "Server certificate "),
		strings.HasPrefix(text, "TLSA lookup error"),
		strings.HasPrefix(text, "client TLS configuration problem"),
		strings.HasPrefix(text, "REQUIRETLS "),
		strings.HasPrefix(text, "MX name ") && strings.Contains(text, " STS MX pattern "), // RFC 8461
		strings.HasPrefix(text, "no TLSA records found"),
		strings.HasPrefix(text, "non DNSSEC destination"):
		return schema.Phase_TLS
	case relayNone:
		return schema.Phase_QUEUE // error(8), qmgr: "mail transport unavailable", "bad address syntax", transport maps
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// splitHost takes "H", "H:25", "H[IP]", "H[IP]:25" or "H[PATH]" apart; ip is empty for a socket's path.
func splitHost(s string) (host, ip string) {
	host, rest, ok := strings.Cut(s, "[")
	if !ok {
		host, _, _ = strings.Cut(s, ":")
		return host, ""
	}
	ip, _, ok = strings.Cut(rest, "]")
	if !ok || strings.IndexByte(ip, '/') >= 0 {
		return host, ""
	}
	return host, ip
}

// spokenBy tells whether an enhanced code that does not begin the reply stands in it all the same, right behind a basic
// code: in another of several lines, or behind a line that was no reply at all.
func spokenBy(reply, dsn string) bool {
	const basic = len("550 ")
	for from := 0; ; {
		k := strings.Index(reply[from:], dsn)
		if k < 0 {
			return false
		}
		at := from + k
		from = at + 1
		if at < basic || (at > basic && reply[at-basic-1]-'0' <= 9) {
			continue
		}
		if code, enhanced := smtpreply.Codes(reply[at-basic:]); code != 0 && enhanced == dsn {
			return true
		}
	}
}
