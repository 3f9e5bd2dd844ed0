package source

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/schema"
)

// Body is a webhook's body, or a piece of an accounting file.
type Body struct {
	Format string // one of feed.Formats
	Feed   string // name of the feed; empty where it has none
	Host   string // that sent it, where it is known
	Bytes  []byte // not kept
}

// Body reads a body. each is called for what became of its records: how many had a fate, and of what is unparsed the bytes,
// one record a call.
func (r *Reader) Body(b Body, emit Emit, each func(f Fate, n int, text []byte)) {
	host := b.Host
	if host == "" {
		host = b.Feed
	}
	r.begin(b.Format, host, b.Feed, emit, each)
	var res feed.Result
	var err error
	if b.Format == feed.PowerMTA {
		res, err = r.files.Parse(host, b.Bytes, r.take)
	} else {
		res, err = r.feeds.Parse(b.Format, b.Bytes, r.take)
	}
	f := r.fate
	if err != nil {
		f.Kind, f.Reason = mtalog.KindUnparsed, reasonOf(err)
		each(f, 1, b.Bytes)
	}
	known := res.Faults
	for n, count := range res.Noise {
		if known += count; count > 0 {
			f.Kind, f.Reason = mtalog.KindNoise, feed.Noise(n).String()
			each(f, count, nil)
		}
	}
	if told := res.Records - known; told > 0 {
		f.Kind, f.Reason = mtalog.KindEvent, ""
		each(f, told, nil)
	}
}

func (r *Reader) begin(format, host, name string, emit Emit, each func(Fate, int, []byte)) {
	r.feeds.SetFeed(name)
	r.feeds.SetHost(host)
	r.emit, r.each = emit, each
	r.fate = Fate{Format: format, Host: strings.ToValidUTF8(host, "\uFFFD")}
}

// feedEvent completes an event of a feed.
func (r *Reader) feedEvent(ev *schema.DeliveryEvent) {
	if ev.MtaHost == "" {
		ev.MtaHost = r.fate.Host
	}
	if at := time.UnixMicro(ev.OccurredAtUs).UTC(); at.After(r.fate.At) {
		r.fate.At = at
	}
	if ev.Mta == feed.KumoMTA {
		r.kumo.Complete(ev)
	}
	r.emit(ev)
}

func (r *Reader) feedFault(e *feed.Error) {
	f := r.fate
	f.Kind, f.Reason = mtalog.KindUnparsed, e.Reason.String()
	if r.each != nil {
		r.each(f, 1, []byte(e.Value))
	} else if r.fate.Reason == "" {
		r.fate.Reason = f.Reason
	}
}

func reasonOf(err error) string {
	var e *feed.Error
	if errors.As(err, &e) {
		return e.Reason.String()
	}
	return "other"
}

// Detect tells what a value is that nobody has named: a format of pipeline/feed or FormatMail. ok is false for log lines,
// plain or in a shipper's envelope, and for what nobody knows.
func Detect(value []byte) (format string, ok bool) {
	b := bytes.TrimLeft(bytes.TrimPrefix(value, []byte("\xEF\xBB\xBF")), " \t\r\n")
	if len(b) == 0 {
		return "", false
	}
	switch {
	case b[0] == '{' || b[0] == '[' || headerRow(b):
		return feed.Detect(b)
	case looksLikeMail(b):
		return FormatMail, true
	}
	return "", false
}

// headerRow reports whether b begins like the header row of an accounting file.
func headerRow(b []byte) bool {
	b = bytes.TrimPrefix(bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")), []byte(`"`))
	if len(b) < 5 || b[0] != 't' || string(b[:4]) != "type" || (b[4] != ',' && b[4] != '"') {
		return false
	}
	_, ok := feed.Detect(b)
	return ok
}

// mailFields are header fields of which every mail has some.
var mailFields = [...]string{
	"return-path", "received", "delivered-to", "x-original-to", "envelope-to", "from", "to", "date", "subject", "message-id",
	"mime-version", "content-type",
}

// maxMailHead is how much of a value is looked at for a mail's header.
const maxMailHead = 16 << 10

// looksLikeMail reports whether b begins with the header of a mail (RFC 5322, section 2.2), or with mbox's "From ": lines
// that are fields or their folds, and among them one that every mail may have. Lines of logs have blanks before their
// first colon.
func looksLikeMail(b []byte) bool {
	if bytes.HasPrefix(b, []byte("From ")) {
		return true
	}
	for b = b[:min(len(b), maxMailHead)]; len(b) > 0; {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		n := 0
		for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
			n++
		}
		if n == 0 || n == len(line) || line[n] != ':' {
			return false
		}
		for _, f := range mailFields {
			if len(f) == n && strings.EqualFold(f, string(line[:n])) {
				return true
			}
		}
	}
	return false
}
