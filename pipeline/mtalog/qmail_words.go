package mtalog

import (
	"net/netip"
	"strings"

	"carom.dev/carom/schema"
)

// A report is what qmail-remote or qmail-local said of one recipient: sentences, each a line of its own, and behind one of
// them perhaps "Remote host said: " with the reply, line ends included. qmail-remote.c, qmail-rspawn.c, qmail-lspawn.c.

// qmailTooLong is what qmail-send appends when a temporary failure becomes final: qmail-send.c, del_dochan.
const qmailTooLong = "I'm_not_going_to_try_again;_this_message_has_been_in_the_queue_too_long."

// qmailExpiry tells whether a failure is the queue's end.
type qmailExpiry struct {
	expired bool
	words   string // what qmail-send says of it; empty if the line was cut before
}

// lasting tells which way a report points by itself, whatever qmail-send made of it.
type lasting uint8

const (
	lastingUnknown lasting = iota
	lastingNot             // the message would be tried again
	lastingYes             // it would not
)

// qmailReport fills in what the report of an attempt says. a.outcome is set.
func qmailReport(a *attempt, report string, remote bool) (end qmailExpiry) {
	bare, body, told := *a, report, false
	if a.outcome == schema.Outcome_BOUNCED {
		if body, told = strings.CutSuffix(strings.TrimSuffix(report, "/"), qmailTooLong); !told {
			body = report
		}
	}
	how := qmailWords(a, body, remote)
	switch {
	case told && how == lastingYes:
		// qmail-send says so of temporary failures alone: these are the remote's words.
		*a = bare
		qmailWords(a, report, remote)
	case told:
		end = qmailExpiry{true, qmailText(qmailTooLong, "", "")}
	case a.outcome == schema.Outcome_BOUNCED && how == lastingNot:
		end.expired = true // the line was cut before qmail-send's words
	}
	return end
}

// qmailWords judges a report.
func qmailWords(a *attempt, report string, remote bool) lasting {
	a.origin = schema.Origin_LOCAL_MTA
	if !remote {
		a.relay, a.text, a.enhanced = "local", qmailText(report, "", a.recipient), qmailCode(report)
		return lastingUnknown // any program may have written it
	}
	head, reply, said := strings.Cut(report, "Remote_host_said:_")
	how := qmailStatement(a, strings.TrimSuffix(head, "/"))
	if a.phase == schema.Phase_RCPT {
		reply = qmailGivenUp(reply)
	}
	if said && (a.outcome == schema.Outcome_DELIVERED || !replyCode(reply) || reply[0] >= '4') {
		a.origin, a.text = schema.Origin_REMOTE_REPLY, qmailText(reply, reply[:min(len(reply), 3)], a.recipient)
		switch a.phase {
		case schema.Phase_MAIL, schema.Phase_RCPT, schema.Phase_DATA, schema.Phase_EOM: // the reply's code decides
			if replyCode(reply) && reply[0] == '4' {
				return lastingNot
			} else if replyCode(reply) {
				return lastingYes
			}
		}
		return how
	}
	// A reply to a command that went well ("220 ready for TLS") is not what failed.
	a.text, a.enhanced = qmailText(head, "", a.recipient), qmailCode(head)
	switch {
	case how != lastingUnknown || a.enhanced == "":
		return how
	case a.enhanced[0] == '4':
		return lastingNot
	}
	return lastingYes
}

// qmailStatement finds phase and peer in the sentence before the reply, or in all that qmail-remote said. Some patches put
// the recipient or a remark in front of it.
func qmailStatement(a *attempt, s string) lasting {
	for _, f := range [...]struct {
		words string // behind "HOST" or "Connected to HOST": qmail-remote.c, smtp
		phase schema.Phase
		how   lasting
	}{
		{"_does_not_like_recipient.", schema.Phase_RCPT, lastingUnknown},
		{"_accepted_message.", schema.Phase_EOM, lastingUnknown},
		{"_failed_after_I_sent_the_message.", schema.Phase_EOM, lastingUnknown},
		{"_but_sender_was_rejected.", schema.Phase_MAIL, lastingUnknown},
		{"_failed_on_DATA_command.", schema.Phase_DATA, lastingUnknown},
		{"_but_greeting_failed.", schema.Phase_BANNER, lastingNot},
		{"_but_my_name_was_rejected.", schema.Phase_EHLO, lastingNot},
		{"_but_connection_died._(#4.4.2)", schema.Phase_PHASE_UNSPECIFIED, lastingNot},
		{"_but_connection_died._Possible_duplicate!_(#4.4.2)", schema.Phase_EOM, lastingNot},
		{"_TLS_transmitted_message_accepted.", schema.Phase_EOM, lastingUnknown}, // s/qmail
	} {
		if before, ok := strings.CutSuffix(s, f.words); ok {
			a.phase = f.phase
			qmailPeer(a, before)
			return f.how
		}
	}
	switch {
	case strings.Contains(s, "Sorry,_I_couldn't_find_any_host_"), strings.Contains(s, "Sorry,_I_couldn't_find_a_mail_exchanger_"),
		strings.Contains(s, "CNAME_lookup_failed_"), strings.Contains(s, "listed_as_a_best-preference_MX_"):
		a.phase = schema.Phase_DNS
	case strings.Contains(s, "_establish_an_SMTP_connection"):
		a.phase = schema.Phase_CONNECT
	case strings.Contains(s, "_authentication_"):
		a.phase = schema.Phase_AUTH
		if before, _, ok := strings.Cut(s, "_but_"); ok {
			qmailPeer(a, before)
		}
	case strings.Contains(s, "TLS_"):
		// The TLS patch ends its sentences in "; connecting to HOST." or "; connected to HOST.".
		a.phase = schema.Phase_TLS
		for _, to := range [...]string{";_connecting_to_", ";_connected_to_"} {
			if k := strings.LastIndex(s, to); k >= 0 {
				qmailPeer(a, strings.TrimSuffix(s[k:], "."))
			}
		}
	}
	return lastingUnknown
}

// qmailPeer takes the host that s ends in: an address, of unpatched programs.
func qmailPeer(a *attempt, s string) {
	host := strings.Trim(s[strings.LastIndexAny(s, "_/")+1:], "[]")
	if _, err := netip.ParseAddr(host); err == nil {
		a.ip = host
	} else if strings.IndexByte(host, '.') > 0 {
		a.host, a.relay = host, host
	}
}

// qmailGivenUp takes off "Giving up on HOST.", which qmail-remote says when it has no recipient left.
func qmailGivenUp(reply string) string {
	const own = "/Giving_up_on_"
	if k := strings.LastIndex(reply, own); k >= 0 && strings.IndexByte(reply[k+len(own):], '_') < 0 {
		return reply[:k+1]
	}
	return reply
}

// qmailCode returns the code that qmail's own words end in: "(#4.4.1)". qmail makes it up.
func qmailCode(s string) string {
	k := strings.LastIndex(s, "(#")
	if k < 0 {
		return ""
	}
	code, _, ok := strings.Cut(s[k+2:], ")")
	if !ok || !validDSN([]byte(code)) {
		return ""
	}
	return code
}

// qmailText turns the log's marks back into text, as far as they tell. Every underscore becomes a blank, although some
// were underscores, percent signs or bytes that are not ASCII; only in the recipient's address, which is known, they stay.
// A slash may have been one or a line's end: in a reply it is taken for an end before the reply's code, which begins each
// of its lines (RFC 5321, section 4.2.1), in words of qmail's own (code is empty) behind what ends a sentence, and at the
// very end; else it stays.
func qmailText(s, code, recipient string) string {
	s = strings.TrimSuffix(s, "/")
	if strings.IndexByte(s, '_') < 0 && strings.IndexByte(s, '/') < 0 {
		return s
	}
	known := strings.IndexByte(recipient, '_') >= 0
	b := []byte(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case known && c == recipient[0] && strings.HasPrefix(s[i:], recipient):
			i += len(recipient) - 1
		case c == '_':
			b[i] = ' '
		case c != '/':
		case code == "":
			if i > 0 && i+1 < len(s) && s[i+1] != '/' && strings.IndexByte(".,;)", s[i-1]) >= 0 {
				b[i] = '\n'
			}
		case strings.HasPrefix(s[i+1:], code):
			if rest := s[i+1+len(code):]; rest == "" || rest[0] == '-' || rest[0] == '_' || rest[0] == '/' {
				b[i] = '\n'
			}
		}
	}
	return string(b)
}
