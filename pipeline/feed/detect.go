package feed

import "strings"

// detectBytes bounds what Detect looks at.
const detectBytes = 64 << 10

// Detect names the format of a body by its first record: a CSV header that begins with "type", or keys that no other
// format has. It looks at 64 kB at most, and does not check what follows.
func Detect(body []byte) (format string, ok bool) {
	r := newReader(string(body[:min(len(body), detectBytes)]))
	switch r.kind() {
	case '[':
		if !r.array() || r.kind() != '{' {
			return "", false
		}
	case '{':
	default:
		line, _, _ := strings.Cut(r.s[r.i:], "\n")
		fields := "," + strings.ToLower(strings.ReplaceAll(line, `"`, "")) + ","
		if strings.HasPrefix(fields, ",type,") && (strings.Contains(fields, ",rcpt,") || strings.Contains(fields, ",timelogged,")) {
			return PowerMTA, true
		}
		return "", false
	}
	seen := map[string]bool{}
	typeWord := ""
	for ok := r.object(); ok && len(seen) < 1000; ok = r.more() {
		seen[r.key] = true
		if r.key == "type" || r.key == "Type" {
			typeWord = r.str()
		}
	}
	has := func(keys ...string) bool {
		for _, k := range keys {
			if !seen[k] {
				return false
			}
		}
		return true
	}
	switch {
	case has("msys"):
		return SparkPost, true
	case has("RecordType"):
		return Postmark, true
	case has("Type", "TopicArn"), has("detail", "source"), has("mail", "notificationType"), has("mail", "eventType"):
		return SES, true
	case has("event-data"), has("event", "recipient", "timestamp", "id"):
		return Mailgun, true
	case has("event", "email", "timestamp"):
		return SendGrid, true
	case has("type", "id", "timestamp") && (has("queue") || has("recipient")) && typeWord != "":
		return KumoMTA, true
	}
	return "", false
}
