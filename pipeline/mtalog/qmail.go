package mtalog

import (
	"bytes"
	"strings"

	"carom.dev/carom/schema"
)

// qmail-send (qmail 1.03, netqmail, notqmail, s/qmail) numbers messages by the inode of their queue file and deliveries by
// a count that begins anew with each start. "new msg N" and "info msg N: bytes B from <s> qp P uid U" begin a message,
// "starting delivery D: msg N to remote r" an attempt, "delivery D: deferral: REPORT" ends it, and "end msg N" the message,
// whose number is free from then on. No line names the Message-ID. qmail-send.c.
//
// Whatever comes from outside - addresses, reports - has gone through logsafe of qsutil.c: a newline is a slash, and a
// blank, a percent sign and all that is not printable ASCII is an underscore. So it holds no blank, and the words between
// blanks are qmail-send's own: a remote text cannot play the log.
//
// In the table a message 'm' keeps its arrival (Unix microseconds) in nrcpt, and a delivery 'd' its recipient as the one
// that waits, the message's number in note, and in active whether it goes out by qmail-remote.

// multilogStamp returns the length of the stamp that a log daemon put in front of a line of qmail-send, or 0:
//
//	@400000006b0afeba18e59e7c      multilog t, tai64n, svlogd -t, s6-log t: TAI64N
//	2026-11-28 17:17:52.033214500  the same through tai64nlocal, and s6-log T: in the reader's or the host's zone
//	2026-11-28_16:17:52.47599      svlogd -tt: UTC
//	2026-11-28T16:17:52.51521      svlogd -ttt: UTC
//
// Exim's own stamps have three digits behind the point, and syslog's have a zone.
func multilogStamp(line []byte) int {
	if line[0] == '@' {
		const label = len("@400000006b0afeba18e59e7c")
		if len(line) <= label || line[label] != ' ' {
			return 0
		}
		for _, c := range line[1:label] {
			if c-'0' > 9 && c-'a' > 5 {
				return 0
			}
		}
		return label
	}
	n := len("2026-11-28T16:17:52.51521")
	if len(line) <= n || line[0]-'0' > 9 || line[4] != '-' || line[7] != '-' || line[13] != ':' || line[16] != ':' || line[19] != '.' {
		return 0
	}
	switch line[10] {
	case '_', 'T':
	case ' ':
		n += 4
	default:
		return 0
	}
	if len(line) <= n || line[n] != ' ' {
		return 0
	}
	for _, c := range line[20:n] {
		if c-'0' > 9 {
			return 0
		}
	}
	return n
}

// qmailStamp takes off the stamp that splogger ("1386522915.123456 ") or tai64n puts behind syslog's, and takes its time,
// which needs neither year nor zone. What it leaves of the further pieces of a long line begins with a plus: splogger.c.
func (c *Correlator) qmailStamp(msg []byte) []byte {
	if len(msg) == 0 {
		return msg
	}
	if msg[0] == '@' {
		n := multilogStamp(msg)
		if n == 0 {
			return msg
		}
		if at, reason := readTAI64N(msg); reason == ReasonNone {
			c.frame.at = at
		}
		return msg[n+1:]
	}
	seconds, n := readInt(msg)
	if n < 9 || n > 11 || len(msg) < n+8 || msg[n] != '.' {
		return msg
	}
	micros, k := readInt(msg[n+1 : n+7])
	if k != 6 || (msg[n+7] != ' ' && msg[n+7] != '+') {
		return msg
	}
	c.frame.at = seconds*1e6 + micros
	if msg[n+7] == '+' {
		return msg[n+7:]
	}
	return msg[n+8:]
}

func (c *Correlator) qmail(l *mtaLine, emit emitFunc) (Kind, Reason) {
	l.msg = bytes.TrimLeft(l.msg, " ") // s6-log writes two
	switch {
	case hasPrefix(l.msg, "status: "):
		return KindNoise, ReasonMTA // half of all lines
	case hasPrefix(l.msg, "delivery "):
		return c.qmailDelivery(l, emit)
	case hasPrefix(l.msg, "starting delivery "):
		return c.qmailStarting(l)
	case hasPrefix(l.msg, "new msg "):
		return c.qmailNew(l)
	case hasPrefix(l.msg, "info msg "):
		return c.qmailInfo(l)
	case hasPrefix(l.msg, "end msg "):
		return c.qmailEnd(l)
	case hasPrefix(l.msg, "+"):
		return KindState, ReasonHint // splogger cuts after 799 bytes; the first piece has all but the end of a report
	case qmailNoise(l.msg):
		return KindNoise, ReasonMTA
	case l.instance == "" && qmailOther(l.msg):
		return KindNoise, ReasonOtherProgram
	case l.instance == "" && l.in.Format == FormatAuto:
		return KindUnparsed, ReasonFrame // multilog alone does not make it qmail's
	}
	return KindUnparsed, ReasonShape
}

// qmailNoise knows the rest of what qmail-send writes.
func qmailNoise(b []byte) bool {
	return hasPrefix(b, "warning: ") || hasPrefix(b, "alert: ") || hasPrefix(b, "bounce msg ") ||
		hasPrefix(b, "triple bounce: ") || hasPrefix(b, "double bounce: ") || hasPrefix(b, "cannot start: ") ||
		string(b) == "running" || string(b) == "exiting"
}

// qmailOther knows the receiving side by its words. It logs through multilog, too, which writes no names of programs.
func qmailOther(b []byte) bool {
	return hasPrefix(b, "tcpserver: ") || hasPrefix(b, "sslserver: ") || hasPrefix(b, "rblsmtpd: ") ||
		hasPrefix(b, "qmail-smtpd: ") || hasPrefix(b, "CHKUSER ") || hasPrefix(b, "spamdyke[") || hasPrefix(b, "simscan:")
}

// qmailNumber reads the number at the front of s, which stop has to follow.
func qmailNumber(s, stop string) (number, rest string, ok bool) {
	n := 0
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	if n == 0 || n > 20 {
		return "", "", false
	}
	if rest, ok = strings.CutPrefix(s[n:], stop); !ok {
		return "", "", false
	}
	return s[:n], rest, true
}

// qmailNew reads "new msg N". The number is that of an inode, which comes back.
func (c *Correlator) qmailNew(l *mtaLine) (Kind, Reason) {
	id, rest, ok := qmailNumber(l.text()[len("new msg "):], "")
	if !ok || rest != "" {
		return KindUnparsed, ReasonShape
	}
	e := c.qmailMessage(l, id)
	e.known = true
	c.bound()
	return KindState, ReasonNone
}

// qmailMessage returns a fresh entry for a message that has just arrived.
func (c *Correlator) qmailMessage(l *mtaLine, id string) *entry {
	key := l.key('m', id)
	if e := c.lookup(l.host, key); e != nil {
		c.stats.Replaced++ // its "end msg" was not seen
		c.queue.remove(e)
	}
	e := c.open(l.host, key, &l.in)
	e.nrcpt = c.frame.at
	return e
}

// qmailInfo reads "info msg N: bytes B from <s> qp P uid U".
func (c *Correlator) qmailInfo(l *mtaLine) (Kind, Reason) {
	id, rest, ok := qmailNumber(l.text()[len("info msg "):], ": bytes ")
	if !ok {
		return KindUnparsed, ReasonShape
	}
	length, rest, ok := qmailNumber(rest, " from <")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	sender, rest, ok := strings.Cut(rest, "> qp ")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	if _, _, ok = qmailNumber(rest, " uid "); !ok {
		return KindUnparsed, ReasonCut
	}
	size, _ := readInt([]byte(length))
	e := c.lookup(l.host, l.key('m', id))
	if e == nil || (!e.hasSender && len(e.waiting) > 0) || (e.hasSender && (e.sender != sender || e.size != size)) {
		e = c.qmailMessage(l, id) // "new msg" was not seen
	}
	e.known, e.hasSender, e.size = true, true, size
	c.queue.touch(e)
	c.queue.setString(e, &e.sender, sender)
	c.learnSender(e, FormatQmail)
	c.bound()
	return KindState, ReasonNone
}

// qmailEnd reads "end msg N".
func (c *Correlator) qmailEnd(l *mtaLine) (Kind, Reason) {
	id, rest, ok := qmailNumber(l.text()[len("end msg "):], "")
	if !ok || rest != "" {
		return KindUnparsed, ReasonShape
	}
	e := c.lookup(l.host, l.key('m', id))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.stats.Waiting += uint64(len(e.waiting))
	c.queue.remove(e)
	return KindState, ReasonNone
}

// qmailStarting reads "starting delivery D: msg N to remote r" and "... to local r". A number that is still in the table
// was that of a delivery before a crash, whose report never came.
func (c *Correlator) qmailStarting(l *mtaLine) (Kind, Reason) {
	id, rest, ok := qmailNumber(l.text()[len("starting delivery "):], ": msg ")
	if !ok {
		return KindUnparsed, ReasonShape
	}
	message, rest, ok := qmailNumber(rest, " to ")
	if !ok {
		return KindUnparsed, ReasonCut
	}
	channel, recipient, _ := strings.Cut(rest, " ")
	switch {
	case recipient == "":
		return KindUnparsed, ReasonCut
	case channel != "remote" && channel != "local":
		return KindUnparsed, ReasonShape
	}
	if e := c.lookup(l.host, l.key('m', message)); e != nil {
		c.queue.touch(e)
	}
	key := l.key('d', id)
	if e := c.lookup(l.host, key); e != nil {
		c.stats.Replaced++
		c.queue.remove(e)
	}
	e := c.open(l.host, key, &l.in)
	e.known, e.active = true, channel == "remote"
	c.queue.setString(e, &e.note, message)
	c.queue.wait(e, recipientID{address: recipient})
	c.bound()
	return KindState, ReasonNone
}

// qmailDelivery reads "delivery D: success: REPORT", "... deferral: ...", "... failure: ..." and
// "delivery D: report mangled, will defer".
func (c *Correlator) qmailDelivery(l *mtaLine, emit emitFunc) (Kind, Reason) {
	id, rest, ok := qmailNumber(l.text()[len("delivery "):], ": ")
	if !ok {
		return KindUnparsed, ReasonShape
	}
	word, report, ok := strings.Cut(rest, ": ")
	var a attempt
	switch word {
	case "success":
		a.outcome = schema.Outcome_DELIVERED
	case "deferral", "report mangled, will defer":
		a.outcome = schema.Outcome_DEFERRED
	case "failure":
		a.outcome = schema.Outcome_BOUNCED
	default:
		if !ok {
			return KindUnparsed, ReasonCut
		}
		return KindUnparsed, ReasonShape
	}
	if !ok {
		report = word
	}
	d := c.lookup(l.host, l.key('d', id))
	if d == nil {
		return KindState, ReasonUnknownEntry // to whom, only "starting delivery" said
	}
	a.queueID, a.recipient = d.note, d.waiting[0].address
	gaveUp := qmailReport(&a, report, d.active)
	c.queue.remove(d)
	key := l.key('m', a.queueID)
	if e := c.lookup(l.host, key); e != nil && e.nrcpt > 0 && c.frame.at >= e.nrcpt {
		a.delayMS, a.hasDelay = (c.frame.at-e.nrcpt)/1000, true
	}
	if !gaveUp.expired {
		c.record(l, emit, &a)
		return KindEvent, ReasonNone
	}
	e := c.open(l.host, key, &l.in)
	r := recipientID{address: a.recipient}
	k := e.find(r)
	if k < 0 {
		k = c.queue.wait(e, r)
	}
	c.give(l, emit, e, k, a.queueID, gaveUp.words, &a)
	c.bound()
	return KindEvent, ReasonNone
}
