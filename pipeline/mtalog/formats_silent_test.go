package mtalog

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// What the logs do not say. Each function is asked only about an answer that differs from the sink's.

const ownMX = "the MX is this host: the sink saw nothing, and the log names its own refusal"

func eximSilent(field string, w *truth, got answerOf) string {
	switch {
	case w.Scenario == "dn-mxself":
		return ownMX
	case got.text == "a TLS session is required, but an attempt to start TLS failed":
		return "the reply to STARTTLS is not logged"
	case strings.HasPrefix(got.text, "SMTP timeout after end of data ") && w.LastCode != 0:
		return "Exim timed out within the reply"
	case field == "phase" && w.Phase == "data" && strings.HasSuffix(got.text, "in response to end of data"):
		return "a reset during a short body is noticed after the final dot"
	case w.Scenario == "hs-refused" && (field == "attempt" || field == "last failure"):
		return "this message was never tried: the time of its host had run out"
	}
	return ""
}

func sendmailSilent(field string, w *truth, got answerOf) string {
	switch {
	case field == "phase" && got.phase == schema.Phase_PHASE_UNSPECIFIED && got.origin == schema.Origin_REMOTE_REPLY:
		return "Sendmail does not log which command a reply answers"
	case field == "phase" && got.phase == schema.Phase_PHASE_UNSPECIFIED:
		return "a lost connection without the place where it broke"
	case field == "remote address":
		return "no address in the line: an answer over a connection that was open already"
	case w.LastCode == 0 && got.code == 421:
		return "the server closed on another recipient's account; its answer to that one is logged for all"
	case field == "phase" && got.phase == schema.Phase_BANNER && w.Phase == "ehlo":
		return "Sendmail treats the greeting and EHLO alike"
	case strings.Contains(w.Scenario, "garbage") && got.code == 503:
		return "the line that was no reply is not logged, but what the sink said to the next command"
	}
	return ""
}

func opensmtpdSilent(field string, w *truth, got answerOf) string {
	switch {
	case w.Scenario == "dn-mxself":
		return ownMX
	case field == "phase" && got.phase == schema.Phase_PHASE_UNSPECIFIED:
		return "OpenSMTPD does not log the command that failed"
	case got.text == "Bad response: reply code out of range", got.text == "Connection closed unexpectedly":
		return "the reply is not logged"
	case got.text == "IO Error: Connection reset by peer" && w.LastCode == 421:
		return "OpenSMTPD met the reset before it read the reply"
	case got.text == "Network error on destination MXs":
		return "the line names the domain, the session a host outside of it"
	case field == "reply" && strings.HasSuffix(w.LastReply, got.text) && strings.Count(w.LastReply, "\n") > 20:
		return "OpenSMTPD keeps the last line of a very long reply"
	}
	return ""
}

func harakaSilent(field string, w *truth, got answerOf) string {
	switch {
	case w.Scenario == "dn-mxself":
		return ownMX
	case field == "remote address" && got.origin == schema.Origin_REMOTE_REPLY:
		return "Haraka does not name the host that replied"
	case field == "phase" && strings.HasPrefix(got.text, "Failed to get socket: connect ECONNRESET"):
		return "a reset before the greeting is a failed connection to Haraka"
	case field == "phase" && got.phase == schema.Phase_PHASE_UNSPECIFIED:
		return "Haraka does not log the command that failed"
	case strings.HasPrefix(got.text, "Remote end "):
		return "the answer before the connection broke is not logged"
	case field == "outcome" && w.Scenario == "cn-tlsgarbage-enf":
		return "Haraka took the garbage for a permanent answer, and its log and its notification say so"
	}
	return ""
}

func dmaSilent(field string, w *truth, got answerOf) string {
	switch {
	case w.Scenario == "dn-mxself":
		return ownMX
	case field == "last failure":
		return "dma logs no timeout and no lost connection"
	case got.text == "invalid syntax in reply from server":
		return "the reply is not logged"
	case strings.HasPrefix(got.text, "SSL handshake failed"):
		return "dma tries TLS first and logs that failure, not the refusal of EHLO"
	case field == "phase" && got.text == "write error":
		return "dma does not log the command that failed"
	}
	return ""
}

func qmailSilent(field string, w *truth, got answerOf) string {
	switch {
	case field == "phase" && got.phase == schema.Phase_PHASE_UNSPECIFIED && strings.HasSuffix(got.text, " but connection died. (#4.4.2)"):
		return "qmail-remote does not say where the connection died"
	}
	return ""
}

// qmailReplied compares as much of a reply as qmail logs; splogger cuts the end.
func qmailReplied(logged, sent string) bool {
	sent, logged = qmailShown(sent), strings.ReplaceAll(logged, "_", " ") // the recipient's own stay
	return logged == sent || (len(logged) > 700 && strings.HasPrefix(sent, logged))
}

// replyFolded compares replies whose lines the MTA joins by a mark; syslogd writes #011 for a tab, and the end may be cut:
// Exim keeps 1 kB of what may be four characters for a byte.
func replyFolded(mark string) func(logged, sent string) bool {
	blanks := func(s string) string {
		for strings.Contains(s, " \n") {
			s = strings.ReplaceAll(s, " \n", "\n") // some MTAs cut blanks off the lines
		}
		return s
	}
	return func(logged, sent string) bool {
		if logged == strings.TrimRight(sent, " ") {
			return true // it may hold the mark itself
		}
		logged = blanks(strings.ReplaceAll(strings.ReplaceAll(logged, mark, "\n"), "#011", "\t"))
		sent = strings.TrimRight(blanks(sent), " ")
		return strings.TrimRight(logged, " ") == sent || (len(logged) > 240 && strings.HasPrefix(sent, logged))
	}
}

// firstLine compares with the reply's first line. Sendmail writes a blank for the hyphen and cuts out the middle.
func firstLine(logged, sent string) bool {
	sent, _, _ = strings.Cut(sent, "\n")
	plain := func(s string) string {
		if len(s) > 3 && s[3] == '-' {
			s = s[:3] + " " + s[4:]
		}
		return s
	}
	logged, sent = plain(logged), plain(sent)
	if begin, end, cut := strings.Cut(logged, "..."); cut && strings.HasPrefix(sent, begin) && strings.HasSuffix(sent, end) {
		return true
	}
	return logged == sent
}

// withoutCodes compares words, where the MTA leaves out line ends and some of the repeated codes.
func withoutCodes(logged, sent string) bool {
	squash := func(s string) string {
		s = strings.ReplaceAll(s, "#011", "\t")
		if len(s) > 4 && s[4] == '#' { // Haraka takes it off
			s = s[:4] + s[5:]
		}
		code, enhanced := s[:min(len(s), 3)], ""
		if f := strings.Fields(strings.Replace(s, "-", " ", 1)); len(f) > 1 && smtpreply.ValidEnhanced(f[1]) {
			enhanced = f[1]
		}
		for _, cut := range []string{"\n" + code + "-", "\n" + code + " ", code + "-", "\n", enhanced} {
			if cut != "" {
				s = strings.ReplaceAll(s, cut, " ")
			}
		}
		return strings.TrimPrefix(strings.Join(strings.Fields(s), ""), code)
	}
	a, b := squash(logged), squash(sent)
	return a == b || (len(logged) > 700 && strings.HasPrefix(b, a))
}
