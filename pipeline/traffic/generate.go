package traffic

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	microsPerSecond = int64(1_000_000)
	microsPerMinute = 60 * microsPerSecond
)

// Shares of what new messages are for. The rest are mailings.
const (
	shareTypo     = 0.005  // to an address that never existed
	shareSignUp   = 0.006  // to a new customer
	shareClosed   = 0.0006 // to a customer who has just closed the mailbox
	sharePersonal = 0.25   // orders, passwords: to one customer
	shareGroup    = 0.02   // to a few customers at once
)

// Postfix's defaults of minimal_backoff_time, maximal_backoff_time and queue_run_delay.
const (
	minBackoff = 300 * microsPerSecond
	maxBackoff = 4000 * microsPerSecond
	queueRun   = 300 * microsPerSecond
)

// ringMinutes is how far ahead retries may lie: backoff, queue run and the longest timeout, with room.
const ringMinutes = 128

// chanceAgain is that of a temporary trouble to last until the next attempt.
const chanceAgain = 0.3

// Generator makes up the log, minute by minute. It is not safe for concurrent use. Make one with New.
type Generator struct {
	cfg       Config
	rng       *rand.Rand
	providers []provider
	greylist  reply
	burst     int // index of the burst's provider, -1 for none

	start  int64 // all times are Unix microseconds
	minute int
	people population
	met    []int32 // recipients in the order of their first attempt
	truth  Truth   // without recipients

	campaign campaign
	messages int
	gone     int                     // of cfg.Gone, how many have been mailed
	inodes   []uint32                // by host
	retries  [ringMinutes][]*message // by minute
	pending  []pending
	buf      []byte
}

// message is one in a queue.
type message struct {
	host    int
	id      string
	sender  string
	brand   string
	stream  stream
	size    int
	rcpts   int
	arrived int64
	tried   int64 // when the next attempt begins
	waiting []waiting
}

type waiting struct {
	to   int32
	last *reply // a trouble that may last; nil if there is none
}

// stream is the transport: Postfix has one for mailings and one for the rest, by syslog_name.
type stream uint8

const (
	transactional stream = iota
	bulk
)

// fate is what an attempt came to.
type fate uint8

const (
	fateNone fate = iota // not a delivery line
	fateNotice
	fateDelivered
	fateDeferred
	fateBounced
	fateUnknown
	fateFalseUnknown
)

// pending is a line that is not yet due.
type pending struct {
	at   int64
	host int
	fate fate
	to   int32
	text string
}

// New returns a Generator at the first minute, or the error of cfg.Validate.
func New(cfg Config) (*Generator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Start = cfg.Start.Truncate(time.Minute)
	cfg.Hosts, cfg.Gone = slices.Clone(cfg.Hosts), slices.Clone(cfg.Gone)
	g := &Generator{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6361726f6d)), providers: providers(), greylist: greylisted(), burst: -1,
		start: cfg.Start.UnixMicro(), inodes: make([]uint32, len(cfg.Hosts)),
	}
	if b := cfg.Burst; b != nil {
		own := *b
		g.cfg.Burst, g.burst = &own, providerIndex(b.Provider)
	}
	if l := cfg.ListImport; l != nil {
		own := *l
		g.cfg.ListImport = &own
	}
	for range baseSize(&cfg) {
		g.people.base = append(g.people.base, g.newRecipient())
	}
	for h := range g.inodes {
		g.inodes[h] = uint32(g.rng.IntN(1 << 20))
	}
	return g, nil
}

// Next returns the lines whose stamps lie in the next minute, in order of time, those of all hosts interleaved; minute is
// its beginning. After the last minute ok is false. What is in flight then stays unsaid: the log ends in the middle of
// life, as every log does.
func (g *Generator) Next() (minute time.Time, lines []Line, ok bool) {
	if g.minute >= g.cfg.Minutes {
		return time.Time{}, nil, false
	}
	from := g.start + int64(g.minute)*microsPerMinute
	due := g.retries[g.minute%ringMinutes]
	g.retries[g.minute%ringMinutes] = nil
	again := 0
	for _, m := range due {
		again += len(m.waiting)
		g.try(m)
	}
	if n := g.cfg.PerMinute - again; n > 0 {
		g.arrivals(from, from+microsPerMinute, float64(n), g.arrive)
	}
	if l := g.cfg.ListImport; l != nil {
		begin := max(from, g.start+l.From.Microseconds())
		end := min(from+microsPerMinute, g.start+(l.From+l.For).Microseconds())
		g.arrivals(begin, end, float64(l.PerMinute), g.arriveListed)
	}
	for ; g.gone < len(g.cfg.Gone) && g.gone*g.cfg.Minutes/len(g.cfg.Gone) <= g.minute; g.gone++ {
		at := from + g.rng.Int64N(microsPerMinute)
		brand := brands[g.rng.IntN(len(brands))]
		g.submit(message{arrived: at, stream: transactional, brand: brand, sender: "service@" + brand, size: 4_000}, g.goneRecipient(g.cfg.Gone[g.gone]))
	}
	g.noise(from)
	g.minute++
	return time.UnixMicro(from).In(g.cfg.Start.Location()), g.release(from + microsPerMinute), true
}

// arrivals calls arrive at the times of a Poisson process of perMinute attempts. arrive returns how many it made.
func (g *Generator) arrivals(from, to int64, perMinute float64, arrive func(at int64) int) {
	mean := float64(microsPerMinute) / perMinute
	for t := float64(from) + g.rng.ExpFloat64()*mean; t < float64(to); {
		for range arrive(int64(t)) {
			t += g.rng.ExpFloat64() * mean
		}
	}
}

// arrive makes a message of the usual traffic and tries it. It returns the number of recipients.
func (g *Generator) arrive(at int64) int {
	brand := brands[g.rng.IntN(len(brands))]
	one := message{arrived: at, stream: transactional, brand: brand, size: 3_000 + g.rng.IntN(15_000)}
	u := g.rng.Float64()
	below := func(share float64) bool { u -= share; return u < 0 }
	switch {
	case below(shareTypo):
		to := g.newRecipient()
		g.people.all[to].gone = true
		one.sender = "welcome@" + brand
		return g.submit(one, to)
	case below(shareSignUp):
		to := g.newRecipient()
		g.people.base = append(g.people.base, to)
		one.sender = "welcome@" + brand
		return g.submit(one, to)
	case below(shareClosed):
		to := g.pick()
		g.people.all[to].gone = true
		one.sender = "service@" + brand
		return g.submit(one, to)
	case below(sharePersonal):
		one.sender = "service@" + brand
		return g.submit(one, g.pick())
	case below(shareGroup):
		to := []int32{g.pick()}
		for range 1 + g.rng.IntN(4) {
			if next := g.pick(); !slices.Contains(to, next) {
				to = append(to, next)
			}
		}
		one.sender = "team@" + brand
		return g.submit(one, to...)
	}
	to := g.nextOfCampaign()
	c := &g.campaign
	return g.submit(message{
		arrived: at, stream: bulk, brand: c.brand, sender: g.returnPath(c.number, to, c.brand), size: c.size + g.rng.IntN(400),
	}, to)
}

// arriveListed makes a message to the next recipient of the bad list.
func (g *Generator) arriveListed(at int64) int {
	to := g.newRecipient()
	r := &g.people.all[to]
	r.listed = true
	r.gone = g.rng.Float64() < g.cfg.ListImport.Unknown
	return g.submit(message{
		arrived: at, stream: bulk, brand: listBrand, sender: g.returnPath(listCampaign, to, listBrand), size: 35_000 + g.rng.IntN(400),
	}, to)
}

// submit puts a message into a host's queue, makes the first attempt and returns the number of recipients.
func (g *Generator) submit(m message, to ...int32) int {
	g.messages++
	m.host = g.rng.IntN(len(g.cfg.Hosts))
	m.id = g.queueID(m.host, m.arrived)
	m.rcpts = len(to)
	for _, t := range to {
		m.waiting = append(m.waiting, waiting{to: t})
	}
	m.tried = g.arrivalLines(&m)
	g.try(&m)
	return len(to)
}

// try makes one attempt for each recipient who waits, and ends the message or puts it off.
func (g *Generator) try(m *message) {
	at := m.tried
	g.activeLine(m, at)
	last, refused := at, false
	still := m.waiting[:0]
	for _, w := range m.waiting {
		o := g.judge(w, at)
		end := g.attemptLines(m, w.to, &o, at)
		last = max(last, end)
		switch {
		case o.fate == fateDeferred:
			w.last = nil
			if o.lasts {
				w.last = o.reply
			}
			still = append(still, w)
		case o.fate != fateDelivered:
			refused = true
		}
	}
	m.waiting = still
	if refused {
		last = g.noticeLines(m, last)
	}
	if len(still) == 0 {
		g.removedLine(m, last)
		return
	}
	// src/qmgr/qmgr_active.c: as long again as the message is old, within bounds; then the next run of the queue.
	backoff := min(max(last-m.arrived, minBackoff), maxBackoff)
	m.tried = last + backoff + g.rng.Int64N(queueRun)
	slot := (m.tried - g.start) / microsPerMinute
	g.retries[slot%ringMinutes] = append(g.retries[slot%ringMinutes], m)
}

// outcome is what an attempt comes to and why.
type outcome struct {
	fate  fate
	reply *reply
	lasts bool // the next attempt may meet the same
}

// judge decides what becomes of an attempt.
func (g *Generator) judge(w waiting, at int64) outcome {
	r := &g.people.all[w.to]
	p := &g.providers[r.provider]
	if !r.gone && g.inBurst(int(r.provider), at) && g.rng.Float64() < g.cfg.Burst.Share {
		r.off = true
		return outcome{fate: fateFalseUnknown, reply: &p.unknown[0]}
	}
	if r.gone {
		r.off = true
		return outcome{fate: fateUnknown, reply: &p.unknown[g.rng.IntN(len(p.unknown))]}
	}
	if p.domains[r.domain].greylists && !r.known {
		r.known = true
		return outcome{fate: fateDeferred, reply: &g.greylist}
	}
	if r.full {
		if r.full = g.rng.Float64() >= chanceCleared; r.full {
			return refusal(&p.full[g.rng.IntN(len(p.full))], false)
		}
	}
	if w.last != nil && g.rng.Float64() < chanceAgain {
		return refusal(w.last, true)
	}
	u := g.rng.Float64()
	for i := range p.trouble {
		if u -= p.trouble[i].chance; u < 0 {
			return refusal(&p.trouble[i].reply, true)
		}
	}
	return outcome{fate: fateDelivered, reply: &p.accept[g.rng.IntN(len(p.accept))]}
}

func refusal(r *reply, lasts bool) outcome {
	if r.permanent() {
		return outcome{fate: fateBounced, reply: r}
	}
	return outcome{fate: fateDeferred, reply: r, lasts: lasts}
}

func (g *Generator) inBurst(provider int, at int64) bool {
	if provider != g.burst {
		return false
	}
	from := g.start + g.cfg.Burst.From.Microseconds()
	return at >= from && at < from+g.cfg.Burst.For.Microseconds()
}

// release takes out the lines before to, in order of time and, at the same time, of making, and enters them in the truth.
func (g *Generator) release(to int64) []Line {
	slices.SortStableFunc(g.pending, func(a, b pending) int { return cmp.Compare(a.at, b.at) })
	n, _ := slices.BinarySearchFunc(g.pending, to, func(p pending, to int64) int { return cmp.Compare(p.at, to) })
	lines := make([]Line, n)
	for i := range lines {
		p := &g.pending[i]
		lines[i] = Line{Host: g.cfg.Hosts[p.host], Text: p.text}
		g.enter(p)
	}
	g.pending = slices.Delete(g.pending, 0, n)
	return lines
}

// enter adds a line to the truth.
func (g *Generator) enter(p *pending) {
	t := &g.truth
	t.Lines++
	switch p.fate {
	case fateNone:
		return
	case fateNotice:
		t.Deliveries++
		t.Notices++
		return
	}
	t.Deliveries++
	t.Attempts++
	r := &g.people.all[p.to]
	if r.attempts == 0 {
		g.met = append(g.met, p.to)
	}
	r.attempts++
	if r.listed {
		t.Listed++
	}
	switch p.fate {
	case fateDelivered:
		t.Delivered++
		r.delivered++
		r.lastDelivered = p.at
		if r.firstDelivered == 0 {
			r.firstDelivered = p.at
		}
	case fateDeferred:
		t.Deferred++
		r.deferred++
	default:
		t.Bounced++
		r.bounced++
	}
	switch p.fate {
	case fateUnknown:
		t.Unknown++
	case fateFalseUnknown:
		t.FalseUnknown++
		r.lastFalse = p.at
		if r.firstFalse == 0 {
			r.firstFalse = p.at
		}
	}
}
