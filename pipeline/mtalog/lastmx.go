package mtalog

import (
	"strings"

	"carom.dev/carom/schema"
)

// lastMX remembers, by recipient domain, the host that took or refused its mail last. It is asked only where a line of a
// failed attempt names no host ("Host or domain name not found"), so that the failure still counts for the provider that
// serves the domain. What was silent longest, by the order of the log, is forgotten first: the table is a function of
// the lines and is written out with the queue.
type lastMX struct {
	hosts       map[string]*domainHost
	first, last *domainHost // by the order of their last lines
}

type domainHost struct {
	domain, host string
	prev, next   *domainHost
}

func newLastMX() lastMX { return lastMX{hosts: map[string]*domainHost{}} }

// saw records that host answered for domain, and forgets domains beyond limit.
func (l *lastMX) saw(domain, host string, limit int) {
	if domain == "" || host == "" || limit == 0 {
		return
	}
	d := l.last
	if d == nil || d.domain != domain {
		d = l.hosts[domain]
	}
	switch {
	case d == nil:
		d = &domainHost{domain: strings.Clone(domain), host: strings.Clone(host)}
		l.hosts[d.domain] = d
		l.pushBack(d)
	case d != l.last:
		l.unlink(d)
		l.pushBack(d)
	}
	if d.host != host {
		d.host = strings.Clone(host)
	}
	for len(l.hosts) > limit {
		delete(l.hosts, l.first.domain)
		l.unlink(l.first)
	}
}

// host returns the host seen last for domain, empty if none is remembered.
func (l *lastMX) host(domain string) string {
	if d := l.hosts[domain]; d != nil {
		return d.host
	}
	return ""
}

func (l *lastMX) pushBack(d *domainHost) {
	d.prev, d.next = l.last, nil
	if l.last != nil {
		l.last.next = d
	} else {
		l.first = d
	}
	l.last = d
}

func (l *lastMX) unlink(d *domainHost) {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		l.first = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	} else {
		l.last = d.prev
	}
}

// recall fills in the host of a failed attempt whose line names none, and marks the event.
func (c *Correlator) recall(ev *schema.DeliveryEvent) {
	if ev.RemoteHost != "" || ev.Origin != schema.Origin_LOCAL_MTA {
		return
	}
	switch ev.Phase {
	case schema.Phase_CONNECT, schema.Phase_TLS:
	case schema.Phase_DNS:
		if strings.HasPrefix(ev.Text, "Domain ") || strings.HasPrefix(ev.Text, "mail for ") {
			return // null MX and loops: the domain has said that no host serves it
		}
	default:
		return
	}
	if host := c.mx.host(ev.Domain); host != "" {
		ev.RemoteHost, ev.RemoteRecalled = host, true
	}
}
