package site

// Counts say how much a site file holds, for people who check one.
type Counts struct {
	Revision          int64 `json:"revision"`
	Hosts             int   `json:"hosts"`
	HostsWithLog      int   `json:"hosts_with_log"`
	HostsWithZone     int   `json:"hosts_with_timezone"`
	SourceIPs         int   `json:"source_ips"`
	Translated        int   `json:"translated"`
	TenantRules       int   `json:"tenant_rules"`
	StreamRules       int   `json:"stream_rules"`
	CampaignRules     int   `json:"campaign_rules"`
	BounceDomains     int   `json:"bounce_domains"`
	AlwaysSigned      int   `json:"always_signed"`
	ReturnPaths       int   `json:"return_paths"`
	SignedReturnPaths int   `json:"signed_return_paths"`
	Feeds             int   `json:"feeds"`
}

// Counts returns them. Rules that a feed's own tenant and stream stand for are counted, too.
func (s *Site) Counts() Counts {
	c := Counts{Revision: s.Revision(), SourceIPs: len(s.sources), Translated: len(s.translate), Feeds: len(s.feeds)}
	seen := map[*Host]bool{}
	for _, h := range s.hosts {
		if !seen[h] {
			seen[h] = true
			c.Hosts++
			if h.Log {
				c.HostsWithLog++
			}
			if h.location != nil {
				c.HostsWithZone++
			}
		}
	}
	for _, rules := range s.rules {
		for i := range rules {
			switch rules[i].label {
			case labelTenant:
				c.TenantRules++
			case labelStream:
				c.StreamRules++
			default:
				c.CampaignRules++
			}
		}
	}
	if b := s.bounces; b != nil {
		c.BounceDomains, c.AlwaysSigned, c.ReturnPaths = len(b.domains), len(b.required), len(b.schemes)
		for _, sc := range b.schemes {
			if sc.key != "" || sc.batv != nil {
				c.SignedReturnPaths++
			}
		}
	}
	return c
}
