package envelope

import (
	"bytes"
	"time"
)

// stacked is a line behind a stamp and a host that a shipper put before it.
type stacked struct {
	text []byte
	at   time.Time
	host []byte // empty if it cannot be told
}

// readStacked takes "STAMP HOST LINE" apart, where LINE begins with a stamp of its own: what Logstash's plain codec
// writes, the default of its output to Kafka. HOST is a word or, where it is an object, its JSON. A syslog line has a tag
// behind its host, which is no stamp. The line has 30 bytes at least.
//
// Source: the documentation of Logstash's plain codec ("timestamp, host and message").
func readStacked(line []byte) (stacked, bool) {
	sp := bytes.IndexByte(line[19:min(len(line), 40)], ' ')
	if sp < 0 {
		return stacked{}, false
	}
	sp += 19
	rest := line[sp+1:]
	if len(rest) == 0 {
		return stacked{}, false
	}
	l := stacked{}
	if rest[0] == '{' {
		end := bytes.Index(rest[:min(len(rest), 4<<10)], []byte("} "))
		if end < 0 {
			return stacked{}, false
		}
		l.host, rest = hostOf(rest[:end+1]), rest[end+2:]
	} else {
		end := bytes.IndexByte(rest[:min(len(rest), maxHostBytes+1)], ' ')
		if end <= 0 || rest[end-1] == ':' {
			return stacked{}, false
		}
		if rest[0] != '%' { // "%{host}": there was none
			l.host = rest[:end]
		}
		rest = rest[end+1:]
	}
	if !stamped(rest) {
		return stacked{}, false
	}
	at, ok := parseISO(line[:sp])
	if !ok || len(l.host) > 0 && !printable(l.host, maxHostBytes) {
		return stacked{}, false
	}
	l.text, l.at = rest, at
	return l, true
}

// hostOf returns the host's name in an object like ECS's host.
func hostOf(object []byte) []byte {
	var f fields
	s := scanner{b: object, path: [64]byte{'h', 'o', 's', 't', '.'}}
	s.object(&f, 1, len("host."))
	if s.reason != ReasonNone || s.i != len(object) {
		return nil
	}
	return f.of(slotHost)
}

// stamped reports whether a line begins like a log line: with a syslog header, or with a program's own stamp.
func stamped(b []byte) bool {
	if len(b) >= 19 && b[4] == '-' && b[10] == ' ' {
		_, ok := parseISO(b[:19])
		return ok
	}
	return framed(b)
}
