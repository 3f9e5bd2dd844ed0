package eventjson

import (
	"strconv"
	"time"

	"carom.dev/carom/schema"
)

// Append appends ev as one JSON object, without a newline. It does not allocate if b has room.
//
// event_id, occurred_at, mta, mta_host, recipient, outcome, final, raw and backfill are always there; the rest is where the log
// told it. occurred_at is RFC 3339 in UTC with microseconds.
func Append(b []byte, ev *schema.DeliveryEvent) []byte {
	b = append(b, `{"event_id":`...)
	b = AppendString(b, ev.EventId)
	b = append(b, `,"occurred_at":`...)
	b = appendTime(b, ev.OccurredAtUs)
	b = append(b, `,"mta":`...)
	b = AppendString(b, ev.Mta)
	b = append(b, `,"mta_host":`...)
	b = AppendString(b, ev.MtaHost)
	b = appendField(b, `,"queue_id":`, ev.QueueId)
	b = appendField(b, `,"message_id":`, ev.MessageId)
	if ev.HasSender {
		b = append(b, `,"sender":`...)
		b = AppendString(b, ev.Sender)
	}
	b = append(b, `,"recipient":`...)
	b = AppendString(b, ev.Recipient)
	b = appendField(b, `,"original_recipient":`, ev.OriginalRecipient)
	b = appendField(b, `,"tenant":`, ev.Tenant)
	b = appendField(b, `,"stream":`, ev.Stream)
	b = appendField(b, `,"campaign":`, ev.Campaign)
	b = appendNumber(b, `,"attempt":`, int64(ev.Attempt))
	b = append(b, `,"outcome":"`...)
	b = append(b, outcomeNames[known(int(ev.Outcome), len(outcomeNames))]...)
	b = append(b, `","final":`...)
	b = strconv.AppendBool(b, ev.Final)
	b = appendNumber(b, `,"smtp_code":`, int64(ev.SmtpCode))
	b = appendField(b, `,"enhanced_code":`, ev.EnhancedCode)
	b = appendField(b, `,"text":`, ev.Text)
	b = appendField(b, `,"phase":`, phaseNames[known(int(ev.Phase), len(phaseNames))])
	b = appendField(b, `,"origin":`, originNames[known(int(ev.Origin), len(originNames))])
	b = appendField(b, `,"source_ip":`, ev.SourceIp)
	b = appendField(b, `,"remote_host":`, ev.RemoteHost)
	b = appendField(b, `,"remote_ip":`, ev.RemoteIp)
	b = appendTrue(b, `,"remote_recalled":true`, ev.RemoteRecalled)
	if ev.HasDelay {
		b = append(b, `,"delay_ms":`...)
		b = strconv.AppendInt(b, ev.DelayMs, 10)
	}
	if d := ev.Delays; d != nil {
		b = append(b, `,"delays_ms":{"before_qmgr":`...)
		b = strconv.AppendInt(b, d.BeforeQmgrMs, 10)
		b = append(b, `,"in_qmgr":`...)
		b = strconv.AppendInt(b, d.InQmgrMs, 10)
		b = append(b, `,"connect":`...)
		b = strconv.AppendInt(b, d.ConnectMs, 10)
		b = append(b, `,"transmit":`...)
		b = strconv.AppendInt(b, d.TransmitMs, 10)
		b = append(b, '}')
	}
	b = appendField(b, `,"enhanced_source":`, sourceNames[known(int(ev.EnhancedSource), len(sourceNames))])
	if ev.Cause != nil {
		b = append(b, `,"cause":`...)
		b = appendCause(b, ev.Cause)
	}
	b = appendField(b, `,"trust":`, trustNames[known(int(ev.Trust), len(trustNames))])
	b = appendField(b, `,"reporting_mta":`, ev.ReportingMta)
	b = appendField(b, `,"forwarded_to":`, ev.ForwardedTo)
	b = appendTrue(b, `,"joined":true`, ev.Joined)
	b = appendTrue(b, `,"machine":true`, ev.Machine)
	b = appendTrue(b, `,"orphan":true`, ev.Orphan)
	b = appendField(b, `,"feed":`, ev.Feed)
	b = appendField(b, `,"feed_event_id":`, ev.FeedEventId)
	b = append(b, `,"raw":`...)
	b = appendRaw(b, ev.Raw)
	b = append(b, `,"backfill":`...)
	b = strconv.AppendBool(b, ev.Backfill)
	return append(b, '}')
}

func appendCause(b []byte, c *schema.Cause) []byte {
	start := len(b)
	b = appendNumber(b, `,"smtp_code":`, int64(c.SmtpCode))
	b = appendField(b, `,"enhanced_code":`, c.EnhancedCode)
	b = appendField(b, `,"text":`, c.Text)
	b = appendField(b, `,"phase":`, phaseNames[known(int(c.Phase), len(phaseNames))])
	if len(b) == start {
		return append(b, '{', '}')
	}
	b[start] = '{' // in place of the first comma
	return append(b, '}')
}

func appendRaw(b []byte, r *schema.RawPosition) []byte {
	b = append(b, `{"topic":`...)
	b = AppendString(b, r.GetTopic())
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(r.GetPartition()), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, r.GetOffset(), 10)
	b = appendField(b, `,"line":`, r.GetLine())
	return append(b, '}')
}

// appendField appends a key, with its comma and colon, and a value that is not empty.
func appendField(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	return AppendString(append(b, key...), value)
}

// appendTrue appends a key with its value where it holds.
func appendTrue(b []byte, text string, holds bool) []byte {
	if !holds {
		return b
	}
	return append(b, text...)
}

// appendNumber appends a key and a number that is not zero.
func appendNumber(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), n, 10)
}

// appendTime appends Unix microseconds in quotes. Years beyond four digits, which RFC 3339 cannot say, are held at its ends.
func appendTime(b []byte, us int64) []byte {
	const first, last = -62135596800 * 1_000_000, 253402300800*1_000_000 - 1
	b = append(b, '"')
	b = time.UnixMicro(min(max(us, first), last)).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	return append(b, '"')
}

// The names of the enums, since making them anew for each event would allocate. A test holds them against schema's.
var (
	outcomeNames = [...]string{"", "delivered", "deferred", "bounced", "expired", "async_bounce", "delayed", "complaint", "suspended", "opened", "clicked", "unsubscribed"}
	phaseNames   = [...]string{"", "dns", "connect", "banner", "ehlo", "tls", "auth", "mail", "rcpt", "data", "eom", "quit", "queue", "async"}
	originNames  = [...]string{"", "remote_reply", "local_mta", "async_dsn", "esp"}
	sourceNames  = [...]string{"", "remote", "mta", "none"}
	trustNames   = [...]string{"", "none", "known", "signed"}
)

// known maps a value of a later schema to the first, which has no name.
func known(n, size int) int {
	if n < 0 || n >= size {
		return 0
	}
	return n
}
