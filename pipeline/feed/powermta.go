package feed

import (
	"strings"
	"time"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// column is a column of an accounting file that matters here. Files choose their columns and order.
type column uint8

const (
	colType column = iota
	colTimeLogged
	colTimeQueued
	colSecondsQueued
	colOrig
	colRcpt
	colOrcpt
	colDSNAction
	colDSNStatus
	colDSNDiag
	colDSNMta
	colBounceCat
	colSourceIP
	colDestinationIP
	colVmta
	colJobID
	colEnvID
	colFeedback
	colMessageID
	numColumns
)

// columnByName knows the names of PowerMTA's accounting fields, upper and lower case alike.
func columnByName(name string) (column, bool) {
	for k, known := range [numColumns]string{
		"type", "timeLogged", "timeQueued", "totalSecondsQueued", "orig", "rcpt", "orcpt", "dsnAction", "dsnStatus", "dsnDiag",
		"dsnMta", "bounceCat", "dlvSourceIp", "dlvDestinationIp", "vmta", "jobId", "envId", "feedbackType", "header_Message-Id",
	} {
		if strings.EqualFold(name, known) {
			return column(k), true
		}
	}
	return 0, false
}

// record reads the row in c.p.fields.
func (c *CSV) record(row string) Reason {
	if c.header == "" {
		return ReasonHeader
	}
	if len(c.p.fields) != c.width {
		return ReasonColumns
	}
	p := c.p
	outcome, final, attempted := schema.Outcome_OUTCOME_UNSPECIFIED, true, false
	switch c.get(colType) {
	case "d":
		outcome, attempted = schema.Outcome_DELIVERED, true
	case "b":
		outcome, attempted = schema.Outcome_BOUNCED, true
	case "t":
		outcome, final, attempted = schema.Outcome_DEFERRED, false, true
	case "f":
		var noise Noise
		if outcome, noise = feedback(c.get(colFeedback)); outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
			return p.noise(noise)
		}
		if c.get(colRcpt) == "" {
			return p.noise(NoiseNobody)
		}
	case "rb":
		outcome = schema.Outcome_ASYNC_BOUNCE
	case "rs":
		switch strings.ToLower(c.get(colDSNAction)) {
		case "failed":
			outcome = schema.Outcome_ASYNC_BOUNCE
		case "delayed":
			outcome, final = schema.Outcome_DELAYED, false
		default:
			return p.noise(NoiseStatus)
		}
	case "tq":
		return p.noise(NoiseQueue)
	case "r":
		return p.noise(NoiseAccepted)
	case "":
		return ReasonFormat
	default:
		return p.unknownType(c.get(colType))
	}
	at, ok := accountingTime(c.get(colTimeLogged))
	if !ok {
		return ReasonTime
	}
	to := bare(c.get(colRcpt))
	if to == "" {
		return ReasonRecipient
	}
	ev := p.newEvent()
	ev.OccurredAtUs, ev.Outcome, ev.Final = at, outcome, final
	ev.OriginalRecipient = cut(cutAddressType(c.get(colOrcpt)), maxString)
	// Files of several types have the columns of all: only an attempt's own column, left empty, is the null sender.
	if orig := c.get(colOrig); orig != "" || (c.columns[colOrig] >= 0 && attempted) {
		ev.Sender, ev.HasSender = cut(bare(orig), maxString), true
	}
	ev.QueueId, ev.MessageId = cut(c.get(colEnvID), maxString), cut(c.get(colMessageID), maxString)
	ev.Instance = cut(c.get(colVmta), maxString)
	ev.SourceIp = cut(c.get(colSourceIP), maxString)
	ev.RemoteHost, ev.RemoteIp = cutHost(cut(c.get(colDSNMta), maxString))
	if ip := c.get(colDestinationIP); ip != "" {
		ev.RemoteIp = cut(ip, maxString)
	}
	setLabels(ev, "", "", c.get(colJobID))
	for _, f := range c.facts {
		p.fact(f.kind, f.name, p.fields[f.column])
	}
	switch outcome {
	case schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED:
		p.quiet(ev, c.get(colFeedback))
	case schema.Outcome_ASYNC_BOUNCE, schema.Outcome_DELAYED:
		a := c.answer()
		a.origin, a.phase = schema.Origin_ASYNC_DSN, schema.Phase_ASYNC
		fill(ev, a)
	default:
		c.attempt(ev)
	}
	p.send(ev, to, row)
	return reasonNone
}

// attempt fills in what rows of type d, b and t say.
func (c *CSV) attempt(ev *schema.DeliveryEvent) {
	if us, ok := unixMicros(c.get(colSecondsQueued)); ok || c.get(colSecondsQueued) == "0" {
		setDelay(ev, us)
	} else if queued, ok := accountingTime(c.get(colTimeQueued)); ok {
		setDelay(ev, ev.OccurredAtUs-queued)
	}
	a := c.answer()
	if ev.Outcome == schema.Outcome_DELIVERED {
		if a.origin == schema.Origin_REMOTE_REPLY {
			a.phase = schema.Phase_EOM
		} else {
			a.phase = schema.Phase_PHASE_UNSPECIFIED
		}
		fill(ev, a)
		return
	}
	status, words := c.status()
	if ev.Outcome != schema.Outcome_BOUNCED || (c.get(colBounceCat) != "message-expired" && !expiredStatus(status)) {
		fill(ev, a)
		return
	}
	// The queue's lifetime ran out. If the rest of the row speaks of something else, that was the last failure.
	ev.Outcome = schema.Outcome_EXPIRED
	expiry := answer{text: "message-expired", origin: schema.Origin_LOCAL_MTA, phase: schema.Phase_QUEUE}
	if expiredStatus(status) {
		expiry.enhanced = status
		if words != "" {
			expiry.text = words
		}
	}
	fill(ev, expiry)
	if a.origin == schema.Origin_REMOTE_REPLY || (status != "" && !expiredStatus(status)) {
		p := c.p
		p.blame(ev, a)
	}
}

// answer reads dsnDiag, and where that is empty, dsnStatus and bounceCat: then PowerMTA speaks for itself.
func (c *CSV) answer() answer {
	status, words := c.status()
	if diagnostic := c.get(colDSNDiag); diagnostic != "" {
		smtp, text := cutDiagnostic(diagnostic)
		if code, _ := smtpreply.Codes(text); smtp && code != 0 {
			return answer{text: text, enhanced: status, origin: schema.Origin_REMOTE_REPLY}
		}
		if text != "" {
			words = text
		}
	}
	category := c.get(colBounceCat)
	if words == "" {
		words = category
	}
	return answer{text: words, enhanced: status, origin: schema.Origin_LOCAL_MTA, phase: localPhase(status, category)}
}

// status takes "5.4.4 (unable to route)" apart.
func (c *CSV) status() (code, words string) {
	code, words, _ = strings.Cut(c.get(colDSNStatus), " ")
	words = strings.TrimSpace(words)
	if strings.HasPrefix(words, "(") && strings.HasSuffix(words, ")") {
		words = words[1 : len(words)-1]
	}
	return code, words
}

// localPhase maps PowerMTA's own findings by their enhanced code (RFC 3463, sections 3.2 and 3.5), else by category. A bad
// connection (X.4.2) broke at a stage that is not told.
func localPhase(status, category string) schema.Phase {
	if len(status) > 2 {
		switch status[2:] {
		case "1.2", "4.3", "4.4", "4.6":
			return schema.Phase_DNS
		case "4.1":
			return schema.Phase_CONNECT
		case "4.2":
			return schema.Phase_PHASE_UNSPECIFIED
		case "4.7":
			return schema.Phase_QUEUE
		}
	}
	switch category {
	case "bad-domain", "routing-errors":
		return schema.Phase_DNS
	case "no-answer-from-host":
		return schema.Phase_CONNECT
	case "message-expired":
		return schema.Phase_QUEUE
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// accountingTime reads seconds since 1970, or "2026-03-01 09:00:00+0100" (iso-times yes).
func accountingTime(s string) (us int64, ok bool) {
	if len(s) > 10 && s[4] == '-' {
		t, err := time.Parse("2006-01-02 15:04:05-0700", s)
		if err != nil || t.Unix() < 0 {
			return 0, false
		}
		return t.UnixMicro(), true
	}
	return unixMicros(s)
}
