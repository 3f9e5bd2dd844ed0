package dsn

import "strings"

// parameters reads "type/subtype; name=value; ..." of RFC 2045, section 5.1, leniently: the value in lower case and a lookup.
func parameters(value string) (mediaType string, get func(name string) string) {
	mediaType, rest, _ := strings.Cut(value, ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	// QUIRK: "text/plain charset=..." lacks the semicolon.
	if word, more, found := strings.Cut(mediaType, " "); found {
		mediaType, rest = word, more+";"+rest
	}
	return mediaType, func(name string) string { return parameter(rest, name) }
}

// parameter finds the value of a parameter, continued and with a character set where it is written so (RFC 2231, sections 3 and 4).
func parameter(s, name string) string {
	if value, ok := plainParameter(s, name); ok || strings.IndexByte(s, '*') < 0 {
		return value
	}
	if value, ok := plainParameter(s, name+"*"); ok { // us-ascii'en'value
		if _, rest, found := strings.Cut(value, "'"); found {
			if _, rest, found = strings.Cut(rest, "'"); found {
				return rest
			}
		}
		return value
	}
	whole := ""
	for _, digit := range "0123456789" {
		value, ok := plainParameter(s, name+"*"+string(digit))
		if !ok {
			break
		}
		whole += value
	}
	return whole
}

func plainParameter(s, name string) (value string, found bool) {
	for s != "" {
		s = strings.TrimLeft(s, "; \t")
		mark := strings.IndexAny(s, ";=")
		if mark < 0 {
			return "", false
		}
		key, rest := strings.TrimSpace(s[:mark]), strings.TrimLeft(s[mark+1:], " ")
		if s[mark] == ';' { // a parameter without a value
			s = rest
			continue
		}
		if strings.HasPrefix(rest, `"`) {
			value, s = quoted(rest[1:])
		} else if end := strings.IndexAny(rest, "; \t"); end >= 0 {
			value, s = rest[:end], rest[end:]
		} else {
			value, s = rest, ""
		}
		if strings.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

// quoted reads a quoted string behind its opening quote. RFC 5322, section 3.2.4.
func quoted(s string) (value, rest string) {
	if end := strings.IndexByte(s, '"'); end >= 0 && strings.IndexByte(s[:end], '\\') < 0 {
		return s[:end], s[end+1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
		case s[i] == '"':
			return b.String(), s[i+1:]
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
