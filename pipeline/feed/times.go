package feed

import (
	"strconv"
	"time"

	"carom.dev/carom/schema"
)

// lastSecond is the end of year 9999, the last that RFC 3339 can say.
const lastSecond = 253402300799

// unixMicros reads seconds since 1970 with or without a fraction.
func unixMicros(s string) (us int64, ok bool) {
	i, seconds := 0, int64(0)
	for i < len(s) && i < 12 && s[i]-'0' <= 9 {
		seconds = seconds*10 + int64(s[i]-'0')
		i++
	}
	if i == 0 || seconds > lastSecond {
		return 0, false
	}
	us = seconds * 1_000_000
	if i == len(s) {
		return us, seconds > 0
	}
	if s[i] == '.' {
		unit := int64(100_000)
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
			us += int64(s[i]-'0') * unit
			unit /= 10
		}
		if i == len(s) {
			return us, us > 0
		}
	}
	f, err := strconv.ParseFloat(s, 64) // 1.7e9: no known feed writes that, any JSON writer may
	if err != nil || !(f >= 1 && f <= lastSecond) {
		return 0, false
	}
	return int64(f * 1e6), true
}

// stamp reads RFC 3339, or seconds since 1970.
func stamp(s string) (us int64, ok bool) {
	if len(s) > 10 && s[4] == '-' {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil || t.Unix() < 0 || t.Unix() > lastSecond {
			return 0, false
		}
		return t.UnixMicro(), true
	}
	return unixMicros(s)
}

// number reads a code or a number of attempts, digits alone; 0 if it is none, or above 999,999. Most records lack some
// number, and strconv makes an error for each.
func number(s string) (n int) {
	if len(s) > 6 {
		return 0
	}
	for i := 0; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// count reads a number of attempts; 0 if it is none.
func count(s string) uint32 { return uint32(number(s)) }

// setDelay notes the time from entry to now, if the record has both and the clock did not jump.
func setDelay(ev *schema.DeliveryEvent, us int64) {
	if us >= 0 {
		ev.DelayMs, ev.HasDelay = us/1000, true
	}
}
