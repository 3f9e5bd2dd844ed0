package dsn

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// answer is what the words about a recipient say.
type answer struct {
	wrapper  string // what stands in front of the reply, without blanks at its end
	text     string // the remote's reply without the reporting server's wrapper, or all the words
	code     int
	enhanced string
	remote   string // host that answered or could not be reached
	phase    schema.Phase
	origin   schema.Origin
	local    bool // the words are the reporting server's own
	inner    bool // text is the last of several answers that were given
}

// reasonLabels stand in front of words, in lower case.
var reasonLabels = [...]string{
	"delay reason:", "failure reason:", "reason:", "error:", "because:", "weil:", "parce que:", "parce que :", "porque:", "perché:", "omdat:", "ponieważ:", "grund:", "raison :", "raison:", "motif :", "motif:", "motivo:", "causa:", "razón:", "reden:", "powód:", "причина:", "原因:", "理由:", "원인:", "사유:",
}

// behindLabel cuts such a label, or the mark of a list.
func behindLabel(s string) (string, bool) {
	for _, label := range reasonLabels {
		if rest, ok := after(s, label); ok && rest != "" {
			return rest, true
		}
	}
	rest := strings.TrimLeft(s, "-*• ")
	return rest, rest != ""
}

// maxWords is how much of the words about one recipient is searched. Replies are shorter: RFC 5321, section 4.5.3.1.5 allows 512 bytes
// a line.
const maxWords = 32 << 10

// readAnswer finds a reply within the words of a report, the wrapper that the reporting server put around it, and what the
// wrapper tells: host and phase. Lines of s may still be apart.
func readAnswer(s string) answer {
	s = strings.TrimSpace(s[:min(len(s), maxWords)])
	if rest, ok := behindLabel(s); ok {
		s = rest
	}
	var a answer
	if s == "" {
		return a
	}
	at := findReply(s)
	if at < 0 && strings.IndexByte(s, '_') >= 0 { // QUIRK: 550_5.1.1_user_unknown
		if blank := strings.ReplaceAll(s, "_", " "); findReply(blank) >= 0 {
			s, at = blank, findReply(blank)
		}
	}
	wrapper, reply := s, ""
	if at >= 0 {
		wrapper, reply = s[:at], s[at:]
		a.wrapper = strings.TrimRight(wrapper, " \t\r\n")
		reply, wrapper = unwrap(reply, wrapper)
	}
	if wrapper = joinFields(wrapper); wrapper != "" {
		low := strings.ToLower(wrapper)
		a.remote = hostIn(wrapper, low)
		a.phase = phaseIn(low)
	}
	if at < 0 {
		a.text = joinFields(s)
		a.enhanced = enhancedIn(s)
		a.local = true
		a.origin = schema.Origin_ASYNC_DSN
		if a.phase != 0 || a.remote != "" {
			a.origin = schema.Origin_LOCAL_MTA
		}
		return a
	}
	reply = joinFields(reply)
	if inner, ok := lastCause(reply); ok {
		reply, a.inner = inner, true
	}
	a.code, a.enhanced = smtpreply.Codes(reply)
	// QUIRK: Gmail and others repeat the code: "554 554 5.7.0 Header error".
	if len(reply) > 8 && a.enhanced == "" && reply[:4] == reply[4:8] && reply[3] == ' ' {
		reply = reply[4:]
		a.code, a.enhanced = smtpreply.Codes(reply)
	}
	if a.enhanced == "" {
		if len(reply) > 4 && strings.IndexByte(":-", reply[3]) >= 0 { // QUIRK: "550: 5.2.2 mailbox full"
			_, a.enhanced = smtpreply.Codes(strings.TrimLeft(reply[4:], " '"))
		}
		if a.enhanced == "" {
			a.enhanced = enhancedIn(reply)
		}
		if a.enhanced == "" { // Amazon SES: 5.3.0 - Other mail system problem 550-'unknown'
			_, a.enhanced = smtpreply.Codes(a.wrapper)
		}
	}
	a.text = reply
	a.origin = schema.Origin_REMOTE_REPLY
	if low := strings.ToLower(reply); containsAny(low, ownReplies[:]) {
		a.local, a.origin = true, schema.Origin_LOCAL_MTA
		if a.remote == "" {
			a.remote = hostIn(reply, low)
		}
	}
	return a
}

// ownReplies are words of what looks like a reply and is the reporting server's own finding: no server said it. In lower case.
//
// QUIRK: Sendmail, Momentum, KumoMTA and Exchange make up a code for what they found themselves.
var ownReplies = [...]string{"reply: read error from", "[internal]", "kumomta internal", "queue.expired", "message expired"}

// lastCause finds the last answer within the words about an expired message, as Amazon SES writes it: "554 4.4.7 Message expired: unable to
// deliver in 840 minutes.<451 4.7.1 try again later>".
func lastCause(reply string) (string, bool) {
	open := strings.LastIndexByte(reply, '<')
	if open < 20 || reply[len(reply)-1] != '>' || !strings.Contains(strings.ToLower(reply[:open]), "expired") {
		return "", false
	}
	inner := reply[open+1 : len(reply)-1]
	return inner, findReply(inner) == 0
}

// findReply returns where an SMTP reply of class 4 or 5 begins in s, or -1. A number is a code where nothing but a mark stands in
// front of it (": 550", "'550", at the front of a line), or where an enhanced code follows it.
func findReply(s string) int {
	bare := -1
	for i := 0; i+3 <= len(s); i++ {
		if c := s[i]; c != '4' && c != '5' {
			continue
		}
		if i > 0 && !replyMayFollow(s[i-1]) {
			continue
		}
		if s[i+1] == '.' { // an enhanced code alone at the front of a line: "5.2.2 mailbox full"
			if _, enhanced := smtpreply.Codes(s[i:]); enhanced != "" && bare < 0 && (i == 0 || s[i-1] == '\n') && strings.IndexByte(s[i:], ' ') == len(enhanced) {
				bare = i
			}
			continue
		}
		if s[i+1] < '0' || s[i+1] > '9' || s[i+2] < '0' || s[i+2] > '9' {
			continue
		}
		if i+3 < len(s) && strings.IndexByte(" -:,\t\r\n#", s[i+3]) < 0 {
			continue
		}
		code, enhanced := smtpreply.Codes(s[i:])
		if code == 0 {
			continue
		}
		// QUIRK: a reply in quotes behind its code: 550-'5.2.2 mailbox full'.
		if enhanced != "" || marked(s[:i]) || strings.HasPrefix(s[i+3:], "-'") {
			return i
		}
	}
	return bare
}

func replyMayFollow(c byte) bool { return strings.IndexByte(" \t\n\r'\"(:;#=<>[]", c) >= 0 }

// marked reports whether what stands in front of a number lets it be a reply code.
func marked(s string) bool {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	if s == "" {
		return true
	}
	switch s[len(s)-1] {
	case '\n', '\r', '\'', '"', '(', '[', ';', '#', '=':
		return true
	case ':':
		// "12: 450 seconds" and a time of day are no reply.
		return len(s) < 2 || s[len(s)-2] < '0' || s[len(s)-2] > '9'
	case ',': // "[192.0.2.1], 550 ..."
		return strings.HasSuffix(s, "],")
	case '>':
		return strings.HasSuffix(s, ">>>")
	case '<':
		return strings.HasSuffix(s, "<<<")
	}
	return false
}

// unwrap cuts what the reporting server put behind the reply, and adds it to the wrapper.
func unwrap(reply, wrapper string) (string, string) {
	if i := strings.Index(reply, "\n\n"); i > 0 {
		reply = reply[:i]
	}
	low := strings.ToLower(reply)
	if i := strings.LastIndex(low, "(in reply to"); i > 0 && len(low) == len(reply) { // Postfix
		return reply[:i], wrapper + reply[i:]
	}
	if trimmed := strings.TrimRight(reply, " \r\n\t"); strings.HasSuffix(trimmed, "]") { // Yahoo: [RCPT_TO]
		if i := strings.LastIndexByte(trimmed, '['); i > 0 && yahooStep(trimmed[i+1:len(trimmed)-1]) {
			return trimmed[:i], wrapper + " " + strings.ReplaceAll(trimmed[i:], "_", " ")
		}
	}
	// qmail: the reply ends where qmail goes on.
	for _, own := range [...]string{"\nGiving up on ", "\nI'm not going to try again"} {
		if i := strings.Index(reply, own); i > 0 {
			wrapper += "\n" + reply[i+1:]
			reply = reply[:i]
		}
	}
	if n := len(wrapper); n > 0 {
		trimmed := strings.TrimRight(reply, " \r\n\t")
		switch wrapper[n-1] {
		case '\'': // Exchange: Remote Server returned '550 ...', and further ones below
			if end := strings.Index(reply, "'\n"); end > 0 {
				trimmed = reply[:end]
			}
			reply = strings.TrimSuffix(trimmed, "'")
		case '[':
			reply = strings.TrimSuffix(trimmed, "]")
		case '(':
			if strings.Count(trimmed, "(") < strings.Count(trimmed, ")") {
				reply = strings.TrimSuffix(trimmed, ")")
			}
		case ';': // Exchange: #<mx.example #5.7.1 smtp;550 5.7.1 ...> #SMTP#
			if inner, ok := strings.CutSuffix(trimmed, "#SMTP#"); ok {
				reply = strings.TrimSuffix(strings.TrimSpace(inner), ">")
			}
		case '#': // Exchange: #550 5.1.1 ... ##
			reply = strings.TrimSuffix(trimmed, "##")
		}
	}
	return reply, wrapper
}

func yahooStep(s string) bool {
	switch s {
	case "RCPT_TO", "MAIL_FROM", "DATA", "EOD", "CONNECT", "HELO", "EHLO", "BODY":
		return true
	}
	return false
}
