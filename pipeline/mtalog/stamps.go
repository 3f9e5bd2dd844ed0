package mtalog

import "time"

// stamps reads time stamps. It holds the last minute read without a year, because finding the year and the zone's
// offset costs more than the rest of the line, and the last stamp with its host, because the next line mostly has the
// same; both are caches and no state.
type stamps struct {
	location *time.Location
	minute   uint32 // month, day, hour and minute, packed; 0 is none
	at       int64  // Unix seconds of that minute in the latest year that fits
	next     int64  // Unix seconds of that minute in the following year that has the day

	// The beginning of the last line with such a stamp: "Nov 21 08:28:19 mta1 ". It fits only while the minute does.
	head   [64]byte
	length int   // of head; 0 is none
	host   span  // in head
	us     int64 // Unix microseconds
}

// sameHead reports whether the line begins with the stamp and the host of the last one, which then mean the same.
func (s *stamps) sameHead(line []byte, in *Input) bool {
	if s.length == 0 || len(line) < s.length || string(line[:s.length]) != string(s.head[:s.length]) || in.Location != s.location {
		return false
	}
	limit := in.Reference.Unix() + int64(futureSlack/time.Second)
	return s.at+60 <= limit && s.next > limit
}

// keepHead remembers line[:n], a stamp without a year and a host with a blank behind each.
func (s *stamps) keepHead(line []byte, n int, host span, us int64) {
	s.length = 0
	if n <= len(s.head) {
		s.length = copy(s.head[:], line[:n])
		s.host, s.us = host, us
	}
}

// readTraditional reads "Nov 21 08:28:19" and "Nov  1 08:28:19", with an optional fraction, and returns Unix
// microseconds and the bytes used. RFC 3164, section 4.1.2. The year is the latest by which the stamp does not lie more
// than futureSlack behind Reference.
func (s *stamps) readTraditional(b []byte, in *Input) (us int64, n int, reason Reason) {
	if len(b) < 14 || b[3] != ' ' {
		return 0, 0, ReasonFrame
	}
	month := monthNumber(b[0], b[1], b[2])
	if month == 0 {
		return 0, 0, ReasonFrame
	}
	i := 4
	if b[i] == ' ' {
		i++
	}
	day := uint32(b[i] - '0')
	if day > 9 {
		return 0, 0, ReasonFrame
	}
	if i++; b[i]-'0' <= 9 {
		day = day*10 + uint32(b[i]-'0')
		i++
	}
	if b[i] != ' ' {
		return 0, 0, ReasonFrame
	}
	i++
	hour, minute, second, fraction, n := readClock(b[i:])
	if n == 0 || day == 0 || day > 31 {
		return 0, 0, ReasonTime
	}
	if in.Reference.IsZero() {
		return 0, 0, ReasonNoReference
	}
	packed := month<<20 | day<<12 | hour<<6 | minute
	limit := in.Reference.Unix() + int64(futureSlack/time.Second)
	if packed != s.minute || in.Location != s.location || s.at+60 > limit || s.next <= limit {
		if !s.findYear(month, day, hour, minute, second, limit, in.Location) {
			return 0, 0, ReasonTime
		}
		s.minute = packed
	}
	return (s.at+int64(second))*1e6 + fraction, i + n, ReasonNone
}

// findYear sets at and next. February 29 exists every four years, or eight around 2100.
func (s *stamps) findYear(month, day, hour, minute, second uint32, limit int64, loc *time.Location) bool {
	s.minute, s.location, s.length = 0, loc, 0
	if loc == nil {
		loc = time.UTC
	}
	s.next = 1<<63 - 1
	year := time.Unix(limit, 0).In(loc).Year()
	for y := year + 1; y >= year-8; y-- {
		t := time.Date(y, time.Month(month), int(day), int(hour), int(minute), 0, 0, loc)
		if t.Month() != time.Month(month) || t.Day() != int(day) {
			continue
		}
		if t.Unix()+int64(second) <= limit {
			s.at = t.Unix()
			return true
		}
		s.next = t.Unix()
	}
	return false
}

// readISO reads an RFC 3339 stamp with any fraction; the offset may lack its colon or be missing, and then loc counts.
func (s *stamps) readISO(b []byte, loc *time.Location) (us int64, n int, reason Reason) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != 't') {
		return 0, 0, ReasonFrame
	}
	century, year, month, day := two(b), two(b[2:]), two(b[5:]), two(b[8:])
	hour, minute, second, fraction, n := readClock(b[11:])
	if century > 99 || year > 99 || month-1 > 11 || n == 0 || day == 0 || day > daysIn(century*100+year, month) {
		return 0, 0, ReasonTime
	}
	year += century * 100
	i := 11 + n
	unix := civilDays(int64(year), int64(month), int64(day))*86400 + int64(hour*3600+minute*60+second)
	switch {
	case i < len(b) && (b[i] == 'Z' || b[i] == 'z'):
		i++
	case i < len(b) && (b[i] == '+' || b[i] == '-'):
		sign := int64(1)
		if b[i] == '-' {
			sign = -1
		}
		i++
		if len(b) < i+4 {
			return 0, 0, ReasonTime
		}
		h := two(b[i:])
		i += 2
		if b[i] == ':' {
			i++
		}
		m := uint32(100)
		if len(b) >= i+2 {
			m = two(b[i:])
		}
		if h > 23 || m > 59 {
			return 0, 0, ReasonTime
		}
		i += 2
		unix -= sign * int64(h*3600+m*60)
	case loc != nil && loc != time.UTC:
		unix = time.Date(int(year), time.Month(month), int(day), int(hour), int(minute), int(second), 0, loc).Unix()
	}
	return unix*1e6 + fraction, i, ReasonNone
}

// readExim reads the stamp of Exim's own log files: a date, a blank, the time, milliseconds if so configured, and the
// zone behind another blank if log_timezone is set; else loc counts.
func (s *stamps) readExim(line []byte, loc *time.Location) (us int64, n int, reason Reason) {
	var b [32]byte
	copy(b[:], line)
	b[10] = 'T'
	for n = 19; n < len(line) && n < len(b)-6 && (line[n] == '.' || line[n]-'0' <= 9); n++ {
	}
	if n+6 <= len(line) && line[n] == ' ' && (line[n+1] == '+' || line[n+1] == '-') {
		copy(b[n:], line[n+1:n+6])
		us, _, reason = s.readISO(b[:n+5], loc)
		return us, n + 6, reason
	}
	return s.readISO(b[:n], loc)
}

// readMultilog reads the stamp that multilogStamp found. svlogd writes UTC; behind a blank loc counts.
func (s *stamps) readMultilog(line []byte, loc *time.Location) (us int64, n int, reason Reason) {
	n = multilogStamp(line)
	if line[0] == '@' {
		us, reason = readTAI64N(line)
		return us, n, reason
	}
	var b [32]byte
	copy(b[:n], line)
	if b[10] != ' ' {
		loc = nil
	}
	b[10] = 'T'
	us, _, reason = s.readISO(b[:n], loc)
	return us, n, reason
}

// tai64Epoch is the label of 1970-01-01 00:00:00 UTC as multilog, tai64n and svlogd count: TAI was ten seconds ahead, and
// they know of no leap seconds since (cr.yp.to/libtai/tai64.html; daemontools' timestamp.c).
const tai64Epoch = 1<<62 + 10

// readTAI64N reads "@" and 24 hexadecimal digits, which are there: seconds, then nanoseconds, cut to microseconds.
func readTAI64N(b []byte) (us int64, reason Reason) {
	var label [2]uint64
	for i, c := range b[1:25] {
		v := uint64(c - '0')
		if c > '9' {
			v = uint64(c-'a') + 10
		}
		label[i/16] = label[i/16]<<4 | v
	}
	const end = 253_402_300_800 // the year 10000
	if label[0] < tai64Epoch || label[0] >= tai64Epoch+end || label[1] > 999_999_999 {
		return 0, ReasonTime
	}
	return int64(label[0]-tai64Epoch)*1e6 + int64(label[1]/1000), ReasonNone
}

// readClock reads hh:mm:ss and an optional fraction, which is cut to microseconds. n is 0 if there is none. A leap second
// (60) is allowed and becomes the next minute's first.
func readClock(b []byte) (hour, minute, second uint32, fraction int64, n int) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0, 0, 0, 0, 0
	}
	hour, minute, second = two(b), two(b[3:]), two(b[6:])
	if hour > 23 || minute > 59 || second > 60 {
		return 0, 0, 0, 0, 0
	}
	n = 8
	if len(b) > 9 && (b[8] == '.' || b[8] == ',') && b[9]-'0' <= 9 {
		unit := int64(100_000)
		for n = 9; n < len(b) && b[n]-'0' <= 9; n++ {
			fraction += int64(b[n]-'0') * unit
			unit /= 10
		}
	}
	return hour, minute, second, fraction, n
}

// two reads two digits; anything above 99 is none.
func two(b []byte) uint32 {
	hi, lo := b[0]-'0', b[1]-'0'
	if hi > 9 || lo > 9 {
		return 1000
	}
	return uint32(hi)*10 + uint32(lo)
}

func monthNumber(a, b, c byte) uint32 {
	switch uint32(a)<<16 | uint32(b)<<8 | uint32(c) {
	case 'J'<<16 | 'a'<<8 | 'n':
		return 1
	case 'F'<<16 | 'e'<<8 | 'b':
		return 2
	case 'M'<<16 | 'a'<<8 | 'r':
		return 3
	case 'A'<<16 | 'p'<<8 | 'r':
		return 4
	case 'M'<<16 | 'a'<<8 | 'y':
		return 5
	case 'J'<<16 | 'u'<<8 | 'n':
		return 6
	case 'J'<<16 | 'u'<<8 | 'l':
		return 7
	case 'A'<<16 | 'u'<<8 | 'g':
		return 8
	case 'S'<<16 | 'e'<<8 | 'p':
		return 9
	case 'O'<<16 | 'c'<<8 | 't':
		return 10
	case 'N'<<16 | 'o'<<8 | 'v':
		return 11
	case 'D'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

func daysIn(year, month uint32) uint32 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// civilDays returns the days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that the
// leap day is a year's last.
func civilDays(y, m, d int64) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	return 365*y + y/4 - y/100 + y/400 + (153*(m-3)+2)/5 + d - 1 - 719468
}
