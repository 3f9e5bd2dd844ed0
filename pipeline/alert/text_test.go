package alert

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/protobuf/proto"

	"carom.dev/carom/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

const second = 1_000_000

// apple is 2019-08-08, the day of the first example in the documentation.
func apple() *schema.Incident {
	const at = 1565283840 * second // 17:04 UTC
	return &schema.Incident{
		Id: "inc-0011aabbccdd", Revision: 4, State: updated, Kind: "provider_false_unknown", Provider: "apple", Class: "recipient.unknown",
		Severity: "page", OnsetUs: at, OpenedUs: at + 180*second, UpdatedUs: at + 22*60*second, Attempts: 15520, Observed: 4850,
		Expected: 38, Excess: 4812, Share: 0.311, Z: 44, Hold: true, HoldFromUs: at - 600*second, HoldUntilUs: at + 86400*second,
		Action: "defer_bulk", AcceptedShare: 0.83,
		Breakdown: []*schema.Breakdown{
			{Dimension: "source_ip", Value: "192.0.2.17", Attempts: 8000, Observed: 2500},
			{Dimension: "source_ip", Value: "192.0.2.18", Attempts: 7520, Observed: 2350},
			{Dimension: "domain", Value: "icloud.example", Attempts: 9000, Observed: 2610},
		},
		Evidence: []*schema.Evidence{{
			OccurredAtUs: at + 161*second, SourceIp: "192.0.2.17", RemoteHost: "mx02.mail.icloud.example", RemoteIp: "198.51.100.5",
			SmtpCode: 550, EnhancedCode: "5.1.1", Text: "550 5.1.1 <rosa.meier@me.example>: user does not exist", Count: 4812,
		}},
		Summary:   "[PAGE] apple: recipient.unknown on 31 % of attempts (expected 0.24 % +/- 0.04 %), 4 812 excess in 22 min",
		Suspicion: "sender: unlikely: 83 % of the refused recipients accepted mail before. own MTA or ESP: unlikely: 2 source addresses are refused, other providers at 1.02 x the expected. provider: likely.",
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

func TestText(t *testing.T) {
	golden(t, "apple.txt", Text(apple()))

	end := apple()
	end.State, end.ResolvedUs, end.Revision = resolved, end.OnsetUs+3600*second, 9
	end.HoldUntilUs = end.ResolvedUs
	golden(t, "apple-resolved.txt", Text(end))

	blocked := &schema.Incident{
		Id: "inc-00", Revision: 1, State: open, Kind: "ip_blocked", Provider: "yahoo", Class: "block.ip_blocklist", Severity: "page",
		OnsetUs: apple().OnsetUs, OpenedUs: apple().OpenedUs, Attempts: 100, Observed: 60,
		Breakdown: []*schema.Breakdown{{Dimension: "source_ip", Value: "192.0.2.17", Attempts: 100, Observed: 60}},
		Evidence:  []*schema.Evidence{{OccurredAtUs: apple().OnsetUs, Text: "listed, see https://evil.example/?who=me%40mine.example", SmtpCode: 554}},
		Summary:   "[PAGE] yahoo from 192.0.2.17: block.ip_blocklist on 60 % of attempts",
	}
	golden(t, "ip-blocked.txt", Text(blocked))
}

// What a remote server says reaches a screen as visible text, without anybody's address.
func TestHostileTextStaysText(t *testing.T) {
	check := func(in, want string) {
		t.Helper()
		if got := clean(in, 60); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
	check("550 \x1b[31mred\x1b[0m\r\nX-Header: 1\x00", "550 [31mred[0m X-Header: 1")
	check("abc\u202etxt.exe\u2066\u200b\ufeff def", "abctxt.exe def")
	check("bad \xff\xfe bytes", "bad ?? bytes")
	check("a\u2028b\u0085c\td", "a b c d")
	check("tag \U000e0041\U000e0042 end", "tag end")
	check("<rosa.meier@example.org>: unknown", "<r***@example.org>: unknown")
	check(`<"rosa meier"@example.org> and "x@y"@z.example`, `<r***@example.org> and x***@z.example`)
	check("rosa@[192.0.2.1] ros\u00e9@b\u00fccher.example", "r***@[192.0.2.1] r***@b\u00fccher.example")
	check("rosa\uff20example.org", "r***@example.org")
	check("rosa%40example.org", "r***%40example.org")
	check("rfc822;rosa@example.org", "rfc822;r***@example.org")
	check(strings.Repeat("x", 100), strings.Repeat("x", 59)+"…")
	// The cut must not uncover what the mask has not seen whole.
	long := strings.Repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@b.c ", 16) + "secretsecret" + strings.Repeat("x", 60) + "@d.example"
	if got := clean(long, 300); strings.Contains(got, "secret") {
		t.Errorf("an address shows: %q", got)
	}
	for _, r := range clean(string(allRunes()), 1<<20) {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r != ' ' && unicode.IsSpace(r) {
			t.Errorf("%U passes", r)
		}
	}
}

func allRunes() (all []rune) {
	for r := rune(0); r < 0x10ffff; r++ {
		if r < 0x3400 || r > 0xd7ff {
			all = append(all, r)
		}
	}
	return all
}

func TestMarkupIsDisarmed(t *testing.T) {
	check := func(in, want string) {
		if got := markup(in); got != want {
			t.Errorf("markup(%q) = %q, want %q", in, got, want)
		}
	}
	check("<!channel> <https://evil.example|click> ```", "‹!channel› ‹https://evil.example|click› '''")
	check("<script>alert(1)</script> &lt;", "‹script›alert(1)‹/script› ＆lt;")
	check("@here @Channel, r***@hereford.example", "(at)here (at)Channel, r***@hereford.example")
}

// No path out of the package lets a full address through.
func TestNoAddressLeaves(t *testing.T) {
	inc := apple()
	inc.Summary += " <rosa.meier@me.example>"
	inc.Suspicion += " rosa.meier@me.example"
	inc.Breakdown = append(inc.Breakdown, &schema.Breakdown{Dimension: "tenant", Value: "rosa.meier@me.example", Attempts: 1})
	inc.Provider = "rosa.meier@me.example"
	before := proto.CloneOf(inc)
	body, err := webhookBody(inc)
	if err != nil {
		t.Fatal(err)
	}
	a := newTestAlertmanager(t, "http://127.0.0.1:1")
	p := a.alert(inc)
	all := Text(inc) + string(body)
	for _, m := range []map[string]string{p.Labels, p.Annotations} {
		for _, v := range m {
			all += v
		}
	}
	if strings.Contains(all, "osa.meier") {
		t.Errorf("an address leaves: %s", all)
	}
	if !proto.Equal(before, inc) {
		t.Error("the incident was changed")
	}
}
