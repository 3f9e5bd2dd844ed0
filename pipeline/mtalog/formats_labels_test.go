package mtalog

import (
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

func siteOf(t testing.TB, text string) *site.Site {
	t.Helper()
	s, err := site.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// everyFact is a site whose labels ask for all that these logs say.
func everyFact(t testing.TB) *site.Site {
	t.Helper()
	return siteOf(t, `
revision: 1
labels:
  tenant:
    - {from: user}
    - {from: client, match: '\b192\.0\.2\.(\d+)', value: 'client $1'}
    - {from: sender_domain}
  stream:
    - {from: transport}
    - {from: sender, match: '^(\w+)'}
  campaign:
    - {from: subject, match: '^\[(\w+)\]'}
source_ips:
  - {host: mta1, mta: sendmail, transport: esmtp, ip: 198.51.100.9}
translated:
  10.0.0.7: 198.51.100.7
`)
}

// Whose a message is by what its log says, and from where it was sent.
func TestOtherFormatsGiveFacts(t *testing.T) {
	const (
		exim     = "2026-11-21 08:43:06 1rWFJk-000000001Ab-2cDe "
		tail     = `R=r T=remote_smtp H=h [192.0.2.9] I=[10.0.0.7]:4711 C="250 ok" QT=3s DT=1s`
		sm       = "Nov 21 08:41:36 mta1 sm-mta[196]: "
		delivery = ", delay=00:00:03, xdelay=00:00:01, mailer=esmtp, pri=30, relay=h. [192.0.2.9], dsn=2.0.0, stat=Sent (ok)"
		smtpd    = "Nov 21 08:38:00 mta1 smtpd[64]: "
		haraka   = "2026-11-21T08:42:14.934Z [NOTICE] [B629B306-0EBF-4A47-ADC1-E1D2B0F27A29"
	)
	for _, c := range []struct {
		name  string
		lines []string
		want  string // recipient tenant/stream/campaign instance source
	}{
		{"exim: the login, the transport, the subject, the interface", []string{
			exim + `<= news@a.example H=(helo) [192.0.2.8]:5 I=[192.0.2.1]:587 P=esmtpsa X=TLS1.3:y:256 CV=no DN="C=x, O=S=9 id=no" A=plain:tenant7:x@y L.- K S=9 M8S=0 DKIM=a.example RT=0.1s Q=q id=1@x T="[spring] \"sale\" 5\303\242" from <news@a.example> for a@x b@x`,
			exim + `=> a@x ` + tail,
		}, "a@x tenant7/remote_smtp/spring remote_smtp 198.51.100.7 <1@x>"},
		{"exim: identd's word is no login, the client tells", []string{
			exim + `<= news@a.example H=h.example (helo) [192.0.2.8] U=ident P=smtp S=9 id*=1@x`,
			exim + `=> a@x ` + tail,
		}, "a@x client 8/remote_smtp/ remote_smtp 198.51.100.7 <1@x>"},
		{"exim: a local user", []string{
			exim + `<= news@a.example U=shop P=local S=9`,
			exim + `** a@x R=r T=remote_smtp H=h [192.0.2.9]: SMTP error from remote mail server after RCPT TO:<a@x>: 550 no`,
		}, "a@x shop/remote_smtp/ remote_smtp  "},
		{"exim: the transport of what expired", []string{
			exim + `<= news@a.example H=h [192.0.2.8] P=smtp S=9`,
			exim + `== a@x R=r T=bulk_smtp defer (-44) H=h [192.0.2.9]: SMTP error from remote mail server after RCPT TO:<a@x>: 450 no`,
			exim + `** a@x: retry timeout exceeded`,
		}, "a@x client 8/bulk_smtp/   "},
		{"sendmail: a login of the same process", []string{
			sm + "AUTH=server, relay=h.example [192.0.2.8], authid=tenant7@a.example, mech=PLAIN, bits=0",
			sm + "6AL8fZ7l000196: from=<news@a.example>, size=9, class=0, nrcpts=1, msgid=<1@x>, proto=ESMTPSA, daemon=MSA, relay=h.example [192.0.2.8]",
			sm + "6AL8fZ7l000196: to=<a@x>" + delivery,
		}, "a@x tenant7@a.example/esmtp/ esmtp 198.51.100.9 <1@x>"},
		{"sendmail: a login of another client does not count", []string{
			sm + "AUTH=server, relay=other.example [192.0.2.7], authid=tenant7, mech=PLAIN, bits=0",
			sm + "6AL8fZ7l000196: from=<news@a.example>, size=9, class=0, nrcpts=1, msgid=<1@x>, proto=ESMTPA, daemon=MSA, relay=h.example [192.0.2.8]",
			sm + "6AL8fZ7l000196: SMTP outgoing connect on [10.0.0.7]",
			sm + "6AL8fZ7l000196: to=<a@x>" + delivery,
		}, "a@x client 8/esmtp/ esmtp 198.51.100.7 <1@x>"},
		{"opensmtpd: a login of the session", []string{
			smtpd + "49b2bc64c67cbbf5 smtp connected address=192.0.2.8 host=h.example",
			smtpd + "49b2bc64c67cbbf5 smtp authentication user=tenant7 result=ok",
			smtpd + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3a from=<news@a.example> to=<a@x>",
			smtpd + "49b2bc64c67cbbf5 smtp disconnected reason=quit",
			smtpd + `49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<news@a.example> to=<a@x> rcpt=<-> source="10.0.0.7" relay="192.0.2.9 (h)" delay=3s result="Ok" stat="250 ok"`,
		}, "a@x tenant7/smtpd/ smtpd 198.51.100.7 "},
		{"opensmtpd: a login that failed", []string{
			smtpd + "49b2bc64c67cbbf5 smtp connected address=192.0.2.8 host=h.example",
			smtpd + "49b2bc64c67cbbf5 smtp authentication user=tenant7 result=permfail",
			smtpd + "49b2bc64c67cbbf5 smtp envelope evpid=74948fed87e71c3a from=<news@a.example> to=<a@x>",
			smtpd + `49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<news@a.example> to=<a@x> rcpt=<-> source="[2001:db8::1]" relay="192.0.2.9 (h)" delay=3s result="Ok" stat="250 ok"`,
		}, "a@x client 8/smtpd/ smtpd 2001:db8::1 "},
		{"haraka: the connection's client", []string{
			haraka + `] [core] connect ip=192.0.2.8 port=5 local_ip=192.0.2.1 local_port=25`,
			haraka + `.1] [core] sender <news@a.example> code=OK msg=""`,
			haraka + `.1] [core] recipient <a@x> code=OK msg="" sender=news@a.example`,
			haraka + `.1] [core] message mid=<1@x> size=9 rcpts=1/0/0 delay=0 code=CONT msg=""`,
			haraka + `] [core] disconnect ip=192.0.2.8 rdns=h.example helo=h`,
			haraka + `.1.1] [outbound]  delivered file=f domain=x host=h ip=192.0.2.9 port=25 mode=SMTP tls=N auth=N response=Ok delay=3 fails=0 rcpts=1/0/0`,
		}, "a@x client 8/news/   <1@x>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewCorrelator(DefaultConfig())
			m.SetSite(everyFact(t))
			var got string
			for _, line := range c.lines {
				r := m.Line(Input{Line: []byte(line), Host: "mta1", Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
					got = strings.Join([]string{ev.Recipient, strings.Join([]string{ev.Tenant, ev.Stream, ev.Campaign}, "/"), ev.Instance, ev.SourceIp, ev.MessageId}, " ")
				})
				if r.Kind == KindUnparsed {
					t.Errorf("%s: %s", r.Reason, line)
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// The delays that these logs give: since the message came, and of the attempt.
func TestOtherFormatsGiveDelays(t *testing.T) {
	for _, c := range []struct {
		line                    string
		delay, waiting, attempt int64
	}{
		{`2026-11-21 08:43:06 1xUggb-00002V-1J => a@x R=r T=t H=h [192.0.2.9] C="250 ok" QT=1m2s DT=1.5s`, 62_000, 60_500, 1_500},
		{`2026-11-21 08:43:06 1xUggb-00002V-1J == a@x R=r T=t defer (110): Connection timed out H=h [192.0.2.9] DT=4.018s: SMTP timeout after initial connection`, 0, 0, 4_018},
		{`2026-11-21 08:43:06 1xUggb-00002V-1J ** a@x R=r T=t H=h [192.0.2.9]: SMTP error from remote mail server after RCPT TO:<a@x>: 550 no DT=0.2s`, 0, 0, 200},
		{"Nov 21 08:41:36 mta1 sm-mta[196]: 6AL8fZ7l000188: to=<a@x>, delay=1+00:00:03, xdelay=00:00:02, mailer=esmtp, pri=30, relay=h. [192.0.2.9], dsn=5.1.1, reply=550 no, stat=User unknown", 86_403_000, 86_401_000, 2_000},
		{`Nov 21 08:38:00 mta1 smtpd[64]: 49b2bc67c2a94553 mta delivery evpid=74948fed87e71c3a from=<s@x> to=<a@x> rcpt=<-> source="-" relay="192.0.2.9 (h)" delay=1h2m3s result="Ok" stat="250 ok"`, 3_723_000, 0, 0},
	} {
		m := NewCorrelator(DefaultConfig())
		n := 0
		m.Line(Input{Line: []byte(c.line), Host: "mta1", Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
			n++
			if ev.DelayMs != c.delay || ev.HasDelay != (c.delay > 0) || ev.GetDelays().GetInQmgrMs() != c.waiting || ev.GetDelays().GetTransmitMs() != c.attempt {
				t.Errorf("delay %d, %v, of %s", ev.DelayMs, ev.Delays, c.line)
			}
		})
		if n != 1 {
			t.Errorf("%d events of %s", n, c.line)
		}
	}
}

// The labels of real logs: who had logged in, and of whom the others were.
func TestFreshLogsGiveLabels(t *testing.T) {
	for _, s := range freshSamples() {
		if s.login == "" {
			continue
		}
		t.Run(s.folder, func(t *testing.T) {
			for _, file := range s.files {
				c := NewCorrelator(DefaultConfig())
				c.SetSite(everyFact(t))
				tenants := map[string][]string{}
				for _, line := range lines(readGzip(t, s.path(file))) {
					c.Line(Input{Line: line, Host: "mta1", Reference: s.reference()}, func(ev *schema.DeliveryEvent) {
						if ev.Final && strings.HasPrefix(ev.Recipient, "auth") && !slices.Contains(tenants[ev.Recipient], ev.Tenant) {
							tenants[ev.Recipient] = append(tenants[ev.Recipient], ev.Tenant)
						}
					})
				}
				if got := strings.Join(append(tenants["auth1@fine.example.net"], tenants["auth2@fine.example.net"]...), " "); got != s.login {
					t.Errorf("%s: got %q, want %q", file, got, s.login)
				}
			}
		})
	}
}
