package envelope

import (
	"bytes"
	"time"
)

// criLine is a line with the prefix of the Kubernetes container runtime interface: "STAMP STREAM TAGS text", where the
// first tag is P (partial) or F (full). Source: kubernetes/design-proposals-archive, node/kubelet-cri-logging.md.
type criLine struct {
	text    []byte
	at      time.Time
	stream  int // 0 is stdout, 1 is stderr
	partial bool
}

func readCRI(line []byte) (criLine, bool) {
	// "2026-11-21T08:28:15Z stdout F " is the shortest
	if len(line) < 30 || line[4] != '-' || line[10] != 'T' {
		return criLine{}, false
	}
	sp := bytes.IndexByte(line[:min(len(line), 40)], ' ')
	if sp < 0 || len(line) < sp+len(" stdout F") {
		return criLine{}, false
	}
	l := criLine{}
	switch string(line[sp+1 : sp+8]) {
	case "stdout ":
	case "stderr ":
		l.stream = 1
	default:
		return criLine{}, false
	}
	rest := line[sp+8:]
	if rest[0] != 'F' && rest[0] != 'P' {
		return criLine{}, false
	}
	l.partial = rest[0] == 'P'
	tags := len(rest)
	if n := bytes.IndexByte(rest, ' '); n >= 0 {
		tags, l.text = n, rest[n+1:]
	}
	if tags > 1 && rest[1] != ':' {
		return criLine{}, false
	}
	at, ok := parseISO(line[:sp])
	if !ok {
		return criLine{}, false
	}
	l.at = at
	return l, true
}

// partials joins the pieces of a line, which the runtime cuts at 16 KiB or so, by stream: the two are interleaved.
type partials [2]struct {
	text []byte
	at   time.Time
	open bool
}

// add returns the whole line when its last piece has come, and else something partial.
func (p *partials) add(l criLine) criLine {
	s := &p[l.stream]
	if !s.open && !l.partial {
		return l
	}
	if !s.open {
		s.open, s.at, s.text = true, l.at, s.text[:0]
	}
	s.text = append(s.text, l.text...)
	if l.partial {
		return l
	}
	s.open = false
	l.text, l.at = s.text, s.at
	return l
}

// left returns the lines whose end never came.
func (p *partials) left() []criLine {
	var lines []criLine
	for i := range p {
		if p[i].open && len(p[i].text) > 0 {
			lines = append(lines, criLine{text: p[i].text, at: p[i].at, stream: i})
		}
	}
	return lines
}
