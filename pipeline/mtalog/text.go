package mtalog

import (
	"strings"
	"unicode/utf8"

	"carom.dev/carom/pipeline/address"
)

// textLine is a line as a string of its own, from which an event's strings are cut: one copy for all of them.
type textLine struct {
	s     string
	valid bool
}

func newTextLine(line []byte) textLine {
	return textLine{s: string(line), valid: utf8.Valid(line)}
}

// cut returns a part. Strings in protobuf have to be UTF-8; a byte that is not becomes U+FFFD.
func (t textLine) cut(s span) string {
	part := t.s[s.from:s.to]
	if !t.valid {
		part = strings.ToValidUTF8(part, "\uFFFD")
	}
	return part
}

// raw returns the line as evidence, cut to maxRawBytes.
func (t textLine) raw() string {
	s := cutText(t.s, maxRawBytes)
	if !t.valid {
		s = cutText(strings.ToValidUTF8(s, "\uFFFD"), maxRawBytes)
	}
	return s
}

// cutText cuts s to n bytes at most, at a rune's begin.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for k := n; k > n-utf8.UTFMax; k-- {
		if utf8.RuneStart(s[k]) {
			return s[:k]
		}
	}
	return s[:n] // no text at all
}

func clean(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

// domainOf returns the normalised domain of an address as logged, empty if it has none.
func domainOf(recipient string) string {
	at := strings.LastIndexByte(recipient, '@')
	if at < 0 {
		return ""
	}
	return address.NormalizeDomain(recipient[at+1:])
}

// names keeps the strings of host and daemon names, so that not each line makes new ones. It is a cache and no state.
type names struct {
	last  string
	known map[string]string
}

// maxNames bounds the cache.
const maxNames = 4096

func (n *names) host(b []byte) string {
	if n.last == string(b) {
		return n.last
	}
	n.last = n.intern(b)
	return n.last
}

func (n *names) daemon(b []byte) string {
	switch string(b) {
	case "":
		return ""
	case "smtp":
		return "smtp"
	case "qmgr":
		return "qmgr"
	}
	return n.intern(b)
}

func (n *names) intern(b []byte) string {
	if s, ok := n.known[string(b)]; ok {
		return s
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = map[string]string{}
	}
	s := clean(b)
	n.known[string(b)] = s
	return s
}
