package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// eximFields reads " R=r T=t H=host [ip]:port X=..." into a and returns the words behind the first ": " outside of
// quotes, if there are any. ok is false if a field does not end.
func eximFields(s string, a *attempt) (words string, ok bool) {
	for s != "" {
		if s[0] == ':' {
			return strings.TrimPrefix(s[1:], " "), true
		}
		if s[0] == ' ' {
			s = s[1:]
		}
		// A field that can hold blanks is read here; the others are words.
		switch {
		case strings.HasPrefix(s, "H="):
			a.host, s = eximWord(s[2:])
			if bare, last := strings.CutSuffix(a.host, ":"); last {
				a.host = bare
				return strings.TrimPrefix(s, " "), true
			}
			s = strings.TrimPrefix(s, " DS") // log_selector +dnssec
			if ip, found := strings.CutPrefix(s, " ["); found {
				if a.ip, a.port, s, ok = eximPeer(ip); !ok {
					return "", false
				}
			}
			continue
		case strings.HasPrefix(s, "I=["):
			if a.source, _, s, ok = eximPeer(s[3:]); !ok {
				return "", false
			}
			continue
		case strings.HasPrefix(s, "F=<"):
			if a.sender, s, ok = cutAddress(s[2:]); !ok {
				return "", false
			}
			a.hasSender = true
			continue
		case strings.HasPrefix(s, "P=<"):
			if _, s, ok = cutAddress(s[2:]); !ok {
				return "", false
			}
			continue
		case strings.HasPrefix(s, `C="`):
			// Quotes and backslashes of the reply have a backslash, and nothing but times follows.
			k := strings.LastIndexByte(s, '"')
			if k < 3 {
				return "", false
			}
			a.text, a.origin = unescape(eximUnquote(s[3:k])), schema.Origin_REMOTE_REPLY
			s = s[k+1:]
			continue
		}
		word := s
		k := strings.IndexByte(s, ' ')
		if k >= 0 {
			word = s[:k]
		}
		if q := strings.IndexByte(word, '"'); q > 0 && word[q-1] == '=' { // DN="...", which may hold blanks
			end := strings.IndexByte(s[q+1:], '"')
			if end < 0 {
				return "", false
			}
			s = s[q+1+end+1:]
			continue
		}
		bare, last := strings.CutSuffix(word, ":")
		if len(bare) > 3 && bare[1] == '=' && bare[0] == 'T' {
			a.transport = bare[2:]
		} else if len(bare) > 3 && bare[1] == 'T' && bare[2] == '=' {
			switch v, good := unitDelay(bare[3:]); {
			case bare[0] == 'Q' && good:
				a.delayMS, a.hasDelay = v, true
			case bare[0] == 'D' && good:
				a.tookMS, a.hasTook = v, true
			}
		}
		if s = s[len(word):]; last {
			return strings.TrimPrefix(s, " "), true
		}
	}
	return "", true
}

// eximPeer reads "IP]" or "IP]:PORT".
func eximPeer(s string) (ip string, port int32, rest string, ok bool) {
	ip, rest, ok = strings.Cut(s, "]")
	if len(rest) > 1 && rest[0] == ':' && rest[1]-'0' <= 9 {
		v, n := readInt([]byte(rest[1:]))
		port, rest = int32(v&0xffff), rest[1+n:]
	}
	return ip, port, rest, ok
}

// eximTook cuts " DT=.." off, which a failure has at its very end.
func eximTook(words string, a *attempt) string {
	k := strings.LastIndex(words, " DT=")
	if k < 0 {
		if v, ok := strings.CutPrefix(words, "DT="); ok {
			a.tookMS, a.hasTook = unitDelay(v)
			return ""
		}
		return words
	}
	v, ok := unitDelay(words[k+len(" DT="):])
	if !ok {
		return words
	}
	a.tookMS, a.hasTook = v, true
	return words[:k]
}

// maxEximHints bounds what is kept of the hosts that a message was refused by.
const maxEximHints = 1 << 10

// eximHint keeps "ID H=HOST [IP] ERROR": a host that could not be connected to. The deferral that follows tells the same
// ERROR, but no host.
func (c *Correlator) eximHint(l *mtaLine, n int) (Kind, Reason) {
	s := l.text()
	var a attempt
	host, rest := eximWord(s[n+len(" H="):])
	ip, found := strings.CutPrefix(strings.TrimPrefix(rest, " DS"), " [")
	if !found {
		return KindNoise, ReasonMTA
	}
	a.host = host
	var ok bool
	if a.ip, _, rest, ok = eximPeer(ip); !ok || !strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, " I=[") {
		return KindNoise, ReasonMTA // the deferral repeats it
	}
	e := c.lookup(l.host, l.key('m', s[:n]))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(e)
	note := e.note
	if e.active { // those so far have been joined to deferrals
		note, e.active = "", false
	}
	if line := a.host + " " + a.ip + rest + "\n"; len(note)+len(line) <= maxEximHints {
		c.queue.setString(e, &e.note, note+line)
	}
	c.bound()
	return KindState, ReasonHint
}

// eximJoinHost finds the host of a failure to connect. Several domains of a message may be tried at once: where hosts
// differ, only one of the recipient's own domain is believed.
func eximJoinHost(e *entry, fault string, a *attempt) {
	domain := domainOf(a.recipient)
	var host, ip string
	own, others := false, false
	for note := e.note; note != ""; {
		var line string
		line, note, _ = strings.Cut(note, "\n")
		h, rest, _ := strings.Cut(line, " ")
		i, words, _ := strings.Cut(rest, " ")
		if words != fault {
			continue
		}
		mine := h == domain || strings.HasSuffix(h, "."+domain)
		if others = others || (host != "" && (h != host || i != ip)); mine || !own {
			host, ip = h, i
		}
		own = own || mine
	}
	if host != "" && (own || !others) {
		a.host, a.ip, a.relay = host, ip, host
	}
}
