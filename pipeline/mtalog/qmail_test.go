package mtalog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

// qmailStory reads messages of qmail-send, one a second from 2026-11-21 08:40:00 on, and returns the events in words.
func qmailStory(t *testing.T, c *Correlator, lines []string) []string {
	t.Helper()
	var got []string
	for i, text := range lines {
		at := time.Date(2026, 11, 21, 8, 40, i, 0, time.UTC)
		in := Input{Line: []byte(qmailTAI64N(qmailLine{at, text})), Host: "mta1"}
		r := c.Line(in, func(ev *schema.DeliveryEvent) {
			got = append(got, tell(ev))
			if ev.OccurredAtUs != at.UnixMicro() || ev.Mta != "qmail" || ev.MtaHost != "mta1" {
				t.Errorf("event %v", ev)
			}
		})
		if r.Kind == KindUnparsed {
			t.Errorf("%s: %s", r.Reason, text)
		}
	}
	return got
}

const qmailAged = "I'm_not_going_to_try_again;_this_message_has_been_in_the_queue_too_long./"

func TestQmailStories(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"a deferral, then the queue's end: the expiry carries its last real cause", []string{
			"new msg 77", "info msg 77: bytes 900 from <s@x> qp 12 uid 89",
			"starting delivery 1: msg 77 to remote a@x", "status: local 0/10 remote 1/20",
			"delivery 1: deferral: 192.0.2.7_does_not_like_recipient./Remote_host_said:_450_4.2.2_full/Giving_up_on_192.0.2.7./",
			"starting delivery 2: msg 77 to remote a@x",
			"delivery 2: deferral: Sorry,_I_wasn't_able_to_establish_an_SMTP_connection._(#4.4.1)/",
			"starting delivery 3: msg 77 to remote a@x",
			"delivery 3: failure: 192.0.2.8_does_not_like_recipient./Remote_host_said:_452_4.2.2_still_full/Giving_up_on_192.0.2.8./" + qmailAged,
			"bounce msg 77 qp 99", "end msg 77",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=rcpt code=450 enhanced=4.2.2/REMOTE ip=192.0.2.7 delay=4s text=450 4.2.2 full",
			"a@x deferred from=s@x attempt=2 phase=connect enhanced=4.4.1/MTA delay=6s text=Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)",
			"a@x expired from=s@x attempt=3 phase=queue text=I'm not going to try again; this message has been in the queue too long. cause=rcpt/452/452 4.2.2 still full",
		}},
		{"a failure that is temporary by its own words is an expiry, although syslog cut qmail's", []string{
			"new msg 77", "info msg 77: bytes 900 from <> qp 12 uid 89",
			"starting delivery 1: msg 77 to remote a@x", "starting delivery 2: msg 77 to remote b@x", "starting delivery 3: msg 77 to remote c@x",
			"delivery 1: failure: 192.0.2.7_failed_after_I_sent_the_message./Remote_host_said:_451_4.7.1_wait_a_lo",
			"delivery 2: failure: Connected_to_192.0.2.7_but_connection_died._(#4.4.2)/I'm_not_goi",
			"delivery 3: failure: Connected_to_192.0.2.7_but_greeting_failed./Remote_host_said:_554_no/",
		}, []string{
			"a@x expired attempt=1 phase=queue cause=eom/451/451 4.7.1 wait a lo",
			"b@x expired attempt=1 phase=queue cause=/0/Connected to 192.0.2.7 but connection died. (#4.4.2)\nI'm not goi",
			"c@x expired attempt=1 phase=queue cause=banner/554/554 no",
		}},
		{"a remote that quotes qmail and its log changes nothing", []string{
			"new msg 77", "info msg 77: bytes 900 from <s@x> qp 12 uid 89",
			"starting delivery 1: msg 77 to remote a@x", "starting delivery 2: msg 77 to remote b@x",
			"delivery 1: failure: 192.0.2.7_failed_after_I_sent_the_message./Remote_host_said:_550-end_msg_77/550-status:_local_0/10_remote_0/20/550_" + qmailAged,
			"delivery 2: failure: 192.0.2.7_does_not_like_recipient./Remote_host_said:_550_no/Remote_host_said:_250/Giving_up_on_192.0.2.9./Giving_up_on_192.0.2.7./",
			"end msg 77",
		}, []string{
			"a@x bounced from=s@x attempt=1 phase=eom code=550 ip=192.0.2.7 delay=4s text=550-end msg 77\n550-status: local 0/10 remote 0/20\n" +
				"550 I'm not going to try again; this message has been in the queue too long.",
			"b@x bounced from=s@x attempt=1 phase=rcpt code=550 ip=192.0.2.7 delay=5s text=550 no/Remote host said: 250/Giving up on 192.0.2.9.",
		}},
		{"underscores and slashes: line ends before the code, paths stay, the recipient's underscore stays", []string{
			"starting delivery 1: msg 77 to remote a_b@x",
			"delivery 1: deferral: 192.0.2.7_failed_after_I_sent_the_message./Remote_host_said:_421-4.7.0_<a_b@x>_see/421-4.7.0_https://x/421/4210/_c_d/421_4.7.0_bye/",
		}, []string{
			"a_b@x deferred phase=eom code=421 enhanced=4.7.0/REMOTE ip=192.0.2.7 text=421-4.7.0 <a_b@x> see\n421-4.7.0 https://x\n421/4210/ c d\n421 4.7.0 bye",
		}},
		{"a crash in the middle: delivery numbers begin anew, the message and its attempts are kept", []string{
			"new msg 77", "info msg 77: bytes 900 from <s@x> qp 12 uid 89",
			"starting delivery 1: msg 77 to remote a@x",
			"delivery 1: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
			"starting delivery 2: msg 77 to remote a@x", "starting delivery 3: msg 77 to remote b@x",
			"running", "status: local 0/10 remote 0/20",
			"starting delivery 1: msg 77 to remote a@x", "starting delivery 2: msg 77 to remote b@x",
			"delivery 2: success: 192.0.2.7_accepted_message./Remote_host_said:_250_2.0.0_ok/",
			"delivery 1: success: 192.0.2.7_TLS_transmitted_message_accepted./Remote_host_said:_250_ok/",
			"delivery 1: success: 192.0.2.7_TLS_transmitted_message_accepted./Remote_host_said:_250_ok/", // read twice
			"status: exiting", "end msg 77", "exiting",
		}, []string{
			"a@x deferred from=s@x attempt=1 phase=dns enhanced=4.4.3/MTA delay=3s text=CNAME lookup failed temporarily. (#4.4.3)",
			"b@x delivered from=s@x attempt=1 phase=eom code=250 enhanced=2.0.0/REMOTE ip=192.0.2.7 delay=10s text=250 2.0.0 ok",
			"a@x delivered from=s@x attempt=2 phase=eom code=250 ip=192.0.2.7 delay=11s text=250 ok",
		}},
		{"a message number comes back, with and without the old one's end", []string{
			"new msg 77", "info msg 77: bytes 900 from <s1@x> qp 12 uid 89",
			"starting delivery 1: msg 77 to remote a@x", "delivery 1: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
			"new msg 77", "info msg 77: bytes 900 from <s2@x> qp 13 uid 89",
			"starting delivery 2: msg 77 to remote a@x", "delivery 2: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
			"info msg 77: bytes 900 from <s2@x> qp 13 uid 89", // a shipper reads it again
			"starting delivery 2: msg 77 to remote a@x", "delivery 2: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
			"info msg 77: bytes 901 from <s2@x> qp 14 uid 89",
			"starting delivery 3: msg 77 to remote a@x", "delivery 3: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
			"info msg 77: bytes 901 from <s3@x-@[]> qp 15 uid 89",
			"starting delivery 3: msg 77 to remote a@x", "delivery 3: deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
		}, []string{
			"a@x deferred from=s1@x attempt=1 phase=dns enhanced=4.4.3/MTA delay=3s text=CNAME lookup failed temporarily. (#4.4.3)",
			"a@x deferred from=s2@x attempt=1 phase=dns enhanced=4.4.3/MTA delay=3s text=CNAME lookup failed temporarily. (#4.4.3)",
			"a@x deferred from=s2@x attempt=2 phase=dns enhanced=4.4.3/MTA delay=6s text=CNAME lookup failed temporarily. (#4.4.3)",
			"a@x deferred from=s2@x attempt=1 phase=dns enhanced=4.4.3/MTA delay=2s text=CNAME lookup failed temporarily. (#4.4.3)",
			"a@x deferred from=s3@x-@[] attempt=1 phase=dns enhanced=4.4.3/MTA delay=2s text=CNAME lookup failed temporarily. (#4.4.3)",
		}},
		{"local deliveries are the MTA's own, whatever a program says", []string{
			"new msg 77", "info msg 77: bytes 900 from <s@x> qp 12 uid 89",
			"starting delivery 1: msg 77 to local x-a@x", "starting delivery 2: msg 77 to local x-b@x", "starting delivery 3: msg 77 to local x-c@x",
			"starting delivery 4: msg 77 to local x-d@x",
			"delivery 1: success: did_0+0+1/qp_4242/",
			"delivery 2: failure: Sorry,_no_mailbox_here_by_that_name._vpopmail_(#5.1.1)/",
			"delivery 3: failure: Remote_host_said:_550_5.1.1_no/",
			"delivery 4: failure: Home_directory_is_temporarily_missing._(#4.3.0)/" + qmailAged,
			"triple bounce: discarding bounce/77", "end msg 77",
		}, []string{
			"x-a@x delivered from=s@x attempt=1 delay=6s text=did 0+0+1/qp 4242",
			"x-b@x bounced from=s@x attempt=1 enhanced=5.1.1/MTA delay=7s text=Sorry, no mailbox here by that name. vpopmail (#5.1.1)",
			"x-c@x bounced from=s@x attempt=1 delay=8s text=Remote host said: 550 5.1.1 no",
			"x-d@x expired from=s@x attempt=1 phase=queue text=I'm not going to try again; this message has been in the queue too long. cause=/0/Home directory is temporarily missing. (#4.3.0)",
		}},
		{"a log joined midway: recipient and outcome are known, sender and attempt are not", []string{
			"delivery 8: success: 192.0.2.7_accepted_message./Remote_host_said:_250_ok/",
			"starting delivery 9: msg 77 to remote a@x",
			"delivery 9: failure: Connected_to_192.0.2.7_but_my_name_was_rejected./Remote_host_said:_501_no/" + qmailAged,
			"end msg 77",
		}, []string{
			"a@x expired phase=queue text=I'm not going to try again; this message has been in the queue too long. cause=ehlo/501/501 no",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := qmailStory(t, NewCorrelator(DefaultConfig()), c.lines); !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

// Each sentence of qmail-remote and of its usual patches, as a deferral or failure.
func TestQmailReports(t *testing.T) {
	for _, c := range []struct{ word, report, want string }{
		{"failure", "Connected_to_192.0.2.7_but_sender_was_rejected./Remote_host_said:_553_5.1.8_no/", "bounced phase=mail code=553 enhanced=5.1.8/REMOTE ip=192.0.2.7 text=553 5.1.8 no"},
		{"failure", "192.0.2.7_failed_on_DATA_command./Remote_host_said:_554_no/", "bounced phase=data code=554 ip=192.0.2.7 text=554 no"},
		{"deferral", "2001:db8::7_failed_after_I_sent_the_message./Remote_host_said:_452_no/", "deferred phase=eom code=452 ip=2001:db8::7 text=452 no"},
		{"deferral", "Connected_to_192.0.2.7_but_greeting_failed./Remote_host_said:_421_no/", "deferred phase=banner code=421 ip=192.0.2.7 text=421 no"},
		{"deferral", "Connected_to_192.0.2.7_but_connection_died._Possible_duplicate!_(#4.4.2)/", "deferred phase=eom enhanced=4.4.2/MTA ip=192.0.2.7 text=Connected to 192.0.2.7 but connection died. Possible duplicate! (#4.4.2)"},
		{"deferral", "Connected_to_192.0.2.7_but_connection_died._(#4.4.2)/", "deferred enhanced=4.4.2/MTA ip=192.0.2.7 text=Connected to 192.0.2.7 but connection died. (#4.4.2)"},
		{"deferral", "Sorry,_I_couldn't_find_any_host_by_that_name._(#4.1.2)/", "deferred phase=dns enhanced=4.1.2/MTA text=Sorry, I couldn't find any host by that name. (#4.1.2)"},
		{"failure", "Sorry,_I_couldn't_find_any_host_named_x._(#5.1.2)/", "bounced phase=dns enhanced=5.1.2/MTA text=Sorry, I couldn't find any host named x. (#5.1.2)"},
		{"failure", "Sorry,_I_couldn't_find_a_mail_exchanger_or_IP_address._(#5.4.4)/", "bounced phase=dns enhanced=5.4.4/MTA text=Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)"},
		{"failure", "Sorry._Although_I'm_listed_as_a_best-preference_MX_or_A_for_that_host,/it_isn't_in_my_control/locals_file,_so_I_don't_treat_it_as_local._(#5.4.6)/", "bounced phase=dns enhanced=5.4.6/MTA text=Sorry. Although I'm listed as a best-preference MX or A for that host,\nit isn't in my control/locals file, so I don't treat it as local. (#5.4.6)"},
		{"failure", "SMTP_cannot_transfer_messages_with_partial_final_lines._(#5.6.2)/", "bounced enhanced=5.6.2/MTA text=SMTP cannot transfer messages with partial final lines. (#5.6.2)"},
		{"deferral", "qmail-remote_crashed./", "deferred text=qmail-remote crashed."},
		{"deferral", "TLS_connect_failed:_timed_out;_connecting_to_192.0.2.7./Remote_host_said:_220_ready/", "deferred phase=tls ip=192.0.2.7 text=TLS connect failed: timed out; connecting to 192.0.2.7."},
		{"deferral", "No_TLS_achieved_while_control/tlshosts/mx.x.pem_exists;_connecting_to_192.0.2.7./Remote_host_said:_454_no/", "deferred phase=tls code=454 ip=192.0.2.7 text=454 no"},
		{"deferral", "TLS_found_no_client_cert_in_control/clientcert.pem/", "deferred phase=tls text=TLS found no client cert in control/clientcert.pem"},
		{"failure", "Connected_to_192.0.2.7_but_authentication_was_rejected_(AUTH_PLAIN)./Remote_host_said:_535_no/", "bounced phase=auth code=535 ip=192.0.2.7 text=535 no"},
		{"failure", "User_and_password_not_set,_continuing_without_authentication./<a@x>_192.0.2.7_does_not_like_recipient./Remote_host_said:_550_no/Giving_up_on_192.0.2.7./", "bounced phase=rcpt code=550 ip=192.0.2.7 text=550 no"},
		{"success", "User_and_password_not_set,_continuing_without_authentication./<a@x>_192.0.2.7_accepted_message./Remote_host_said:_250_ok/", "delivered phase=eom code=250 ip=192.0.2.7 text=250 ok"},
		{"success", "mx.x.example_accepted_message./Remote_host_said:_250_ok/", "delivered phase=eom code=250 text=250 ok"},
		{"failure", "192.0.2.7_does_not_like_recipient./Remote_host_said:_550_see_https://x//Giving_up_on_192.0.2.7./", "bounced phase=rcpt code=550 ip=192.0.2.7 text=550 see https://x/"},
		{"failure", "192.0.2.7_does_not_like_recipient./Remote_host_said:_550-no/Giving_up_on_spam_is_", "bounced phase=rcpt code=550 ip=192.0.2.7 text=550-no/Giving up on spam is "},
		{"failure", "192.0.2.7_does_not_like_recipient./Remote_host_said:_550/Giving_up_on_192.0.2.7./", "bounced phase=rcpt code=550 ip=192.0.2.7 text=550"},
		{"failure", "192.0.2.7_does_not_like_recipient./Remote_host_said:_Error:_no/Giving_up_on_192.0.2.7./", "bounced phase=rcpt ip=192.0.2.7 text=Error: no"},
		{"report mangled, will defer", "", "deferred text=report mangled, will defer"},
	} {
		line := "delivery 1: " + c.word
		if c.report != "" {
			line += ": " + c.report
		}
		got := qmailStory(t, NewCorrelator(DefaultConfig()), []string{"starting delivery 1: msg 77 to remote a@x", line})
		if len(got) != 1 || got[0] != "a@x "+c.want {
			t.Errorf("%s\ngot  %q\nwant %q", line, got, c.want)
		}
	}
}

// Stamps as multilog and tai64nlocal of daemontools 0.76, svlogd of runit 2.1.2 and s6-log 2.11.3 wrote them.
func TestQmailStamps(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, at string }{
		{"@400000006b0afeba18e59e7c end msg 1", "2026-11-28T16:17:52.417701500Z"},
		{"@4000000052f5d1a300000000 end msg 1", "2014-02-08T06:41:29Z"},
		{"2026-11-28 17:17:52.033214500 end msg 1", "2026-11-28T16:17:52.033214Z"},
		{"2026-11-28 17:18:08.801637065  end msg 1", "2026-11-28T16:18:08.801637Z"}, // s6-log T
		{"2026-11-28_16:17:52.47599 end msg 1", "2026-11-28T16:17:52.47599Z"},
		{"2026-11-28T16:17:52.51521 end msg 1", "2026-11-28T16:17:52.51521Z"},
		{"Nov 28 17:17:55 mta1 qmail: 1795882672.020171 end msg 1", "2026-11-28T16:17:52.020171Z"},
		{"Nov 28 17:17:55 mta1 qmail-send[7]: @400000006b0afeba18e59e7c end msg 1", "2026-11-28T16:17:52.417701Z"},
		{"Nov 28 17:17:55 mta1 qmail-send[7]: end msg 1", "2026-11-28T16:17:55Z"},
		{"<22>1 2026-11-28T16:17:55Z mta1 qmail - - - 1795882672.020171+_x", "2026-11-28T16:17:52.020171Z"},
	} {
		want, err := time.Parse(time.RFC3339Nano, c.at)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []Format{FormatAuto, FormatQmail} {
			m := NewCorrelator(DefaultConfig())
			in := Input{Line: []byte(c.line), Host: "mta1", Location: berlin, Reference: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Format: format}
			if r := m.Line(in, nil); r.Kind != KindState || !r.At.Equal(want.Truncate(time.Microsecond)) || r.Host != "mta1" {
				t.Errorf("%q as %s: %+v, want %s", c.line, format, r, want)
			}
		}
	}
}

// What is cut or strange is counted with its reason, and another program's line through multilog is not taken for qmail's.
func TestQmailLinesNotUnderstood(t *testing.T) {
	const label = "@400000006b0afeba18e59e7c "
	for _, c := range []struct {
		line   string
		format Format
		kind   Kind
		reason Reason
	}{
		{label + "new msg x", FormatAuto, KindUnparsed, ReasonShape},
		{label + "new msg 123456789012345678901", FormatAuto, KindUnparsed, ReasonShape},
		{label + "info msg 7: bytes 9 from <s@", FormatAuto, KindUnparsed, ReasonCut},
		{label + "starting delivery 1: msg 7 to re", FormatAuto, KindUnparsed, ReasonCut},
		{label + "starting delivery 1: msg 7 to mars a@x", FormatAuto, KindUnparsed, ReasonShape},
		{label + "starting delivery 1: msg 7 to remote", FormatAuto, KindUnparsed, ReasonCut},
		{label + "delivery 1: succ", FormatAuto, KindUnparsed, ReasonCut},
		{label + "delivery 1: delight: x", FormatAuto, KindUnparsed, ReasonShape},
		{label + "delivery 1: success: x", FormatAuto, KindState, ReasonUnknownEntry},
		{label + "end msg 7", FormatAuto, KindState, ReasonUnknownEntry},
		{label + "dance", FormatAuto, KindUnparsed, ReasonFrame},
		{label + "dance", FormatQmail, KindUnparsed, ReasonShape},
		{label + "tcpserver: status: 1/40", FormatAuto, KindNoise, ReasonOtherProgram},
		{label + "end msg 7", FormatPostfix, KindUnparsed, ReasonFrame},
		{"@400000006b0afeba3b9aca00 end msg 7", FormatAuto, KindUnparsed, ReasonTime}, // a second of nanoseconds
		{"@3fffffff6b0afeba18e59e7c end msg 7", FormatAuto, KindUnparsed, ReasonTime}, // before 1970
		{"@7fffffff6b0afeba18e59e7c end msg 7", FormatAuto, KindUnparsed, ReasonTime},
		{"@400000006b0afeba18e59e7g end msg 7", FormatAuto, KindUnparsed, ReasonFrame},
		{"2026-13-28 17:17:52.033214500 end msg 1", FormatAuto, KindUnparsed, ReasonTime},
		{"Nov 28 17:17:55 mta1 qmail: 1795882672.020171 dance", FormatAuto, KindUnparsed, ReasonShape},
		{"Nov 28 17:17:55 mta1 qmail-remote-handlers[7]: end msg 1", FormatAuto, KindNoise, ReasonOtherProgram},
	} {
		m := NewCorrelator(DefaultConfig())
		in := Input{Line: []byte(c.line), Host: "mta1", Reference: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Format: c.format}
		r := m.Line(in, func(ev *schema.DeliveryEvent) { t.Errorf("%s: %s", c.line, tell(ev)) })
		if r.Kind != c.kind || r.Reason != c.reason {
			t.Errorf("%q as %s: %s %s, want %s %s", c.line, c.format, r.Kind, r.Reason, c.kind, c.reason)
		}
	}
	m := NewCorrelator(DefaultConfig())
	if r := m.Line(Input{Line: []byte(label + "end msg 7")}, nil); r.Reason != ReasonHost {
		t.Errorf("no host: %s %s", r.Kind, r.Reason)
	}
}
