package survey

import (
	"strings"

	"carom.dev/carom/pipeline/address"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// Bounds of a Survey's memory. Providers, classes and phases are closed sets.
const (
	maxTemplates  = 1 << 13 // shapes of unknown words
	maxRecipients = 1 << 20 // recipients with a final failure
	maxExamples   = 8       // recipients remembered with their words, by class
	sampleBytes   = 400     // of a text that is kept
)

// Counts by outcome have the outcomes of schema and one more: engagement by machines, which stands apart.
const (
	machines = int(schema.Outcome_UNSUBSCRIBED) + 1
	outcomes = machines + 1
)

// Survey adds up events. It is not safe for concurrent use; make one with New.
type Survey struct {
	set        *rules.Set
	mask       masker
	outcomes   [outcomes]int64
	providers  map[string]*providerCount
	codeless   [silences]silenceCount
	unknown    map[string]*unknownText // by template
	unknowns   int64                   // events with unknown words
	crowded    int64                   // of those, beyond maxTemplates
	recipients map[string]*recipient   // by key
	untracked  int64                   // final failures of recipients beyond maxRecipients
	examples   map[string][]example    // by class
	verdict    schema.Verdict
	key        []byte
}

type providerCount struct {
	outcomes [outcomes]int64
	reasons  map[string]*[outcomes]int64 // by class
}

type unknownText struct {
	events    int64
	class     string
	text      string // of the first event, masked
	code      int32
	providers map[string]int64
}

// New returns an empty Survey that judges by set. Local parts of addresses are masked unless showAddresses is set.
func New(set *rules.Set, showAddresses bool) *Survey {
	return &Survey{
		set: set, mask: masker{hide: !showAddresses}, providers: map[string]*providerCount{}, unknown: map[string]*unknownText{},
		recipients: map[string]*recipient{}, examples: map[string][]example{},
	}
}

// Event takes an event in. It keeps nothing of ev. What mail tells a second time is left out.
func (s *Survey) Event(ev *schema.DeliveryEvent) {
	if ev.Joined {
		return
	}
	in := EventInput(ev)
	v := &s.verdict
	s.set.Classify(&in, v)
	outcome := int(ev.Outcome)
	switch {
	case ev.ByMachine():
		outcome = machines
	case outcome < 0 || outcome >= machines:
		outcome = 0 // of a later schema
	}
	s.outcomes[outcome]++
	p := s.providers[v.Provider]
	if p == nil {
		p = &providerCount{reasons: map[string]*[outcomes]int64{}}
		s.providers[v.Provider] = p
	}
	p.outcomes[outcome]++
	switch ev.Outcome {
	case schema.Outcome_DELIVERED, schema.Outcome_OPENED, schema.Outcome_CLICKED:
		if outcome != machines {
			s.alive(ev)
		}
		return
	case schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED, schema.Outcome_DELAYED:
		return // no failures: nothing was refused by a server, or nothing is final
	}
	class := reasonOf(v)
	n := p.reasons[class]
	if n == nil {
		n = &[outcomes]int64{}
		p.reasons[class] = n
	}
	n[outcome]++
	s.silent(ev, v)
	s.unheardOf(ev, v)
	if ev.Final {
		s.failed(ev, v, class)
	}
}

// reasonOf is the class that people look for: behind an expiry or a postponement, its cause.
func reasonOf(v *schema.Verdict) string {
	if v.CauseClass != "" {
		return v.CauseClass
	}
	return v.Class
}

// unheardOf collects words that nothing but a fallback judged. Those of an expiry or a postponement have been seen before, at their own attempt.
func (s *Survey) unheardOf(ev *schema.DeliveryEvent, v *schema.Verdict) {
	if ev.Outcome == schema.Outcome_EXPIRED || ev.Outcome == schema.Outcome_SUSPENDED || v.Confidence > schema.Confidence_CONFIDENCE_CODE {
		return
	}
	s.unknowns++
	u := s.unknown[v.Template]
	if u == nil {
		if len(s.unknown) >= maxTemplates {
			s.crowded++
			return
		}
		u = &unknownText{class: v.Class, text: s.sample(ev.Text, ev.Recipient), code: ev.SmtpCode, providers: map[string]int64{}}
		s.unknown[v.Template] = u
	}
	u.events++
	u.providers[v.Provider]++
}

// sample returns a text of its own, masked and cut.
func (s *Survey) sample(text, recipient string) string {
	text = text[:min(len(text), 4*sampleBytes)]
	text = s.mask.text(text, recipient)
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), sampleBytes)], "\uFFFD"))
}

// keyOf writes the recipient's identity into s.key: the normalised address, or what was logged if it is none.
func (s *Survey) keyOf(recipient string) {
	a, err := address.Normalize(recipient)
	if err != nil {
		s.key = append(s.key[:0], strings.ToLower(recipient)...)
		return
	}
	s.key = address.Keyer{}.AppendKey(s.key[:0], a)
}
