package rules

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// The subject is what patterns are matched against, one line of at most maxSubject bytes:
//
//	550 5.1.1 R|{a}: recipient address rejected: user unknown
//
// Head: reply code, enhanced code (only if the remote wrote it) and the letter of the phase, "-" where unknown; then a
// bar and the words. The words are in lower case with single spaces; the code at the start of each line of a multi-line
// reply is gone (RFC 5321, section 4.2.1), control and bidirectional characters are gone, addresses are "{a}", so that
// neither a local part nor a forged one can speak for the server. Letters in the head are capitals: no word meets them.
const (
	maxSubject = 4096
	maxText    = 64 << 10 // bytes of a text that are looked at
)

// phaseLetters is indexed by schema.Phase.
const phaseLetters = "-DCBETAMRXOQWY"

func letter(p schema.Phase) byte {
	if p < 0 || int(p) >= len(phaseLetters) {
		return '-'
	}
	return phaseLetters[p]
}

// condition translates the words of a rule's "when" into a pattern of the subject's head; empty for no words.
func condition(words []string) (string, error) {
	if len(words) == 0 {
		return "", nil
	}
	var codes, enhanced, phases []string
	for _, w := range words {
		if w == "nocode" {
			codes = append(codes, "-")
			continue
		}
		if w == "noenhanced" {
			enhanced = append(enhanced, "-")
			continue
		}
		if phase, ok := schema.PhaseByName(w); ok {
			phases = append(phases, string(letter(phase)))
			continue
		}
		digits := strings.ReplaceAll(w, "x", "0")
		if strings.Trim(digits, "0123456789.") != "" {
			return "", fmt.Errorf("unknown condition %q: want a code (450, 5xx, nocode), an enhanced code (5.1.1, x.2.2, noenhanced) or a phase", w)
		}
		switch strings.Count(w, ".") {
		case 0:
			if len(w) != 3 {
				return "", fmt.Errorf("condition %q is no reply code", w)
			}
			codes = append(codes, strings.ReplaceAll(w, "x", `\d`))
		case 2:
			w = strings.ReplaceAll(w, ".", `\.`)
			enhanced = append(enhanced, strings.ReplaceAll(w, "x", `\d+`))
		default:
			return "", fmt.Errorf("condition %q is no enhanced code", w)
		}
	}
	any := func(alternatives []string, otherwise string) string {
		if len(alternatives) == 0 {
			return otherwise
		}
		return `(?:` + strings.Join(alternatives, "|") + `)`
	}
	return `^` + any(codes, `\S+`) + ` ` + any(enhanced, `\S+`) + ` ` + any(phases, `\S`) + `\|`, nil
}

// appendHead appends the subject's head.
func appendHead(dst []byte, code int32, enhanced string, phase schema.Phase) []byte {
	if code >= 200 && code <= 599 {
		dst = append(dst, byte('0'+code/100), byte('0'+code/10%10), byte('0'+code%10))
	} else {
		dst = append(dst, '-')
	}
	dst = append(dst, ' ')
	if smtpreply.ValidEnhanced(enhanced) {
		dst = append(dst, enhanced...)
	} else {
		dst = append(dst, '-')
	}
	return append(dst, ' ', letter(phase), '|')
}

// appendWords appends the words of text, normalised, until dst holds maxSubject bytes. code and enhanced are those of
// the reply, whose repetition at the start of further lines is dropped.
func appendWords(dst []byte, text string, code int32, enhanced string) []byte {
	text = text[:min(len(text), maxText)]
	continued := false // the reply has a line that starts with "550-"
	afterCode := false // the token before was such a code, so an enhanced code may follow
	for i := 0; i < len(text) && len(dst) < maxSubject; {
		if isSpace(text[i]) {
			i++
			continue
		}
		end := i + 1
		for end < len(text) && !isSpace(text[end]) {
			end++
		}
		token := text[i:end]
		i = end
		if rest, more, ok := continuation(token, code, continued); ok {
			continued = continued || more
			token = rest
			afterCode = true
			if token == "" {
				continue
			}
		}
		if afterCode && token == enhanced {
			afterCode = false
			continue
		}
		afterCode = false
		dst = appendToken(dst, token)
	}
	if len(dst) > maxSubject {
		end := maxSubject
		for !utf8.RuneStart(dst[end]) {
			end--
		}
		dst = dst[:end]
	}
	return dst
}

// continuation cuts the reply code from the start of a further line: "550-5.1.1" and "550-word", and, once such a line
// was seen, the bare "550" of the last one.
func continuation(token string, code int32, continued bool) (rest string, more, ok bool) {
	if len(token) < 3 || code < 200 || code > 599 ||
		int32(token[0]-'0')*100+int32(token[1]-'0')*10+int32(token[2]-'0') != code {
		return token, false, false
	}
	if len(token) == 3 {
		return "", false, continued
	}
	if token[3] == '-' {
		return token[4:], true, true
	}
	return token, false, false
}

func isSpace(c byte) bool { return c <= ' ' || c == 0x7f }

// appendToken appends a space, unless the words start here, and one word in its normal form.
func appendToken(dst []byte, token string) []byte {
	if dst[len(dst)-1] != '|' {
		dst = append(dst, ' ')
	}
	if at := strings.IndexByte(token, '@'); at >= 0 {
		return appendMasked(dst, token, at)
	}
	return appendFolded(dst, token)
}

// appendMasked appends a token whose address (there is one if letters stand on both sides of the @) is masked.
func appendMasked(dst []byte, token string, at int) []byte {
	for at >= 0 && len(dst) < maxSubject {
		start := at
		for start > 0 && !isDelimiter(token[start-1]) {
			start--
		}
		end := at + 1
		for end < len(token) && !isDelimiter(token[end]) {
			end++
		}
		if start == at && start > 0 && token[start-1] == '"' { // "quoted local part"@domain
			if open := strings.IndexByte(token[:start-1], '"'); open >= 0 {
				start = open
			} else if open := bytes.LastIndexByte(dst, '"'); open >= 0 { // it holds blanks
				dst = bytes.TrimSuffix(dst[:open], []byte("<"))
				start = 0
			}
		}
		for end > at+1 && (token[end-1] == '.' || token[end-1] == '?' || token[end-1] == '!') {
			end--
		}
		if start < at && end > at+1 {
			dst = appendFolded(dst, strings.TrimSuffix(token[:start], "<"))
			dst = append(dst, "{a}"...)
			token = strings.TrimPrefix(token[end:], ">")
		} else {
			dst = appendFolded(dst, token[:at+1])
			token = token[at+1:]
		}
		at = strings.IndexByte(token, '@')
	}
	return appendFolded(dst, token)
}

func isDelimiter(c byte) bool {
	switch c {
	case '<', '>', '(', ')', '[', ']', '"', '\'', '`', ',', ';', ':', '|':
		return true
	}
	return false
}

// appendFolded appends s in lower case. Bytes that are no UTF-8 become "?", invisible and bidirectional characters
// vanish, typographic apostrophes become plain ones.
func appendFolded(dst []byte, s string) []byte {
	for i := 0; i < len(s) && len(dst) < maxSubject; {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, '?')
		case r == '\u2018' || r == '\u2019':
			dst = append(dst, '\'')
		case r == '\u00a0':
			dst = append(dst, ' ')
		case r < 0xa0, r == '\u00ad', '\u200b' <= r && r <= '\u200f', '\u202a' <= r && r <= '\u202e',
			'\u2060' <= r && r <= '\u2069', r == '\ufeff':
		default:
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
		i += size
	}
	return dst
}
