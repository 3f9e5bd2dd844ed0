package mtalog

import (
	"fmt"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// Forms that are in no log of testdata: of other versions, of settings and of operators.
func TestRareFormsOfExim(t *testing.T) {
	const (
		exim    = "2026-11-21 08:43:06 1xUggb-00002V-1J "
		arrival = exim + "<= s@x H=c [192.0.2.1] P=esmtp S=9 id=1@x"
		reply   = "SMTP error from remote mail server after RCPT TO:<a@x>: "
	)
	runTraps(t, []trap{
		{"before 4.83 the words name the host", []string{
			arrival,
			exim + "== a@x R=r T=t defer (-44): SMTP error from remote mail server after RCPT TO:<a@x>: host mx.x [192.0.2.7]: 450 4.2.0 later",
			exim + "== a@x R=r T=t defer (110): Connection timed out: SMTP timeout while connected to mx.x [192.0.2.8] after end of data (9 bytes written)",
			exim + "== a@x R=r T=t defer (-18): Remote host mx.x [192.0.2.9] closed connection in response to initial connection",
			exim + "** a@x R=r T=t: Malformed SMTP reply from mx.x [192.0.2.7] in response to EHLO me: 5xx",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 enhanced=4.2.0/REMOTE ip=192.0.2.7 text=450 4.2.0 later",
			"a@x deferred from=s@x attempt=2 phase=eom ip=192.0.2.8 text=SMTP timeout while connected to mx.x [192.0.2.8] after end of data (9 bytes written)",
			"a@x deferred from=s@x attempt=3 phase=banner ip=192.0.2.9 text=Remote host mx.x [192.0.2.9] closed connection in response to initial connection",
			"a@x bounced from=s@x attempt=4 phase=ehlo ip=192.0.2.7 text=5xx",
		}},
		{"the line of a host that refused names the host of the deferral; the second host is another", []string{
			arrival,
			exim + "H=mx1.x [192.0.2.7] Connection refused",
			exim + "H=mx.other [192.0.2.8] Connection refused",
			exim + "== a@x R=r T=t defer (111): Connection refused",
			exim + "== b@other R=r T=t defer (111): Connection refused",
			exim + "H=mx1.x [2001:db8::7] Permission denied",
			exim + "== a@x R=r T=t defer (13): Permission denied",
			exim + "== a@x R=local T=file defer (13): Permission denied: failed to open /var/mail/a",
			exim + "== a@x R=r T=t defer (32): Broken pipe: mx1.x [192.0.2.7]",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=connect ip=192.0.2.7 text=Connection refused",
			"b@other deferred from=s@x attempt=1 phase=connect ip=192.0.2.8 text=Connection refused",
			"a@x deferred from=s@x attempt=2 phase=connect ip=2001:db8::7 text=Permission denied",
			"a@x deferred from=s@x attempt=3 text=failed to open /var/mail/a",
			"a@x deferred from=s@x attempt=4 ip=192.0.2.7 text=Broken pipe",
		}},
		{"time ran out in three wordings; the last real cause stays, a reply that ends in the words is a reply", []string{
			arrival,
			exim + "== a@x R=r T=t defer (-44) H=h [192.0.2.7]: " + reply + "450 later",
			exim + "== a@x R=r T=t defer (-53): retry time not reached for any host",
			exim + "** a@x R=r T=t: retry time not reached for any host after a long failure period",
			exim + "== b@x R=r T=t defer (-44) H=h [192.0.2.7]: " + reply + "451 greylisted",
			exim + "** b@x R=r T=t: all hosts for 'x' have been failing for a long time (and retry time not reached)",
			exim + "** c@x R=r T=t H=h [192.0.2.7]: " + reply + "452 full: retry timeout exceeded",
			exim + "** d@x R=r T=t H=h [192.0.2.7]: " + reply + "550 no: retry timeout exceeded",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 ip=192.0.2.7 text=450 later",
			"a@x suspended from=s@x attempt=1 phase=queue text=retry time not reached for any host",
			"a@x expired from=s@x attempt=1 phase=queue text=retry time not reached for any host after a long failure period cause=rcpt/450/450 later",
			"b@x deferred from=s@x attempt=1 phase=rcpt code=451 ip=192.0.2.7 text=451 greylisted",
			"b@x expired from=s@x attempt=1 phase=queue text=all hosts for 'x' have been failing for a long time (and retry time not reached) cause=rcpt/451/451 greylisted",
			"c@x expired from=s@x attempt=1 phase=queue text=retry timeout exceeded cause=rcpt/452/452 full",
			"d@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 text=550 no: retry timeout exceeded",
		}},
		{"an operator: marked delivered, another sender, given up", []string{
			arrival,
			exim + "== a@x R=r T=t defer (-44) H=h [192.0.2.7]: " + reply + "450 later",
			exim + "== b@x R=r T=t defer (-44) H=h [192.0.2.7]: " + reply + "450 later",
			exim + "address <b@x> marked delivered by root",
			exim + "sender address changed to <t@y> by root",
			exim + "cancelled by root",
			exim + "Completed",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 ip=192.0.2.7 text=450 later",
			"b@x deferred from=s@x attempt=1 phase=rcpt code=450 ip=192.0.2.7 text=450 later",
			"a@x expired from=t@y attempt=1 phase=queue text=cancelled by root cause=rcpt/450/450 later",
		}},
		{"bare local parts, programs and files; what was written to is the recipient", []string{
			arrival,
			exim + `** a b: c <d@e> F=<x>@x <"a b: c <d@e> F=<x>"@x> R=r T=t H=h [192.0.2.7]: ` + reply + "550 no",
			exim + "=> |/usr/bin/p <P@x> R=r T=address_pipe",
			exim + "=> /var/f (b@x, c@x) <c@x> R=r T=address_file",
			exim + "=> mary <Mary@x> R=local T=local_delivery QT=1s DT=0.5s",
			exim + "=> :blackhole: <d@x> R=r",
			exim + "=> blackhole (DATA ACL discarded recipients)",
		}, []string{
			`"a b: c <d@e> F=<x>"@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 text=550 no`,
			"P@x delivered from=s@x attempt=1",
			"c@x delivered from=s@x attempt=1",
			"Mary@x delivered from=s@x attempt=1 delay=1s",
			"d@x delivered from=s@x attempt=1",
		}},
		{"escapes: quotes and backslashes in C=, bytes in octal, a last one that was cut; what the remote wrote stays", []string{
			arrival,
			exim + `=> a@x R=r T=t H=h [192.0.2.7] C="250 \"ok\" C:\\new \303\251 C=\"x\" QT=9s" QT=2s`,
			exim + `** b@x R=r T=t H=h [192.0.2.7]: ` + reply + `550 C:\101\new \320\275\320\2`,
			exim + `** c@x R=r T=t H=h [192.0.2.7]: ` + reply + `550 C:\temp\2`,
			exim + `** d@x R=r T=t H=h [192.0.2.7]: SMTP error from remote mail server after EHLO me (EHLO response was: 421 4.7.0 \303\251)`,
		}, []string{
			`a@x delivered from=s@x attempt=1 phase=eom code=250 ip=192.0.2.7 delay=2s text=250 "ok" C:\new é C="x" QT=9s`,
			`b@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 text=550 C:\101\new н`,
			`c@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 text=550 C:\temp\2`,
			`d@x bounced from=s@x attempt=1 phase=ehlo code=421 enhanced=4.7.0/REMOTE ip=192.0.2.7 text=421 4.7.0 é`,
		}},
	})
}

func TestRareFormsOfSendmail(t *testing.T) {
	const (
		sm      = "Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188: "
		piece   = "Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188["
		arrival = sm + "from=<s@x>, size=9, class=0, nrcpts=3, msgid=<1@x>, relay=[192.0.2.1]"
		to      = "to=<a@x>, delay=00:00:09, xdelay=00:00:00, mailer=esmtp, pri=30, relay=mx.x. [192.0.2.7], dsn="
	)
	runTraps(t, []trap{
		{"a long line in pieces, with another in between", []string{
			arrival,
			piece + "1]: to=<a@x>,<b@x>,  ...",
			sm + "to=<c@x>, delay=00:00:01, xdelay=00:00:00, mailer=esmtp, pri=30, relay=mx.x. [192.0.2.7], dsn=2.0.0, stat=Sent (ok)",
			piece + "2]: delay=00:00:09, xdelay=00:00:00, mailer=esmtp, pri=30, relay=mx.x. [192.0.2.7], dsn=5.1.1, reply=550  ...",
			piece + "3]: no, stat=User unknown",
		}, []string{
			"c@x delivered from=s@x attempt=1 phase=eom enhanced=2.0.0/MTA ip=192.0.2.7 delay=1s text=ok",
			"a@x bounced from=s@x attempt=1 phase=rcpt code=550 enhanced=5.1.1/MTA ip=192.0.2.7 delay=9s text=550 no",
			"b@x bounced from=s@x attempt=1 phase=rcpt code=550 enhanced=5.1.1/MTA ip=192.0.2.7 delay=9s text=550 no",
		}},
		{"what is tried again; words of Sendmail's own in the place of a reply; a host that was not tried", []string{
			arrival,
			sm + to + "4.0.0, stat=Operating system error",
			sm + to + "4.0.0, stat=I/O error: Input/output error",
			sm + to + "4.0.0, reply=450 of another host, stat=Deferred: Connection refused by mx.x.",
			sm + to + "4.4.1, reply=421 4.4.1 Connection reset by mx.x, stat=Deferred: Connection reset by mx.x.",
			sm + "to=<a@x>, delay=00:00:10, xdelay=00:00:00, mailer=esmtp, pri=40, relay=mx.x., dsn=4.0.0, stat=Deferred: Connection reset by mx.x.",
			sm + "to=<b@x>, delay=00:00:10, xdelay=00:00:00, mailer=esmtp, pri=40, relay=x., dsn=4.0.0, stat=Deferred: Name server: x.: host name lookup failure",
		}, []string{
			"a@x deferred from=s@x attempt=1 enhanced=4.0.0/MTA ip=192.0.2.7 delay=9s text=Operating system error",
			"a@x deferred from=s@x attempt=1 enhanced=4.0.0/MTA ip=192.0.2.7 delay=9s text=I/O error: Input/output error",
			"a@x deferred from=s@x attempt=1 phase=connect enhanced=4.0.0/MTA ip=192.0.2.7 delay=9s text=Deferred: Connection refused by mx.x.",
			"a@x deferred from=s@x attempt=1 phase=rcpt enhanced=4.4.1/MTA ip=192.0.2.7 delay=9s text=421 4.4.1 Connection reset by mx.x",
			"a@x suspended from=s@x attempt=1 phase=queue enhanced=4.0.0/MTA delay=10s text=Deferred: Connection reset by mx.x.",
			"b@x deferred from=s@x attempt=1 phase=dns enhanced=4.0.0/MTA delay=10s text=Deferred: Name server: x.: host name lookup failure",
		}},
		{"the submission program hands over; programs and files are of whom they were written to; escapes", []string{
			arrival,
			"Nov 21 08:41:36 mta1 sendmail[9]: 6AL8fZ7l000177: from=root, size=9, class=0, nrcpts=1, msgid=<2@x>, relay=root@localhost",
			"Nov 21 08:41:36 mta1 sendmail[9]: 6AL8fZ7l000177: to=z@x, ctladdr=root (0/0), delay=00:00:00, xdelay=00:00:00, mailer=relay, pri=30, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (6AL8fZ7l000188 Message accepted for delivery)",
			sm + `to="|/usr/bin/p a, b", ctladdr=<al@x> (8/0), delay=00:00:00, xdelay=00:00:00, mailer=prog, pri=30, dsn=2.0.0, stat=Sent`,
			sm + `to=<a\303\251\\b@x>, delay=00:00:00, xdelay=00:00:00, mailer=esmtp, pri=30, relay=[IPv6:2001:db8:0:0:0:0:0:7] [IPv6:2001:db8:0:0:0:0:0:7], dsn=5.1.1, reply=550 C:\\new\tno, stat=User unknown`,
		}, []string{
			"al@x delivered from=s@x attempt=1 enhanced=2.0.0/MTA delay=0s",
			"aé\\b@x bounced from=s@x attempt=1 phase=rcpt code=550 enhanced=5.1.1/MTA ip=2001:db8::7 delay=0s text=550 C:\\new\tno",
		}},
	})
}

func TestRareFormsOfOpenSMTPD(t *testing.T) {
	const (
		smtpd = "Nov 21 08:38:00 mta1 smtpd[64]: "
		ends  = ` source="-" relay="x.example" delay=2m result="TempFail" stat="`
	)
	line := func(id, to string) string {
		return smtpd + "0000000000000000 mta delivery evpid=" + id + " from=<s@x.example> to=<" + to + "> rcpt=<->"
	}
	runTraps(t, []trap{
		{"a route that is blocked is no attempt; a host outside of the domain is known from before; removed by hand", []string{
			smtpd + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3a from=<s@x.example> to=<a@x.example>",
			smtpd + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3b from=<s@x.example> to=<b@x.example>",
			line("74948fed87e71c3a", "a@x.example") + ` source="[2001:db8::1]" relay="[2001:db8::7] (mx.provider.example)" delay=1s result="TempFail" stat="450 4.2.2 full"`,
			smtpd + "49b2bc67c2a94554 mta connecting address=smtp://192.0.2.7:25 host=mx.provider.example",
			smtpd + "49b2bc67c2a94554 mta error reason=Connection closed unexpectedly",
			line("74948fed87e71c3b", "b@x.example") + ends + `Network error on destination MXs"`,
			line("74948fed87e71c3a", "a@x.example") + ends + `All routes to destination blocked"`,
			line("74948fed87e71c3a", "a@x.example") + ends + `Destination seem to reject all mails"`,
			smtpd + "relay: Remove for 74948fed87e71c3b: from=<s@x.example>, to=<b@x.example>, rcpt=<->, delay=2m, stat=Removed by administrator",
			smtpd + "relay: Expire for 74948fed87e71c3b: from=<s@x.example>, to=<b@x.example>, rcpt=<->, delay=4d, stat=Envelope expired",
		}, []string{
			"a@x.example deferred from=s@x.example attempt=1 code=450 enhanced=4.2.2/REMOTE ip=2001:db8::7 delay=1s text=450 4.2.2 full",
			"b@x.example deferred from=s@x.example attempt=1 phase=connect ip=192.0.2.7 delay=2m0s text=Connection closed unexpectedly",
			"a@x.example suspended from=s@x.example attempt=1 phase=queue delay=2m0s text=All routes to destination blocked",
			"a@x.example suspended from=s@x.example attempt=1 phase=queue delay=2m0s text=Destination seem to reject all mails",
			"b@x.example expired from=s@x.example phase=queue text=Envelope expired",
		}},
		{"local delivery; the null sender in the lines of the queue", []string{
			smtpd + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3a from=<> to=<a@x.example>",
			smtpd + "49b2bc64c67cbbf5 mda delivery evpid=74948fed87e71c3a from=<> to=<a@x.example> user=a method=mbox delay=0s result=TempFail stat=Error (\"mail.local: no\")",
			smtpd + "delivery: Expire for 74948fed87e71c3a: from=<@>, to=<a@x.example>, rcpt=<a@x.example>, delay=4d, stat=Envelope expired",
		}, []string{
			"a@x.example deferred attempt=1 delay=0s text=Error (\"mail.local: no\")",
			"a@x.example expired attempt=1 phase=queue text=Envelope expired cause=/0/Error (\"mail.local: no\")",
		}},
	})
}

func TestRareFormsOfHaraka(t *testing.T) {
	const id = "B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.4"
	at := "2026-11-21T08:42:14.934Z "
	core := at + "\x1b[36m[NOTICE] [" + id + "] [core] "
	out := at + "[NOTICE] [" + id + ".1] [outbound] "
	sent := `delivered file=f domain=x host=h ip=192.0.2.7 port=25 mode=SMTP tls=N auth=N response="250 2.0.0 \"ok\"" delay=0.25 fails=0 rcpts=1/0/0`
	end := "\x1b[39m"
	runTraps(t, []trap{
		{"colours; a refused recipient counts once for all hosts, and is delivered by the next", []string{
			core + `sender <s@x> code=OK msg=""` + end,
			core + `recipient <a@x> code=OK msg="" sender=s@x` + end,
			core + `message mid=<1@x> size=9 rcpts=1/0/0 delay=0 code=CONT msg=""` + end,
			out + "recipient <a@x> deferred: 450 4.2.2 first host",
			out + "Remote end 192.0.2.8:25 reset by peer",
			out + sent,
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 enhanced=4.2.2/REMOTE text=450 4.2.2 first host",
			`a@x delivered from=s@x attempt=1 phase=eom code=250 enhanced=2.0.0/REMOTE ip=192.0.2.7 delay=250ms text=250 2.0.0 "ok"`,
		}},
		{"json with nested values; logfmt", []string{
			at + `{"level":"NOTICE","uuid":"` + id + `","origin":"core","message":"sender <s@x>","code":"OK","msg":""}`,
			at + `{"level":"NOTICE","uuid":"` + id + `","origin":"core","message":"recipient <a@x>","code":"OK","msg":"","sender":"s@x","more":{"a":["}\"",1]}}`,
			at + "level=NOTICE uuid=" + id + ` origin=core message="recipient <b@y>" code=OK msg="" sender=s@x`,
			at + `{"level":"NOTICE","uuid":"` + id + `.1","origin":"outbound","message":"recipient <a@x> rejected: 550 \"no\" \u00e9"}`,
			at + "level=NOTICE uuid=" + id + `.2 origin=outbound message="bouncing mail: 554 \"no\" C:\\new"`,
		}, []string{
			`a@x bounced from=s@x attempt=1 phase=rcpt code=550 text=550 "no" é`,
			`b@y bounced from=s@x attempt=1 code=554 text=554 "no" C:\new`,
		}},
		{"always_split is learned from the parts of a transaction", []string{
			core + `sender <s@x> code=OK msg=""`,
			core + `recipient <a@x> code=OK msg="" sender=s@x`,
			core + `recipient <b@x> code=OK msg="" sender=s@x`,
			core + `queue code=CONT msg="Message Queued"`,
			at + "[INFO] [-] [outbound] Transaction delivery for domain: x",
			at + "[INFO] [-] [outbound] Transaction delivery for domain: x",
			core + `queue code=OK msg="Message Queued"`,
			out + "bouncing mail: 554 of a",
			strings.Replace(out, ".1]", ".2]", 1) + sent,
		}, []string{
			"a@x bounced from=s@x attempt=1 code=554 text=554 of a",
			`b@x delivered from=s@x attempt=1 phase=eom code=250 enhanced=2.0.0/REMOTE ip=192.0.2.7 delay=250ms text=250 2.0.0 "ok"`,
		}},
	})
}

// A log without stamps takes the time from whoever carries it; without that it has none.
func TestHarakaWithoutStampsNeedsATime(t *testing.T) {
	line := []byte(`[NOTICE] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.4.1] [outbound] recipient <a@x> rejected: 550 no`)
	for _, format := range []Format{FormatAuto, FormatHaraka} {
		var at int64
		emit := func(ev *schema.DeliveryEvent) { at = ev.OccurredAtUs }
		r := NewCorrelator(DefaultConfig()).Line(Input{Line: line, Host: "carrier", Format: format, Reference: sampleReference}, emit)
		if r.Kind != KindEvent || at != sampleReference.UnixMicro() {
			t.Errorf("%s, %s at %d", r.Kind, r.Reason, at)
		}
		r = NewCorrelator(DefaultConfig()).Line(Input{Line: line, Host: "carrier", Format: format}, emit)
		if r.Kind != KindUnparsed || r.Reason != ReasonNoReference {
			t.Errorf("without a time: %s, %s", r.Kind, r.Reason)
		}
	}
}

// Lines that open an entry keep the table within its bounds, whatever they say.
func TestNoFormatLeavesTheTableBeyondItsBounds(t *testing.T) {
	for _, words := range []string{
		"Temp failing f for 8 seconds: Some recipients temp failed: <a@x>", "C: EHLO me", "deliver: me -> 192.0.2.7 (via DNS) (1) (1)",
		"Failed to get socket: connect ECONNREFUSED 192.0.2.7:25", "recipient <a@x> deferred: 450 later",
	} {
		c := NewCorrelator(Config{MaxEntries: 3, MaxBytes: 1 << 20, TTL: 1e9})
		for k := range 20 {
			line := fmt.Sprintf("2026-11-21T08:42:14.934Z [NOTICE] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29.%d.1] [outbound] %s", k, words)
			c.Line(Input{Line: []byte(line), Host: "carrier"}, func(*schema.DeliveryEvent) {})
			if n := c.Stats().Entries; n > 3 {
				t.Fatalf("%d entries after %s", n, words)
			}
		}
	}
}
