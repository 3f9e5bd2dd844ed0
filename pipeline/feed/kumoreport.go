package feed

import (
	"strings"

	"carom.dev/carom/schema"
)

// KumoMTA's OOB and Feedback tell of a mail that came in: id, queue, egress, meta and headers of the record are that mail's,
// not those of the message that it is about.

// maxHeader bounds what is read of a returned message's header.
const maxHeader = 64 << 10

// readOriginal puts what the report returns of the message in place of what the record says of the report.
func (p *Parser) readOriginal(k *kumoRecord) {
	p.facts, k.messageID = p.facts[:0], ""
	for rest := k.original; rest != ""; {
		var name, value string
		name, value, rest = cutField(rest)
		if k.messageID == "" && strings.EqualFold(name, "Message-ID") {
			k.messageID = value
		}
		p.header(name, value)
	}
}

// async writes an asynchronous bounce. The response is put together from the report's Status and Diagnostic-Code: its code
// is the remote's only if there are words. The sender is the address to which the report came: the message's own.
func (k *kumoRecord) async(ev *schema.DeliveryEvent) {
	ev.Sender, ev.HasSender = cut(k.sender, maxString), k.hasSender
	a := answer{text: k.content, origin: schema.Origin_ASYNC_DSN, phase: schema.Phase_ASYNC, enhanced: k.enhanced}
	if k.content != "" {
		a.code = number(k.code)
	}
	fill(ev, a)
}

// kumoFeedback writes a feedback report (RFC 5965).
func (p *Parser) kumoFeedback(ev *schema.DeliveryEvent, k *kumoRecord) {
	ev.Sender, ev.HasSender = cut(k.reportSender, maxString), k.reported
	ev.SourceIp, ev.MessageId = cut(k.reportIP, maxString), cut(k.messageID, maxString)
	p.quiet(ev, k.feedback)
}

// cutField takes a field from the front of a header and unfolds it: RFC 5322, section 2.2. At the end of the header the rest
// is empty; a line that is no field has no name.
func cutField(header string) (name, value, rest string) {
	end := lineEnd(header, 0)
	if trimEnd(header[:end]) == "" {
		return "", "", ""
	}
	for end < len(header) && (header[end] == ' ' || header[end] == '\t') {
		end = lineEnd(header, end)
	}
	name, value, found := strings.Cut(header[:end], ":")
	if !found {
		return "", "", header[end:]
	}
	value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", ""), "\n", "")
	return strings.TrimSpace(name), strings.TrimSpace(value), header[end:]
}
