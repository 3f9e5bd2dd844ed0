package dsn

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"carom.dev/carom/pipeline/address"
)

// typed takes the type off a field of RFC 3464, section 2.1.2: "rfc822; a@b" gives "rfc822" and "a@b". A value without a
// type is returned whole.
func typed(s string) (kind, value string) {
	kind, value, found := strings.Cut(s, ";")
	kind = strings.TrimSpace(kind)
	if !found || kind == "" || !letter(kind[0]) || strings.ContainsAny(kind, " @<:[\"") {
		return "", strings.Trim(s, "; \t")
	}
	return strings.ToLower(kind), strings.Trim(value, "; \t")
}

func letter(c byte) bool { return 'a' <= lower(c) && lower(c) <= 'z' }

// fieldAddress reads a recipient field: its type, comments, angle brackets and source route (RFC 5321, appendix C) are dropped, escapes
// of RFC 6533 are undone.
func fieldAddress(s string) string {
	kind, s := typed(s)
	if strings.IndexByte(s, '(') >= 0 {
		s = withoutComments(s)
	}
	if open, end := strings.LastIndexByte(s, '<'), strings.LastIndexByte(s, '>'); open >= 0 && end > open {
		s = s[open+1 : end]
	}
	s = strings.Trim(s, "<> \t")
	// QUIRK: "rfc822;rfc822; a@b" and "smtp:a@b"
	if i := strings.LastIndexAny(s, ";"); i >= 0 && strings.IndexByte(s[i:], '@') > 0 {
		s = strings.TrimSpace(s[i+1:])
	}
	if len(s) > 5 && strings.EqualFold(s[:5], "smtp:") {
		s = s[5:]
	}
	if strings.HasPrefix(s, "@") {
		if route, rest, found := strings.Cut(s, ":"); found && strings.IndexByte(route, '"') < 0 && strings.IndexByte(rest, '@') > 0 {
			s = rest
		}
	}
	if kind == "utf-8" || strings.Contains(s, `\x{`) {
		s = decodeUnitext(s)
	}
	// QUIRK: ORCPT put into the report without undoing its xtext (RFC 3461, section 4): the address has no @.
	if strings.IndexByte(s, '@') < 0 && strings.Contains(s, "+40") {
		s = decodeXtext(s)
	}
	return s
}

// withoutComments drops comments (RFC 5322, section 3.2.2), which nest, and what an unclosed one leaves open. Quoted strings are kept.
func withoutComments(s string) string {
	var out strings.Builder
	depth, inQuotes := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\\' && i+1 < len(s):
			if depth == 0 {
				out.WriteString(s[i : i+2])
			}
			i++
			continue
		case c == '"' && depth == 0:
			inQuotes = !inQuotes
		case c == '(' && !inQuotes:
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			out.WriteByte(c)
		}
	}
	return strings.TrimSpace(out.String())
}

// decodeUnitext undoes \x{HEX} of utf-8-addr-xtext and utf-8-addr-unitext. RFC 6533, section 3.
func decodeUnitext(s string) string {
	var out strings.Builder
	for {
		i := strings.Index(s, `\x{`)
		if i < 0 {
			break
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			break
		}
		out.WriteString(s[:i])
		if r, err := strconv.ParseUint(s[i+3:i+end], 16, 32); err == nil && utf8.ValidRune(rune(r)) && r <= utf8.MaxRune {
			out.WriteRune(rune(r))
		} else {
			out.WriteString(s[i : i+end+1])
		}
		s = s[i+end+1:]
	}
	out.WriteString(s)
	return out.String()
}

// decodeXtext undoes +HH. RFC 3461, section 4.
func decodeXtext(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			if hi, lo := unhex(s[i+1]), unhex(s[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// plausible reports whether s can be an address in running text: one @, a domain with a dot or an address literal, no blanks outside
// quotes.
func plausible(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || at > 256 || len(s) > address.MaxBytes || at+1 >= len(s) {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if local[0] != '"' && strings.ContainsAny(local, " \t<>()[],;:@\\\"") {
		return false
	}
	if domain[0] == '[' {
		return strings.HasSuffix(domain, "]")
	}
	dot := false
	for i := 0; i < len(domain); i++ {
		c := domain[i]
		switch {
		case c == '.':
			if i == 0 || i+1 == len(domain) || domain[i-1] == '.' {
				return false
			}
			dot = true
		case c >= 0x80, c == '-', c == '_', '0' <= c && c <= '9', 'a' <= lower(c) && lower(c) <= 'z':
		default:
			return false
		}
	}
	return dot
}

// same compares addresses: case matters in neither half, as everywhere in this project.
func same(a, b string) bool { return strings.EqualFold(a, b) }

// firstAddress returns the first address of a header such as To or From; several tells that there are more.
func firstAddress(s string) (addr string, several bool) {
	for s != "" {
		item := s
		end := itemEnd(s)
		item, s = s[:end], strings.TrimLeft(s[end:], ", ;")
		if open := strings.LastIndexByte(item, '<'); open >= 0 {
			item, _, _ = strings.Cut(item[open+1:], ">")
		} else if open := strings.IndexByte(item, '('); open > 0 {
			item = item[:open]
		}
		if item = strings.TrimSpace(item); plausible(item) {
			if addr != "" {
				return addr, true
			}
			addr = item
		}
	}
	return addr, false
}

// itemEnd returns where the first item of a list of addresses ends: a comma outside quotes and brackets.
func itemEnd(s string) int {
	inQuotes, inAngle := false, false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			inQuotes = !inQuotes
		case '<':
			inAngle = !inQuotes
		case '>':
			inAngle = false
		case ',':
			if !inQuotes && !inAngle {
				return i
			}
		}
	}
	return len(s)
}

// fromVERP returns the recipient that a variable envelope return path names: user+rcpt=domain@sender (Postfix's XVERP) and
// bounces+123-rcpt=domain@sender. Where a prefix could be part of the recipient, one of the known addresses decides.
//
// SRS and BATV (prvs=) look alike and name the sender, not the recipient.
func fromVERP(path string, known []string) string {
	at := strings.LastIndexByte(path, '@')
	if at < 0 {
		return ""
	}
	local := path[:at]
	if len(local) > 5 && (strings.EqualFold(local[:3], "srs") || strings.EqualFold(local[:5], "prvs=") || strings.EqualFold(local[:5], "btv1=")) {
		return ""
	}
	eq := strings.LastIndexByte(local, '=')
	if eq <= 0 {
		return ""
	}
	who, domain := local[:eq], local[eq+1:]
	if !plausible("x@" + domain) {
		return ""
	}
	for _, k := range known {
		if i := strings.LastIndexByte(k, '@'); i > 0 && strings.EqualFold(k[i+1:], domain) && len(who) >= i && strings.EqualFold(who[len(who)-i:], k[:i]) &&
			(len(who) == i || strings.IndexByte("+-.=_", who[len(who)-i-1]) >= 0) {
			return who[len(who)-i:] + "@" + domain
		}
	}
	if who = withoutPrefix(who); who == "" {
		return ""
	}
	if addr := who + "@" + domain; plausible(addr) {
		return addr
	}
	return ""
}

// withoutPrefix takes the sender's own marks off the front of a return path: everything up to a plus, then up to a number between
// hyphens, or one of the usual words. It returns "" where a hyphen may belong to the recipient as well: no attribution is
// better than a wrong one.
func withoutPrefix(who string) string {
	if _, rest, found := strings.Cut(who, "+"); found {
		if number, rest, found := strings.Cut(rest, "-"); found && isNumber(number) {
			return rest
		}
		return rest
	}
	words := strings.Split(who, "-")
	for i := len(words) - 2; i > 0; i-- {
		if isNumber(words[i]) {
			return strings.Join(words[i+1:], "-")
		}
	}
	switch {
	case len(words) == 1:
		return who
	case len(words) == 2:
		switch strings.ToLower(words[0]) {
		case "bounce", "bounces", "return", "returns", "errors", "verp", "b":
			return words[1]
		}
	}
	return ""
}

func isNumber(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
