package mtalog

import (
	"path/filepath"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// Lines that carry nothing, in the forms of Postfix 2.3 to 3.11 that no sample here holds.
func TestFormsOfPostfixVersions(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(`
smtp[1]: server certificate verification failed for mx.example.net[192.0.2.7]:25: num=65:no matching DANE TLSA records
smtp[1]: certificate verification failed for mx.example.net[192.0.2.7]:25: untrusted issuer /CN=x
smtp[1]: Verified TLS connection established to mx.example.net[192.0.2.7]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
smtp[1]: Trusted TLS connection reused to mx.example.net[192.0.2.7]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)
smtp[1]: TLSRPT: status=failure, domain=example.net, receiving_mx=mx.example.net[192.0.2.7], failure_type=certificate-not-trusted
smtp[1]: 4jWlpz2sbgz13: TLSRPT: status=success, domain=example.net, receiving_mx=mx.example.net[192.0.2.7]
smtp[1]: 4jWlpz2sbgz13: Sender requested REQUIRETLS, but REQUIRETLS support was not offered by host mx.example.net[192.0.2.7]
smtp[1]: 4jWlpz2sbgz13: Name server loop for example.net
smtp[1]: 4jWlpz2sbgz13: replacing server reply "250 x" with "550 y"
smtp[1]: > mx.example.net[192.0.2.7]:25: MAIL FROM:<s@example.com>
smtp[1]: smtp_parse_destination: example.net 25
smtp[1]: send attr request = lookup
smtp[1]: dns_query: example.net (MX): OK
tlsproxy[1]: TLS handshake failed for service=smtpd peer=[192.0.2.1]:4711
postscreen[1]: ALLOWLIST VETO [192.0.2.1]:4711
postscreen[1]: ALLOWLISTED [192.0.2.1]:4711
postscreen[1]: entering STRESS mode with 90 connections
postscreen[1]: BARE NEWLINE from [192.0.2.1]:4711 after EHLO
smtpd[1]: disabling input from unknown[192.0.2.1]
smtpd[1]: NOQUEUE: abort: TLS from unknown[192.0.2.1]: accept error
cleanup[1]: 4jWlpz2sbgz13: bcc: header Subject: x from local; from=<s@example.com>
cleanup[1]: 4jWlpz2sbgz13: milter-reject: END-OF-MESSAGE from unknown[192.0.2.1]: 5.7.1 no; from=<s@x> to=<u@example.net> proto=ESMTP helo=<x>
cleanup[1]: 4jWlpz2sbgz13: reject: mime-error nested too deeply: x from local; from=<s@x> to=<u@example.net>
cleanup[1]: 4jWlpz2sbgz13: resent-message-id=<1@x>
bounce[1]: 4jWlpz2sbgz13: not sending trace/success notification for double-bounce message
bounce[1]: 4jWlpz2sbgz13: status=deferred (bounce failed)
qmgr[1]: 4jWlpz2sbgz13: recipient limit 20000
postsuper[1]: 4jWlpz2sbgz13: expired
postsuper[1]: Force-expired: 1 message
postsuper[1]: Released from hold: 2 messages
master[1]: master exit time has arrived
nbdb_reindexd[1]: successfully executed 'postmap lmdb:/etc/postfix/x' as uid 0
postfix[1]: Postfix is using backwards-compatible default settings
postfix[1]: See http://www.postfix.org/COMPATIBILITY_README.html for details
postfix[1]: To disable backwards compatibility use "postconf compatibility_level=3.11" and "postfix reload"
postfix-script[1]: the Postfix mail system is running: PID: 800
postfix-script[1]: redirecting the Postfix mail system startup to systemd postfix`), "\n") {
		c := NewCorrelator(DefaultConfig())
		for _, tag := range []string{head, strings.TrimSuffix(head, "/")} { // rsyslog's RFC 5424 output drops the daemon
			text := line
			if tag != head {
				_, text, _ = strings.Cut(line, "[1]: ")
				text = "[1]: " + text
			}
			r := c.Line(Input{Line: []byte(tag + text)}, func(ev *schema.DeliveryEvent) { t.Errorf("event from %q", line) })
			if r.Kind != KindNoise {
				t.Errorf("%s: %s %s", tag+text, r.Kind, r.Reason)
			}
		}
	}
}

// Where syslog_name is a word of the site's own and the daemon is not logged, the words tell; and no other program's do.
func TestPostfixUnderAnotherName(t *testing.T) {
	got := correlate(t, NewCorrelator(DefaultConfig()), readGzip(t, filepath.Join("testdata", "postfix-3.11", "mail.5424.log.gz")))
	renamed := []byte(strings.NewReplacer(" postfix-mx4 ", " outbound ", " postfix-mx4-", " outbound-").Replace(
		string(readGzip(t, filepath.Join("testdata", "postfix-3.11", "mail.5424.log.gz")))))
	c := NewCorrelator(DefaultConfig())
	under := correlate(t, c, renamed)
	if len(under) != len(got) || c.Stats().Orphans > 0 || len(got) < 900 {
		t.Fatalf("%d events under another name, %d orphans; want %d", len(under), c.Stats().Orphans, len(got))
	}
	for i := range got {
		a, b := got[i], under[i]
		if a.Recipient != b.Recipient || a.Outcome != b.Outcome || a.Text != b.Text || a.Sender != b.Sender || a.Attempt != b.Attempt {
			t.Fatalf("event %d: %v under another name, %v", i, b, a)
		}
	}
	for _, line := range []string{
		"opendkim[1]: 4jWlpz2sbgz13: DKIM-Signature field added (s=x, d=example.com)",
		"opendmarc[1]: 4jWlpz2sbgz13: example.com pass",
		"postgrey[1]: 4jWlpz2sbgz13: action=pass, reason=client AWL",
		"milter[1]: 4jWlpz2sbgz13: removed",
		"app[1]: to=<a@x>, relay=none, delay=0, status=sent (x)",
		"app[1]: ABCDEF to=<a@x>, relay=none, delay=0, status=sent (x)",
	} {
		c := NewCorrelator(DefaultConfig())
		r := c.Line(Input{Line: []byte("2026-11-21T08:28:19Z mta1 " + line)}, func(*schema.DeliveryEvent) { t.Errorf("event from %q", line) })
		if r.Kind != KindNoise || r.Reason != ReasonOtherProgram {
			t.Errorf("%s: %s %s", line, r.Kind, r.Reason)
		}
	}
}

// A header that header_checks(5) was told to log is read whatever its value holds.
func TestLoggedHeaders(t *testing.T) {
	const client = " from client.example.com[192.0.2.2]; from=<s@example.com> to=<u@example.net> proto=ESMTP helo=<client.example.com>"
	for _, c := range []struct{ line, name, value string }{
		{"info: header X-Tenant: acme" + client, "X-Tenant", "acme"},
		{"info: header X-Tenant: acme" + client + ": text of the table", "X-Tenant", "acme"},
		{"warning: header Subject: hello: world; from=<x" + client + ": said (so)", "Subject", "hello: world; from=<x"},
		{"info: header x-tenant:nospace" + client, "x-tenant", "nospace"},
		{"info: header X-Tenant:" + client, "X-Tenant", ""},
		{"info: header X-Tenant: acme from local; from=<s@example.com>", "X-Tenant", "acme"},
		{"info: header X-Tenant: evil from unknown[192.0.2.9]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>" + client, "X-Tenant", "evil from unknown[192.0.2.9]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>"},
		{"info: header X-Tenant: folded? value" + client, "X-Tenant", "folded? value"},
		{`info: header X-Tenant: acme from local; from=<"a from b; from=<c"@example.com> to=<u@example.net>`, "X-Tenant", "acme"},
		{`info: header X-Tenant: acme from local; from=<"a from b c[192.0.2.9]; from=<d"@example.com> to=<u@example.net>`, "X-Tenant", "acme"},
		{"info: header X-Campaign: " + strings.Repeat("c", 188) + client, "X-Campaign", strings.Repeat("c", 188)},
		{`info: header X-Campaign: ` + strings.Repeat("c", 188) + ` from local; from=<"x from h[1]; from=<y"@example.com>`, "X-Campaign", strings.Repeat("c", 188)},
	} {
		line := []byte("4jWlpz2sbgz13: " + c.line)
		var m message
		scanMessage(line, 0, &m)
		if m.shape != shapeHeader || string(m.header.of(line)) != c.name || string(m.value.of(line)) != c.value {
			t.Errorf("%q: shape %d, %q: %q", c.line, m.shape, m.header.of(line), m.value.of(line))
		}
	}
	for _, line := range []string{
		"info: header X-Tenant: acme", "info: header X-Tenant: acme from nobody; from=<s@x>", "info: header", "info: body x from local; from=<s@x>",
		"info: header X-Tenant: acme; from=<s@x>", "info: header : x from local; from=<s@x>",
	} {
		b := []byte("4jWlpz2sbgz13: " + line)
		var m message
		if scanMessage(b, 0, &m); m.shape == shapeHeader {
			t.Errorf("%q is taken for a header %q: %q", line, m.header.of(b), m.value.of(b))
		}
	}
}
