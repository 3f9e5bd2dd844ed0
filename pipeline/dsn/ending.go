package dsn

import "strings"

// endings begin the line behind which the returned message stands, in lower case and without the decoration in front.
var endings = [...]string{
	"below this line is a copy", "this is a copy of", "original message", "message headers follow", "message header follow", "message text follows",
	"unsent message", "the header of the original", "the header and top", "included is a copy", "returned message", "original mail", "original headers",
	"below is a copy of the original", "below the first", "message contents", "the following is a copy", "original header", "possibly truncated original message",
	"here is listed the initial part", "a copy of the original", "here is a copy", "enclosed is the original", "enclosed are the original", "undelivered message", "your original message",
	"original-nachricht", "ursprüngliche nachricht", "originalnachricht", "message d'origine", "message original", "en-têtes de message", "mensaje original", "encabezados de mensaje", "mensagem original",
	"messaggio originale", "oorspronkelijk bericht", "oryginalna wiadomość", "исходное сообщение", "原始邮件", "原始郵件", "元のメッセージ", "원본 메시지",
}

// isEnding reports whether a line is such a separator. Without dashes around it must be a whole sentence ending in a mark.
func isEnding(line string) bool {
	if len(line) < 8 || len(line) > 300 {
		return false
	}
	t := strings.TrimLeft(line, "|-=*_ ")
	dashes := len(line) - len(t)
	last := strings.TrimRight(t, " ")
	if last == "" || dashes <= 1 && last[len(last)-1] != ':' && last[len(last)-1] != '.' {
		return false
	}
	for _, e := range endings {
		if len(t) < len(e) || !strings.EqualFold(t[:len(e)], e) {
			continue
		}
		if dashes > 1 {
			return true
		}
		bare := strings.EqualFold(strings.TrimRight(last, ":."), e)
		return !bare || e == "original message" || e == "original headers" || e == "message headers follow" || e == "original mail" || e[0] >= 0x80
	}
	return false
}

// isRule reports whether a line only parts others: a ruled line, or a heading between two of them.
func isRule(line string) bool {
	const marks = "-=*_+#~|. "
	if len(line) < 3 {
		return false
	}
	left := len(line) - len(strings.TrimLeft(line, marks))
	if left == len(line) {
		return true
	}
	right := len(line) - len(strings.TrimRight(line, marks))
	if strings.HasPrefix(line, "---") && strings.IndexByte(line, '@') < 0 && findReply(line) < 0 {
		return true
	}
	return left > 4 && strings.IndexByte("-=*_|", line[0]) >= 0 || left > 2 && right > 2 && strings.IndexByte("-=*_|", line[0]) >= 0
}

// returnedFields are header fields with which a returned message begins.
var returnedFields = [...]string{
	"received", "return-path", "dkim-signature", "message-id", "mime-version", "from", "to", "subject", "date", "content-type", "authentication-results", "delivered-to", "x-received",
	"reply-to", "sender", "list-unsubscribe", "feedback-id", "arc-seal", "x-mailer",
}

// beginsTrace reports whether text begins with a trace field, as a returned message does that nothing announced. known tells that a
// recipient was named already.
func beginsTrace(text string, known bool) bool {
	return known && strings.HasPrefix(text, "Received: ") || strings.HasPrefix(text, "Return-Path: <")
}

// returnedAhead reports whether text begins with the header of such a message by another field: at least four of the usual ones in a row,
// Message-ID or a trace among them. If not, none of the first looked lines begins one.
func returnedAhead(text string) (ahead bool, looked int) {
	if c := lower(text[0]); c != 'r' && c != 'd' && c != 'm' && c != 'f' && c != 't' && c != 's' && c != 'c' && c != 'a' && c != 'x' && c != 'l' {
		return false, 1
	}
	count, telling, line := 0, false, 0
	for ; line < 40 && text != ""; line++ {
		var s string
		s, text, _ = strings.Cut(text, "\n")
		if s = strings.TrimRight(s, "\r"); s == "" {
			break
		}
		if line > 0 && (s[0] == ' ' || s[0] == '\t') {
			continue
		}
		n := nameLen([]byte(s[:min(len(s), 80)]))
		if n == 0 || line == 0 && !isReturnedField(s[:n]) {
			break
		}
		if isReturnedField(s[:n]) {
			count++
		}
		telling = telling || strings.EqualFold(s[:n], "Message-ID") || strings.EqualFold(s[:n], "Received")
	}
	return count >= 4 && telling, max(line, 1)
}

func isReturnedField(name string) bool {
	for _, f := range returnedFields {
		if strings.EqualFold(name, f) {
			return true
		}
	}
	return false
}
