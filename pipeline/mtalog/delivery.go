package mtalog

import (
	"bytes"
	"encoding/binary"
)

// A delivery line is
//
//	QID: to=<r>, [orig_to=<o>, ]relay=R, [conn_use=N, ]delay=S, delays=a/b/c/d, [tls=T, ]dsn=X.Y.Z, status=W (TEXT)
//
// "tls=" came with Postfix 3.11; a field that a later version adds is passed over, so that its deliveries are not lost.
// TEXT comes from the remote side and may hold anything, this very form included; r and o come from outside, too. So
// everything is read from the left, and TEXT is whatever stands between the parenthesis behind the status word and the
// last byte of the line.

// scanDelivery reads a delivery line from behind "to=<". Its message begins at begin.
func scanDelivery(line []byte, begin, i int, m *message) {
	// No queue id holds a ">". From begin on, the search need not wait for the queue id's end.
	const shortest = len("AAAAAA: to=<")
	if end := plainAddressEnd(line, begin+shortest, i); end >= 0 {
		m.recipient = spanOf(i, end)
		fields := end + len(">, ")
		if line[fields] == 'o' {
			from := fields + len("orig_to=<")
			if end = plainAddressEnd(line, from, from); end >= 0 {
				m.original = spanOf(from, end)
				fields = end + len(">, ")
			}
		}
		if end >= 0 {
			if m.shape = scanPlainFields(line, fields, m); m.shape != shapeFields {
				return
			}
		}
	}
	scanAddresses(line, i, m)
}

// plainAddressEnd returns the place of the ">" that ends the address at i, if there can be no doubt: it begins with no
// quote, and the next field follows. Else -1. The ">" is looked for from search on.
func plainAddressEnd(line []byte, search, i int) int {
	n := bytes.IndexByte(line[search:], '>')
	if n < 0 || line[i] == '"' {
		return -1
	}
	if rest := line[search+n:]; hasPrefix(rest, ">, relay=") || hasPrefix(rest, ">, orig_to=<") {
		return search + n
	}
	return -1
}

// scanPlainFields reads what scanFields does. It knows only the forms that nearly all lines have; all else is left to
// scanFields.
func scanPlainFields(line []byte, i int, m *message) shape {
	if end := scanPlainRelay(line, i, m); end > 0 {
		if end = scanPlainDelays(line, end, m); end > 0 && scanPlainStatus(line, end, m) {
			m.hasDelay, m.hasDelays = true, true
			return shapeDelivery
		}
	}
	m.status, m.dsn, m.text = statusNone, span{}, span{}
	m.relayHost, m.relayIP, m.relayPort = span{}, span{}, 0
	m.delayMS, m.delaysMS = 0, [4]int64{}
	return scanFields(line, i, m)
}

// scanPlainRelay reads "relay=HOST[ADDRESS]:25, delay=", with or without "conn_use=N, ", and returns the place behind; 0 if
// there is no such thing.
func scanPlainRelay(line []byte, i int, m *message) int {
	const relay, use, delay = "relay=", ", conn_use=", ", delay="
	if !hasPrefix(line[i:], relay) {
		return 0
	}
	i += len(relay)
	n := bytes.IndexByte(line[i:], ',')
	if n < 0 || !scanPlainHost(line, i, i+n, m) {
		return 0
	}
	rest := line[i+n:]
	i += n
	if hasPrefix(rest, delay) {
		return i + len(delay)
	}
	if !hasPrefix(rest, use) {
		return 0
	}
	_, n = readInt(rest[len(use):])
	if n == 0 || !hasPrefix(rest[len(use)+n:], delay) {
		return 0
	}
	return i + len(use) + n + len(delay)
}

// scanPlainHost reads line[from:to] as scanRelay does, in fewer steps where the port is 25 and the address in the brackets is
// one of IPv4.
func scanPlainHost(line []byte, from, to int, m *message) bool {
	const port = "]:25"
	open := bytes.IndexByte(line[from:to], '[')
	ip := to - len(port) - (from + open + 1) // its length
	if open < 0 || ip < 8 || ip > 16 || string(line[to-len(port):to]) != port {
		return scanRelay(line, from, to, m)
	}
	// The first bracket ends the address. Two words, its first and its last eight bytes, hold all of it.
	head, tail := binary.LittleEndian.Uint64(line[from+open+1:]), binary.LittleEndian.Uint64(line[to-len(port)-8:])
	if hasByte(head, ']') || hasByte(tail, ']') {
		return false
	}
	m.relayHost = spanOf(from, from+open)
	m.relayIP = spanOf(from+open+1, to-len(port))
	m.relayPort = 25
	return true
}

// scanPlainDelays reads "1.2, delays=0.05/0/12/3," and returns the place of the last comma; 0 if there is no such thing.
//
// Nearly all numbers are "0", "12", "0.4" or "0.05", in no order that a processor could guess, and a wrong guess costs more
// than the number; so these four take the same steps without a branch.
func scanPlainDelays(line []byte, i int, m *message) int {
	const stops, delays = ",///,", " delays="
	var ms [5]int64
	for k := range ms {
		if i+5 > len(line) {
			return 0
		}
		b := line[i : i+5]
		first, second, tenths, hundredths := int(b[0]-'0'), int(b[1]-'0'), int(b[2]-'0'), int(b[3]-'0')
		var ten, point, two int // 1 where there is a second digit, a point, a second digit behind that
		if b[1]-'0' <= 9 {
			ten = 1
		}
		if b[1] == '.' {
			point = 1
		}
		if b[3]-'0' <= 9 {
			two = 1
		}
		two &= point
		n := 1 + ten + 2*point + two
		if first <= 9 && point*tenths <= 9 && b[n] == stops[k] {
			ms[k] = int64((first+ten*(first*9+second))*1000 + point*tenths*100 + two*hundredths*10)
			i += n
		} else if ms[k], i = seconds(line, i); i == 0 || line[i] != stops[k] {
			return 0
		}
		i++
		if k == 0 {
			if !hasPrefix(line[i:], delays) {
				return 0
			}
			i += len(delays)
		}
	}
	m.delayMS, m.delaysMS = ms[0], [4]int64(ms[1:])
	return i - 1
}

// scanPlainStatus reads ", dsn=2.0.0, status=sent (TEXT)", with or without "tls=T" in front.
func scanPlainStatus(line []byte, i int, m *message) bool {
	const tls, dsn, tail, shortest = ", tls=", ", dsn=", ", status=", "2.0.0"
	if hasPrefix(line[i:], tls) {
		i += len(tls)
		n := bytes.IndexByte(line[i:], ',')
		if n < 0 || !plainValue(line[i:i+n]) {
			return false
		}
		i += n
	}
	last := len(line) - 1
	if len(line)-i < len(dsn)+len(shortest)+len(tail)+len("sent ()") || !hasPrefix(line[i:], dsn) || line[last] != ')' {
		return false
	}
	i += len(dsn)
	n := len(shortest)
	if code := line[i : i+n+1]; code[1] != '.' || code[3] != '.' || code[5] != ',' ||
		code[2]-'0' > 9 || code[4]-'0' > 9 || (code[0] != '2' && code[0] != '4' && code[0] != '5') {
		for n < 10 && i+n < len(line) && line[i+n] != ',' {
			n++
		}
		if i+n >= len(line) || !validDSN(line[i:i+n]) {
			return false
		}
	}
	if !hasPrefix(line[i+n:], tail) {
		return false
	}
	m.dsn = spanOf(i, i+n)
	i += n + len(tail)
	switch rest := line[i:]; {
	case hasPrefix(rest, "sent ("):
		m.status = statusSent
		i += len("sent (")
	case hasPrefix(rest, "deferred ("):
		m.status = statusDeferred
		i += len("deferred (")
	case hasPrefix(rest, "bounced ("):
		m.status = statusBounced
		i += len("bounced (")
	default:
		return false
	}
	m.text = spanOf(i, last)
	return true
}

// Words of eight bytes: a one in each byte, and the high bit of each.
const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// hasByte reports whether one of the eight bytes of x is c: less one, only a zero borrows into its high bit.
func hasByte(x uint64, c byte) bool {
	x ^= uint64(c) * eachByte
	return (x-eachByte)&^x&highBits != 0
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
