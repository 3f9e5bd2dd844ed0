package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// eximDelivered reads "ID => ADDRESS FIELDS [C="REPLY"] [QT=..] [DT=..]": src/deliver.c, delivery_log.
func (c *Correlator) eximDelivered(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	if strings.HasPrefix(s[n+4:], "blackhole (") || strings.HasPrefix(s[n+4:], "discarded (") {
		return KindNoise, ReasonMTA // the whole message, by an access control list or a filter: no recipient is named
	}
	a := attempt{queueID: s[:n], outcome: schema.Outcome_DELIVERED}
	rest, ok := eximRecipient(s[n+4:], &a)
	if !ok {
		return KindUnparsed, ReasonCut
	}
	if _, ok := eximFields(rest, &a); !ok {
		return KindUnparsed, ReasonFields
	}
	a.relay = a.host
	l.key('m', a.queueID)
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// eximFailed reads "ID ** ADDRESS FIELDS[: ERROR][: WORDS][ DT=..]" and
// "ID == ADDRESS FIELDS defer (ERRNO)[: ERROR][ HOST FIELDS][ DT=..][: WORDS]": src/deliver.c, failure_log and deferral_log.
func (c *Correlator) eximFailed(l *mtaLine, emit emitFunc, n int) (Kind, Reason) {
	s := l.text()
	if strings.HasPrefix(s[n+4:], "mua_wrapper is set ") {
		return KindNoise, ReasonMTA // no recipient is named
	}
	a := attempt{queueID: s[:n], outcome: schema.Outcome_BOUNCED, origin: schema.Origin_LOCAL_MTA}
	rest, ok := eximRecipient(s[n+4:], &a)
	if !ok {
		return KindUnparsed, ReasonCut
	}
	if s[n+1] == '=' {
		return c.eximDeferred(l, emit, &a, rest)
	}
	words, ok := eximFields(rest, &a)
	if !ok {
		return KindUnparsed, ReasonFields
	}
	words = eximTook(words, &a)
	a.relay = a.host
	key := l.key('m', a.queueID)
	eximWords(words, "", &a)
	if text, ended := eximGaveUp(words, &a); ended {
		e := c.open(l.host, key, &l.in)
		k := c.eximWaiting(e, a.recipient, a.original)
		var fresh *attempt
		if a.text != "" {
			fresh = &a
		}
		c.give(l, emit, e, k, a.queueID, text, fresh)
		c.bound()
		return KindEvent, ReasonNone
	}
	if e := c.lookup(l.host, key); e != nil && e.nrcpt > 0 && e.hasSender && e.sender == "" &&
		e.find(recipientID{a.recipient, a.original}) < 0 {
		return KindState, ReasonNone // a bounce that was frozen when it failed is tried once more; its end has been told
	}
	c.record(l, emit, &a)
	return KindEvent, ReasonNone
}

// eximGaveUp tells whether the words of a failure say that time ran out, and returns what says so; a then holds the
// failure that the line tells besides, with an empty text if it tells none.
func eximGaveUp(words string, a *attempt) (text string, ok bool) {
	const gaveUp = "retry timeout exceeded"
	if (strings.HasPrefix(words, "all hosts ") && strings.Contains(words, " have been failing for a long time ")) ||
		(strings.HasPrefix(words, "retry time not reached for any host ") && strings.HasSuffix(words, " after a long failure period")) {
		// Nothing was tried for this message: its hosts' time had run out before.
		a.text = ""
		return words, true
	}
	if !strings.HasSuffix(words, gaveUp) {
		return "", false
	}
	if a.origin == schema.Origin_REMOTE_REPLY {
		// Exim ends so what was put off; behind a reply that is final the words are the remote's.
		if code, _, _ := a.codes(); code >= 500 {
			return "", false
		}
	}
	a.text = strings.TrimSuffix(strings.TrimSuffix(a.text, gaveUp), ": ")
	return gaveUp, true
}

// eximDeferred reads the rest of a deferral.
func (c *Correlator) eximDeferred(l *mtaLine, emit emitFunc, a *attempt, rest string) (Kind, Reason) {
	a.outcome = schema.Outcome_DEFERRED
	fields, rest, ok := strings.Cut(rest, " defer (")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	eximFields(fields, a)
	number, rest, ok := strings.Cut(rest, ")")
	digits, minus := strings.CutPrefix(number, "-")
	errno, used := readInt([]byte(digits))
	if !ok || used == 0 || used != len(digits) {
		return KindUnparsed, ReasonCut
	}
	fault := ""
	if after, found := strings.CutPrefix(rest, ": "); found && !minus && errno > 0 {
		fault, rest = eximFault(after) // a number of the system's, in its own words
	}
	words, ok := eximFields(rest, a)
	if !ok {
		return KindUnparsed, ReasonFields
	}
	talking := eximPlace(words, fault, a)
	if talking {
		words = ""
	}
	a.relay = a.host
	key := l.key('m', a.queueID)
	eximWords(words, fault, a)
	if eximSkipped(words) {
		a.outcome, a.suspended, a.phase = schema.Outcome_SUSPENDED, true, schema.Phase_QUEUE
	}
	if e := c.lookup(l.host, key); e != nil {
		if fault != "" && words == "" && a.host == "" {
			eximJoinHost(e, fault, a)
		}
		e.active = true
	}
	if words == "" && a.phase == 0 && a.ip != "" && !talking {
		a.phase = schema.Phase_CONNECT // later, the words name the host or the command (src/transports/smtp.c, check_response)
	}
	c.record(l, emit, a)
	return KindEvent, ReasonNone
}

// eximPlace reads words that are no more than "HOST [IP]": an error of the system's within a conversation.
func eximPlace(words, fault string, a *attempt) bool {
	host, rest, ok := strings.Cut(words, " [")
	if ip, found := strings.CutSuffix(rest, "]"); ok && found && fault != "" && strings.IndexByte(host, ' ') < 0 && strings.IndexByte(ip, ' ') < 0 {
		a.host, a.ip = host, ip
		return true
	}
	return false
}

// eximSkipped tells that nothing was tried: errno ERRNO_HELD and those from ERRNO_RRETRY to ERRNO_TRETRY, whose numbers
// differ between versions (src/macros.h).
func eximSkipped(words string) bool {
	for _, prefix := range [...]string{
		"retry time not reached", "Retry time not yet reached", "domain is held", "domain is in queue_domains",
		"remote deliveries suppressed", "concurrency limit reached for transport", "connection limit reached for all hosts",
		"SMTP delivery explicitly queued", "no host found for existing SMTP connection", "some host address lookups failed and retry time",
		"first-pass only routing",
	} {
		if strings.HasPrefix(words, prefix) {
			return true
		}
	}
	return false
}

// eximFault cuts the system's words for an error off.
func eximFault(s string) (fault, rest string) {
	end := len(s)
	for _, stop := range [...]string{": ", " H=", " DT="} {
		if k := strings.Index(s[:end], stop); k >= 0 {
			end = k
		}
	}
	return s[:end], s[end:]
}

// eximRecipient reads the address at the front of s into a and returns what follows: fields, or ": " and words. ok is
// false if neither does.
func eximRecipient(s string, a *attempt) (rest string, ok bool) {
	addr, top, rest, ok := eximAddress(s)
	if !ok {
		return "", false
	}
	a.recipient, a.original = addr, top
	switch {
	case top == "":
	case strings.IndexByte(addr, '@') < 0, strings.IndexByte(`|/:>`, addr[0]) >= 0 && !eximSame(addr, top):
		// A local user without domain, a pipe, a file, ":blackhole:": the recipient is who was written to.
		a.recipient, a.original = top, ""
	case top[0] == '"' && eximSame(addr, top):
		a.recipient, a.original = top, "" // the same in the form of RFC 5321, section 4.1.2
	}
	return rest, a.recipient != ""
}

// eximSame tells whether addr is top without its quoting and in other letters at most.
func eximSame(addr, top string) bool {
	if top[0] != '"' {
		return strings.EqualFold(addr, top)
	}
	end := quotedEnd(top, 0)
	if end == 0 || len(top) > len(addr)*2+2 {
		return false
	}
	k := len(top) - end - 1 // the domain
	return len(addr) >= k && strings.EqualFold(addr[len(addr)-k:], top[end+1:]) &&
		strings.EqualFold(addr[:len(addr)-k], eximUnquote(top[1:end]))
}

// maxEximTops bounds the search for the end of an odd address.
const maxEximTops = 64

// eximAddress reads what src/deliver.c, string_log_address, writes: "LOCAL@DOMAIN" or a local part, pipe or file alone;
// " (PARENT, PARENT)" if log_selector has all_parents; and " <TOP>", the address as submitted, if it is another. LOCAL
// stands bare, without its quotes, and may hold anything; but then TOP follows, and TOP is quoted.
func eximAddress(s string) (addr, top, rest string, ok bool) {
	i := quotedEnd(s, 0) // "retry timeout exceeded" is written with the quotes (src/retry.c)
	if i > 0 && !strings.HasPrefix(s[i+1:], "@") {
		i = 0 // the quote is bare
	}
	if k := strings.IndexByte(s[i:], ' '); k > 0 || (k == 0 && i > 0) {
		addr, rest = s[:i+k], s[i+k:]
		if strings.IndexByte(addr, '@') > 0 && strings.IndexByte(addr[i:], '>') < 0 {
			if bare, words := strings.CutSuffix(addr, ":"); words {
				return bare, "", s[len(bare):], true
			}
			if eximFollows(rest) {
				return addr, "", rest, true
			}
		}
	}
	first := 0
	for from, n := 0, 0; n < maxEximTops; n++ {
		k := strings.Index(s[from:], " <")
		if k < 0 {
			break
		}
		from += k + 1
		if top, rest, ok = cutAddress(s[from:]); !ok || from == 1 || !eximFollows(rest) {
			continue
		}
		if addr = eximBare(s[:from-1]); !strings.ContainsAny(addr, " :") || (top != "" && eximSame(addr, top)) {
			return addr, top, rest, true
		}
		if first == 0 {
			first = from // LOCAL may hold what looks like TOP: where TOP is the same in quotes, it is that
		}
	}
	if first == 0 {
		return "", "", "", false
	}
	top, rest, _ = cutAddress(s[first:])
	return eximBare(s[:first-1]), top, rest, true
}

// eximBare takes the parents off.
func eximBare(addr string) string {
	if k := strings.LastIndex(addr, " ("); k > 0 && strings.HasSuffix(addr, ")") {
		return addr[:k]
	}
	return addr
}

// eximFollows tells whether s can be what stands behind an address.
func eximFollows(s string) bool {
	if len(s) < 3 {
		return false
	}
	if s[0] == ':' {
		return s[1] == ' '
	}
	if s[0] != ' ' {
		return false
	}
	s = s[1:]
	switch s[0] {
	case 'R', 'T', 'Q', 'H':
		return s[1] == '='
	case 'F', 'P':
		return strings.HasPrefix(s[1:], "=<")
	case 'S':
		return s[1] == '=' || strings.HasPrefix(s, "SRS=<")
	case 'D':
		return strings.HasPrefix(s, "DT=")
	case 'd':
		return strings.HasPrefix(s, "defer (")
	case 'r':
		return strings.HasPrefix(s, "routing defer (") || strings.HasPrefix(s, "routing yielded a ")
	case 't':
		return strings.HasPrefix(s, "transporting defer (")
	case 'm':
		return strings.HasPrefix(s, "mua_wrapper forced ")
	}
	return false
}

// eximWaiting finds a recipient by its whole name, else by its address; one that was never heard of is added.
func (c *Correlator) eximWaiting(e *entry, addr, original string) int {
	id := recipientID{addr, original}
	if k := e.find(id); k >= 0 {
		return k
	}
	if original == "" {
		// QUIRK: where the router gives up, the line names the address as submitted and nothing else; before, it stood in
		// angle brackets behind the lower-case one (testdata/exim).
		for k := range e.waiting {
			if r := &e.waiting[k]; strings.EqualFold(r.address, addr) || strings.EqualFold(r.original, addr) {
				return k
			}
		}
	}
	return c.queue.wait(e, id)
}
