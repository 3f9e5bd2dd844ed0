package traffic

import (
	"strconv"
	"strings"
	"time"
)

// head begins a line in g.buf: stamp, host, tag. instance is Postfix's syslog_name.
func (g *Generator) head(at int64, host int, instance, daemon string, pid int) {
	layout := "2006-01-02T15:04:05.000000-07:00 "
	if g.cfg.Traditional {
		layout = "Jan _2 15:04:05 "
	}
	b := g.time(at).AppendFormat(g.buf[:0], layout)
	b = append(b, g.cfg.Hosts[host]...)
	b = append(b, ' ')
	b = append(b, instance...)
	b = append(b, '/')
	b = append(b, daemon...)
	b = append(b, '[')
	b = strconv.AppendInt(b, int64(pid), 10)
	g.buf = append(b, "]: "...)
}

func (g *Generator) add(parts ...string) {
	for _, p := range parts {
		g.buf = append(g.buf, p...)
	}
}

func (g *Generator) addInt(n int64) { g.buf = strconv.AppendInt(g.buf, n, 10) }

// end puts the line in g.buf among those to come.
func (g *Generator) end(at int64, host int, f fate, to int32) {
	g.pending = append(g.pending, pending{at: at, host: host, fate: f, to: to, text: string(g.buf)})
}

// pid returns the number of one of a daemon's n processes, the same ones for the whole run.
func (g *Generator) pid(host, daemon, n int) int {
	return 1000 + 997*host + 60*daemon + g.rng.IntN(n)
}

// Daemons, for pid.
const (
	ofQmgr = iota
	ofSmtpd
	ofPickup
	ofCleanup
	ofBounce
	ofPipe
	ofAnvil
	ofSmtp // and the next one for the other transport
)

// short returns a time between min and max microseconds.
func (g *Generator) short(min, max int64) int64 { return min + g.rng.Int64N(max-min) }

// arrivalLines writes how a message came in, and returns when the queue manager takes it.
func (g *Generator) arrivalLines(m *message) int64 {
	at := m.arrived
	if g.rng.IntN(40) == 0 {
		g.head(at, m.host, "postfix", "pickup", g.pid(m.host, ofPickup, 1))
		g.add(m.id, ": uid=33 from=<", m.sender, ">")
	} else {
		app := strconv.Itoa(1 + g.rng.IntN(3))
		g.head(at, m.host, "postfix", "smtpd", g.pid(m.host, ofSmtpd, 12))
		g.add(m.id, ": client=app", app, ".sender.example[192.0.2.20", app, "]")
		if m.stream == transactional {
			g.add(", sasl_method=PLAIN, sasl_username=app", app)
		}
	}
	g.end(at, m.host, fateNone, 0)

	at += g.short(800, 9_000)
	g.head(at, m.host, "postfix", "cleanup", g.pid(m.host, ofCleanup, 10))
	g.add(m.id, ": message-id=<")
	g.addInt(m.arrived / microsPerSecond)
	g.add(".")
	g.buf = appendToken(g.buf, g.rng.Uint64(), 8, lowerHex)
	g.add(".")
	g.addInt(int64(g.messages))
	g.add("@", m.brand, ">")
	g.end(at, m.host, fateNone, 0)
	return at + g.short(900, 30_000)
}

func (g *Generator) activeLine(m *message, at int64) {
	g.head(at, m.host, "postfix", "qmgr", g.pid(m.host, ofQmgr, 1))
	g.add(m.id, ": from=<", m.sender, ">, size=")
	g.addInt(int64(m.size))
	g.add(", nrcpt=")
	g.addInt(int64(m.rcpts))
	g.add(" (queue active)")
	g.end(at, m.host, fateNone, 0)
}

func (g *Generator) removedLine(m *message, at int64) {
	at += g.short(100, 2_500)
	g.head(at, m.host, "postfix", "qmgr", g.pid(m.host, ofQmgr, 1))
	g.add(m.id, ": removed")
	g.end(at, m.host, fateNone, 0)
}

// attempt is what the lines of one attempt have in common.
type attempt struct {
	m      *message
	to     *recipient
	toID   int32
	domain *domain
	host   host
	pid    int
}

// attemptLines writes one attempt that the queue manager began at a time, and returns when it ended.
func (g *Generator) attemptLines(m *message, to int32, o *outcome, at int64) int64 {
	r := &g.people.all[to]
	p := &g.providers[r.provider]
	a := attempt{m: m, to: r, toID: to, domain: &p.domains[r.domain], pid: g.pid(m.host, ofSmtp+int(m.stream), 50)}
	hosts := a.domain.mx
	first := 0
	if g.rng.IntN(3) == 0 {
		first = g.rng.IntN(len(hosts))
	}
	a.host = hosts[first]

	inQueue := g.short(500, 20_000)
	var connect, transmit int64
	reuse := 0
	switch o.reply.where {
	case atLookup:
	case atConnect:
		connect = g.short(1_000, 30_000)
		if strings.HasSuffix(o.reply.text, "timed out") {
			connect = 30*microsPerSecond + g.short(1_000, 40_000) // smtp_connect_timeout
		}
	default:
		if g.rng.IntN(3) > 0 {
			reuse = 2 + g.rng.IntN(30)
		} else {
			connect = g.spread(p.connectMS)
		}
		transmit = g.spread(p.transmitMS)
		if strings.Contains(o.reply.text, "timed out while sending end of data") {
			transmit = 600 * microsPerSecond // smtp_data_done_timeout
		}
	}
	opened := at + inQueue + connect
	if reuse == 0 && o.reply.where != atLookup && o.reply.where != atConnect && o.reply.where != atBanner && !strings.Contains(o.reply.text, "TLS") {
		g.tlsLine(&a, opened)
	}
	end := opened + transmit
	switch {
	case o.reply.where == atConnect:
		g.head(end, m.host, m.stream.instance(), "smtp", a.pid)
		g.add("connect to ", a.host.name, "[", a.host.ip, "]:25: ", o.reply.text)
		g.end(end, m.host, fateNone, 0)
	case o.fate == fateDeferred && o.reply.where != atSession && o.reply.where != atLookup && len(hosts) > 1:
		// A temporary answer of one host sends Postfix to the next one, whose answer ends the attempt.
		g.head(opened, m.host, m.stream.instance(), "smtp", a.pid)
		g.add(m.id, ": ")
		g.words(&a, o.reply)
		g.end(opened, m.host, fateNone, 0)
		a.host = hosts[(first+1)%len(hosts)]
		reuse = 0
	}
	g.deliveryLine(&a, o, end, [4]int64{at - m.arrived, inQueue, connect, transmit}, reuse)
	return end
}

// spread returns a time around a mean of milliseconds: never short, sometimes long.
func (g *Generator) spread(meanMS int64) int64 {
	return int64(float64(meanMS) * 1000 * (0.5 + 0.5*g.rng.ExpFloat64()))
}

func (g *Generator) tlsLine(a *attempt, at int64) {
	g.head(at, a.m.host, a.m.stream.instance(), "smtp", a.pid)
	if g.providers[a.to.provider].trusted {
		g.add("Trusted")
	} else {
		g.add("Untrusted")
	}
	g.add(" TLS connection established to ", a.host.name, "[", a.host.ip,
		"]:25: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256")
	g.end(at, a.m.host, fateNone, 0)
}

// deliveryLine writes the line that tells the outcome. delays are before the queue manager, in it, connecting and
// transmitting.
func (g *Generator) deliveryLine(a *attempt, o *outcome, at int64, delays [4]int64, reuse int) {
	r := o.reply
	g.head(at, a.m.host, a.m.stream.instance(), "smtp", a.pid)
	g.add(a.m.id, ": to=<", a.to.address, ">, relay=")
	if r.where == atConnect || r.where == atLookup {
		g.add("none")
	} else {
		g.add(a.host.name, "[", a.host.ip, "]:25")
	}
	if reuse > 0 {
		g.add(", conn_use=")
		g.addInt(int64(reuse))
	}
	g.addDelays(at-a.m.arrived, delays)
	g.add(", dsn=", r.dsn, ", status=")
	switch o.fate {
	case fateDelivered:
		g.add("sent (")
		g.expand(a, r.text)
	case fateDeferred:
		g.add("deferred (")
		g.words(a, r)
	default:
		g.add("bounced (")
		g.words(a, r)
	}
	g.add(")")
	g.end(at, a.m.host, o.fate, a.toID)
}

func (g *Generator) addDelays(total int64, delays [4]int64) {
	g.add(", delay=")
	g.buf = appendSeconds(g.buf, total)
	g.add(", delays=")
	for i, d := range delays {
		if i > 0 {
			g.add("/")
		}
		g.buf = appendSeconds(g.buf, d)
	}
}

// words writes a reply with what Postfix puts around it.
func (g *Generator) words(a *attempt, r *reply) {
	switch r.where {
	case atSession, atLookup:
		g.expand(a, r.text)
	case atConnect:
		g.add("connect to ", a.host.name, "[", a.host.ip, "]:25: ")
		g.expand(a, r.text)
	case atBanner:
		g.add("host ", a.host.name, "[", a.host.ip, "] refused to talk to me: ")
		g.expand(a, r.text)
	default:
		g.add("host ", a.host.name, "[", a.host.ip, "] said: ")
		g.expand(a, r.text)
		g.add([...]string{
			atRcpt: " (in reply to RCPT TO command)", atData: " (in reply to end of DATA command)", atMail: " (in reply to MAIL FROM command)",
		}[r.where])
	}
}

// expand writes a reply's text with its places filled in.
func (g *Generator) expand(a *attempt, text string) {
	for {
		i := strings.IndexByte(text, '$')
		if i < 0 {
			g.add(text)
			return
		}
		g.add(text[:i])
		switch text[i+1] {
		case 'r':
			g.add(a.to.address)
		case 'i':
			g.addSourceIP(a.m)
		case 'h':
			g.add(a.host.name)
		case 'a':
			g.add(a.host.ip)
		case 'd':
			g.add(a.m.brand)
		case 'D':
			g.add(a.domain.name)
		case 't':
			g.buf = appendToken(g.buf, g.rng.Uint64(), 16, upperHex)
		case 'n':
			g.addInt(1_000_000_000 + g.rng.Int64N(1_000_000_000))
		}
		text = text[i+2:]
	}
}

// addSourceIP writes the address from which a host sends this sort of mail.
func (g *Generator) addSourceIP(m *message) {
	g.add("192.0.2.")
	g.addInt(int64(10 + 2*m.host + int(m.stream)))
}

// noticeLines writes the bounce that Postfix sends to the sender, and returns when the message can be removed.
func (g *Generator) noticeLines(m *message, at int64) int64 {
	at += g.short(300, 4_000)
	id := g.queueID(m.host, at)
	host := g.cfg.Hosts[m.host]
	g.head(at, m.host, "postfix", "cleanup", g.pid(m.host, ofCleanup, 10))
	g.add(id, ": message-id=<")
	g.buf = g.time(at).UTC().AppendFormat(g.buf, "20060102150405")
	g.add(".", id, "@", host, ".sender.example>")
	g.end(at, m.host, fateNone, 0)

	noted := at + g.short(200, 1_500)
	g.head(noted, m.host, "postfix", "bounce", g.pid(m.host, ofBounce, 4))
	g.add(m.id, ": sender non-delivery notification: ", id)
	g.end(noted, m.host, fateNone, 0)

	active := noted + g.short(100, 900)
	g.head(active, m.host, "postfix", "qmgr", g.pid(m.host, ofQmgr, 1))
	g.add(id, ": from=<>, size=")
	g.addInt(int64(3_200 + g.rng.IntN(6_000)))
	g.add(", nrcpt=1 (queue active)")
	g.end(active, m.host, fateNone, 0)

	inQueue, transmit := g.short(500, 5_000), g.short(3_000, 25_000)
	end := active + inQueue + transmit
	g.head(end, m.host, "postfix", "pipe", g.pid(m.host, ofPipe, 8))
	g.add(id, ": to=<", m.sender, ">, relay=bounces")
	g.addDelays(end-at, [4]int64{active - at, inQueue, 0, transmit})
	g.add(", dsn=2.0.0, status=sent (delivered via bounces service)")
	g.end(end, m.host, fateNotice, 0)

	gone := end + g.short(50, 500)
	g.head(gone, m.host, "postfix", "qmgr", g.pid(m.host, ofQmgr, 1))
	g.add(id, ": removed")
	g.end(gone, m.host, fateNone, 0)
	return noted
}

// returnPath is the envelope sender of a mailing, one for each recipient, so that a bounce tells whom it is about.
func (g *Generator) returnPath(campaign int, to int32, brand string) string {
	verp := strings.Replace(g.people.all[to].address, "@", "=", 1)
	return "bounces+" + strconv.Itoa(campaign) + "-" + verp + "@news." + brand
}

func (s stream) instance() string {
	if s == bulk {
		return "postfix-bulk"
	}
	return "postfix-tx"
}

// queueID returns a new queue id. Postfix, src/global/mail_queue.h: seconds and microseconds in base 52, "z", the inode
// in base 51; or short, microseconds and inode in hexadecimal.
func (g *Generator) queueID(host int, at int64) string {
	g.inodes[host] = (g.inodes[host] + 1) % (1 << 22)
	inode := uint64(1<<20 + g.inodes[host])
	seconds, micros := uint64(at/microsPerSecond), uint64(at%microsPerSecond)
	var b [24]byte
	if g.cfg.ShortQueueIDs {
		id := appendToken(b[:0], micros, 5, upperHex)
		return strings.ToUpper(string(strconv.AppendUint(id, inode, 16)))
	}
	id := appendToken(b[:0], seconds, 6, base52)
	id = appendToken(id, micros, 4, base52)
	id = append(id, 'z')
	return string(appendToken(id, inode, 4, base52[:51]))
}

const (
	upperHex = "0123456789ABCDEF"
	lowerHex = "0123456789abcdef"
	base52   = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz" // no vowels: no words
)

// appendToken writes the last n digits of v.
func appendToken(b []byte, v uint64, n int, digits string) []byte {
	base := uint64(len(digits))
	from := len(b)
	for range n {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= from; i-- {
		b[i] = digits[v%base]
		v /= base
	}
	return b
}

// appendSeconds writes a time as Postfix does: two significant digits, not finer than hundredths (delay_logging_resolution_limit),
// whole seconds as they are, no zeros at the end.
func appendSeconds(b []byte, us int64) []byte {
	unit, digits := int64(10_000), 2
	switch {
	case us >= 9_950_000:
		unit, digits = microsPerSecond, 0
	case us >= 995_000:
		unit, digits = 100_000, 1
	}
	n := (us + unit/2) / unit
	for digits > 0 && n%10 == 0 {
		n /= 10
		digits--
	}
	scale := int64(1)
	for range digits {
		scale *= 10
	}
	b = strconv.AppendInt(b, n/scale, 10)
	if digits > 0 {
		b = append(b, '.')
		b = appendToken(b, uint64(n%scale), digits, "0123456789")
	}
	return b
}

// noise writes, for each host, what a log says besides: sessions of the sender's applications, strangers, statistics.
func (g *Generator) noise(from int64) {
	sessions := 1 + g.cfg.PerMinute/(60*len(g.cfg.Hosts))
	for h := range g.cfg.Hosts {
		for range sessions {
			g.session(h, from+g.rng.Int64N(microsPerMinute))
		}
		if g.rng.IntN(4) == 0 {
			g.stranger(h, from+g.rng.Int64N(microsPerMinute))
		}
		if g.minute%10 == 9 {
			at := from + g.rng.Int64N(microsPerMinute)
			g.head(at, h, "postfix", "anvil", g.pid(h, ofAnvil, 1))
			g.add("statistics: max connection count 4 for (smtp:192.0.2.201) at ")
			g.buf = g.time(at-g.short(1, 9)*microsPerMinute).AppendFormat(g.buf, time.Stamp)
			g.end(at, h, fateNone, 0)
		}
	}
}

func (g *Generator) session(host int, at int64) {
	pid := g.pid(host, ofSmtpd, 12)
	app := strconv.Itoa(1 + g.rng.IntN(3))
	client := "app" + app + ".sender.example[192.0.2.20" + app + "]"
	g.head(at, host, "postfix", "smtpd", pid)
	g.add("connect from ", client)
	g.end(at, host, fateNone, 0)

	at += g.short(2, 50) * microsPerSecond
	n := strconv.Itoa(20 + g.rng.IntN(60))
	g.head(at, host, "postfix", "smtpd", pid)
	g.add("disconnect from ", client, " ehlo=1 mail=", n, " rcpt=", n, " data=", n, " quit=1 commands=")
	count, _ := strconv.Atoi(n)
	g.addInt(int64(3*count + 2))
	g.end(at, host, fateNone, 0)
}

func (g *Generator) stranger(host int, at int64) {
	pid := g.pid(host, ofSmtpd, 12)
	ip := "198.51.100." + strconv.Itoa(1+g.rng.IntN(254))
	for i, text := range []string{
		"connect from unknown[" + ip + "]",
		"NOQUEUE: reject: RCPT from unknown[" + ip + "]: 454 4.7.1 <probe@open.example>: Relay access denied; from=<x@open.example> to=<probe@open.example> proto=ESMTP helo=<open.example>",
		"lost connection after RCPT from unknown[" + ip + "]",
		"disconnect from unknown[" + ip + "] ehlo=1 mail=1 rcpt=0/1 commands=2/3",
	} {
		t := at + int64(i)*70_000
		g.head(t, host, "postfix", "smtpd", pid)
		g.add(text)
		g.end(t, host, fateNone, 0)
	}
}
