package rules

import (
	"testing"

	"carom.dev/carom/schema"
)

// Replies whose code says one thing and whose words another, or whose words other programs misread. Labels were set by
// reading the providers' pages; no rule holds these texts.
func TestWordsBeatCodes(t *testing.T) {
	set := mustLoad(t)
	apple := Input{RemoteHost: "mx01.mail.icloud.com", Domain: "icloud.com", Origin: schema.Origin_REMOTE_REPLY}
	relay := Input{RemoteHost: "mx01.mail.icloud.com", Domain: "privaterelay.appleid.com", Origin: schema.Origin_REMOTE_REPLY}
	google := Input{RemoteHost: "gmail-smtp-in.l.google.com", Domain: "gmail.com", Origin: schema.Origin_REMOTE_REPLY}
	microsoft := Input{RemoteHost: "contoso-com.mail.protection.outlook.com", Domain: "contoso.com", Origin: schema.Origin_REMOTE_REPLY}
	yahoo := Input{RemoteHost: "mta7.am0.yahoodns.net", Domain: "yahoo.com", Origin: schema.Origin_REMOTE_REPLY}
	godaddy := Input{RemoteHost: "smtp.secureserver.net", Domain: "shop.example", Origin: schema.Origin_REMOTE_REPLY}
	other := Input{RemoteHost: "mx.shop.example", Domain: "shop.example", Origin: schema.Origin_REMOTE_REPLY}
	kumo := Input{MTA: "kumomta", Domain: "shop.example", Origin: schema.Origin_LOCAL_MTA}
	postfix := Input{MTA: "postfix", Domain: "shop.example", Origin: schema.Origin_LOCAL_MTA}
	for _, c := range []struct {
		from     Input
		text     string
		class    string
		suppress schema.Suppress
	}{
		{apple, "421 4.7.1 Messages to w@icloud.com deferred due to excessive volume. Try again later - https://support.apple.com/en-us/HT204137", "remote.rate_limited", never},
		{apple, "421 4.7.1 Too many messages from 192.0.2.7, slow down. [RT01]", "remote.rate_limited", never},
		{apple, "421 4.7.1 too many connections", "remote.rate_limited", never},
		{apple, "550 5.1.1 <w@icloud.com>: user does not exist", "recipient.unknown", candidate},
		{apple, "550 5.1.1 unknown or illegal alias: w@me.com", "recipient.unknown", candidate},
		{apple, "550 5.1.1 <w@icloud.com>: inactive email address", "recipient.inactive", windowed},
		{apple, "550 5.1.1 <w@icloud.com>: user lookup success but no user record found", "mailbox.temp_unavailable", windowed},
		{apple, "450 <w@icloud.com>: user is overquota", "mailbox.full", windowed},
		{apple, "452 4.2.2 <w@icloud.com>: user is overquota", "mailbox.full", windowed},
		{apple, "550 5.2.2 <w@icloud.com>: user is overquota", "mailbox.full", windowed},
		{apple, "552 <w@icloud.com>: user is over quota", "mailbox.full", windowed},
		{apple, "554 5.7.1 [HME1] This message was blocked for failing both SPF and DKIM authentication checks", "auth.unauthenticated", never},
		{apple, "554 5.7.1 Your message was rejected due to shop.example's DMARC policy", "auth.dmarc", never},
		{apple, "550 5.7.0 Blocked - see https://support.proofpoint.com/dnsbl-lookup.cgi?ip=192.0.2.7", "block.ip_blocklist", never},
		{apple, "550 5.7.1 Mail from IP 192.0.2.7 was rejected due to listing in Spamhaus SBL", "block.ip_blocklist", never},
		{apple, "550 5.7.1 [CS01] Message rejected due to local policy.", "block.policy", never},
		{apple, "554 5.7.1 [CS02] Message rejected due to local policy.", "content.phishing", never},
		{apple, "554 5.7.1 [CS03] Message rejected due to local policy.", "content.url", never},
		{apple, "554 5.7.1 [CS03] Message rejected because of its attachment.", "content.attachment", never},
		{apple, "554 5.7.1 [HM08] Message rejected due to the reputation of the domain shop.example", "block.reputation_domain", never},
		{apple, "554 5.7.1 [HM08] Message rejected due to the reputation of the IP 192.0.2.7", "block.reputation_ip", never},
		{apple, "554 5.7.1 [HM08] Message rejected due to local policy.", "block.policy", never},
		{apple, "554 5.7.1 [QQ42] Message rejected due to local policy.", "block.policy", never},
		{apple, "451 [BS02] server error", "remote.temp_error", never},
		{apple, "421 [HCM1] deferred", "remote.rate_limited", never},
		{relay, "550 5.1.1 <w@privaterelay.appleid.com>: unauthorized sender", "auth.sender_rejected", never},
		{relay, "550 5.7.1 transformation error", "remote.temp_error", never},

		{google, "550-5.1.1 The email account that you tried to reach does not exist. 550 5.1.1 https://support.google.com/mail/?p=NoSuchUser x - gsmtp", "recipient.unknown", candidate},
		{google, "550-5.2.1 The email account that you tried to reach is inactive. Learn more at 550 5.2.1 https://support.google.com/mail/?p=DisabledUser x - gsmtp", "recipient.disabled", candidate},
		{google, "550-5.2.1 The user you are trying to contact is receiving mail at a rate that 550-5.2.1 prevents additional messages from being delivered.", "mailbox.rate_limited", never},
		{microsoft, "550 5.4.1 Recipient address rejected: Access denied. [DB5EUR03FT999.eop-EUR03.prod.protection.outlook.com]", "recipient.unknown", candidate},
		{microsoft, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup", "recipient.unknown", candidate},
		{yahoo, "554 30 Sorry, your message to w@yahoo.com cannot be delivered. This mailbox is disabled (554.30).", "recipient.disabled", candidate},
		{yahoo, "451 Sorry, your message to w@yahoo.com cannot be delivered. This mailbox is disabled (554.30).", "recipient.disabled", candidate},
		{yahoo, "552 1 Requested mail action aborted, mailbox not found", "recipient.unknown", candidate},
		{godaddy, "550 5.1.1 <w@shop.example> - 192.0.2.7 has sent to too many recipients this hour. IB607", "remote.rate_limited", never},

		{other, "450 4.2.0 <w@shop.example>: Recipient address rejected: Greylisted, see http://postgrey.example/help", "remote.greylisted", never},
		{other, "451 4.7.1 Greylisting in action, please come back later", "remote.greylisted", never},
		{other, "451 4.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org", "block.ip_blocklist", never},
		{other, "550 5.7.1 too many connections from your IP", "remote.rate_limited", never},
		{other, "450 4.1.1 <w@shop.example>: Recipient address rejected: User unknown in local recipient table", "recipient.unknown", windowed},
		{other, "550 5.1.1 <user-unknown@shop.example> is over quota", "mailbox.full", windowed},
		{other, "421 4.7.1 Connection refused, too many sessions from this host", "remote.rate_limited", never},
		{other, "554 x", "undetermined", never},
		{other, "550 x", "undetermined", never},

		{kumo, "400 KumoMTA internal: failed to connect to any candidate hosts: connect to 192.0.2.1:25 timed out", "net.connect_timeout", perDomain},
		{kumo, "400 KumoMTA internal: failed to connect to any candidate hosts: timed out reading banner", "net.banner_timeout", never},
		{kumo, "400 KumoMTA internal: failed to connect to any candidate hosts: TLS handshake with mx.shop.example failed", "net.tls_failure", never},
		{kumo, "400 KumoMTA internal: failed to connect to any candidate hosts: DANE result: TLSA records did not match", "net.tls_failure", never},
		{kumo, "551 KumoMTA internal: administratively bounced", "local.admin", never},
		{postfix, "connect to mx.shop.example[192.0.2.1]:25: Connection timed out", "net.connect_timeout", perDomain},
		{postfix, "conversation with mx.shop.example[192.0.2.1] timed out while receiving the initial server greeting", "net.banner_timeout", never},
		{postfix, "lost connection with mx.shop.example[192.0.2.1] while sending end of data -- message may be sent more than once", "net.eom_timeout", never},
		{postfix, "Host or domain name not found. Name service error for name=shop.example type=MX: Host not found, try again", "dns.timeout", perDomain},
		{postfix, "delivery temporarily suspended: connect to mx.shop.example[192.0.2.1]:25: Connection refused", "queue.suspended", never},
	} {
		in := c.from
		in.Outcome, in.Text = schema.Outcome_BOUNCED, c.text
		var v schema.Verdict
		set.Classify(&in, &v)
		if v.Class != c.class || v.Suppress != c.suppress {
			t.Errorf("%s\n have %s, %s by %s\n want %s, %s", c.text, v.Class, v.Suppress.Name(), v.Rule, c.class, c.suppress.Name())
		}
	}
}

// The same Apple texts are read right where nothing but the reply is known.
func TestProviderIsKnownByItsWords(t *testing.T) {
	set := mustLoad(t)
	for text, want := range map[string]string{
		"554 5.7.1 [CS02] Message rejected. Please visit https://support.apple.com/en-us/HT204137": "apple",
		"550 5.2.1 The email account that you tried to reach is inactive x - gsmtp":                "google",
		"554 30 Sorry. This mailbox is disabled (554.30).":                                         "yahoo",
		"550 5.1.1 user unknown": "other",
	} {
		var v schema.Verdict
		set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Text: text}, &v)
		if v.Provider != want {
			t.Errorf("%s: provider %s, want %s", text, v.Provider, want)
		}
	}
}

// Evidence fields beside the class.
func TestBlockNamesListLinkAndProviderCode(t *testing.T) {
	set := mustLoad(t)
	for _, c := range []struct{ text, list, url, code string }{
		{"550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.7", "proofpoint", "https://ipcheck.proofpoint.com/?ip=192.0.2.7", ""},
		{"550 5.7.0 Blocked by Proofpoint - see https://ipcheck.proofpoint.com.evil.example/?ip=192.0.2.7", "proofpoint", "", ""},
		{"550 5.7.0 Blocked by proofpoint.com - see https://evil.example/https://evil@ipcheck.proofpoint.com/", "proofpoint", "", ""},
		{"550 5.7.1 Blocked, see https://lookup.abusix.com/search?q=192.0.2.7", "abusix", "https://lookup.abusix.com/search?q=192.0.2.7", ""},
		{"554 5.7.1 Client host [192.0.2.7] blocked using zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.7", "spamhaus", "https://www.spamhaus.org/query/ip/192.0.2.7", ""},
		{"550 192.0.2.7 is listed on the CBL: see http://www.abuseat.org/lookup.cgi?ip=192.0.2.7", "spamhaus", "http://www.abuseat.org/lookup.cgi?ip=192.0.2.7", ""},
		{"554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137.", "", "https://support.apple.com/en-us/HT204137", "CS01"},
		{"554 5.7.1 [CS01] Message rejected, see https://notsupport.apple.com/", "", "", "CS01"},
		{"554 5.7.1 [ZX12] Message rejected due to local policy.", "", "", "ZX12"},
	} {
		var v schema.Verdict
		set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Domain: "icloud.com", Text: c.text}, &v)
		if v.ListOperator != c.list || v.MitigationUrl != c.url || v.ProviderCode != c.code {
			t.Errorf("%s: have %q %q %q, want %q %q %q", c.text, v.ListOperator, v.MitigationUrl, v.ProviderCode, c.list, c.url, c.code)
		}
		if isNew := c.code == "ZX12"; v.NewProviderCode != isNew {
			t.Errorf("%s: new provider code %v", c.text, v.NewProviderCode)
		} else if isNew && v.Confidence != schema.Confidence_CONFIDENCE_CODE {
			t.Errorf("%s: confidence %s", c.text, v.Confidence.Name())
		}
	}
}

// An enhanced code that the sending MTA made up is no evidence (Sendmail writes 5.1.1 for a plain 550).
func TestEnhancedCodeOfTheMTAIsIgnored(t *testing.T) {
	set := mustLoad(t)
	in := Input{Outcome: schema.Outcome_BOUNCED, Origin: schema.Origin_REMOTE_REPLY, Code: 550, Enhanced: "5.1.1", Text: "550 zzz"}
	for source, want := range map[schema.EnhancedSource]string{
		schema.EnhancedSource_ENHANCED_MTA:    classUndetermined,
		schema.EnhancedSource_ENHANCED_REMOTE: "recipient.unknown",
	} {
		in.EnhancedSource = source
		var v schema.Verdict
		set.Classify(&in, &v)
		if v.Class != want {
			t.Errorf("enhanced code from %s: class %s, want %s", source.Name(), v.Class, want)
		}
	}
}

// A bare 550 speaks of the recipient only in answer to RCPT TO, and is never enough alone.
func TestBareCodeIsWeak(t *testing.T) {
	set := mustLoad(t)
	for phase, want := range map[schema.Phase]string{
		schema.Phase_RCPT:   "recipient.unknown",
		schema.Phase_EOM:    classUndetermined,
		schema.Phase_BANNER: "net.banner_refused",
	} {
		var v schema.Verdict
		set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Code: 550, Phase: phase, Origin: schema.Origin_REMOTE_REPLY}, &v)
		if v.Class != want || v.Suppress == candidate || v.Confidence > schema.Confidence_CONFIDENCE_CODE {
			t.Errorf("550 in phase %s: %s, %s, %s", phase.Name(), v.Class, v.Suppress.Name(), v.Confidence.Name())
		}
	}
}

// What became of the message decides where the words do not.
func TestOutcome(t *testing.T) {
	set := mustLoad(t)
	full := &Input{Outcome: schema.Outcome_DEFERRED, Text: "452 4.2.2 mailbox full"}
	network := &Input{Outcome: schema.Outcome_DEFERRED, Origin: schema.Origin_LOCAL_MTA, Text: "connect to mx.shop.example[192.0.2.1]:25: Connection timed out"}
	for name, c := range map[string]struct {
		in       Input
		class    string
		cause    string
		scope    schema.Scope
		suppress schema.Suppress
		retry    schema.Retry
	}{
		"delivered":            {Input{Outcome: schema.Outcome_DELIVERED, Domain: "icloud.com", Text: "250 2.0.0 Ok"}, "", "", 0, 0, 0},
		"expired, full":        {Input{Outcome: schema.Outcome_EXPIRED, Cause: full}, "queue.expired", "mailbox.full", schema.Scope_SCOPE_RECIPIENT, windowed, no},
		"expired, network":     {Input{Outcome: schema.Outcome_EXPIRED, Cause: network}, "queue.expired", "net.connect_timeout", schema.Scope_SCOPE_NETWORK, never, no},
		"expired, own words":   {Input{Outcome: schema.Outcome_EXPIRED, Text: "452 4.2.2 mailbox full"}, "queue.expired", "mailbox.full", schema.Scope_SCOPE_RECIPIENT, windowed, no},
		"expired, no cause":    {Input{Outcome: schema.Outcome_EXPIRED}, "queue.expired", "", 0, never, no},
		"suspended":            {Input{Outcome: schema.Outcome_SUSPENDED, Text: "delivery temporarily suspended: host mx.shop.example[192.0.2.1] said: 421 4.7.0 too many connections"}, "queue.suspended", "remote.rate_limited", schema.Scope_SCOPE_LOCAL, never, yes},
		"delayed":              {Input{Outcome: schema.Outcome_DELAYED, Text: "452 4.2.2 mailbox full"}, "notice.delayed", "mailbox.full", schema.Scope_SCOPE_RECIPIENT, never, yes},
		"complaint":            {Input{Outcome: schema.Outcome_COMPLAINT}, "notice.complaint", "", schema.Scope_SCOPE_RECIPIENT, never, no},
		"unsubscribed":         {Input{Outcome: schema.Outcome_UNSUBSCRIBED, Domain: "icloud.com"}, "notice.unsubscribe", "", schema.Scope_SCOPE_RECIPIENT, never, no},
		"opened":               {Input{Outcome: schema.Outcome_OPENED, Domain: "icloud.com", Text: "550 5.1.1 user unknown"}, "", "", 0, 0, 0},
		"clicked":              {Input{Outcome: schema.Outcome_CLICKED, Domain: "icloud.com", Text: "550 5.1.1 user unknown"}, "", "", 0, 0, 0},
		"forwarder is blocked": {Input{Outcome: schema.Outcome_ASYNC_BOUNCE, Text: "smtp; 554 5.7.1 Client host [198.51.100.1] blocked using zen.spamhaus.org"}, "block.ip_blocklist", "", schema.Scope_SCOPE_REMOTE, never, later},
	} {
		var v schema.Verdict
		set.Classify(&c.in, &v)
		if v.Class != c.class || v.CauseClass != c.cause || v.Scope != c.scope || v.Suppress != c.suppress || v.Retry != c.retry {
			t.Errorf("%s: have %s (%s) %s %s %s by %s", name, v.Class, v.CauseClass, v.Scope.Name(), v.Suppress.Name(), v.Retry.Name(), v.Rule)
		}
	}
}

// What somebody wrote beside a complaint or a wish to be left out decides nothing, and no rule stands for it.
func TestWordsBesideARefusalDecideNothing(t *testing.T) {
	set := mustLoad(t)
	for outcome, class := range map[schema.Outcome]string{
		schema.Outcome_COMPLAINT: "notice.complaint", schema.Outcome_UNSUBSCRIBED: "notice.unsubscribe",
	} {
		for _, text := range []string{
			"", "550 5.1.1 user unknown", "452 4.2.2 mailbox full", "554 5.7.1 [CS01] blocked, see https://support.apple.com/en-us/102322",
			"delivery temporarily suspended: host mx.shop.example[192.0.2.1] said: 421 4.7.0 too many connections",
		} {
			var v schema.Verdict
			set.Classify(&Input{Outcome: outcome, Domain: "icloud.com", Text: text}, &v)
			if v.Class != class || v.CauseClass != "" || v.Suppress != never || v.Scope != schema.Scope_SCOPE_RECIPIENT || v.Provider != "apple" ||
				v.Rule != "" || v.ProviderCode != "" || v.MitigationUrl != "" || v.Confidence != 0 {
				t.Errorf("%s with %q: %v", outcome.Name(), text, &v)
			}
		}
	}
}
