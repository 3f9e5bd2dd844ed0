package site

import (
	"strings"
	"time"

	"carom.dev/carom/schema"
)

// bounces is the file's section on what comes back.
type bounces struct {
	domains  map[string]bool // where return paths lead
	boxes    map[string]bool // single addresses to which reports come
	senders  map[string]bool // whose mail we send: domains in Message-ID, From and DKIM-Signature
	schemes  []*scheme
	required map[string]bool // bounce domains all of whose return paths are signed
}

// label takes what a return path says of its message, with the rank behind every rule.
func (b *bounces) label(l *Labels, addr string) {
	for _, s := range b.schemes {
		if s.batv != nil || (!s.has[partTenant] && !s.has[partStream] && !s.has[partCampaign]) {
			continue
		}
		p, ok := s.read(addr, nil, time.Time{})
		if !ok {
			continue
		}
		for k, v := range [numLabels]string{p.Tenant, p.Stream, p.Campaign} {
			if l.Ranks[k] == 0 && v != "" {
				l.set(k, 255, v)
			}
		}
		return
	}
}

// Bounce is what a bounce mail shows of where it comes from.
type Bounce struct {
	ReturnPath  string    // the address to which it came back; empty if nobody knows
	Sender      string    // the envelope sender that it names, which may be signed as well; empty if it names none
	At          time.Time // when it came: signatures end
	HasOriginal bool      // it returns the message or its header
	// Of the returned header: Message-ID, From and the domains of its DKIM signatures (RFC 6376, tag d=).
	MessageID, From string
	DKIM            []string
}

// Judgement is what to think of a bounce mail.
type Judgement struct {
	Path  Path
	Trust schema.Trust
	// Backscatter says that we cannot have sent what it reports: somebody used our address. It is to be put aside.
	Backscatter bool
	Why         Why
}

// Why gives the reason for a judgement. The set is closed, so it may label a metric.
type Why uint8

// The reasons.
const (
	WhyUnknown    Why = iota // the site file says nothing of bounces: none
	WhySigned                // the return path is signed: signed
	WhyScheme                // the return path is made as ours are: known
	WhyOriginal              // our bounce domain or address, and a message of ours returned: known
	WhyNoOriginal            // our bounce domain, and no message returned: none
	WhyElsewhere             // another address of ours, or nobody knows which: none
	WhyForged                // a signature that is wrong, too old or missing: backscatter
	WhyForeign               // returns a message that is none of ours: backscatter
	NumWhys
)

// String returns the reason in a few lower-case words joined by underscores.
func (w Why) String() string {
	return [NumWhys]string{
		"unknown", "signed", "scheme", "original", "no_original", "elsewhere", "forged", "foreign",
	}[w]
}

// Judge says how far a bounce mail is to be believed. Signed return path > return path of a known scheme, or a bounce
// domain with a returned message of ours > neither. keys hold what KeyNames names.
func (s *Site) Judge(b Bounce, keys Keys) Judgement {
	if s == nil || s.bounces == nil {
		return Judgement{Trust: schema.Trust_TRUST_NONE, Why: WhyUnknown}
	}
	j := s.bounces.judge(b, keys)
	if b.Sender != "" && !strings.EqualFold(b.Sender, b.ReturnPath) && j.Trust != schema.Trust_TRUST_SIGNED {
		// Complaints come to an address of their own, and bounces sometimes, too: the returned header has the return path.
		b.ReturnPath = b.Sender
		if k := s.bounces.judge(b, keys); k.Trust == schema.Trust_TRUST_SIGNED || !j.Backscatter && k.Trust > j.Trust {
			j = k
		}
	}
	if j.Backscatter {
		j.Trust = schema.Trust_TRUST_NONE
	}
	return j
}

func (s *bounces) judge(b Bounce, keys Keys) (j Judgement) {
	forged := false
	plain := -1
	for i, sc := range s.schemes {
		p, ok := sc.read(b.ReturnPath, keys, b.At)
		switch {
		case !ok:
		case p.Signed:
			// BATV signs the path that another scheme makes.
			if sc.batv != nil {
				inner := s.inner(b.ReturnPath[16:], keys, b.At)
				inner.Signed = true
				p = inner
			}
			return Judgement{Path: p, Trust: schema.Trust_TRUST_SIGNED, Why: WhySigned}
		case p.Forged:
			forged = true
		case plain < 0:
			plain, j.Path = i, p
		}
	}
	domain := domainOf(b.ReturnPath)
	mine, foreign := s.original(b)
	switch {
	case forged && plain < 0, s.required[domain]:
		j.Backscatter, j.Why = true, WhyForged
	case foreign:
		j.Backscatter, j.Why = true, WhyForeign
	case plain >= 0:
		j.Trust, j.Why = schema.Trust_TRUST_KNOWN, WhyScheme
	case (s.domains[domain] || s.boxes[strings.ToLower(b.ReturnPath)]) && mine:
		j.Trust, j.Why = schema.Trust_TRUST_KNOWN, WhyOriginal
	case s.domains[domain]:
		j.Trust, j.Why = schema.Trust_TRUST_NONE, WhyNoOriginal
	default:
		j.Trust, j.Why = schema.Trust_TRUST_NONE, WhyElsewhere
	}
	return j
}

// inner reads what a path behind a BATV tag says of itself.
func (s *bounces) inner(addr string, keys Keys, at time.Time) Path {
	for _, sc := range s.schemes {
		if sc.batv == nil {
			if p, ok := sc.read(addr, keys, at); ok {
				p.Forged = false
				return p
			}
		}
	}
	return Path{}
}

// original compares the returned header with the domains whose mail we send: one that is ours makes it ours, and if
// there are some and none is, it is foreign.
func (s *bounces) original(b Bounce) (mine, foreign bool) {
	if !b.HasOriginal || len(s.senders) == 0 {
		return false, false
	}
	seen := false
	look := func(domain string) {
		if domain = strings.ToLower(strings.Trim(domain, " <>.")); domain == "" {
			return
		}
		seen = true
		for d := domain; d != ""; { // a sender's domain stands for those below it
			if s.senders[d] || s.domains[d] {
				mine = true
				return
			}
			_, d, _ = strings.Cut(d, ".")
		}
	}
	look(domainOf(strings.Trim(b.MessageID, "<> ")))
	look(domainOf(b.From))
	for _, d := range b.DKIM {
		look(d)
	}
	return mine, seen && !mine
}

func domainOf(addr string) string {
	if i := strings.LastIndexByte(addr, '@'); i >= 0 {
		return strings.ToLower(strings.TrimSuffix(addr[i+1:], "."))
	}
	return ""
}
