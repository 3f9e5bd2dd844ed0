package dsn

import (
	"strconv"
	"strings"
	"time"
)

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// parseDate reads a date of RFC 5322, section 3.3, with or without the day of the week and with the obsolete zones of section
// 4.3; what it cannot read is the zero time. net/mail accepts less and takes longer.
func parseDate(s string) time.Time {
	if _, rest, found := strings.Cut(s, ","); found {
		s = rest
	}
	words := strings.Fields(s)
	// "Nov" in front: the order of ctime, seen in old reports: [Sat] Nov 21 08:28:19 2026
	if len(words) >= 4 && month(words[0]) == 0 && month(words[1]) != 0 && len(words[0]) == 3 {
		words = words[1:]
	}
	if len(words) >= 4 && month(words[0]) != 0 {
		year, zone := words[3], ""
		if len(words) >= 5 {
			year = words[4]
			zone = words[3]
		}
		words = []string{words[1], words[0], year, words[2], zone}
	}
	if len(words) < 4 {
		return time.Time{}
	}
	day, err1 := strconv.Atoi(words[0])
	year, err2 := strconv.Atoi(words[2])
	mon := month(words[1])
	if err1 != nil || err2 != nil || mon == 0 || day < 1 || day > 31 || year < 0 || year > 9999 {
		return time.Time{}
	}
	switch { // RFC 5322, section 4.3
	case year < 50:
		year += 2000
	case year < 1000:
		year += 1900
	}
	var clock [3]int
	for i, part := range strings.SplitN(words[3], ":", 3) {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || n > 60 {
			return time.Time{}
		}
		clock[i] = n
	}
	if clock[0] > 23 {
		return time.Time{}
	}
	offset := 0
	if len(words) > 4 {
		offset = zoneOffset(words[4])
	}
	return time.Date(year, time.Month(mon), day, clock[0], clock[1], clock[2], 0, time.UTC).Add(-time.Duration(offset) * time.Second)
}

func month(s string) int {
	if len(s) < 3 {
		return 0
	}
	i := strings.Index(months, strings.ToLower(s[:3]))
	if i < 0 || i%3 != 0 {
		return 0
	}
	return i/3 + 1
}

// zoneOffset returns the seconds east of UTC. A name that RFC 5322 does not know counts as UTC, as section 4.3 says.
func zoneOffset(s string) int {
	if len(s) == 5 && (s[0] == '+' || s[0] == '-') && isNumber(s[1:]) {
		n, _ := strconv.Atoi(s[1:])
		seconds := (n/100*60 + n%100) * 60
		if s[0] == '-' {
			return -seconds
		}
		return seconds
	}
	switch strings.ToUpper(s) {
	case "EDT":
		return -4 * 3600
	case "EST", "CDT":
		return -5 * 3600
	case "CST", "MDT":
		return -6 * 3600
	case "MST", "PDT":
		return -7 * 3600
	case "PST":
		return -8 * 3600
	}
	return 0
}
