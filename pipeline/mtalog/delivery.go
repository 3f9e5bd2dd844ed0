package mtalog

import (
	"bytes"
	"unicode/utf8"
)

// A delivery line is
//
//	QID: to=<r>, [orig_to=<o>, ]relay=R, [conn_use=N, ]delay=S, delays=a/b/c/d, [tls=T, ]dsn=X.Y.Z, status=W (TEXT)
//
// "tls=" came with Postfix 3.11; a field that a later version adds is passed over, so that its deliveries are not lost.
// TEXT comes from the remote side and may hold anything, this very form included; r and o come from outside, too. So
// everything is read from the left, and TEXT is whatever stands between the parenthesis behind the status word and the
// last byte of the line.

// scanDelivery reads a delivery line from behind "to=<".
func scanDelivery(line []byte, i int, m *message) {
	if end := plainAddressEnd(line, i); end >= 0 {
		m.recipient = spanOf(i, end)
		i = end + 3
		if !hasPrefix(line[i:], "orig_to=<") {
			if m.shape = scanFields(line, i, m); m.shape != shapeFields {
				return
			}
		} else if end = plainAddressEnd(line, i+9); end >= 0 {
			m.original = spanOf(i+9, end)
			if m.shape = scanFields(line, end+3, m); m.shape != shapeFields {
				return
			}
		}
		i = int(m.recipient.from)
	}
	scanAddresses(line, i, m)
}

// plainAddressEnd returns the place of the ">" that ends the address at i, if there can be no doubt: no quote, and
// the next field follows. Else -1.
func plainAddressEnd(line []byte, i int) int {
	n := bytes.IndexByte(line[i:], '>')
	if n < 0 || !hasPrefix(line[i+n:], ">, ") || bytes.IndexByte(line[i:i+n], '"') >= 0 {
		return -1
	}
	switch rest := line[i+n+3:]; {
	case hasPrefix(rest, "relay="), hasPrefix(rest, "orig_to=<"):
		return i + n
	}
	return -1
}

// maxCandidates bounds the search for the end of an odd address.
const maxCandidates = 64

// scanAddresses is the exact way: it tries each place where an address may end and takes the first by which the rest of
// the line reads as a delivery. Since Postfix 3.5 odd local parts are quoted (info_log_addr_form), and within quotes
// nothing ends an address; before, they stand bare. A recipient with an "@" is preferred to one without.
func scanAddresses(line []byte, from int, m *message) {
	queueID := m.queueID
	best := message{shape: shapeUnknown}
	tried := 0
	for end := range addressEnds(line, from) {
		if tried++; tried > maxCandidates {
			break
		}
		c := message{queueID: queueID, recipient: spanOf(from, end)}
		if i := end + 3; !hasPrefix(line[i:], "orig_to=<") {
			c.shape = scanFields(line, i, &c)
		} else {
			for originalEnd := range addressEnds(line, i+9) {
				if tried++; tried > maxCandidates {
					break
				}
				c.original = spanOf(i+9, originalEnd)
				if c.shape = scanFields(line, originalEnd+3, &c); c.shape == shapeDelivery {
					break
				}
			}
		}
		if c.shape == shapeDelivery || c.shape == shapeProbe {
			if bytes.IndexByte(c.recipient.of(line), '@') >= 0 {
				*m = c
				return
			}
			if best.shape != shapeDelivery {
				best = c
			}
		} else if best.shape == shapeUnknown {
			best = c
		}
	}
	if best.shape == shapeUnknown {
		best = message{shape: shapeCut, queueID: queueID}
	}
	*m = best
}

// addressEnds yields the places of each ">" that may end the address at from: behind its quoted-string, if it begins with
// one, and followed by a field that may come next.
func addressEnds(line []byte, from int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		i := from
		if i < len(line) && line[i] == '"' {
			for i++; i < len(line) && line[i] != '"'; i++ {
				if line[i] == '\\' {
					i++ // RFC 5321, section 4.1.2: quoted-pair
				}
			}
			if i >= len(line) {
				i = from // a bare quote after all
			}
		}
		for i < len(line) {
			n := bytes.Index(line[i:], []byte(">, "))
			if n < 0 {
				return
			}
			i += n
			if rest := line[i+3:]; hasPrefix(rest, "relay=") || hasPrefix(rest, "orig_to=<") {
				if !yield(i) {
					return
				}
			}
			i++
		}
	}
}

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
	i += len(", delays=") - 1
	for k := range m.delaysMS {
		if k > 0 && line[i] != '/' {
			return 0
		}
		if m.delaysMS[k], i = seconds(line, i+1); i == 0 {
			return 0
		}
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
	return len(b) <= longest && bytes.IndexAny(b, " <>()\"") < 0
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
