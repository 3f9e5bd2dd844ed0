package mtalog

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/schema"
)

// Format is a log format: one MTA's. The zero value lets each line tell.
type Format uint8

// The formats.
const (
	FormatAuto Format = iota
	FormatPostfix
	FormatExim
	FormatSendmail
	FormatOpenSMTPD
	FormatHaraka
	FormatDMA
	FormatQmail
	numFormats
)

// formatNames holds the names by number.
func formatNames() [numFormats]string {
	return [numFormats]string{"auto", "postfix", "exim", "sendmail", "opensmtpd", "haraka", "dma", "qmail"}
}

// String returns the format's name, which is also DeliveryEvent.Mta.
func (f Format) String() string { return formatNames()[f] }

// Formats returns the names of all formats, "auto" first. The slice is the caller's.
func Formats() []string {
	names := formatNames()
	return slices.Clone(names[:])
}

// ParseFormat returns the format of that name. The error names those there are.
func ParseFormat(name string) (Format, error) {
	names := Formats()
	if k := slices.Index(names, name); k >= 0 {
		return Format(k), nil
	}
	return FormatAuto, fmt.Errorf("format %q is not known, want one of %s", name, strings.Join(names, ", "))
}

// ownFrame tells lines that no syslog daemon framed: Exim's mainlog, Haraka's standard output, and what qmail-send writes
// through multilog and its like. For all others it returns FormatAuto. The line is not empty.
func ownFrame(in *Input) Format {
	line := in.Line
	auto := in.Format == FormatAuto
	if (auto || in.Format == FormatQmail) && multilogStamp(line) > 0 {
		return FormatQmail
	}
	if len(line) > 20 && line[0]-'0' <= 9 && line[4] == '-' && line[7] == '-' {
		if line[10] == ' ' && line[13] == ':' && line[16] == ':' && (auto || in.Format == FormatExim) {
			return FormatExim
		}
		if !auto && in.Format != FormatHaraka {
			return FormatAuto
		}
		// Behind the stamp syslog has a host.
		if sp := bytes.IndexByte(line[10:min(len(line), 40)], ' '); sp > 0 {
			if rest := harakaPlain(line[10+sp+1:]); harakaLine(rest) || harakaStart(rest) {
				return FormatHaraka
			}
		}
		return FormatAuto
	}
	switch {
	case in.Format == FormatExim && line[0] == ' ', auto && hasPrefix(line, " Suggested action: "):
		return FormatExim // the second line of a warning
	case in.Format == FormatHaraka && line[0] != '<' && (len(line) < 4 || monthNumber(line[0], line[1], line[2]) == 0),
		auto && (harakaStart(line) || harakaLine(harakaPlain(line))):
		return FormatHaraka
	}
	return FormatAuto
}

// formatOf tells the MTA of a syslog line by its tag.
func formatOf(tag []byte) Format {
	switch {
	case hasPrefix(tag, "exim"):
		return FormatExim
	case hasPrefix(tag, "sm-"), string(tag) == "sendmail":
		return FormatSendmail
	case string(tag) == "smtpd", string(tag) == "opensmtpd":
		return FormatOpenSMTPD
	case string(tag) == "haraka":
		return FormatHaraka
	case string(tag) == "dma":
		return FormatDMA
	case string(tag) == "qmail", string(tag) == "qmail-send":
		return FormatQmail
	}
	return FormatAuto
}

// otherMTA reads a syslog line that is not of Postfix.
func (c *Correlator) otherMTA(r *Result, in *Input, emit func(*schema.DeliveryEvent)) {
	format := FormatAuto
	if c.frame.daemon.empty() {
		format = formatOf(c.frame.instance.of(in.Line))
	}
	usual := true
	if in.Format != FormatAuto && format != in.Format {
		if format != FormatAuto || in.Format == FormatPostfix {
			r.Kind, r.Reason = KindNoise, ReasonOtherProgram
			return
		}
		format, usual = in.Format, false
	}
	if format == FormatAuto {
		r.Kind, r.Reason = KindNoise, ReasonOtherProgram
		return
	}
	msg := in.Line[c.frame.msg.from:]
	if format == FormatQmail {
		msg = c.qmailStamp(msg)
		r.At = time.UnixMicro(c.frame.at).UTC()
	}
	c.advance(r.Host, in)
	l := mtaLine{
		format: format, host: r.Host, instance: c.names.intern(c.frame.instance.of(in.Line)), in: *in,
		msg: msg, id: c.key[:0],
	}
	r.Format = format
	r.Kind, r.Reason = c.read(&l, emit)
	if !usual && r.Kind == KindUnparsed {
		r.Kind, r.Reason = KindNoise, ReasonOtherProgram // a tag that was never this MTA's, and words that are not
	}
}

// ownLine reads a line that ownFrame knew.
func (c *Correlator) ownLine(format Format, in *Input, emit func(*schema.DeliveryEvent)) Result {
	r := Result{Host: strings.ToValidUTF8(in.Host, "\uFFFD")}
	r.Format = format
	if zone := c.site.Location(r.Host); zone != nil {
		in.Location = zone
	}
	n, reason := 0, ReasonNone
	switch {
	case format == FormatQmail:
		c.frame.at, n, reason = c.stamps.readMultilog(in.Line, in.Location)
	case in.Line[0]-'0' <= 9 && format == FormatExim:
		c.frame.at, n, reason = c.stamps.readExim(in.Line, in.Location)
	case in.Line[0]-'0' <= 9:
		c.frame.at, n, reason = c.stamps.readISO(in.Line, in.Location)
	case format == FormatExim || !harakaLine(harakaPlain(in.Line)):
		r.Kind, r.Reason = KindNoise, ReasonMTA // printed past the logger, or a line's second line
		return r
	case in.Reference.IsZero():
		reason = ReasonNoReference
	default: // log.ini, timestamps=false: who carries the line knows the time
		c.frame.at, n = in.Reference.UnixMicro(), -1
	}
	switch {
	case reason != ReasonNone:
	case n >= 0 && (n >= len(in.Line) || in.Line[n] != ' '):
		reason = ReasonFrame
	case r.Host == "":
		reason = ReasonHost
	}
	if r.Reason = reason; reason != ReasonNone {
		return r
	}
	r.At = time.UnixMicro(c.frame.at).UTC()
	c.advance(r.Host, in)
	l := mtaLine{format: format, host: r.Host, in: *in, msg: in.Line[n+1:], id: c.key[:0]}
	r.Kind, r.Reason = c.read(&l, emit)
	return r
}

func (c *Correlator) read(l *mtaLine, emit emitFunc) (Kind, Reason) {
	switch l.format {
	case FormatExim:
		return c.exim(l, emit)
	case FormatSendmail:
		return c.sendmail(l, emit)
	case FormatOpenSMTPD:
		return c.opensmtpd(l, emit)
	case FormatHaraka:
		return c.haraka(l, emit)
	case FormatDMA:
		return c.dma(l, emit)
	case FormatQmail:
		return c.qmail(l, emit)
	}
	return KindNoise, ReasonOtherProgram
}
