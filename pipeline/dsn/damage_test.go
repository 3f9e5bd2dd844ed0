package dsn

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/htmlindex"

	"carom.dev/carom/schema"
)

const (
	damageHead = "Return-Path: <>\nDelivered-To: bounces+4711@shop.example\nFrom: Mail Delivery System <MAILER-DAEMON@mx.client.example>\n" +
		"To: bounces+4711@shop.example\nSubject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n"
	damageWords  = "<jane@client.example>: host mx1.client.example[192.0.2.44] said: 550 5.1.1 unknown (in reply to RCPT TO command)\n"
	damageStatus = "Reporting-MTA: dns; mx.client.example\n\nOriginal-Recipient: rfc822; jane@client.example\nFinal-Recipient: rfc822; jane@client.example\n" +
		"Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx1.client.example\nDiagnostic-Code: smtp; 550 5.1.1 unknown\n"
	damageOriginal = "Return-Path: <bounces+4711@shop.example>\nFrom: Shop <news@shop.example>\nTo: jane@client.example\nMessage-ID: <order-1@shop.example>\nSubject: Your order\n"
	damageWant     = "jane@client.example failed 5.1.1 550 mx1.client.example unknown"
)

// parts makes a multipart/report of parts that begin with their own header.
func parts(boundary string, all ...string) string {
	return damageHead + "Content-Type: multipart/report; report-type=delivery-status; boundary=\"" + boundary + "\"\n\n" + body(boundary, all...)
}

func body(boundary string, all ...string) string {
	var b strings.Builder
	for _, part := range all {
		b.WriteString("--" + boundary + "\n" + part + "\n")
	}
	return b.String() + "--" + boundary + "--\n"
}

func typedPart(header, content string) string { return "Content-Type: " + header + "\n\n" + content }

var (
	wordsPart    = typedPart("text/plain; charset=us-ascii", damageWords)
	statusPart   = typedPart("message/delivery-status", damageStatus)
	originalPart = typedPart("message/rfc822", damageOriginal+"\nhello\n")
	soundReport  = parts("b", wordsPart, statusPart, originalPart)
)

func inBase64(s string) string {
	coded := base64.StdEncoding.EncodeToString([]byte(s))
	var lines []string
	for len(coded) > 76 {
		lines, coded = append(lines, coded[:76]), coded[76:]
	}
	return strings.Join(append(lines, coded), "\n") + "\n"
}

// A report with the faults that mail programs and gateways make says what the sound one says.
func TestDamagedReportsSayTheSame(t *testing.T) {
	status := func(header string) string { return parts("b", wordsPart, header, originalPart) }
	for name, mail := range map[string]string{
		"sound":                            soundReport,
		"CRLF":                             strings.ReplaceAll(soundReport, "\n", "\r\n"),
		"CRCRLF":                           strings.ReplaceAll(soundReport, "\n", "\r\r\n"),
		"CRLF in the header only":          strings.Replace(strings.ReplaceAll(soundReport, "\n", "\r\n"), "\r\n\r\n", "\n\n", 99),
		"byte order mark":                  "\xef\xbb\xbf" + soundReport,
		"blank lines in front":             "\n\r\n \n" + soundReport,
		"mbox line in front":               "From MAILER-DAEMON Tue Apr 14 09:12:07 2026\n" + soundReport,
		"base64":                           status("Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" + inBase64(damageStatus)),
		"base64 of CRLF":                   status("Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" + inBase64(strings.ReplaceAll(damageStatus, "\n", "\r\n"))),
		"called base64, plain":             status("Content-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n" + damageStatus),
		"quoted-printable":                 status("Content-Type: message/delivery-status\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(strings.ReplaceAll(damageStatus, "@", "=40"), "unknown", "un=\nknown")),
		"global":                           status(typedPart("message/global-delivery-status; charset=utf-8", damageStatus)),
		"as text/plain":                    status(typedPart("text/plain", damageStatus)),
		"as an attachment":                 status("Content-Type: text/plain; name=\"details.txt\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n" + inBase64(damageStatus)),
		"as octets":                        status("Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + inBase64("\n"+damageStatus)),
		"upper case":                       status(typedPart("MESSAGE/DELIVERY-STATUS", strings.NewReplacer("Final-Recipient", "FINAL-RECIPIENT", "Action", "ACTION", "Status", "STATUS").Replace(damageStatus))),
		"blanks in front of colons":        status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, ": ", " : "))),
		"folded":                           status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "; ", ";\n\t"))),
		"no blanks behind colons":          status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, ": ", ":"))),
		"folds without their blank":        status(typedPart("message/delivery-status", strings.Replace(damageStatus, "5.1.1 unknown", "5.1.1\nunknown", 1))),
		"blank lines within":               status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "\n", "\n\n"))),
		"no blank line":                    status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "\n\n", "\n"))),
		"blank lines with blanks":          status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "\n\n", "\n \t\n"))),
		"no type of address":               status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "rfc822; ", ""))),
		"angle brackets":                   status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "jane@client.example", "<jane@client.example>"))),
		"comments":                         status(typedPart("message/delivery-status", strings.ReplaceAll(damageStatus, "jane@client.example", "(the (only) one) jane@client.example (Jane"))),
		"mailbox of the system":            status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Final-Recipient: rfc822; jane@client.example", `Final-Recipient: LOCAL; \jane`, 1))),
		"mailbox only":                     status(typedPart("message/delivery-status", strings.NewReplacer("Original-Recipient: rfc822; jane@client.example\n", "", "Final-Recipient: rfc822; jane@client.example", "Final-Recipient: LOCAL;<jane>").Replace(damageStatus))),
		"final recipient empty":            status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Final-Recipient: rfc822; jane@client.example", "Final-Recipient: rfc822;<>", 1))),
		"no recipient at all":              status(typedPart("message/delivery-status", strings.NewReplacer("Original-Recipient: rfc822; jane@client.example\n", "", "Final-Recipient: rfc822; jane@client.example", "Final-Recipient: rfc822;<>").Replace(damageStatus))),
		"no action":                        status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Action: failed\n", "", 1))),
		"no type of diagnostic":            status(typedPart("message/delivery-status", strings.Replace(damageStatus, "smtp; 550", "550", 1))),
		"marks around the status":          status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Status: 5.1.1", "Status: #5.1.1;", 1))),
		"comment behind the status":        status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Status: 5.1.1", "Status: 5.1.1 (bad destination mailbox)", 1))),
		"made-up status":                   status(typedPart("message/delivery-status", strings.Replace(damageStatus, "Status: 5.1.1", "Status: 5.0.0", 1))),
		"the same group twice":             status(typedPart("message/delivery-status", damageStatus+"\n"+strings.SplitN(damageStatus, "\n\n", 2)[1])),
		"the same part twice":              parts("b", wordsPart, statusPart, statusPart, originalPart),
		"fields in another order":          status(typedPart("message/delivery-status", "Reporting-MTA: dns; mx.client.example\n\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 unknown\nRemote-MTA: dns; mx1.client.example\nFinal-Recipient: rfc822; jane@client.example\n")),
		"no text part":                     parts("b", statusPart, originalPart),
		"no returned message":              parts("b", wordsPart, statusPart),
		"not closed":                       strings.TrimSuffix(soundReport, "--b--\n"),
		"cut within the returned message":  soundReport[:len(soundReport)-60],
		"boundary is the beginning of one": damageHead + "Content-Type: multipart/mixed; boundary=b\n\n" + body("b", "Content-Type: multipart/report; boundary=\"b-1\"\n\n"+body("b-1", wordsPart, statusPart, originalPart), typedPart("text/plain", "footer")),
		"another boundary than announced":  strings.ReplaceAll(soundReport, "--b", "--other"),
		"no boundary announced":            strings.Replace(soundReport, "; boundary=\"b\"", "", 1),
		"boundary in pieces":               strings.Replace(parts("abcdef", wordsPart, statusPart, originalPart), "boundary=\"abcdef\"", "boundary*0=\"abc\"; boundary*1=def", 1),
		"comment in the type":              strings.Replace(soundReport, "multipart/report;", "multipart/report (a report);", 1),
		"multipart in base64":              strings.Replace(damageHead+"Content-Type: multipart/report; boundary=\"b\"\n\n"+inBase64(body("b", wordsPart, statusPart, originalPart)), "MIME-Version: 1.0\n", "MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n", 1),
		"nested": damageHead + "Content-Type: multipart/mixed; boundary=m1\n\n" + body("m1", typedPart("multipart/mixed; boundary=m2", body("m2", typedPart("multipart/mixed; boundary=m3", body("m3",
			typedPart("multipart/report; boundary=b", body("b", wordsPart, statusPart, originalPart))))))),
		"wrapped by a mail system":     damageHead + "Content-Type: multipart/mixed; boundary=w\n\n" + body("w", typedPart("text/plain", "Copy of a notification.\n"), typedPart("message/rfc822", soundReport)),
		"text/plain all over":          damageHead + "Content-Type: text/plain\n\n" + damageWords + "\n" + damageStatus + "\n" + damageOriginal,
		"no content type":              damageHead + "\n" + damageWords + "\n" + damageStatus + "\n" + damageOriginal,
		"quoted-printable all over":    damageHead + "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" + strings.ReplaceAll(damageWords+"\n"+damageStatus, "@", "=40"),
		"words only":                   damageHead + "Content-Type: text/plain\n\n" + damageWords,
		"words in UTF-16":              damageHead + "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64\n\n" + inBase64(inUTF16(damageWords)),
		"words in UTF-8 with a mark":   damageHead + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + inBase64("\xef\xbb\xbf"+damageWords),
		"words in a page":              damageHead + "Content-Type: text/html\n\n<html><head><style>b { x: y }</style></head><body><p>Sorry.</p><p>" + strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(damageWords) + "</p></body></html>",
		"words in a page of no tags":   damageHead + "Content-Type: text/html\n\n" + damageWords,
		"address in bare brackets":     damageHead + "Content-Type: text/html\n\n<html><body><div>" + damageWords + "</div></body></html>",
		"no colon behind the address":  damageHead + "Content-Type: text/plain\n\n<jane@client.example>\n    host mx1.client.example[192.0.2.44] said: 550 5.1.1 unknown\n",
		"reply over several lines":     damageHead + "Content-Type: text/plain\n\n<jane@client.example>: host mx1.client.example[192.0.2.44]\n    said: 550 5.1.1\n    unknown (in reply to\n    RCPT TO command)\n",
		"encoded words in the subject": strings.Replace(damageHead, "Undelivered Mail Returned to Sender", "=?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte("Nicht zustellbar: Bestätigung")[:21])+"?= =?utf-8?b?"+base64.StdEncoding.EncodeToString([]byte("Nicht zustellbar: Bestätigung")[21:])+"?=", 1) + "\n" + damageWords,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Parse([]byte(mail), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != Failure || len(r.Recipients) != 1 {
				t.Fatalf("%s", show(r))
			}
			if diff := says(&r.Recipients[0], damageWant); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(mail, "order-1@") && r.OriginalMessageID != "<order-1@shop.example>" || r.ReturnPath != "bounces+4711@shop.example" || len(r.Cut) > 0 {
				t.Errorf("%s", show(r))
			}
		})
	}
}

func inUTF16(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// Character sets of the world, in the words and around the address.
func TestWordsAreReadInAnyCharacterSet(t *testing.T) {
	for charset, words := range map[string]string{
		"iso-8859-1": "Adresse inconnue, boîte pleine", "iso-8859-2": "skrzynka jest pełna", "windows-1251": "ящик переполнен", "koi8-r": "ящик переполнен", "iso-2022-jp": "見つかりません",
		"shift_jis": "見つかりません", "euc-jp": "見つかりません", "gb18030": "收件人不存在", "gb2312": "收件人不存在", "big5": "信箱已滿", "euc-kr": "존재하지 않는 사용자", "windows-1254": "kullanıcı bulunamadı", "windows-1253": "άγνωστος χρήστης",
		"utf-8": "邮箱已满",
	} {
		enc, err := htmlindex.Get(charset)
		if err != nil {
			t.Fatal(err)
		}
		coded, err := enc.NewEncoder().String("<jane@client.example>: " + words + "\n")
		if err != nil {
			t.Fatalf("%s: %v", charset, err)
		}
		for encoding, text := range map[string]string{"8bit": coded, "base64": inBase64(coded)} {
			mail := damageHead + "Content-Type: text/plain; charset=" + charset + "\nContent-Transfer-Encoding: " + encoding + "\n\n" + text
			r, err := Parse([]byte(mail), Limits{})
			if err != nil || len(r.Recipients) != 1 {
				t.Fatalf("%s: %v %v", charset, r, err)
			}
			if diff := says(&r.Recipients[0], "jane@client.example failed - - - "+words); diff != "" {
				t.Errorf("%s in %s: %s", charset, encoding, diff)
			}
		}
	}
}

// Groups are told apart whatever stands between them, and each keeps its own fields.
func TestGroupsAreToldApart(t *testing.T) {
	group := func(i int) string {
		return fmt.Sprintf("Original-Recipient: rfc822; o%d@client.example\nFinal-Recipient: rfc822; r%d@client.example\nAction: failed\nStatus: 5.1.%d\nDiagnostic-Code: smtp; 550 5.1.%d no\n", i, i, i, i)
	}
	for name, status := range map[string]string{
		"in order":               "Reporting-MTA: dns; mx\n\n" + group(1) + "\n" + group(2) + "\n" + group(3),
		"no blank lines":         "Reporting-MTA: dns; mx\n" + group(1) + group(2) + group(3),
		"many blank lines":       "\n\nReporting-MTA: dns; mx\n\n\n\n" + group(1) + "\n\n\n" + group(2) + "\n\n" + group(3) + "\n\n",
		"torn":                   "Reporting-MTA: dns; mx\n\n" + strings.ReplaceAll(group(1)+group(2)+group(3), "Action", "\nAction"),
		"extensions in between":  "Reporting-MTA: dns; mx\n\n" + group(1) + "X-Note: a\n\nX-Note: b\n\n" + group(2) + "\n" + group(3),
		"text in between":        "Reporting-MTA: dns; mx\n\n" + group(1) + "\nhere is the next one\n" + group(2) + "\n" + group(3),
		"message fields at last": group(1) + "\n" + group(2) + "\n" + group(3) + "\nReporting-MTA: dns; mx\n",
	} {
		r, err := Parse([]byte(parts("b", typedPart("message/delivery-status", status))), Limits{})
		if err != nil || len(r.Recipients) != 3 || r.ReportingMTA != "mx" {
			t.Errorf("%s: %v\n%s", name, err, show(r))
			continue
		}
		for i := range r.Recipients {
			if diff := says(&r.Recipients[i], fmt.Sprintf("r%d@client.example<-o%d@client.example failed 5.1.%d 550 - no", i+1, i+1, i+1)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

// What a group says decides, not what is usual.
func TestActionsAndStatusesThatContradict(t *testing.T) {
	for _, tc := range []struct{ fields, want string }{
		{"Action: failed\nStatus: 4.2.2\nDiagnostic-Code: smtp; 452 4.2.2 full\n", "jane@client.example failed 4.2.2 452 - full"},
		{"Action: delayed\nStatus: 4.4.7\nDiagnostic-Code: X-Queue; message expired, giving up\n", "jane@client.example failed 4.4.7 - - giving up"},
		{"Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: smtp; 421 4.4.1 try later\n", "jane@client.example delayed 4.4.1 421 - try later"},
		{"Action: expired\nStatus: 4.4.7\n", "jane@client.example failed 4.4.7 - -"},
		{"Status: 4.4.1\n", "jane@client.example delayed 4.4.1 - -"},
		{"Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 4.2.1 disabled\n", "jane@client.example failed 4.2.1 550 - disabled"},
		{"Action: failed\nStatus: 5.4.7\nDiagnostic-Code: smtp; 554 4.4.7 Message expired: unable to deliver in 840 minutes.<451 4.7.1 greylisted>\n", "jane@client.example failed 4.7.1 451 - greylisted"},
		{"Action: failed\nStatus: nonsense\nDiagnostic-Code: smtp; 550 no\n", "jane@client.example failed - 550 - no"},
		{"Action: failed\nStatus: 5.2.2\nRemote-MTA: dns; [192.0.2.44]\nDiagnostic-Code: SMTP;;550 full\n", "jane@client.example failed 5.2.2 550 192.0.2.44 full"},
		{"Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx1.client.example. (192.0.2.44, the server for the domain client.example.)\n", "jane@client.example failed 5.1.1 - mx1.client.example"},
	} {
		r, err := Parse([]byte(parts("b", typedPart("message/delivery-status", "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; jane@client.example\n"+tc.fields))), Limits{})
		if err != nil || len(r.Recipients) != 1 {
			t.Errorf("%s: %v", tc.fields, err)
			continue
		}
		if diff := says(&r.Recipients[0], tc.want); diff != "" {
			t.Errorf("%s: %s", tc.fields, diff)
		}
	}
}

// In Sendmail's transcript a line behind a server's reply is that reply, and one without any is Sendmail's own finding, whatever code it bears.
func TestTranscriptsTellWhoSpoke(t *testing.T) {
	const heading = "   ----- The following addresses had permanent fatal errors -----\n<jane@client.example>\n\n   ----- Transcript of session follows -----\n"
	for _, tc := range []struct {
		transcript, status, host string
		source                   schema.EnhancedSource
		origin                   schema.Origin
		phase                    schema.Phase
	}{
		{"550 5.1.2 <jane@client.example>... Host unknown (Name server: client.example: host not found)\n", "5.1.2", "", schema.EnhancedSource_ENHANCED_MTA, schema.Origin_LOCAL_MTA, schema.Phase_DNS},
		{"550 5.1.1 <jane@client.example>... User unknown\n", "5.1.1", "", schema.EnhancedSource_ENHANCED_MTA, schema.Origin_ASYNC_DSN, 0},
		{
			"... while talking to mx1.client.example.:\n>>> RCPT To:<jane@client.example>\n<<< 550 5.7.1 no\n550 5.1.1 <jane@client.example>... User unknown\n",
			"5.7.1", "mx1.client.example", schema.EnhancedSource_ENHANCED_REMOTE, schema.Origin_REMOTE_REPLY, schema.Phase_RCPT,
		},
		{
			"... while talking to mx1.client.example.:\n>>> DATA\n<<< 550-5.7.1 no,\n<<< 550 5.7.1 not from you\n554 5.0.0 Service unavailable\n",
			"5.7.1", "mx1.client.example", schema.EnhancedSource_ENHANCED_REMOTE, schema.Origin_REMOTE_REPLY, 0,
		},
	} {
		r, err := Parse([]byte(damageHead+"\n"+heading+tc.transcript), Limits{})
		if err != nil || len(r.Recipients) != 1 {
			t.Fatalf("%s: %v, %v", tc.transcript, r, err)
		}
		if rec := &r.Recipients[0]; rec.Status != tc.status || rec.RemoteMTA != tc.host || rec.StatusSource != tc.source || rec.Origin != tc.origin || rec.Phase != tc.phase {
			t.Errorf("%s%s", tc.transcript, show(r))
		}
	}
}
