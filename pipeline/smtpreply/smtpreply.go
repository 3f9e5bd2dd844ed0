// Package smtpreply reads an SMTP reply (RFC 5321, section 4.2) as it is found in mail logs and delivery status
// notifications: after the MTA has joined the lines of a multi-line reply in its own way, and often with the sloppy
// forms that servers send.
//
// It finds the reply code, the enhanced status code (RFC 3463) and the words. It does not judge them: a code that
// contradicts the words, or an enhanced code of another class than the basic code, is returned as it stands.
package smtpreply

import "strings"

// Reply is a reply taken apart. The zero value is a reply that said nothing.
type Reply struct {
	// Code is the basic reply code, 200 to 599; 0 if the text does not begin with one.
	Code int
	// Enhanced is the enhanced status code, "5.1.1"; empty if none follows the basic code, or begins the text where
	// there is no basic code.
	Enhanced string
	// Text is what follows the codes, the lines joined by one blank and without the codes that each line repeats. It is
	// a substring of the input unless lines had to be joined.
	Text string
}

// Parse reads a reply. It never fails: what cannot be read as a code stays in Text. It does not allocate unless lines
// have to be joined.
//
// Lines may be joined by CRLF, LF or CR, by their escapes \r\n and \n (Exim) and #015#012 (syslogd), by a blank (Postfix)
// or by nothing (OpenSMTPD). The last two leave no mark, so there only the repeated code tells where a line begins, and it
// is looked for only after a first line that announced a continuation with "550-" (RFC 5321, section 4.2.1).
func Parse(s string) Reply {
	s = trim(s)
	code, rest, more := cutCode(s)
	r := Reply{Code: code}
	r.Enhanced, rest = cutEnhanced(rest)
	prefix := ""
	if code != 0 {
		prefix = s[:3]
	}
	r.Text = fold(rest, prefix, r.Enhanced, more)
	return r
}

// ValidEnhanced reports whether s is an enhanced status code: class 2, 4 or 5, subject and detail of one to three digits
// without leading zeros. RFC 3463, section 2.
func ValidEnhanced(s string) bool {
	return enhancedLen(s) == len(s) && s != ""
}

// cutCode takes the basic code from the front. more tells that the code ended in a hyphen: further lines follow.
func cutCode(s string) (code int, rest string, more bool) {
	if len(s) < 3 || s[0] < '2' || s[0] > '5' || !digit(s[1]) || !digit(s[2]) {
		return 0, s, false
	}
	code = int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0')
	rest = s[3:]
	if rest == "" {
		return code, rest, false
	}
	switch c := rest[0]; {
	case c == '-':
		return code, rest[1:], true
	case c == '.':
		return 0, s, false // QUIRK: "250.10.1.1 is listed" begins with an address, not with a code.
	case digit(c):
		// QUIRK: "5505.1.1 unknown" lacks the blank; "55012" is a number.
		if enhancedLen(rest) == 0 {
			return 0, s, false
		}
	}
	return code, rest, false
}

// cutEnhanced takes an enhanced code from the front of what follows the basic code, with blanks before it and in the
// forms that are seen in the wild: 5.1.1 | #5.1.1 | (5.1.1) | (#5.1.1) | [5.1.1].
func cutEnhanced(s string) (enhanced, rest string) {
	t := strings.TrimLeft(s, " \t")
	var closing byte
	if t != "" && (t[0] == '(' || t[0] == '[') {
		closing = t[0] + 1
		if t[0] == '[' {
			closing = ']'
		}
		t = t[1:]
	}
	if t != "" && t[0] == '#' {
		t = t[1:]
	}
	n := enhancedLen(t)
	if n == 0 {
		return "", s
	}
	enhanced, t = t[:n], t[n:]
	if closing != 0 {
		if t == "" || t[0] != closing {
			return "", s // the bracket holds more than the code: it belongs to the words
		}
		t = t[1:]
	}
	return enhanced, t
}

// enhancedLen returns the length of the enhanced code that s begins with, or 0. A fourth number behind it makes it an IP
// address or a version, not a code.
func enhancedLen(s string) int {
	if len(s) < 5 || s[1] != '.' || (s[0] != '2' && s[0] != '4' && s[0] != '5') {
		return 0
	}
	n := number(s[2:])
	if n == 0 || len(s) < 2+n+2 || s[2+n] != '.' {
		return 0
	}
	i := 2 + n + 1
	n = number(s[i:])
	if n == 0 {
		return 0
	}
	i += n
	if i+1 < len(s) && s[i] == '.' && digit(s[i+1]) {
		return 0
	}
	return i
}

// number returns the length of the number of one to three digits, without a leading zero, that s begins with, or 0.
func number(s string) int {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	if n == 0 || n > 3 || (n > 1 && s[0] == '0') {
		return 0
	}
	return n
}

func digit(c byte) bool { return c-'0' <= 9 }

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trim(s string) string {
	for s != "" && blank(s[0]) {
		s = s[1:]
	}
	for s != "" && blank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// Codes returns the codes that Parse would find, without the words. It never allocates.
func Codes(s string) (code int, enhanced string) {
	code, rest, _ := cutCode(trim(s))
	enhanced, _ = cutEnhanced(rest)
	return code, enhanced
}
