package mtalog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// shape is what a Postfix message is, by its own words. The daemon's name is not needed to tell, because rsyslog's
// RFC 5424 output drops it.
type shape uint8

const (
	shapeUnknown   shape = iota
	shapeCut             // a delivery line that ends before its status
	shapeFields          // a delivery line with unknown fields
	shapeNoise           // known, no information
	shapeRepeated        // "message repeated n times: [ ... ]"
	shapeDelivery        // QID: to=<r>, ..., status=s (text)
	shapeProbe           // the same with status=deliverable or undeliverable
	shapeActive          // QID: from=<s>, size=n, nrcpt=n (queue active)
	shapeExpired         // QID: from=<s>, status=expired, returned to sender
	shapeRemoved         // QID: removed
	shapeRequeued        // QID: requeued; the message comes back under another queue id, with orig_id=QID
	shapeMessageID       // QID: message-id=<id>
	shapeArrival         // QID: client=... or QID: uid=...: a new message begins
	shapeHeader          // QID: info: header NAME: VALUE from ...: header_checks(5) was told to log it
)

// status is the word behind "status=".
type status uint8

const (
	statusNone status = iota
	statusSent
	statusDeferred // and SOFTBOUNCE: a permanent answer kept in the queue (soft_bounce)
	statusBounced
	statusProbe
)

// message is a Postfix message taken apart. Spans point into the line.
type message struct {
	shape   shape
	status  status
	cut     bool // the text lacks its closing parenthesis: syslogd cut the line
	queueID span

	recipient span
	original  span
	relayHost span // "none", "local", or the host's name
	relayIP   span // what stands in the relay's brackets: an address, or a socket's path
	relayPort int32
	hasDelay  bool
	hasDelays bool
	delayMS   int64
	delaysMS  [4]int64
	dsn       span
	text      span

	sender    span // of shapeActive, shapeExpired and "uid="
	hasSender bool
	size      int64
	nrcpt     int64
	messageID span

	originalID span // of shapeArrival: the queue id before "requeued"

	header, value span // of shapeHeader
}

// scanMessage reads the message that begins at i.
func scanMessage(line []byte, i int, m *message) {
	*m = message{}
	end := queueIDEnd(line, i)
	if end == 0 {
		m.shape = bareShape(line[i:])
		return
	}
	m.queueID = spanOf(i, end)
	i = end + 2
	if i >= len(line) {
		m.shape = shapeUnknown
		return
	}
	rest := line[i:]
	switch rest[0] {
	case 't':
		if hasPrefix(rest, "to=<") {
			scanDelivery(line, int(m.queueID.from), i+4, m)
			return
		}
	case 'f':
		if hasPrefix(rest, "from=<") {
			scanQueueManager(line, i+6, m)
			return
		}
	case 'r':
		switch string(rest) {
		case "removed", "removed (canceled)", "removed (discarded)": // the latter two by cleanup, Postfix 3.10
			m.shape = shapeRemoved
			return
		case "requeued":
			m.shape = shapeRequeued
			return
		}
	case 'm':
		if hasPrefix(rest, "message-id=") {
			m.shape = shapeMessageID
			m.messageID = spanOf(i+len("message-id="), len(line))
			return
		}
	case 'c':
		if hasPrefix(rest, "client=") {
			m.shape = shapeArrival
			return
		}
	case 'u':
		if hasPrefix(rest, "uid=") {
			scanPickup(line, i, m)
			return
		}
	case 'i', 'w':
		if scanHeader(line, i, m) {
			return
		}
	}
	if queueNoise(rest) {
		m.shape = shapeNoise
	}
}

// queueIDEnd returns the place of the colon behind the queue id that begins at i, or 0. Short ids are upper-case
// hexadecimal; long ones (enable_long_queue_ids) have six digits of seconds and four of microseconds in base 52, a "z"
// and the inode: Postfix, src/global/mail_queue.h.
func queueIDEnd(line []byte, i int) int {
	const shortest, longest = 6, 40
	if i+shortest+1 >= len(line) {
		return 0
	}
	if i+18 <= len(line) && line[i+10] == 'z' { // a long id of 12 to 15 bytes, as nearly all are
		first, rest := binary.LittleEndian.Uint64(line[i:]), binary.LittleEndian.Uint64(line[i+8:])
		if end := i + 8 + bits.TrailingZeros64(otherThanAlnum(rest))>>3; end >= i+12 && otherThanAlnum(first) == 0 && end < i+16 && line[end] == ':' && line[end+1] == ' ' {
			return end
		}
	}
	words, n := byte(0), 0
	for _, c := range line[i:min(len(line), i+longest+1)] {
		class := idClass[c]
		if class == 0 {
			break
		}
		words |= class
		n++
	}
	k := i + n
	if n < shortest || k+1 >= len(line) || line[k] != ':' || line[k+1] != ' ' {
		return 0
	}
	if words != 'h' && (n < 12 || line[i+10] != 'z') {
		return 0
	}
	return k
}

// otherThanAlnum returns a word with the high bit of each byte of x that is neither an ASCII letter nor a digit.
func otherThanAlnum(x uint64) uint64 {
	low := x &^ highBits
	digit := (low + (0x80-'0')*eachByte) ^ (low + (0x80-'9'-1)*eachByte)
	low |= 0x20 * eachByte // lower case
	letter := (low + (0x80-'a')*eachByte) ^ (low + (0x80-'z'-1)*eachByte)
	return (^(digit | letter) | x) & highBits
}

// idClass holds, by byte: "h" for upper-case hexadecimal, "l" for what only long ids may hold, 0 for the rest.
const idClass = "" +
	zeros16 + zeros16 + zeros16 +
	"hhhhhhhhhh\x00\x00\x00\x00\x00\x00" +
	"\x00hhhhhhllllllllllllllllllll\x00\x00\x00\x00\x00" +
	"\x00llllllllllllllllllllllllll\x00\x00\x00\x00\x00" +
	zeros64 + zeros64

const zeros64 = zeros16 + zeros16 + zeros16 + zeros16

const zeros16 = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// scanQueueManager reads qmgr's two lines behind "from=<".
func scanQueueManager(line []byte, i int, m *message) {
	// The sender may hold anything; the fields behind it cannot, so they are looked for from the end.
	if !scanActive(line, i, m) && !scanExpired(line, i, m) {
		m.shape = shapeUnknown
	}
}

func scanActive(line []byte, i int, m *message) bool {
	const key = ">, size="
	k := lastBehindAddress(line[i:], key)
	if k < 0 {
		return false
	}
	sender := spanOf(i, i+k)
	i += k + len(key)
	size, n := readInt(line[i:])
	if i += n; n == 0 || !hasPrefix(line[i:], ", nrcpt=") {
		return false
	}
	i += len(", nrcpt=")
	nrcpt, n := readInt(line[i:])
	if i += n; n == 0 || !hasPrefix(line[i:], " (queue ") {
		return false
	}
	m.shape, m.sender, m.hasSender, m.size, m.nrcpt = shapeActive, sender, true, size, nrcpt
	return true
}

// lastBehindAddress returns the place of the last key in b, or -1. key begins with the ">" of an address. It is mostly the
// last ">" of the line.
func lastBehindAddress(b []byte, key string) int {
	for end := len(b); ; {
		if end = bytes.LastIndexByte(b[:end], '>'); end < 0 || hasPrefix(b[end:], key) {
			return end
		}
	}
}

func scanExpired(line []byte, i int, m *message) bool {
	const key = ">, status="
	k := lastBehindAddress(line[i:], key)
	if k < 0 {
		return false
	}
	words := i + k + len(key)
	switch string(line[words:]) {
	case "expired, returned to sender", "force-expired, returned to sender":
	default:
		return false
	}
	m.shape, m.sender, m.hasSender = shapeExpired, spanOf(i, i+k), true
	m.text = spanOf(words, len(line))
	return true
}

// scanPickup reads "uid=0 from=<s>". The sender is provisional: cleanup may rewrite it, and qmgr's word counts.
func scanPickup(line []byte, i int, m *message) {
	k := bytes.Index(line[i:], []byte(" from=<"))
	if k < 0 {
		return
	}
	m.shape = shapeArrival
	i += k + len(" from=<")
	if end := bytes.LastIndexByte(line[i:], '>'); end >= 0 {
		m.sender, m.hasSender = spanOf(i, i+end), true
		const orig = "> orig_id="
		if hasPrefix(line[i+end:], orig) {
			m.originalID = spanOf(i+end+len(orig), len(line))
		}
	}
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }

// readInt reads up to 18 digits.
func readInt(b []byte) (v int64, n int) {
	for n < len(b) && n < 18 && b[n]-'0' <= 9 {
		v = v*10 + int64(b[n]-'0')
		n++
	}
	return v, n
}
