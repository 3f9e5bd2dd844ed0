package lmtp

import (
	"strings"
	"unicode/utf8"
)

// maxAddressBytes bounds an address. RFC 5321, section 4.5.3.1.3 asks for 256 octets; return paths that carry another
// address (VERP) are longer.
const maxAddressBytes = 512

// cutPath splits an argument after its keyword into the address between angle brackets and what follows. A source route is
// dropped: RFC 5321, section 4.1.2. Not ok: there are no angle brackets.
func cutPath(arg, keyword string) (address, rest string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	s := strings.TrimLeft(arg[len(keyword):], " ") // not allowed, and often seen
	if s == "" || s[0] != '<' {
		return "", "", false
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == '>' && !quoted:
			address, rest = s[1:i], s[i+1:]
			if rest != "" && rest[0] != ' ' {
				return "", "", false
			}
			if strings.HasPrefix(address, "@") {
				if _, after, found := strings.Cut(address, ":"); found {
					address = after
				}
			}
			return address, rest, true
		}
	}
	return "", "", false
}

// validAddress reports whether an address can be told apart from others where it is kept: local-part@domain, valid UTF-8
// without control characters. The local part may be quoted and hold anything else.
func validAddress(address string) bool {
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || at == len(address)-1 || len(address) > maxAddressBytes || !utf8.ValidString(address) {
		return false
	}
	for _, c := range []byte(address) {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return !strings.ContainsAny(address[at+1:], " \"<>")
}
