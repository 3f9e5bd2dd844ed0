// Package address turns a recipient address as an MTA logged it into the identity under which Carom keeps its history:
// domain in lower case and as IDNA A-labels (RFC 5890, section 2.3.2.1), local part in lower case. RFC 5321, section
// 2.4 calls local parts case-sensitive; no large provider treats them so, and one person must not have two histories.
//
// Provider habits (dots and tags in Gmail names) are left alone: they are different addresses to the sender's list.
// Everything here is a pure function of its input and safe for concurrent use.
package address

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// MaxBytes bounds an address. RFC 5321, section 4.5.3.1 allows 64 octets of local part and 255 of domain; some real
// local parts (VERP, EAI) are longer, so only the sum is held.
const MaxBytes = 64 + 1 + 255

// Reasons for which an address is refused; match them with errors.Is.
var (
	ErrTooLong = errors.New("address is longer than 320 bytes")
	ErrSyntax  = errors.New("address is not local-part@domain")
)

// Address is a normalised address. The zero value is no address.
type Address struct {
	Local  string // lower case; quoted only where the quotes mean something
	Domain string // lower case, A-labels; or an address literal in brackets
}

// String returns local@domain.
func (a Address) String() string { return a.Local + "@" + a.Domain }

// Normalize reads an address with or without angle brackets. It does not allocate for plain lower-case ASCII without
// quotes: the parts are then substrings of addr. Normalising a normalised address changes nothing.
//
// Errors wrap ErrTooLong or ErrSyntax and never contain the address, which may be hostile or private.
func Normalize(addr string) (Address, error) {
	if len(addr) > MaxBytes+2 {
		return Address{}, fmt.Errorf("normalize address of %d bytes: %w", len(addr), ErrTooLong)
	}
	if n := len(addr); n > 1 && addr[0] == '<' && addr[n-1] == '>' {
		addr = addr[1 : n-1]
	}
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || at == len(addr)-1 || control(addr) {
		return Address{}, fmt.Errorf("normalize address: %w", ErrSyntax)
	}
	a := Address{Local: normalizeLocal(addr[:at]), Domain: NormalizeDomain(addr[at+1:])}
	if a.Local == "" || a.Domain == "" {
		return Address{}, fmt.Errorf("normalize address: %w", ErrSyntax)
	}
	if len(a.Local)+1+len(a.Domain) > MaxBytes {
		return Address{}, fmt.Errorf("normalize address: %w", ErrTooLong)
	}
	return a, nil
}

// NormalizeDomain returns the domain in lower case, without the root's dot, its labels as A-labels (IDNA lookup profile,
// RFC 5891, section 5). What IDNA refuses - underscores, address literals, broken labels - is lower-cased only. It does
// not allocate for lower-case ASCII. Domains longer than MaxBytes are not converted.
func NormalizeDomain(domain string) string {
	for domain != "" && domain[len(domain)-1] == '.' {
		domain = domain[:len(domain)-1]
	}
	lower, ascii := true, true
	for i := 0; i < len(domain); i++ {
		c := domain[i]
		if c >= utf8.RuneSelf {
			ascii = false
		}
		if c-'A' <= 'Z'-'A' {
			lower = false
		}
	}
	if !ascii && len(domain) <= MaxBytes {
		if a, err := idna.Lookup.ToASCII(domain); err == nil && a != "" {
			return a
		}
	}
	if lower && ascii {
		return domain
	}
	return toLower(domain)
}

// normalizeLocal lower-cases and takes off quotes that change nothing: Postfix logs john..doe@example.com, an address
// that lists hold without quotes, as "john..doe"@example.com (RFC 5321, section 4.1.2 wants a quoted-string there).
func normalizeLocal(local string) string {
	if n := len(local); n > 2 && local[0] == '"' && local[n-1] == '"' && plain(local[1:n-1]) {
		local = local[1 : n-1]
	}
	for i := 0; i < len(local); i++ {
		if c := local[i]; c >= utf8.RuneSelf || c-'A' <= 'Z'-'A' {
			return toLower(local)
		}
	}
	return local
}

// control reports whether s holds a control character, which no address may (RFC 5321, section 4.1.2) and which would
// let a clear key look like a digest.
func control(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// toLower lower-cases; text that is not UTF-8 keeps its bytes, because mapping them to the replacement character would
// make one identity of many addresses.
func toLower(s string) string {
	if utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	b := []byte(s)
	for i, c := range b {
		if c-'A' <= 'Z'-'A' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// plain reports whether s holds nothing but atext (RFC 5322, section 3.2.3; RFC 6532 for what is not ASCII) and dots.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c|0x20-'a' <= 'z'-'a' || c-'0' <= 9 || c >= utf8.RuneSelf {
			continue
		}
		if strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
	}
	return true
}

// Mask returns the address for people who need not know it: "r***@example.com". What is no address becomes "***".
func Mask(addr string) string {
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "<"), ">")
	at := strings.LastIndexByte(addr, '@')
	if at <= 0 || at == len(addr)-1 || len(addr) > MaxBytes {
		return "***"
	}
	r, size := utf8.DecodeRuneInString(addr)
	if r == utf8.RuneError || r == '"' {
		return "***" + strings.ToValidUTF8(addr[at:], "\uFFFD")
	}
	return addr[:size] + "***" + strings.ToValidUTF8(addr[at:], "\uFFFD")
}
