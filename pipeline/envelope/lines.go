package envelope

import "bytes"

// Wrapped reports whether a line begins like one that a shipper wrapped, or a document: it is then worth a Reader, and not
// all of a value if the value has several lines. Text that is compressed is not told.
func Wrapped(line []byte) bool {
	line = trimCR(line[blanks(line):])
	if opensJSON(line) {
		return true
	}
	if len(line) > 1 && line[0] == '"' {
		s := scanner{b: line}
		_, _, ok := s.span()
		return ok && s.i == len(line)
	}
	if !isoStamped(line) {
		return false
	}
	_, runtime := readCRI(line)
	_, stacked := readStacked(line)
	return runtime || stacked
}

// isoStamped is what lines of a container runtime and of Logstash's plain codec have in common. It is quick to look at.
func isoStamped(line []byte) bool {
	return len(line) >= 30 && line[0]-'0' <= 9 && line[4] == '-' && line[10] == 'T'
}

// resume returns the line behind at on which something new begins: one that is no continuation of a document printed
// over several lines.
func resume(b []byte, at int) int {
	for {
		_, at = cut(b, at)
		if at >= len(b) {
			return len(b)
		}
		switch b[at] {
		case ' ', '\t', '\r', '\n', '"', '}', ']', ',':
		default:
			return at
		}
	}
}

// cut returns the line at b[i:], without its end, and where the next begins.
func cut(b []byte, i int) (line []byte, next int) {
	n := bytes.IndexByte(b[i:], '\n')
	if n < 0 {
		return trimCR(b[i:]), len(b)
	}
	return trimCR(b[i : i+n]), i + n + 1
}

// minHole is how many NUL bytes are a hole of a file, and not a damaged character or the header of a schema registry.
const minHole = 6

// withoutHoles takes off the NUL bytes at both ends of a line, where they are many.
//
// QUIRK: a log that was cut with copytruncate while its writer did not append begins with as many of them as it had bytes;
// a crash of the machine leaves them at the end of a file, on some file systems.
func withoutHoles(line []byte) []byte {
	if n := len(line); n < minHole || line[0] != 0 && line[n-1] != 0 {
		return line
	}
	if rest := bytes.TrimLeft(line, "\x00"); len(line)-len(rest) >= minHole {
		line = rest
	}
	if rest := bytes.TrimRight(line, "\x00"); len(line)-len(rest) >= minHole {
		line = rest
	}
	return line
}

func trimCR(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// blanks counts the blanks at the beginning, and with them the separator of JSON text sequences (RFC 7464, section 2.2).
func blanks(b []byte) int {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == recordSeparator) {
		i++
	}
	return i
}
