package survey

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"carom.dev/carom/schema"
)

// recipient is one with a final failure: one that a naive list has dropped.
type recipient struct {
	class, provider string // of the strongest evidence, the latest if equal
	strength        uint8
	delivered       bool  // after a final failure, or opened or clicked
	failedUs        int64 // the latest
}

type example struct {
	key, address, text string
}

// strength orders what failures say about a recipient.
func strength(s schema.Suppress) uint8 {
	switch s {
	case schema.Suppress_SUPPRESS_CANDIDATE:
		return 3
	case schema.Suppress_SUPPRESS_WINDOWED:
		return 2
	case schema.Suppress_SUPPRESS_DOMAIN:
		return 1
	}
	return 0
}

const candidate = 3

// failed takes in the end of a message that was given up.
func (s *Survey) failed(ev *schema.DeliveryEvent, v *schema.Verdict, class string) {
	if ev.Outcome != schema.Outcome_BOUNCED && ev.Outcome != schema.Outcome_EXPIRED {
		return
	}
	if ev.HasSender && ev.Sender == "" {
		return // a notification: no list hears of its failure (RFC 5321, section 4.5.5)
	}
	s.keyOf(ev.Recipient)
	r := s.recipients[string(s.key)]
	if r == nil {
		if len(s.recipients) >= maxRecipients {
			s.untracked++
			return
		}
		r = &recipient{}
		s.recipients[string(s.key)] = r
	}
	r.failedUs = max(r.failedUs, ev.OccurredAtUs)
	n := strength(v.Suppress)
	if n == candidate {
		r.delivered = false // was alive, and is no more
	}
	if r.class == "" || n >= r.strength {
		r.class, r.provider, r.strength = class, v.Provider, n
	}
	if known := s.examples[class]; len(known) < maxExamples {
		text := ev.Text
		if ev.Cause != nil {
			text = ev.Cause.Text
		}
		s.examples[class] = append(known, example{string(s.key), strings.Clone(s.mask.address(ev.Recipient)), s.sample(text, ev.Recipient)})
	}
}

// alive takes in a delivery, or that a person opened or clicked: whoever failed before is alive.
func (s *Survey) alive(ev *schema.DeliveryEvent) {
	if len(s.recipients) == 0 {
		return
	}
	s.keyOf(ev.Recipient)
	if r := s.recipients[string(s.key)]; r != nil && ev.OccurredAtUs >= r.failedUs {
		r.delivered = true
	}
}

// Naive sets a list that drops a recipient after every final failure, as many do, against Carom's verdict on the same failures.
type Naive struct {
	Dropped   int64        `json:"dropped"`   // recipients with a bounce or an expiry
	Evidence  int64        `json:"evidence"`  // of those, a failure that says that the recipient does not exist, and no delivery after
	Wrong     int64        `json:"wrong"`     // the others
	Share     float64      `json:"share"`     // Wrong of Dropped, 0 to 1
	Delivered int64        `json:"delivered"` // of Wrong: delivered to later in this log, or read by a person
	Weak      int64        `json:"weak"`      // of Wrong: says something about the recipient, but not enough alone
	Domain    int64        `json:"domain"`    // of Wrong: speaks of the domain
	Nothing   int64        `json:"nothing"`   // of Wrong: says nothing about the recipient
	Untracked int64        `json:"untracked"` // final failures of further recipients, beyond what is kept
	Reasons   []NaiveClass `json:"reasons"`   // why they would have been lost, the most frequent first; the sum is Wrong
}

// NaiveClass is one reason for which a naive list loses recipients.
type NaiveClass struct {
	Class      string        `json:"class"`
	Why        string        `json:"why"` // delivered_later, weak, domain or nothing
	Recipients int64         `json:"recipients"`
	Providers  []Count       `json:"providers"`
	Example    *NaiveExample `json:"example,omitempty"`
}

// NaiveExample is a recipient who would have been lost.
type NaiveExample struct {
	Recipient string `json:"recipient"` // masked unless asked for otherwise
	Text      string `json:"text"`
}

// whyWrong tells why dropping r is wrong, empty if it is not.
func whyWrong(r *recipient) string {
	switch {
	case r.delivered:
		return "delivered_later"
	case r.strength == candidate:
		return ""
	case r.strength == strength(schema.Suppress_SUPPRESS_WINDOWED):
		return "weak"
	case r.strength == strength(schema.Suppress_SUPPRESS_DOMAIN):
		return "domain"
	}
	return "nothing"
}

func (s *Survey) naive() Naive {
	n := Naive{Dropped: int64(len(s.recipients)), Untracked: s.untracked, Reasons: []NaiveClass{}}
	type key struct{ why, class string }
	reasons := map[key]*NaiveClass{}
	providers := map[key]map[string]int64{}
	for _, r := range s.recipients {
		k := key{whyWrong(r), r.class}
		switch k.why {
		case "":
			n.Evidence++
			continue
		case "delivered_later":
			n.Delivered++
		case "weak":
			n.Weak++
		case "domain":
			n.Domain++
		default:
			n.Nothing++
		}
		n.Wrong++
		if reasons[k] == nil {
			reasons[k] = &NaiveClass{Class: r.class, Why: k.why}
			providers[k] = map[string]int64{}
		}
		reasons[k].Recipients++
		providers[k][r.provider]++
	}
	n.Share = share(n.Wrong, n.Dropped)
	for k, c := range reasons {
		c.Providers = ranking(providers[k])
		c.Example = s.exampleOf(k.why, k.class)
	}
	for c := range maps.Values(reasons) {
		n.Reasons = append(n.Reasons, *c)
	}
	slices.SortFunc(n.Reasons, func(a, b NaiveClass) int {
		return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Why, b.Why))
	})
	return n
}

// exampleOf returns the first remembered recipient of a class who is still counted under it; nil if all were counted otherwise in the end.
func (s *Survey) exampleOf(why, class string) *NaiveExample {
	for _, e := range s.examples[class] {
		if r := s.recipients[e.key]; r != nil && r.class == class && whyWrong(r) == why {
			return &NaiveExample{e.address, e.text}
		}
	}
	return nil
}
