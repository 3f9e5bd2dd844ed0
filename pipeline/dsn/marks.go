package dsn

import (
	"net/url"
	"strings"
)

// recipientFields are header fields in which senders and their servers note the recipient for the day it is hidden, in lower case.
var recipientFields = [...]string{
	"x-original-to", "delivered-to", "x-rcpt-to", "x-recipient", "x-envelope-to", "envelope-to", "x-receiver", "x-hmxmroriginalrecipient",
}

// ownMark looks in the returned message for the recipient whom a reporter hid, where the sender left a mark of it: the variable return
// path, fields that name the recipient, the only To, addresses in the sender's own X- fields, in List-Unsubscribe and in the
// Message-ID. It returns "" where there is none, or several that differ: a complaint is not guessed.
func (p *parser) ownMark() string {
	h := &p.report.original
	for _, path := range [...]string{p.report.OriginalSender, addressIn(h.get("Return-Path")), addressIn(h.get("Errors-To"))} {
		if verp := fromVERP(path, nil); verp != "" && !redacted(verp) {
			return verp
		}
	}
	if addr := p.only(h, isRecipientField, addressesIn); addr != "" {
		return addr
	}
	if p.originalTo != "" && !redacted(p.originalTo) {
		return p.originalTo
	}
	if addr := p.only(h, isSenderField, addressesIn); addr != "" {
		return addr
	}
	if addr := p.only(h, func(name string) bool { return name == "list-unsubscribe" }, addressesInURLs); addr != "" {
		return addr
	}
	id := strings.Trim(p.report.OriginalMessageID, "<>")
	if verp := fromVERP(id, nil); verp != "" && !redacted(verp) {
		return verp
	}
	return ""
}

// only returns the address that the chosen fields name, if it is one and no address of the sender's own domain.
func (p *parser) only(h *header, chosen func(name string) bool, find func(value string) []string) string {
	found := ""
	for i := range h.fields {
		if !chosen(strings.ToLower(string(h.name(i)))) {
			continue
		}
		for _, addr := range find(unfold(h.value(i))) {
			if redacted(addr) || sameDomain(addr, p.report.OriginalFrom) || sameDomain(addr, p.report.OriginalSender) || same(addr, found) {
				continue
			}
			if found != "" {
				return ""
			}
			found = addr
		}
	}
	return found
}

func isRecipientField(name string) bool {
	for _, f := range recipientFields {
		if name == f {
			return true
		}
	}
	return false
}

// isSenderField reports whether a field may be the sender's own note of the recipient. Those that name the sender, or a place to
// complain at, are not.
func isSenderField(name string) bool {
	if !strings.HasPrefix(name, "x-") || isRecipientField(name) {
		return false
	}
	return !containsAny(name, []string{"from", "sender", "auth", "abuse", "complain", "report", "reply", "return", "errors", "admin", "contact", "spam", "virus", "google", "received"})
}

func sameDomain(a, b string) bool {
	_, da, _ := strings.Cut(a, "@")
	_, db, _ := strings.Cut(b, "@")
	return da != "" && same(da, db)
}

func addressIn(s string) string {
	addr, _ := firstAddress(s)
	return addr
}

func addressesIn(s string) []string {
	if addr := addressIn(s); addr != "" {
		return []string{addr}
	}
	return nil
}

// addressesInURLs finds the recipient in the links of List-Unsubscribe (RFC 2369, section 3.2): a variable mailto address, or an
// address in what follows the host or the question mark.
func addressesInURLs(s string) []string {
	var found []string
	for _, item := range strings.Split(s, ",") {
		link := strings.Trim(item, "<> \t")
		rest, mail := after(link, "mailto:")
		if mail {
			path, query, _ := strings.Cut(rest, "?")
			if verp := fromVERP(path, nil); verp != "" {
				found = append(found, verp)
			}
			rest = query
		} else if _, path, ok := strings.Cut(link, "://"); ok {
			_, rest, _ = strings.Cut(path, "/")
		} else {
			continue
		}
		for _, word := range strings.FieldsFunc(rest, func(c rune) bool { return strings.ContainsRune("/?&=;#", c) }) {
			if addr, err := url.PathUnescape(word); err == nil {
				for _, part := range strings.Fields(addr) { // subject=unsubscribe jane@client.example
					if plausible(part) {
						found = append(found, part)
					}
				}
			}
		}
	}
	return found
}
