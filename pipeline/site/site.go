// Package site holds what only the sender knows about its own system, and no log says: which hosts and addresses are its
// own, whose mail a message is, in which zone a host writes its time, where bounces come back to and how they are signed.
//
// It is one file (YAML), read by Parse, checked by "carom site check". A change to it changes what ingest makes of a line,
// so it travels in the log like everything that steers a fold: ingest writes the file into each raw partition, and from
// that record on it counts there. Revision tells which of two files is newer.
//
// Everything here is a pure function of the file, the keys and the arguments: no clock, no I/O, no state. A *Site never
// changes and is safe for concurrent use. A nil *Site says nothing about anything.
package site

import (
	"net/netip"
	"strings"
	"time"

	_ "time/tzdata" // the same zones on every machine: the state depends on them
)

// MaxBytes bounds a site file; it travels in a Kafka record and in snapshots.
const MaxBytes = 256 << 10

// Site is what a site file says.
type Site struct {
	text      string
	revision  int64
	location  *time.Location // of hosts that have none; nil: not given
	hosts     map[string]*Host
	sources   map[sourceKey]string
	translate map[string]string
	rules     [numFactKinds][]rule
	labels    bool // there is any rule
	bounces   *bounces
	feeds     []Feed
	topics    map[string]string
}

// Host is one of the sender's own mail servers.
type Host struct {
	Name     string // as it calls itself in reports; in lower case
	Log      bool   // its log comes to Carom: what it reports by mail is known already
	location *time.Location
}

type sourceKey struct{ host, mta, transport string }

// Text returns the file as it was parsed.
func (s *Site) Text() string {
	if s == nil {
		return ""
	}
	return s.text
}

// Revision is the number that the file bears; 0 for nil.
func (s *Site) Revision() int64 {
	if s == nil {
		return 0
	}
	return s.revision
}

// Host returns the own host of that name or alias, in any case and with or without a final dot; nil if it is none.
func (s *Site) Host(name string) *Host {
	if s == nil || len(s.hosts) == 0 || name == "" {
		return nil
	}
	if h := s.hosts[name]; h != nil {
		return h
	}
	return s.hosts[hostKey(name)]
}

func hostKey(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// Location returns the zone of a host's stamps that carry none; nil if the file does not say.
func (s *Site) Location(host string) *time.Location {
	if s == nil {
		return nil
	}
	if h := s.Host(host); h != nil && h.location != nil {
		return h.location
	}
	return s.location
}

// SourceIP returns the address from which a host sends by a transport (Postfix's syslog name, Exim's transport,
// PowerMTA's vmta ...), where its log does not say; empty if the file does not either.
func (s *Site) SourceIP(host, mta, transport string) string {
	if s == nil || len(s.sources) == 0 {
		return ""
	}
	if len(s.hosts) > 0 {
		if h := s.Host(host); h != nil {
			host = h.Name
		}
	}
	for _, k := range [...]sourceKey{
		{host, mta, transport}, {host, "", transport}, {"", mta, transport}, {"", "", transport}, {host, mta, ""}, {host, "", ""},
	} {
		if ip, ok := s.sources[k]; ok {
			return ip
		}
	}
	return ""
}

// Translate returns the address that the world sees for one that a log names: behind network address translation they
// differ. An address that the file does not name is returned as it is.
func (s *Site) Translate(ip string) string {
	if s == nil || len(s.translate) == 0 || ip == "" {
		return ip
	}
	if to, ok := s.translate[ip]; ok {
		return to
	}
	if a, err := netip.ParseAddr(ip); err == nil { // another spelling of the same address
		if to, ok := s.translate[a.Unmap().String()]; ok {
			return to
		}
	}
	return ip
}

// Feeds returns the feeds in the file's order. The slice must not be changed.
func (s *Site) Feeds() []Feed {
	if s == nil {
		return nil
	}
	return s.feeds
}

// TopicFormat returns the format of the records of a raw topic that bear no format of their own; empty: each tells.
func (s *Site) TopicFormat(topic string) string {
	if s == nil {
		return ""
	}
	return s.topics[topic]
}
