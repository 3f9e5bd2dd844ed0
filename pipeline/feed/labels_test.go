package feed

import (
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// one reads a body that holds one event.
func one(t *testing.T, p *Parser, format, body string) *schema.DeliveryEvent {
	t.Helper()
	var got *schema.DeliveryEvent
	res, err := p.Parse(format, []byte(body), Handler{Event: func(ev *schema.DeliveryEvent) { got = ev.CloneVT() }})
	if err != nil || res.Events != 1 || res.Faults != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	return got
}

// Every fact of every format reaches the rule that asks for it, and nothing else does.
func TestFactsGiveLabels(t *testing.T) {
	const (
		kumo  = `{"type":"Delivery","id":"k1","sender":"b+77@bounce.example","recipient":"a@dest.example","queue":"spring:acme@dest.example","site":"s1","egress_pool":"pool","egress_source":"ip-1","timestamp":1757003271,"nodeid":"n1","meta":{"tenant":"m","n":7,"authn_id":"user1","received_from":"203.0.113.5:1000"},"headers":{"X-Kind":"news","Subject":"Hello","X-Many":["x","y"]}}`
		spark = `[{"msys":{"message_event":{"type":"delivery","timestamp":"1757003271","event_id":"e1","rcpt_to":"a@dest.example","msg_from":"b+77@bounce.example","subject":"Hello","campaign_id":"spring","template_id":"tpl","ip_pool":"pool","subaccount_id":"101","transactional":"0","rcpt_meta":{"tenant":"m"},"rcpt_tags":["x","y"]}}}]`
		ses   = `{"eventType":"Delivery","mail":{"timestamp":"2025-09-04T16:27:50Z","messageId":"1","source":"b+77@bounce.example","sendingAccountId":"123456789012","destination":["a@dest.example"],"headers":[{"name":"X-Kind","value":"news"},{"name":"Subject","value":"Hello"}],"commonHeaders":{"subject":"Hello"},"tags":{"ses:configuration-set":["cs"],"tenant":["m"]}},"delivery":{"timestamp":"2025-09-04T16:27:50Z","recipients":["a@dest.example"]}}`
		grid  = `[{"email":"a@dest.example","timestamp":1757003271,"event":"delivered","sg_event_id":"g1","category":["x","y"],"pool":{"name":"pool","id":1},"tenant":"m","asm_group_id":10,"marketing_campaign_name":"spring"}]`
		grid2 = `[{"email":"a@dest.example","timestamp":1757003271,"event":"delivered","unique_args":{"tenant":"m"},"pool":"pool"}]`
		gun   = `{"event-data":{"event":"delivered","id":"u1","timestamp":1757003271,"recipient":"a@dest.example","recipient-domain":"dest.example","envelope":{"sender":"b+77@bounce.example"},"message":{"headers":{"subject":"Hello"}},"tags":["x","y"],"user-variables":{"tenant":"m"}}}`
		post  = `{"RecordType":"Bounce","ID":1,"Type":"HardBounce","TypeCode":1,"Email":"a@dest.example","BouncedAt":"2025-09-04T16:27:51Z","ServerID":23,"MessageStream":"outbound","Tag":"spring","Subject":"Hello","Metadata":{"tenant":"m"}}`
		pmta  = "type,timeLogged,orig,rcpt,vmta,jobId,queue,header_X-Kind,header_Subject\nd,1772352000,b+77@bounce.example,a@dest.example,pool,spring,q,news,Hello\n"
	)
	for _, c := range []struct{ format, body, rule, want string }{
		{KumoMTA, kumo, "{from: field, name: meta.tenant}", "m"},
		{KumoMTA, kumo, "{from: field, name: META.Tenant}", "m"},
		{KumoMTA, kumo, "{from: field, name: meta.n}", "7"},
		{KumoMTA, kumo, "{from: field, name: site}", "s1"},
		{KumoMTA, kumo, "{from: header, name: x-kind}", "news"},
		{KumoMTA, kumo, "{from: header, name: X-Many}", "x"},
		{KumoMTA, kumo, "{from: subject}", "Hello"},
		{KumoMTA, kumo, "{from: user}", "user1"},
		{KumoMTA, kumo, "{from: client}", "203.0.113.5:1000"},
		{KumoMTA, kumo, "{from: job}", "spring"},
		{KumoMTA, kumo, "{from: transport}", "ip-1"},
		{KumoMTA, kumo, "{from: host}", "n1"},
		{KumoMTA, kumo, "{from: sender, match: '\\+([0-9]+)@'}", "77"},
		{KumoMTA, kumo, "{from: sender_domain}", "bounce.example"},
		{KumoMTA, kumo, "{from: feed}", "in-1"},
		{KumoMTA, kumo, "{from: feed, mta: sendgrid}", "acme"},
		{KumoMTA, kumo, "{from: field, name: meta.absent}", "acme"},
		{SparkPost, spark, "{from: field, name: rcpt_meta.tenant}", "m"},
		{SparkPost, spark, "{from: field, name: meta.tenant}", "101"},
		{SparkPost, spark, "{from: field, name: template_id}", "tpl"},
		{SparkPost, spark, "{from: field, name: rcpt_tags, match: '^y$'}", "y"},
		{SparkPost, spark, "{from: subject}", "Hello"},
		{SparkPost, spark, "{from: job}", "spring"},
		{SparkPost, spark, "{from: transport}", "pool"},
		{SparkPost, spark, "{from: sender_domain}", "bounce.example"},
		{SparkPost, spark, "{from: field, name: absent}", "101"},
		{SES, ses, "{from: field, name: tags.tenant}", "m"},
		{SES, ses, "{from: field, name: 'tags.ses:configuration-set'}", "cs"},
		{SES, ses, "{from: field, name: mail.sendingAccountId}", "123456789012"},
		{SES, ses, "{from: header, name: X-Kind}", "news"},
		{SES, ses, "{from: subject}", "Hello"},
		{SES, ses, "{from: sender_domain}", "bounce.example"},
		{SendGrid, grid, "{from: field, name: unique_args.tenant}", "m"},
		{SendGrid, grid, "{from: field, name: custom_args.tenant}", "m"},
		{SendGrid, grid, "{from: field, name: tenant}", "m"},
		{SendGrid, grid, "{from: field, name: category}", "x"},
		{SendGrid, grid, "{from: field, name: asm_group_id}", "10"},
		{SendGrid, grid, "{from: transport}", "pool"},
		{SendGrid, grid, "{from: job}", "spring"},
		{SendGrid, grid2, "{from: field, name: unique_args.tenant}", "m"},
		{SendGrid, grid2, "{from: transport}", "pool"},
		{Mailgun, gun, "{from: field, name: user-variables.tenant}", "m"},
		{Mailgun, gun, "{from: field, name: tags}", "x"},
		{Mailgun, gun, "{from: field, name: recipient-domain}", "dest.example"},
		{Mailgun, gun, "{from: subject}", "Hello"},
		{Mailgun, gun, "{from: sender_domain}", "bounce.example"},
		{Postmark, post, "{from: field, name: Metadata.tenant}", "m"},
		{Postmark, post, "{from: field, name: MessageStream}", "outbound"},
		{Postmark, post, "{from: job}", "spring"},
		{Postmark, post, "{from: subject}", "Hello"},
		{Postmark, post, "{from: subject, match: Bye}", "23"},
		{PowerMTA, pmta, "{from: field, name: queue}", "q"},
		{PowerMTA, pmta, "{from: field, name: JobID}", "spring"},
		{PowerMTA, pmta, "{from: field, name: header_X-Kind}", "news"},
		{PowerMTA, pmta, "{from: header, name: X-Kind}", "news"},
		{PowerMTA, pmta, "{from: subject}", "Hello"},
		{PowerMTA, pmta, "{from: job}", "spring"},
		{PowerMTA, pmta, "{from: transport}", "pool"},
		{PowerMTA, pmta, "{from: sender_domain}", "bounce.example"},
	} {
		t.Run(c.format+"/"+c.rule, func(t *testing.T) {
			p := New()
			p.SetSite(mustSite(t, "revision: 1\nlabels:\n  tenant:\n    - "+c.rule+"\n"))
			p.SetFeed("in-1")
			ev := one(t, p, c.format, c.body)
			if ev.Tenant != c.want || ev.Feed != "in-1" {
				t.Errorf("tenant %q of feed %q", ev.Tenant, ev.Feed)
			}
		})
	}
}

// Rules win over what the format offers; what no rule gives is the format's.
func TestRulesWinOverTheFormat(t *testing.T) {
	body := `[{"msys":{"message_event":{"type":"delivery","timestamp":"1757003271","rcpt_to":"a@dest.example","campaign_id":"spring","subaccount_id":"101","transactional":"1"}}}]`
	p := New()
	if ev := one(t, p, SparkPost, body); ev.Tenant != "101" || ev.Stream != "transactional" || ev.Campaign != "spring" {
		t.Errorf("of itself: %q %q %q", ev.Tenant, ev.Stream, ev.Campaign)
	}
	p.SetSite(mustSite(t, "revision: 1\nlabels:\n  tenant:\n    - {from: field, name: subaccount_id, value: 'acme', match: '^101$'}\n  campaign:\n    - {from: job, value: 'c-$0', match: '.+'}\n"))
	if ev := one(t, p, SparkPost, body); ev.Tenant != "acme" || ev.Stream != "transactional" || ev.Campaign != "c-spring" {
		t.Errorf("with rules: %q %q %q", ev.Tenant, ev.Stream, ev.Campaign)
	}
	// The facts of one record are not those of the next.
	two := strings.Replace(body, "101", "202", 1)
	if ev := one(t, p, SparkPost, two); ev.Tenant != "202" {
		t.Errorf("the next record: %q", ev.Tenant)
	}
	p.SetSite(nil)
	if ev := one(t, p, SparkPost, body); ev.Tenant != "101" {
		t.Errorf("without site again: %q", ev.Tenant)
	}
}

// The source address is the record's, else the site's for host, format and transport; what the world sees replaces it. What
// was never sent, and engagement, has none.
func TestSourceAddress(t *testing.T) {
	s := mustSite(t, `
revision: 1
hosts: [{name: mta1.sender.example, aliases: [n1]}]
source_ips:
  - {host: mta1.sender.example, mta: kumomta, ip: 192.0.2.1}
  - {transport: pool, ip: 192.0.2.2}
translated: {10.0.0.1: 203.0.113.1}
`)
	for _, c := range []struct{ name, format, body, want string }{
		{"of the host", KumoMTA, `{"type":"Bounce","id":"1","nodeid":"n1","recipient":"a@dest.example","timestamp":1757003271}`, "192.0.2.1"},
		{"of the transport", KumoMTA, `{"type":"Bounce","id":"1","egress_source":"pool","recipient":"a@dest.example","timestamp":1757003271}`, "192.0.2.2"},
		{"its own, translated", KumoMTA, `{"type":"Bounce","id":"1","nodeid":"n1","source_address":{"address":"10.0.0.1:25"},"recipient":"a@dest.example","timestamp":1757003271}`, "203.0.113.1"},
		{"nobody knows", KumoMTA, `{"type":"Bounce","id":"1","recipient":"a@dest.example","timestamp":1757003271}`, ""},
		{"bounced", SendGrid, `[{"email":"a@dest.example","timestamp":1757003271,"event":"bounce","pool":"pool"}]`, "192.0.2.2"},
		{"never sent", SendGrid, `[{"email":"a@dest.example","timestamp":1757003271,"event":"dropped","pool":"pool"}]`, ""},
		{"opened", SendGrid, `[{"email":"a@dest.example","timestamp":1757003271,"event":"open","ip":"203.0.113.77","pool":"pool"}]`, ""},
		{"never sent", SparkPost, `{"msys":{"message_event":{"type":"policy_rejection","timestamp":1757003271,"rcpt_to":"a@dest.example","ip_pool":"pool"}}}`, ""},
		{"opened", SparkPost, `{"msys":{"track_event":{"type":"open","timestamp":1757003271,"rcpt_to":"a@dest.example","ip_pool":"pool","ip_address":"203.0.113.77"}}}`, ""},
	} {
		t.Run(c.format+"/"+c.name, func(t *testing.T) {
			p := New()
			p.SetSite(s)
			if ev := one(t, p, c.format, c.body); ev.SourceIp != c.want {
				t.Errorf("source %q, want %q", ev.SourceIp, c.want)
			}
		})
	}
}

// The shipper's word for the host counts more than a node's made-up id, and is all that there is for PowerMTA.
func TestHost(t *testing.T) {
	p := New()
	body := `{"type":"Bounce","id":"1","nodeid":"n1","recipient":"a@dest.example","timestamp":1757003271}`
	if ev := one(t, p, KumoMTA, body); ev.MtaHost != "n1" {
		t.Errorf("host %q", ev.MtaHost)
	}
	p.SetHost("mta1")
	if ev := one(t, p, KumoMTA, body); ev.MtaHost != "mta1" {
		t.Errorf("host %q", ev.MtaHost)
	}
	if ev := one(t, p, PowerMTA, "type,timeLogged,rcpt\nd,1772352000,a@dest.example\n"); ev.MtaHost != "mta1" {
		t.Errorf("host %q", ev.MtaHost)
	}
}

// A file that goes on after the site has changed is judged by the new one, from the header that was read before.
func TestSiteChangesWithinAFile(t *testing.T) {
	p := New()
	c := NewCSV(p)
	var tenants []string
	h := Handler{Event: func(ev *schema.DeliveryEvent) { tenants = append(tenants, ev.Tenant) }}
	rows := func(s string) {
		t.Helper()
		if _, err := c.Parse([]byte(s), h); err != nil {
			t.Fatal(err)
		}
	}
	rows("type,timeLogged,rcpt,header_X-Tenant,x\nd,1772352000,a@dest.example,t1,x1\n")
	p.SetSite(mustSite(t, testSite))
	rows("d,1772352000,a@dest.example,t2,x2\n")
	p.SetSite(mustSite(t, "revision: 2\nlabels: {tenant: [{from: field, name: x}]}"))
	rows("d,1772352000,a@dest.example,t3,x3\n")
	p.SetSite(nil)
	rows("d,1772352000,a@dest.example,t4,x4\n")
	if got := strings.Join(tenants, ","); got != ",t2,x3," {
		t.Errorf("tenants %s", got)
	}
}

// Facts beyond the bound are not kept, and sender, job and the like are judged all the same.
func TestFactsAreBounded(t *testing.T) {
	p := New()
	p.SetSite(mustSite(t, "revision: 1\nlabels:\n  tenant: [{from: field, name: category, match: '^z$'}]\n  stream: [{from: transport}]\n"))
	body := `[{"email":"a@dest.example","timestamp":1757003271,"event":"delivered","pool":"pool","category":["x"` + strings.Repeat(`,"x"`, maxFacts) + `,"z"]}]`
	if ev := one(t, p, SendGrid, body); ev.Tenant != "" || ev.Stream != "pool" || len(p.facts) != maxFacts {
		t.Errorf("%q %q, %d facts", ev.Tenant, ev.Stream, len(p.facts))
	}
}

// What a handler does to one recipient's event does not show in the next one's.
func TestEventsAreTheHandlersToChange(t *testing.T) {
	for format, body := range map[string]string{
		KumoMTA: `{"type":"TransientFailure","id":"k1","sender":"n@s.example","recipient":["a@dest.example","a@dest.example"],"queue":"c:t@dest.example","timestamp":1757003271,"nodeid":"n1","num_attempts":1,"response":{"code":452,"content":"full","command":"RCPT"},"peer_address":{"name":"mx","addr":"198.51.100.7"}}`,
		SES:     `{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"a@dest.example","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 no"},{"emailAddress":"a@dest.example","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 no"}],"timestamp":"2025-09-04T16:27:52.000Z","feedbackId":"fb-1"},"mail":{"tags":{"tenant_id":["t"]}}}`,
	} {
		var told []string
		_, err := testParser(t).Parse(format, []byte(body), Handler{Event: func(ev *schema.DeliveryEvent) {
			told = append(told, tell(ev)+ev.Raw.Line)
			raw := ev.Raw
			ev.Reset()
			raw.Reset()
			ev.Raw = raw
		}})
		if err != nil || len(told) != 2 || told[0] != told[1] {
			t.Errorf("%s: %v\n%s", format, err, strings.Join(told, "\n"))
		}
	}
}
