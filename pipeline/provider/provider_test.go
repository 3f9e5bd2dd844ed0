package provider

import (
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	for _, c := range []struct{ host, domain, want string }{
		{"mx01.mail.icloud.com", "", "apple"},
		{"MX02.Mail.iCloud.com.", "", "apple"},
		{"", "me.com", "apple"},
		{"", "privaterelay.appleid.com", "apple"},
		{"gmail-smtp-in.l.google.com", "example.org", "google"},
		{"example-org.mail.protection.outlook.com", "example.org", "microsoft"},
		{"hotmail-com.olc.protection.outlook.com", "hotmail.com", "microsoft"},
		{"mta7.am0.yahoodns.net", "aol.com", "yahoo"},
		{"mxa-000.gslb.pphosted.com", "icloud.com", "proofpoint"}, // who spoke comes first
		{"eu-smtp-inbound-1.mimecast.com", "example.org", "mimecast"},
		{"route1.mx.cloudflare.net", "example.org", "cloudflare"},
		{"mx.example.org", "gmail.com", "google"}, // unknown host: the domain
		{"noticloud.com", "", Other},              // labels, not letters
		{"icloud.com.example.org", "", Other},
		{"", "", Other},
		{".", "..", Other},
		{strings.Repeat("a.", 200) + "icloud.com", "", Other},
		{"192.0.2.1", "", Other},
	} {
		if have := Lookup(c.host, c.domain); have != c.want {
			t.Errorf("Lookup(%q, %q) = %s, want %s", c.host, c.domain, have, c.want)
		}
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string]string{"apple": "apple", "AOL": "yahoo", "gmx": "united-internet", "nobody": Other, "": Other} {
		id, ok := ByName(name)
		if id != want || ok != (want != Other) {
			t.Errorf("ByName(%q) = %s, %v", name, id, ok)
		}
	}
}

// Each entry can be found under all its names, and by nobody else's.
func TestEveryEntryIsFound(t *testing.T) {
	if len(All()) < 100 {
		t.Fatalf("%d providers", len(All()))
	}
	for _, p := range All() {
		if len(p.MX) == 0 {
			t.Errorf("%s has no MX host", p.ID)
		}
		for _, mx := range p.MX {
			if have := Lookup("a."+mx, ""); have != p.ID {
				t.Errorf("%s belongs to %s, found %s", mx, p.ID, have)
			}
		}
		for _, d := range p.Domains {
			if have := Lookup("", d); have != p.ID {
				t.Errorf("%s belongs to %s, found %s", d, p.ID, have)
			}
		}
		if p.Filter && len(p.Domains) > 0 {
			t.Errorf("%s is a filter and has mailbox domains", p.ID)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"a\n  mx Example.com\n":   "line 2",
		"a\n  mx .example.com\n":  "line 2",
		"  mx example.com\n":      "before the first provider",
		"a\n  mail example.com\n": `unknown word "mail"`,
		"a b\n":                   `unknown word "b"`,

		"a\n  mx example.com\nb\n  mx example.com\n": "belongs to a already",

		"a\na\n":           "line 2",
		"other\n":          "line 1",
		"a\n alias b\nb\n": "line 3",
	} {
		if _, err := parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Lookup("MX01.mail.iCloud.com.", "icloud.com") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Lookup("smtpin.mx.mailhost.example.org", "shop.example.org")
	}
}
