package source

import (
	"errors"
	"strings"
	"time"

	"carom.dev/carom/pipeline/dsn"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// Mail is one mail as it came in.
type Mail struct {
	Bytes []byte    // not kept
	To    []string  // the addresses to which it came (SMTP RCPT TO); none: its header fields tell
	At    time.Time // when it came; zero: nobody knows, and the mail's own date has to do
	Else  time.Time // what has to do where it has none either
	Feed  string    // name of the door; empty where it has none
}

// Reasons of mails, beside the kinds of dsn.
const (
	reasonNotMail     = "not_mail"
	reasonTooLarge    = "limits"
	reasonNobody      = "nobody"       // a report that names no recipient
	reasonBackscatter = "backscatter_" // and the judgement's reason
)

// maxAge is how far back the time in a report is believed: queues give up after five days, some after a week.
const maxAge = 14 * 24 * time.Hour

// Mail reads a mail: a bounce, a delay, a complaint or an unsubscription gives an event for each recipient; other mail is
// known and gives none. A report of one of the site's own hosts whose log comes to Carom tells what the log told: its
// events are marked as joined. A bounce of what we cannot have sent is backscatter, which is unparsed: put aside.
func (r *Reader) Mail(m Mail, emit Emit) Fate {
	f := Fate{Kind: mtalog.KindUnparsed, Format: FormatMail, Host: m.Feed, At: m.At}
	rep, err := dsn.Parse(m.Bytes, r.cfg.Mail)
	if err != nil {
		f.Reason = reasonTooLarge
		if errors.Is(err, dsn.ErrNotMail) {
			f.Reason = reasonNotMail
		}
		return f
	}
	if m.At.IsZero() {
		m.At = rep.Date
	}
	if m.At.IsZero() {
		m.At = m.Else
	}
	f.Reason, f.At = string(rep.Kind), m.At
	switch rep.Kind {
	case dsn.Failure, dsn.Delay, dsn.Complaint, dsn.Unsubscribe:
	default:
		f.Kind = mtalog.KindNoise
		return f
	}
	j, own := Judge(r.site, r.cfg.Keys, rep, m.To, m.At)
	if j.Backscatter && (own == nil || !own.Log) {
		f.Reason = reasonBackscatter + j.Why.String()
		return f
	}
	sent := 0
	for i := range rep.Recipients {
		if ev := r.mailEvent(rep, &rep.Recipients[i], own, &j, &m); ev != nil {
			sent++
			emit(ev)
			if j.Path.Recipient != "" {
				break // the return path names one recipient: others of the report are where its mail was forwarded to
			}
		}
	}
	if sent == 0 {
		f.Reason = reasonNobody
		return f
	}
	f.Kind = mtalog.KindEvent
	return f
}

// Judge says how far a report is believed, and which of the site's own hosts wrote it, nil if it was none. to are the
// addresses to which the mail came, and at when it did, as in Mail.
func Judge(s *site.Site, keys site.Keys, rep *dsn.Report, to []string, at time.Time) (site.Judgement, *site.Host) {
	return s.Judge(bounceOf(rep, to, at), keys), s.Host(rep.ReportingMTA)
}

// bounceOf collects what a report shows of where it comes from.
func bounceOf(rep *dsn.Report, to []string, at time.Time) site.Bounce {
	b := site.Bounce{
		At: at, HasOriginal: rep.HasOriginal, MessageID: rep.OriginalMessageID, From: rep.OriginalFrom,
		DKIM: rep.OriginalDKIMDomains, ReturnPath: rep.ReturnPath, Sender: rep.OriginalSender,
	}
	if len(to) > 0 {
		b.ReturnPath = to[0] // a mail with several recipients came to no return path of one message
	}
	return b
}

// mailEvent makes the event of one recipient of a report, nil for one that nothing happened to. own is the host of the
// site that wrote the report, nil if it is none.
func (r *Reader) mailEvent(rep *dsn.Report, rec *dsn.Recipient, own *site.Host, j *site.Judgement, m *Mail) *schema.DeliveryEvent {
	ev := &r.ev
	ev.Reset()
	r.raw.Reset()
	ev.Raw, ev.Mta, ev.Feed = &r.raw, FormatMail, m.Feed
	ev.Outcome, ev.Final = mailOutcome(rep.Kind, rec, own != nil)
	if ev.Outcome == schema.Outcome_OUTCOME_UNSPECIFIED {
		return nil
	}
	ev.Recipient = rec.Mailed()
	if p := j.Path.Recipient; p != "" && !strings.EqualFold(p, ev.Recipient) {
		ev.Recipient = p
	}
	if ev.Recipient == "" {
		return nil
	}
	if rec.Recipient != "" && !strings.EqualFold(rec.Recipient, ev.Recipient) {
		ev.ForwardedTo = rec.Recipient
	}
	ev.OccurredAtUs = reportTime(rep, rec, m.At).UnixMicro()
	ev.MessageId = rep.OriginalMessageID
	if ev.Sender = rep.OriginalSender; ev.Sender != "" {
		ev.HasSender = true
	}
	ev.Trust, ev.ReportingMta, ev.MtaHost = j.Trust, rep.ReportingMTA, rep.ReportingMTA
	ev.Text, ev.Origin, ev.Phase = rec.Diagnostic, rec.Origin, rec.Phase
	ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource = int32(rec.SMTPCode), rec.Status, rec.StatusSource
	if ev.EnhancedCode == "" {
		ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	}
	ev.RemoteHost = rec.RemoteMTA
	if own != nil {
		// Another host's queue ids would be taken for ours.
		ev.QueueId, ev.MtaHost, ev.Joined = rep.QueueID, own.Name, own.Log
	} else if ev.Phase == 0 && ev.Outcome == schema.Outcome_ASYNC_BOUNCE {
		ev.Phase = schema.Phase_ASYNC
	}
	if f := rep.Feedback; f != nil && ev.Text == "" {
		ev.Text = f.Type
	}
	if ev.Outcome == schema.Outcome_EXPIRED {
		ev.Cause = &schema.Cause{
			SmtpCode: ev.SmtpCode, EnhancedCode: ev.EnhancedCode, Text: ev.Text, Phase: ev.Phase, Origin: ev.Origin,
			EnhancedSource: ev.EnhancedSource, RemoteHost: ev.RemoteHost,
		}
		ev.Phase = schema.Phase_QUEUE
	}
	r.mailLabels(ev, rep, m)
	return ev
}

// mailOutcome says what a report means for a recipient. A report of our own host is no asynchronous bounce: the message
// never left.
func mailOutcome(kind dsn.Kind, rec *dsn.Recipient, own bool) (o schema.Outcome, final bool) {
	switch {
	case kind == dsn.Complaint:
		return schema.Outcome_COMPLAINT, true
	case kind == dsn.Unsubscribe:
		return schema.Outcome_UNSUBSCRIBED, true
	case rec.Action == "delayed":
		return schema.Outcome_DELAYED, false
	case rec.Action != "failed":
		return schema.Outcome_OUTCOME_UNSPECIFIED, false
	case !own:
		return schema.Outcome_ASYNC_BOUNCE, true
	case strings.HasPrefix(rec.Status, "4.") || strings.HasSuffix(rec.Status, ".4.7"):
		return schema.Outcome_EXPIRED, true
	}
	return schema.Outcome_BOUNCED, true
}

// reportTime is when it happened, as far as the report can be believed; else when it came.
func reportTime(rep *dsn.Report, rec *dsn.Recipient, came time.Time) time.Time {
	for _, t := range [...]time.Time{rec.LastAttempt, rep.Date} {
		if !t.IsZero() && !t.After(came) && came.Sub(t) < maxAge {
			return t
		}
	}
	return came
}

// mailLabels tells whose the message was: by its return path, and by the header that came back.
func (r *Reader) mailLabels(ev *schema.DeliveryEvent, rep *dsn.Report, m *Mail) {
	if !r.site.Labels() {
		return
	}
	var l site.Labels
	f := site.Fact{MTA: FormatMail, Host: ev.MtaHost}
	tell := func(k site.FactKind, name, value string) {
		f.Kind, f.Name, f.Value = k, name, value
		r.site.Label(&l, f)
	}
	for _, name := range r.site.Names(site.FactHeader) {
		for _, v := range rep.OriginalHeader(name) {
			tell(site.FactHeader, name, v)
		}
	}
	tell(site.FactSubject, "", rep.OriginalSubject)
	tell(site.FactSender, "", rep.OriginalSender)
	if path := bounceOf(rep, m.To, m.At).ReturnPath; path != rep.OriginalSender {
		tell(site.FactSender, "", path)
	}
	tell(site.FactFeed, "", m.Feed)
	ev.Tenant, ev.Stream, ev.Campaign = l.Tenant, l.Stream, l.Campaign
}
