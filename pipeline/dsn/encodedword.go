package dsn

import (
	"strings"
	"unicode/utf8"
)

// maxEncodedWord is how far the end of an encoded word is looked for. RFC 2047, section 2 allows 75 characters, programs write whole
// headers as one.
const maxEncodedWord = 1024

// decodeHeader decodes encoded words (RFC 2047) of an unfolded value, once: what comes out is not decoded again. What is no encoded
// word stays as it stands. The result is not longer than three times the value and a bit.
//
// QUIRK: a character is split over two words of the same set and encoding, so that neighbours are joined before their character set is
// undone; words stand inside quotes and without blanks around them.
func decodeHeader(s string) string {
	if !strings.Contains(s, "=?") {
		if !utf8.ValidString(s) {
			return toUTF8([]byte(s), "")
		}
		return s
	}
	var out strings.Builder
	var pending []byte // bytes of words whose character set is still to be undone
	charset := ""
	flush := func() {
		if len(pending) > 0 {
			out.WriteString(toUTF8(pending, charset))
			pending = pending[:0]
		}
	}
	gap := "" // blanks behind an encoded word: dropped if another follows
	for s != "" {
		start := strings.Index(s, "=?")
		if start < 0 {
			start = len(s)
		}
		if between := s[:start]; start > 0 {
			if strings.Trim(between, " \t") != "" || len(pending) == 0 {
				flush()
				out.WriteString(gap)
				out.WriteString(toUTF8([]byte(between), ""))
				gap = ""
			} else {
				gap += between
			}
			s = s[start:]
			continue
		}
		set, data, rest, ok := encodedWord(s)
		if !ok {
			flush()
			out.WriteString(gap + "=?")
			gap, s = "", s[2:]
			continue
		}
		if !strings.EqualFold(set, charset) {
			flush()
			charset = set
		}
		gap, s = "", rest
		pending = append(pending, data...)
	}
	flush()
	out.WriteString(gap)
	return out.String()
}

// encodedWord reads the encoded word that s begins with: "=?charset*language?encoding?text?=".
func encodedWord(s string) (charset string, data []byte, rest string, ok bool) {
	const open = len("=?")
	window := s[:min(len(s), maxEncodedWord)]
	set := strings.IndexByte(window[open:], '?')
	if set <= 0 || set > 40 {
		return "", nil, "", false
	}
	text := open + set + len("?q?")
	if text > len(window) || window[text-1] != '?' {
		return "", nil, "", false
	}
	end := strings.Index(window[text:], "?=")
	if end < 0 {
		return "", nil, "", false
	}
	end += text
	switch window[text-2] | 0x20 {
	case 'b':
		data = decodeBase64([]byte(window[text:end]))
	case 'q':
		data = decodeQuotedPrintable([]byte(strings.ReplaceAll(window[text:end], "_", " ")))
	default:
		return "", nil, "", false
	}
	charset, _, _ = strings.Cut(window[open:open+set], "*") // the language of RFC 2231, section 5
	return charset, data, s[end+len("?="):], true
}
