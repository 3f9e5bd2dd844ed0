package feed

import "strings"

// detectBytes bounds what Detect looks at.
const detectBytes = 64 << 10

// detectKeys bounds the members of a record that Detect looks at.
const detectKeys = 1000

// Keys that tell formats apart, one bit each.
const (
	keyMsys = 1 << iota
	keyRecordType
	keyType // SNS
	keyTopicArn
	keyDetail
	keySource
	keyMail
	keyNotificationType
	keyEventType
	keyEventData
	keyEvent
	keyRecipient
	keyTimestamp
	keyID
	keyEmail
	keyKumoType
	keyQueue
)

func detectKey(name string) int {
	switch name {
	case "msys":
		return keyMsys
	case "RecordType":
		return keyRecordType
	case "Type":
		return keyType
	case "TopicArn":
		return keyTopicArn
	case "detail":
		return keyDetail
	case "source":
		return keySource
	case "mail":
		return keyMail
	case "notificationType":
		return keyNotificationType
	case "eventType":
		return keyEventType
	case "event-data":
		return keyEventData
	case "event":
		return keyEvent
	case "recipient":
		return keyRecipient
	case "timestamp":
		return keyTimestamp
	case "id":
		return keyID
	case "email":
		return keyEmail
	case "queue":
		return keyQueue
	}
	return 0
}

// Detect names the format of a body, or of one line, by its first record: the keys that no other format has, or a header row
// of PowerMTA's. It looks at 64 kB at most, and does not check what follows. A PowerMTA row without its header is known by
// Files.Expects alone.
func Detect(body []byte) (format string, ok bool) {
	i := 0
	if len(body) >= 3 {
		i = bomLen(string(body[:3]))
	}
	for i < len(body) && (body[i] == ' ' || body[i] == '\t' || body[i] == '\r' || body[i] == '\n') {
		i++
	}
	if i == len(body) {
		return "", false
	}
	body = body[i:min(len(body), i+detectBytes)]
	if body[0] != '{' && body[0] != '[' {
		if isHeaderRow(body) {
			return PowerMTA, true
		}
		return "", false
	}
	r := reader{s: string(body)}
	if r.s[0] == '[' && (!r.array() || r.kind() != '{') {
		return "", false
	}
	seen, n := 0, 0
	for ok := r.object(); ok && n < detectKeys; ok = r.more() {
		n++
		if r.key == "type" {
			if r.str() != "" {
				seen |= keyKumoType
			}
			continue
		}
		seen |= detectKey(r.key)
	}
	has := func(keys int) bool { return seen&keys == keys }
	switch {
	case has(keyMsys):
		return SparkPost, true
	case has(keyRecordType):
		return Postmark, true
	case has(keyType | keyTopicArn), has(keyDetail | keySource), has(keyMail | keyNotificationType), has(keyMail | keyEventType):
		return SES, true
	case has(keyEventData), has(keyEvent | keyRecipient | keyTimestamp | keyID):
		return Mailgun, true
	case has(keyEvent | keyEmail | keyTimestamp):
		return SendGrid, true
	case has(keyKumoType|keyID|keyTimestamp) && seen&(keyQueue|keyRecipient) != 0:
		return KumoMTA, true
	}
	return "", false
}

// isHeaderRow reports a row of names of columns, among them those without which there is no event.
func isHeaderRow(body []byte) bool {
	n := 0
	for n < len(body) && body[n] != '\n' && body[n] != '\r' {
		if body[n] <= ' ' {
			return false // log lines have a blank early
		}
		n++
	}
	fields := "," + strings.ToLower(strings.ReplaceAll(string(body[:n]), `"`, "")) + ","
	return strings.Contains(fields, ",type,") && (strings.Contains(fields, ",rcpt,") || strings.Contains(fields, ",timelogged,"))
}
