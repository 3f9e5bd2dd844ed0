package survey

import (
	"strings"

	"carom.dev/carom/pipeline/address"
)

// masker hides local parts; its zero value shows everything.
type masker struct{ hide bool }

func (m masker) address(a string) string {
	if !m.hide {
		return a
	}
	return address.Mask(a)
}

// minLocal is the shortest local part that is looked for in a reply on its own: shorter ones are parts of ordinary words.
const minLocal = 4

// text hides what looks like an address in words from a log, also percent-encoded in links, and the recipient's local part on
// its own ("user jane.doe unknown").
func (m masker) text(s, recipient string) string {
	if !m.hide {
		return s
	}
	var b strings.Builder
	for {
		at, size := nextAt(s)
		if at < 0 {
			break
		}
		start, end := localStart(s[:at], size > 1), at+size+domainLength(s[at+size:])
		if start == at || end == at+size { // no address
			b.WriteString(s[:at+size])
			s = s[at+size:]
			continue
		}
		b.WriteString(s[:start])
		b.WriteString(address.Mask(s[start:at] + "@" + s[at+size:end]))
		s = s[end:]
	}
	b.WriteString(s)
	local := recipient[:max(strings.LastIndexByte(recipient, '@'), 0)]
	if len(local) < minLocal {
		return b.String()
	}
	return maskWord(b.String(), local)
}

// nextAt finds the next "@" or "%40".
func nextAt(s string) (at, size int) {
	at, size = strings.IndexByte(s, '@'), 1
	if i := strings.Index(s, "%40"); i >= 0 && (at < 0 || i < at) {
		at, size = i, len("%40")
	}
	return at, size
}

// localStart returns where the local part that ends s begins. Within a link (RFC 3986) its delimiters end it, too; elsewhere they
// belong to it, as in bounce+jane=example.com@.
func localStart(s string, link bool) int {
	if n := len(s); n > 1 && s[n-1] == '"' { // RFC 5321, section 4.1.2: Quoted-string
		if i := strings.LastIndexByte(s[:n-1], '"'); i >= 0 {
			return i
		}
	}
	for i := len(s); i > 0; i-- {
		c := s[i-1]
		switch {
		case c <= ' ', strings.IndexByte(`<>()[]:;,"\`, c) >= 0, link && strings.IndexByte("=&?/", c) >= 0:
			return i
		}
	}
	return 0
}

func domainLength(s string) int {
	n := 0
	for n < len(s) && (isLetterOrDigit(s[n]) || s[n] == '.' || s[n] == '-') {
		n++
	}
	return len(strings.TrimRight(s[:n], ".-"))
}

// maskWord replaces word where it stands alone, in any case of ASCII letters.
func maskWord(s, word string) string {
	lower, word := asciiLower(s), asciiLower(word)
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(lower[from:], word)
		if i < 0 {
			b.WriteString(s[from:])
			return b.String()
		}
		start, end := from+i, from+i+len(word)
		b.WriteString(s[from:start])
		if (start == 0 || !isLetterOrDigit(s[start-1])) && (end == len(s) || !isLetterOrDigit(s[end])) {
			b.WriteString("***")
		} else {
			b.WriteString(s[start:end])
		}
		from = end
	}
}

// asciiLower keeps the length of s, which strings.ToLower need not.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func isLetterOrDigit(c byte) bool {
	return c-'0' <= 9 || c|0x20-'a' <= 'z'-'a' || c >= 0x80
}
