package envelope

import "bytes"

// documents reads the JSON document at b[at:], or the elements of the array there, and returns where to go on.
func (r *Reader) documents(b []byte, at int, carrier Line, level int) int {
	if level == 0 {
		r.buf = r.buf[:0]
	}
	s := scanner{b: b, i: at, buf: r.buf}
	defer func() { r.scanned += s.passed }()
	if b[at] == '[' {
		s.i++
		for first := true; ; first = false {
			s.space()
			at = s.i // where it breaks: what was read before is not reported again
			if s.more(']', first) {
				break
			}
			if s.reason == ReasonNone {
				s.space()
				at = s.i
				s.buf = s.buf[:0]
				r.element(&s, carrier, level)
			}
			if s.reason != ReasonNone {
				break
			}
		}
	} else {
		r.element(&s, carrier, level)
	}
	if s.reason == ReasonNone {
		r.keep(&s)
		s.i += blanks(b[s.i:])
		if s.i < len(b) && b[s.i] == ',' { // documents in a row, as cut out of an array
			s.i++
			s.i += blanks(b[s.i:])
		}
		if s.i >= len(b) || b[s.i] == '\n' || opensJSON(b[s.i:]) {
			return s.i
		}
		at, s.reason = s.i, ReasonSyntax
	}
	r.keep(&s)
	broken := at
	if s.reason != ReasonSyntax {
		broken = s.i // up to here it was one document; read again from each of its lines, a deep one takes MaxDepth times as long
	}
	end := resume(b, broken)
	r.fault(s.reason, at, end)
	return end
}

// wholeObject reports whether the line or lines at b[at:] are an object and nothing else: inside a document, what only
// looks like one is the line.
func (r *Reader) wholeObject(b []byte, at int) bool {
	if b[at] != '{' {
		return false
	}
	var f fields
	s := scanner{b: b, i: at, buf: r.buf}
	s.document(&f)
	r.scanned += s.passed
	if s.reason != ReasonNone {
		return false
	}
	s.i += blanks(b[s.i:])
	return s.i >= len(b) || b[s.i] == '\n'
}

// wholeString reads a line that is a JSON string and nothing else, as OpenTelemetry's encoding "raw" writes it.
func (r *Reader) wholeString(line []byte) ([]byte, bool) {
	s := scanner{b: line, buf: r.buf}
	text, ok := s.text()
	r.scanned += s.passed
	r.keep(&s)
	return text, ok && s.i == len(line) && len(text) > 0
}

// keep takes over the scanner's buffer if it has grown, for its capacity.
func (r *Reader) keep(s *scanner) {
	if cap(s.buf) > cap(r.buf) {
		r.buf = s.buf
	}
}

// element reads one document, or in an array a string, and emits its lines.
func (r *Reader) element(s *scanner, carrier Line, level int) {
	from := s.i
	if s.i < len(s.b) && s.b[s.i] == '"' {
		if text, ok := s.text(); ok {
			r.buf = s.buf
			r.text(text, carrier, nil, level+1)
			s.buf = r.buf
		}
		return
	}
	var f fields
	s.document(&f)
	if s.reason != ReasonNone {
		return
	}
	if f.otlp > 0 && !f.foreign {
		r.export(s, f.otlp, carrier, level)
		return
	}
	r.envelope(s, from, &f, carrier, level)
}

// envelope emits the lines of the document at s.b[from:s.i], whose fields are f.
func (r *Reader) envelope(s *scanner, from int, f *fields, carrier Line, level int) {
	r.buf = s.buf
	defer func() { s.buf = r.buf }()
	message, said := f.message()
	switch {
	case said && !f.foreign:
		l := Line{Host: r.hostName(f.of(slotHost)), Time: f.carried(), Piece: f.piece()}
		if l.Host == "" {
			l.Host = carrier.Host
		}
		if f.tagged() {
			message = r.escaped(bytes.TrimRight(message, "\r\n")) // syslog knows no lines within a message
		}
		r.text(message, l.by(carrier.Time), f, level+1)
	case f.shipper && !f.foreign && level == 0:
		r.fault(ReasonNoMessage, from, s.i)
	default: // no envelope: the document is the line, as an MTA that logs JSON writes it
		carrier.Text, carrier.Format = r.oneLine(s.b[from:s.i]), FormatDocument
		r.emit(carrier)
	}
}

// escaped writes a message with newlines as syslog daemons write it to files: "#012" for LF, "#015" for CR.
func (r *Reader) escaped(message []byte) []byte {
	if bytes.IndexByte(message, '\n') < 0 {
		return message
	}
	from := len(r.buf)
	for _, c := range message {
		switch c {
		case '\n':
			r.buf = append(r.buf, "#012"...)
		case '\r':
			r.buf = append(r.buf, "#015"...)
		default:
			r.buf = append(r.buf, c)
		}
	}
	return r.buf[from:len(r.buf):len(r.buf)]
}

// oneLine puts blanks for newlines.
func (r *Reader) oneLine(doc []byte) []byte {
	if bytes.IndexByte(doc, '\n') < 0 {
		return doc
	}
	from := len(r.buf)
	r.buf = append(r.buf, doc...)
	line := r.buf[from:len(r.buf):len(r.buf)]
	for i, c := range line {
		if c == '\n' || c == '\r' {
			line[i] = ' '
		}
	}
	return line
}

func (r *Reader) hostName(b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case string(b) == r.hosts[0]:
		return r.hosts[0]
	case string(b) == r.hosts[1]:
		return r.hosts[1]
	}
	r.hosts[0], r.hosts[1] = string(b), r.hosts[0]
	return r.hosts[0]
}
