package traffic

import (
	"strconv"
	"strings"
	"time"
)

// recipient is one address and what happened to it. Times are Unix microseconds, 0 for never.
type recipient struct {
	address  string
	provider uint8
	domain   uint8

	gone   bool // does not exist
	full   bool // over quota until its owner clears up
	known  bool // its greylisting host has seen us
	off    bool // taken off the mailing lists, because it was refused as unknown
	listed bool

	attempts, delivered, deferred, bounced uint32

	firstDelivered, lastDelivered, firstFalse, lastFalse int64
}

// Chances of what a recipient is.
const (
	chanceFull    = 0.004 // of being over quota from the beginning
	chanceCleared = 0.15  // an attempt, that the owner has cleared up since
)

// population is every recipient there is. It grows by those who sign up and by the bad list, so its size is bounded by
// the number of messages of the run.
type population struct {
	all  []recipient
	base []int32 // those who are mailed again and again
}

// baseSize returns how many recipients share the traffic: few enough that a run mails each several times and the first
// mailing is through after about half an hour.
func baseSize(cfg *Config) int {
	return max(16, min(20*cfg.PerMinute, cfg.PerMinute*cfg.Minutes/4))
}

// newRecipient adds a recipient at a provider drawn by share.
func (g *Generator) newRecipient() int32 {
	u := g.rng.IntN(100)
	p := 0
	for ; p < len(g.providers)-1 && u >= g.providers[p].share; p++ {
		u -= g.providers[p].share
	}
	domains := g.providers[p].domains
	weights := 0
	for i := range domains {
		weights += domains[i].weight
	}
	u = g.rng.IntN(weights)
	d := 0
	for ; d < len(domains)-1 && u >= domains[d].weight; d++ {
		u -= domains[d].weight
	}
	n := len(g.people.all)
	g.people.all = append(g.people.all, recipient{
		address:  g.localPart(n) + "@" + domains[d].name,
		provider: uint8(p), domain: uint8(d),
		full: g.rng.Float64() < chanceFull,
	})
	return int32(n)
}

// goneRecipient adds an address of another run that no longer exists.
func (g *Generator) goneRecipient(address string) int32 {
	p, d, _ := findDomain(g.providers, address) // Validate has looked
	n := len(g.people.all)
	g.people.all = append(g.people.all, recipient{address: address, provider: uint8(p), domain: uint8(d), gone: true})
	return int32(n)
}

// findDomain returns the provider and the domain of an address.
func findDomain(providers []provider, address string) (p, d int, ok bool) {
	_, domain, _ := strings.Cut(address, "@")
	for p := range providers {
		for d := range providers[p].domains {
			if providers[p].domains[d].name == domain {
				return p, d, true
			}
		}
	}
	return 0, 0, false
}

// localPart makes up a local part. The number of the recipient makes it unique.
func (g *Generator) localPart(n int) string {
	first := firstNames[g.rng.IntN(len(firstNames))]
	last := lastNames[g.rng.IntN(len(lastNames))]
	number := strconv.Itoa(n)
	switch g.rng.IntN(5) {
	case 0:
		return first + "." + last + number
	case 1:
		return first + "_" + last + number
	case 2:
		return first[:1] + last + number
	case 3:
		return last + "." + first + number
	}
	return first + last + number
}

var (
	firstNames = [...]string{
		"ada", "amir", "anja", "bela", "carla", "chen", "dina", "emil", "fatou", "felix", "greta", "hugo", "ines", "ivan", "jana", "kofi",
		"lena", "luca", "maja", "nils", "nora", "olga", "omar", "paula", "petra", "quentin", "rafa", "rosa", "sami", "tessa", "uwe", "vera",
		"wim", "yara", "yusuf", "zoe",
	}
	lastNames = [...]string{
		"abel", "bauer", "costa", "dahl", "eriksen", "falk", "garnier", "haas", "ito", "jansen", "keller", "lopes", "marsh", "novak", "okoro",
		"peters", "quist", "rossi", "sandberg", "tamm", "ueda", "vogel", "weiss", "ximenes", "young", "zeman",
	}
)

// pick returns a recipient of the base, mailed for a reason of its own: an order, a password.
func (g *Generator) pick() int32 { return g.people.base[g.rng.IntN(len(g.people.base))] }

// campaign is a mailing of one brand to everybody, in an order of its own.
type campaign struct {
	number int
	brand  string
	size   int
	order  []int32
	next   int
}

// nextOfCampaign returns the recipient who is next in the current mailing. When it is through, the next brand begins.
func (g *Generator) nextOfCampaign() int32 {
	for range 2 {
		c := &g.campaign
		for c.next < len(c.order) {
			to := c.order[c.next]
			c.next++
			if !g.people.all[to].off {
				return to
			}
		}
		g.startCampaign()
	}
	return g.pick() // everybody is off the list
}

func (g *Generator) startCampaign() {
	c := &g.campaign
	c.number++
	c.brand = brands[c.number%len(brands)]
	c.size = 20_000 + g.rng.IntN(60_000)
	c.order = append(c.order[:0], g.people.base...)
	c.next = 0
	g.rng.Shuffle(len(c.order), func(i, j int) { c.order[i], c.order[j] = c.order[j], c.order[i] })
}

// The sender's customers, and the one with the bad list.
var brands = [...]string{"alpenglow-outdoor.example", "bookwharf.example", "crumb-and-co.example", "daybreak-news.example", "evergreen-toys.example"}

const (
	listBrand    = "prize-parade.example"
	listCampaign = 9000
)

// Truth returns what the lines returned so far say. The slice is the caller's.
func (g *Generator) Truth() Truth {
	t := g.truth
	t.Recipients = make([]Recipient, 0, len(g.met))
	for _, i := range g.met {
		r := &g.people.all[i]
		t.Recipients = append(t.Recipients, Recipient{
			Address: r.address, Provider: g.providers[r.provider].id, Gone: r.gone, Listed: r.listed,
			Attempts: int(r.attempts), Delivered: int(r.delivered), Deferred: int(r.deferred), Bounced: int(r.bounced),
			FirstDelivered: g.time(r.firstDelivered), LastDelivered: g.time(r.lastDelivered),
			FirstFalse: g.time(r.firstFalse), LastFalse: g.time(r.lastFalse),
		})
	}
	return t
}

func (g *Generator) time(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).In(g.cfg.Start.Location())
}
