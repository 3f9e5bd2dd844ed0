package feed

import (
	"strings"

	"carom.dev/carom/schema"
)

// quiet writes what a record says without any answer of a server: complaint, open, click, unsubscription. words are the feed's
// own.
func (p *Parser) quiet(ev *schema.DeliveryEvent, words string) {
	p.unsent = true
	ev.EnhancedSource = schema.EnhancedSource_ENHANCED_NONE
	ev.Text = cut(words, maxText)
}

// prefetched reports a user agent that is known to load a message's images before anybody reads it: Apple's Mail Privacy
// Protection, which says just this. Proxies that load them when the message is displayed (GoogleImageProxy) show a person.
func prefetched(agent string) bool { return agent == "Mozilla/5.0" }

// feedback judges a report by its type (RFC 5965, section 7.3; RFC 6430; RFC 6591), in any case. Without a type it is a
// complaint.
func feedback(kind string) (outcome schema.Outcome, noise Noise) {
	switch strings.ToLower(kind) {
	case "not-spam", "auth-failure", "dmarc":
		return schema.Outcome_OUTCOME_UNSPECIFIED, NoiseNotice
	case "opt-out", "opt-out-list": // of drafts of RFC 5965, still in use
		return schema.Outcome_UNSUBSCRIBED, 0
	}
	return schema.Outcome_COMPLAINT, 0
}
