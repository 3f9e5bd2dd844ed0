package dsn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The address a report came back to is the receiving server's note, and among several the one that the returned message confirms.
func TestReportsTellWhereTheyCameBackTo(t *testing.T) {
	status := "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; jane@client.example\nAction: failed\nStatus: 5.1.1\n"
	original := "\n--b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <bounces+4711@shop.example>\nMessage-ID: <1@shop.example>\n"
	for _, tc := range []struct{ head, rest, want string }{
		{"To: a@shop.example\n", "", "a@shop.example"},
		{"To: \"A, B\" <a@shop.example>, b@shop.example\nDelivered-To: c@shop.example\n", "", "c@shop.example"},
		{"Delivered-To: c@shop.example\nX-Original-To: d@shop.example\n", "", "d@shop.example"},
		{"Envelope-To: e@shop.example\nTo: a@shop.example\n", "", "e@shop.example"},
		{"X-Envelope-To: <f@shop.example>\nTo: a@shop.example\n", "", "f@shop.example"},
		{"Delivered-To: inbox@internal.example\nDelivered-To: bounces+4711@shop.example\nTo: a@shop.example\n", "", "inbox@internal.example"},
		{"Delivered-To: inbox@internal.example\nDelivered-To: bounces+4711@shop.example\nTo: a@shop.example\n", original, "bounces+4711@shop.example"},
		{"X-Original-To: jane@client.example\nTo: bounces+4711@shop.example\n", "", "bounces+4711@shop.example"}, // dma
		{"X-Original-To: jane@client.example\n", "", "jane@client.example"},
		{"Subject: nothing\n", "", ""},
		{strings.Repeat("Delivered-To: x@shop.example\n", 500) + "To: a@shop.example\n", "", "x@shop.example"},
	} {
		r, err := Parse([]byte("From: MAILER-DAEMON@mx\n"+tc.head+status+tc.rest), Limits{})
		if err != nil || r.ReturnPath != tc.want || r.HasOriginal != (tc.rest != "") {
			t.Errorf("%.100s: %q, want %q; original %v, %v", tc.head, r.ReturnPath, tc.want, r.HasOriginal, err)
		}
	}
}

// What the returned header says can be asked for, bounded, decoded, and without holding the mail.
func TestReturnedHeadersCanBeAskedFor(t *testing.T) {
	head := "From: =?utf-8?q?Sh=C3=B6p?= <news@shop.example>\nDKIM-Signature: v=1; a=rsa-sha256;\n d=Shop.example ; s=a; b=x\nDKIM-Signature: d=esp.example\nDKIM-Signature: d=shop.example\nDKIM-Signature: d=no domain\n" +
		"X-Campaign:  spring\n sale \nx-campaign: =?utf-8?b?RnLDvGhsaW5n?=\nX-Empty:\nX-Long: " + strings.Repeat("x", 9000) + "\nMessage-ID: <1@shop.example>\n"
	for i := range 40 {
		head += fmt.Sprintf("X-Many: %d\nDKIM-Signature: d=d%d.example\n", i, i)
	}
	mail := []byte(parts("b", statusPart, typedPart("text/rfc822-headers", head)))
	r, err := Parse(mail, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range mail {
		mail[i] = '!' // the report has its own copy
	}
	if !r.HasOriginal || r.OriginalFrom != "news@shop.example" || len(r.OriginalDKIMDomains) != 10 || !slices.Equal(r.OriginalDKIMDomains[:3], []string{"shop.example", "esp.example", "d0.example"}) {
		t.Errorf("%v %q %v", r.HasOriginal, r.OriginalFrom, r.OriginalDKIMDomains)
	}
	for name, want := range map[string][]string{"X-CAMPAIGN": {"spring sale", "Frühling"}, "X-Empty": {""}, "X-Absent": nil, "": nil, "from": {"Shöp <news@shop.example>"}} {
		if got := r.OriginalHeader(name); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := r.OriginalHeader("X-Many"); len(got) != 20 || got[19] != "19" {
		t.Errorf("%d values", len(got))
	}
	if got := r.OriginalHeader("X-Long"); len(got) != 1 || len(got[0]) != 4096 {
		t.Errorf("%d bytes", len(got[0]))
	}
	var none Report
	if none.OriginalHeader("From") != nil {
		t.Error("a header of nothing")
	}
}

// The only To of the returned message names who was mailed, unless it is the sender or a list.
func TestAttributionIsNotTakenFromEveryTo(t *testing.T) {
	status := typedPart("message/delivery-status", "Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; jane@home.example\nAction: failed\nStatus: 5.1.1\n")
	for _, tc := range []struct{ head, want string }{
		{"From: news@shop.example\nTo: jane@client.example\n", "jane@client.example"},
		{"From: news@shop.example\nTo: jane@client.example, bob@client.example\n", "jane@home.example"},
		{"From: news@shop.example\nTo: news@shop.example\n", "jane@home.example"},
		{"From: bob@client.example\nTo: list@lists.example\nList-Post: <mailto:list@lists.example>\n", "jane@home.example"},
		{"From: news@shop.example\nTo: undisclosed-recipients:;\n", "jane@home.example"},
		{"Return-Path: <b+1-jane=client.example@shop.example>\nFrom: news@shop.example\nTo: everybody@shop.example\n", "jane@client.example"},
		{"Return-Path: <SRS0=x=y=shop.example=news@fwd.example>\nFrom: news@shop.example\nTo: jane@client.example\n", "jane@client.example"},
	} {
		r, err := Parse([]byte(parts("b", status, typedPart("text/rfc822-headers", tc.head+"Message-ID: <1@shop.example>\n"))), Limits{})
		if err != nil || len(r.Recipients) != 1 || r.Recipients[0].Mailed() != tc.want || r.Recipients[0].Recipient != "jane@home.example" {
			t.Errorf("%s: %v, %v, want %s", tc.head, r.Recipients, err, tc.want)
		}
	}
}

// A complaint whose recipient was hidden goes to nobody rather than to the wrong one.
func TestComplaintsAreNotGuessed(t *testing.T) {
	for _, tc := range []struct{ head, want string }{
		{"X-Rcpt: jane@client.example\n", "jane@client.example"},
		{"X-Rcpt: jane@client.example\nX-User: jane@client.example\n", "jane@client.example"},
		{"X-Rcpt: jane@client.example\nX-Other: bob@client.example\n", ""},
		{"X-Sender: jane@client.example\n", ""},
		{"X-Report-Abuse: abuse@esp.example\n", ""},
		{"X-Rcpt: tracking@shop.example\n", ""},
		{"List-Unsubscribe: <mailto:u-4711@esp.example>\n", ""},
		{"List-Unsubscribe: <mailto:u@shop.example?subject=unsubscribe%20jane@client.example>\n", "jane@client.example"},
		{"List-Unsubscribe: <https://shop.example/u/jane%40client.example/4711>, <mailto:u@shop.example>\n", "jane@client.example"},
		{"List-Unsubscribe: <https://jane:x@client.example/>\n", ""},
		{"List-Unsubscribe: <https://shop.example/?a=jane%40client.example&b=bob%40client.example>\n", ""},
		{"To: redacted@client.example\nX-Original-To: jane@client.example\n", "jane@client.example"},
		{"To: jane@client.example\nX-Rcpt: bob@client.example\n", "jane@client.example"},
		{"Message-ID: <4711.1@shop.example>\n", ""},
		{"Feedback-ID: 1:2:3:shop\n", ""},
	} {
		mail := feedback("\n--b\nContent-Type: message/rfc822\n\nFrom: Shop <news@shop.example>\n" + tc.head)
		r, err := Parse([]byte(mail), Limits{})
		if err != nil || r.Kind != Complaint {
			t.Fatalf("%v, %v", r, err)
		}
		got := ""
		if len(r.Recipients) > 0 {
			got = r.Recipients[0].Recipient
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.head, got, tc.want)
		}
	}
}
