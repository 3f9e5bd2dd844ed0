package mtalog

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Haraka's log.ini has format=default, "[LEVEL] [ID] [ORIGIN] WORDS NAME=VALUE ..."; logfmt, "level=L uuid=ID origin=O
// message=WORDS NAME=VALUE ..."; and json, the same as an object. All are read as what the first would have been: names and
// values behind the words, a value in quotes where it needs them (logger.js, stringify).

// harakaStart tells what Haraka prints past its logger.
func harakaStart(b []byte) bool {
	return hasPrefix(b, "loglevel: ") || hasPrefix(b, "log format: ") || hasPrefix(b, "Starting up Haraka ") ||
		hasPrefix(b, "Using iconv-lite ") || hasPrefix(b, "Reloaded file: ") || hasPrefix(b, "loaded TLD files: ") ||
		hasPrefix(b, "loaded Public Suffixes: ") || hasPrefix(b, "    at ") || string(b) == `"` // the second line of an error
}

// harakaPlain takes the colours off that Haraka writes to a terminal.
func harakaPlain(b []byte) []byte {
	if len(b) > 4 && b[0] == 0x1b && b[1] == '[' {
		if k := bytes.IndexByte(b[:min(len(b), 8)], 'm'); k > 0 {
			b = b[k+1:]
		}
		if k := bytes.LastIndex(b, []byte("\x1b[")); k > 0 && len(b)-k <= 6 && b[len(b)-1] == 'm' {
			b = b[:k]
		}
	}
	return b
}

// harakaLine tells a line by the begin of one of the three formats.
func harakaLine(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	switch b[0] {
	case '[':
		end := bytes.IndexByte(b[:12], ']')
		return end > 0 && harakaLevel(b[1:end]) && hasPrefix(b[end:], "] [")
	case 'l':
		end := bytes.IndexByte(b[:min(len(b), 20)], ' ')
		return end > 6 && hasPrefix(b, "level=") && harakaLevel(b[6:end]) && hasPrefix(b[end:], " uuid=")
	case '{':
		const head = `{"level":"`
		if !hasPrefix(b, head) {
			return false
		}
		end := bytes.IndexByte(b[len(head):], '"')
		return end > 0 && harakaLevel(b[len(head):len(head)+end]) && hasPrefix(b[len(head)+end:], `","uuid":"`)
	}
	return false
}

func harakaLevel(b []byte) bool {
	switch string(b) {
	case "DATA", "PROTOCOL", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "EMERG":
		return true
	}
	return false
}

// harakaParts takes a line apart. words is a part of the line for format=default alone; for the others it is made only if
// wanted says that lines of this origin and id are read.
func harakaParts(b []byte, wanted func(id, origin []byte) bool) (id, origin, words []byte, reason Reason) {
	switch {
	case len(b) > 0 && b[0] == '[':
		return harakaDefault(b)
	case hasPrefix(b, "level="):
		return harakaLogfmt(b, wanted)
	case hasPrefix(b, "{"):
		return harakaJSON(b, wanted)
	}
	return nil, nil, nil, ReasonShape
}

func harakaDefault(b []byte) (id, origin, words []byte, reason Reason) {
	var part [3][]byte // level, id, origin
	for k := range part {
		if len(b) == 0 || b[0] != '[' {
			return nil, nil, nil, ReasonShape
		}
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return nil, nil, nil, ReasonCut
		}
		part[k], b = b[1:end], bytes.TrimLeft(b[end+1:], " ")
	}
	return part[1], part[2], b, ReasonNone
}

func harakaLogfmt(b []byte, wanted func(id, origin []byte) bool) (id, origin, words []byte, reason Reason) {
	_, b, found := bytes.Cut(b, []byte(" uuid="))
	if found {
		if id, b, found = bytes.Cut(b, []byte(" origin=")); found {
			origin, b, found = bytes.Cut(b, []byte(" message="))
		}
	}
	switch {
	case !found:
		return nil, nil, nil, ReasonCut
	case !wanted(id, origin):
		return id, origin, nil, ReasonNone
	}
	value, rest := harakaValue(string(b))
	if value != "" {
		return id, origin, []byte(value + rest), ReasonNone
	}
	return id, origin, []byte(strings.TrimPrefix(rest, " ")), ReasonNone
}

// harakaValue reads a value and what follows it.
func harakaValue(s string) (value, rest string) {
	if s == "" || s[0] != '"' {
		k := strings.IndexByte(s, ' ')
		if k < 0 {
			return s, ""
		}
		return s[:k], s[k:]
	}
	for k := 1; k < len(s); k++ {
		switch s[k] {
		case '\\':
			k++
		case '"':
			return harakaUnquote(s[1:k]), s[k+1:]
		}
	}
	return harakaUnquote(s[1:]), "" // the rest is in the next line, or cut
}

// harakaUnquote takes the backslashes off that stringify puts before quotes, backslashes and, since 3.2, for line ends.
func harakaUnquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			switch s[i+1] {
			case '"', '\\':
				i++
				c = s[i]
			case 'n':
				i++
				c = '\n'
			case 'r':
				i++
				c = '\r'
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func harakaJSON(b []byte, wanted func(id, origin []byte) bool) (id, origin, words []byte, reason Reason) {
	const head, mid, tail = `","uuid":"`, `","origin":"`, `","message":`
	_, b, found := bytes.Cut(b, []byte(head))
	if found {
		if id, b, found = bytes.Cut(b, []byte(mid)); found {
			origin, b, found = bytes.Cut(b, []byte(tail))
		}
	}
	if !found {
		return nil, nil, nil, ReasonCut
	}
	if !wanted(id, origin) {
		return id, origin, nil, ReasonNone
	}
	// The object's rest: the message's value, then names and values.
	value, b, ok := jsonScalar(b)
	if !ok {
		return nil, nil, nil, ReasonCut
	}
	words = append(make([]byte, 0, len(value)+len(b)), value...)
	for len(b) > 0 && b[0] == ',' {
		var name []byte
		if name, b, ok = jsonScalar(b[1:]); !ok || len(b) == 0 || b[0] != ':' {
			return nil, nil, nil, ReasonCut
		}
		if value, b, ok = jsonScalar(b[1:]); !ok {
			return nil, nil, nil, ReasonCut
		}
		if len(words) > 0 {
			words = append(words, ' ')
		}
		words = append(words, name...)
		words = append(words, '=')
		if len(value) == 0 || bytes.ContainsAny(value, " =\"\\\r\n") {
			words = append(words, '"')
			for _, c := range value {
				if c == '"' || c == '\\' {
					words = append(words, '\\')
				}
				words = append(words, c)
			}
			words = append(words, '"')
		} else {
			words = append(words, value...)
		}
	}
	if string(b) != "}" {
		return nil, nil, nil, ReasonCut
	}
	return id, origin, words, ReasonNone
}

// jsonScalar reads a JSON value; an object or an array is skipped and gives nothing.
func jsonScalar(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	switch b[0] {
	case '"':
		k, plain := 1, true
		for ; k < len(b) && b[k] != '"'; k++ {
			if b[k] == '\\' {
				k, plain = k+1, false
			}
		}
		if k >= len(b) {
			return nil, nil, false
		}
		if plain {
			return b[1:k], b[k+1:], true
		}
		var s string
		err := json.Unmarshal(b[:k+1], &s)
		return []byte(s), b[k+1:], err == nil
	case '{', '[':
		depth, quoted := 0, false
		for k := 0; k < len(b); k++ {
			switch c := b[k]; {
			case c == '\\' && quoted:
				k++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				if depth--; depth == 0 {
					return nil, b[k+1:], true
				}
			}
		}
		return nil, nil, false
	}
	k := bytes.IndexAny(b, ",}]")
	if k <= 0 {
		return nil, nil, false
	}
	return b[:k], b[k:], true
}
