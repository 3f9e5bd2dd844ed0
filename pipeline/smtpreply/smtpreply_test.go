package smtpreply

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     Reply
	}{
		{"empty", "", Reply{}},
		{"plain", "550 5.1.1 user unknown", Reply{550, "5.1.1", "user unknown"}},
		{"no enhanced code", "550 No such user here", Reply{550, "", "No such user here"}},
		{"code alone", "550", Reply{550, "", ""}},
		{"code and blank", "451 ", Reply{451, "", ""}},
		{"code and hyphen alone", "550-", Reply{550, "", ""}},
		{"accepted", "250 2.0.0 Ok: queued as 6F180480", Reply{250, "2.0.0", "Ok: queued as 6F180480"}},
		{"intermediate", "354 go ahead", Reply{354, "", "go ahead"}},
		{"three-digit subject and detail", "451 4.7.500 Server busy", Reply{451, "4.7.500", "Server busy"}},
		{"classes may differ", "550 4.2.1 mailbox disabled", Reply{550, "4.2.1", "mailbox disabled"}},
		{"hash", "550 #5.1.0 Address rejected", Reply{550, "5.1.0", "Address rejected"}},
		{"hash without blank", "550#5.1.0 Address rejected", Reply{550, "5.1.0", "Address rejected"}},
		{"parentheses", "550 (5.1.1) unknown", Reply{550, "5.1.1", "unknown"}},
		{"hash in parentheses at the start", "553 (#5.7.1) no", Reply{553, "5.7.1", "no"}},
		{"brackets", "550 [5.1.1] unknown", Reply{550, "5.1.1", "unknown"}},
		{"enhanced code not at the start", "553 sorry, bad sender (#5.7.1)", Reply{553, "", "sorry, bad sender (#5.7.1)"}},
		{"parenthesis with words", "550 (5.1.1 unknown)", Reply{550, "", "(5.1.1 unknown)"}},
		{"no blanks at all", "5505.1.1unknown user", Reply{550, "5.1.1", "unknown user"}},
		{"text behind the code", "550Requested action not taken", Reply{550, "", "Requested action not taken"}},
		{"tab as Postfix writes it", "550 5.1.1?user?unknown", Reply{550, "5.1.1", "?user?unknown"}},
		{"enhanced code first", "5.1.1 user unknown", Reply{0, "5.1.1", "user unknown"}},
		{"address in place of the enhanced code", "554 5.9.1.20 is listed", Reply{554, "", "5.9.1.20 is listed"}},
		{"address in place of the code", "250.10.1.1 is listed", Reply{0, "", "250.10.1.1 is listed"}},
		{"longer number in place of the code", "55012 things", Reply{0, "", "55012 things"}},
		{"first class is none", "150 1.1.1 soon", Reply{0, "", "150 1.1.1 soon"}},
		{"class 3 is none", "354 3.0.0 soon", Reply{354, "", "3.0.0 soon"}},
		{"leading zero is none", "550 5.01.1 x", Reply{550, "", "5.01.1 x"}},
		{"four digits are none", "550 5.1.1000 x", Reply{550, "", "5.1.1000 x"}},
		{"sentence ends behind the code", "550 5.1.1. Sorry", Reply{550, "5.1.1", ". Sorry"}},
		{"single-digit code of Yahoo", "552 1 Requested mail action aborted", Reply{552, "", "1 Requested mail action aborted"}},
		{"no reply", "Error: something went wrong 503 5.5.1 RCPT first", Reply{0, "", "Error: something went wrong 503 5.5.1 RCPT first"}},
		{"blanks around", "  550 5.1.1  x  ", Reply{550, "5.1.1", "x"}},

		{"lines by newline", "550-5.7.1 one\n550-5.7.1  two\n550 5.7.1 three", Reply{550, "5.7.1", "one two three"}},
		{"lines by CRLF", "550-5.7.1 one\r\n550 5.7.1 two\r\n", Reply{550, "5.7.1", "one two"}},
		{"lines by blank", "550-5.7.1 one 550-5.7.1   550-5.7.1  DKIM = no 550 5.7.1 two", Reply{550, "5.7.1", "one DKIM = no two"}},
		{"lines by nothing", "550-5.7.1 one.550-5.7.1 two550 5.7.1 three", Reply{550, "5.7.1", "one. two three"}},
		{"lines by nothing, no enhanced code, behind a full stop", "554-one.554 two", Reply{554, "", "one. two"}},
		{"lines by a literal \\n", `550-5.7.1 one\n550 5.7.1 two`, Reply{550, "5.7.1", "one two"}},
		{"lines by #015#012", "550-5.7.1 one#015#012550 5.7.1 two", Reply{550, "5.7.1", "one two"}},
		{"lines by #012", "550-one#012550 two", Reply{550, "", "one two"}},
		{"lines by a literal \\r\\n", `550-one\r\n550 two`, Reply{550, "", "one two"}},
		{"no enhanced code", "554-mx.example.net 554 Your access is rejected", Reply{554, "", "mx.example.net Your access is rejected"}},
		{"no hyphen, but lines", "550 5.1.1 one\n550 5.1.1 two", Reply{550, "5.1.1", "one two"}},
		{"only the first line has an enhanced code", "550-5.1.1 one\n550 two", Reply{550, "5.1.1", "one two"}},
		{"line without a code", "550-one\ntwo\n550 three", Reply{550, "", "one two three"}},
		{"last line empty", "550-one\n550", Reply{550, "", "one"}},
		{"code among the words", "550 5.1.1 see RFC 550 5.1.1 there", Reply{550, "5.1.1", "see RFC 550 5.1.1 there"}},
		{"code in an address", "550-5.7.1 from 10.550.1 and ref-550 x 550 5.7.1 end", Reply{550, "5.7.1", "from 10.550.1 and ref-550 x end"}},
		{"code behind the last line", "550-one 550 two 550 three", Reply{550, "", "one two 550 three"}},
		{"backslash among the words", `550 no C:\new here`, Reply{550, "", `no C:\new here`}},
		{"number sign among the words", "550 error #012 x", Reply{550, "", "error x"}},
		{"other enhanced code in a later line", "550-5.7.1 one 550 5.7.26 two", Reply{550, "5.7.1", "one 5.7.26 two"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Parse(c.in)
			if got != c.want {
				t.Errorf("Parse(%q)\n got %+v\nwant %+v", c.in, got, c.want)
			}
			if code, enhanced := Codes(c.in); code != c.want.Code || enhanced != c.want.Enhanced {
				t.Errorf("Codes(%q) = %d %q", c.in, code, enhanced)
			}
		})
	}
}

func TestValidEnhanced(t *testing.T) {
	for s, want := range map[string]bool{
		"5.1.1": true, "2.0.0": true, "4.999.999": true, "5.7.26": true,
		"": false, "5": false, "5.1": false, "5.1.": false, "5..1": false, "3.1.1": false, "1.1.1": false, "5.1.1.1": false,
		"5.01.1": false, "5.1.1000": false, "5.1.1 ": false, " 5.1.1": false, "5.1.x": false, "55.1.1": false,
	} {
		if ValidEnhanced(s) != want {
			t.Errorf("ValidEnhanced(%q) = %t", s, !want)
		}
	}
}

func TestOneLineDoesNotAllocate(t *testing.T) {
	in := "550 5.1.1 <someone@example.com>: user #unknown \\ here - 550"
	if n := testing.AllocsPerRun(100, func() { Parse(in) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// A reply that was rendered from lines is found again, however the lines were joined, as long as no line holds what looks
// like a code itself.
func FuzzParse(f *testing.F) {
	f.Add("550 5.1.1 user unknown", "second line", uint16(550), uint16(7), uint16(26))
	f.Add("550-5.7.1 one 550 5.7.1 two", "x", uint16(421), uint16(0), uint16(0))
	f.Add("Error: something", "#015#012 C:\\new\n", uint16(250), uint16(999), uint16(999))
	f.Add("5.1.1.1", "(#5.1.1)", uint16(554), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, raw, word string, code, subject, detail uint16) {
		r := Parse(raw)
		if r.Code != 0 && (r.Code < 200 || r.Code > 599) {
			t.Errorf("code %d out of range", r.Code)
		}
		if r.Enhanced != "" && !ValidEnhanced(r.Enhanced) {
			t.Errorf("enhanced code %q is not valid", r.Enhanced)
		}
		if len(r.Text) > len(raw) {
			t.Errorf("%d bytes of text from %d", len(r.Text), len(raw))
		}
		if utf8.ValidString(raw) && !utf8.ValidString(r.Text) {
			t.Errorf("text %q is not UTF-8", r.Text)
		}
		if c, e := Codes(raw); c != r.Code || e != r.Enhanced {
			t.Errorf("Codes gives %d %q, Parse %d %q", c, e, r.Code, r.Enhanced)
		}

		word = strings.Map(func(r rune) rune {
			if r|0x20 >= 'a' && r|0x20 <= 'z' {
				return r
			}
			return -1
		}, word)
		if word == "" {
			return
		}
		digits := string([]byte{'2' + byte(code%4), '0' + byte(code/4%10), '0' + byte(code/40%10)})
		enhanced := string([]byte{"245"[code%3], '.'}) + itoa(subject%1000) + "." + itoa(detail%1000)
		want := Reply{Code: int(digits[0]-'0')*100 + int(digits[1]-'0')*10 + int(digits[2]-'0'), Enhanced: enhanced, Text: word + " two " + word}
		for _, joint := range []string{"\r\n", "\n", " ", "", `\n`, "#015#012"} {
			in := digits + "-" + enhanced + " " + word + joint + digits + "-" + enhanced + " two" + joint + digits + " " + enhanced + " " + word
			if got := Parse(in); got != want {
				t.Errorf("Parse(%q)\n got %+v\nwant %+v", in, got, want)
			}
		}
	})
}

func itoa(n uint16) string {
	if n >= 10 {
		return itoa(n/10) + string(rune('0'+n%10))
	}
	return string(rune('0' + n))
}
