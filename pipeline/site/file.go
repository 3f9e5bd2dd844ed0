package site

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"carom.dev/carom/schema"
)

// The bounds of a site file's lists.
const (
	maxHosts   = 10_000
	maxRules   = 200 // for each label
	maxSchemes = 64
	maxFeeds   = 1_000
)

// Error says what is wrong with a site file, and where.
type Error struct {
	Path string // of the field, "$.hosts[2].timezone"; empty where the text is no YAML of this shape
	Line int    // from 1; 0 if the whole is meant
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case e.Path != "" && e.Line > 0:
		return fmt.Sprintf("site file line %d, %s: %v", e.Line, strings.TrimPrefix(e.Path, "$."), e.Err)
	case e.Path != "":
		return fmt.Sprintf("site file, %s: %v", strings.TrimPrefix(e.Path, "$."), e.Err)
	}
	return fmt.Sprintf("site file: %v", e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// The file as YAML. docs/site.md describes each field.
type (
	file struct {
		Revision   int64             `yaml:"revision"`
		Timezone   string            `yaml:"timezone"`
		Hosts      []fileHost        `yaml:"hosts"`
		Sources    []fileSource      `yaml:"source_ips"`
		Translated map[string]string `yaml:"translated"`
		Labels     fileLabels        `yaml:"labels"`
		Bounces    *fileBounces      `yaml:"bounces"`
		Feeds      []fileFeed        `yaml:"feeds"`
		Topics     map[string]string `yaml:"topics"`
	}
	fileHost struct {
		Name     string   `yaml:"name"`
		Aliases  []string `yaml:"aliases"`
		Timezone string   `yaml:"timezone"`
		Log      *bool    `yaml:"log"`
	}
	fileSource struct {
		Host      string `yaml:"host"`
		MTA       string `yaml:"mta"`
		Transport string `yaml:"transport"`
		IP        string `yaml:"ip"`
	}
	fileLabels struct {
		Tenant   []fileRule `yaml:"tenant"`
		Stream   []fileRule `yaml:"stream"`
		Campaign []fileRule `yaml:"campaign"`
	}
	fileRule struct {
		From   string            `yaml:"from"`
		Name   string            `yaml:"name"`
		MTA    string            `yaml:"mta"`
		Host   string            `yaml:"host"`
		Match  string            `yaml:"match"`
		Value  string            `yaml:"value"`
		Values map[string]string `yaml:"values"`
	}
	fileBounces struct {
		Domains     []string     `yaml:"domains"`
		Addresses   []string     `yaml:"addresses"`
		Senders     []string     `yaml:"senders"`
		ReturnPaths []fileScheme `yaml:"return_paths"`
		BATV        []fileBATV   `yaml:"batv"`
		Signed      []string     `yaml:"always_signed"`
	}
	fileScheme struct {
		Pattern   string `yaml:"pattern"`
		Key       string `yaml:"key"`
		MACDigits int    `yaml:"mac_digits"`
		MaxAge    string `yaml:"max_age"`
	}
	fileBATV struct {
		Domain string         `yaml:"domain"`
		Keys   map[int]string `yaml:"keys"`
	}
	fileFeed struct {
		Name      string   `yaml:"name"`
		Format    string   `yaml:"format"`
		Bearer    string   `yaml:"bearer"`
		User      string   `yaml:"user"`
		Password  string   `yaml:"password"`
		Signature string   `yaml:"signature"`
		TopicARNs []string `yaml:"topic_arns"`
		Confirm   bool     `yaml:"confirm_subscriptions"`
		Tenant    string   `yaml:"tenant"`
		Stream    string   `yaml:"stream"`
	}
)

// Parse reads a site file. Unknown fields are refused. The error is an *Error, or several joined: all that is wrong, not
// only the first.
func Parse(text []byte) (*Site, error) {
	if len(text) > MaxBytes {
		return nil, &Error{Err: fmt.Errorf("%d bytes, at most %d are allowed", len(text), MaxBytes)}
	}
	var f file
	if err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict()); err != nil {
		return nil, &Error{Err: err}
	}
	p := parser{text: string(text), site: &Site{text: string(text), revision: f.Revision, topics: f.Topics}}
	p.read(&f)
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.site, nil
}

// parser turns the file into a Site and collects what is wrong.
type parser struct {
	text string
	site *Site
	errs []error
}

func (p *parser) fail(path string, err error) {
	e := &Error{Path: path, Err: err}
	if yp, bad := yaml.PathString(path); bad == nil {
		if node, bad := yp.ReadNode(strings.NewReader(p.text)); bad == nil && node != nil && node.GetToken() != nil {
			e.Line = node.GetToken().Position.Line
		}
	}
	p.errs = append(p.errs, e)
}

func (p *parser) failf(path, format string, args ...any) { p.fail(path, fmt.Errorf(format, args...)) }

func (p *parser) bound(path string, n, most int) bool {
	if n > most {
		p.failf(path, "%d entries, at most %d are allowed", n, most)
	}
	return n <= most
}

func (p *parser) read(f *file) {
	if f.Revision < 1 {
		p.failf("$.revision", "%d: want a number from 1 that rises with every change", f.Revision)
	}
	p.site.location = p.zone("$.timezone", f.Timezone)
	p.hosts(f.Hosts)
	p.sources(f.Sources)
	p.translated(f.Translated)
	for label, rules := range [numLabels][]fileRule{f.Labels.Tenant, f.Labels.Stream, f.Labels.Campaign} {
		p.rules(label, rules)
	}
	if f.Bounces != nil {
		p.bounces(f.Bounces)
	}
	p.feeds(f.Feeds)
	for _, topic := range slices.Sorted(maps.Keys(f.Topics)) {
		format := f.Topics[topic]
		if format != schema.FormatLines && format != schema.FormatMail && !slices.Contains(schema.FeedFormats(), format) {
			p.failf("$.topics."+topic, "format %q is not known, want lines, mail, %s", format, strings.Join(schema.FeedFormats(), ", "))
		}
	}
}

func (p *parser) zone(path, name string) *time.Location {
	if name == "" {
		return nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // Local is another zone on each machine
		p.failf(path, "%q is no zone of the IANA database, such as Europe/Berlin", name)
		return nil
	}
	return loc
}

func (p *parser) hosts(hosts []fileHost) {
	if !p.bound("$.hosts", len(hosts), maxHosts) {
		return
	}
	p.site.hosts = map[string]*Host{}
	for i, h := range hosts {
		path := fmt.Sprintf("$.hosts[%d]", i)
		if h.Name == "" {
			p.failf(path, "name is missing")
			continue
		}
		own := &Host{Name: hostKey(h.Name), Log: h.Log == nil || *h.Log, location: p.zone(path+".timezone", h.Timezone)}
		for _, name := range append([]string{h.Name}, h.Aliases...) {
			key := hostKey(name)
			if other := p.site.hosts[key]; other != nil && other != own {
				p.failf(path, "%q is host %s already", name, other.Name)
				continue
			}
			p.site.hosts[key] = own
		}
	}
}

func (p *parser) sources(list []fileSource) {
	p.site.sources = map[sourceKey]string{}
	for i, s := range list {
		path := fmt.Sprintf("$.source_ips[%d]", i)
		ip, ok := p.address(path+".ip", s.IP)
		if !ok {
			continue
		}
		if s.Host == "" && s.Transport == "" {
			p.failf(path, "want a host, a transport or both")
			continue
		}
		host := s.Host
		if h := p.site.Host(host); h != nil {
			host = h.Name
		}
		k := sourceKey{host, s.MTA, s.Transport}
		if _, twice := p.site.sources[k]; twice {
			p.failf(path, "the same host, mta and transport were given before")
		}
		p.site.sources[k] = ip
	}
}

func (p *parser) address(path, s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		p.failf(path, "%q is no IP address", s)
		return "", false
	}
	return a.Unmap().String(), true
}

func (p *parser) translated(m map[string]string) {
	p.site.translate = map[string]string{}
	for _, from := range slices.Sorted(maps.Keys(m)) {
		to := m[from]
		path := "$.translated.'" + from + "'"
		f, ok1 := p.address(path, from)
		t, ok2 := p.address(path, to)
		if ok1 && ok2 {
			p.site.translate[f] = t
		}
	}
}

func (p *parser) rules(label int, rules []fileRule) {
	section := "$.labels." + [numLabels]string{"tenant", "stream", "campaign"}[label]
	if !p.bound(section, len(rules), maxRules) {
		return
	}
	for i, r := range rules {
		path := fmt.Sprintf("%s[%d]", section, i)
		kind := slices.Index(factNames[:], r.From)
		if kind < 0 {
			p.failf(path+".from", "%q is not known, want one of %s", r.From, strings.Join(factNames[:], ", "))
			continue
		}
		named := FactKind(kind) == FactHeader || FactKind(kind) == FactField
		if named != (r.Name != "") {
			p.failf(path, "name goes with header and field, and they need one")
			continue
		}
		out := rule{label: label, rank: uint8(i + 1), mta: r.MTA, host: r.Host, name: strings.ToLower(r.Name), value: r.Value, values: r.Values}
		if r.Match != "" {
			re, err := regexp.Compile(r.Match)
			if err != nil {
				p.fail(path+".match", err)
				continue
			}
			out.match = re
		} else if strings.Contains(r.Value, "$") {
			p.failf(path+".value", "$1 needs a match")
			continue
		}
		p.site.rules[kind] = append(p.site.rules[kind], out)
		p.site.labels = true
	}
}
