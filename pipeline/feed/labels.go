package feed

import (
	"strings"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// maxFacts bounds what is kept of one record for the label rules. What comes behind is not looked at.
const maxFacts = 1 << 10

// place is where in a record a field stands that label rules may ask for.
type place uint8

const (
	placeTop       place = iota // a member of the record itself, or a column
	placeMeta                   // KumoMTA's meta
	placeRcptMeta               // SparkPost's rcpt_meta
	placeTags                   // SES's mail.tags
	placeMail                   // SES's mail
	placeArgs                   // SendGrid's unique_args, also called custom_args
	placeVariables              // Mailgun's user-variables
	placeMetadata               // Postmark's Metadata
	numPlaces
)

// placeOf knows the places by what stands before the first dot of a rule's name, in lower case.
func placeOf(name string) (place, bool) {
	switch name {
	case "meta":
		return placeMeta, true
	case "rcpt_meta":
		return placeRcptMeta, true
	case "tags":
		return placeTags, true
	case "mail":
		return placeMail, true
	case "unique_args", "custom_args":
		return placeArgs, true
	case "user-variables":
		return placeVariables, true
	case "metadata":
		return placeMetadata, true
	}
	return placeTop, false
}

// wants is what the site's rules ask records for, so that nothing else is looked for.
type wants struct {
	fields  [numPlaces][]wantedField
	headers []string

	subject, user, client, transport, job, feed, host bool
}

// wantedField is the name of a field that a rule asks for, "meta.tenant", and its key there.
type wantedField struct{ name, key string }

func wantsOf(s *site.Site) wants {
	w := wants{
		headers: s.Names(site.FactHeader), subject: s.Wants(site.FactSubject), user: s.Wants(site.FactUser), client: s.Wants(site.FactClient),
		transport: s.Wants(site.FactTransport), job: s.Wants(site.FactJob), feed: s.Wants(site.FactFeed), host: s.Wants(site.FactHost),
	}
	for _, name := range s.Names(site.FactField) {
		before, key, _ := strings.Cut(name, ".")
		at, ok := placeOf(before)
		if !ok || key == "" {
			at, key = placeTop, name
		}
		w.fields[at] = append(w.fields[at], wantedField{name, key})
	}
	return w
}

// looks reports whether a rule asks for anything in a place.
func (p *Parser) looks(at place) bool { return len(p.wants.fields[at]) > 0 }

// look keeps the value of the member at hand if a rule asks for it, and leaves the reader where it is. Of an array it keeps
// each element.
func (p *Parser) look(at place, r *reader) {
	for i := range p.wants.fields[at] {
		w := &p.wants.fields[at][i]
		if len(w.key) != len(r.key) || !strings.EqualFold(w.key, r.key) {
			continue
		}
		q := *r
		if q.kind() != '[' {
			p.fact(site.FactField, w.name, q.scalar())
			continue
		}
		for ok := q.array(); ok; ok = q.next() {
			p.fact(site.FactField, w.name, q.scalar())
		}
	}
}

// lookIn keeps what rules ask for of an object's members.
func (p *Parser) lookIn(at place, r *reader) {
	if !p.looks(at) {
		return
	}
	for ok := r.object(); ok; ok = r.more() {
		p.look(at, r)
	}
}

// asksHeader reports whether a rule asks for a header field of that name.
func (p *Parser) asksHeader(name string) bool {
	for _, want := range p.wants.headers {
		if len(want) == len(name) && strings.EqualFold(want, name) {
			return true
		}
	}
	return p.wants.subject && strings.EqualFold(name, "Subject")
}

// header keeps a header field if a rule asks for it.
func (p *Parser) header(name, value string) {
	if !p.asksHeader(name) {
		return
	}
	p.fact(site.FactHeader, name, value)
	if p.wants.subject && strings.EqualFold(name, "Subject") {
		p.fact(site.FactSubject, "", value)
	}
}

// subject keeps a subject if a rule asks for it.
func (p *Parser) subject(value string) {
	if p.wants.subject {
		p.fact(site.FactSubject, "", value)
	}
}

// wantsHeaders reports whether it is worth the while to read header fields.
func (p *Parser) wantsHeaders() bool { return p.wants.subject || len(p.wants.headers) > 0 }

func (p *Parser) fact(kind site.FactKind, name, value string) {
	if value != "" && len(p.facts) < maxFacts {
		p.facts = append(p.facts, site.Fact{Kind: kind, Name: name, Value: cut(value, maxString)})
	}
}

// setLabels writes into an event what the format itself offers for a label.
func setLabels(ev *schema.DeliveryEvent, tenant, stream, campaign string) {
	ev.Tenant, ev.Stream, ev.Campaign = cut(tenant, site.MaxLabelBytes), cut(stream, site.MaxLabelBytes), cut(campaign, site.MaxLabelBytes)
}

// complete puts the site's word above the format's own: labels that a rule gives, the source address where the record
// has none, and the address that the world sees.
func (p *Parser) complete(ev *schema.DeliveryEvent) {
	if p.site == nil {
		return
	}
	if p.site.Labels() {
		if !p.labelled {
			p.label(ev)
		}
		if p.labels.Tenant != "" {
			ev.Tenant = p.labels.Tenant
		}
		if p.labels.Stream != "" {
			ev.Stream = p.labels.Stream
		}
		if p.labels.Campaign != "" {
			ev.Campaign = p.labels.Campaign
		}
	}
	if ev.SourceIp == "" && !p.unsent {
		ev.SourceIp = p.site.SourceIP(ev.MtaHost, ev.Mta, ev.Instance)
	}
	ev.SourceIp = p.site.Translate(ev.SourceIp)
}

// label judges the record's facts. The recipients of one record have the same labels. The order of facts does not matter.
func (p *Parser) label(ev *schema.DeliveryEvent) {
	p.labels, p.labelled = site.Labels{}, true
	f := site.Fact{MTA: ev.Mta, Host: ev.MtaHost}
	if ev.HasSender {
		f.Kind, f.Value = site.FactSender, ev.Sender
		p.site.Label(&p.labels, f)
	}
	if p.wants.transport {
		f.Kind, f.Value = site.FactTransport, ev.Instance
		p.site.Label(&p.labels, f)
	}
	if p.wants.job {
		f.Kind, f.Value = site.FactJob, ev.Campaign
		p.site.Label(&p.labels, f)
	}
	if p.wants.feed {
		f.Kind, f.Value = site.FactFeed, p.feed
		p.site.Label(&p.labels, f)
	}
	if p.wants.host {
		f.Kind, f.Value = site.FactHost, ev.MtaHost
		p.site.Label(&p.labels, f)
	}
	for i := range p.facts {
		p.facts[i].MTA, p.facts[i].Host = ev.Mta, ev.MtaHost
		p.site.Label(&p.labels, p.facts[i])
	}
}
