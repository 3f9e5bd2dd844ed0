package site

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

func load(t testing.TB) *Site {
	t.Helper()
	text, err := os.ReadFile("testdata/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var testKeys = Keys{"verp": []byte("0123456789abcdef"), "batv": []byte("fedcba9876543210")}

func TestHostsGoByNameAliasAndCase(t *testing.T) {
	s := load(t)
	for _, name := range []string{"mta1.out.example.com", "MTA1.OUT.example.com.", "mta1", "Mta1"} {
		h := s.Host(name)
		if h == nil || h.Name != "mta1.out.example.com" || !h.Log {
			t.Errorf("host %q is %+v", name, h)
		}
		if l := s.Location(name); l.String() != "Europe/Berlin" {
			t.Errorf("zone of %q is %s", name, l)
		}
	}
	if h := s.Host("relay.example.net"); h == nil || h.Log {
		t.Errorf("relay is %+v, want one without a log", h)
	}
	if s.Host("mta2") != nil || s.Host("") != nil {
		t.Error("a host that is not in the file is found")
	}
	if l := s.Location("mta2"); l != time.UTC {
		t.Errorf("zone of other hosts is %s, want the file's", l)
	}
}

func TestSourceAddresses(t *testing.T) {
	s := load(t)
	for _, tc := range []struct{ host, mta, transport, want string }{
		{"mta1", "postfix", "postfix-out1", "192.0.2.11"},
		{"mta1.out.example.com", "postfix", "postfix-out1", "192.0.2.11"},
		{"mta1", "exim", "postfix-out1", ""},
		{"any", "postfix", "postfix-out2", "192.0.2.12"},
		{"mta9", "exim", "remote_smtp", "192.0.2.99"},
		{"mta2", "postfix", "postfix", ""},
	} {
		if got := s.SourceIP(tc.host, tc.mta, tc.transport); got != tc.want {
			t.Errorf("%s %s %s sends from %q, want %q", tc.host, tc.mta, tc.transport, got, tc.want)
		}
	}
	for from, want := range map[string]string{"10.0.0.5": "192.0.2.5", "fd00:0::5": "2001:db8::5", "192.0.2.1": "192.0.2.1", "": ""} {
		if got := s.Translate(from); got != want {
			t.Errorf("%s is translated to %s, want %s", from, got, want)
		}
	}
}

func TestEarlierRuleWinsWhateverTheOrderOfFacts(t *testing.T) {
	s := load(t)
	facts := []Fact{
		{Kind: FactSender, MTA: "postfix", Value: "info@Shop.example"},
		{Kind: FactUser, MTA: "postfix", Value: "carol@login"},
		{Kind: FactHeader, MTA: "postfix", Name: "x-tenant", Value: " acme "},
		{Kind: FactTransport, MTA: "postfix", Value: "postfix-out1"},
		{Kind: FactField, Name: "meta.campaign", Value: "c42"},
	}
	want := Labels{Tenant: "acme", Stream: "bulk", Campaign: "campaign-42", Ranks: [3]uint8{1, 1, 2}}
	for range len(facts) {
		var l Labels
		for _, f := range facts {
			s.Label(&l, f)
		}
		if l != want {
			t.Errorf("labels %+v, want %+v", l, want)
		}
		facts = append(facts[1:], facts[0])
	}
}

func TestRulesLookAtTheirFactsOnly(t *testing.T) {
	s := load(t)
	for _, tc := range []struct {
		fact Fact
		want string
	}{
		{Fact{Kind: FactUser, MTA: "exim", Value: "carol@login"}, ""}, // another MTA's
		{Fact{Kind: FactUser, MTA: "postfix", Value: "carol"}, ""},    // does not match
		{Fact{Kind: FactHeader, MTA: "postfix", Name: "X-Other", Value: "acme"}, ""},
		{Fact{Kind: FactSender, Value: "a@news.example"}, "news"},
		{Fact{Kind: FactSender, Value: "a@other.example"}, ""}, // not among the values
		{Fact{Kind: FactSender, Value: "p-globex+jo=x.example@plain.example.com"}, "globex"},
		{Fact{Kind: FactFeed, Value: "sendgrid-eu"}, "acme"},
		{Fact{Kind: FactFeed, Value: "sendgrid-eu2"}, ""},
	} {
		var l Labels
		s.Label(&l, tc.fact)
		if l.Tenant != tc.want {
			t.Errorf("%+v gives tenant %q, want %q", tc.fact, l.Tenant, tc.want)
		}
	}
	var l Labels
	s.Label(&l, Fact{Kind: FactHeader, Name: "X-Tenant", Value: strings.Repeat("é", 100)})
	if len(l.Tenant) > MaxLabelBytes || !strings.HasPrefix(strings.Repeat("é", 100), l.Tenant) || l.Tenant == "" {
		t.Errorf("a long label is %q", l.Tenant)
	}
}

var day = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func TestSignedReturnPathsAreReadBack(t *testing.T) {
	s := load(t)
	for scheme, campaign := range []string{"c1", "", "-"} {
		parts := Parts{Recipient: "jo.e+x=y@Mail.example", Campaign: campaign, Tenant: "acme", At: day}
		path, err := s.Sign(scheme, parts, testKeys)
		if err != nil {
			t.Fatal(err)
		}
		for _, as := range []string{path, strings.ToUpper(path), strings.ToLower(path)} {
			j := s.Judge(Bounce{ReturnPath: as, At: day.Add(9 * 24 * time.Hour)}, testKeys)
			want := schema.Trust_TRUST_SIGNED
			if scheme == 2 {
				want = schema.Trust_TRUST_KNOWN
			}
			if j.Trust != want || j.Backscatter || !strings.EqualFold(j.Path.Recipient, parts.Recipient) {
				t.Errorf("%s came back as %+v", as, j)
			}
		}
	}
}

// TestForgedReturnPathsAreBackscatter is the promise that a bounce to a signed domain suppresses nobody without our
// signature, whatever else it holds.
func TestForgedReturnPathsAreBackscatter(t *testing.T) {
	s := load(t)
	good, err := s.Sign(0, Parts{Recipient: "jo@mail.example", Campaign: "c1"}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.Sign(1, Parts{Recipient: "jo@mail.example", At: day.Add(-12 * 24 * time.Hour)}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Sign(0, Parts{Recipient: "jo@mail.example", Campaign: "c1"}, Keys{"verp": []byte("another key of 16")})
	if err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"another recipient": strings.Replace(good, "jo=", "jim=", 1),
		"another campaign":  strings.Replace(good, "c1", "c2", 1),
		"another key":       other,
		"too old":           old,
		"no signature":      "b-c1+jo=mail.example@b.example.com",
		"bare":              "postmaster@b.example.com",
		"batv, wrong":       "prvs=0340aaaaaa=jo@tag.example.com",
		"batv, no tag":      "jo@tag.example.com",
		"batv, unknown key": "prvs=9340aaaaaa=jo@tag.example.com",
	} {
		j := s.Judge(Bounce{ReturnPath: path, At: day, HasOriginal: true, MessageID: "<1@example.com>"}, testKeys)
		if !j.Backscatter || j.Why != WhyForged || j.Trust != schema.Trust_TRUST_NONE {
			t.Errorf("%s: %s is judged %+v (%s)", name, path, j, j.Why)
		}
	}
}

// TestNothingIsSignedWithoutAKey: an empty key is one that everybody has.
func TestNothingIsSignedWithoutAKey(t *testing.T) {
	s := load(t)
	path, err := s.Sign(0, Parts{Recipient: "jo@mail.example", Campaign: "c1"}, testKeys)
	if err != nil {
		t.Fatal(err)
	}
	k := strings.LastIndexByte(path[:strings.IndexByte(path, '@')], '-') + 1
	bare := path[:k] + path[k+16:]
	forged := bare[:k] + mac(nil, bare, 16) + bare[k:]
	if j := s.Judge(Bounce{ReturnPath: forged, At: day}, nil); j.Trust != schema.Trust_TRUST_NONE {
		t.Errorf("signed with an empty key: %+v", j)
	}
}

func TestBATV(t *testing.T) {
	s := load(t)
	// Made apart from this code: HMAC-SHA-1 of "0" + day + address.
	ends := day.Add(6*24*time.Hour).Unix() / 86400 % 1000
	tag := "0" + strings.Repeat("0", 3-len(itoa(ends))) + itoa(ends)
	path := "prvs=" + tag + batvMAC(testKeys["batv"], tag, "jo@tag.example.com") + "=jo@tag.example.com"
	if j := s.Judge(Bounce{ReturnPath: path, At: day}, testKeys); j.Trust != schema.Trust_TRUST_SIGNED {
		t.Errorf("%s is judged %+v", path, j)
	}
	if j := s.Judge(Bounce{ReturnPath: path, At: day.Add(7 * 24 * time.Hour)}, testKeys); !j.Backscatter {
		t.Errorf("%s is judged %+v a day after its end", path, j)
	}
}

func itoa(n int64) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestTrustOfUnsignedBounces(t *testing.T) {
	s := load(t)
	for _, tc := range []struct {
		name        string
		b           Bounce
		trust       schema.Trust
		why         Why
		backscatter bool
	}{
		{"scheme", Bounce{ReturnPath: "p-acme+jo=x.example@plain.example.com"}, schema.Trust_TRUST_KNOWN, WhyScheme, false},
		{"scheme, foreign message", Bounce{ReturnPath: "p-acme+jo=x.example@plain.example.com", HasOriginal: true, MessageID: "<1@spam.example>", From: "a@spam.example"}, schema.Trust_TRUST_NONE, WhyForeign, true},
		{"domain and message id", Bounce{ReturnPath: "x@plain.example.com", HasOriginal: true, MessageID: "<1@mail.shop.example>"}, schema.Trust_TRUST_KNOWN, WhyOriginal, false},
		{"domain and dkim", Bounce{ReturnPath: "x@plain.example.com", HasOriginal: true, MessageID: "<1@esp.example>", DKIM: []string{"example.com"}}, schema.Trust_TRUST_KNOWN, WhyOriginal, false},
		{"domain and own host", Bounce{ReturnPath: "x@plain.example.com", HasOriginal: true, MessageID: "<20261128@mta1.out.example.com>"}, schema.Trust_TRUST_KNOWN, WhyOriginal, false},
		{"domain alone", Bounce{ReturnPath: "x@plain.example.com"}, schema.Trust_TRUST_NONE, WhyNoOriginal, false},
		{"domain, header without names", Bounce{ReturnPath: "x@plain.example.com", HasOriginal: true}, schema.Trust_TRUST_NONE, WhyNoOriginal, false},
		{"domain, foreign", Bounce{ReturnPath: "x@plain.example.com", HasOriginal: true, From: "x@notexample.com"}, schema.Trust_TRUST_NONE, WhyForeign, true},
		{"address and message", Bounce{ReturnPath: "FBL@shop.example", HasOriginal: true, From: "a@shop.example"}, schema.Trust_TRUST_KNOWN, WhyOriginal, false},
		{"address alone", Bounce{ReturnPath: "fbl@shop.example"}, schema.Trust_TRUST_NONE, WhyElsewhere, false},
		{"elsewhere, known sender", Bounce{ReturnPath: "info@example.com", Sender: "p-acme+jo=x.example@plain.example.com"}, schema.Trust_TRUST_KNOWN, WhyScheme, false},
		{"unsigned, known sender", Bounce{ReturnPath: "jo@b.example.com", Sender: "p-acme+jo=x.example@plain.example.com"}, schema.Trust_TRUST_NONE, WhyForged, true},
		{"elsewhere", Bounce{ReturnPath: "info@example.com"}, schema.Trust_TRUST_NONE, WhyElsewhere, false},
		{"nowhere", Bounce{}, schema.Trust_TRUST_NONE, WhyElsewhere, false},
	} {
		if j := s.Judge(tc.b, testKeys); j.Trust != tc.trust || j.Why != tc.why || j.Backscatter != tc.backscatter {
			t.Errorf("%s: judged %+v (%s)", tc.name, j, j.Why)
		}
	}
	if j := (*Site)(nil).Judge(Bounce{ReturnPath: "x@plain.example.com"}, nil); j.Trust != schema.Trust_TRUST_NONE || j.Backscatter {
		t.Errorf("without a site: %+v", j)
	}
}

func TestNilSiteSaysNothing(t *testing.T) {
	var s *Site
	var l Labels
	s.Label(&l, Fact{Kind: FactSender, Value: "a@b.example"})
	if s.Revision() != 0 || s.Host("x") != nil || s.Location("x") != nil || s.SourceIP("a", "b", "c") != "" || s.Translate("1.2.3.4") != "1.2.3.4" ||
		l != (Labels{}) || s.Labels() || s.Wants(FactUser) || s.Feeds() != nil || s.TopicFormat("x") != "" || s.KeyNames() != nil || s.Text() != "" {
		t.Error("a nil site says something")
	}
}

// TestFaultsAreToldWithTheirPlace lists what a file can get wrong; all of a file's faults are told at once.
func TestFaultsAreToldWithTheirPlace(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"hosts: []", "revision: 0: want a number from 1"},
		{"revision: 1\nhost: []", "unknown field"},
		{"revision: 1\nrevision: 2", "already defined"},
		{"revision: one", "site file"},
		{"revision: 1\ntimezone: Mars/Olympus", "line 2, timezone: \"Mars/Olympus\" is no zone"},
		{"revision: 1\ntimezone: Local", "is no zone"},
		{"revision: 1\nhosts:\n  - {name: a}\n  - {name: b, aliases: [A]}", "line 4, hosts[1]: \"A\" is host a already"},
		{"revision: 1\nhosts:\n  - {aliases: [b]}", "name is missing"},
		{"revision: 1\nsource_ips:\n  - {host: a, ip: 300.1.1.1}", "line 3, source_ips[0].ip: \"300.1.1.1\" is no IP address"},
		{"revision: 1\nsource_ips:\n  - {mta: exim, ip: 192.0.2.1}", "want a host, a transport or both"},
		{"revision: 1\nsource_ips:\n  - {host: a, ip: 192.0.2.1}\n  - {host: a, ip: 192.0.2.2}", "were given before"},
		{"revision: 1\ntranslated: {a: 192.0.2.1}", "\"a\" is no IP address"},
		{"revision: 1\nlabels:\n  tenant:\n    - {from: moon}", "line 4, labels.tenant[0].from: \"moon\" is not known"},
		{"revision: 1\nlabels:\n  tenant:\n    - {from: header}", "they need one"},
		{"revision: 1\nlabels:\n  tenant:\n    - {from: user, match: '('}", "labels.tenant[0].match"},
		{"revision: 1\nlabels:\n  tenant:\n    - {from: user, value: '$1'}", "$1 needs a match"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{who}@b.example'}", "{who} is not known"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b@b.example'}", "no part in braces"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{recipient@b.example'}", "brace"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{mac}@b.example'}", "{mac} and key belong together"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{day}@b.example', max_age: 48h}", "proves nothing"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{day}{mac}@b.example', key: k}", "{day} and max_age belong together"},
		{"revision: 1\nbounces:\n  return_paths:\n    - {pattern: 'b+{mac}@b.example', key: k, mac_digits: 4}", "want 8 to 64"},
		{"revision: 1\nbounces:\n  batv:\n    - {domain: b.example, keys: {10: k}}", "numbered 0 to 9"},
		{"revision: 1\nbounces:\n  domains: [b.example]\n  always_signed: [b.example]", "no return path of b.example is signed"},
		{"revision: 1\nbounces:\n  addresses: [b.example]", "is no address"},
		{"revision: 1\nfeeds:\n  - {name: A, format: ses, bearer: k}", "want 1 to 64 of a-z"},
		{"revision: 1\nfeeds:\n  - {name: a, format: smoke, bearer: k}", "\"smoke\" is not known"},
		{"revision: 1\nfeeds:\n  - {name: a, format: ses}", "nothing to know it by"},
		{"revision: 1\nfeeds:\n  - {name: a, format: ses, bearer: k, user: u}", "user and password belong together"},
		{"revision: 1\ntopics: {mail.raw: post}", "topics"},
		{strings.Repeat("#", MaxBytes+1), "at most"},
	} {
		_, err := Parse([]byte(tc.text))
		var e *Error
		if err == nil || !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q:\n got  %v\n want %s", tc.text[:min(len(tc.text), 200)], err, tc.want)
		}
	}
	_, err := Parse([]byte("revision: 0\ntimezone: Mars\nsource_ips:\n  - {host: a, ip: x}"))
	if n := strings.Count(err.Error(), "site file"); n != 3 {
		t.Errorf("three faults are told as %d: %v", n, err)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/site.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, "b-c1+jo=mail.example-0123456789abcdef@b.example.com")
	f.Add([]byte("revision: 1\nlabels: {tenant: [{from: sender, match: '(a*)*b'}]}"), "prvs=0123456789=a@b.example")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse([]byte(s.Text()))
		if err != nil || again.Revision() != s.Revision() {
			t.Fatalf("a file that was read is not read again: %v", err)
		}
		var a, b Labels
		fact := Fact{Kind: FactSender, Value: path}
		s.Label(&a, fact)
		again.Label(&b, fact)
		if a != b || len(a.Tenant) > MaxLabelBytes {
			t.Fatalf("labels %+v and %+v", a, b)
		}
		j := s.Judge(Bounce{ReturnPath: path, At: day}, testKeys)
		if j.Backscatter && j.Trust != schema.Trust_TRUST_NONE {
			t.Fatalf("backscatter with trust: %+v", j)
		}
	})
}
