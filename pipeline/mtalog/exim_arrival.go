package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/site"
)

// eximArrival reads "ID <= SENDER [R=ID] [H=HOST (HELO) [IP]] [U=USER] P=.. [A=AUTH:USER] S=SIZE .. id=MESSAGE-ID T="SUBJECT" ..":
// src/receive.c. Which fields there are, log_selector says; the order is always the same.
func (c *Correlator) eximArrival(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	sender, rest := eximWord(s[n+4:])
	key := l.key('m', s[:n])
	if e := c.lookup(l.host, key); e != nil && e.known {
		c.stats.Replaced++
		c.queue.remove(e)
	}
	e := c.open(l.host, key, &l.in)
	e.known, e.hasSender = true, true
	if sender == "<>" {
		sender = ""
	}
	c.queue.setString(e, &e.sender, sender)
	m := eximSubmission(rest)
	e.size = m.size
	if m.messageID != "" {
		c.queue.setString(e, &e.messageID, "<"+m.messageID+">") // Exim cuts the brackets off
	}
	if c.site.Labels() {
		c.learnSender(e, FormatExim)
		c.learn(e, FormatExim, site.FactUser, "", m.user)
		c.learn(e, FormatExim, site.FactClient, "", m.client)
		if m.subject != "" && c.wants(site.FactSubject) {
			c.learn(e, FormatExim, site.FactSubject, "", unescape(eximUnquote(m.subject)))
		}
	}
	c.bound()
	return KindState, ReasonNone
}

// eximMessage is what an arrival says about its message.
type eximMessage struct {
	client    string // "HOST (HELO) [IP]", of what comes by SMTP
	user      string // who logged in; of what comes from the host itself, its user
	messageID string // without brackets
	subject   string // as quoted
	size      int64
}

// eximSubmission reads the fields of an arrival. s is empty or begins with a blank.
func eximSubmission(s string) (m eximMessage) {
	ident := ""
	for len(s) > 1 {
		s = s[1:]
		switch {
		case strings.HasPrefix(s, "H="):
			m.client, s = eximClient(s[2:])
			continue
		case strings.HasPrefix(s, `DN="`): // a distinguished name may hold blanks
			k := strings.Index(s[4:], `" `)
			if k < 0 {
				return m
			}
			s = s[4+k+1:]
			continue
		case strings.HasPrefix(s, `T="`):
			if k := eximQuoteEnd(s, 3); k > 0 {
				m.subject = s[3:k]
			}
			s = "" // what follows are the recipients
			continue
		case strings.HasPrefix(s, "from <"), strings.HasPrefix(s, "for "):
			s = ""
			continue
		}
		var word string
		word, s = eximWord(s)
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "U":
			ident = value
		case "A": // AUTHENTICATOR[:USER[:SENDER]]
			if _, user, ok := strings.Cut(value, ":"); ok {
				m.user, _, _ = strings.Cut(user, ":")
			}
		case "S":
			m.size, _ = readInt([]byte(value))
		case "id", "id*": // * : Exim made it
			m.messageID = value
			if strings.HasPrefix(value, `"`) {
				m.messageID, s = eximWord(value + s)
			}
		}
	}
	if m.user == "" && m.client == "" {
		m.user = ident // with a client it is what identd says (RFC 1413)
	}
	return m
}

// eximClient cuts "HOST (HELO) [IP]" off; HOST or "(HELO)" may be missing, and a port may follow.
func eximClient(s string) (client, rest string) {
	for i := 0; i < len(s); {
		if s[i] == '[' {
			k := strings.IndexByte(s[i:], ']')
			if k < 0 {
				return s, ""
			}
			end := i + k + 1
			_, rest = eximWord(s[end:])
			return s[:end], rest
		}
		k := strings.IndexByte(s[i:], ' ')
		if k < 0 {
			return s, ""
		}
		i += k + 1
	}
	return s, ""
}

// eximWord cuts an address or a field off: up to the first blank behind its quoted local part, if it has one.
func eximWord(s string) (word, rest string) {
	i := quotedEnd(s, 0)
	k := strings.IndexByte(s[i:], ' ')
	if k < 0 {
		return s, ""
	}
	return s[:i+k], s[i+k:]
}

// eximQuoteEnd returns the place of the quote that ends the string of which s[i] is the first byte; 0 if none does.
func eximQuoteEnd(s string, i int) int {
	for ; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return 0
}

// eximUnquote takes the backslashes off that Exim puts before quotes and backslashes.
func eximUnquote(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\') {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}
