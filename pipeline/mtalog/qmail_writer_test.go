package mtalog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What qmail writes, as its sources say, for tests: no qmail was to be had to write it. The writer shares no code and no
// table with the parser.

// qmailSafe is logsafe of qsutil.c.
func qmailSafe(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c == '\n':
			b[i] = '/'
		case c < 33 || c > 126 || c == '%':
			b[i] = '_'
		}
	}
	return string(b)
}

// qmailShown is as much of s as the log can give back.
func qmailShown(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return r
		}
		if r < 33 || r > 126 || r == '%' || r == '_' {
			return ' '
		}
		return r
	}, latin1(s))
}

// latin1 makes a rune of each byte: logsafe knows no others.
func latin1(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteRune(rune(c))
	}
	return b.String()
}

// qmailRemoteSays is what qmail-rspawn hands on of qmail-remote's output, 'K', 'Z' or 'D' in front. reply is the remote's,
// empty if there was none.
func qmailRemoteSays(phase, scenario, ip, domain, reply string) string {
	said := "Remote host said: " + reply + "\n"
	verdict := "Z"
	if reply != "" && (reply[0]-'0' > 9 || reply[0] >= '5') { // a code is three bytes, whatever they are
		verdict = "D"
	}
	switch {
	case reply != "" && phase == "banner":
		return "ZConnected to " + ip + " but greeting failed.\n" + said
	case reply != "" && phase == "ehlo":
		return "ZConnected to " + ip + " but my name was rejected.\n" + said
	case reply != "" && phase == "tls": // the patch for TLS, with a file in control/tlshosts
		return "ZNo TLS achieved while control/tlshosts/mx." + domain + ".pem exists; connecting to " + ip + ".\n" + said
	case phase == "tls":
		return "ZTLS connect failed: error:0A00010B:SSL routines::wrong version number; connecting to " + ip + ".\nRemote host said: 220 2.0.0 Ready to start TLS\n"
	case reply != "" && phase == "mail":
		return verdict + "Connected to " + ip + " but sender was rejected.\n" + said
	case reply != "" && phase == "rcpt":
		return verdict + ip + " does not like recipient.\n" + said + "Giving up on " + ip + ".\n"
	case reply != "" && phase == "data":
		return verdict + ip + " failed on DATA command.\n" + said
	case reply != "" && phase == "eom":
		return verdict + ip + " failed after I sent the message.\n" + said
	case phase == "dns" && scenario == "dn-nx":
		return "DSorry, I couldn't find any host named " + domain + ". (#5.1.2)\n"
	case phase == "dns" && scenario == "dn-mxself":
		return "DSorry. Although I'm listed as a best-preference MX or A for that host,\nit isn't in my control/locals file, so I don't treat it as local. (#5.4.6)\n"
	case phase == "dns" && scenario == "dn-servfail":
		return "ZCNAME lookup failed temporarily. (#4.4.3)\n"
	case phase == "dns":
		return "DSorry, I couldn't find a mail exchanger or IP address. (#5.4.4)\n"
	case phase == "connect":
		return "ZSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\n"
	case phase == "eom":
		return "ZConnected to " + ip + " but connection died. Possible duplicate! (#4.4.2)\n"
	case phase == "ok":
		return "K" + ip + " accepted message.\nRemote host said: 250 2.0.0 Ok: queued as 4jWlpz2sbgz13\n"
	}
	return "ZConnected to " + ip + " but connection died. (#4.4.2)\n"
}

// qmailOutcome is del_dochan of qmail-send.c for a report that qmailRemoteSays gave; dying tells that the message is too
// old.
func qmailOutcome(says string, dying bool) (word, report string) {
	verdict, report := says[0], says[1:]
	if verdict == 'Z' && dying {
		verdict, report = 'D', report+"I'm not going to try again; this message has been in the queue too long.\n"
	}
	return map[byte]string{'K': "success", 'Z': "deferral", 'D': "failure"}[verdict], qmailSafe(report)
}

// qmailLine is one line of qmail-send's standard output.
type qmailLine struct {
	at   time.Time
	text string
}

// qmailTry is one attempt to deliver to one recipient.
type qmailTry struct {
	channel, to, says string
	dying             bool
	wait              time.Duration // until the next
}

// qmailJob is a message in the queue.
type qmailJob struct {
	inode, size, left int
	sender            string
	failed            bool
}

// qmailWriter runs a queue. do holds what is to happen, by time.
type qmailWriter struct {
	lines  []qmailLine
	do     []qmailStep
	free   []int // inodes
	next   int   // delivery number
	flying map[int]func()
	pids   int
}

type qmailStep struct {
	at    time.Time
	order int
	run   func(at time.Time)
}

func newQmailWriter() *qmailWriter {
	return &qmailWriter{free: []int{524311, 524309, 524307}, next: 1, flying: map[int]func(){}, pids: 4711}
}

func (w *qmailWriter) at(at time.Time, run func(time.Time)) {
	w.do = append(w.do, qmailStep{at, w.pids, run})
	w.pids++
}

func (w *qmailWriter) log(at time.Time, format string, args ...any) {
	if n := len(w.lines); n > 0 && !at.After(w.lines[n-1].at) {
		at = w.lines[n-1].at.Add(23500) // nanoseconds
	}
	w.lines = append(w.lines, qmailLine{at, fmt.Sprintf(format, args...)})
}

func (w *qmailWriter) status(at time.Time) {
	w.log(at, "status: local 0/10 remote %d/20", len(w.flying))
}

// run does everything, in order.
func (w *qmailWriter) run() {
	for len(w.do) > 0 {
		k := 0
		for i, s := range w.do {
			if d := s.at.Compare(w.do[k].at); d < 0 || (d == 0 && s.order < w.do[k].order) {
				k = i
			}
		}
		s := w.do[k]
		w.do = slices.Delete(w.do, k, k+1)
		s.run(s.at)
	}
}

// message lets a message arrive, with a list of attempts for each recipient.
func (w *qmailWriter) message(at time.Time, sender string, tries [][]qmailTry) {
	w.at(at, func(at time.Time) {
		n := len(w.free) - 1
		if n < 0 {
			w.free, n = append(w.free, 524313+2*w.pids), 0
		}
		job := &qmailJob{inode: w.free[n], size: 1000 + 7*w.pids%900, left: len(tries), sender: sender}
		w.free = w.free[:n]
		w.log(at, "new msg %d", job.inode)
		w.log(at, "info msg %d: bytes %d from <%s> qp %d uid 89", job.inode, job.size, qmailSafe(sender), w.pids)
		for i, t := range tries {
			w.at(at.Add(time.Duration(i)*time.Millisecond), func(at time.Time) { w.attempt(at, job, t) })
		}
	})
}

func (w *qmailWriter) attempt(at time.Time, job *qmailJob, tries []qmailTry) {
	number, t := w.next, tries[0]
	w.next++
	w.flying[number] = func() { w.at(at.Add(90*time.Second), func(at time.Time) { w.attempt(at, job, tries) }) }
	w.log(at, "starting delivery %d: msg %d to %s %s", number, job.inode, t.channel, qmailSafe(t.to))
	w.status(at)
	w.at(at.Add(time.Duration(50+number*379%2900)*time.Millisecond), func(at time.Time) {
		if w.flying[number] == nil {
			return // a crash came first
		}
		delete(w.flying, number)
		word, report := qmailOutcome(t.says, t.dying)
		w.log(at, "delivery %d: %s: %s", number, word, report)
		w.status(at)
		if word == "deferral" {
			w.at(at.Add(t.wait), func(at time.Time) { w.attempt(at, job, tries[1:]) })
			return
		}
		job.failed = job.failed || word == "failure"
		if job.left--; job.left > 0 {
			return
		}
		if job.failed {
			w.log(at, "bounce msg %d qp %d", job.inode, w.pids)
			w.message(at.Add(time.Millisecond), "", [][]qmailTry{{{channel: "local", to: "collector-" + job.sender, says: "Kdid 0+0+1\nqp 4242\n"}}})
		}
		w.log(at, "end msg %d", job.inode)
		w.free = append(w.free, job.inode)
	})
}

// crash ends qmail-send without a word and starts it again. What was under way begins anew.
func (w *qmailWriter) crash(at time.Time) {
	w.at(at, func(at time.Time) {
		again := w.flying
		w.flying, w.next = map[int]func(){}, 1
		w.log(at, "status: local 0/10 remote 0/20")
		for number := range 10_000 {
			if start := again[number]; start != nil {
				start()
			}
		}
	})
}

// qmailFromTruth makes the log of a run in which the sink of another MTA's sample gave its answers to qmail, and the truth
// table of that run. All else is by qmail's rules.
func qmailFromTruth(truths []truth) ([]qmailLine, []truth) {
	w := newQmailWriter()
	start := time.Date(2026, 11, 21, 8, 40, 0, 123456500, time.UTC)
	messages := map[string]int{}
	var tries [][][]qmailTry
	var senders []string
	truths = slices.Clone(truths)
	for i := range truths {
		v := &truths[i]
		if v.LastReply == "" && (v.Outcome == "delivered" || v.Phase == "ok") {
			v.Phase = "ok"
		}
		ip := fmt.Sprintf("127.10.9.%d", i+1)
		if n := len(v.Seen); n > 0 {
			ip = v.Seen[n-1].IP
		}
		domain := v.Recipient[strings.LastIndexByte(v.Recipient, '@')+1:]
		says := qmailRemoteSays(v.Phase, v.Scenario, ip, domain, v.LastReply)
		t := []qmailTry{{channel: "remote", to: v.Recipient, says: says, wait: 40 * time.Second}}
		switch {
		case says[0] == 'K':
			v.Outcome = "delivered"
			if i%2 == 0 {
				greylisted := qmailRemoteSays("rcpt", "", ip, domain, "451 4.7.1 Greylisting in action, please come back later")
				t = []qmailTry{{channel: "remote", to: v.Recipient, says: greylisted, wait: 40 * time.Second}, t[0]}
			}
		case says[0] == 'D':
			v.Outcome = "bounced"
		default:
			v.Outcome = "expired"
			t = append(t, t[0], t[0])
			t[2].dying = true
		}
		if says[0] == 'D' && v.LastReply == "" {
			v.Seen = nil
		}
		m, ok := messages[v.MessageID]
		if !ok {
			m = len(tries)
			messages[v.MessageID] = m
			tries, senders = append(tries, nil), append(senders, v.Sender)
		}
		tries[m] = append(tries[m], t)
	}
	w.log(start, "status: local 0/10 remote 0/20")
	for m := range tries {
		w.message(start.Add(time.Duration(m)*700*time.Millisecond), senders[m], tries[m])
	}
	w.crash(start.Add(61 * time.Second))
	w.run()
	return w.lines, truths
}

// How log daemons write the lines.

func qmailTAI64N(l qmailLine) string {
	return fmt.Sprintf("@%016x%08x %s", 1<<62+10+l.at.Unix(), l.at.Nanosecond(), l.text)
}

// qmailLocal is what tai64nlocal makes of that in the zone of l.at.
func qmailLocal(l qmailLine) string {
	return l.at.Format("2006-01-02 15:04:05.000000000 ") + l.text
}

// qmailSplogger gives the messages of splogger.c: stamp and text, cut after 799 bytes.
func qmailSplogger(l qmailLine) []string {
	stamp := fmt.Sprintf("%d.%06d", l.at.Unix(), l.at.Nanosecond()/1000)
	var out []string
	for mark, rest := " ", l.text; rest != ""; mark = "+" {
		n := min(len(rest), 799)
		out = append(out, stamp+mark+rest[:n])
		rest = rest[n:]
	}
	return out
}
