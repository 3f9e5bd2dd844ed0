package dsn

import (
	"bytes"
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
		if isBase64(b) {
			return decodeBase64(b)
		}
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

// isBase64 reports whether b may be base64: a text that is only called so holds blanks between its words.
//
// QUIRK: a gateway that rewrites parts leaves the field of the encoding they had.
func isBase64(b []byte) bool {
	b = bytes.TrimSpace(b)
	line, _ := cutLine(b)
	return bytes.Count(bytes.TrimSpace(line), []byte(" ")) == 0
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

// decoded is the body of the part without its transfer encoding. It is no longer than the body.
func (p *part) decoded() []byte {
	return unixLines(decodeBody(p.body, p.encoding), len(p.body))
}

// text is the decoded text of the part, HTML without its tags.
func (p *part) text() string {
	b := p.decoded()
	if p.mediaType != "text/html" {
		return toUTF8(b, p.charset)
	}
	charset := p.charset
	if charset == "" {
		charset = metaCharset(b)
	}
	return stripHTML(toUTF8(b, charset))
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
