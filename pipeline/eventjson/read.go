package eventjson

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

type eventObject struct {
	EventID           string       `json:"event_id"`
	OccurredAt        *time.Time   `json:"occurred_at"`
	MTA               string       `json:"mta"`
	MTAHost           string       `json:"mta_host"`
	QueueID           string       `json:"queue_id"`
	MessageID         string       `json:"message_id"`
	Sender            *string      `json:"sender"`
	Recipient         string       `json:"recipient"`
	OriginalRecipient string       `json:"original_recipient"`
	Tenant            string       `json:"tenant"`
	Stream            string       `json:"stream"`
	Campaign          string       `json:"campaign"`
	Attempt           uint32       `json:"attempt"`
	Outcome           string       `json:"outcome"`
	Final             bool         `json:"final"`
	SMTPCode          int32        `json:"smtp_code"`
	EnhancedCode      string       `json:"enhanced_code"`
	Text              string       `json:"text"`
	Phase             string       `json:"phase"`
	Origin            string       `json:"origin"`
	SourceIP          string       `json:"source_ip"`
	RemoteHost        string       `json:"remote_host"`
	RemoteIP          string       `json:"remote_ip"`
	RemoteRecalled    bool         `json:"remote_recalled"`
	DelayMS           *int64       `json:"delay_ms"`
	Delays            *delayObject `json:"delays_ms"`
	EnhancedSource    string       `json:"enhanced_source"`
	Cause             *causeObject `json:"cause"`
	Trust             string       `json:"trust"`
	ReportingMTA      string       `json:"reporting_mta"`
	ForwardedTo       string       `json:"forwarded_to"`
	Joined            bool         `json:"joined"`
	Machine           bool         `json:"machine"`
	Orphan            bool         `json:"orphan"`
	Feed              string       `json:"feed"`
	FeedEventID       string       `json:"feed_event_id"`
	Raw               rawObject    `json:"raw"`
	Backfill          bool         `json:"backfill"`
}

type delayObject struct {
	BeforeQmgr int64 `json:"before_qmgr"`
	InQmgr     int64 `json:"in_qmgr"`
	Connect    int64 `json:"connect"`
	Transmit   int64 `json:"transmit"`
}

type causeObject struct {
	SMTPCode     int32  `json:"smtp_code"`
	EnhancedCode string `json:"enhanced_code"`
	Text         string `json:"text"`
	Phase        string `json:"phase"`
}

type rawObject struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Line      string `json:"line"`
}

// ParseEvent reads one object that [Append] wrote, or one made by hand with the same names. Names that it does not know
// are ignored. An outcome, phase, origin or enhanced_source that is none, and an event without outcome, recipient or time, is an error.
//
// The JSON of a cause says neither who spoke nor who made its enhanced code up. Both are restored: a cause with a reply code is the
// remote's reply, and an enhanced code that stands in it the remote's.
func ParseEvent(line []byte) (*schema.DeliveryEvent, error) {
	var o eventObject
	if err := json.Unmarshal(line, &o); err != nil {
		return nil, err
	}
	switch {
	case o.Outcome == "":
		return nil, errors.New("outcome: missing")
	case o.Recipient == "":
		return nil, errors.New("recipient: missing")
	case o.OccurredAt == nil:
		return nil, errors.New("occurred_at: missing")
	}
	ev := &schema.DeliveryEvent{
		EventId: o.EventID, OccurredAtUs: o.OccurredAt.UnixMicro(), Mta: o.MTA, MtaHost: o.MTAHost, QueueId: o.QueueID, MessageId: o.MessageID,
		Recipient: o.Recipient, OriginalRecipient: o.OriginalRecipient, Tenant: o.Tenant, Stream: o.Stream, Attempt: o.Attempt,
		Final: o.Final, SmtpCode: o.SMTPCode, EnhancedCode: o.EnhancedCode, Text: o.Text,
		SourceIp: o.SourceIP, RemoteHost: o.RemoteHost, RemoteIp: o.RemoteIP, RemoteRecalled: o.RemoteRecalled, Backfill: o.Backfill,
		Campaign: o.Campaign, ReportingMta: o.ReportingMTA, ForwardedTo: o.ForwardedTo, Joined: o.Joined, Machine: o.Machine, Orphan: o.Orphan,
		Feed: o.Feed, FeedEventId: o.FeedEventID,
		Raw: &schema.RawPosition{Topic: o.Raw.Topic, Partition: o.Raw.Partition, Offset: o.Raw.Offset, Line: o.Raw.Line},
	}
	if o.Sender != nil {
		ev.Sender, ev.HasSender = *o.Sender, true
	}
	if o.DelayMS != nil {
		ev.DelayMs, ev.HasDelay = *o.DelayMS, true
	}
	if d := o.Delays; d != nil {
		ev.Delays = &schema.Delays{BeforeQmgrMs: d.BeforeQmgr, InQmgrMs: d.InQmgr, ConnectMs: d.Connect, TransmitMs: d.Transmit}
	}
	if c := o.Cause; c != nil {
		ev.Cause = &schema.Cause{SmtpCode: c.SMTPCode, EnhancedCode: c.EnhancedCode, Text: c.Text}
		restore(ev.Cause)
	}
	var errs [6]error
	ev.Outcome, errs[0] = named[schema.Outcome]("outcome", o.Outcome, outcomeNames[:])
	ev.Phase, errs[1] = named[schema.Phase]("phase", o.Phase, phaseNames[:])
	ev.Origin, errs[2] = named[schema.Origin]("origin", o.Origin, originNames[:])
	ev.EnhancedSource, errs[3] = named[schema.EnhancedSource]("enhanced_source", o.EnhancedSource, sourceNames[:])
	ev.Trust, errs[5] = named[schema.Trust]("trust", o.Trust, trustNames[:])
	if o.Cause != nil {
		ev.Cause.Phase, errs[4] = named[schema.Phase]("cause.phase", o.Cause.Phase, phaseNames[:])
	}
	if err := cmp.Or(errs[:]...); err != nil {
		return nil, err
	}
	return ev, nil
}

func restore(c *schema.Cause) {
	c.Origin = schema.Origin_LOCAL_MTA
	if c.SmtpCode != 0 {
		c.Origin = schema.Origin_REMOTE_REPLY
	}
	c.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	if c.EnhancedCode != "" {
		c.EnhancedSource = schema.EnhancedSource_ENHANCED_MTA
		if _, own := smtpreply.Codes(c.Text); c.SmtpCode != 0 && own == c.EnhancedCode {
			c.EnhancedSource = schema.EnhancedSource_ENHANCED_REMOTE
		}
	}
}

func named[E ~int32](field, name string, names []string) (E, error) {
	i := slices.Index(names, name)
	if i < 0 {
		return 0, fmt.Errorf("%s: unknown word %q", field, name)
	}
	return E(i), nil
}
