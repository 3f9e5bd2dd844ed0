package ingest

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"carom.dev/carom/schema"
)

// repeatedLine reports whether the same line about a delivery came from this host within the last minutes of its own time:
// a shipper that lost its acknowledgement or re-read a rotated file sends it again, stamp and process id included.
func (m *machine) repeatedLine(line []byte) bool {
	if !counts(m.hosts[string(m.record.Key)].format, line) {
		return false
	}
	var h xxhash.Digest
	h.Reset()
	_, _ = h.Write(m.record.Key)
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(line)
	return !m.recent.add(h.Sum64())
}

// counts reports whether a line may be about a delivery, or begin a message, which would make another one of an entry that
// is there: remembering the others would only shorten the memory. The format is that of the host's lines before, empty
// for a host that is new.
func counts(format string, line []byte) bool {
	has := func(marks ...string) bool {
		for _, m := range marks {
			if bytes.Contains(line, []byte(m)) {
				return true
			}
		}
		return false
	}
	switch format {
	case "postfix":
		head := line[:min(len(line), 128)] // what begins a message stands behind its queue id
		return has(" status=") || bytes.Contains(head, []byte(": client=")) || bytes.Contains(head, []byte(": uid="))
	case "exim":
		return has(" => ", " == ", " ** ", " -> ", " >> ", " <= ")
	case "sendmail":
		return has(" stat=", ": from=")
	case "opensmtpd":
		return has(" result=", " msgid=")
	case "qmail":
		return has("delivery ", " msg ") // messages begin and end by number, which comes back
	}
	return true // a new host, few lines, or each of them counts
}

// repeatedEvent reports whether a feed has told this before: webhooks are sent again, and batched anew, when an
// acknowledgement was lost. What has no id of its own is known by its words.
func (m *machine) repeatedEvent(ev *schema.DeliveryEvent) bool {
	id := ev.FeedEventId
	if id == "" {
		id = ev.Raw.GetLine()
	}
	if id == "" {
		return false
	}
	var h xxhash.Digest
	h.Reset()
	for _, s := range [...]string{ev.Mta, ev.Feed, id, ev.Recipient} {
		_, _ = h.WriteString(s)
		_, _ = h.Write([]byte{0})
	}
	_, _ = h.Write([]byte{byte(ev.Outcome)})
	return !m.recent.add(h.Sum64())
}

func hashOf(value []byte) uint64 { return xxhash.Sum64(value) }
