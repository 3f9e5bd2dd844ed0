package mtalog

import (
	"bytes"
	"time"
)

// span is a part of a line. Fields stay spans until an event is made of them, so that reading copies nothing.
type span struct{ from, to int32 }

func (s span) of(line []byte) []byte { return line[s.from:s.to] }
func (s span) empty() bool           { return s.to <= s.from }

func spanOf(from, to int) span { return span{int32(from), int32(to)} }

// frame is the syslog header around a program's message.
type frame struct {
	at       int64 // Unix microseconds
	host     span  // empty if the line names none
	instance span  // tag before its last slash: syslog_name
	daemon   span  // tag behind its last slash; empty if there is no slash, as in rsyslog's RFC 5424 output
	pid      span  // what stands in the tag's brackets, or PROCID; dma writes its queue id there
	msg      span
}

// readFrame takes the syslog header apart: traditional BSD syslog (RFC 3164, section 4.1), the same with an RFC 3339
// stamp, or RFC 5424, each with or without <PRI>. A reason other than ReasonNone means that the line is none of them.
func (s *stamps) readFrame(line []byte, in *Input, f *frame) Reason {
	if s.sameHead(line, in) {
		f.at, f.host = s.us, s.host
		return readTag(line, s.length, f)
	}
	i := skipPriority(line)
	if len(line) > i+2 && line[i] == '1' && line[i+1] == ' ' {
		return s.readFrame5424(line, i+2, in, f)
	}
	var n int
	var reason Reason
	traditional := false
	if len(line) > i && line[i]-'0' <= 9 {
		f.at, n, reason = s.readISO(line[i:], in.Location)
	} else {
		f.at, n, reason = s.readTraditional(line[i:], in)
		traditional = true
	}
	if reason != ReasonNone {
		return reason
	}
	i += n
	if i >= len(line) || line[i] != ' ' {
		return ReasonFrame
	}
	i++
	sp := bytes.IndexByte(line[i:], ' ')
	if sp <= 0 {
		return ReasonFrame
	}
	if line[i+sp-1] != ':' { // a tag ends in a colon: where it comes first, the line names no host
		f.host = spanOf(i, i+sp)
		i += sp + 1
		if traditional {
			s.keepHead(line, i, f.host, f.at)
		}
	}
	return readTag(line, i, f)
}

// readTag reads the tag that begins at i, and the message behind it.
func readTag(line []byte, i int, f *frame) Reason {
	sp := bytes.IndexByte(line[i:], ' ')
	if sp < 0 {
		sp = len(line) - i
	}
	if sp == 0 || line[i+sp-1] != ':' {
		if bytes.HasPrefix(line[i:], []byte("last message repeated ")) {
			return ReasonRepeated
		}
		return ReasonFrame
	}
	end := i + sp - 1
	f.msg = spanOf(skipBlanks(line, min(end+1, len(line))), len(line))
	if end > i && line[end-1] == ']' {
		for k := end - 2; k > i; k-- {
			if line[k] == '[' {
				f.pid = spanOf(k+1, end-1)
				end = k
				break
			}
		}
	}
	f.setTag(line, i, end)
	return ReasonNone
}

// readFrame5424 reads what follows the version. RFC 5424, section 6.
func (s *stamps) readFrame5424(line []byte, i int, in *Input, f *frame) Reason {
	if i+1 < len(line) && line[i] == '-' && line[i+1] == ' ' {
		if in.Reference.IsZero() {
			return ReasonNoReference
		}
		f.at = in.Reference.UnixMicro() // the sender has no clock (section 6.2.3)
		i += 2
	} else {
		at, n, reason := s.readISO(line[i:], in.Location)
		if reason != ReasonNone {
			return reason
		}
		if i += n; i >= len(line) || line[i] != ' ' {
			return ReasonFrame
		}
		f.at = at
		i++
	}
	var header [4]span // HOSTNAME APP-NAME PROCID MSGID
	for k := range header {
		if i > len(line) {
			return ReasonFrame
		}
		n := bytes.IndexByte(line[i:], ' ')
		if n <= 0 {
			return ReasonFrame
		}
		header[k] = spanOf(i, i+n)
		i += n + 1
	}
	if h := header[0]; h.to-h.from != 1 || line[h.from] != '-' {
		f.host = h
	}
	f.setTag(line, int(header[1].from), int(header[1].to))
	f.pid = header[2]
	if i = skipStructuredData(line, i); i < 0 {
		return ReasonFrame
	}
	if i = skipBlanks(line, i); bytes.HasPrefix(line[i:], []byte("\xEF\xBB\xBF")) {
		i = skipBlanks(line, i+3)
	}
	f.msg = spanOf(i, len(line))
	return ReasonNone
}

// skipStructuredData returns the place behind STRUCTURED-DATA, or -1. RFC 5424, section 6.3.
func skipStructuredData(line []byte, i int) int {
	if i < len(line) && line[i] == '-' {
		return i + 1
	}
	elements := 0
	for i < len(line) && line[i] == '[' {
		quoted := false
		for i++; ; i++ {
			if i >= len(line) {
				return -1
			}
			if c := line[i]; c == '"' {
				quoted = !quoted
			} else if c == '\\' && quoted {
				i++
			} else if c == ']' && !quoted {
				break
			}
		}
		i++
		elements++
	}
	if elements == 0 {
		return -1
	}
	return i
}

func (f *frame) setTag(line []byte, from, to int) {
	if slash := bytes.LastIndexByte(line[from:to], '/'); slash >= 0 {
		f.instance = spanOf(from, from+slash)
		f.daemon = spanOf(from+slash+1, to)
		return
	}
	f.instance = spanOf(from, to)
	f.daemon = span{}
}

func skipPriority(line []byte) int {
	if len(line) == 0 || line[0] != '<' {
		return 0
	}
	for i := 1; i < len(line) && i <= 4; i++ {
		if line[i] == '>' && i > 1 {
			return i + 1
		}
		if line[i]-'0' > 9 {
			break
		}
	}
	return 0
}

func skipBlanks(line []byte, i int) int {
	for i < len(line) && line[i] == ' ' {
		i++
	}
	return i
}

// futureSlack is how far a stamp without a year may lie behind its Reference: a zone that was guessed wrongly by up to a
// day, and an hour for clocks.
const futureSlack = 25 * time.Hour
