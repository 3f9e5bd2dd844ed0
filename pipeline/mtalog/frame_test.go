package mtalog

import (
	"testing"
	"time"

	"carom.dev/carom/schema"
)

func TestFrame(t *testing.T) {
	ref := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	at := time.Date(2026, 11, 21, 8, 28, 19, 0, time.UTC)
	for _, c := range []struct {
		name, line                 string
		at                         time.Time
		host, instance, daemon, in string
	}{
		{"traditional", "Nov 21 08:28:19 mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"day with two blanks", "Nov  1 08:28:19 mta1 postfix/smtp[314]: m", at.AddDate(0, 0, -20), "mta1", "postfix", "smtp", "m"},
		{"day with one blank", "Nov 1 08:28:19 mta1 postfix/smtp[314]: m", at.AddDate(0, 0, -20), "mta1", "postfix", "smtp", "m"},
		{"day with a zero", "Nov 01 08:28:19 mta1 postfix/smtp[314]: m", at.AddDate(0, 0, -20), "mta1", "postfix", "smtp", "m"},
		{"fraction", "Nov 21 08:28:19.25 mta1 postfix/smtp[314]: m", at.Add(250 * time.Millisecond), "mta1", "postfix", "smtp", "m"},
		{"priority", "<22>Nov 21 08:28:19 mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"no host", "Nov 21 08:28:19 postfix/smtp[314]: m", at, "", "postfix", "smtp", "m"},
		{"no process id", "Nov 21 08:28:19 mta1 postfix/smtp: m", at, "mta1", "postfix", "smtp", "m"},
		{"instance", "Nov 21 08:28:19 mta1 postfix-out1/smtp[314]: m", at, "mta1", "postfix-out1", "smtp", "m"},
		{"syslog_name of a service", "Nov 21 08:28:19 mta1 postfix/submission/smtpd[3]: m", at, "mta1", "postfix/submission", "smtpd", "m"},
		{"no slash", "Nov 21 08:28:19 mta1 rsyslogd: m", at, "mta1", "rsyslogd", "", "m"},
		{"empty message", "Nov 21 08:28:19 mta1 postfix/smtp[314]:", at, "mta1", "postfix", "smtp", ""},
		{"leap second", "Nov 21 08:27:60 mta1 postfix/smtp[314]: m", at.Add(-19 * time.Second), "mta1", "postfix", "smtp", "m"},
		{"RFC 3339", "2026-11-21T08:28:19.055321+00:00 mta1 postfix/smtp[314]: m", at.Add(55321 * time.Microsecond), "mta1", "postfix", "smtp", "m"},
		{"RFC 3339, Z", "2026-11-21T08:28:19Z mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"RFC 3339, offset east", "2026-11-21T10:28:19+02:00 mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"RFC 3339, offset west, no colon", "2026-11-21T02:58:19-0530 mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"RFC 3339, nanoseconds are cut", "2026-11-21T08:28:19.000001999Z mta1 postfix/smtp[314]: m", at.Add(time.Microsecond), "mta1", "postfix", "smtp", "m"},
		{"RFC 3339, no zone", "2026-11-21T08:28:19 mta1 postfix/smtp[314]: m", at, "mta1", "postfix", "smtp", "m"},
		{"RFC 5424", "<22>1 2026-11-21T08:28:19+00:00 mta1 postfix 314 - -  m", at, "mta1", "postfix", "", "m"},
		{"RFC 5424, whole tag", "<22>1 2026-11-21T08:28:19Z mta1 postfix-out1/smtp 314 - - m", at, "mta1", "postfix-out1", "smtp", "m"},
		{"RFC 5424, BOM", "<22>1 2026-11-21T08:28:19Z mta1 postfix 314 - - \xEF\xBB\xBFm", at, "mta1", "postfix", "", "m"},
		{"RFC 5424, no clock", "<22>1 - mta1 postfix 314 - - m", ref, "mta1", "postfix", "", "m"},
		{"RFC 5424, no host", "<22>1 2026-11-21T08:28:19Z - postfix 314 - - m", at, "", "postfix", "", "m"},
		{"RFC 5424, structured data", `<22>1 2026-11-21T08:28:19Z mta1 postfix 314 ID47 [a@1 k="v \"]\\" l="] x"][b@2] m`, at, "mta1", "postfix", "", "m"},
		{"RFC 5424, no message", "<22>1 2026-11-21T08:28:19Z mta1 postfix 314 - -", at, "mta1", "postfix", "", ""},
		{"RFC 5424, no priority", "1 2026-11-21T08:28:19Z mta1 postfix 314 - - m", at, "mta1", "postfix", "", "m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s stamps
			var f frame
			line := []byte(c.line)
			for range 2 { // the second time from the cache
				f = frame{}
				if r := s.readFrame(line, &Input{Line: line, Reference: ref}, &f); r != ReasonNone {
					t.Fatalf("refused: %s", r)
				}
				if got := time.UnixMicro(f.at); !got.Equal(c.at) {
					t.Errorf("at %s, want %s", got.UTC(), c.at)
				}
			}
			for _, p := range []struct {
				what, want string
				got        span
			}{{"host", c.host, f.host}, {"instance", c.instance, f.instance}, {"daemon", c.daemon, f.daemon}, {"message", c.in, f.msg}} {
				if string(p.got.of(line)) != p.want {
					t.Errorf("%s %q, want %q", p.what, p.got.of(line), p.want)
				}
			}
		})
	}
}

func TestFrameRefuses(t *testing.T) {
	ref := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, line string
		want       Reason
	}{
		{"words", "hello world", ReasonFrame},
		{"binary", "\x00\x01\x02\xff\xfe\x00\x01\x02\xff\xfe\x00\x01\x02\xff\xfe", ReasonFrame},
		{"priority alone", "<22>", ReasonFrame},
		{"month alone", "Nov ", ReasonFrame},
		{"no month", "Nox 21 08:28:19 mta1 postfix/smtp[1]: m", ReasonFrame},
		{"day 0", "Nov  0 08:28:19 mta1 postfix/smtp[1]: m", ReasonTime},
		{"day 31 of November", "Nov 31 08:28:19 mta1 postfix/smtp[1]: m", ReasonTime},
		{"hour 24", "Nov 21 24:28:19 mta1 postfix/smtp[1]: m", ReasonTime},
		{"nothing behind the stamp", "Nov 21 08:28:19", ReasonFrame},
		{"nothing behind the host", "Nov 21 08:28:19 mta1", ReasonFrame},
		{"no tag", "Nov 21 08:28:19 mta1 hello world", ReasonFrame},
		{"syslogd's repeat", "Nov 21 08:28:19 mta1 last message repeated 3 times", ReasonRepeated},
		{"month 13", "2026-13-21T08:28:19Z mta1 postfix/smtp[1]: m", ReasonTime},
		{"leap day of no leap year", "2026-02-29T08:28:19Z mta1 postfix/smtp[1]: m", ReasonTime},
		{"broken offset", "2026-11-21T08:28:19+0 mta1 postfix/smtp[1]: m", ReasonTime},
		{"offset cut", "2026-11-21T08:28:19+02:0", ReasonTime},
		{"5424 header cut", "<22>1 2026-11-21T08:28:19Z mta1 postfix 314", ReasonFrame},
		{"5424 structured data open", `<22>1 2026-11-21T08:28:19Z mta1 postfix 314 - [a k="v] m`, ReasonFrame},
		{"5424 stamp alone", "<22>1 2026-11-21T08:28:19Z", ReasonFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s stamps
			var f frame
			line := []byte(c.line)
			if got := s.readFrame(line, &Input{Line: line, Reference: ref}, &f); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	var s stamps
	var f frame
	line := []byte("Nov 21 08:28:19 mta1 postfix/smtp[1]: m")
	if got := s.readFrame(line, &Input{Line: line}, &f); got != ReasonNoReference {
		t.Errorf("a year was guessed without Reference: %q", got)
	}
}

// The year is the latest by which the stamp is not more than 25 hours behind Reference.
func TestYearOfStampWithoutOne(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zone data")
	}
	day := func(y int, m time.Month, d, h, min, s int) time.Time {
		return time.Date(y, m, d, h, min, s, 0, time.UTC)
	}
	for _, c := range []struct {
		name, stamp string
		ref         time.Time
		loc         *time.Location
		want        time.Time
	}{
		{"same day", "Nov 21 08:28:19", day(2026, 11, 21, 9, 0, 0), nil, day(2026, 11, 21, 8, 28, 19)},
		{"old year carried in the new", "Dec 31 23:59:59", day(2027, 1, 1, 0, 0, 5), nil, day(2026, 12, 31, 23, 59, 59)},
		{"new year carried in the old", "Jan  1 00:00:05", day(2026, 12, 31, 23, 59, 59), nil, day(2027, 1, 1, 0, 0, 5)},
		{"25 hours ahead", "Nov 22 10:00:00", day(2026, 11, 21, 9, 0, 0), nil, day(2026, 11, 22, 10, 0, 0)},
		{"25 hours and a second ahead", "Nov 22 10:00:01", day(2026, 11, 21, 9, 0, 0), nil, day(2025, 11, 22, 10, 0, 1)},
		{"leap day", "Feb 29 12:00:00", day(2028, 2, 29, 12, 0, 0), nil, day(2028, 2, 29, 12, 0, 0)},
		{"leap day of the last leap year", "Feb 29 12:00:00", day(2027, 11, 21, 0, 0, 0), nil, day(2024, 2, 29, 12, 0, 0)},
		{"leap day around 2100", "Feb 29 12:00:00", day(2103, 11, 21, 0, 0, 0), nil, day(2096, 2, 29, 12, 0, 0)},
		{"zone, winter", "Nov 21 09:28:19", day(2026, 11, 21, 9, 0, 0), berlin, day(2026, 11, 21, 8, 28, 19)},
		{"zone, summer", "Jul 21 10:28:19", day(2026, 11, 21, 9, 0, 0), berlin, day(2026, 7, 21, 8, 28, 19)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cached stamps
			// A cache filled by another reference must not matter.
			for _, ref := range []time.Time{c.ref.AddDate(-1, 0, 0), c.ref.AddDate(1, 0, 0), c.ref} {
				got, n, reason := cached.readTraditional([]byte(c.stamp), &Input{Reference: ref, Location: c.loc})
				if reason != ReasonNone || n != len(c.stamp) {
					t.Fatalf("refused: %s", reason)
				}
				if ref.Equal(c.ref) && !time.UnixMicro(got).Equal(c.want) {
					t.Errorf("got %s, want %s", time.UnixMicro(got).UTC(), c.want)
				}
			}
		})
	}
}

func TestCivilDaysAgreeWithTheLibrary(t *testing.T) {
	for d := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < 2105; d = d.AddDate(0, 0, 1) {
		y, m, n := d.Date()
		if got := civilDays(int64(y), int64(m), int64(n)); got*86400 != d.Unix() {
			t.Fatalf("%s: %d days", d, got)
		}
		if next := d.AddDate(0, 0, 1); next.Month() != m && uint32(n) != daysIn(uint32(y), uint32(m)) {
			t.Fatalf("%s: month has %d days", d, daysIn(uint32(y), uint32(m)))
		}
	}
}

// The stamp of the line before is not taken over where it means another time: another zone, another year, or no year to be
// had.
func TestStampsAreReadAnewUnderAnotherZoneOrReference(t *testing.T) {
	line := []byte("Feb 28 23:30:00 mta1 postfix/qmgr[1]: AAAAAA1: removed")
	c := NewCorrelator(DefaultConfig())
	summer := time.FixedZone("", 2*3600)
	for i, in := range []struct {
		reference time.Time
		zone      *time.Location
		want      string
	}{
		{time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), nil, "2026-02-28T23:30:00Z"},
		{time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), nil, "2026-02-28T23:30:00Z"},
		{time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), summer, "2026-02-28T21:30:00Z"},
		{time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), summer, "2027-02-28T21:30:00Z"},
		{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), summer, "2025-02-28T21:30:00Z"},
		{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), nil, "2025-02-28T23:30:00Z"},
	} {
		r := c.Line(Input{Line: line, Reference: in.reference, Location: in.zone}, func(*schema.DeliveryEvent) {})
		if got := r.At.Format(time.RFC3339); got != in.want || r.Host != "mta1" {
			t.Errorf("line %d: %s of %q, want %s", i, got, r.Host, in.want)
		}
	}
	if r := c.Line(Input{Line: line}, func(*schema.DeliveryEvent) {}); r.Reason != ReasonNoReference {
		t.Errorf("without a reference: %s %s at %s", r.Kind, r.Reason, r.At)
	}
}
