package mtalog

import (
	"bytes"
	"unicode/utf8"
)

// scanFields reads from "relay=" to the end of the line: at first in the order in which Postfix writes the fields, and
// if anything is not as expected, the exact way.
func scanFields(line []byte, i int, m *message) shape {
	if end := scanUsualFields(line, i, m); end > 0 {
		return scanStatus(line, end, m)
	}
	m.relayHost, m.relayIP, m.relayPort, m.dsn = span{}, span{}, 0, span{}
	m.hasDelay, m.hasDelays, m.delayMS, m.delaysMS = false, false, 0, [4]int64{}
	return scanAnyFields(line, i, m)
}

// scanUsualFields returns the place behind "status=", or 0.
func scanUsualFields(line []byte, i int, m *message) int {
	if !hasPrefix(line[i:], "relay=") {
		return 0
	}
	i += len("relay=")
	n := bytes.IndexByte(line[i:], ',')
	if n < 0 || !scanRelay(line, i, i+n, m) {
		return 0
	}
	i += n
	if hasPrefix(line[i:], ", conn_use=") {
		i += len(", conn_use=")
		_, n := readInt(line[i:])
		if n == 0 {
			return 0
		}
		i += n
	}
	if !hasPrefix(line[i:], ", delay=") {
		return 0
	}
	if m.delayMS, i = seconds(line, i+len(", delay=")); i == 0 || !hasPrefix(line[i:], ", delays=") {
		return 0
	}
	if i = scanDelays(line, i+len(", delays="), &m.delaysMS); i == 0 {
		return 0
	}
	if hasPrefix(line[i:], ", tls=") {
		i += len(", tls=")
		if n = bytes.IndexByte(line[i:], ','); n < 0 || !plainValue(line[i:i+n]) {
			return 0
		}
		i += n
	}
	if !hasPrefix(line[i:], ", dsn=") {
		return 0
	}
	i += len(", dsn=")
	for n = 5; n < 10 && i+n < len(line) && line[i+n] != ','; n++ {
	}
	if i+n >= len(line) || !validDSN(line[i:i+n]) || !hasPrefix(line[i+n:], ", status=") {
		return 0
	}
	m.dsn = spanOf(i, i+n)
	m.hasDelay, m.hasDelays = true, true
	return i + n + len(", status=")
}

// scanDelays reads "0.05/0/1.2/3" and returns the place behind, which is in the line; 0 if there is no such thing.
func scanDelays(line []byte, i int, delays *[4]int64) int {
	for k := range delays {
		if k > 0 {
			if line[i] != '/' {
				return 0
			}
			i++
		}
		if i+1 < len(line) && line[i]-'0' <= 9 && (line[i+1] == '/' || line[i+1] == ',') { // mostly 0
			delays[k] = int64(line[i]-'0') * 1000
			i++
			continue
		}
		if i+4 < len(line) && line[i]-'0' <= 9 && line[i+1] == '.' && line[i+2]-'0' <= 9 { // 0.4 or 0.05
			ms := int64(line[i]-'0')*1000 + int64(line[i+2]-'0')*100
			n := 3
			if line[i+3]-'0' <= 9 {
				ms += int64(line[i+3]-'0') * 10
				n = 4
			}
			if c := line[i+n]; c == '/' || c == ',' {
				delays[k] = ms
				i += n
				continue
			}
		}
		if delays[k], i = seconds(line, i); i == 0 {
			return 0
		}
	}
	return i
}

// seconds reads "12" or "0.05" at i and returns milliseconds and the place behind, which is in the line; 0 if there is
// no such number.
func seconds(line []byte, i int) (ms int64, end int) {
	from := i
	for i < len(line) && line[i]-'0' <= 9 {
		ms = ms*10 + int64(line[i]-'0')
		i++
	}
	if i == from || i-from > 12 || i == len(line) {
		return 0, 0
	}
	ms *= 1000
	if line[i] != '.' {
		return ms, i
	}
	from = i + 1
	unit := int64(100)
	for i++; i < len(line) && line[i]-'0' <= 9; i++ {
		ms += int64(line[i]-'0') * unit
		unit /= 10
	}
	if i == from || i == len(line) {
		return 0, 0
	}
	return ms, i
}

// scanAnyFields reads the fields from "relay=" on in any order, and passes over those that it does not know. It returns
// shapeDelivery, shapeProbe, shapeCut if the line ends before its status, or shapeFields if there is no sense in it.
func scanAnyFields(line []byte, i int, m *message) shape {
	relay := false
	for {
		if len(line)-i < 5 {
			return shapeCut
		}
		rest := line[i:]
		eq := 0
		switch rest[0] {
		case 'd':
			switch {
			case string(rest[:4]) == "dsn=":
				eq = 4
			case hasPrefix(rest, "delay="):
				eq = 6
			case hasPrefix(rest, "delays="):
				eq = 7
			}
		case 's':
			if hasPrefix(rest, "status=") {
				if !relay {
					return shapeFields
				}
				return scanStatus(line, i+7, m)
			}
		case 'r':
			if hasPrefix(rest, "relay=") && !relay {
				eq = 6
			}
		case 'c':
			if hasPrefix(rest, "conn_use=") {
				eq = 9
			}
		}
		known := eq != 0
		if !known {
			eq = fieldName(rest)
		}
		if eq == 0 {
			if bytes.IndexByte(rest, ',') < 0 && bytes.IndexByte(rest, '(') < 0 && len(rest) < len("conn_use=") {
				return shapeCut
			}
			return shapeFields
		}
		i += eq
		n := bytes.IndexByte(line[i:], ',')
		if n < 0 {
			return shapeCut
		}
		value := line[i : i+n]
		ok := false
		switch {
		case !known:
			ok = plainValue(value)
		case eq == 6 && rest[0] == 'r':
			ok = scanRelay(line, i, i+n, m)
			relay = true
		case eq == 6:
			m.delayMS, ok = readMillis(value)
			m.hasDelay = ok
		case eq == 7:
			ok = readDelays(value, &m.delaysMS)
			m.hasDelays = ok
		case eq == 4:
			m.dsn = spanOf(i, i+n)
			ok = validDSN(value)
		default:
			_, digits := readInt(value)
			ok = digits == n && n > 0
		}
		if !ok {
			return shapeFields
		}
		if i += n + 1; i >= len(line) {
			return shapeCut
		}
		if line[i] != ' ' {
			return shapeFields
		}
		i++
	}
}

// fieldName returns the length of the "name=" that b begins with, or 0.
func fieldName(b []byte) int {
	const longest = 32
	n := 0
	for n < len(b) && n <= longest && (b[n]-'a' <= 'z'-'a' || b[n] == '_') {
		n++
	}
	if n == 0 || n > longest || n == len(b) || b[n] != '=' {
		return 0
	}
	return n + 1
}

// plainValue reports whether a field's value is one word without a bracket, which could be an address or a text.
func plainValue(b []byte) bool {
	const longest = 64
	return len(b) <= longest && !bytes.ContainsAny(b, " <>()\"")
}

// scanRelay reads none, local, a service's name, HOST[ADDRESS]:PORT or HOST[PATH].
func scanRelay(line []byte, from, to int, m *message) bool {
	open := bytes.IndexByte(line[from:to], '[')
	if open < 0 {
		m.relayHost = spanOf(from, to)
		return to > from && bytes.IndexByte(line[from:to], ' ') < 0
	}
	m.relayHost = spanOf(from, from+open)
	from += open + 1
	n := bytes.IndexByte(line[from:to], ']')
	if n < 0 {
		return false
	}
	m.relayIP = spanOf(from, from+n)
	from += n + 1
	if from == to {
		return true
	}
	port, digits := readInt(line[from+1 : to])
	m.relayPort = int32(port & 0xffff)
	return line[from] == ':' && digits == to-from-1 && port <= 65535
}

// scanStatus reads the status word and the text.
func scanStatus(line []byte, i int, m *message) shape {
	end := i
	for end < len(line) && line[end]|0x20-'a' <= 'z'-'a' {
		end++
	}
	switch string(line[i:end]) {
	case "sent":
		m.status = statusSent
	case "deferred", "SOFTBOUNCE":
		m.status = statusDeferred
	case "bounced":
		m.status = statusBounced
	case "deliverable", "undeliverable":
		m.status = statusProbe
	default:
		if end == len(line) {
			return shapeCut
		}
		return shapeFields
	}
	last := len(line)
	for last > end && line[last-1] == ' ' {
		last--
	}
	switch {
	case last-end <= 1 || (last-end == 2 && line[last-1] == '('):
		m.cut = true
		m.text = spanOf(last, last)
	case !hasPrefix(line[end:], " ("):
		return shapeFields
	case line[last-1] == ')':
		m.text = spanOf(end+2, last-1)
	default:
		m.cut = true
		m.text = spanOf(end+2, max(end+2, wholeRunes(line, last)))
	}
	if m.status == statusProbe {
		return shapeProbe
	}
	return shapeDelivery
}

// wholeRunes returns the end of line[:end] without the beginning of a rune that was cut (RFC 3629).
func wholeRunes(line []byte, end int) int {
	for k := end - 1; k >= 0 && k >= end-utf8.UTFMax; k-- {
		if utf8.RuneStart(line[k]) {
			if line[k] >= utf8.RuneSelf && !utf8.FullRune(line[k:end]) {
				return k
			}
			return end
		}
	}
	return end
}

// readMillis reads seconds with an optional fraction, as Postfix's format_tv writes them. Parts of a millisecond are cut.
func readMillis(b []byte) (ms int64, ok bool) {
	if len(b) == 0 || len(b) > 15 {
		return 0, false
	}
	i := 0
	for i < len(b) && b[i]-'0' <= 9 {
		ms = ms*10 + int64(b[i]-'0')
		i++
	}
	if i == 0 {
		return 0, false
	}
	ms *= 1000
	if i == len(b) {
		return ms, true
	}
	if b[i] != '.' || i+1 == len(b) {
		return 0, false
	}
	unit := int64(100)
	for i++; i < len(b); i++ {
		if b[i]-'0' > 9 {
			return 0, false
		}
		ms += int64(b[i]-'0') * unit
		unit /= 10
	}
	return ms, true
}

// readDelays reads a/b/c/d.
func readDelays(b []byte, delays *[4]int64) bool {
	for k := range delays {
		n := len(b)
		if k < 3 {
			if n = bytes.IndexByte(b, '/'); n < 0 {
				return false
			}
		}
		var ok bool
		if delays[k], ok = readMillis(b[:n]); !ok {
			return false
		}
		b = b[min(n+1, len(b)):]
	}
	return true
}

// validDSN reports whether b looks like a status code of RFC 3463; Postfix writes no others.
func validDSN(b []byte) bool {
	if len(b) < 5 || len(b) > 9 || b[1] != '.' || (b[0] != '2' && b[0] != '4' && b[0] != '5') {
		return false
	}
	dots, digits := 0, 0
	for _, c := range b[2:] {
		switch {
		case c-'0' <= 9:
			digits++
		case c == '.' && digits > 0:
			dots++
			digits = 0
		default:
			return false
		}
	}
	return dots == 1 && digits > 0
}
