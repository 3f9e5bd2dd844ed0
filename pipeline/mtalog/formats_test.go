package mtalog

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
	"pgregory.net/rapid"
)

func TestFormatsByName(t *testing.T) {
	for k, name := range Formats() {
		if f, err := ParseFormat(name); err != nil || f != Format(k) || f.String() != name {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := ParseFormat("courier"); err == nil || !strings.Contains(err.Error(), "postfix") {
		t.Errorf("unknown format: %v", err)
	}
}

// tell writes an event in words.
func tell(ev *schema.DeliveryEvent) string {
	words := []string{ev.Recipient, ev.Outcome.Name()}
	add := func(key, value string) {
		if value != "" {
			words = append(words, key+"="+value)
		}
	}
	add("from", ev.Sender)
	add("orig", ev.OriginalRecipient)
	if ev.Attempt > 0 {
		add("attempt", fmt.Sprint(ev.Attempt))
	}
	add("phase", ev.Phase.Name())
	if ev.SmtpCode > 0 {
		add("code", fmt.Sprint(ev.SmtpCode))
	}
	if ev.EnhancedCode != "" {
		add("enhanced", ev.EnhancedCode+"/"+strings.TrimPrefix(ev.EnhancedSource.String(), "ENHANCED_"))
	}
	add("ip", ev.RemoteIp)
	if ev.HasDelay {
		add("delay", (time.Duration(ev.DelayMs) * time.Millisecond).String())
	}
	add("text", ev.Text)
	if f := ev.Cause; f != nil {
		add("cause", fmt.Sprintf("%s/%d/%s", f.Phase.Name(), f.SmtpCode, f.Text))
	}
	return strings.Join(words, " ")
}

// trap is a log of a few lines and the events that it tells.
type trap struct {
	name  string
	lines []string
	want  []string
}

func runTraps(t *testing.T, traps []trap) {
	t.Helper()
	for _, c := range traps {
		t.Run(c.name, func(t *testing.T) {
			m := NewCorrelator(DefaultConfig())
			var got []string
			for _, line := range c.lines {
				r := m.Line(Input{Line: []byte(line), Host: "carrier", Reference: sampleReference}, func(ev *schema.DeliveryEvent) { got = append(got, tell(ev)) })
				if r.Kind == KindUnparsed {
					t.Errorf("%s: %s", r.Reason, line)
				}
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(c.want))
			if !slices.Equal(got, want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

func TestTrapsOfEachFormat(t *testing.T) {
	const (
		exim     = "2026-11-21 08:43:06.123 +0100 [17] 1xUggb-00002V-1J "
		exim23   = "2026-11-21 08:43:06 1rWFJk-000000001Ab-2cDe "
		sendmail = "Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188: "
		opensmtp = "Nov 21 08:38:00 mta1 smtpd[64]: "
		haraka   = "2026-11-21T08:42:14.934Z [NOTICE] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.4"
		dma      = "Nov 21 08:43:00 mta1 dma[a3e9a8"
		delay    = ", delay=1+00:00:01, xdelay=00:00:00, mailer=esmtp, pri=30, relay=h.example. [192.0.2.7], dsn="
	)
	runTraps(t, []trap{
		{"exim: stamp with zone, milliseconds and pid; errno -53 is no attempt; expiry blames the last real cause", []string{
			exim + `<= s@x U=root P=local S=9 id=1@x T="id=2@x"`,
			exim + `== a@x R=r T=t defer (-44) H=h [192.0.2.7]: SMTP error from remote mail server after RCPT TO:<a@x>: 450 4.2.2 full: status=sent`,
			exim + `== a@x R=r T=t defer (-53): retry time not reached for any host for 'x'`,
			exim + `** a@x: retry timeout exceeded`,
			exim + `Completed`,
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 enhanced=4.2.2/REMOTE ip=192.0.2.7 text=450 4.2.2 full: status=sent",
			"a@x suspended from=s@x attempt=1 phase=queue text=retry time not reached for any host for 'x'",
			"a@x expired from=s@x attempt=1 phase=queue text=retry timeout exceeded cause=rcpt/450/450 4.2.2 full: status=sent",
		}},
		{"exim: long id, quoted local part, octal escapes, colon within the command's address", []string{
			exim23 + `<= <> R=1rWFJk-000000001Ab-2cDe U=e P=local S=9`,
			exim23 + `** "a: b"@x <o@x> F=<> R=r T=t H=h [2001:db8::7]:26 I=[192.0.2.1]:99 X=TLS1.3:y:256 CV=no DN="C=x: y": SMTP error from remote mail server after pipelined MAIL FROM:<"s: t"@x> SIZE=9: 550 refus\303\251`,
			exim23 + `=> b@x R=r T=t H=h [192.0.2.7] C="250 2.0.0 "ok"" QT=1m2.5s DT=1s`,
			exim23 + `-> c@x R=r T=t H=h [192.0.2.7] C="250 ok"`,
			exim23 + `** d@x R=r T=t H=h [192.0.2.7]: SMTP timeout after end of data (9 bytes written): retry timeout exceeded`,
		}, []string{
			`"a: b"@x bounced orig=o@x attempt=1 phase=mail code=550 ip=2001:db8::7 text=550 refusé`,
			`b@x delivered attempt=1 phase=eom code=250 enhanced=2.0.0/REMOTE ip=192.0.2.7 delay=1m2.5s text=250 2.0.0 "ok"`,
			`c@x delivered attempt=1 phase=eom code=250 ip=192.0.2.7 text=250 ok`,
			`d@x expired attempt=1 phase=queue text=retry timeout exceeded cause=eom/0/SMTP timeout after end of data (9 bytes written)`,
		}},
		{"exim: pieces of a long line through syslog are joined by process", []string{
			"Nov 21 08:43:06 mta1 exim[5]: [1/2] 1xUggb-00002V-1J ** a@x R=r T=t H=h [192.0.2.7]: SMTP error from remote mail server after end of",
			"Nov 21 08:43:06 mta1 exim[6]: [1\\2] Warning: x",
			"Nov 21 08:43:06 mta1 exim[6]: [2/2]  Suggested action: y",
			"Nov 21 08:43:06 mta1 exim[5]: [2/2]  data: 554-no\\n554 more",
		}, []string{`a@x bounced phase=eom code=554 ip=192.0.2.7 text=554-no\n554 more`}},
		{"exim: the host within the words of a timeout", []string{
			exim + `== a@x R=r T=t defer (110): Connection timed out H=h [192.0.2.7]: SMTP timeout after initial connection`,
			exim + `== a@x R=r T=t defer (110): Connection timed out`,
		}, []string{
			"a@x deferred phase=banner ip=192.0.2.7 text=SMTP timeout after initial connection",
			"a@x deferred phase=connect text=Connection timed out",
		}},
		{"sendmail: several recipients, made-up dsn, hosts of one attempt, reply that plays the log, expiry without recipient", []string{
			sendmail + "from=<s@x>, size=9, class=0, nrcpts=3, msgid=<1@x>, proto=ESMTP, daemon=MTA, relay=[127.0.0.2]",
			sendmail + "to=<a@x>,<\"b, c\"@x>" + delay + "4.0.0, stat=Deferred: Connection refused by h.example.",
			sendmail + "to=<a@x>" + delay + "4.2.2, reply=450 full, stat=Sent (x), stat=Deferred: 450 full, stat=Sent (x)",
			sendmail + "to=<c@x>, ctladdr=<s@x> (0/0)" + delay + "5.1.1, reply=550 No\\303\\251, stat=Sent (x), stat=User unknown",
			"Nov 21 08:43:08 mta1 sm-mta[9]: 6AL8fZ7l000188: 6AL8glrp000551: sender notify: Warning: could not send message for past 40 seconds",
			"Nov 21 08:43:08 mta1 sm-mta[9]: 6AL8fZ7l000188: 6AL8glrp000551: sender notify: Cannot send message for 5 days",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=connect enhanced=4.0.0/MTA ip=192.0.2.7 delay=24h0m1s text=Deferred: Connection refused by h.example.",
			`"b, c"@x deferred from=s@x attempt=1 phase=connect enhanced=4.0.0/MTA ip=192.0.2.7 delay=24h0m1s text=Deferred: Connection refused by h.example.`,
			"a@x deferred from=s@x attempt=1 code=450 enhanced=4.2.2/MTA ip=192.0.2.7 delay=24h0m1s text=450 full, stat=Sent (x)",
			"c@x bounced from=s@x attempt=1 phase=rcpt code=550 enhanced=5.1.1/MTA ip=192.0.2.7 delay=24h0m1s text=550 Noé, stat=Sent (x)",
			"a@x expired from=s@x attempt=1 phase=queue text=Cannot send message for 5 days cause=/450/450 full, stat=Sent (x)",
			`"b, c"@x expired from=s@x attempt=1 phase=queue text=Cannot send message for 5 days cause=connect/0/Deferred: Connection refused by h.example.`,
		}},
		{"sendmail: a hint gives the phase of the next delivery line only", []string{
			sendmail + "from=<s@x>, size=9, class=0, nrcpts=1, msgid=<1@x>",
			sendmail + "timeout waiting for input from h.example. during client DATA status",
			sendmail + "to=<a@x>" + delay + "4.4.2, stat=Deferred: Connection timed out with h.example.",
			sendmail + "to=<a@x>, delay=00:00:02, xdelay=00:00:00, mailer=esmtp, pri=31, relay=h.example., dsn=4.0.0, stat=Deferred",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=eom enhanced=4.4.2/MTA ip=192.0.2.7 delay=24h0m1s text=Deferred: Connection timed out with h.example.",
			"a@x suspended from=s@x attempt=1 phase=queue enhanced=4.0.0/MTA delay=2s text=Deferred",
		}},
		{"opensmtpd: quotes in the reply, a session's end gives the reason of a failure without host, expiry", []string{
			opensmtp + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3a from=<s@x.example> to=<a@x.example>",
			opensmtp + `49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<s@x.example> to=<a@x.example> rcpt=<o@x.example> source="192.0.2.1" relay="192.0.2.7 (mx.x.example)" delay=1m2s result="TempFail" stat="450 4.2.2 a "quoted" result="Ok" stat="250"`,
			opensmtp + "49b2bc67c2a94554 mta connecting address=smtp://[2001:db8::7]:25 host=mx.x.example",
			opensmtp + "49b2bc67c2a94554 mta connected",
			opensmtp + "49b2bc67c2a94554 mta error reason=BANNER rejected: 554 no thanks",
			opensmtp + `0000000000000000 mta delivery evpid=74948fed87e71c3a from=<s@x.example> to=<a@x.example> rcpt=<o@x.example> source="-" relay="x.example" delay=2m result="TempFail" stat="Network error on destination MXs"`,
			opensmtp + "relay: Expire for 74948fed87e71c3a: from=<s@x.example>, to=<a@x.example>, rcpt=<o@x.example>, delay=4d, stat=Envelope expired",
		}, []string{
			`a@x.example deferred from=s@x.example orig=o@x.example attempt=1 code=450 enhanced=4.2.2/REMOTE ip=192.0.2.7 delay=1m2s text=450 4.2.2 a "quoted" result="Ok" stat="250`,
			"a@x.example deferred from=s@x.example orig=o@x.example attempt=2 phase=banner code=554 ip=2001:db8::7 delay=2m0s text=554 no thanks",
			"a@x.example expired from=s@x.example orig=o@x.example attempt=2 phase=queue text=Envelope expired cause=banner/554/554 no thanks",
		}},
		{"haraka: domains share a transaction, a refused recipient is not delivered, too many failures", []string{
			haraka + `] [core] sender <s@x> code=OK msg=""`,
			haraka + `] [core] recipient <a@x> code=OK msg="" sender=s@x`,
			haraka + `] [core] recipient <b@y> code=OK msg="" sender=s@x`,
			haraka + `] [core] recipient <c@x> code=OK msg="" sender=s@x`,
			haraka + `] [core] recipient <d@x> code=DENY msg="relaying denied" sender=s@x`,
			haraka + `] [core] message mid=<1@x> size=9 rcpts=3/0/0 delay=0 code=CONT msg=""`,
			haraka + `.1] [outbound] recipient <c@x> deferred: 450 4.2.2 full`,
			haraka + `.1] [outbound]  delivered file=f domain=x host=h ip=192.0.2.7 port=25 mode=SMTP tls=N auth=N response="Ok" delay=0.25 fails=0 rcpts=1/0/1`,
			haraka + `.1] [outbound] Temp failing f for 8 seconds: Some recipients temp failed: <c@x>`,
			haraka + `.1] [outbound] Ongoing connection failed to 192.0.2.8:25 : socket timeout waiting on dot`,
			haraka + `.1] [outbound] bouncing mail: Too many failures (Tried all MXs)`,
			haraka + `.2] [outbound] bouncing mail: 554 5.7.1 no`,
		}, []string{
			"c@x deferred from=s@x attempt=1 phase=rcpt code=450 enhanced=4.2.2/REMOTE text=450 4.2.2 full",
			"a@x delivered from=s@x attempt=1 phase=eom ip=192.0.2.7 delay=250ms text=Ok",
			"c@x expired from=s@x attempt=2 phase=queue text=Too many failures (Tried all MXs) cause=eom/0/Ongoing connection failed to 192.0.2.8:25 : socket timeout waiting on dot",
			"b@y bounced from=s@x attempt=1 code=554 enhanced=5.7.1/REMOTE text=554 5.7.1 no",
		}},
		{"dma: refused greeting, failed login, QUIT refused", []string{
			dma + "]: new mail from user=root uid=8 envelope_from=<s@x>",
			dma + "]: mail to=<a@x> queued as a3e9a8.1",
			dma + ".1]: <a@x> trying delivery",
			dma + ".1]: remote delivery deferred: could not perform server greeting: 451 4.3.2 later",
			dma + ".1]: <a@x> trying delivery",
			dma + ".1]: remote delivery deferred: AUTH login failed: 454 4.7.0 later",
			dma + ".1]: <a@x> trying delivery",
			dma + ".1]: Could not perform server greeting at h2 [192.0.2.8]: 550 5.7.1 no",
			dma + ".1]: delivery failed, bouncing as a3e9b0",
			dma + "]: new mail from user=root uid=8 envelope_from=<t@x>",
			dma + "]: mail to=<b@x> queued as a3e9a8.2",
			dma + ".2]: <b@x> trying delivery",
			dma + ".2]: remote delivery succeeded but QUIT failed: 550 5.0.0 no bye",
			dma + ".2]: <b@x> delivery successful",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=ehlo code=451 enhanced=4.3.2/REMOTE text=451 4.3.2 later",
			"a@x deferred from=s@x attempt=2 phase=auth code=454 enhanced=4.7.0/REMOTE text=454 4.7.0 later",
			"a@x bounced from=s@x attempt=3 phase=ehlo code=550 enhanced=5.7.1/REMOTE ip=192.0.2.8 text=550 5.7.1 no",
			"b@x delivered from=t@x attempt=1",
		}},
		{"dma: the id stands in the tag, hosts of one attempt, lines joined by #015#012, the queue's end", []string{
			dma + "]: new mail from user=root uid=8 envelope_from=<s@x>",
			dma + "]: mail to=<a@x> queued as a3e9a8.1",
			dma + "]: mail to=<b@x> queued as a3e9a8.2",
			dma + ".1]: <a@x> trying delivery",
			dma + ".1]: connect to h1 [192.0.2.7] failed: Connection refused",
			dma + ".1]: trying remote delivery to h2 [192.0.2.8] pref 10",
			dma + ".1]: remote delivery deferred: h2 [192.0.2.8] failed after final DATA: 421-4.7.0 a#015#012421 4.7.0 b",
			dma + ".1]: <a@x> trying delivery",
			dma + ".1]: delivery failed, bouncing as a3e9bd",
			dma + ".2]: <b@x> trying delivery",
			dma + ".2]: remote delivery to h1 [192.0.2.7] failed after RCPT TO: 550 no",
			dma + ".2]: delivery failed, bouncing as a3e9be",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=connect ip=192.0.2.7 text=Connection refused",
			"a@x deferred from=s@x attempt=1 phase=eom code=421 enhanced=4.7.0/REMOTE ip=192.0.2.8 text=421-4.7.0 a#015#012421 4.7.0 b",
			"a@x expired from=s@x attempt=1 phase=queue text=delivery failed, bouncing as a3e9bd cause=eom/421/421-4.7.0 a#015#012421 4.7.0 b",
			"b@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 text=550 no",
		}},
	})
}

func TestCutOrStrangeLinesAreUnparsed(t *testing.T) {
	for _, line := range []string{
		"2026-11-21 08:43:06 1xUggb-00002V-1J == a@x R=r T=t def",
		"2026-11-21 08:43:06 1xUggb-00002V-1J => a@x",
		"2026-11-21 08:43:06 1xUggb-00002V-1J >= a@x R=r T=t",
		"2026-13-21 08:43:06 1xUggb-00002V-1J => a@x R=r",
		"Nov 21 08:43:06 mta1 exim[5]: [2/2] the end of something",
		"Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188: to=<a@x>, delay=00:00:01, xde",
		"Nov 21 08:41:36 mta1 smtpd[6]: 49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<s@x> to=<a@x> rc",
		"Nov 21 08:41:36 mta1 smtpd[6]: 49b2bc67c2a94553 dance",
		"2026-11-21T08:42:14.934Z [INFO] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.4.1] [outbound] Temp failing f fo",
		"Nov 21 08:43:00 mta1 dma[a.1]: <a@x> delivery succ",
	} {
		m := NewCorrelator(DefaultConfig())
		r := m.Line(Input{Line: []byte(line), Host: "carrier", Reference: sampleReference}, func(ev *schema.DeliveryEvent) { t.Errorf("%s: %s", line, tell(ev)) })
		if r.Kind != KindUnparsed {
			t.Errorf("%s %s: %s", r.Kind, r.Reason, line)
		}
	}
}

func TestForcedFormatIgnoresOthersAndTakesAnyTag(t *testing.T) {
	exim := "Nov 21 08:43:06 mta1 mail[5]: 1xUggb-00002V-1J => a@x R=r T=t H=h [192.0.2.7] C=\"250 ok\""
	postfix := "Nov 21 08:43:06 mta1 postfix/smtp[5]: AAAAAA1: to=<a@x>, " + success
	for _, c := range []struct {
		line   string
		format Format
		kind   Kind
	}{
		{exim, FormatAuto, KindNoise},
		{exim, FormatExim, KindEvent},
		{exim, FormatPostfix, KindNoise},
		{postfix, FormatAuto, KindEvent},
		{postfix, FormatPostfix, KindEvent},
		{postfix, FormatExim, KindNoise},
		{"Nov 21 08:43:06 mta1 kernel: hello", FormatHaraka, KindNoise},
	} {
		m := NewCorrelator(DefaultConfig())
		r := m.Line(Input{Line: []byte(c.line), Reference: sampleReference, Format: c.format}, func(*schema.DeliveryEvent) {})
		if r.Kind != c.kind {
			t.Errorf("%s as %s: %s %s, want %s", c.line, c.format, r.Kind, r.Reason, c.kind)
		}
	}
}

// The state of every format survives a split anywhere, under bounds that forget entries all the time.
func TestEachFormatSplitAndRestoredEqualsNeverSplit(t *testing.T) {
	cfg := Config{MaxEntries: 12, MaxBytes: 16000, TTL: 20 * time.Second}
	for _, s := range samples() {
		t.Run(s.format.String(), func(t *testing.T) {
			log := lines(readGzip(t, filepath.Join("testdata", s.format.String(), s.files[0])))
			rapid.Check(t, func(t *rapid.T) {
				var inputs []Input
				for range rapid.IntRange(1, 3).Draw(t, "windows") {
					from := rapid.IntRange(0, len(log)-1).Draw(t, "from")
					for _, line := range log[from:min(len(log), from+rapid.IntRange(1, 60).Draw(t, "lines"))] {
						if rapid.IntRange(0, 9).Draw(t, "lost") > 0 {
							inputs = append(inputs, Input{Line: line, Host: "carrier", Reference: sampleReference})
						}
					}
				}
				splitEqualsWhole(t, cfg, inputs)
			})
		})
	}
}
