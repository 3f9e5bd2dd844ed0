package dsn

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shape is what a mail of testdata/shapes says, judged by reading the mail. A recipient is
// "failed[<-mailed] action status code remote words", with "-" for what the mail does not tell; the words are a part of the
// diagnostic.
type shape struct {
	name       string
	kind       Kind
	recipients []string
}

func one(name, recipient string) shape   { return shape{name, Failure, []string{recipient}} }
func delay(name, recipient string) shape { return shape{name, Delay, []string{recipient}} }
func other(name string, kind Kind, recipients ...string) shape {
	return shape{name, kind, recipients}
}

func orDash(s string) string {
	if s == "" || s == "0" {
		return "-"
	}
	return s
}

// says tells how a recipient differs from what a shape says of it, "" if it does not.
func says(rec *Recipient, want string) string {
	fields := strings.SplitN(want, " ", 6)
	for len(fields) < 6 {
		fields = append(fields, "")
	}
	who := rec.Recipient
	if rec.Original != "" {
		who += "<-" + rec.Original
	}
	got := []string{who, orDash(rec.Action), orDash(rec.Status), orDash(fmt.Sprint(rec.SMTPCode)), orDash(rec.RemoteMTA)}
	for i := range got {
		if got[i] != fields[i] {
			return fmt.Sprintf("%s (%s), want %s", strings.Join(got, " "), rec.Diagnostic, want)
		}
	}
	if !strings.Contains(rec.Diagnostic, fields[5]) || fields[5] == "" && rec.Diagnostic != "" {
		return fmt.Sprintf("words %q, want %q", rec.Diagnostic, fields[5])
	}
	return ""
}

// Mails in the manner of many systems: what they say is found by the same means everywhere.
func TestShapesOfManySystemsAreRead(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range slices.Concat(systemShapes, languageShapes, otherShapes, moreShapes, lastShapes) {
		t.Run(s.name, func(t *testing.T) {
			seen[s.name+".eml"] = true
			mail, err := os.ReadFile(filepath.Join("testdata/shapes", s.name+".eml"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Parse(mail, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != s.kind {
				t.Errorf("%s, want %s", r.Kind, s.kind)
			}
			if len(r.Recipients) != len(s.recipients) {
				t.Fatalf("%d recipients, want %d: %v", len(r.Recipients), len(s.recipients), addresses(r))
			}
			for i, want := range s.recipients {
				if diff := says(&r.Recipients[i], want); diff != "" {
					t.Errorf("recipient %d: %s", i, diff)
				}
			}
			if r.Kind == Ordinary || r.Kind == AggregateReport {
				if r.HasOriginal || r.OriginalMessageID != "" {
					t.Errorf("nothing is reported, but: %s", show(r))
				}
				return
			}
			id := ""
			if bytes.Contains(mail, []byte("order-"+s.name+"@shop.example")) {
				id = "<order-" + s.name + "@shop.example>"
			}
			if id != "" && r.OriginalMessageID != id {
				t.Errorf("message %s, want %s", r.OriginalMessageID, id)
			}
			if r.ReturnPath != "bounces+4711@shop.example" && r.ReturnPath != "news@shop.example" {
				t.Errorf("came back to %q", r.ReturnPath)
			}
			if returned := bytes.Contains(mail, []byte("Feedback-ID: run7")); returned != r.HasOriginal && bytes.Contains(mail, []byte("\nDKIM-Signature:")) {
				t.Errorf("has original %v, want %v", r.HasOriginal, returned)
			}
		})
	}
	names, err := filepath.Glob("testdata/shapes/*.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !seen[filepath.Base(name)] {
			t.Errorf("%s: nobody says what it should say", name)
		}
	}
}

var systemShapes = []shape{
	one("m365-recipient-not-found", "jane@client.example failed 5.1.10 550 - RESOLVER.ADR.RecipientNotFound"),
	other("m365-remote-server-returned-text", Failure, "jane@client.example failed 5.1.1 550 - RecipNotFound; not found", "bob@client.example failed 5.2.2 554 mbx2.client.example STOREDRV.Deliver"),
	one("m365-receiving-server", "jane@client.example failed 5.4.316 550 mx1.client.example Message expired, connection refused"),
	other("exchange-2010-smtp-brackets", Failure, "jane@client.example failed 5.1.1 550 - not found", "bob@client.example failed 5.7.1 550 mx.partner.example Unable to relay"),
	one("m365-german", "jane@client.example failed 5.1.1 550 - RecipNotFound"),
	one("m365-french", "jane@client.example failed 5.1.1 550 - RecipNotFound"),
	delay("exchange-delayed", "jane@client.example delayed 4.4.7 400 - Message delayed"),
	other("exchange-5.5-ims", Failure, "jane@client.example failed - - - The recipient name is not recognized", "bob@client.example failed 5.2.2 552 - Mailbox full"),
	one("exchange-2003-winmail-hash", "jane@client.example failed 5.1.1 - - The e-mail account does not exist"),
	one("gmail-blocked", "jane@client.example failed 5.7.1 550 mx1.client.example on our block list"),
	one("gmail-dns-error", "jane@clinet.example failed 5.1.2 - - NXDOMAIN"),
	delay("gmail-old-temporary", "jane@client.example delayed 4.7.1 451 mx1.client.example Greylisting in action"),
	one("gmail-old-unwrapped", "jane@client.example failed - 550 - User unknown in relay recipient table"),
	one("yahoo-2016", "jane@client.example failed 5.7.1 554 - Relay access denied"),
	one("yahoo-no-mx", "jane@clinet.example failed - - - No mx record found"),
	other(
		"qmail-several", Failure, "jane@client.example failed 5.1.1 550 192.0.2.44 User unknown in virtual mailbox table", "bob@partner.example failed 5.7.1 553 192.0.2.45 your envelope sender domain must exist",
		"carol@clinet.example failed 5.1.2 - - couldn't find any host", "dave@slow.example failed 4.4.1 - - wasn't able to establish", "erin@big.example failed - 550 192.0.2.46 invalid HELO name 550 See the notes",
	),
	one("qmail-after-data", "jane@client.example failed 5.7.1 554 192.0.2.44 rejected as spam"),
	one("qmail-local-quota", "client.example-jane@client.example<-jane@client.example failed - - - user does not exist"),
	other(
		"exim-mixed", Failure, "jane@client.example<-info@shop.example failed 5.1.1 550 mx1.client.example User unknown in local", "bob@partner.example failed - - - retry timeout exceeded",
		"carol@clinet.example failed - - - all relevant MX records", "dave@old.example failed - 552 mx.old.example message size exceeds limit", "erin@full.example failed - - - mailbox is full",
	),
	one("exim-pipe", "jane@client.example failed - - - Child process of address_pipe transport returned 69"),
	delay("exim-frozen-delay", "jane@client.example delayed 4.3.0 451 mx1.client.example Temporary lookup failure"),
	other("groupwise", Failure, "jane@client.example failed - - - user not found", "bob@client.example failed - - - mailbox full"),
	one("domino-reason-block", "jane@client.example failed 5.1.1 - - not listed in Domino Directory"),
	one("notes-old", "jane@client.example failed - - - User not listed in public Name & Address Book"),
	one("mailenable-smtp", "jane@client.example failed 5.1.1 550 - No such user here"),
	one("courier-text", "jane@client.example failed 5.1.1 550 mx2.client.example unknown"),
	one("mimecast-ndr", "jane@client.example failed 5.1.1 550 - User unknown"),
	one("barracuda-blocked", "jane@client.example failed 5.7.1 550 - Message content rejected"),
	one("proofpoint-text", "jane@client.example failed 5.7.1 550 mx0a.client.example Sender blocked by policy"),
	other("powermta-multi", Failure, "jane@client.example failed 5.1.1 550 mx1.client.example no such user", "bob@partner.example failed 4.7.1 451 mx.partner.example try again later"),
	one("ecelerity-text", "jane@client.example failed 5.1.1 550 - user unknown"),
	one("communigate", "jane@client.example failed 5.2.2 - - account is full"),
	one("communigate-text", "jane@client.example failed 5.1.1 550 mx1.client.example user unknown"),
	one("hmailserver", "jane@client.example failed 5.1.1 550 192.0.2.44 unknown user"),
	one("smartermail", "jane@client.example failed 5.1.1 550 - does not exist"),
	one("mdaemon", "jane@client.example failed 5.1.1 550 - user unknown"),
	one("xmail", "jane@client.example failed 5.1.1 550 - unknown"),
	one("smail3", "jane@client.example failed - 550 - User unknown"),
	other("intermail", Failure, "jane@client.example failed 5.1.1 - - User unknown", "bob@client.example failed 5.2.2 552 - mailbox over quota"),
	one("intermail-queue", "jane@client.example failed - - - not reachable within the allowed queue period"),
	one("mailmarshal", "jane@client.example failed 5.1.1 550 192.0.2.44 User unknown"),
	one("mailfoundry", "jane@client.example failed - 550 - No such user here"),
	one("x6", "jane@client.example failed 5.1.1 550 mx1.client.example unknown user"),
	one("zimbra-lmtp", "jane@client.example failed 5.2.2 552 zm.client.example Over quota"),
	one("james", "jane@client.example failed 5.1.1 550 - Unknown user"),
	one("interscan", "jane@client.example failed 5.1.1 550 - user unknown"),
	one("kddi", "jane@mobile.example failed - - - mailbox is full"),
	one("biglobe", "jane@isp.example failed - - - exceeded the local limit"),
	one("ironport", "jane@client.example failed 5.1.1 550 192.0.2.44 User unknown"),
	one("icewarp", "jane@client.example failed 5.1.1 550 mx1.client.example User unknown; rejecting"),
	one("dovecot-sieve-reject", "jane@client.example failed - - - Quota exceeded (mailbox for user is full)"),
	one("dovecot-lda-bounce", "jane@client.example<-info@client.example failed 5.2.2 - - Quota exceeded"),
	delay("sendmail-warning", "jane@client.example delayed - - mx1.client.example Connection timed out"),
	one("sendmail-local-alias", "jane@home.example<-jane@client.example failed 5.1.1 550 mx.home.example no such user"),
	one("lsoft", "jane@client.example failed 5.1.1 550 - unknown"),
	one("ses-bounce", "jane@client.example failed 5.1.1 550 - could not be found, or was misspelled"),
	one("forwarder-srs", "jane.private@home.example<-jane@client.example failed 5.2.2 552 mx.home.example Mailbox full"),
	one("forwarder-hidden", "jane.private@home.example<-jane@client.example failed 5.2.2 - - mailbox full"),
}

var languageShapes = []shape{
	one("de-tonline", "jane@client.example failed - - - Postfach des Empfängers ist voll"),
	one("de-freetext-reply", "jane@client.example failed 5.1.1 550 - Unbekannter Benutzer"),
	delay("de-delay", "jane@client.example delayed - - - konnte bisher nicht zugestellt werden"),
	one("fr-freetext", "jane@client.example failed - - - boîte aux lettres pleine"),
	one("fr-unknown-user", "jane@client.example failed - - - utilisateur inconnu"),
	one("es-freetext", "jane@client.example failed 5.2.2 550 - El buzón del usuario está lleno"),
	one("es-unknown", "jane@client.example failed - - - el usuario no existe"),
	one("it-freetext", "jane@client.example failed - - - casella di posta piena"),
	delay("it-delay", "jane@client.example delayed - - - continuerà a tentare"),
	one("pt-freetext", "jane@client.example failed - - - usuário desconhecido"),
	one("nl-freetext", "jane@client.example failed - - - de mailbox van de ontvanger is vol"),
	one("pl-freetext", "jane@client.example failed - - - skrzynka odbiorcy jest pełna"),
	one("ru-freetext", "jane@client.example failed - - - почтовый ящик получателя переполнен"),
	one("ru-yandex-like", "jane@client.example failed 5.7.1 550 mx1.client.example No such user!"),
	delay("ru-delay", "jane@client.example delayed - - - Попытки доставки"),
	one("zh-netease-like", "jane@client.example failed - 550 - User not found"),
	one("zh-qq-like", "jane@client.example failed 5.2.2 552 - Mailbox is full"),
	one("zh-tw", "jane@client.example failed - - - 信箱已滿"),
	one("ja-softbank-like", "jane@mobile.example failed - - - 見つかりませんでした"),
	one("ja-docomo-like", "jane@mobile.example failed - - - 容量を超えた"),
	one("ja-shiftjis", "jane@client.example failed 5.1.1 550 - ユーザが存在しません"),
	one("ko-freetext", "jane@client.example failed 5.1.1 550 - 존재하지 않는"),
	one("tr-freetext", "jane@client.example failed 5.1.1 550 - Kullanıcı bulunamadı"),
}

const complained = "jane@client.example - - - -"

var otherShapes = []shape{
	other("ooo-exchange", AutoReply), other("ooo-reply-to-quoted-bounce", AutoReply), other("ooo-no-headers-german", AutoReply), other("ooo-left-company", AutoReply),
	other("ooo-french", AutoReply), other("ooo-from-postmaster-role", AutoReply), other("ooo-vacation-daemon", AutoReply), other("ticket-auto", AutoReply), other("mailman-post-held", AutoReply),
	other("challenge-tmda", Challenge), other("challenge-form", Challenge),
	other("dmarc-report", AggregateReport), other("dmarc-report-postmaster", AggregateReport), other("tlsrpt", AggregateReport),
	other("person-forwards-bounce-inline", Ordinary), other("person-forwards-bounce-attached", Ordinary), other("person-forwards-bounce-parts", Ordinary),
	other("person-asks-about-bounces", Ordinary), other("newsletter-about-bounces", Ordinary),
	other("delivered-report", Delivered, "jane@client.example delivered 2.0.0 - - delivered to maildir"),
	other("read-receipt", Disposition), other("unsubscribe-mail", Unsubscribe),
	other("arf-yahoo", Complaint, complained), other("arf-redacted-verp", Complaint, complained), other("arf-jmrp-new", Complaint, complained), other("arf-status-part-plain", Complaint, complained),
	other("arf-redacted-list-unsubscribe-mailto", Complaint, complained), other("arf-redacted-list-unsubscribe-url", Complaint, complained),
	other("arf-redacted-x-header", Complaint, complained), other("arf-redacted-message-id", Complaint, complained),
	other("arf-redacted-for-good", Complaint),
}
