package rules

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"carom.dev/carom/schema"
)

// Whatever a server writes, the work and the subject are bounded and a verdict comes out.
func TestHostileTextIsBounded(t *testing.T) {
	set := mustLoad(t)
	for name, text := range map[string]string{
		"empty":                     "",
		"blanks":                    strings.Repeat(" \t\r\n", 1000),
		"64 kB of one word":         strings.Repeat("a", 64<<10),
		"1 MB":                      "550 5.1.1 " + strings.Repeat("user unknown ", 80<<10),
		"NUL":                       "550 5.1.1 user\x00unknown",
		"bidi override":             "550 5.1.1 user \u202enwonknu\u202c unknown",
		"invalid UTF-8":             "550 5.1.1 \xff\xfe\xc3\x28 unknown",
		"ten thousand continuation": strings.Repeat("550-\r\n", 10000) + "550 user unknown",
		"run together":              strings.Repeat("550-5.1.1", 10000),
		"at signs":                  "550 " + strings.Repeat("@", 60000),
		"addresses":                 "550 " + strings.Repeat("<a@b>", 12000),
		"quotes":                    "550 " + strings.Repeat(`"@`, 30000),
		"wrappers":                  strings.Repeat("host x said: ", 5000),
		"Exim wrappers":             strings.Repeat("SMTP error from remote mail server after RCPT TO: ", 2000),
		"links":                     "550 " + strings.Repeat("http://", 9000),
		"brackets":                  "550 " + strings.Repeat("[a1", 20000),
	} {
		in := Input{Outcome: schema.Outcome_BOUNCED, Domain: "icloud.com", Text: text}
		start := time.Now()
		var v schema.Verdict
		set.Classify(&in, &v)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
		if v.Class == "" || v.Template == "" || v.Ruleset == "" {
			t.Errorf("%s: incomplete verdict %v", name, &v)
		}
		e := set.Explain(&in)
		if len(e.Subject) > maxSubject || !utf8.ValidString(e.Subject) {
			t.Errorf("%s: subject of %d bytes, valid %v", name, len(e.Subject), utf8.ValidString(e.Subject))
		}
	}
}

// The words that the rules see are normal: one line, lower case, no repeated codes, no invisible characters, no addresses.
func TestSubject(t *testing.T) {
	set := mustLoad(t)
	for _, c := range []struct {
		name, want string
		in         Input
	}{
		{"Postfix joins lines by a blank", "550 5.1.1 R|no such user. try again", Input{Text: "host mx.example.net[192.0.2.1] said: 550-5.1.1 No such user. 550 5.1.1 Try again (in reply to RCPT TO command)"}},
		{"without enhanced code", "550 - R|no such user", Input{Text: "host mx.example.net[192.0.2.1] said: 550-No such 550 user (in reply to RCPT TO command)"}},
		{"a number is no continuation", "550 - -|error 550 again", Input{Text: "550 error 550 again"}},
		{"raw lines", "550 5.1.1 -|no such user", Input{Text: "550-5.1.1 No\r\n550-5.1.1 such\r\n550 5.1.1 user"}},
		{"Exim escapes lines", "550 5.1.1 R|no such user", Input{Text: `SMTP error from remote mail server after RCPT TO:<u@example.net>: 550-5.1.1 No\n550 5.1.1 such user`}},
		{"Exim's pipelining", "450 - M|later", Input{Text: "SMTP error from remote mail server after pipelined MAIL FROM:<u@example.net>: 450 later"}},
		{"the greeting", "554 - B|mx.example.net no thanks", Input{Text: "host mx.example.net[192.0.2.1] refused to talk to me: 554-mx.example.net 554 no thanks"}},
		{"a DSN's type", "550 5.1.1 -|gone", Input{Text: "smtp; 550 5.1.1 gone"}},
		{"hash before the enhanced code", "550 5.1.0 -|address rejected.", Input{Text: "550 #5.1.0 Address rejected."}},
		{"codes of the caller", "550 5.1.1 D|gone", Input{Text: "gone", Code: 550, Enhanced: "5.1.1", Phase: schema.Phase_DNS}},
		{"the MTA's enhanced code", "550 - -|gone", Input{Text: "gone", Code: 550, Enhanced: "5.1.1", EnhancedSource: schema.EnhancedSource_ENHANCED_MTA}},
		{"no enhanced code", "550 - -|gone", Input{Text: "550 gone", Enhanced: "5.1.1 user unknown"}},
		{"addresses", "550 - -|{a}: {a}, {a}... {a}", Input{Text: `550 <u@example.net>: user-unknown@example.net, <"spam block"@example.net>... x@y`}},
		{"no address", "550 - -|@ me@ @example.net", Input{Text: "550 @ me@ @example.net"}},
		{"odd characters", "550 - -|it's gone for good", Input{Text: "550 It\u2019s\u00a0g\u200bone\x00for\u202e GOOD"}},
		{"a forged wrapper", "550 - R|host x refused to talk to me: 421 nice try said: 250 ok", Input{Text: "host mx.example.net[192.0.2.1] said: 550 host x refused to talk to me: 421 nice try said: 250 ok (in reply to RCPT TO command)"}},
		{"forged words of the MTA", "550 - R|kumomta internal: throttled by x", Input{Text: "host mx.example.net[192.0.2.1] said: 550 KumoMTA internal: throttled by x (in reply to RCPT TO command)"}},
		{"no reply behind the wrapper", "- - -|h=mx.example.net [192.0.2.1]: smtp timeout after end of data", Input{Text: "H=mx.example.net [192.0.2.1]: SMTP timeout after end of data"}},
		{"dma", "450 4.2.2 R|full", Input{Text: "mx.example.net [192.0.2.1] failed after RCPT TO: 450 4.2.2 full"}},
		{"a postponement", "421 - -|too many", Input{Text: "delivery temporarily suspended: host mx.example.net[192.0.2.1] said: 421 too many"}},
	} {
		c.in.Outcome = schema.Outcome_BOUNCED
		if have := set.Explain(&c.in).Subject; have != c.want {
			t.Errorf("%s:\n have %s\n want %s", c.name, have, c.want)
		}
	}
}

// Texts that differ in numbers, addresses, hosts and ids have one template; other words or codes have another.
func TestTemplateGroupsLikeTexts(t *testing.T) {
	set := mustLoad(t)
	id := func(text string) string {
		var v schema.Verdict
		set.Classify(&Input{Outcome: schema.Outcome_BOUNCED, Text: text}, &v)
		return v.Template
	}
	one := id("550 5.1.1 <u@example.net>: no such user at mx1.example.net [192.0.2.1] (4F3A99C1) see https://example.net/help?id=4711")
	for text, same := range map[string]bool{
		"550 5.1.1 <v@example.org>: no such user at mx22.example.org [198.51.100.7] (77AB01) see https://example.net/help?id=x": true,
		"550 5.1.1 <u@example.net>: no such user at mail.example.org [192.0.2.1] (4F3A99C1) see https://example.net/help?id=1":  false,
		"550 5.1.2 <u@example.net>: no such user at mx1.example.net [192.0.2.1] (4F3A99C1) see https://example.net/help?id=4":   false,
		"550 5.1.1 <u@example.net>: no such host at mx1.example.net [192.0.2.1] (4F3A99C1) see https://example.net/help?id=4":   false,
	} {
		if have := id(text) == one; have != same {
			t.Errorf("%s: same template %v, want %v", text, have, same)
		}
	}
}

// Classify allocates the template's id and nothing else, whatever the layer; a delivery allocates nothing.
func TestClassifyAllocates(t *testing.T) {
	set := mustLoad(t)
	for _, c := range []struct {
		in   Input
		want float64
	}{
		{Input{Outcome: schema.Outcome_DELIVERED, Domain: "Example.NET", Text: "250 ok"}, 0},
		{Input{Outcome: schema.Outcome_BOUNCED, Domain: "icloud.com", Text: "host mx01.mail.icloud.com[192.0.2.1] said: 554 5.7.1 [CS01] Message rejected. https://support.apple.com/en-us/HT204137 (in reply to end of DATA command)"}, 1},
		{Input{Outcome: schema.Outcome_BOUNCED, RemoteHost: "gmail-smtp-in.l.google.com", Text: "550-5.1.1 The email account that you tried to reach does not exist. 550-5.1.1 double-checking 550 5.1.1 https://support.google.com/mail/?p=NoSuchUser - gsmtp"}, 1},
		{Input{Outcome: schema.Outcome_DEFERRED, Origin: schema.Origin_LOCAL_MTA, Text: "connect to mx.example.net[192.0.2.1]:25: Connection timed out"}, 1},
		{Input{Outcome: schema.Outcome_BOUNCED, Text: "554 hm"}, 1},
	} {
		var v schema.Verdict
		for range 20 { // the automaton learns
			set.Classify(&c.in, &v)
		}
		// The least of many short runs: under the race detector a sync.Pool drops a part of what it is given, at random.
		have := testing.AllocsPerRun(3, func() { set.Classify(&c.in, &v) })
		for range 50 {
			have = min(have, testing.AllocsPerRun(3, func() { set.Classify(&c.in, &v) }))
		}
		if have > c.want {
			t.Errorf("%q: %v allocations, want %v", c.in.Text, have, c.want)
		}
	}
}

// FuzzClassify holds that any text gives a complete verdict, twice the same, and a bounded valid subject.
func FuzzClassify(f *testing.F) {
	for _, r := range mustLoad(f).rules {
		f.Add(r.positive[0].text, int32(550), "5.1.1", r.provider)
	}
	set := mustLoad(f)
	f.Fuzz(func(t *testing.T, text string, code int32, enhanced, provider string) {
		in := Input{Outcome: schema.Outcome_BOUNCED, Text: text, Code: code, Enhanced: enhanced, Provider: provider}
		var one, two schema.Verdict
		set.Classify(&in, &one)
		set.Classify(&in, &two)
		if one.String() != two.String() {
			t.Fatalf("two verdicts:\n%v\n%v", &one, &two)
		}
		if one.Class == "" || one.Retry == 0 || one.Suppress == 0 || one.Confidence == 0 || one.Template == "" {
			t.Fatalf("incomplete: %v", &one)
		}
		if e := set.Explain(&in); len(e.Subject) > maxSubject || !utf8.ValidString(e.Subject) {
			t.Fatalf("subject %q", e.Subject)
		}
	})
}
