package site

// The sections of the file on what comes from outside: bounce mails and feeds, and the keys that prove them.

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"carom.dev/carom/schema"
)

func (p *parser) bounces(b *fileBounces) {
	out := &bounces{domains: domains(b.Domains), senders: domains(b.Senders), boxes: domains(b.Addresses), required: domains(b.Signed)}
	for name := range p.site.hosts { // an MTA makes Message-IDs with its own name where a message has none
		if strings.Contains(name, ".") && len(out.senders) > 0 {
			out.senders[name] = true
		}
	}
	for i, a := range b.Addresses {
		if !strings.Contains(a, "@") {
			p.failf(fmt.Sprintf("$.bounces.addresses[%d]", i), "%q is no address", a)
		}
	}
	p.bound("$.bounces.return_paths", len(b.ReturnPaths), maxSchemes)
	p.bound("$.bounces.batv", len(b.BATV), maxSchemes)
	for i, s := range b.ReturnPaths {
		path := fmt.Sprintf("$.bounces.return_paths[%d]", i)
		var age time.Duration
		if s.MaxAge != "" {
			var err error
			if age, err = time.ParseDuration(s.MaxAge); err != nil || age < 24*time.Hour {
				p.failf(path+".max_age", "%q is no duration of a day or more, such as 360h", s.MaxAge)
				continue
			}
		}
		digits := s.MACDigits
		if digits == 0 {
			digits = 16
		}
		if digits < 8 || digits > 64 {
			p.failf(path+".mac_digits", "%d: want 8 to 64", s.MACDigits)
			continue
		}
		sc, err := newScheme(s.Pattern, s.Key, digits, age)
		if err != nil {
			p.fail(path+".pattern", err)
			continue
		}
		out.schemes = append(out.schemes, sc)
		out.domains[sc.domain] = true
		if sc.has[partTenant] || sc.has[partStream] || sc.has[partCampaign] {
			p.site.labels = true
		}
	}
	for i, t := range b.BATV {
		path := fmt.Sprintf("$.bounces.batv[%d]", i)
		sc := &scheme{domain: strings.ToLower(t.Domain), batv: map[byte]string{}}
		if t.Domain == "" || len(t.Keys) == 0 {
			p.failf(path, "want a domain and keys")
			continue
		}
		for n, key := range t.Keys {
			if n < 0 || n > 9 {
				p.failf(path+".keys", "%d: keys are numbered 0 to 9", n)
				continue
			}
			sc.batv[byte('0'+n)] = key
		}
		out.schemes = append(out.schemes, sc)
		out.domains[sc.domain] = true
	}
	for i, d := range b.Signed {
		signed := slices.ContainsFunc(out.schemes, func(s *scheme) bool { return s.domain == strings.ToLower(d) && (s.key != "" || s.batv != nil) })
		if !signed {
			p.failf(fmt.Sprintf("$.bounces.always_signed[%d]", i), "no return path of %s is signed", d)
		}
	}
	p.site.bounces = out
}

func domains(list []string) map[string]bool {
	m := map[string]bool{}
	for _, d := range list {
		m[strings.ToLower(strings.Trim(d, "."))] = true
	}
	return m
}

func (p *parser) feeds(feeds []fileFeed) {
	if !p.bound("$.feeds", len(feeds), maxFeeds) {
		return
	}
	seen := map[string]bool{}
	for i, f := range feeds {
		path := fmt.Sprintf("$.feeds[%d]", i)
		switch {
		case !feedName.MatchString(f.Name):
			p.failf(path+".name", "%q: want 1 to 64 of a-z, 0-9 and hyphens", f.Name)
		case seen[f.Name]:
			p.failf(path+".name", "%q comes twice", f.Name)
		case !slices.Contains(schema.FeedFormats(), f.Format):
			p.failf(path+".format", "%q is not known, want one of %s", f.Format, strings.Join(schema.FeedFormats(), ", "))
		case f.Bearer == "" && f.Signature == "" && len(f.TopicARNs) == 0 && f.Password == "":
			p.failf(path, "nothing to know it by: want bearer, user and password, signature or topic_arns")
		case f.Signature != "" && f.Format != "sendgrid" && f.Format != "mailgun":
			p.failf(path+".signature", "only sendgrid and mailgun sign so; ses wants topic_arns, others bearer or user and password")
		case len(f.TopicARNs) > 0 && f.Format != "ses":
			p.failf(path+".topic_arns", "only ses comes by SNS")
		case (f.User == "") != (f.Password == ""):
			p.failf(path, "user and password belong together")
		}
		seen[f.Name] = true
		out := Feed{
			Name: f.Name, Format: f.Format, Bearer: f.Bearer, User: f.User, Password: f.Password, Signature: f.Signature,
			TopicARNs: f.TopicARNs, Confirm: f.Confirm,
		}
		p.site.feeds = append(p.site.feeds, out)
		for label, value := range [numLabels]string{f.Tenant, f.Stream, ""} {
			if value != "" { // behind every rule: what a record says of itself is nearer
				p.site.rules[FactFeed] = append(p.site.rules[FactFeed], rule{
					label: label, rank: 254, match: regexp.MustCompile("^" + regexp.QuoteMeta(f.Name) + "$"), value: strings.ReplaceAll(value, "$", "$$"),
				})
				p.site.labels = true
			}
		}
	}
}

// KeyNames returns the names of the keys that judging bounces needs, in order and each once.
func (s *Site) KeyNames() []string {
	if s == nil || s.bounces == nil {
		return nil
	}
	var out []string
	for _, sc := range s.bounces.schemes {
		if sc.key != "" {
			out = append(out, sc.key)
		}
		for _, k := range sc.batv {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// AllKeyNames returns KeyNames and the keys of the feeds, in order and each once.
func (s *Site) AllKeyNames() []string {
	out := s.KeyNames()
	for _, f := range s.Feeds() {
		for _, k := range [...]string{f.Bearer, f.Password, f.Signature} {
			if k != "" {
				out = append(out, k)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
