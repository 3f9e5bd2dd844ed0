package dsn

import (
	"bytes"
	"encoding/base64"
	"mime/quotedprintable"
	"net/mail"
	"testing"
	"time"

	"carom.dev/carom/schema"
)

func TestReturnPathsNameTheRecipient(t *testing.T) {
	for _, tc := range []struct {
		path, want string
		known      []string
	}{
		{"news+jane=client.example@shop.example", "jane@client.example", nil},
		{"bounces+4711-jane=client.example@shop.example", "jane@client.example", nil},
		{"bounces+4711-jane+tag=client.example@shop.example", "jane+tag@client.example", nil},
		{"bounces+x9-jane=client.example@shop.example", "jane@client.example", []string{"Jane@client.example"}},
		{"bounces+x9-jane=client.example@shop.example", "x9-jane@client.example", nil}, // who could know
		{"list-return-42-jean-paul=client.example@shop.example", "jean-paul@client.example", nil},
		{"bounce-jane=client.example@shop.example", "jane@client.example", nil},
		{"jane=client.example@bounces.shop.example", "jane@client.example", nil},
		{"jean-paul=client.example@bounces.shop.example", "", nil}, // "jean" may be a mark of the sender
		{"jean-paul=client.example@bounces.shop.example", "jean-paul@client.example", []string{"jean-paul@client.example"}},
		{"SRS0=HHH=TT=shop.example=news@forward.example", "", nil},
		{"SRS1=HHH=forward.example==HHH=TT=shop.example=news@next.example", "", nil},
		{"SRS0=HHH=TT=shop.example=news.team@forward.example", "", nil}, // a local part that looks like a domain
		{"prvs=1234567890=news@shop.example", "", nil},
		{"prvs=1234567890=news.team@shop.example", "", nil},
		{"news@shop.example", "", nil},
		{"a=b@shop.example", "", nil},
		{"", "", nil},
	} {
		if got := fromVERP(tc.path, tc.known); got != tc.want {
			t.Errorf("%s %v: %q, want %q", tc.path, tc.known, got, tc.want)
		}
	}
}

func TestRecipientFieldsAreReadInAllForms(t *testing.T) {
	for in, want := range map[string]string{
		"rfc822; jane@client.example":                "jane@client.example",
		"RFC822;<jane@client.example>":               "jane@client.example",
		"rfc822; Jane Doe <jane@client.example>":     "jane@client.example",
		"rfc822; jane@client.example (Jane)":         "jane@client.example",
		"rfc822;rfc822; jane@client.example":         "jane@client.example",
		"jane@client.example":                        "jane@client.example",
		"smtp:jane@client.example":                   "jane@client.example",
		"rfc822; jane+40client.example":              "jane@client.example",
		"rfc822; jane+40home@client.example":         "jane+40home@client.example",
		`utf-8; j\x{00FC}rgen@b\x{FC}cher.example`:   "jürgen@bücher.example",
		`utf-8; \x{D800}\x{FFFFFFFFFF}\x{@c.example`: `\x{D800}\x{FFFFFFFFFF}\x{@c.example`,
		"": "",
	} {
		if got := fieldAddress(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestAnswersAreTakenOutOfTheirWrapper(t *testing.T) {
	remote, local, unknown := schema.Origin_REMOTE_REPLY, schema.Origin_LOCAL_MTA, schema.Origin_ASYNC_DSN
	for _, tc := range []struct {
		in, text string
		code     int
		enhanced string
		host     string
		phase    schema.Phase
		origin   schema.Origin
	}{
		{"host mx.client.example[192.0.2.1] said: 450 4.2.2 full (in reply to\n    RCPT TO command)", "450 4.2.2 full", 450, "4.2.2", "mx.client.example", schema.Phase_RCPT, remote},
		{"host mx.client.example[192.0.2.1] said: 550 no (in reply to end of DATA command)", "550 no", 550, "", "mx.client.example", schema.Phase_EOM, remote},
		{"SMTP error from remote mail server after MAIL FROM:<a@b.example>:\nhost mx.client.example [192.0.2.1]: 553 sender\n553 refused", "553 sender 553 refused", 553, "", "mx.client.example", schema.Phase_MAIL, remote},
		{"connect to mx.client.example[192.0.2.1]:25: Connection refused", "connect to mx.client.example[192.0.2.1]:25: Connection refused", 0, "", "mx.client.example", schema.Phase_CONNECT, local},
		{"Sorry, no mailbox here by that name. (#5.1.1)", "Sorry, no mailbox here by that name. (#5.1.1)", 0, "5.1.1", "", 0, unknown},
		{"554 554 5.7.0 Header error (state 18)", "554 5.7.0 Header error (state 18)", 554, "5.7.0", "", 0, remote},
		{"550: 5.2.2 full", "550: 5.2.2 full", 550, "5.2.2", "", 0, remote},
		{"Remote Server returned '550 5.7.520 Access denied'", "550 5.7.520 Access denied", 550, "5.7.520", "", 0, remote},
		{"550 unknown\n[RCPT_TO]", "550 unknown", 550, "", "", schema.Phase_RCPT, remote},
		{"451 4.4.1 reply: read error from mx.client.example.", "451 4.4.1 reply: read error from mx.client.example.", 451, "4.4.1", "mx.client.example", 0, local},
		{"454 4.4.4 [internal] no MX or A for domain", "454 4.4.4 [internal] no MX or A for domain", 454, "4.4.4", "", 0, local},
		{"554 4.4.7 Message expired: unable to deliver in 840 minutes.<451 4.7.1 try again later>", "451 4.7.1 try again later", 451, "4.7.1", "", 0, remote},
		{"Reason: 5.1.1 <jane@client.example>... unknown", "5.1.1 <jane@client.example>... unknown", 0, "5.1.1", "", 0, remote},
		{"mx2.client.example\nRemote Server returned '554 5.2.2 mailbox full'", "554 5.2.2 mailbox full", 554, "5.2.2", "mx2.client.example", 0, remote},
		{"mx.client.example #<mx.client.example #5.7.1 smtp;550 5.7.1 Unable to relay> #SMTP#", "550 5.7.1 Unable to relay", 550, "5.7.1", "mx.client.example", 0, remote},
		{"SMTP Server <mx.client.example> rejected it (Error following RCPT command). It responded: [550 no]", "550 no", 550, "", "mx.client.example", schema.Phase_RCPT, remote},
		{"550 no\n\nThis has been a permanent failure.", "550 no", 550, "", "", 0, remote},
		{"see https://help.example/?p=badrcptdomain", "see https://help.example/?p=badrcptdomain", 0, "", "", 0, unknown},
		{"Permanent Failure: 550_5.1.1_unknown", "550 5.1.1 unknown", 550, "5.1.1", "", 0, remote},
		{"Your order of 550 pieces at 12:450 came back after 421 seconds", "Your order of 550 pieces at 12:450 came back after 421 seconds", 0, "", "", 0, unknown},
		{"", "", 0, "", "", 0, 0},
	} {
		a := readAnswer(tc.in)
		if a.text != tc.text || a.code != tc.code || a.enhanced != tc.enhanced || a.remote != tc.host || a.phase != tc.phase || a.origin != tc.origin {
			t.Errorf("%q:\n%+v", tc.in, a)
		}
	}
}

// What net/mail reads, parseDate reads the same; it reads more.
func TestDatesAreRead(t *testing.T) {
	for _, s := range []string{
		"Tue, 14 Apr 2026 09:12:01 +0000", "Tue, 14 Apr 2026 11:12:01 +0200 (CEST)", "14 Apr 2026 09:12 -0330", "Tue,  4 Apr 2026 23:59:60 +0000",
	} {
		want, err := mail.ParseDate(s)
		if err != nil && s != "Tue,  4 Apr 2026 23:59:60 +0000" {
			t.Fatal(err)
		}
		if got := parseDate(s); err == nil && !got.Equal(want) || got.IsZero() {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
	want := time.Date(2026, 4, 14, 9, 12, 1, 0, time.UTC)
	for _, s := range []string{"Tue Apr 14 09:12:01 2026", "14 Apr 26 05:12:01 EDT", "Tue, 14 April 2026 09:12:01 GMT", "Tue, 14 Apr 2026 09:12:01"} {
		if got := parseDate(s); !got.Equal(want) {
			t.Errorf("%s: %s", s, got)
		}
	}
	for _, s := range []string{"", "yesterday", "Tue, 32 Apr 2026 09:12:01 +0000", "Tue, 14 Foo 2026 09:12:01 +0000", "14 Apr 2026 25:00:00 +0000", "14 Apr 2026 -1:00:00"} {
		if got := parseDate(s); !got.IsZero() {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// On sound input the tolerant decoders are those of the standard library.
func TestTransferEncodingsAreUndone(t *testing.T) {
	data := make([]byte, 3000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Binary = true
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := decodeBody(qp.Bytes(), []byte(" Quoted-Printable\r\n")); !bytes.Equal(got, data) {
		t.Error("quoted-printable differs")
	}
	for n := range 5 {
		if got := decodeBody([]byte(base64.StdEncoding.EncodeToString(data[n:])), []byte("BASE64")); !bytes.Equal(got, data[n:]) {
			t.Errorf("base64 from %d differs", n)
		}
	}
	for in, want := range map[string]string{"a=ZZb=": "a=ZZb", "a= \t\r\nb": "ab", "=4": "=4", "100=": "100"} {
		if got := decodeQuotedPrintable([]byte(in)); string(got) != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := decodeBase64([]byte("aGVs\r\nbG8\n!!=IHdv\ncmxk")); string(got) != "hello world" {
		t.Errorf("%q", got)
	}
}

func TestEncodedWordsAreDecodedOnce(t *testing.T) {
	for in, want := range map[string]string{
		"=?utf-8?q?caf=C3=A9?= au lait":              "café au lait",
		"=?UTF-8?B?Y2Fmw6k=?=":                       "café",
		"=?utf-8*fr?q?caf=C3?= =?utf-8?q?=A9?= noir": "café noir", // a character in two words
		"=?utf-8?q?a?=  =?iso-8859-1?q?=E9?= b":      "aé b",
		"=?utf-8?q?a_b?=x=?utf-8?q?c?=":              "a bxc",
		`"=?utf-8?q?Sh=C3=B6p?=" <a@b.example>`:      `"Shöp" <a@b.example>`,
		"=?utf-8?q?=3D=3Futf-8=3Fq=3Fx=3F=3D?=":      "=?utf-8?q?x?=", // not decoded again
		"=?utf-8?q?open":                             "=?utf-8?q?open",
		"=?utf-8?x?a?=":                              "=?utf-8?x?a?=",
		"=?? ?=":                                     "=?? ?=",
		"a =?= b ?=":                                 "a =?= b ?=",
		"caf\xe9 =?utf-8?q?a?=":                      "café a",
		"=?no-such-set?q?caf=E9?=":                   "café",
	} {
		if got := decodeHeader(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestCharacterSetsAreTolerated(t *testing.T) {
	for _, tc := range []struct{ in, charset, want string }{
		{"caf\xe9", "iso-8859-1", "café"},
		{"caf\xe9", "", "café"},
		{"caf\xe9", "utf-8", "café"},
		{"caf\xe9", "no-such-set", "café"},
		{"café", "iso-8859-1", "café"},
		{"\x1b$B%(%i!<\x1b(B", "iso-2022-jp", "エラー"},
		{"\x1b$B%(%i!<\x1b(B", "us-ascii", "エラー"},
		{"\xcf\xf0\xe8", "windows-1251", "При"},
	} {
		if got := toUTF8([]byte(tc.in), tc.charset); got != tc.want {
			t.Errorf("%q as %s: %q, want %q", tc.in, tc.charset, got, tc.want)
		}
	}
}

// People write about bounces too, and forward them.
func TestPeopleAreNoMailSystem(t *testing.T) {
	bounce := "   ----- The following addresses had permanent fatal errors -----\n<jane@client.example>\n   ----- Transcript of session follows -----\n<<< 550 5.1.1 unknown\n"
	for _, tc := range []struct {
		head string
		want Kind
	}{
		{"From: MAILER-DAEMON@mx.example\nSubject: Returned mail\n", Failure},
		{"Return-Path: <>\nFrom: Support <support@mx.example>\nSubject: Returned mail\n", Failure},
		{"From: Bob <bob@client.example>\nSubject: Fwd: Returned mail: see transcript for details\n", Ordinary},
		{"From: Bob <bob@client.example>\nSubject: what is this\n", Ordinary},
		{"From: Bob <bob@client.example>\nSubject: Automatic reply: Returned mail\nAuto-Submitted: auto-replied\n", AutoReply},
	} {
		body := bounce
		if tc.want == AutoReply {
			body = "I am away. Your message could not be delivered to my heart.\n"
		}
		r, err := Parse([]byte(tc.head+"\n"+body), Limits{})
		if err != nil || r.Kind != tc.want {
			t.Errorf("%s%v, %v, want %s", tc.head, r.Kind, err, tc.want)
		}
	}
}
