package site

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Keys are the secrets that a site file names, by name. The file itself holds none.
type Keys map[string][]byte

// MinKeyBytes is the least length of a secret.
const MinKeyBytes = 16

// has reports whether a key can sign: with an empty one everybody could.
func (k Keys) has(name string) bool { return len(k[name]) >= MinKeyBytes }

// A return path (the envelope sender, RFC 5321, section 4.4) may be made so that it says of itself what came back: a
// pattern with these parts. Only {recipient} may hold what the rest of the pattern holds, too.
const (
	partRecipient = "recipient" // user=domain: the last "=" stands for the at sign (VERP)
	partTenant    = "tenant"
	partStream    = "stream"
	partCampaign  = "campaign"
	partAny       = "any" // whatever else is in it
	partDay       = "day" // days since 1970-01-01 when it was made, so that an old one is worth nothing
	partMAC       = "mac" // first digits of the HMAC-SHA-256 of the address without them
)

// partPatterns hold what a part may be.
var partPatterns = map[string]string{
	partRecipient: `.+=[^@=]+`, partTenant: `[^@+=]+?`, partStream: `[^@+=]+?`, partCampaign: `[^@+=]+?`, partAny: `[^@]*?`,
	partDay: `[0-9]{1,6}`,
}

// scheme is one way in which return paths are made.
type scheme struct {
	pattern string
	domain  string // behind the at sign, in lower case
	re      *regexp.Regexp
	key     string        // of the MAC; empty: none
	digits  int           // of the MAC
	maxAge  time.Duration // with {day}
	batv    map[byte]string
	has     map[string]bool
}

// newScheme reads a pattern such as "b+{recipient}-{mac}@bounce.example.com".
func newScheme(pattern, key string, digits int, maxAge time.Duration) (*scheme, error) {
	local, domain, ok := strings.Cut(pattern, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(domain, "{}@") {
		return nil, errors.New("want local part, @ and a domain without parts in braces")
	}
	s := &scheme{pattern: pattern, domain: strings.ToLower(domain), key: key, digits: digits, maxAge: maxAge, has: map[string]bool{}}
	var re strings.Builder
	re.WriteString("(?is)^")
	for rest := local; rest != ""; {
		literal, after, open := strings.Cut(rest, "{")
		re.WriteString(regexp.QuoteMeta(literal))
		if !open {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		part, known := partPatterns[name]
		if name == partMAC {
			part, known = fmt.Sprintf("[0-9a-f]{%d}", digits), true
		}
		switch {
		case !closed:
			return nil, errors.New("a brace is not closed")
		case !known:
			return nil, fmt.Errorf("{%s} is not known; there are recipient, tenant, stream, campaign, any, day, mac", name)
		case s.has[name] && name != partAny:
			return nil, fmt.Errorf("{%s} comes twice", name)
		}
		s.has[name] = true
		if name == partAny {
			re.WriteString("(?:" + part + ")")
		} else {
			re.WriteString("(?P<" + name + ">" + part + ")")
		}
		rest = tail
	}
	re.WriteString("@" + regexp.QuoteMeta(s.domain) + "$")
	switch {
	case len(s.has) == 0:
		return nil, errors.New("no part in braces: a bounce domain says as much")
	case s.has[partMAC] != (key != ""):
		return nil, errors.New("{mac} and key belong together")
	case s.has[partDay] && !s.has[partMAC]:
		return nil, errors.New("{day} without {mac} proves nothing")
	case s.has[partDay] != (maxAge > 0):
		return nil, errors.New("{day} and max_age belong together")
	}
	var err error
	s.re, err = regexp.Compile(re.String())
	return s, err
}

// Path is what a return path says.
type Path struct {
	Recipient                string // the address that was mailed; empty if the path does not say
	Tenant, Stream, Campaign string
	Signed                   bool // it bears our signature, and that is right
	Forged                   bool // it ought to bear our signature and bears none, a wrong one, or one that is too old
}

// read matches an address. ok is false if it is not made this way.
func (s *scheme) read(addr string, keys Keys, at time.Time) (p Path, ok bool) {
	if s.batv != nil {
		return s.readBATV(addr, keys, at)
	}
	m := s.re.FindStringSubmatchIndex(addr)
	if m == nil {
		return Path{}, false
	}
	part := func(name string) string {
		if k := s.re.SubexpIndex(name); k >= 0 && m[2*k] >= 0 {
			return addr[m[2*k]:m[2*k+1]]
		}
		return ""
	}
	if r := part(partRecipient); r != "" {
		eq := strings.LastIndexByte(r, '=')
		p.Recipient = r[:eq] + "@" + r[eq+1:]
	}
	p.Tenant, p.Stream, p.Campaign = part(partTenant), part(partStream), part(partCampaign)
	if s.key == "" {
		return p, true
	}
	k := s.re.SubexpIndex(partMAC)
	given := strings.ToLower(addr[m[2*k]:m[2*k+1]])
	want := mac(keys[s.key], addr[:m[2*k]]+addr[m[2*k+1]:], s.digits)
	p.Signed = keys.has(s.key) && hmac.Equal([]byte(given), []byte(want))
	if p.Signed && s.maxAge > 0 {
		made, err := strconv.ParseInt(part(partDay), 10, 64)
		age := at.Sub(time.Unix(made*86400, 0))
		p.Signed = err == nil && age > -48*time.Hour && age < s.maxAge+24*time.Hour
	}
	p.Forged = !p.Signed
	return p, true
}

// mac signs an address in lower case, since servers on the way back may change its case.
func mac(key []byte, addr string, digits int) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(strings.ToLower(addr)))
	return hex.EncodeToString(h.Sum(nil))[:digits]
}

// readBATV reads prvs=KDDDSSSSSS=local@domain, bounce address tag validation (draft-levine-smtp-batv-01, section 4.1): K
// numbers the key, DDD is the day when it ends, in days since 1970 modulo 1000, SSSSSS the first three bytes of the
// HMAC-SHA-1 of K, DDD and the address without the tag.
func (s *scheme) readBATV(addr string, keys Keys, at time.Time) (p Path, ok bool) {
	at1 := strings.LastIndexByte(addr, '@')
	if at1 < 0 || !strings.EqualFold(addr[at1+1:], s.domain) {
		return Path{}, false
	}
	if len(addr) < 17 || !strings.EqualFold(addr[:5], "prvs=") || addr[15] != '=' {
		return Path{}, false
	}
	tag, rest := addr[5:15], addr[16:]
	key, known := s.batv[tag[0]]
	day, err := strconv.ParseUint(tag[1:4], 10, 16)
	if !known || err != nil {
		return Path{Forged: true}, true
	}
	want := batvMAC(keys[key], tag[:4], rest)
	left := (int64(day) - at.Unix()/86400%1000 + 1000) % 1000
	p.Signed = keys.has(key) && hmac.Equal([]byte(strings.ToLower(tag[4:])), []byte(want)) && left < 500
	p.Forged = !p.Signed
	return p, true
}

func batvMAC(key []byte, tag, addr string) string {
	h := hmac.New(sha1.New, key)
	h.Write([]byte(tag + addr))
	return hex.EncodeToString(h.Sum(nil)[:3])
}

// Parts are what Sign puts into a return path.
type Parts struct {
	Recipient, Tenant, Stream, Campaign string
	At                                  time.Time
}

// Sign makes a return path by the file's scheme of that number, from 0, so that a sender's own code can be compared with
// it. {any} becomes nothing. It returns an error if the scheme wants a part or a key that is missing.
func (s *Site) Sign(scheme int, p Parts, keys Keys) (string, error) {
	if s == nil || s.bounces == nil || scheme < 0 || scheme >= len(s.bounces.schemes) {
		return "", fmt.Errorf("the site file has no return path %d", scheme)
	}
	sc := s.bounces.schemes[scheme]
	if sc.batv != nil {
		return "", errors.New("BATV is signed by the MTA that adds the tag")
	}
	addr := sc.pattern
	fill := map[string]string{partTenant: p.Tenant, partStream: p.Stream, partCampaign: p.Campaign, partAny: ""}
	if i := strings.LastIndexByte(p.Recipient, '@'); i > 0 {
		fill[partRecipient] = p.Recipient[:i] + "=" + p.Recipient[i+1:]
	}
	if sc.has[partDay] {
		fill[partDay] = strconv.FormatInt(p.At.Unix()/86400, 10)
	}
	for name, v := range fill {
		if v == "" && sc.has[name] && name != partAny {
			return "", fmt.Errorf("return path %s wants a %s", sc.pattern, name)
		}
		addr = strings.ReplaceAll(addr, "{"+name+"}", v)
	}
	if sc.key != "" {
		key, ok := keys[sc.key]
		if !ok {
			return "", fmt.Errorf("return path %s wants the key %s", sc.pattern, sc.key)
		}
		addr = strings.Replace(addr, "{"+partMAC+"}", mac(key, strings.Replace(addr, "{"+partMAC+"}", "", 1), sc.digits), 1)
	}
	if got, ok := sc.read(addr, keys, p.At); !ok || got.Forged || (sc.has[partRecipient] && !strings.EqualFold(got.Recipient, p.Recipient)) {
		return "", fmt.Errorf("return path %s cannot say this recipient so that it is read back", sc.pattern)
	}
	return addr, nil
}
