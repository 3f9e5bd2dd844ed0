package rules

import (
	"strings"

	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/schema"
)

// scratch is the working memory of one Classify.
type scratch struct {
	subject  []byte
	template []byte
}

func newScratch() *scratch {
	return &scratch{subject: make([]byte, 0, maxSubject+64), template: make([]byte, 0, maxSubject+64)}
}

// judgement is what the layers found.
type judgement struct {
	rule     *rule // nil: nothing knows the answer
	answer   answer
	provider string
	words    string // provider whose rules were asked; differs from provider where the text names it
}

// Classify fills every field of v. A success (a delivery, an open, a click) gets its provider and no class. It allocates
// nothing but the template id and, where the provider sent a bracketed code that no rule knows, that code. v must not be
// shared while it runs.
func (s *Set) Classify(in *Input, v *schema.Verdict) {
	empty(v)
	v.Ruleset = s.version
	v.Phase, v.Origin = in.Phase, in.Origin
	switch in.Outcome {
	case schema.Outcome_DELIVERED, schema.Outcome_OPENED, schema.Outcome_CLICKED:
		v.Provider = in.provider()
		return
	}
	work := s.scratch.Get().(*scratch)
	defer s.scratch.Put(work)
	j := s.judge(in, work)
	v.Provider = j.provider
	v.Template, work.template = templateID(work.subject, work.template)
	s.fill(in, &j, work.subject, v)
	s.byOutcome(in, j.answer.suspended, v)
}

// empty clears v field by field: copying a protobuf message is not allowed, and Reset touches its type information.
func empty(v *schema.Verdict) {
	v.Class, v.Provider, v.Rule, v.Ruleset, v.Template = "", "", "", "", ""
	v.ListOperator, v.MitigationUrl, v.ProviderCode, v.CauseClass = "", "", "", ""
	v.NewProviderCode = false
	v.Permanence, v.Scope, v.Origin, v.Phase = 0, 0, 0, 0
	v.Confidence, v.Retry, v.Suppress = 0, 0, 0
}

// judge asks the layers. The subject is left in work.
func (s *Set) judge(in *Input, work *scratch) judgement {
	j := judgement{answer: unwrap(in), provider: in.provider()}
	a := &j.answer
	j.words = j.provider
	work.subject = appendHead(work.subject[:0], a.code, a.enhanced, a.phase)
	work.subject = appendWords(work.subject, a.text, a.code, a.enhanced)
	if a.local || !a.remote && a.code == 0 {
		if j.rule = s.local.first(work.subject); j.rule != nil {
			return j
		}
	}
	if j.provider == provider.Other {
		if r := s.signatures.first(work.subject); r != nil {
			j.words = r.provider
			if in.RemoteHost == "" && in.Domain == "" && in.Provider == "" {
				j.provider = r.provider
			}
		}
	}
	if j.rule = s.providers[j.words].first(work.subject); j.rule != nil {
		return j
	}
	if j.rule = s.text.first(work.subject); j.rule != nil {
		return j
	}
	if j.rule = s.enhanced.first(work.subject); j.rule != nil {
		return j
	}
	j.rule = s.code.first(work.subject)
	return j
}

// confidenceOf is indexed by Layer.
var confidenceOf = [layers]schema.Confidence{
	LayerLocal:    schema.Confidence_CONFIDENCE_TEXT,
	LayerProvider: schema.Confidence_CONFIDENCE_PROVIDER_TEXT,
	LayerText:     schema.Confidence_CONFIDENCE_TEXT,
	LayerEnhanced: schema.Confidence_CONFIDENCE_ENHANCED,
	LayerCode:     schema.Confidence_CONFIDENCE_CODE,
}

// fill writes the judgement of the words into v.
func (s *Set) fill(in *Input, j *judgement, subject []byte, v *schema.Verdict) {
	a := &j.answer
	v.Phase = a.phase
	if v.Origin == schema.Origin_ORIGIN_UNSPECIFIED {
		switch {
		case in.Outcome == schema.Outcome_ASYNC_BOUNCE:
			v.Origin = schema.Origin_ASYNC_DSN
		case a.local:
			v.Origin = schema.Origin_LOCAL_MTA
		case a.remote || a.code != 0:
			v.Origin = schema.Origin_REMOTE_REPLY
		case j.rule != nil && j.rule.layer == LayerLocal:
			v.Origin = schema.Origin_LOCAL_MTA
		}
	}
	if j.rule == nil {
		v.Class, v.Confidence, v.Suppress = classUndetermined, schema.Confidence_CONFIDENCE_DEFAULT, never
		v.Permanence = permanenceOf(a.code, a.enhanced)
		v.Retry = retryOf(v.Permanence)
		return
	}
	r := j.rule
	v.Rule, v.Class, v.ListOperator = r.id, r.class.Slug, r.list
	v.Confidence = or(r.confidence, confidenceOf[r.layer])
	v.Scope = or(r.scope, r.class.Scope)
	v.Permanence = or(r.permanence, r.class.Permanence)
	if v.Permanence == byCode {
		v.Permanence = permanenceOf(a.code, a.enhanced)
	}
	if v.Retry = or(r.retry, r.class.Retry); v.Retry == follow {
		v.Retry = retryOf(v.Permanence)
	}
	v.Suppress = or(r.suppress, r.class.Suppress)
	if v.Suppress == candidate && r.suppress == 0 && (permanenceOf(a.code, a.enhanced) == transient || r.layer == LayerText && otherSubject(a.enhanced)) {
		// General words of a permanent kind under a temporary code: many servers say so while their directory is away.
		// Under a code of another subject they may be about something else than the recipient.
		v.Suppress = windowed
	}
	if v.Phase == schema.Phase_PHASE_UNSPECIFIED {
		v.Phase = r.phase
	}
	if v.Suppress == candidate && r.layer != LayerLocal && (beforeRecipient(v.Phase) || answersAuth(a.code)) {
		v.Suppress = never
	}
	if r.keepCode {
		if c := bracketed(subject); c != nil {
			known, ok := s.codes[string(c)]
			if !ok {
				known = strings.ToUpper(string(c))
			}
			v.ProviderCode, v.NewProviderCode = known, r.newCode
		}
	}
	v.MitigationUrl = s.mitigationURL(in.Text)
}

// beforeRecipient reports whether the answer came before RCPT named a recipient (RFC 5321, section 3.3), so that it cannot
// be about one.
func beforeRecipient(p schema.Phase) bool {
	switch p {
	case schema.Phase_CONNECT, schema.Phase_BANNER, schema.Phase_EHLO, schema.Phase_TLS, schema.Phase_AUTH, schema.Phase_MAIL:
		return true
	}
	return false
}

// otherSubject reports whether an enhanced code speaks of something else than an address or a mailbox (RFC 3463, section
// 2): the mail system, the protocol, the content, a policy. It does not of routing, whose 5.4.1 Exchange Online gives to
// unknown recipients, nor where the detail names the account (5.7.13, RFC 5248) or its owner (5.7.17 and 5.7.18, RFC 7293).
func otherSubject(enhanced string) bool {
	if len(enhanced) < len("5.7.1") {
		return false
	}
	switch enhanced {
	case "5.7.13", "5.7.17", "5.7.18":
		return false
	}
	return enhanced[2] == '3' || enhanced[2] == '5' || enhanced[2] == '6' || enhanced[2] == '7'
}

// answersAuth reports whether code is one that AUTH alone gets (RFC 4954, section 6): its unknown users are senders.
func answersAuth(code int32) bool { return code == 534 || code == 535 || code == 538 }

// byOutcome adjusts the verdict to what became of the message.
func (s *Set) byOutcome(in *Input, suspended bool, v *schema.Verdict) {
	outcome := in.Outcome
	switch outcome {
	case schema.Outcome_EXPIRED, schema.Outcome_COMPLAINT, schema.Outcome_UNSUBSCRIBED: // whatever the words are
	default:
		if suspended {
			outcome = schema.Outcome_SUSPENDED
		}
	}
	switch outcome {
	case schema.Outcome_EXPIRED:
		if in.Cause != nil {
			s.underlying(in, v)
		} else if v.Class != classExpired && v.Class != classUndetermined {
			v.CauseClass = v.Class
		}
		v.Class, v.Retry = classExpired, no
		if v.Scope != schema.Scope_SCOPE_RECIPIENT && v.Scope != schema.Scope_SCOPE_DOMAIN {
			v.Suppress = never
		}
	case schema.Outcome_SUSPENDED:
		v.CauseClass, v.Class = v.Class, classSuspended
		if v.CauseClass == classUndetermined || v.CauseClass == classSuspended {
			v.CauseClass = ""
		}
		v.Scope, v.Permanence, v.Retry, v.Suppress = schema.Scope_SCOPE_LOCAL, transient, yes, never
	case schema.Outcome_DELAYED:
		v.CauseClass, v.Class = v.Class, classDelayed
		if v.CauseClass == classUndetermined {
			v.CauseClass = ""
		}
		v.Permanence, v.Retry, v.Suppress = transient, yes, never
	case schema.Outcome_COMPLAINT:
		refused(v, classComplaint)
	case schema.Outcome_UNSUBSCRIBED:
		refused(v, classUnsubscribe)
	case schema.Outcome_ASYNC_BOUNCE:
		if v.Scope == schema.Scope_SCOPE_SENDER_IP {
			// The address that was blocked may be a forwarder's.
			v.Scope = schema.Scope_SCOPE_REMOTE
		}
	}
}

// refused is the verdict on a recipient's own word. No rule is named: what a reporter or a person wrote beside it, though a
// rule may know it, decided nothing.
func refused(v *schema.Verdict, class string) {
	v.Class, v.Scope, v.Permanence, v.Retry, v.Suppress = class, schema.Scope_SCOPE_RECIPIENT, permanent, no, never
	v.Rule, v.ListOperator, v.MitigationUrl, v.ProviderCode, v.NewProviderCode = "", "", "", "", false
	v.Confidence = schema.Confidence_CONFIDENCE_UNSPECIFIED
}

// underlying gives an expiry the axes of its last real failure.
func (s *Set) underlying(in *Input, v *schema.Verdict) {
	cause := *in.Cause
	cause.Cause = nil // an expiry has one cause; a chain of them is a caller's mistake and would be unbounded
	if cause.Outcome == schema.Outcome_EXPIRED || cause.Outcome == schema.Outcome_DELIVERED {
		cause.Outcome = schema.Outcome_DEFERRED
	}
	if cause.RemoteHost == "" && cause.Domain == "" {
		cause.RemoteHost, cause.Domain = in.RemoteHost, in.Domain
	}
	s.Classify(&cause, v)
	v.CauseClass = v.Class
	v.Origin = or(in.Origin, v.Origin)
}

func or[T comparable](values ...T) T {
	var zero T
	for _, v := range values {
		if v != zero {
			return v
		}
	}
	return zero
}

// permanenceOf reads the codes: the basic code's first digit, else the enhanced code's (RFC 5321, section 4.2.1;
// RFC 3463, section 3.1).
func permanenceOf(code int32, enhanced string) schema.Permanence {
	class := byte('0' + code/100)
	if code == 0 && enhanced != "" {
		class = enhanced[0]
	}
	switch class {
	case '4':
		return transient
	case '5':
		return permanent
	}
	return byCode
}

func retryOf(p schema.Permanence) schema.Retry {
	if p == permanent {
		return no
	}
	return yes
}

// mitigationURL returns the first link of text whose host is a known one, or a subdomain of it; a link from a stranger
// is not passed on to people who will click it.
func (s *Set) mitigationURL(text string) string {
	text = text[:min(len(text), maxText)]
	for {
		i := strings.Index(text, "http")
		if i < 0 {
			return ""
		}
		text = text[i:]
		rest, ok := strings.CutPrefix(text, "https://")
		if !ok {
			if rest, ok = strings.CutPrefix(text, "http://"); !ok {
				text = text[len("http"):]
				continue
			}
		}
		host := rest[:runLength(rest, isHostByte)]
		end := len(text) - len(rest) + len(host) + runLength(rest[len(host):], isLinkByte)
		for _, known := range s.mitigation {
			if host == known || strings.HasSuffix(host, known) && host[len(host)-len(known)-1] == '.' {
				return strings.TrimRight(text[:end], ".,;:")
			}
		}
		text = text[end:]
	}
}

func runLength(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isHostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' || c == '-'
}

// isLinkByte is narrow on purpose: no quotes, brackets, at signs or bytes above ASCII.
func isLinkByte(c byte) bool {
	return isHostByte(c) || strings.IndexByte("/?=&%_~#+,;:!*$", c) >= 0
}

// bracketed returns the first provider code in the words, "cs01" of "[cs01]": one to five letters, then one to six
// digits, in square or round brackets. It aliases subject; nil if there is none.
func bracketed(subject []byte) []byte {
	for i := 0; i < len(subject); i++ {
		if subject[i] != '[' && subject[i] != '(' {
			continue
		}
		start := i + 1
		j := start
		for j < len(subject) && 'a' <= subject[j] && subject[j] <= 'z' {
			j++
		}
		letters := j - start
		for j < len(subject) && isDigit(subject[j]) {
			j++
		}
		digits := j - start - letters
		if letters < 1 || letters > 5 || digits < 1 || digits > 6 || j == len(subject) {
			continue
		}
		if subject[j] == ']' || subject[j] == ')' {
			return subject[start:j]
		}
	}
	return nil
}
