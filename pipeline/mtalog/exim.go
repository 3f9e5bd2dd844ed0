package mtalog

import "strings"

// Exim's main log is "ID FLAG ADDRESS FIELDS", in its own file or through syslog. Exim specification, chapter "Log files".

// eximID returns the length of the message id that b begins with, or 0: 16 characters, or 23 since Exim 4.97.
func eximID(b []byte) int {
	for _, id := range [2]struct{ n, dash int }{{16, 13}, {23, 18}} {
		if len(b) > id.n && b[id.n] == ' ' && b[6] == '-' && b[id.dash] == '-' && alphanumeric(b[:6]) &&
			alphanumeric(b[7:id.dash]) && alphanumeric(b[id.dash+1:id.n]) {
			return id.n
		}
	}
	return 0
}

func alphanumeric(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 && c|0x20-'a' > 25 {
			return false
		}
	}
	return true
}

func (c *Correlator) exim(l *mtaLine, emit emitFunc) (Kind, Reason) {
	if len(l.msg) > 0 && l.msg[0] == '[' {
		if kind, reason, done := c.eximPiece(l); done {
			return kind, reason
		}
	}
	l.msg = l.msg[eximStamp(l.msg):] // syslog_timestamp: Exim's own stamp within syslog's
	if len(l.msg) > 2 && l.msg[0] == '[' {
		if _, n := readInt(l.msg[1:]); n > 0 && hasPrefix(l.msg[1+n:], "] ") {
			l.msg = l.msg[n+3:] // log_selector +pid
		}
	}
	n := eximID(l.msg)
	if n == 0 {
		return KindNoise, ReasonMTA // what belongs to no message: daemons, rejections, warnings
	}
	rest := l.msg[n+1:]
	if len(rest) > 3 && rest[2] == ' ' {
		switch string(rest[:2]) {
		case "<=", "(=": // (= : accepted, and the client told that it was not
			return c.eximArrival(l, n)
		case "=>", "->", ">>":
			return c.eximDelivered(l, emit, n)
		case "**", "==":
			return c.eximFailed(l, emit, n)
		case "*>":
			return KindNoise, ReasonMTA // -N: nothing was sent
		}
		if strings.IndexByte("<>=*-", rest[0]) >= 0 {
			return KindUnparsed, ReasonShape // a flag that is not known
		}
	}
	switch {
	case hasPrefix(rest, "H="):
		return c.eximHint(l, n)
	case hasPrefix(rest, "Completed"), hasPrefix(rest, "removed by "), hasPrefix(rest, "cancelled by "),
		hasPrefix(rest, "Frozen"), hasPrefix(rest, "address <"), hasPrefix(rest, "sender address changed to <"):
		return c.eximFate(l, emit, n)
	}
	return KindNoise, ReasonMTA
}

// eximFate reads what becomes of a whole message.
func (c *Correlator) eximFate(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	e := c.lookup(l.host, l.key('m', string(l.msg[:n])))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(e)
	s := l.text()
	id, words := s[:n], s[n+1:]
	switch {
	case strings.HasPrefix(words, "cancelled by "):
		// A person gave up, or timeout_frozen_after: the sender gets a bounce, "Completed" follows.
		if len(e.waiting) == 0 {
			return KindState, ReasonNobody
		}
		for len(e.waiting) > 0 {
			c.give(l, emit, e, 0, id, words, nil)
		}
		return KindEvent, ReasonNone
	case strings.HasPrefix(words, "Frozen"):
		e.nrcpt = 1 // of Exim's no more than that it has been frozen
	case strings.HasPrefix(words, "sender address changed to <"):
		if sender, _, ok := cutAddress(words[len("sender address changed to "):]); ok {
			c.queue.setString(e, &e.sender, sender)
			c.learnSender(e, FormatExim)
			c.bound()
		}
	case strings.HasPrefix(words, "address <"):
		addr, rest, ok := cutAddress(words[len("address "):])
		for k := len(e.waiting) - 1; ok && strings.HasPrefix(rest, " marked delivered by ") && k >= 0; k-- {
			if r := &e.waiting[k]; strings.EqualFold(r.address, addr) || strings.EqualFold(r.original, addr) {
				c.stats.Waiting++
				c.queue.finish(e, k)
			}
		}
	default: // "removed by" without a bounce
		c.stats.Waiting += uint64(len(e.waiting))
		c.queue.remove(e)
	}
	return KindState, ReasonNone
}

// eximStamp returns the length of Exim's stamp and the blank behind it, or 0.
func eximStamp(b []byte) int {
	if len(b) < 21 || b[4] != '-' || b[7] != '-' || b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return 0
	}
	n := 19
	for n < len(b) && (b[n] == '.' || b[n]-'0' <= 9) {
		n++
	}
	if n+6 < len(b) && (b[n+1] == '+' || b[n+1] == '-') {
		n += 6
	}
	if n >= len(b) || b[n] != ' ' {
		return 0
	}
	return n + 1
}

// eximPiece joins the pieces "[k/n] " into which Exim cuts a long line for syslog (src/log.c, write_syslog). A backslash
// for the slash says that the piece ended a line. done is false if the line is no piece, or the last of all.
func (c *Correlator) eximPiece(l *mtaLine) (kind Kind, reason Reason, done bool) {
	k, a := readInt(l.msg[1:])
	if a == 0 || len(l.msg) < a+4 || (l.msg[a+1] != '/' && l.msg[a+1] != '\\') {
		return 0, 0, false
	}
	n, b := readInt(l.msg[a+2:])
	if b == 0 || !hasPrefix(l.msg[a+2+b:], "] ") || k < 1 || k > n {
		return 0, 0, false
	}
	piece := l.msg[a+2+b+2:]
	pid := c.frame.pid.of(l.in.Line)
	if len(pid) > maxKey {
		return KindUnparsed, ReasonShape, true
	}
	key := l.key('p', string(pid))
	e := c.lookup(l.host, key)
	switch {
	case k == 1 && e == nil:
		e = c.open(l.host, key, &l.in)
	case k == 1:
		c.queue.setString(e, &e.note, "")
	case e == nil:
		return KindUnparsed, ReasonCut, true // its begin was never seen
	case e.done != k-1:
		c.queue.remove(e)
		return KindUnparsed, ReasonCut, true
	}
	c.queue.touch(e)
	if len(e.note)+len(piece) < MaxLineBytes/4 {
		text := e.note + clean(piece)
		if l.msg[a+1] == '\\' {
			text += "\n"
		}
		c.queue.setString(e, &e.note, text)
	}
	if e.done = k; k < n {
		c.bound()
		return KindState, ReasonHint, true
	}
	l.joined = true
	l.msg = []byte(e.note)
	c.queue.remove(e)
	return 0, 0, false
}
