package intake

import (
	"bytes"
	"errors"

	"carom.dev/carom/pipeline/feed"
)

// errElement says that a body cannot be split: one element of it is larger than a record.
var errElement = errors.New("one element is larger than a record")

// split cuts a body that is larger than a record into parts of at most limit bytes, between two elements of a JSON array, two
// JSON values, or two lines. Nothing is lost and nothing is moved: the parts of an array, each without its brackets and
// joined with commas, are the array; all other parts, one after the other, are the body. Only white space around an
// array goes. A body that fits is its only part.
//
// It is no parser. It follows quotes and brackets, without recursion. Broken JSON is split as it comes, or not: what cannot be
// read is refused by the fold behind, as the whole would have been.
func split(format string, body []byte, limit int) ([][]byte, error) {
	switch {
	case len(body) <= limit:
		return [][]byte{body}, nil
	case format == feed.PowerMTA:
		return splitRows(body, limit)
	case format == feed.KumoMTA && firstOf(body) != '[': // as feed.Parser takes it
		return splitLines(body, limit)
	}
	return splitJSON(body, limit)
}

func firstOf(body []byte) byte {
	i := space(body, 0)
	if i == len(body) {
		return 0
	}
	return body[i]
}

// splitLines cuts behind line ends.
func splitLines(body []byte, limit int) (parts [][]byte, err error) {
	for len(body) > limit {
		n := bytes.LastIndexByte(body[:limit], '\n') + 1
		if n == 0 {
			return nil, errElement
		}
		parts = append(parts, body[:n:n])
		body = body[n:]
	}
	return appendRest(parts, body), nil
}

func appendRest(parts [][]byte, rest []byte) [][]byte {
	if len(rest) == 0 {
		return parts
	}
	return append(parts, rest)
}

// splitRows cuts CSV (RFC 4180) behind the last line end that is in no quoted field, or failing that behind any: feed.CSV
// goes on within a field. The header row is in the first part only: all parts go to one partition, where the fold keeps
// the header as the state of this key, and order.go keeps other bodies from coming between.
func splitRows(body []byte, limit int) (parts [][]byte, err error) {
	for len(body) > limit {
		line, row := 0, 0
		quoted := false
		for i, c := range body[:limit] {
			switch c {
			case '"':
				quoted = !quoted
			case '\n':
				line = i + 1
				if !quoted {
					row = i + 1
				}
			}
		}
		if row == 0 {
			row = line
		}
		if row == 0 {
			return nil, errElement
		}
		parts = append(parts, body[:row:row])
		body = body[row:]
	}
	return appendRest(parts, body), nil
}

// splitJSON cuts between values that stand one after the other, and cuts an array that is itself too large between its
// elements.
func splitJSON(body []byte, limit int) (parts [][]byte, err error) {
	from := 0 // of the part at hand
	for at := 0; at < len(body); {
		next := space(body, valueEnd(body, space(body, at))) // blanks belong to the value before them
		if next-from <= limit {
			at = next
			continue
		}
		if at > from {
			parts = append(parts, body[from:at:at])
			from = at
			continue
		}
		// This value alone is too large.
		if parts, err = splitArray(parts, body[at:next], limit); err != nil {
			return nil, err
		}
		at, from = next, next
	}
	return appendRest(parts, body[from:]), nil
}

// splitArray appends the parts of an array: its elements, in brackets of their own.
func splitArray(parts [][]byte, array []byte, limit int) ([][]byte, error) {
	array = bytes.TrimSpace(array)
	if len(array) < 2 || array[0] != '[' || array[len(array)-1] != ']' {
		return nil, errElement
	}
	inner := array[1 : len(array)-1]
	put := func(elements []byte) {
		part := make([]byte, 0, len(elements)+2)
		parts = append(parts, append(append(append(part, '['), elements...), ']'))
	}
	from, cut := 0, -1 // of the part at hand, and its last comma so far
	for at := 0; ; at++ {
		at = elementEnd(inner, at)
		if at-from+2 > limit && cut >= 0 {
			put(inner[from:cut])
			from = cut + 1
		}
		if at-from+2 > limit {
			return nil, errElement
		}
		if at == len(inner) {
			put(inner[from:])
			return parts, nil
		}
		cut = at
	}
}

// elementEnd returns the place of the comma behind the element that begins at i, or the end.
func elementEnd(s []byte, i int) int {
	for i < len(s) && s[i] != ',' {
		i = valueEnd(s, i)
	}
	return i
}

// space returns the place of the first byte at or after i that is no JSON white space.
func space(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n') {
		i++
	}
	return i
}

// valueEnd returns the place behind the value that begins at i; with what is no JSON, some place behind i. A value is a
// string, what stands between brackets, or what goes up to the next blank, comma, quote or bracket.
func valueEnd(s []byte, i int) int {
	depth := 0
	for i < len(s) {
		switch c := s[i]; c {
		case '"':
			i = stringEnd(s, i)
		case '[', '{':
			depth++
			i++
		case ']', '}':
			depth--
			i++
		default:
			i++
			if depth > 0 || !scalar(c) {
				break
			}
			for i < len(s) && scalar(s[i]) {
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

func scalar(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', '"', '[', ']', '{', '}':
		return false
	}
	return true
}

// stringEnd returns the place behind the string that begins at i.
func stringEnd(s []byte, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}
