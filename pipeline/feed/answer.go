package feed

import (
	"strings"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// answer is what a record says about the reason.
type answer struct {
	text     string
	origin   schema.Origin
	phase    schema.Phase
	code     int    // basic code, where the record has it apart from the text
	enhanced string // likewise; who made it up is not known
}

// fill writes an answer into an event. Where the sender speaks for itself there is no smtp_code: what it wrote is made up.
func fill(ev *schema.DeliveryEvent, a answer) {
	ev.Text, ev.Origin, ev.Phase = cut(a.text, maxText), a.origin, a.phase
	ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource = codes(a)
}

// blame writes the answer behind an expiry into the event's cause.
func (p *Parser) blame(ev *schema.DeliveryEvent, a answer) {
	c := &p.cause
	c.Reset()
	c.Text, c.Origin, c.Phase = cut(a.text, maxText), a.origin, a.phase
	c.SmtpCode, c.EnhancedCode, c.EnhancedSource = codes(a)
	if a.origin == schema.Origin_REMOTE_REPLY {
		c.RemoteHost, c.RemoteIp = ev.RemoteHost, ev.RemoteIp
	}
	ev.Cause = c
}

func codes(a answer) (code int32, enhanced string, source schema.EnhancedSource) {
	own, enhanced := smtpreply.Codes(a.text)
	if own == 0 && a.code >= 200 && a.code <= 599 {
		own = a.code
		if enhanced == "" {
			enhanced, _, _ = strings.Cut(a.text, " ")
		}
		if !smtpreply.ValidEnhanced(enhanced) {
			enhanced = ""
		}
	}
	switch quoted := a.origin == schema.Origin_REMOTE_REPLY || a.origin == schema.Origin_ASYNC_DSN; {
	case quoted && enhanced != "":
		return int32(own), enhanced, schema.EnhancedSource_ENHANCED_REMOTE
	case quoted:
		code = int32(own)
	}
	if enhanced == "" {
		enhanced = a.enhanced
	}
	if !smtpreply.ValidEnhanced(enhanced) {
		return code, "", schema.EnhancedSource_ENHANCED_NONE
	}
	return code, enhanced, schema.EnhancedSource_ENHANCED_MTA
}

// apiAnswer reads the words that an email API reports: the remote server's reply if they begin as one, else its own.
func apiAnswer(words, enhanced string) answer {
	a := answer{text: words, enhanced: enhanced, origin: schema.Origin_ESP}
	if code, _ := smtpreply.Codes(words); code != 0 {
		a.origin = schema.Origin_REMOTE_REPLY
		return a
	}
	a.phase = apiPhase(words)
	return a
}

// apiPhase judges an API's own words. Only what names its stage has one.
func apiPhase(words string) schema.Phase {
	for _, w := range [...]string{"unable to get mx info", "No MX for ", "Domain Lookup Failed", "Unable to lookup DNS"} {
		if strings.Contains(words, w) {
			return schema.Phase_DNS
		}
	}
	for _, w := range [...]string{"Unable to connect to remote host", "onnection refused", "Unable to connect to MX servers"} {
		if strings.Contains(words, w) {
			return schema.Phase_CONNECT
		}
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// networkStatus reports an enhanced code of subject 4, network and routing (RFC 3463, section 3.5), which a sender gives to
// its own findings: it is the one that sees the network.
func networkStatus(enhanced string) bool {
	return len(enhanced) > 3 && enhanced[1:4] == ".4."
}

// expiredStatus reports X.4.7, delivery time expired: RFC 3463, section 3.5.
func expiredStatus(enhanced string) bool { return enhanced == "4.4.7" || enhanced == "5.4.7" }

// cutDiagnostic takes the type off a diagnostic: "smtp; 550 no". RFC 3464, section 2.3.6. Without a type, smtp is assumed.
func cutDiagnostic(s string) (smtp bool, words string) {
	kind, words, ok := strings.Cut(s, ";")
	kind = strings.TrimSpace(kind)
	if !ok || kind == "" || len(kind) > 32 {
		return true, strings.TrimSpace(s)
	}
	for i := 0; i < len(kind); i++ {
		if c := kind[i]; c|0x20-'a' > 'z'-'a' && c-'0' > 9 && c != '-' {
			return true, strings.TrimSpace(s)
		}
	}
	return strings.EqualFold(kind, "smtp"), strings.TrimSpace(words)
}

// cutAddressType takes "rfc822;" off an original recipient: RFC 3464, section 2.3.1.
func cutAddressType(s string) string {
	if n := len("rfc822;"); len(s) > n && strings.EqualFold(s[:n], "rfc822;") {
		return strings.TrimSpace(s[n:])
	}
	return s
}

// cutHost takes "host (ip)" apart.
func cutHost(s string) (host, ip string) {
	host, ip, ok := strings.Cut(s, "(")
	if !ok {
		return strings.TrimSpace(s), ""
	}
	return strings.TrimSpace(host), strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(ip), ")"))
}

// cutPort takes the port off "192.0.2.1:25" and "[2001:db8::1]:25".
func cutPort(s string) string {
	if strings.HasPrefix(s, "[") {
		ip, _, _ := strings.Cut(s[1:], "]")
		return ip
	}
	if k := strings.IndexByte(s, ':'); k >= 0 && strings.IndexByte(s[k+1:], ':') < 0 {
		return s[:k]
	}
	return s
}

// bare takes a display name and angle brackets off an address.
func bare(s string) string {
	if s = strings.TrimSpace(s); s != "" && s[len(s)-1] == '>' {
		if k := strings.LastIndexByte(s, '<'); k >= 0 {
			return s[k+1 : len(s)-1]
		}
	}
	return s
}

// soleAddress returns the address of a header field that names just one, else nothing.
func soleAddress(s string) string {
	if strings.Count(s, "@") != 1 {
		return ""
	}
	return bare(s)
}

// domainOf returns the normalised domain of an address, empty if it has none.
func domainOf(recipient string) string {
	at := strings.LastIndexByte(recipient, '@')
	if at < 0 {
		return ""
	}
	return address.NormalizeDomain(recipient[at+1:])
}
