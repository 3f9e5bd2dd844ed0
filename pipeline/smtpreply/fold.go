package smtpreply

import "strings"

// fold joins the lines in s, the text behind the codes of the first line. code is the three digits of the reply or
// empty, enhanced its enhanced code or empty, and more tells that the server announced further lines.
func fold(s, code, enhanced string, more bool) string {
	from, next, last := lineEnd(s, code, enhanced, more)
	if from < 0 {
		return trim(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for {
		join(&b, s[:from])
		s = s[next:]
		if last {
			more = false
		}
		if from, next, last = lineEnd(s, code, enhanced, more); from < 0 {
			join(&b, s)
			return b.String()
		}
	}
}

func join(b *strings.Builder, line string) {
	line = trim(line)
	if line == "" {
		return
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(line)
}

// lineEnd finds where the first line in s ends (from) and where the words of the next line begin (next), behind the
// repeated codes. last tells that the next line is marked as the last one. from is -1 if s is one line.
func lineEnd(s, code, enhanced string, more bool) (from, next int, last bool) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '\n' || c == '\r' || c == '#' || c == '\\':
			n := newline(s[i:])
			if n == 0 {
				continue
			}
			k, final := repeated(s[i+n:], code, enhanced)
			if c == '\\' && k == 0 {
				continue // "C:\new" is no line end: Exim's \n counts only in front of a repeated code
			}
			return i, i + n + k, final
		case more && code != "" && c == code[0] && (i == 0 || boundary(s[i-1])):
			k, final := repeated(s[i:], code, enhanced)
			if k == 0 {
				continue
			}
			// Joined by nothing: words run into the code. Only the full prefix is trusted there, because "ref-550-12" and
			// "port 2550" are words.
			if i > 0 && !blank(s[i-1]) && (enhanced == "" || !hasEnhanced(s[i+4:], enhanced)) && wordByte(s[i-1]) {
				continue
			}
			return i, i + k, final
		}
	}
	return -1, 0, false
}

// newline returns the length of the line end that s begins with, escaped or not, or 0.
func newline(s string) int {
	for _, e := range [...]string{"\r\n", "\n", "\r", "#015#012", "#012", `\r\n`, `\n`} {
		if strings.HasPrefix(s, e) {
			return len(e)
		}
	}
	return 0
}

// repeated returns the length of the codes that a continuation line repeats in front of its words, or 0; final tells
// that the code is the last line's, without the hyphen. RFC 5321, section 4.2.1.
func repeated(s, code, enhanced string) (n int, final bool) {
	if code == "" || !strings.HasPrefix(s, code) {
		return 0, false
	}
	if len(s) == 3 {
		return 3, true
	}
	switch s[3] {
	case '-':
	case ' ', '\t', '\r', '\n':
		final = true
	default:
		return 0, false
	}
	n = 4
	if rest := strings.TrimLeft(s[4:], " "); hasEnhanced(rest, enhanced) {
		n = len(s) - len(rest) + len(enhanced)
	}
	return n, final
}

// hasEnhanced reports whether s begins with exactly this enhanced code.
func hasEnhanced(s, enhanced string) bool {
	return enhanced != "" && enhancedLen(s) == len(enhanced) && strings.HasPrefix(s, enhanced)
}

// boundary reports whether a code may begin behind this byte: inside a number or a dotted one it cannot.
func boundary(c byte) bool {
	return !digit(c) && c != '-' && c != '_' && c != '/' && c != '=' && c != '@'
}

// wordByte reports whether c is a letter, so that a code behind it would run into a word.
func wordByte(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
