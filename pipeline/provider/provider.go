// Package provider names the mailbox provider or mail filter that answers for a recipient.
//
// The name is a short slug ("apple", "google", "proofpoint") under which rules, numbers and incidents are kept. It is
// found from the host that spoke (MX or relay), because that is who wrote the reply; the recipient's domain is the
// second choice, for failures that reached no host. The list is data, providers.txt, from public MX records; it is
// not complete and need not be: an unknown host is Other.
package provider

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Other is the name where no provider is known.
const Other = "other"

// maxName is the longest domain name in characters (RFC 1035, section 2.3.4); a longer one matches nothing.
const maxName = 255

//go:embed providers.txt
var data string

// Provider is one entry of the list.
type Provider struct {
	ID      string   // slug, stable
	Filter  bool     // a mail filter in front of other people's mailboxes: words in its replies are its own
	MX      []string // suffixes of MX host names, on label boundaries, lower case
	Domains []string // recipient domains, subdomains included, lower case
	Aliases []string // other names that people and other systems use
}

type table struct {
	all    []Provider
	mx     map[string]string
	domain map[string]string
	name   map[string]string // ids and aliases
}

// The embedded list is parsed once, on first use; a test holds that it parses.
var embedded = sync.OnceValue(func() *table {
	t, err := parse(strings.NewReader(data))
	if err != nil {
		panic(fmt.Sprintf("provider: embedded providers.txt: %v", err))
	}
	return t
})

// All returns a copy of the list, in the order of the file.
func All() []Provider {
	return slices.Clone(embedded().all)
}

// ByName returns the id of the provider that goes by name, an id or an alias in any case; Other and false for a stranger.
func ByName(name string) (id string, ok bool) {
	if id, ok = embedded().name[strings.ToLower(name)]; !ok {
		return Other, false
	}
	return id, true
}

// Lookup returns the provider of the host that spoke, else of the recipient's domain, else Other. Either may be empty,
// carry a final dot or be in any case. The longest suffix wins. It does not allocate and is safe for concurrent use.
func Lookup(remoteHost, domain string) string {
	t := embedded()
	if id := find(t.mx, remoteHost); id != "" {
		return id
	}
	if id := find(t.domain, domain); id != "" {
		return id
	}
	return Other
}

// find tries name and then each parent domain, longest first.
func find(m map[string]string, name string) string {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName {
		return ""
	}
	var buf [maxName]byte
	b := buf[:len(name)]
	for i := range b {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b[i] = c
	}
	for start := 0; start < len(b); {
		if id, ok := m[string(b[start:])]; ok {
			return id
		}
		dot := slices.Index(b[start:], '.')
		if dot < 0 {
			return ""
		}
		start += dot + 1
	}
	return ""
}

// parse reads the list: "id [filter]" at the start of a line, then indented "mx NAME...", "domain NAME..." and "alias NAME..." lines;
// "#" starts a comment. An error names the line.
func parse(r io.Reader) (*table, error) {
	t := &table{mx: map[string]string{}, domain: map[string]string{}, name: map[string]string{}}
	scanner := bufio.NewScanner(r)
	for n := 1; scanner.Scan(); n++ {
		line, _, _ := strings.Cut(scanner.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if line[0] != ' ' {
			p := Provider{ID: words[0]}
			switch {
			case len(words) == 2 && words[1] == "filter":
				p.Filter = true
			case len(words) > 1:
				return nil, fmt.Errorf("line %d: unknown word %q after the provider's name", n, words[1])
			}
			if other, ok := t.name[p.ID]; ok || p.ID == Other {
				return nil, fmt.Errorf("line %d: name %q belongs to %q already", n, p.ID, other)
			}
			t.name[p.ID] = p.ID
			t.all = append(t.all, p)
			continue
		}
		if len(t.all) == 0 {
			return nil, fmt.Errorf("line %d: %s before the first provider", n, words[0])
		}
		p := &t.all[len(t.all)-1]
		var into map[string]string
		switch words[0] {
		case "mx":
			into = t.mx
			p.MX = append(p.MX, words[1:]...)
		case "alias":
			into = t.name
			p.Aliases = append(p.Aliases, words[1:]...)
		case "domain":
			into = t.domain
			p.Domains = append(p.Domains, words[1:]...)
		default:
			return nil, fmt.Errorf("line %d: unknown word %q, want mx, domain or alias", n, words[0])
		}
		for _, name := range words[1:] {
			if name != strings.ToLower(name) || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
				return nil, fmt.Errorf("line %d: %q is not a lower-case name without outer dots", n, name)
			}
			if other, ok := into[name]; ok {
				return nil, fmt.Errorf("line %d: %q belongs to %s already", n, name, other)
			}
			into[name] = p.ID
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the list: %w", err)
	}
	return t, nil
}
