package dsn

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
)

// transcript follows the SMTP dialogue that Sendmail, and others after it, put into their reports:
//
//	... while talking to mx.example.net.:
//	>>> RCPT To:<jane@example.net>
//	<<< 550 5.1.1 unknown
//	550 5.1.1 <jane@example.net>... User unknown
//
// A line that names an address gives the last reply to it; a reply that no line claims goes to the address of its RCPT command,
// or to all recipients that have none.
type transcript struct {
	*reading
	host    string
	command string
	rcpt    string   // address of the last RCPT command
	reply   []string // lines of the last reply
	open    bool     // the reply goes on
	loose   []string // a reply that no address claimed
	seen    bool
	session bool // within a transcript: what no server said is Sendmail's own
}

// line takes a line of a dialogue; false for any other.
func (t *transcript) line(s string) bool {
	s = withoutStamp(s)
	switch {
	case strings.HasPrefix(s, ">>> ") || strings.HasPrefix(s, "--> ") || strings.HasPrefix(s, "Sent <<< ") || strings.HasPrefix(s, "Sent >>> ") || strings.HasPrefix(s, "In:  "):
		_, command, _ := strings.Cut(s, " ")
		command = strings.TrimLeft(command, "<> ")
		if plausible(firstWord(command)) {
			return false // Active!Hunter marks its recipients so
		}
		t.settle()
		t.seen, t.session, t.command, t.rcpt = true, true, command, ""
		if rest, ok := after(command, "RCPT TO:"); ok {
			t.rcpt = strings.Trim(firstWord(rest), "<>")
		}
	case strings.HasPrefix(s, "<<< ") || strings.HasPrefix(s, "<-- ") || strings.HasPrefix(s, "Received >>> ") || strings.HasPrefix(s, "Received <<< ") || strings.HasPrefix(s, "Out: "):
		_, reply, _ := strings.Cut(s, " ")
		reply = strings.TrimLeft(reply, "<> ")
		if !t.open {
			t.reply = t.reply[:0]
		}
		t.seen, t.session, t.open = true, true, true
		if reply == "" || reply[0] < '4' {
			t.open = false
			t.reply = t.reply[:0]
			return true
		}
		// A reply ends with the line whose code a blank follows.
		t.reply = append(t.reply, reply)
		if len(reply) > 3 && reply[3] != '-' {
			t.open = false
			t.claim(t.rcpt, nil)
		}
	default:
		if i := strings.Index(s[:min(len(s), 30)], "hile talking to "); i > 0 && i < 7 { // "While" too
			t.settle()
			t.seen = true
			t.host = leadingHost(s[i+len("hile talking to "):])
			return true
		}
		// Courier: "mx.example.net [192.0.2.1]:" in front of the dialogue
		if h := leadingHost(s); h != "" && strings.HasSuffix(s, "]:") && strings.HasPrefix(s[len(h):], " [") {
			t.host = h
			return true
		}
		return t.verdict(s)
	}
	return true
}

// withoutStamp cuts the time in front of an arrow: "Tue 2026-04-14 09:12:02: --> RCPT To:<jane@client.example>" (MDaemon).
func withoutStamp(s string) string {
	stamp, rest, found := strings.Cut(s, ": ")
	if found && len(stamp) < 40 && (strings.HasPrefix(rest, "--> ") || strings.HasPrefix(rest, "<-- ")) {
		return rest
	}
	return s
}

// verdict reads "550 5.1.1 <jane@example.net>... User unknown" and "<jane@example.net>... Deferred: ...".
func (t *transcript) verdict(s string) bool {
	head, words, found := strings.Cut(s, "... ")
	if !found || len(head) > 400 {
		return false
	}
	code, _ := smtpreply.Codes(head + " ")
	if code == 0 && !t.seen {
		return false
	}
	addr := head
	if i := strings.LastIndexByte(head, ' '); i >= 0 {
		addr = head[i+1:]
	}
	addr = strings.Trim(addr, "<>,")
	if !plausible(addr) {
		return false
	}
	own := s
	if rest, ok := after(words, "Deferred: "); ok {
		own = rest
	} else if inner, _ := smtpreply.Codes(words); code == 0 || inner != 0 {
		own = words
	}
	t.seen = true
	t.claim(addr, []string{own})
	t.reply = t.reply[:0]
	return true
}

// claim gives the last reply, or else the reporting server's own words, to an address.
func (t *transcript) claim(addr string, own []string) {
	if addr == "" {
		return
	}
	b := t.find(addr)
	if b == nil {
		if b = t.add(addr); b == nil {
			return
		}
	}
	switch {
	case len(t.reply) > 0: // A later host's answer, or the one that names the address, is the last one.
		b.words, b.remote, b.command, b.local = append([]string(nil), t.reply...), t.host, t.command, false
	case b.command == "":
		b.words, b.local = append([]string(nil), own...), t.session
	}
	if b.command == "" {
		b.command = "-"
	}
}

// settle keeps a reply to a command that names no recipient: DATA, MAIL FROM.
func (t *transcript) settle() {
	if len(t.reply) > 0 && t.rcpt == "" && len(t.loose) == 0 {
		t.loose = append([]string{}, t.reply...)
	}
	t.open = false
}

// finish gives what nobody claimed to those who have nothing of their own.
func (t *transcript) finish() {
	t.settle()
	if len(t.loose) == 0 {
		return
	}
	for i := range t.blocks {
		b := &t.blocks[i]
		if b.command != "" {
			continue
		}
		if has := strings.Join(b.words, " "); findReply(has) < 0 || strings.HasPrefix(strings.TrimPrefix(has, "(reason: "), t.loose[0]) {
			b.words, b.remote, b.command, b.local = t.loose, t.host, t.command, false
		}
	}
	t.shared = append(t.shared, t.loose...)
}
