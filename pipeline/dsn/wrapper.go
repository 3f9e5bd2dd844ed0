package dsn

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// steps name a phase of the SMTP dialogue (RFC 5321, section 3) in the words of reporting servers. The first that occurs wins; a command is
// a word of its own.
var steps = [...]struct {
	words string
	phase schema.Phase
}{
	{"end of data", schema.Phase_EOM},
	{"final data", schema.Phase_EOM},
	{"end-of-data", schema.Phase_EOM},
	{"sending message body", schema.Phase_EOM},
	{"failed after i sent the message", schema.Phase_EOM},
	{"text command", schema.Phase_EOM},
	{"rcpt", schema.Phase_RCPT},
	{"does not like recipient", schema.Phase_RCPT},
	{"mail from", schema.Phase_MAIL},
	{"does not like sender", schema.Phase_MAIL},
	{"data command", schema.Phase_DATA},
	{"after data", schema.Phase_DATA},
	{"our data", schema.Phase_DATA},
	{"sending data", schema.Phase_DATA},
	{"smtp data", schema.Phase_DATA},
	{"starttls", schema.Phase_TLS},
	{"tls handshake", schema.Phase_TLS},
	{"start tls", schema.Phase_TLS},
	{"tls is required", schema.Phase_TLS},
	{"certificate not", schema.Phase_TLS},
	{"ehlo", schema.Phase_EHLO},
	{"helo", schema.Phase_EHLO},
	{"my name was rejected", schema.Phase_EHLO},
	{"initial connection", schema.Phase_BANNER},
	{"server greeting", schema.Phase_BANNER},
	{"refused to talk to me", schema.Phase_BANNER},
	{"did not like our connect", schema.Phase_BANNER},
	{"host not found", schema.Phase_DNS},
	{"name service", schema.Phase_DNS},
	{"name server", schema.Phase_DNS},
	{"couldn't find any host", schema.Phase_DNS},
	{"host unknown", schema.Phase_DNS},
	{"domain name not found", schema.Phase_DNS},
	{"domain not found", schema.Phase_DNS},
	{"dns error", schema.Phase_DNS},
	{"unrouteable", schema.Phase_DNS},
	{"connection refused", schema.Phase_CONNECT},
	{"connection timed out", schema.Phase_CONNECT},
	{"no route to host", schema.Phase_CONNECT},
	{"network is unreachable", schema.Phase_CONNECT},
	{"establish an smtp connection", schema.Phase_CONNECT},
	{"did not accept our requests to connect", schema.Phase_CONNECT},
	{"retry timeout", schema.Phase_QUEUE},
	{"too long in the queue", schema.Phase_QUEUE},
	{"in the queue too long", schema.Phase_QUEUE},
	{"envelope expired", schema.Phase_QUEUE},
	{"message expired", schema.Phase_QUEUE},
}

func phaseIn(low string) schema.Phase {
	for i := range steps {
		words := steps[i].words
		if at := strings.Index(low, words); at >= 0 && (len(words) > 4 || holdsWord(low, words)) {
			return steps[i].phase
		}
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// holdsWord reports whether s holds the word, as "rcpt to" does and "?p=badrcptdomain" does not.
func holdsWord(s, word string) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], word)
		if i < 0 {
			return false
		}
		at += i + len(word)
		before := at - len(word) - 1
		if (before < 0 || !wordByte(s[before])) && (at == len(s) || !wordByte(s[at])) {
			return true
		}
	}
}

// hostIn finds the remote host in a wrapper. low is the wrapper in lower case.
func hostIn(s, low string) string {
	if len(low) != len(s) { // a few capitals change their length
		s = low
	}
	for _, mark := range [...]string{"while talking to ", "host ", "host: ", "connect to ", "connected to ", "giving up on ", "remote server (", "server at ", "smtp server <", "timed out with ", "refused by ", "read error from ", "conversation with ", "connection with "} {
		for at := 0; ; {
			i := strings.Index(low[at:], mark)
			if i < 0 {
				break
			}
			at += i + len(mark)
			if at > len(mark) && wordByte(low[at-len(mark)-1]) {
				continue // the mark is the end of a word
			}
			if h := leadingHost(s[at:]); h != "" {
				return h
			}
		}
	}
	if h := leadingName(s); h != "" {
		return h
	}
	// Gmail: by mx.example.net. [192.0.2.1]
	for at := 0; ; {
		i := strings.Index(low[at:], " by ")
		if i < 0 {
			break
		}
		at += i + 4
		if h := leadingHost(s[at:]); h != "" && strings.HasPrefix(strings.TrimPrefix(s[at+len(h):], "."), " [") {
			return h
		}
	}
	for _, mark := range [...]string{" did not like our ", " does not like ", " refused to talk to me", " failed after i sent "} {
		if i := strings.Index(low, mark); i > 0 {
			words := strings.Fields(s[:i])
			if n := len(words); n > 1 && words[n-1][0] == '[' {
				words = words[:n-1]
			}
			if len(words) > 0 {
				if h := leadingHost(words[len(words)-1]); h != "" {
					return h
				}
			}
		}
	}
	return ""
}

// leadingName returns the host that a wrapper begins with: "mx.example.net #", "mx.example.net [192.0.2.1]:", "mx.example.net Remote
// Server returned".
func leadingName(s string) string {
	first := firstWord(s)
	h := leadingHost(first)
	if h == "" || strings.IndexByte(first, '@') >= 0 || len(first) > len(h)+1 {
		return ""
	}
	rest := strings.TrimLeft(s[len(first):], " ")
	if strings.HasPrefix(rest, "[") || strings.HasPrefix(rest, "#") || strings.HasPrefix(rest, "(") || strings.HasPrefix(rest, "Remote Server") {
		return h
	}
	return ""
}

// leadingHost returns the host name or address that s begins with: it holds a dot or a colon.
func leadingHost(s string) string {
	s = strings.TrimLeft(s, "<[ ")
	end := 0
	for end < len(s) && (wordByte(s[end]) || strings.IndexByte(".-_:", s[end]) >= 0) {
		end++
	}
	h := strings.TrimRight(s[:end], ".:-")
	if strings.IndexByte(h, '.') <= 0 && strings.Count(h, ":") < 2 {
		return ""
	}
	return h
}

func wordByte(c byte) bool {
	c |= 0x20
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
}

// enhancedIn finds an enhanced code in brackets, behind a hash, a colon or a basic code: (#5.1.1), [5.7.1], #5.4.4, CODE:5.2.1, 550 5.1.1. A
// bare number with dots in running text may be anything.
func enhancedIn(s string) string {
	for i := 0; i+5 < len(s); i++ {
		rest := s[i+1:]
		switch c := s[i]; {
		case c == '#' || c == '(' || c == '[' || c == ':':
			for len(rest) > 0 && len(s)-len(rest) < i+4 && (rest[0] == '#' || rest[0] == ' ') {
				rest = rest[1:]
			}
		case c == ' ' && i >= 3 && (s[i-3] == '4' || s[i-3] == '5') && isNumber(s[i-3:i]):
		default:
			continue
		}
		end := 0
		for end < len(rest) && end < 10 && (rest[end] == '.' || '0' <= rest[end] && rest[end] <= '9') {
			end++
		}
		if code := strings.TrimRight(rest[:end], "."); smtpreply.ValidEnhanced(code) {
			return code
		}
	}
	return ""
}
