package mtalog

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// run feeds lines of the form "08:28:19 mta1 daemon: message" and returns a line of words for each event, and the
// correlator.
func run(c *Correlator, story string) []string {
	var got []string
	for line := range strings.Lines(strings.TrimSpace(story)) {
		line = strings.TrimSpace(line)
		clock, rest, _ := strings.Cut(line, " ")
		host, rest, _ := strings.Cut(rest, " ")
		c.Line(Input{Line: []byte("2026-11-" + clock + "Z " + host + " postfix/" + rest)}, func(ev *schema.DeliveryEvent) {
			words := fmt.Sprintf("%s %s from %s attempt %d", ev.Recipient, ev.Outcome.Name(), ev.Sender, ev.Attempt)
			if ev.Orphan {
				words += " orphan"
			}
			if ev.Cause != nil {
				words += " cause " + ev.Cause.Text
			}
			got = append(got, words)
		})
	}
	return got
}

const (
	deferral   = "delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred"
	suspension = "relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: host h[192.0.2.7] said: 421 busy (in reply to RCPT TO command))"
	success    = "relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)"
)

func TestStories(t *testing.T) {
	for _, c := range []struct {
		name, story string
		want        []string
		check       func(Stats) bool
	}{
		{
			"attempts count per recipient, suspensions do not", `
			21T08:00:00 mta1 smtpd[1]: AAAAAA1: client=unknown[192.0.2.1]
			21T08:00:00 mta1 cleanup[1]: AAAAAA1: message-id=<1@x>
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=2 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (connect to h[192.0.2.7]:25: Connection refused)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<b@x>, ` + success + `
			21T08:10:00 mta1 error[1]: AAAAAA1: to=<a@x>, ` + suspension + `
			21T08:20:00 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (connect to h[192.0.2.7]:25: Connection timed out)
			21T08:30:00 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success + `
			21T08:30:00 mta1 qmgr[1]: AAAAAA1: removed`,
			[]string{
				"a@x deferred from s@x attempt 1", "b@x delivered from s@x attempt 1", "a@x suspended from s@x attempt 1",
				"a@x deferred from s@x attempt 2", "a@x delivered from s@x attempt 3",
			},
			func(s Stats) bool { return s.Entries == 0 && s.Hosts == 0 && s.Bytes == 0 && s.Orphans == 0 },
		},
		{
			"expiry blames the last real failure", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=4 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (connect to h[192.0.2.7]:25: Connection refused)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<b@x>, ` + success + `
			21T08:10:00 mta1 error[1]: AAAAAA1: to=<a@x>, ` + suspension + `
			21T08:10:00 mta1 error[1]: AAAAAA1: to=<c@x>, ` + suspension + `
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: removed`,
			[]string{
				"a@x deferred from s@x attempt 1", "b@x delivered from s@x attempt 1", "a@x suspended from s@x attempt 1",
				"c@x suspended from s@x attempt 0",
				"a@x expired from s@x attempt 1 cause connect to h[192.0.2.7]:25: Connection refused",
				"c@x expired from s@x attempt 0",
			},
			func(s Stats) bool {
				return s.Unheard == 1 && s.Waiting == 0 && s.Entries == 0 && s.Kinds[KindEvent] == 5 && s.Events == 6
			},
		},
		{
			"forced expiry", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=force-expired, returned to sender
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender`,
			[]string{"a@x deferred from s@x attempt 1", "a@x expired from s@x attempt 1 cause x"},
			func(s Stats) bool { return s.Reasons[ReasonNobody] == 1 },
		},
		{
			"expiry of an unknown entry", `
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: removed`,
			nil,
			func(s Stats) bool { return s.Reasons[ReasonUnknownEntry] == 2 && s.Kinds[KindState] == 2 },
		},
		{
			"log joined midway", `
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender
			21T08:20:00 mta1 smtp[1]: BBBBBB1: to=<b@x>, ` + success + `
			21T08:20:01 mta1 smtp[1]: CCCCCC1: to=<c@x>, relay=none, ` + deferral + ` (x)
			21T08:30:00 mta1 qmgr[1]: CCCCCC1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:30:01 mta1 smtp[1]: CCCCCC1: to=<c@x>, ` + success,
			[]string{
				"a@x deferred from  attempt 0 orphan", "a@x expired from s@x attempt 0 orphan cause x", "b@x delivered from  attempt 0 orphan",
				"c@x deferred from  attempt 0 orphan", "c@x delivered from s@x attempt 2",
			},
			func(s Stats) bool { return s.Orphans == 4 && s.Entries == 2 },
		},
		{
			"queue id comes back without removed", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:00:02 mta1 pickup[1]: AAAAAA1: uid=0 from=<raw@x>
			21T08:00:02 mta1 cleanup[1]: AAAAAA1: message-id=<2@x>
			21T08:00:02 mta1 qmgr[1]: AAAAAA1: from=<rewritten@x>, size=8, nrcpt=1 (queue active)
			21T08:00:03 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success + `
			21T08:00:04 mta1 cleanup[1]: AAAAAA1: message-id=<3@x>
			21T08:00:04 mta1 qmgr[1]: AAAAAA1: from=<>, size=7, nrcpt=1 (queue active)
			21T08:00:05 mta1 qmgr[1]: AAAAAA1: from=<t@x>, size=7, nrcpt=1 (queue active)
			21T08:00:05 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success,
			[]string{"a@x deferred from s@x attempt 1", "a@x delivered from rewritten@x attempt 1", "a@x delivered from t@x attempt 1"},
			func(s Stats) bool { return s.Replaced == 3 && s.Entries == 1 },
		},
		{
			"message id after an activation belongs to another message", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:00:02 mta1 cleanup[1]: AAAAAA1: message-id=<2@x>
			21T08:00:02 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:03 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success,
			[]string{"a@x deferred from s@x attempt 1", "a@x delivered from s@x attempt 1"},
			func(s Stats) bool { return s.Replaced == 1 },
		},
		{
			"another size is another message", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:00:02 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=8, nrcpt=1 (queue active)
			21T08:00:03 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success,
			[]string{"a@x deferred from s@x attempt 1", "a@x delivered from s@x attempt 1"},
			func(s Stats) bool { return s.Replaced == 1 },
		},
		{
			"a queue id belongs to a host", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s1@x>, size=9, nrcpt=1 (queue active)
			21T08:00:00 mta2 qmgr[1]: AAAAAA1: from=<s2@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success + `
			21T08:00:01 mta1 qmgr[1]: AAAAAA1: removed
			21T08:00:01 mta2 smtp[1]: AAAAAA1: to=<a@x>, ` + success,
			[]string{"a@x delivered from s1@x attempt 1", "a@x delivered from s2@x attempt 1"},
			func(s Stats) bool { return s.Entries == 1 && s.Hosts == 1 },
		},
		{
			"one address reached by two aliases is two recipients", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=2 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, orig_to=<l@x>, relay=none, ` + deferral + ` (x)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (y)
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender`,
			[]string{"a@x deferred from s@x attempt 1", "a@x deferred from s@x attempt 1", "a@x expired from s@x attempt 1 cause x", "a@x expired from s@x attempt 1 cause y"},
			func(s Stats) bool { return s.Unheard == 0 },
		},
		{
			"removal by hand", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:00:02 mta1 postsuper[1]: AAAAAA1: removed
			21T08:00:02 mta1 postsuper[1]: Deleted: 1 message
			21T08:00:03 mta1 qmgr[1]: BBBBBB1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:04 mta1 cleanup[1]: BBBBBB1: removed (canceled)
			21T08:00:03 mta1 qmgr[1]: CCCCCC1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:04 mta1 cleanup[1]: CCCCCC1: removed (discarded)`,
			[]string{"a@x deferred from s@x attempt 1"},
			func(s Stats) bool { return s.Waiting == 1 && s.Entries == 0 && s.Kinds[KindUnparsed] == 0 },
		},
		{
			"a requeued message is the same under another id", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=2 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, ` + deferral + ` (x)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<b@x>, ` + success + `
			21T08:00:02 mta1 postsuper[1]: AAAAAA1: requeued
			21T08:00:02 mta1 postsuper[1]: Requeued: 1 message
			21T08:00:03 mta1 pickup[1]: BBBBBB1: uid=106 from=<s@x> orig_id=AAAAAA1
			21T08:00:03 mta1 cleanup[1]: BBBBBB1: message-id=<2@x>
			21T08:00:03 mta1 qmgr[1]: BBBBBB1: from=<s@x>, size=12, nrcpt=1 (queue active)
			21T08:00:04 mta1 smtp[1]: BBBBBB1: to=<a@x>, relay=none, ` + deferral + ` (y)
			21T08:20:00 mta1 qmgr[1]: BBBBBB1: from=<s@x>, status=expired, returned to sender
			21T08:20:00 mta1 qmgr[1]: BBBBBB1: removed`,
			[]string{
				"a@x deferred from s@x attempt 1", "b@x delivered from s@x attempt 1", "a@x deferred from s@x attempt 2",
				"a@x expired from s@x attempt 2 cause y",
			},
			func(s Stats) bool { return s.Unheard == 0 && s.Entries == 0 && s.Bytes == 0 && s.Replaced == 0 },
		},
		{
			"an id that comes back after a requeue without pickup", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)
			21T08:00:02 mta1 postsuper[1]: AAAAAA1: requeued
			21T08:00:03 mta1 pickup[1]: AAAAAA1: uid=106 from=<t@x>
			21T08:00:04 mta1 smtp[1]: AAAAAA1: to=<a@x>, ` + success,
			[]string{"a@x delivered from t@x attempt 1"},
			func(s Stats) bool { return s.Replaced == 1 && s.Entries == 1 },
		},
		{
			"what made Postfix suspend a destination is the cause of recipients that were never tried", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=3 (queue active)
			21T08:00:01 mta1 error[1]: AAAAAA1: to=<a@x>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to h[192.0.2.7]:25: Connection refused)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<b@x>, relay=none, ` + deferral + ` (own)
			21T08:00:02 mta1 error[1]: AAAAAA1: to=<b@x>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to h[192.0.2.7]:25: Connection refused)
			21T08:00:01 mta1 error[1]: AAAAAA1: to=<c@x>, relay=none, delay=1, delays=0/0/1/0, dsn=4.2.2, status=deferred (delivery temporarily suspended: host h[192.0.2.7] said: 421 4.2.2 <other@x> full (in reply to RCPT TO command))
			21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender`,
			[]string{
				"a@x suspended from s@x attempt 0", "b@x deferred from s@x attempt 1", "b@x suspended from s@x attempt 1", "c@x suspended from s@x attempt 0",
				"a@x expired from s@x attempt 0 cause connect to h[192.0.2.7]:25: Connection refused", "b@x expired from s@x attempt 1 cause own",
				"c@x expired from s@x attempt 0",
			},
			func(s Stats) bool { return s.Unheard == 0 },
		},
		{
			"probes are no deliveries", `
			21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<double-bounce@x>, size=9, nrcpt=1 (queue active)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=2.1.5, status=deliverable (250 2.1.5 Ok)
			21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<b@x>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=undeliverable (host h[192.0.2.7] said: 550 5.1.1 no (in reply to RCPT TO command))`,
			nil,
			func(s Stats) bool { return s.Reasons[ReasonProbe] == 2 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			corr := NewCorrelator(DefaultConfig())
			got := run(corr, c.story)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if s := corr.Stats(); !c.check(s) {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestManyRecipientsOfOneEntry(t *testing.T) {
	c := NewCorrelator(DefaultConfig())
	var b strings.Builder
	b.WriteString("21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=100 (queue active)\n")
	for attempt := range 2 {
		for i := range 100 {
			fmt.Fprintf(&b, "21T08:0%d:01 mta1 smtp[1]: AAAAAA1: to=<r%d@x>, relay=none, %s (x)\n", attempt, i, deferral)
		}
	}
	for i := range 50 {
		if i%2 == 1 {
			i = 100 - i // from both ends: the last one takes the place of the one that goes
		}
		fmt.Fprintf(&b, "21T08:03:01 mta1 smtp[1]: AAAAAA1: to=<r%d@x>, %s\n", i, success)
	}
	b.WriteString("21T08:20:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, status=expired, returned to sender\n")
	got := run(c, b.String())
	expired := map[string]bool{}
	for _, words := range got[250:] {
		if !strings.HasSuffix(words, "expired from s@x attempt 2 cause x") {
			t.Errorf("got %q", words)
		}
		expired[words] = true
	}
	if len(expired) != 50 || c.Stats().Unheard != 0 {
		t.Errorf("%d expired, %d unheard", len(expired), c.Stats().Unheard)
	}
}

func TestLinesThatAreNoDelivery(t *testing.T) {
	for _, c := range []struct {
		line string
		kind Kind
		why  Reason
	}{
		{"Nov 21 08:00:00 mta1 rsyslogd: start", KindNoise, ReasonOtherProgram},
		{"Nov 21 08:00:00 mta1 CRON[12]: (root) CMD (x)", KindNoise, ReasonOtherProgram},
		{"Nov 21 08:00:00 mta1 dovecot: lmtp(1): AAAAAA1: to=<a@x>, relay=none, status=sent (x)", KindNoise, ReasonOtherProgram},
		{"", KindNoise, ReasonEmpty},
		{"\r", KindNoise, ReasonEmpty},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: message repeated 2 times: [ AAAAAA1: removed]", KindNoise, ReasonRepeated},
		{"Nov 21 08:00:00 mta1 postfix/postscreen[1]: PASS NEW [192.0.2.1]:4711", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/anvil[1]: statistics: max connection rate 1/60s", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 454 4.7.1 <to=<x@y>, status=sent@z>: no", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/cleanup[1]: AAAAAA1: info: header Subject: to=<a@x>, relay=none, status=sent (x)", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: host h[192.0.2.7] said: 450 no (in reply to RCPT TO command)", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/qmgr[1]: AAAAAA1: skipped, still being delivered", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 mailout/smtp[1]: connect to h[192.0.2.7]:25: Connection refused", KindNoise, ReasonPostfix},
		{"Nov 21 08:00:00 mta1 postfix/frobnicate[1]: AAAAAA1: x", KindUnparsed, ReasonDaemon},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: frobnicated", KindUnparsed, ReasonShape},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: frobnicated", KindUnparsed, ReasonShape},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: ", KindUnparsed, ReasonShape},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: ", KindUnparsed, ReasonShape},
		{"Nov 21 08:00:00 mta1 postfix/smtpd[1]: AAAAAA1: to=<a@x>, relay=none, delay=1, status=sent (x)", KindUnparsed, ReasonShape},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, relay=none, del", KindUnparsed, ReasonCut},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@", KindUnparsed, ReasonCut},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, relay=none, delay=1, status=boun", KindUnparsed, ReasonCut},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, relay=none, delay=1, status=flown (x)", KindUnparsed, ReasonFields},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, relay=none, delay=-1, status=sent (x)", KindUnparsed, ReasonFields},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, relay=none, colour red, delay=1, status=sent (x)", KindUnparsed, ReasonFields},
		{"Nov 31 08:00:00 mta1 postfix/smtp[1]: x", KindUnparsed, ReasonTime},
		{"\x00\xff\x00garbage", KindUnparsed, ReasonFrame},
		{"Nov 21 08:00:00 mta1 postfix/smtp[1]: " + strings.Repeat("x", MaxLineBytes), KindUnparsed, ReasonTooLong},
		{"Nov 21 08:00:00 postfix/smtp[1]: connect to h[192.0.2.7]:25: Connection refused", KindUnparsed, ReasonHost},
	} {
		corr := NewCorrelator(DefaultConfig())
		r := corr.Line(Input{Line: []byte(c.line), Reference: sampleReference}, func(ev *schema.DeliveryEvent) { t.Errorf("event from %.100q", c.line) })
		if r.Kind != c.kind || r.Reason != c.why {
			t.Errorf("%.100q: got %s %q, want %s %q", c.line, r.Kind, r.Reason, c.kind, c.why)
		}
		if s := corr.Stats(); s.Lines != 1 || s.Kinds[c.kind] != 1 || s.Reasons[c.why] != 1 {
			t.Errorf("%.100q: stats %+v", c.line, s)
		}
	}
}

func TestTableIsBounded(t *testing.T) {
	active := func(second, id int) string {
		return fmt.Sprintf("21T08:00:%02d mta%d qmgr[1]: AAAAAA%d: from=<s@x>, size=9, nrcpt=1 (queue active)\n", second, id%2, id)
	}
	t.Run("entries", func(t *testing.T) {
		c := NewCorrelator(Config{MaxEntries: 2, MaxBytes: 1 << 20, TTL: time.Hour})
		// 1 is touched again, so 2 is the one that was silent longest.
		run(c, active(0, 1)+active(1, 2)+active(2, 1)+active(3, 3))
		got := run(c, "21T08:00:04 mta1 smtp[1]: AAAAAA1: to=<a@x>, "+success+"\n21T08:00:04 mta0 smtp[1]: AAAAAA2: to=<b@x>, "+success)
		if want := "a@x delivered from s@x attempt 1|b@x delivered from  attempt 0 orphan"; strings.Join(got, "|") != want {
			t.Errorf("got %q", got)
		}
		if s := c.Stats(); s.Evicted != 1 || s.Entries != 2 {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		c := NewCorrelator(Config{MaxEntries: 100, MaxBytes: 4000, TTL: time.Hour})
		for i := range 100 {
			run(c, active(0, 1))
			run(c, fmt.Sprintf("21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<r%d@x>, relay=none, %s (%s)", i, deferral, strings.Repeat("x", 500)))
			if s := c.Stats(); s.Bytes > 4000 || s.Bytes < 0 {
				t.Fatalf("%d bytes", s.Bytes)
			}
		}
		if c.Stats().Evicted == 0 {
			t.Error("nothing was forgotten")
		}
	})
	t.Run("age counts from the last line", func(t *testing.T) {
		c := NewCorrelator(Config{MaxEntries: 100, MaxBytes: 1 << 20, TTL: 24 * time.Hour})
		run(c, active(0, 1)+active(0, 3)+active(30, 1))
		run(c, "22T08:00:01 mta1 smtp[1]: connect to h[192.0.2.7]:25: Connection refused")
		if s := c.Stats(); s.Entries != 1 || s.Aged != 1 {
			t.Errorf("the entry that was touched last should be the one left: %+v", s)
		}
	})
	t.Run("age by the host's own clock", func(t *testing.T) {
		c := NewCorrelator(Config{MaxEntries: 100, MaxBytes: 1 << 20, TTL: 24 * time.Hour})
		run(c, active(0, 1)+active(0, 2)+active(0, 3))
		run(c, "22T08:00:00 mta1 smtp[1]: connect to h[192.0.2.7]:25: Connection refused")
		if s := c.Stats(); s.Entries != 3 {
			t.Errorf("forgotten too early: %+v", s)
		}
		run(c, "22T08:00:01 mta1 smtp[1]: connect to h[192.0.2.7]:25: Connection refused")
		if s := c.Stats(); s.Entries != 1 || s.Hosts != 1 || s.Aged != 2 {
			t.Errorf("mta1's entries are still there, or mta0's are not: %+v", s)
		}
	})
}

func TestJumpingClockForgetsNothing(t *testing.T) {
	c := NewCorrelator(DefaultConfig())
	ref := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	events := 0
	for _, line := range []string{
		"2026-11-21T08:00:00Z mta1 postfix/qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)",
		"2037-01-01T00:00:00Z mta1 postfix/qmgr[1]: BBBBBB1: from=<s@x>, size=9, nrcpt=1 (queue active)",
		"1970-01-01T00:00:00Z mta1 postfix/qmgr[1]: CCCCCC1: from=<s@x>, size=9, nrcpt=1 (queue active)",
		"2026-11-21T08:00:00Z mta1 postfix/qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)",
		"2026-11-21T08:00:00Z mta1 postfix/qmgr[1]: BBBBBB1: from=<s@x>, size=9, nrcpt=1 (queue active)",
		"2026-11-21T08:00:00Z mta1 postfix/smtp[1]: AAAAAA1: to=<a@x>, " + success,
		"2026-11-21T08:00:00Z mta1 postfix/smtp[1]: CCCCCC1: to=<a@x>, " + success,
	} {
		c.Line(Input{Line: []byte(line), Reference: ref}, func(ev *schema.DeliveryEvent) {
			events++
			if ev.Orphan {
				t.Errorf("%s was forgotten", ev.QueueId)
			}
		})
	}
	if s := c.Stats(); events != 2 || s.Aged != 0 || s.Entries != 3 {
		t.Errorf("%d events, %+v", events, s)
	}
}

func TestRawLineIsCutAtARune(t *testing.T) {
	text := strings.Repeat("é", 3000)
	for shift := range 2 {
		ev := one(t, "smtp[1]: AAAAAA1: to=<"+strings.Repeat("a", shift)+"@x>, relay=none, delay=1, status=bounced ("+text+")")
		if n := len(ev.Raw.Line); n > maxRawBytes || n < maxRawBytes-1 {
			t.Errorf("raw line of %d bytes", n)
		}
		if _, err := proto.Marshal(ev); err != nil {
			t.Error(err)
		}
	}
}

// generated is a story of few ids, hosts and recipients, so that ids come back and entries pile up.
func generated(t *rapid.T) []Input {
	type now struct{ at time.Time }
	n := now{time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC)}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Input {
		n.at = n.at.Add(time.Duration(rapid.IntRange(-30, 7200).Draw(t, "seconds")) * time.Second)
		id := rapid.SampledFrom([]string{"AAAAAA1", "AAAAAA2", "4jWlpz2sbgz13"}).Draw(t, "id")
		who := rapid.SampledFrom([]string{"a@x", "b@x", `"c d"@x`, "e@x", "f@x"}).Draw(t, "recipient")
		sender := rapid.SampledFrom([]string{"", "s@x", "t@x"}).Draw(t, "sender")
		var message string
		switch rapid.IntRange(0, 11).Draw(t, "line") {
		case 0:
			message = "smtpd[1]: " + id + ": client=unknown[192.0.2.1]"
		case 1:
			message = "cleanup[1]: " + id + ": message-id=<" + sender + ">"
		case 2:
			message = "qmgr[1]: " + id + ": from=<" + sender + ">, size=9, nrcpt=3 (queue active)"
		case 3, 4:
			message = "smtp[1]: " + id + ": to=<" + who + ">, relay=none, " + deferral + " (connect to h[192.0.2.7]:25: " + sender + ")"
		case 5:
			message = "error[1]: " + id + ": to=<" + who + ">, " + suspension
		case 6:
			message = "smtp[1]: " + id + ": to=<" + who + ">, " + rapid.SampledFrom([]string{"", "orig_to=<o@x>, "}).Draw(t, "alias") + success
		case 7:
			message = "qmgr[1]: " + id + ": from=<" + sender + ">, status=expired, returned to sender"
		case 8:
			message = "qmgr[1]: " + id + ": removed"
		case 9:
			message = "smtp[1]: " + id + ": to=<" + who + ">, relay=none, " + deferral + " (no TLSA records found)"
		case 10:
			message = "error[1]: " + id + ": to=<" + who + ">, relay=none, " + deferral + " (delivery temporarily suspended: connect to h[192.0.2.7]:25: Connection refused)"
		case 11:
			message = rapid.SampledFrom([]string{"postsuper[1]: " + id + ": requeued", "pickup[1]: " + id + ": uid=0 from=<s@x> orig_id=AAAAAA1"}).Draw(t, "requeue")
		}
		host := rapid.SampledFrom([]string{"mta1", "mta2", "mta3"}).Draw(t, "host")
		return Input{Line: []byte(n.at.Format("Jan _2 15:04:05 ") + host + " postfix/" + message), Reference: n.at}
	}), 1, 120).Draw(t, "lines")
}

// A log that is split anywhere, its table written out and read back, gives the same events, results and table as one that
// was never split.
func TestSplitAndRestoredEqualsNeverSplit(t *testing.T) {
	cfg := Config{MaxEntries: 5, MaxBytes: 6000, TTL: 30 * time.Hour, MaxDomains: 2}
	rapid.Check(t, func(t *rapid.T) { splitEqualsWhole(t, cfg, generated(t)) })
}

func splitEqualsWhole(t *rapid.T, cfg Config, inputs []Input) {
	whole, split := NewCorrelator(cfg), NewCorrelator(cfg)
	for i, in := range inputs {
		if rapid.Bool().Draw(t, "split") {
			state := split.AppendState([]byte("prefix"))[len("prefix"):]
			split = NewCorrelator(cfg)
			if err := split.LoadState(state); err != nil {
				t.Fatal(err)
			}
		}
		var want, got []*schema.DeliveryEvent
		a := whole.Line(in, func(ev *schema.DeliveryEvent) { want = append(want, proto.Clone(ev).(*schema.DeliveryEvent)) })
		b := split.Line(in, func(ev *schema.DeliveryEvent) { got = append(got, proto.Clone(ev).(*schema.DeliveryEvent)) })
		if a != b || len(want) != len(got) {
			t.Fatalf("line %d %q: %v and %d events, want %v and %d", i, in.Line, b, len(got), a, len(want))
		}
		for k := range want {
			if !proto.Equal(want[k], got[k]) {
				t.Fatalf("line %d: got %v, want %v", i, got[k], want[k])
			}
		}
		x, y := whole.Stats(), split.Stats()
		if string(whole.AppendState(nil)) != string(split.AppendState(nil)) || x.Bytes != y.Bytes || x.Entries != y.Entries || x.Hosts != y.Hosts {
			t.Fatalf("line %d %q: tables differ: %+v and %+v", i, in.Line, x, y)
		}
		if x.Bytes > cfg.MaxBytes || x.Entries > cfg.MaxEntries {
			t.Fatalf("table beyond its bounds: %+v", x)
		}
		if x.Entries == 0 && x.Bytes != 0 {
			t.Fatalf("%d bytes of no entries", x.Bytes)
		}
	}
}

func TestStateOfARealLogSplitsAnywhere(t *testing.T) {
	log := lines(readGzip(t, filepath.Join("testdata", "postfix", "mail.log.gz")))
	events := func(split int) (n int, state string) {
		c := NewCorrelator(DefaultConfig())
		for i, line := range log {
			if i == split {
				b := c.AppendState(nil)
				c = NewCorrelator(DefaultConfig())
				if err := c.LoadState(b); err != nil {
					t.Fatal(err)
				}
			}
			c.Line(Input{Line: line, Reference: sampleReference}, func(*schema.DeliveryEvent) { n++ })
			if i == len(log)*3/4 {
				state = string(c.AppendState(nil))
			}
		}
		return n, state
	}
	n, state := events(-1)
	for split := 0; split < len(log)*3/4; split += 37 {
		if m, s := events(split); m != n || s != state {
			t.Fatalf("split at line %d: %d events, want %d; tables equal: %t", split, m, n, s == state)
		}
	}
}

func TestLoadStateRefusesWhatIsNotWhole(t *testing.T) {
	c := NewCorrelator(DefaultConfig())
	run(c, "21T08:00:00 mta1 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)\n"+
		"21T08:00:01 mta1 smtp[1]: AAAAAA1: to=<a@x>, relay=none, "+deferral+" (x)\n"+
		"21T08:00:00 mta2 qmgr[1]: AAAAAA1: from=<s@x>, size=9, nrcpt=1 (queue active)")
	whole := c.AppendState(nil)
	for n := range whole {
		if err := c.LoadState(whole[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("prefix of %d of %d bytes: %v", n, len(whole), err)
		}
	}
	if err := c.LoadState(append(whole[:len(whole):len(whole)], 0)); !errors.Is(err, ErrState) {
		t.Errorf("a byte too many: %v", err)
	}
	if string(c.AppendState(nil)) != string(whole) {
		t.Error("a refused state has changed the table")
	}
	if err := c.LoadState(whole); err != nil {
		t.Error(err)
	}
}
