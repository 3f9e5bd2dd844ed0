package site

import (
	"regexp"
	"strings"
)

// FactKind names what a log line, a feed's record or a bounce mail can say about whose a message is.
type FactKind uint8

// The kinds. The names are those of the site file.
const (
	FactSender       FactKind = iota // "sender": envelope sender
	FactSenderDomain                 // "sender_domain": its domain, in lower case; follows from FactSender
	FactUser                         // "user": the name with which the submitting client logged in (AUTH, RFC 4954)
	FactClient                       // "client": host name and address of the submitting client, as the MTA writes them
	FactHeader                       // "header": a header field that the log, feed or report shows; Name is the field's name
	FactSubject                      // "subject"
	FactTransport                    // "transport": what delivered: Postfix's syslog name, Exim's transport, a vmta, an egress source
	FactField                        // "field": a field of a feed's record; Name is its place: "meta.tenant", "tags.x", a column
	FactJob                          // "job": the sending system's own name of the campaign: jobId, campaign_id, queue's campaign
	FactFeed                         // "feed": name of the feed
	FactHost                         // "host": the MTA host
	numFactKinds
)

var factNames = [numFactKinds]string{
	"sender", "sender_domain", "user", "client", "header", "subject", "transport", "field", "job", "feed", "host",
}

// String returns the name.
func (k FactKind) String() string { return factNames[k] }

// Fact is one thing said about a message.
type Fact struct {
	Kind  FactKind
	MTA   string // format that says it: "postfix", "ses"
	Host  string // host that says it
	Name  string // of FactHeader and FactField, in any case
	Value string
}

// Labels say whose a message is and what kind of mail. The zero value says nothing.
type Labels struct {
	Tenant   string // customer
	Stream   string // kind of mail, "bulk" and "transactional" by convention
	Campaign string
	// Ranks are the places of the rules that gave the labels, from 1; 0 where none did. An earlier rule in the file wins,
	// whatever the order of the facts. They are part of the labels: keep them together.
	Ranks [3]uint8
}

// The places in Labels.Ranks.
const (
	labelTenant = iota
	labelStream
	labelCampaign
	numLabels
)

func (l *Labels) at(k int) *string {
	switch k {
	case labelTenant:
		return &l.Tenant
	case labelStream:
		return &l.Stream
	}
	return &l.Campaign
}

// MaxLabelBytes bounds a label; longer ones are cut.
const MaxLabelBytes = 128

// rule gives one label by one fact.
type rule struct {
	label  int
	rank   uint8
	mta    string // only facts of this format; empty: all
	host   string // only facts of this host
	name   string // of header and field, in lower case
	match  *regexp.Regexp
	value  string            // template with $1; empty: the first group, or the whole
	values map[string]string // what the value becomes; nil: itself
}

// Labels reports whether the file has any label rule, or return paths that hold labels.
func (s *Site) Labels() bool { return s != nil && s.labels }

// Wants reports whether a rule asks for facts of a kind, so that callers need not look for them.
func (s *Site) Wants(k FactKind) bool { return s != nil && len(s.rules[k]) > 0 }

// Label puts into l what the file makes of a fact. An envelope sender says its domain, too, and what the return path's
// pattern holds. Strings in l may be parts of the fact's.
func (s *Site) Label(l *Labels, f Fact) {
	if s == nil || !s.labels || f.Value == "" {
		return
	}
	s.label(l, &f)
	if f.Kind != FactSender {
		return
	}
	if s.bounces != nil {
		s.bounces.label(l, f.Value)
	}
	if s.Wants(FactSenderDomain) {
		if i := strings.LastIndexByte(f.Value, '@'); i >= 0 {
			f.Kind, f.Value = FactSenderDomain, strings.ToLower(f.Value[i+1:])
			s.label(l, &f)
		}
	}
}

func (s *Site) label(l *Labels, f *Fact) {
	for i := range s.rules[f.Kind] {
		r := &s.rules[f.Kind][i]
		if best := l.Ranks[r.label]; best != 0 && best <= r.rank {
			continue
		}
		if (r.mta != "" && r.mta != f.MTA) || (r.name != "" && !strings.EqualFold(r.name, f.Name)) ||
			(r.host != "" && !s.sameHost(r.host, f.Host)) {
			continue
		}
		if v, ok := r.apply(f.Value); ok {
			l.set(r.label, r.rank, v)
		}
	}
}

func (s *Site) sameHost(want, host string) bool {
	if h := s.Host(host); h != nil {
		host = h.Name
	}
	return strings.EqualFold(want, host)
}

func (l *Labels) set(label int, rank uint8, v string) {
	if v = cut(strings.TrimSpace(v), MaxLabelBytes); v == "" {
		return
	}
	*l.at(label), l.Ranks[label] = v, rank
}

func (r *rule) apply(value string) (string, bool) {
	if r.match != nil {
		at := r.match.FindStringSubmatchIndex(value)
		switch {
		case at == nil:
			return "", false
		case r.value != "":
			value = string(r.match.ExpandString(nil, r.value, value, at))
		case len(at) > 3 && at[2] >= 0:
			value = value[at[2]:at[3]]
		default:
			value = value[at[0]:at[1]]
		}
	} else if r.value != "" {
		value = r.value
	}
	if r.values == nil {
		return value, true
	}
	if v, ok := r.values[value]; ok {
		return v, true
	}
	v, ok := r.values[strings.ToLower(value)]
	return v, ok
}

// cut bounds a string at a rune's begin.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
