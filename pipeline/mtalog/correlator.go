package mtalog

import (
	"strings"
	"time"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// Correlator reads the lines of one raw partition, of any number of hosts, and joins them into events. It is not safe
// for concurrent use. Make one with NewCorrelator.
type Correlator struct {
	cfg    Config
	queue  queue
	mx     lastMX
	stats  Stats
	site   *site.Site
	stamps stamps
	frame  frame
	msg    message
	names  names
	key    [3 + maxKey]byte // of the entry that a line of another MTA is about

	// The event handed to emit, and its parts; reused.
	event  schema.DeliveryEvent
	delays schema.Delays
	cause  schema.Cause
	raw    schema.RawPosition
	behind cause // of a suspension: what made Postfix suspend the destination
}

// NewCorrelator returns a Correlator with an empty table. It panics if cfg does not pass Validate.
func NewCorrelator(cfg Config) *Correlator {
	if err := cfg.Validate(); err != nil {
		panic("mtalog: " + err.Error())
	}
	return &Correlator{cfg: cfg, queue: newQueue(), mx: newLastMX()}
}

func newQueue() queue { return queue{hosts: map[string]*hostQueue{}} }

// Stats returns the counters so far.
func (c *Correlator) Stats() Stats {
	s := c.stats
	s.Entries, s.Hosts, s.Bytes, s.Domains = c.queue.entries, len(c.queue.hosts), c.queue.bytes, len(c.mx.hosts)
	return s
}

// Line reads one line and calls emit for each event that it completes, before it returns. The event and its parts belong
// to emit until emit returns and are then used again; the strings in it stay valid. Raw is never nil. Left empty are
// the fields that a log does not know: event id, source position, recipient key, backfill; and without SetSite tenant,
// stream and campaign.
func (c *Correlator) Line(in Input, emit func(*schema.DeliveryEvent)) Result {
	r := c.line(&in, emit)
	c.bound()
	c.stats.Lines++
	c.stats.Kinds[r.Kind]++
	c.stats.Reasons[r.Reason]++
	return r
}

func (c *Correlator) line(in *Input, emit func(*schema.DeliveryEvent)) Result {
	for n := len(in.Line); n > 0 && (in.Line[n-1] == '\r' || in.Line[n-1] == '\n'); n-- {
		in.Line = in.Line[:n-1]
	}
	if len(in.Line) == 0 {
		return Result{Kind: KindNoise, Reason: ReasonEmpty, Host: in.Host}
	}
	if len(in.Line) > MaxLineBytes {
		return Result{Reason: ReasonTooLong, Host: in.Host}
	}
	f := &c.frame
	*f = frame{}
	if format := ownFrame(in); format != FormatAuto {
		return c.ownLine(format, in, emit)
	}
	if reason := c.stamps.readFrame(in.Line, in, f); reason == ReasonRepeated {
		return Result{Kind: KindNoise, Reason: reason, Host: in.Host}
	} else if reason != ReasonNone {
		return Result{Reason: reason, Host: in.Host}
	}
	r := Result{Host: strings.ToValidUTF8(in.Host, "\uFFFD"), At: time.UnixMicro(f.at).UTC()}
	if !f.host.empty() {
		r.Host = c.names.host(f.host.of(in.Line))
	}
	if r.Host == "" {
		r.Reason = ReasonHost
		return r
	}
	if zone := c.site.Location(r.Host); zone != nil && zone != in.Location { // the host comes behind its stamp
		in.Location = zone
		*f = frame{}
		if r.Reason = c.stamps.readFrame(in.Line, in, f); r.Reason != ReasonNone {
			return r
		}
		r.At = time.UnixMicro(f.at).UTC()
	}
	class := classOf(f.daemon.of(in.Line))
	if (in.Format != FormatAuto && in.Format != FormatPostfix) || !(isPostfix(f.instance.of(in.Line), class) || c.saysPostfix(r.Host, in)) {
		c.otherMTA(&r, in, emit)
		return r
	}
	r.Daemon, r.Format = c.names.daemon(f.daemon.of(in.Line)), FormatPostfix
	if class == daemonUnknown {
		r.Reason = ReasonDaemon
		return r
	}
	c.advance(r.Host, in)
	if class == daemonOther {
		r.Kind, r.Reason = KindNoise, ReasonPostfix
		return r
	}
	scanMessage(in.Line, int(f.msg.from), &c.msg)
	r.Kind, r.Reason = c.apply(r.Host, class, in, emit)
	return r
}

// isPostfix tells Postfix's lines by the tag: "postfix" or what syslog_name made of it, and one of its daemons.
func isPostfix(instance []byte, class daemonClass) bool {
	if hasPrefix(instance, "postfix") {
		return true
	}
	// syslog_name may be any word; then the daemon tells. rsyslogd/... and the like have no such daemons.
	return class == daemonDelivers || class == daemonQueues || class == daemonOther
}

// saysPostfix tells Postfix's lines by their words, where syslog_name is a word of the site's own and rsyslog's RFC 5424
// output has dropped the daemon. Only words that carry something count, behind what can be a queue id.
func (c *Correlator) saysPostfix(host string, in *Input) bool {
	f := &c.frame
	if !f.daemon.empty() || formatOf(f.instance.of(in.Line)) != FormatAuto || queueIDEnd(in.Line, int(f.msg.from)) == 0 {
		return false
	}
	scanMessage(in.Line, int(f.msg.from), &c.msg)
	switch c.msg.shape {
	case shapeDelivery, shapeProbe, shapeActive, shapeExpired, shapeMessageID, shapeHeader, shapeArrival:
		return true
	case shapeRemoved, shapeRequeued:
		return c.lookup(host, c.msg.queueID.of(in.Line)) != nil
	}
	return false
}

// advance moves the clock of a host. A stamp that lies in the carrier's future is a wrong clock: it must not age the
// table.
func (c *Correlator) advance(host string, in *Input) {
	h := c.queue.hosts[host]
	if h == nil {
		return
	}
	c.stats.Aged += c.queue.tick(h, c.clock(in), c.cfg.TTL)
}

func (c *Correlator) clock(in *Input) int64 {
	at := c.frame.at
	if !in.Reference.IsZero() {
		if ref := in.Reference.UnixMicro(); at > ref+futureSlack.Microseconds() {
			return ref
		}
	}
	return at
}

// apply does what the message says.
func (c *Correlator) apply(host string, class daemonClass, in *Input, emit func(*schema.DeliveryEvent)) (Kind, Reason) {
	m := &c.msg
	switch m.shape {
	case shapeDelivery:
		if class == daemonQueues {
			return KindUnparsed, ReasonShape
		}
		c.deliver(host, in, emit)
		return KindEvent, ReasonNone
	case shapeExpired:
		return c.expire(host, in, emit)
	case shapeActive, shapeArrival, shapeMessageID:
		c.describe(host, in)
		return KindState, ReasonNone
	case shapeHeader:
		if !c.wants(site.FactHeader) && !c.wants(site.FactSubject) {
			return KindNoise, ReasonPostfix
		}
		c.describe(host, in)
		return KindState, ReasonNone
	case shapeRequeued: // pickup names the old id with the new one
		if e := c.lookup(host, c.msg.queueID.of(in.Line)); e != nil {
			c.queue.touch(e)
			return KindState, ReasonNone
		}
		return KindState, ReasonUnknownEntry
	case shapeRemoved:
		e := c.lookup(host, c.msg.queueID.of(in.Line))
		if e == nil {
			return KindState, ReasonUnknownEntry
		}
		c.stats.Waiting += uint64(len(e.waiting))
		c.queue.remove(e)
		return KindState, ReasonNone
	case shapeProbe:
		return KindNoise, ReasonProbe
	case shapeRepeated:
		return KindNoise, ReasonRepeated
	case shapeNoise:
		return KindNoise, ReasonPostfix
	case shapeCut:
		return KindUnparsed, ReasonCut
	case shapeFields:
		return KindUnparsed, ReasonFields
	}
	return KindUnparsed, ReasonShape
}

// lookup returns the entry of a queue id, or nil.
func (c *Correlator) lookup(host string, id []byte) *entry {
	h := c.queue.hosts[host]
	if h == nil {
		return nil
	}
	return h.entries[string(id)]
}

// open returns the entry of a queue id, which is made if there is none, as the last in order.
func (c *Correlator) open(host string, id []byte, in *Input) *entry {
	e := c.lookup(host, id)
	if e == nil {
		e = c.queue.add(host, id, c.clock(in))
	}
	c.queue.touch(e)
	return e
}

// describe takes in what a line says about an entry. A queue id comes back within seconds where ids are short: what
// contradicts the entry belongs to another message, even if "removed" was never seen.
func (c *Correlator) describe(host string, in *Input) {
	m := &c.msg
	e := c.lookup(host, c.msg.queueID.of(in.Line))
	if e != nil && c.contradicts(e, in.Line) {
		c.stats.Replaced++
		c.queue.remove(e)
		e = nil
	}
	if e == nil && !m.originalID.empty() {
		if old := c.lookup(host, m.originalID.of(in.Line)); old != nil {
			c.queue.rename(old, m.queueID.of(in.Line)) // requeued: the same message, with what is known of it
		}
	}
	e = c.open(host, m.queueID.of(in.Line), in)
	e.known = true
	switch m.shape {
	case shapeActive:
		c.queue.setString(e, &e.sender, clean(m.sender.of(in.Line)))
		e.hasSender, e.active = true, true
		e.size, e.nrcpt = m.size, m.nrcpt
	case shapeArrival:
		if m.hasSender {
			c.queue.setString(e, &e.sender, clean(m.sender.of(in.Line)))
			e.hasSender = true
		}
	case shapeMessageID:
		c.queue.setString(e, &e.messageID, clean(m.messageID.of(in.Line)))
	}
	if c.site.Labels() {
		c.postfixFacts(e, in.Line)
	}
}

// contradicts tells whether the message line cannot be about e.
func (c *Correlator) contradicts(e *entry, line []byte) bool {
	m := &c.msg
	switch m.shape {
	case shapeArrival: // the first line of every message
		return e.known || len(e.waiting) > 0
	case shapeMessageID: // cleanup writes it once, before qmgr sees the message
		return e.active || (e.messageID != "" && e.messageID != clean(m.messageID.of(line)))
	case shapeActive: // sender and size are those of the queue file
		return e.active && (e.size != m.size || e.sender != clean(m.sender.of(line)))
	}
	return false
}

// bound forgets entries, those that were silent longest first. It runs after every line, whatever the line has added to.
func (c *Correlator) bound() {
	for c.queue.entries > c.cfg.MaxEntries || (c.queue.bytes > c.cfg.MaxBytes && c.queue.entries > 0) {
		c.queue.remove(c.queue.order.first)
		c.stats.Evicted++
	}
}

// attemptMade tells how a line counts among the attempts.
type attemptMade struct {
	suspended bool   // no attempt was made
	behind    *cause // of a suspension: what led to it; nil if that is not known, or says nothing about this recipient
	run       int64  // lines of one attempt have the same; 0 where each line is an attempt
}

// account joins the event with the entry of its queue id.
func (c *Correlator) account(ev *schema.DeliveryEvent, host string, queueID []byte, in *Input, made attemptMade) {
	e := c.lookup(host, queueID)
	if e == nil && ev.Final {
		ev.Orphan = true
		c.complete(ev, nil, ev.Instance)
		return
	}
	if e == nil {
		e = c.open(host, queueID, in) // the log was joined midway: remember the failure, an expiry may follow
	} else {
		c.queue.touch(e)
	}
	ev.Orphan = !e.known
	ev.MessageId, ev.Sender, ev.HasSender = e.messageID, e.sender, e.hasSender
	c.complete(ev, &e.labels, ev.Instance)
	id := recipientID{ev.Recipient, ev.OriginalRecipient}
	k := e.find(id)
	attempts := uint32(0)
	if k >= 0 {
		attempts = e.waiting[k].attempts
	}
	if again := k >= 0 && made.run != 0 && made.run == e.waiting[k].run; !made.suspended && !again {
		attempts++
	}
	if e.known {
		ev.Attempt = attempts
	}
	if ev.Final {
		e.done++
		if k >= 0 {
			c.queue.finish(e, k)
		}
		return
	}
	if k < 0 {
		k = c.queue.wait(e, id)
	}
	e.waiting[k].attempts, e.waiting[k].run = attempts, made.run
	switch old := e.waiting[k].cause; {
	case made.behind != nil && (old == nil || old.others):
		c.queue.blame(e, k, *made.behind)
	case !made.suspended:
		c.queue.blame(e, k, cause{
			at: ev.OccurredAtUs, code: ev.SmtpCode, enhanced: ev.EnhancedCode, source: ev.EnhancedSource,
			text: cutText(ev.Text, maxRawBytes), phase: ev.Phase, origin: ev.Origin, host: ev.RemoteHost, ip: ev.RemoteIp,
			recalled: ev.RemoteRecalled, instance: ev.Instance,
		})
	}
}

// expire emits the end of every recipient that still waits. qmgr names none of them; their last lines did.
func (c *Correlator) expire(host string, in *Input, emit func(*schema.DeliveryEvent)) (Kind, Reason) {
	e := c.lookup(host, c.msg.queueID.of(in.Line))
	if e == nil {
		return KindState, ReasonUnknownEntry
	}
	c.queue.touch(e)
	if unheard := e.nrcpt - e.done - int64(len(e.waiting)); unheard > 0 {
		c.stats.Unheard += uint64(unheard)
	}
	if len(e.waiting) == 0 {
		return KindState, ReasonNobody
	}
	line := newTextLine(in.Line)
	for _, r := range e.waiting {
		ev := c.newEvent(FormatPostfix, host, line.cut(c.frame.instance))
		ev.QueueId = line.cut(c.msg.queueID)
		ev.Sender, ev.HasSender = line.cut(c.msg.sender), true
		c.expired(ev, e, &r, line.cut(c.msg.text))
		c.raw.Line = line.raw()
		c.emit(ev, emit)
	}
	for len(e.waiting) > 0 {
		c.queue.finish(e, len(e.waiting)-1)
		e.done++
	}
	return KindEvent, ReasonNone
}

// expired fills in the end of a recipient of e that waited.
func (c *Correlator) expired(ev *schema.DeliveryEvent, e *entry, r *recipient, text string) {
	ev.Recipient, ev.OriginalRecipient, ev.Domain = r.address, r.original, domainOf(r.address)
	ev.MessageId = e.messageID
	ev.Outcome, ev.Final = schema.Outcome_EXPIRED, true
	ev.Text = text
	ev.Phase, ev.Origin = schema.Phase_QUEUE, schema.Origin_LOCAL_MTA
	ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	ev.Orphan = !e.known
	transport := ev.Instance
	if r.cause != nil && r.cause.instance != "" {
		transport = r.cause.instance
	}
	c.complete(ev, &e.labels, transport)
	if e.known {
		ev.Attempt = r.attempts
	}
	if f := r.cause; f != nil {
		c.cause.Reset()
		c.cause.OccurredAtUs, c.cause.SmtpCode, c.cause.EnhancedCode, c.cause.EnhancedSource = f.at, f.code, f.enhanced, f.source
		c.cause.Text, c.cause.Phase, c.cause.Origin = f.text, f.phase, f.origin
		c.cause.RemoteHost, c.cause.RemoteIp, c.cause.RemoteRecalled = f.host, f.ip, f.recalled
		ev.Cause = &c.cause
	}
}

// newEvent returns the reused event with what the header says.
func (c *Correlator) newEvent(mta Format, host, instance string) *schema.DeliveryEvent {
	ev := &c.event
	ev.Reset()
	c.raw.Reset()
	ev.Raw = &c.raw
	ev.Mta = mta.String()
	ev.MtaHost = host
	ev.OccurredAtUs = c.frame.at
	ev.Instance = instance
	return ev
}

func (c *Correlator) emit(ev *schema.DeliveryEvent, emit func(*schema.DeliveryEvent)) {
	c.stats.Events++
	if ev.Orphan {
		c.stats.Orphans++
	}
	emit(ev)
}
