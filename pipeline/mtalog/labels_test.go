package mtalog

import (
	"path/filepath"
	"testing"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

const labelSite = `
revision: 1
labels:
  tenant:
    - {from: header, name: X-Tenant}
    - {from: user, match: '^(.+)@'}
    - {from: sender_domain, values: {out1.sender.example: first}}
  stream:
    - {from: header, name: x-stream}
    - {from: transport, values: {postfix-mx4-soft: soft}}
    - {from: client, match: '\[127\.0\.0\.2\]$', value: default}
  campaign:
    - {from: header, name: X-Campaign}
    - {from: subject}
source_ips:
  - {transport: postfix-mx4-out1, ip: 192.0.2.11}
  - {transport: postfix-mx4, ip: 192.0.2.12}
`

// What a real Postfix logs of headers, logins, clients, senders and transports, against what was submitted: the values
// stand here as the client sent them.
func TestLabelsOfARealLog(t *testing.T) {
	s, err := site.Parse([]byte(labelSite))
	if err != nil {
		t.Fatal(err)
	}
	type labels struct{ tenant, stream, campaign, source string }
	const mail = "192.0.2.12"
	want := map[string]labels{
		"hdr0@oak.example":   {"acme", "bulk", "spring-26", mail},
		"hdr1@oak.example":   {"evil from unknown[9.9.9.9]; from=<a@b> to=<c@d> proto=ESMTP helo=<x>", "default", "", mail},
		"hdr2@oak.example":   {`a: b; c, d "e" (f) <g>`, "default", "", mail},
		"hdr3@oak.example":   {"ünï", "default", "", mail},
		"hdr5@oak.example":   {"folded? value", "default", "", mail}, // Postfix writes the line break so
		"hdr6@oak.example":   {"one", "default", "", mail},           // the first of two headers
		"hdr7@oak.example":   {"", "default", "", mail},
		"hdr8@oak.example":   {"nospace", "default", "", mail},
		"hdr9@oak.example":   {"tail; from=<", "default", "", mail},
		"hdr11@oak.example":  {"=?utf-8?q?enc=C3=B6?=", "default", "", mail},
		"hdr12@oak.example":  {"xfrom: info: header X-Stream: z from local; from=<q>", "default", "", mail},
		"auth1@oak.example":  {"tenant-a", "default", "", mail},
		"o1@out.example":     {"first", "default", "", "192.0.2.11"},
		"a@soft.example":     {"", "soft", "", ""},
		"rc-mm1@oak.example": {"", "default", "", mail},
	}
	seen := map[string]bool{}
	c := NewCorrelator(DefaultConfig())
	c.SetSite(s)
	for _, line := range lines(readGzip(t, filepath.Join("testdata", "postfix-3.11", "mail.log.gz"))) {
		c.Line(Input{Line: line, Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
			w, ok := want[ev.Recipient]
			if !ok {
				return
			}
			seen[ev.Recipient] = true
			if got := (labels{ev.Tenant, ev.Stream, ev.Campaign, ev.SourceIp}); got != w {
				t.Errorf("%s %s: got %+v, want %+v", ev.Outcome.Name(), ev.Recipient, got, w)
			}
		})
	}
	for recipient := range want {
		if !seen[recipient] {
			t.Errorf("no event of %s", recipient)
		}
	}
}
