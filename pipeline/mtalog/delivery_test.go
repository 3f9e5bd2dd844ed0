package mtalog

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

const head = "2026-11-21T08:28:19Z mta1 postfix/"

// one runs the last of the lines and returns its only event.
func one(t *testing.T, lines ...string) *schema.DeliveryEvent {
	t.Helper()
	c := NewCorrelator(DefaultConfig())
	var got *schema.DeliveryEvent
	for i, line := range lines {
		r := c.Line(Input{Line: []byte(head + line)}, func(ev *schema.DeliveryEvent) {
			if i == len(lines)-1 {
				if got != nil {
					t.Fatalf("more than one event from %q", line)
				}
				got = proto.Clone(ev).(*schema.DeliveryEvent)
			}
		})
		if r.Kind == KindUnparsed {
			t.Fatalf("unparsed (%s): %s", r.Reason, line)
		}
	}
	if got == nil {
		t.Fatalf("no event from %q", lines[len(lines)-1])
	}
	return got
}

func TestWordsOfFailures(t *testing.T) {
	const dest = "mx.example.net[192.0.2.7]:25"
	for _, c := range []struct {
		name, relay, dsn, text string
		want                   *schema.DeliveryEvent
	}{
		{"RCPT TO", dest, "5.1.1", "host mx.example.net[192.0.2.7] said: 550 5.1.1 <u@example.net>: unknown (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.1.1", EnhancedSource: 1, Text: "550 5.1.1 <u@example.net>: unknown", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"MAIL FROM", dest, "4.1.8", "host h[192.0.2.7] said: 451 4.1.8 no (in reply to MAIL FROM command)", &schema.DeliveryEvent{
			SmtpCode: 451, EnhancedCode: "4.1.8", EnhancedSource: 1, Text: "451 4.1.8 no", Phase: schema.Phase_MAIL, Origin: 1,
		}},
		{"DATA", dest, "5.5.0", "host h[192.0.2.7] said: 554 5.5.0 no (in reply to DATA command)", &schema.DeliveryEvent{
			SmtpCode: 554, EnhancedCode: "5.5.0", EnhancedSource: 1, Text: "554 5.5.0 no", Phase: schema.Phase_DATA, Origin: 1,
		}},
		{"end of DATA, many lines", dest, "5.7.1", "host h[192.0.2.7] said: 550-5.7.1 a 550 5.7.1 b (in reply to end of DATA command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.7.1", EnhancedSource: 1, Text: "550-5.7.1 a 550 5.7.1 b", Phase: schema.Phase_EOM, Origin: 1,
		}},
		{"LHLO", dest, "5.5.1", "host h[192.0.2.7] said: 502 5.5.1 no (in reply to LHLO command)", &schema.DeliveryEvent{
			SmtpCode: 502, EnhancedCode: "5.5.1", EnhancedSource: 1, Text: "502 5.5.1 no", Phase: schema.Phase_EHLO, Origin: 1,
		}},
		{"STARTTLS", dest, "4.7.0", "host h[192.0.2.7] said: 454 4.7.0 no (in reply to STARTTLS command)", &schema.DeliveryEvent{
			SmtpCode: 454, EnhancedCode: "4.7.0", EnhancedSource: 1, Text: "454 4.7.0 no", Phase: schema.Phase_TLS, Origin: 1,
		}},
		{"code made up by Postfix", dest, "5.0.0", "host h[192.0.2.7] said: 550 no (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.0.0", EnhancedSource: 2, Text: "550 no", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"5.0.0 said by the remote", dest, "5.0.0", "host h[192.0.2.7] said: 550 5.0.0 no (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.0.0", EnhancedSource: 1, Text: "550 5.0.0 no", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"remote code overlooked by Postfix", dest, "5.0.0", "host h[192.0.2.7] said: 550 4.2.1 no (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "4.2.1", EnhancedSource: 1, Text: "550 4.2.1 no", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"code in the last line only", dest, "5.7.26", "host h[192.0.2.7] said: 550-no 550 5.7.26 really (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.7.26", EnhancedSource: 1, Text: "550-no 550 5.7.26 really", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"no code first", dest, "5.5.1", "host h[192.0.2.7] said: Error: oops 503 5.5.1 RCPT first (in reply to RCPT TO command)", &schema.DeliveryEvent{
			EnhancedCode: "5.5.1", EnhancedSource: 1, Text: "Error: oops 503 5.5.1 RCPT first", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"code within a number", dest, "5.5.1", "host h[192.0.2.7] said: 503 x1503 5.5.1 y (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 503, EnhancedCode: "5.5.1", EnhancedSource: 2, Text: "503 x1503 5.5.1 y", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"reply names another command", dest, "5.1.1", "host h[192.0.2.7] said: 550 5.1.1 x (in reply to DATA command) (in reply to RCPT TO command)", &schema.DeliveryEvent{
			SmtpCode: 550, EnhancedCode: "5.1.1", EnhancedSource: 1, Text: "550 5.1.1 x (in reply to DATA command)", Phase: schema.Phase_RCPT, Origin: 1,
		}},
		{"greeting", dest, "4.0.0", "host h[192.0.2.7] refused to talk to me: 421 busy", &schema.DeliveryEvent{
			SmtpCode: 421, EnhancedCode: "4.0.0", EnhancedSource: 2, Text: "421 busy", Phase: schema.Phase_BANNER, Origin: 1,
		}},
		{"required TLS refused", dest, "4.7.0", "TLS is required, but host h[192.0.2.7] refused to start TLS: 454 4.7.0 no", &schema.DeliveryEvent{
			SmtpCode: 454, EnhancedCode: "4.7.0", EnhancedSource: 1, Text: "454 4.7.0 no", Phase: schema.Phase_TLS, Origin: 1,
		}},
		{"required TLS not offered", dest, "4.7.4", "TLS is required, but was not offered by host h[192.0.2.7]", own(schema.Phase_TLS, "4.7.4")},
		{"handshake", dest, "4.7.5", "Cannot start TLS: handshake failure", own(schema.Phase_TLS, "4.7.5")},
		{"certificate", dest, "4.7.5", "Server certificate not trusted", own(schema.Phase_TLS, "4.7.5")},
		{"SASL, remote", dest, "4.7.8", "SASL authentication failed; server h[192.0.2.7] said: 535 5.7.8 bad", &schema.DeliveryEvent{
			SmtpCode: 535, EnhancedCode: "5.7.8", EnhancedSource: 1, Text: "535 5.7.8 bad", Phase: schema.Phase_AUTH, Origin: 1,
		}},
		{"timeout, greeting", dest, "4.4.2", "conversation with h[192.0.2.7] timed out while receiving the initial server greeting", own(schema.Phase_BANNER, "4.4.2")},
		{"timeout, EHLO", dest, "4.4.2", "conversation with h[192.0.2.7] timed out while performing the EHLO handshake", own(schema.Phase_EHLO, "4.4.2")},
		{"timeout, RCPT", dest, "4.4.2", "conversation with h[192.0.2.7] timed out while sending RCPT TO", own(schema.Phase_RCPT, "4.4.2")},
		{"lost, MAIL", dest, "4.4.2", "lost connection with h[192.0.2.7] while sending MAIL FROM", own(schema.Phase_MAIL, "4.4.2")},
		{"lost, DATA", dest, "4.4.2", "lost connection with h[192.0.2.7] while sending DATA command", own(schema.Phase_DATA, "4.4.2")},
		{"lost, body", dest, "4.4.2", "lost connection with h[192.0.2.7] while sending message body", own(schema.Phase_DATA, "4.4.2")},
		{"lost, final dot", dest, "4.4.2", "lost connection with h[192.0.2.7] while sending end of data -- message may be sent more than once", own(schema.Phase_EOM, "4.4.2")},
		{"connect", "none", "4.4.1", "connect to h[192.0.2.7]:25: Connection refused", own(schema.Phase_CONNECT, "4.4.1")},
		{"DNS", "none", "5.4.4", "Host or domain name not found. Name service error for name=example.net type=A: Host not found", ownNone(schema.Phase_DNS, "5.4.4")},
		{"null MX", "none", "5.1.10", "Domain example.net does not accept mail (nullMX)", ownNone(schema.Phase_DNS, "5.1.10")},
		{"loop", "none", "5.4.6", "mail for example.net loops back to myself", ownNone(schema.Phase_DNS, "5.4.6")},
		{"size", dest, "5.3.4", "message size 9 exceeds size limit 1 of server h[192.0.2.7]", own(schema.Phase_MAIL, "5.3.4")},
		{"a reply that does not belong there", dest, "5.5.0", "Protocol error: host h[192.0.2.7] said: 251 2.1.5 will forward (in reply to DATA command)", &schema.DeliveryEvent{
			SmtpCode: 251, EnhancedCode: "2.1.5", EnhancedSource: 1, Text: "251 2.1.5 will forward", Phase: schema.Phase_DATA, Origin: 1,
		}},
		{"own name in EHLO", dest, "5.4.6", "mail for example.net loops back to myself", own(schema.Phase_EHLO, "5.4.6")},
		{"CNAME loop", "none", "5.4.4", "Name server loop for example.net", ownNone(schema.Phase_DNS, "5.4.4")},
		{"no usable MX", "none", "5.4.4", "no MX host for example.net has a valid address record", ownNone(schema.Phase_DNS, "5.4.4")},
		{"relay is the domain itself", "none", "5.4.4", "Host or domain name not found. Name service error for name=example.net type=AAAA: Host not found", ownNone(schema.Phase_DNS, "5.4.4")},
		{"DANE, lookup", "none", "4.7.5", "TLSA lookup error for mx.example.net:25", ownNone(schema.Phase_TLS, "4.7.5")},
		{"DANE, no records", "none", "4.7.5", "no TLSA records found", ownNone(schema.Phase_TLS, "4.7.5")},
		{"certificate", dest, "4.7.5", "Server certificate not verified", own(schema.Phase_TLS, "4.7.5")},
		{"MTA-STS", dest, "4.7.5", "MX name 'mx.example.net' does not match STS MX pattern for 'example.net'", own(schema.Phase_TLS, "4.7.5")},
		{"REQUIRETLS refused", dest, "5.7.30", "Sender requested REQUIRETLS, but host h[192.0.2.7] refused to start TLS: 454 4.7.0 no", &schema.DeliveryEvent{
			SmtpCode: 454, EnhancedCode: "4.7.0", EnhancedSource: 1, Text: "454 4.7.0 no", Phase: schema.Phase_TLS, Origin: 1,
		}},
		{"REQUIRETLS not offered", "none", "5.7.30", "Sender requested REQUIRETLS, but no server was found that supports REQUIRETLS. The last attempted server was h[192.0.2.7]:25", own(schema.Phase_TLS, "5.7.30")},
		{"SMTPUTF8, no server", "none", "5.6.7", "message requires SMTPUTF8, but no server was found that supports SMTPUTF8. The last attempted server was h[192.0.2.7]:25", own(schema.Phase_EHLO, "5.6.7")},
		{"AUTH, no mechanism", dest, "4.7.0", "SASL authentication failed: server h[192.0.2.7] offered no compatible authentication mechanisms for this type of connection security", own(schema.Phase_AUTH, "4.7.0")},
		{"AUTH refused", dest, "4.7.8", "SASL authentication failed; server h[192.0.2.7] said: 535 5.7.8 bad", &schema.DeliveryEvent{
			SmtpCode: 535, EnhancedCode: "5.7.8", EnhancedSource: 1, Text: "535 5.7.8 bad", Phase: schema.Phase_AUTH, Origin: 1,
		}},
		{"SMTPUTF8", dest, "5.6.7", "SMTPUTF8 is required, but was not offered by host h[192.0.2.7]", own(schema.Phase_EHLO, "5.6.7")},
		{"no transport", "none", "4.3.0", "mail transport unavailable", ownNone(schema.Phase_QUEUE, "4.3.0")},
		{"local", "local", "5.1.1", `unknown user: "abuse"`, ownNone(schema.Phase_PHASE_UNSPECIFIED, "5.1.1")},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, "smtp[1]: 4jWlpz2sbgz13: to=<u@Example.NET>, relay="+c.relay+", delay=1, delays=0/0/1/0, dsn="+c.dsn+", status=deferred ("+c.text+")")
			want := c.want
			if want.Text == "" {
				want.Text = c.text
			}
			for _, p := range []struct{ what, got, want any }{
				{"code", got.SmtpCode, want.SmtpCode},
				{"enhanced code", got.EnhancedCode, want.EnhancedCode},
				{"enhanced source", got.EnhancedSource, want.EnhancedSource},
				{"text", got.Text, want.Text},
				{"phase", got.Phase, want.Phase},
				{"origin", got.Origin, want.Origin},
				{"domain", got.Domain, "example.net"},
				{"outcome", got.Outcome, schema.Outcome_DEFERRED},
			} {
				if p.got != p.want {
					t.Errorf("%s: got %v, want %v", p.what, p.got, p.want)
				}
			}
			wantIP := "192.0.2.7"
			if want.RemoteIp == "-" {
				wantIP = ""
			}
			if got.RemoteIp != wantIP {
				t.Errorf("remote ip %q, want %q", got.RemoteIp, wantIP)
			}
		})
	}
}

// own is a finding of Postfix itself.
func own(phase schema.Phase, dsn string) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{EnhancedCode: dsn, EnhancedSource: schema.EnhancedSource_ENHANCED_MTA, Phase: phase, Origin: schema.Origin_LOCAL_MTA}
}

// ownNone is one that names no host.
func ownNone(phase schema.Phase, dsn string) *schema.DeliveryEvent {
	return &schema.DeliveryEvent{EnhancedCode: dsn, EnhancedSource: schema.EnhancedSource_ENHANCED_MTA, Phase: phase, Origin: schema.Origin_LOCAL_MTA, RemoteIp: "-"}
}

func TestEveryFieldOfADelivery(t *testing.T) {
	got := one(
		t,
		"smtpd[1]: 3A2DEA28CAE: client=unknown[192.0.2.2]",
		"cleanup[1]: 3A2DEA28CAE: message-id=<1@example.com>",
		"qmgr[1]: 3A2DEA28CAE: from=<>, size=2185, nrcpt=1 (queue active)",
		"submission/smtp[1]: 3A2DEA28CAE: to=<U@Example.net>, orig_to=<all@lists.example.com>, relay=mx.example.net[2001:db8::7]:2525, "+
			"conn_use=3, delay=12.25, delays=0.03/1/0.5/10, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as X)",
	)
	want := &schema.DeliveryEvent{
		OccurredAtUs: 1795249699000000, Mta: "postfix", MtaHost: "mta1", QueueId: "3A2DEA28CAE", MessageId: "<1@example.com>", HasSender: true,
		Recipient: "U@Example.net", OriginalRecipient: "all@lists.example.com", Domain: "example.net", Attempt: 1,
		Outcome: schema.Outcome_DELIVERED, Final: true, SmtpCode: 250, EnhancedCode: "2.0.0", EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE,
		Text: "250 2.0.0 Ok: queued as X", Phase: schema.Phase_EOM, Origin: schema.Origin_REMOTE_REPLY,
		RemoteHost: "mx.example.net", RemoteIp: "2001:db8::7", Relay: "mx.example.net", RelayPort: 2525, DelayMs: 12250, HasDelay: true,
		Delays: &schema.Delays{BeforeQmgrMs: 30, InQmgrMs: 1000, ConnectMs: 500, TransmitMs: 10000}, Instance: "postfix/submission", Raw: &schema.RawPosition{},
	}
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestDeliveryTraps(t *testing.T) {
	const tail = `relay=mx.example.net[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host mx.example.net[192.0.2.7] said: 550 5.1.1 no (in reply to RCPT TO command))`
	for _, c := range []struct {
		name, line string
		want       func(*schema.DeliveryEvent) bool
	}{
		{
			"remote text holds a delivery line", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 x>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 ok) to=<o@example.org> (in reply to RCPT TO command))`,
			func(e *schema.DeliveryEvent) bool {
				return e.Recipient == "u@example.net" && e.Outcome == schema.Outcome_BOUNCED && e.RemoteIp == "192.0.2.7" && e.SmtpCode == 550
			},
		},
		{
			"quoted recipient with everything", `smtp[1]: 3A2DEA28CAE: to=<"a, b>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (x\" c"@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool {
				return e.Recipient == `"a, b>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (x\" c"@example.net` && e.Outcome == schema.Outcome_BOUNCED && e.Domain == "example.net"
			},
		},
		{
			"quoted recipient with an escaped quote",
			`smtp[1]: 3A2DEA28CAE: to=<"a\"@y>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (x"@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool {
				return e.Domain == "example.net" && e.Outcome == schema.Outcome_BOUNCED && e.RemoteIp == "192.0.2.7"
			},
		},
		{
			"bare recipient with half a field",
			`smtp[1]: 3A2DEA28CAE: to=<a>, relay=x, b@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool { return e.Recipient == "a>, relay=x, b@example.net" },
		},
		{
			"bare recipient with blanks", `smtp[1]: 3A2DEA28CAE: to=<a b, c@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool { return e.Recipient == "a b, c@example.net" },
		},
		{
			"bare recipient with a bracket", `smtp[1]: 3A2DEA28CAE: to=<a>, b@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool { return e.Recipient == "a>, b@example.net" },
		},
		{
			"bare recipient with a quote", `smtp[1]: 3A2DEA28CAE: to=<a"b@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool { return e.Recipient == `a"b@example.net` },
		},
		{
			"quoted original recipient", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, orig_to=<"x>, relay=none"@example.com>, ` + tail,
			func(e *schema.DeliveryEvent) bool {
				return e.OriginalRecipient == `"x>, relay=none"@example.com` && e.Relay == "mx.example.net"
			},
		},
		{
			"local recipient without domain", `local[1]: 3A2DEA28CAE: to=<root>, relay=local, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (delivered to mailbox)`,
			func(e *schema.DeliveryEvent) bool {
				return e.Recipient == "root" && e.Domain == "" && e.Relay == "local" && e.Origin == schema.Origin_LOCAL_MTA && e.RemoteHost == "" && e.SmtpCode == 0
			},
		},
		{
			"LMTP over TCP", `lmtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[127.0.0.1]:24, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 2.0.0 <u@example.net> Saved)`,
			func(e *schema.DeliveryEvent) bool {
				return e.Phase == schema.Phase_EOM && e.SmtpCode == 250 && e.RelayPort == 24
			},
		},
		{
			"LMTP over a socket", `lmtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[private/dovecot-lmtp], delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 2.0.0 <u@example.net> Saved)`,
			func(e *schema.DeliveryEvent) bool {
				return e.RemoteHost == "h" && e.RemoteIp == "" && e.Origin == schema.Origin_REMOTE_REPLY && e.SmtpCode == 250
			},
		},
		{
			"pipe", `pipe[1]: 3A2DEA28CAE: to=<u@example.net>, relay=spamfilter, delay=1, delays=0/0/1/0, dsn=4.3.0, status=deferred (temporary failure. Command output: x)`,
			func(e *schema.DeliveryEvent) bool {
				return e.Relay == "spamfilter" && e.Origin == schema.Origin_LOCAL_MTA && !e.Final && e.RemoteHost == ""
			},
		},
		{
			"discard", `discard[1]: 3A2DEA28CAE: to=<u@example.net>, relay=none, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (example.net)`,
			func(e *schema.DeliveryEvent) bool { return e.Outcome == schema.Outcome_DELIVERED && e.Relay == "none" },
		},
		{
			"soft bounce", strings.Replace(`smtp[1]: 3A2DEA28CAE: to=<u@example.net>, `+tail, "status=bounced", "status=SOFTBOUNCE", 1),
			func(e *schema.DeliveryEvent) bool { return e.Outcome == schema.Outcome_DEFERRED && !e.Final },
		},
		{
			"suspended", `error[1]: 3A2DEA28CAE: to=<u@example.net>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, status=deferred (delivery temporarily suspended: connect to mx.example.net[192.0.2.7]:25: Connection refused)`,
			func(e *schema.DeliveryEvent) bool {
				return e.Outcome == schema.Outcome_SUSPENDED && e.Phase == schema.Phase_QUEUE && e.RemoteHost == "mx.example.net" && e.RemoteIp == "192.0.2.7" && e.Attempt == 0
			},
		},
		{
			"cut within the reply", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 no (see`,
			func(e *schema.DeliveryEvent) bool {
				return e.Text == "550 5.1.1 no (see" && e.Phase == schema.Phase_PHASE_UNSPECIFIED && e.SmtpCode == 550
			},
		},
		{
			"cut right behind a parenthesis", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 no (S3140)`,
			func(e *schema.DeliveryEvent) bool { return e.Text == "550 5.1.1 no (S3140)" },
		},
		{
			"cut right behind the status", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced`,
			func(e *schema.DeliveryEvent) bool { return e.Text == "" && e.Outcome == schema.Outcome_BOUNCED },
		},
		{
			"fields in another order", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, dsn=5.1.1, delay=1, delays=0/0/1/0.5, status=bounced (x)`,
			func(e *schema.DeliveryEvent) bool {
				return e.DelayMs == 1000 && e.Delays.TransmitMs == 500 && e.EnhancedCode == "5.1.1"
			},
		},
		{
			"Postfix 3.11", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, conn_use=2, delay=1, delays=0.1/0/1/0, tls=may:none, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 no (in reply to RCPT TO command))`,
			func(e *schema.DeliveryEvent) bool {
				return e.SmtpCode == 550 && e.Delays.BeforeQmgrMs == 100 && e.EnhancedCode == "5.1.1" && e.Phase == schema.Phase_RCPT
			},
		},
		{
			"a field of a version to come", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, new_field=x:1?, delays=0/0/1/0.5, dsn=5.1.1, status=bounced (x)`,
			func(e *schema.DeliveryEvent) bool {
				return e.DelayMs == 1000 && e.Delays.TransmitMs == 500 && e.EnhancedCode == "5.1.1" && e.Outcome == schema.Outcome_BOUNCED
			},
		},
		{
			"bare recipient with a field of its own", `smtp[1]: 3A2DEA28CAE: to=<a>, relay=x, new_field=b@example.net>, ` + tail,
			func(e *schema.DeliveryEvent) bool { return e.Recipient == "a>, relay=x, new_field=b@example.net" },
		},
		{
			"cut within a rune", "smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 \xc3\xbc\xe2\x82",
			func(e *schema.DeliveryEvent) bool { return e.Text == "550 5.1.1 \u00fc" },
		},
		{
			"Postfix before 2.3", `smtp[1]: 3A2DEA28CAE: to=<u@example.net>, relay=h[192.0.2.7], delay=1, status=bounced (host h[192.0.2.7] said: 550 no (in reply to RCPT TO command))`,
			func(e *schema.DeliveryEvent) bool {
				return e.EnhancedSource == schema.EnhancedSource_ENHANCED_NONE && e.Delays == nil && e.RemoteIp == "192.0.2.7" && e.RelayPort == 0
			},
		},
		{
			"not UTF-8", "smtp[1]: 3A2DEA28CAE: to=<\xffu@example.net>, relay=h[192.0.2.7]:25, delay=1, delays=0/0/1/0, dsn=5.1.1, status=bounced (host h[192.0.2.7] said: 550 5.1.1 \xe9t\xe9 \x00 (in reply to RCPT TO command))",
			func(e *schema.DeliveryEvent) bool {
				_, err := proto.Marshal(e)
				return err == nil && e.Recipient == "\uFFFDu@example.net" && e.Text == "550 5.1.1 \uFFFDt\uFFFD \x00"
			},
		},
		{
			"carriage return", "smtp[1]: 3A2DEA28CAE: to=<u@example.net>, " + tail + "\r",
			func(e *schema.DeliveryEvent) bool { return e.Phase == schema.Phase_RCPT && e.Text == "550 5.1.1 no" },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := one(t, c.line)
			if !c.want(got) {
				t.Errorf("got %v", got)
			}
			if !got.Orphan || got.Attempt != 0 {
				t.Errorf("orphan %t, attempt %d of an entry never seen", got.Orphan, got.Attempt)
			}
			if (got.Outcome == schema.Outcome_DELIVERED) != (got.Raw.Line == "") {
				t.Errorf("raw line %q of a %s", got.Raw.Line, got.Outcome.Name())
			}
		})
	}
}

// sameAsExact compares what was read of a delivery line with what the exact way reads. The exact way prefers a recipient with
// an "@", which a remote's text could hold; so a recipient without is compared by its fields.
func sameAsExact(t *testing.T, line []byte, m message) {
	t.Helper()
	exact := message{queueID: m.queueID}
	if bytes.IndexByte(m.recipient.of(line), '@') >= 0 {
		scanAddresses(line, int(m.recipient.from), &exact)
	} else {
		exact.recipient, exact.original = m.recipient, m.original
		exact.shape = scanFields(line, int(max(m.recipient.to, m.original.to))+len(">, "), &exact)
	}
	if m != exact {
		t.Fatalf("quick way:\n%+v\nexact way:\n%+v\nof %q", m, exact, line)
	}
}

// The quick way and the exact way read the same from every delivery line of the samples.
func TestQuickAndExactWayAgreeOnSamples(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "postfix*", "*.log.gz"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	names = append(names, filepath.Join(sampleFolder(t, "postfix-bulk"), "mail.log.gz"))
	in := Input{Reference: sampleReference}
	var st stamps
	var m message
	for _, name := range names {
		deliveries := 0
		for _, line := range lines(readGzip(t, name)) {
			var f frame
			if st.readFrame(line, &in, &f) != ReasonNone {
				continue
			}
			if scanMessage(line, int(f.msg.from), &m); m.shape == shapeDelivery {
				deliveries++
				sameAsExact(t, line, m)
			}
		}
		if deliveries == 0 {
			t.Errorf("%s: no delivery line", name)
		}
	}
}
