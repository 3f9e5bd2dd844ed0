package dsn

import (
	"bytes"
	"html"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// decodeBody undoes the transfer encoding of a part, as far as it goes. RFC 2045, section 6. What is not encoded is
// returned as it is.
func decodeBody(b, encoding []byte) []byte {
	encoding = bytes.TrimSpace(encoding)
	switch {
	case equalFold(encoding, "quoted-printable"):
		return decodeQuotedPrintable(b)
	case equalFold(encoding, "base64"):
		return decodeBase64(b)
	}
	return b
}

// decodeQuotedPrintable leaves what is no escape as it stands, where mime/quotedprintable would stop. RFC 2045, section 6.7.
func decodeQuotedPrintable(b []byte) []byte {
	if bytes.IndexByte(b, '=') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		if i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		end := i + 1
		for end < len(b) && (b[end] == ' ' || b[end] == '\t' || b[end] == '\r') {
			end++
		}
		if end == len(b) || b[end] == '\n' { // a soft line break
			i = end
			continue
		}
		out = append(out, '=')
	}
	return out
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// decodeBase64 skips what is not in the alphabet, as RFC 2045, section 6.8 asks, and begins anew behind padding.
func decodeBase64(b []byte) []byte {
	out := make([]byte, 0, len(b)*3/4)
	var acc uint32
	bits := 0
	for _, c := range b {
		var v int
		switch {
		case 'A' <= c && c <= 'Z':
			v = int(c - 'A')
		case 'a' <= c && c <= 'z':
			v = int(c-'a') + 26
		case '0' <= c && c <= '9':
			v = int(c-'0') + 52
		case c == '+' || c == '-':
			v = 62
		case c == '/' || c == '_':
			v = 63
		case c == '=':
			bits = 0
			continue
		default:
			continue
		}
		acc = acc<<6 | uint32(v)
		if bits += 6; bits >= 8 {
			bits -= 8
			out = append(out, byte(acc>>bits))
		}
	}
	return out
}

// toUTF8 converts text of the given character set, which may be empty, unknown or wrong.
func toUTF8(b []byte, charset string) string {
	ascii, escapes := true, false
	for _, c := range b {
		if c >= 0x80 {
			ascii = false
			break
		}
		escapes = escapes || c == 0x1b
	}
	wide := strings.HasPrefix(strings.ToLower(charset), "utf-16")
	if ascii && !escapes && !wide {
		return string(b)
	}
	if escapes && charset == "" || ascii && escapes {
		charset = "iso-2022-jp" // QUIRK: sent under the name of us-ascii, or none
	}
	if !wide && utf8.Valid(b) && !escapes {
		return string(b) // QUIRK: UTF-8 is sent under any name, and text of another set is hardly ever valid UTF-8
	}
	enc, err := htmlindex.Get(strings.TrimSpace(charset))
	if name, _ := htmlindex.Name(enc); err != nil || name == "utf-8" || name == "replacement" {
		enc, _ = htmlindex.Get("windows-1252") // every byte means something there
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// text is the decoded text of the part, HTML without its tags.
func (p *part) text() string {
	s := toUTF8(decodeBody(p.body, p.encoding), p.charset)
	if p.mediaType == "text/html" {
		s = stripHTML(s)
	}
	return s
}

// decodeHeader decodes encoded words (RFC 2047) of an unfolded value. The result is not longer than three times the value and a bit.
func decodeHeader(s string) string {
	if strings.Contains(s, "=?") {
		d := mime.WordDecoder{CharsetReader: func(charset string, r io.Reader) (io.Reader, error) {
			b, err := io.ReadAll(r)
			return strings.NewReader(toUTF8(b, charset)), err
		}}
		if decoded, err := d.DecodeHeader(s); err == nil {
			s = decoded
		}
	}
	if !utf8.ValidString(s) {
		s = toUTF8([]byte(s), "")
	}
	return s
}

// breaking are the elements that end a line of text.
const breaking = " br p div tr td th li ul ol table h1 h2 h3 h4 h5 h6 hr pre blockquote title "

// stripHTML returns the text of a page, a line for each block. It reads what breaks the rules of HTML as well as what keeps them.
func stripHTML(s string) string {
	var out strings.Builder
	out.Grow(len(s) / 2)
	for s != "" {
		open := strings.IndexByte(s, '<')
		if open < 0 {
			out.WriteString(s)
			break
		}
		// QUIRK: an address in bare angle brackets is text.
		out.WriteString(s[:open])
		s = s[open:]
		if strings.HasPrefix(s, "<!--") {
			_, s, _ = strings.Cut(s, "-->")
			continue
		}
		end := strings.IndexByte(s, '>')
		if end < 0 {
			break
		}
		tag := s[1:end]
		s = s[end+1:]
		if strings.IndexByte(tag, '@') >= 0 && !strings.ContainsAny(tag, " =\"'") {
			out.WriteString("<" + tag + ">")
			continue
		}
		name := tag
		if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
			name = tag[:i]
		}
		name = strings.ToLower(strings.TrimSuffix(name, "/"))
		if name == "style" || name == "script" {
			if i := indexFold(s, "</"+name); i >= 0 {
				s = s[i:]
			} else {
				s = ""
			}
			continue
		}
		if strings.Contains(breaking, " "+strings.TrimPrefix(name, "/")+" ") {
			out.WriteByte('\n')
		}
	}
	return html.UnescapeString(out.String())
}

// indexFold finds a lower-case ASCII needle without regard to case.
func indexFold(s, needle string) int {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], needle[0])
		if i < 0 || at+i+len(needle) > len(s) {
			return -1
		}
		at += i
		if strings.EqualFold(s[at:at+len(needle)], needle) {
			return at
		}
		at++
	}
}

// clip makes a string of strangers' bytes fit to be returned: one line, valid UTF-8, at most limit bytes.
func clip(s string, limit int) string {
	if len(s) > 2*limit {
		s = s[:2*limit] // what decoding joins is not worth reading to its end
	}
	if !utf8.ValidString(s) {
		s = toUTF8([]byte(s), "")
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == '\n' || c == '\r' || c == '\t' || c == ' ' && (i == 0 || i+1 == len(s) || s[i+1] == ' ') {
			s = joinFields(s)
			break
		}
	}
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
