package address

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestNormalize(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "rosa@example.com", "rosa@example.com"},
		{"upper case", "Rosa.Park@Example.COM", "rosa.park@example.com"},
		{"angle brackets", "<rosa@example.com>", "rosa@example.com"},
		{"root dot", "rosa@example.com.", "rosa@example.com"},
		{"U-label", "info@Bücher.example", "info@xn--bcher-kva.example"},
		{"A-label", "info@XN--BCHER-KVA.example", "info@xn--bcher-kva.example"},
		{"ideographic full stop", "a@日本。example", "a@xn--wgv71a.example"},
		{"no IDNA: underscore", "a@My_Host.example", "a@my_host.example"},
		{"no IDNA: underscore in a U-label", "a@Bü_cher.example", "a@bü_cher.example"},
		{"address literal", "a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]"},
		{"local part beyond ASCII", "JÜRGEN@example.com", "jürgen@example.com"},
		{"harmless quotes", `"john..doe"@example.com`, "john..doe@example.com"},
		{"quotes that matter: blank", `"John Doe"@example.com`, `"john doe"@example.com`},
		{"quotes that matter: at sign", `"a@b"@example.com`, `"a@b"@example.com`},
		{"quotes that matter: escape", `"a\"b"@example.com`, `"a\"b"@example.com`},
		{"empty quotes", `""@example.com`, `""@example.com`},
		{"tag is kept", "rosa+news@example.com", "rosa+news@example.com"},
		{"VERP", "bounces+1-rosa=example.com@news.example", "bounces+1-rosa=example.com@news.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Normalize(c.in)
			if err != nil || a.String() != c.want {
				t.Errorf("Normalize(%q) = %q, %v; want %q", c.in, a, err, c.want)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"empty", "", ErrSyntax},
		{"null sender", "<>", ErrSyntax},
		{"no domain", "postmaster", ErrSyntax},
		{"empty domain", "a@", ErrSyntax},
		{"empty local part", "@example.com", ErrSyntax},
		{"control character", "a\x00b@example.com", ErrSyntax},
		{"line end in the domain", "a@example.com\n", ErrSyntax},
		{"64 kB", strings.Repeat("a", 64<<10) + "@example.com", ErrTooLong},
		{"one byte too long", strings.Repeat("a", 320-12+1) + "@example.com", ErrTooLong},
		{"too long as A-labels", "a@" + strings.Repeat("ü.", 100) + "example", ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := Normalize(c.in)
			if !errors.Is(err, c.want) || a != (Address{}) {
				t.Errorf("got %q, %v; want %v", a, err, c.want)
			}
			if err != nil && len(err.Error()) > 100 {
				t.Errorf("the error repeats the address: %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := Normalize(strings.Repeat("a", 320-12) + "@example.com"); err != nil {
		t.Errorf("320 bytes refused: %v", err)
	}
}

func TestBytesThatAreNotUTF8KeepAddressesApart(t *testing.T) {
	a, errA := Normalize("X\xff@example.com")
	b, errB := Normalize("X\xfe@example.com")
	if errA != nil || errB != nil || a == b || a.Local != "x\xff" {
		t.Errorf("got %q (%v) and %q (%v)", a, errA, b, errB)
	}
}

func TestNormalizeOfPlainAddressDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Normalize("rosa.park+news@mail.example.com"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"rosa@example.com": "r***@example.com", "<rosa@example.com>": "r***@example.com", "ü@example.com": "ü***@example.com",
		`"a b"@example.com`: "***@example.com", "": "***", "postmaster": "***", "@example.com": "***", "a@": "***",
		"\xff@example.com": "***@example.com", strings.Repeat("a", 400) + "@x": "***",
	} {
		if got := Mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{
		"rosa@example.com", "<A@B.c>", `"x y"@z`, `"x"@z`, "a@bücher.example", "a@xn--bcher-kva.example", "İ@İ.example",
		"a@[127.0.0.1]", "a@b..", "a@ß.example", `""@x`, `"""@x`, "a@\u200d.x", "a@.", "ſ@ſ.x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Normalize(s)
		if err != nil {
			return
		}
		if n := len(a.String()); n > MaxBytes {
			t.Errorf("%q became %d bytes", s, n)
		}
		if again, err := Normalize(a.String()); err != nil || again != a {
			t.Errorf("%q became %q, and that %q (%v)", s, a, again, err)
		}
		if m := Mask(s); len(m) > 2*len(s)+len("***") {
			t.Errorf("mask of %q is %q", s, m)
		}
	})
}

func TestClearKeyIsTheAddress(t *testing.T) {
	var k Keyer
	if got := string(k.Key(Address{"rosa", "example.com"})); got != "rosa@example.com" || k.Private() {
		t.Errorf("got %q", got)
	}
}

func TestPrivateKeyIsTruncatedHMAC(t *testing.T) {
	secret := []byte("0123456789abcdef0123456789abcdef")
	k, err := NewKeyer("k1", secret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("rosa@example.com"))
	want := append([]byte("\x02k1"), mac.Sum(nil)[:16]...)
	clear(secret) // the Keyer has its own copy
	a := Address{"rosa", "example.com"}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if got := k.AppendKey([]byte("p"), a); !bytes.Equal(got, append([]byte("p"), want...)) {
					t.Errorf("got %x, want %x", got, want)
					return
				}
			}
		})
	}
	wg.Wait()
	other, err := NewKeyer("k1", []byte("another secret of enough bytes"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(other.Key(a), want) {
		t.Error("the secret does not matter")
	}
}

func TestNewKeyerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		secret int
	}{"no id": {"", 32}, "long id": {strings.Repeat("k", 32), 32}, "short secret": {"k", 15}} {
		if _, err := NewKeyer(c.id, make([]byte, c.secret)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func BenchmarkNormalize(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Normalize("rosa.park+news@mail.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrivateKey(b *testing.B) {
	k, err := NewKeyer("k1", make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	a := Address{"rosa.park+news", "mail.example.com"}
	var key []byte
	b.ReportAllocs()
	for b.Loop() {
		key = k.AppendKey(key[:0], a)
	}
}
