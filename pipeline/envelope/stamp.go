package envelope

import (
	"strings"
	"time"
)

// parseTime reads a stamp that says all of a time: RFC 3339, where a missing zone is UTC, or a number since 1970 in a unit
// that its size tells: seconds to 5138, milli-, micro- or nanoseconds from 1973 on.
func parseTime(b []byte) (time.Time, bool) {
	if len(b) >= 19 && b[4] == '-' {
		return parseISO(b)
	}
	return parseEpoch(b)
}

func parseEpoch(b []byte) (time.Time, bool) {
	whole, fraction := b, []byte(nil)
	for i, c := range b {
		if c == '.' {
			whole, fraction = b[:i], b[i+1:]
			break
		}
	}
	n, ok := digits(whole)
	if !ok || n == 0 {
		return time.Time{}, false
	}
	switch {
	case n < 1e11:
		return time.Unix(n, nanoseconds(fraction)).UTC(), true
	case n < 1e14:
		return time.UnixMilli(n).UTC(), true
	case n < 1e17:
		return time.UnixMicro(n).UTC(), true
	}
	return time.Unix(0, n).UTC(), true
}

// nanoseconds reads the digits behind a point, up to the first byte that is none.
func nanoseconds(b []byte) int64 {
	var ns int64
	unit := int64(100_000_000)
	for _, c := range b {
		if c-'0' > 9 {
			break
		}
		ns += int64(c-'0') * unit
		unit /= 10
	}
	return ns
}

// parseISO reads RFC 3339, with a blank for the T and with a zone without a colon or none, as shippers write it.
func parseISO(b []byte) (time.Time, bool) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || b[10] != 'T' && b[10] != ' ' || b[13] != ':' || b[16] != ':' {
		return time.Time{}, false
	}
	var v [6]int64
	for i, at := range [...][2]int{{0, 4}, {5, 7}, {8, 10}, {11, 13}, {14, 16}, {17, 19}} {
		n, ok := digits(b[at[0]:at[1]])
		if !ok {
			return time.Time{}, false
		}
		v[i] = n
	}
	if v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 60 {
		return time.Time{}, false
	}
	rest := b[19:]
	var ns int64
	if len(rest) > 1 && (rest[0] == '.' || rest[0] == ',') {
		ns = nanoseconds(rest[1:])
		for rest = rest[1:]; len(rest) > 0 && rest[0]-'0' <= 9; {
			rest = rest[1:]
		}
	}
	t := time.Date(int(v[0]), time.Month(v[1]), int(v[2]), int(v[3]), int(v[4]), int(v[5]), int(ns), time.UTC)
	switch {
	case len(rest) == 0 || len(rest) == 1 && rest[0]|0x20 == 'z':
		return t, true
	case rest[0] != '+' && rest[0] != '-':
		return time.Time{}, false
	}
	hours, minutes := rest[1:], []byte("00")
	switch len(hours) {
	case 2:
	case 4:
		hours, minutes = hours[:2], hours[2:]
	case 5:
		hours, minutes = hours[:2], hours[3:]
	default:
		return time.Time{}, false
	}
	h, ok1 := digits(hours)
	m, ok2 := digits(minutes)
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return time.Time{}, false
	}
	offset := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if rest[0] == '+' {
		offset = -offset
	}
	return t.Add(offset), true
}

// digits reads a decimal number of at most 18 digits.
func digits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		if len(b) != 19 || b[0] > '8' {
			return 0, false
		}
	}
	var n int64
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// framed reports whether a line brings its own syslog header: a priority, an RFC 3339 stamp or a traditional one. A
// stamp with a blank between date and time is a program's own.
func framed(b []byte) bool {
	if len(b) > 2 && b[0] == '<' {
		for i := 1; i < len(b) && i <= 4; i++ {
			if b[i] == '>' {
				return i > 1
			}
			if b[i]-'0' > 9 {
				return false
			}
		}
		return false
	}
	if len(b) >= 19 && b[4] == '-' && b[10] == 'T' {
		_, ok := parseISO(b[:19])
		return ok
	}
	return traditional(b) > 0
}

// traditional returns the length of the stamp of RFC 3164, section 4.1.2, that b begins with ("Nov 21 08:28:19",
// "Nov  1 08:28:19", with a fraction or none), or 0.
func traditional(b []byte) int {
	if len(b) < 14 || b[3] != ' ' {
		return 0
	}
	if at := strings.Index("JanFebMarAprMayJunJulAugSepOctNovDec", string(b[:3])); at < 0 || at%3 != 0 {
		return 0
	}
	n := 7 // behind a day of two places
	if b[5] == ' ' {
		n = 6
	} else if b[6] != ' ' {
		return 0
	}
	if len(b) < n+8 || b[n]-'0' > 9 || b[n+2] != ':' || b[n+5] != ':' {
		return 0
	}
	for n += 8; n < len(b) && (b[n]-'0' <= 9 || b[n] == '.'); {
		n++
	}
	return n
}
