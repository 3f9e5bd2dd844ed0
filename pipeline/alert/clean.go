package alert

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReply bounds what is quoted of a remote server's words, in characters.
const maxReply = 300

// clean makes hostile text fit to be shown on one line: whatever is not visible is dropped or becomes a space, the
// local parts of addresses are masked, and it is cut to limit characters.
func clean(s string, limit int) string {
	var b strings.Builder
	n, space, whole := 0, false, true
	// An address must not escape its mask by being cut in two, so the cut comes after the masking. What is masked is
	// bounded first; then its last word may be half an address, and goes.
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || r == '\u2028' || r == '\u2029':
			space = b.Len() > 0
			continue
		case r == utf8.RuneError:
			r = '?'
		case unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Variation_Selector) || r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0' || r == '\u2800':
			continue
		case r == '\uff20' || r == '\ufe6b':
			r = '@' // other shapes of the sign would hide an address
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
		if n++; n > 4*limit+400 {
			whole = false
			break
		}
	}
	text := b.String()
	if !whole {
		text = text[:max(0, strings.LastIndexByte(text, ' '))]
	}
	masked := mask(text)
	if utf8.RuneCountInString(masked) > limit {
		masked = string([]rune(masked)[:limit-1]) + "…"
	}
	return masked
}

// addresses finds local parts, quoted or not, with their sign; percent-encoded as in a link's query also.
var addresses = regexp.MustCompile(`(?i)("(?:[^"\\]|\\.)*"|[^\s<>"@,;:()\[\]]+?)(@)([\pL\pN\[_-])|([^\s<>"@,;:()\[\]/?=&%]+)(%40)([\pL\pN\[_-])`)

// mask leaves of each local part its first character.
func mask(s string) string {
	return addresses.ReplaceAllStringFunc(s, func(m string) string {
		parts := addresses.FindStringSubmatch(m)
		first, _ := utf8.DecodeRuneInString(strings.TrimPrefix(parts[1]+parts[4], `"`))
		return string(first) + "***" + parts[2] + parts[5] + parts[3] + parts[6]
	})
}

// markup disarms text for places where it may be rendered: Alertmanager's templates for mail and Slack, and whatever else
// reads annotations. Characters are replaced by others that look alike, since escapes would show where nothing renders:
// no tag and no Slack control sequence (<!channel>, <url|text>) can begin, no code block can end, nobody is called.
func markup(s string) string {
	s = strings.NewReplacer("<", "‹", ">", "›", "&", "＆", "`", "'").Replace(s)
	return calls.ReplaceAllString(s, "(at)$1")
}

var calls = regexp.MustCompile(`(?i)@(here|channel|everyone|all)\b`)

// defang keeps links in remote text from becoming links on the screen of somebody in a hurry.
func defang(s string) string { return links.ReplaceAllString(s, "hxxp$1://") }

var links = regexp.MustCompile(`(?i)\bhttp(s?)://`)
