package mtalog

import "bytes"

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
