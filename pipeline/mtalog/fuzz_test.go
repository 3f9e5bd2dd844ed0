package mtalog

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"carom.dev/carom/schema"
	"google.golang.org/protobuf/proto"
)

// Any line is counted once; what it emits is bounded by it and can be encoded; its header is read the same whatever was read
// before it; the tables survive a round trip.
func FuzzLine(f *testing.F) {
	for _, format := range []string{"mail", "mail.iso", "mail.5424"} {
		log := lines(readGzip(f, filepath.Join("testdata", "postfix", format+".log.gz")))
		for i := 0; i < len(log); i += 23 {
			f.Add(log[i], log[(i*7+5)%len(log)])
		}
	}
	for _, format := range []string{"mail", "mail.5424"} {
		log := lines(readGzip(f, filepath.Join("testdata", "postfix-3.11", format+".log.gz")))
		for i := 0; i < len(log); i += 37 {
			f.Add(log[i], log[(i*5+3)%len(log)])
		}
	}
	f.Add([]byte("Nov 21 08:00:00 h postfix/smtp[1]: AAAAAA1: to=<\"a>, \xff\"@x>, relay=h[::1]:25, delay=1, status=bounced (\xc3"), []byte("<22>1 - - - - -"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		c := NewCorrelator(Config{MaxEntries: 1, MaxBytes: 4096, TTL: 1e9, MaxDomains: 1})
		for _, line := range [][]byte{a, b, a} {
			before := bytes.Clone(line)
			emitted := 0
			r := c.Line(Input{Line: line, Host: "carrier", Reference: sampleReference}, func(ev *schema.DeliveryEvent) {
				emitted++
				out, err := proto.Marshal(ev)
				if err != nil {
					t.Fatal(err)
				}
				// The line twice over (fields and raw line), the message's sender, id and cause from the other lines, and
				// three bytes for one that was no UTF-8.
				if len(out) > 6*(2*len(a)+2*len(b))+512 {
					t.Fatalf("%d bytes from %d", len(out), len(a)+len(b))
				}
				if ev.Recipient == "" && !bytes.Contains(line, []byte("to=<>")) && ev.Outcome != schema.Outcome_EXPIRED {
					t.Fatalf("no recipient: %v", ev)
				}
				if ev.RemoteRecalled && (ev.RemoteIp != "" || ev.RemoteHost == "") {
					t.Fatalf("recalled %v", ev)
				}
				if ev.Final && ev.Outcome == schema.Outcome_DEFERRED || ev.MtaHost == "" || ev.QueueId == "" {
					t.Fatalf("event %v", ev)
				}
			})
			if (r.Kind == KindEvent) != (emitted > 0) {
				t.Fatalf("%s with %d events", r.Kind, emitted)
			}
			if r.Kind == KindUnparsed && r.Reason == ReasonNone {
				t.Fatal("unparsed without a reason")
			}
			if !bytes.Equal(line, before) {
				t.Fatal("the line was changed")
			}
			fresh := NewCorrelator(DefaultConfig()).Line(Input{Line: line, Host: "carrier", Reference: sampleReference}, func(*schema.DeliveryEvent) {})
			if r.At != fresh.At || r.Host != fresh.Host || r.Daemon != fresh.Daemon {
				t.Fatalf("%v after other lines, %v alone", r, fresh)
			}
		}
		state := c.AppendState(nil)
		d := NewCorrelator(DefaultConfig())
		if err := d.LoadState(state); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(d.AppendState(nil), state) || d.Stats().Bytes != c.Stats().Bytes {
			t.Fatal("the table did not survive")
		}
		if s := c.Stats(); s.Lines != 3 || s.Kinds[0]+s.Kinds[1]+s.Kinds[2]+s.Kinds[3] != 3 {
			t.Fatalf("stats %+v", s)
		}
	})
}

// A delivery line that was rendered from fields as Postfix does reads back as the same fields, whatever the addresses and
// the text hold; and the quick way and the exact way agree.
func FuzzDeliveryRoundTrip(f *testing.F) {
	f.Add("user", "example.net", "", "mx.example.net", "192.0.2.7", uint16(25), uint32(120), uint32(5), byte(0), "550 5.1.1 no")
	f.Add("a, b>, relay=none, delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (x", "x", "list", "mx", "2001:db8::1", uint16(24), uint32(0), uint32(1e9), byte(1), "x>, relay=none, status=sent (250) (in reply")
	f.Add(`q"u\o`, "x", `>, relay=`, "none", "", uint16(0), uint32(99999), uint32(60), byte(2), ")")
	f.Fuzz(func(t *testing.T, local, domain, original, host, ip string, port uint16, delay, part uint32, word byte, text string) {
		domain = strings.Map(keepDomain, domain)
		host, ip = strings.Map(keepDomain, host), strings.Map(keepDomain, ip)
		if domain == "" || host == "" || strings.ContainsAny(text, "\r\n") || strings.HasSuffix(text, " ") || text == "" {
			return
		}
		recipient := external(local) + "@" + domain
		var b []byte
		b = append(b, "4jWlpz2sbgz13: to=<"+recipient+">, "...)
		if original != "" {
			original = external(original) + "@" + domain
			b = append(b, "orig_to=<"+original+">, "...)
		}
		b = append(b, "relay="+host...)
		if ip != "" {
			b = append(b, "["+ip+"]:"+strconv.Itoa(int(port))...)
		}
		if word&4 != 0 {
			b = append(b, ", conn_use=2"...)
		}
		words := []string{"sent", "deferred", "bounced"}
		b = append(b, ", delay="+seconds3(delay)+", delays="+seconds3(part)+"/0.01/"+seconds3(delay)+"/2, "...)
		if word&8 != 0 {
			b = append(b, "tls=may:none?, "...)
		}
		b = append(b, "dsn=4.7.500, status="+words[word%3]+" ("+text+")"...)

		var m message
		scanMessage(b, 0, &m)
		if m.shape != shapeDelivery || m.status != statusSent+status(word%3) || m.cut {
			t.Fatalf("shape %d, status %d of %q", m.shape, m.status, b)
		}
		for _, p := range []struct {
			what, want string
			got        span
		}{{"recipient", recipient, m.recipient}, {"original", original, m.original}, {"relay", host, m.relayHost}, {"ip", ip, m.relayIP}, {"dsn", "4.7.500", m.dsn}, {"text", text, m.text}} {
			if got := string(p.got.of(b)); got != p.want {
				t.Fatalf("%s: got %q, want %q, of %q", p.what, got, p.want, b)
			}
		}
		if m.delayMS != int64(delay) || m.delaysMS != [4]int64{int64(part), 10, int64(delay), 2000} || (ip != "" && m.relayPort != int32(port)) {
			t.Fatalf("delay %d, delays %v, port %d of %q", m.delayMS, m.delaysMS, m.relayPort, b)
		}

		exact := message{queueID: m.queueID}
		scanAddresses(b, int(m.recipient.from), &exact)
		if exact != m {
			t.Fatalf("exact way:\n%+v\nquick way:\n%+v\nof %q", exact, m, b)
		}
		fields := m
		fields.relayHost, fields.relayIP, fields.relayPort, fields.dsn = span{}, span{}, 0, span{}
		fields.hasDelay, fields.hasDelays, fields.delayMS, fields.delaysMS = false, false, 0, [4]int64{}
		from := bytes.Index(b[m.recipient.to:], []byte(">, relay="))
		if original != "" {
			from = int(m.original.to) - int(m.recipient.to)
		}
		if scanAnyFields(b, int(m.recipient.to)+from+3, &fields); fields != m {
			t.Fatalf("fields in any order:\n%+v\nin the usual order:\n%+v\nof %q", fields, m, b)
		}
	})
}

// Whatever the line holds: if it reads as a delivery, the quick way and the exact way agree.
func FuzzDeliveryQuickAndExact(f *testing.F) {
	const id, dest = "4jWlpz2sbgz13: to=<u@example.net>, ", "relay=mx.example.net[192.0.2.71]:25, "
	for _, line := range []string{
		id + dest + "delay=0.05, delays=0/12/1.5/0.25, dsn=2.0.0, status=sent (250 ok)",
		id + dest + "conn_use=12, delay=1234.5, delays=1200/34/0.125/9., dsn=4.7.650, status=deferred (x)",
		id + dest + "delay=1..5, delays=0/1/2/3, tls=may:none?, dsn=5.1.1, status=bounced ()",
		"3A2DEA28CAE: to=<u@example.net>, orig_to=<list>, relay=mx[2001:db8::1]:24, delay=99, delays=1/2/3/4, dsn=5.1.1, status=SOFTBOUNCE (x)",
		"4jWlpz2sbgz13: to=<u@example.net>, orig_to=<\"a>, relay=b\"@x>, relay=none, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (x)",
		"4jWlpz2sbgz13: to=<root>, relay=local, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (x@x>, relay=y)",
		id + dest + "delay=1, delays=0/0/0/1, dsn=2.x.0, status=sent (x)",
		id + dest + "delay=1, delays=0/0/0/1, dsn=2.0.x, status=sent (x)",
		id + "relay=mx[192.0.2].71]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (x)",
		"4jWlpz2sbgz13: to=<\"a>, relay=b\"@x>, relay=none, delay=1, delays=0/0/0/1, dsn=2.0.0, status=undeliverable (x)",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var m message
		if scanMessage(line, 0, &m); m.shape == shapeDelivery {
			sameAsExact(t, line, m)
		}
	})
}

// A queue id ends where its bytes say, whether they are looked at one by one or eight at once.
func FuzzQueueID(f *testing.F) {
	for _, s := range []string{"4jWlpz2sbgz13: x", "4jWlpz2sbgz1: removed", "4jWlpz2sbgz1Ab5: removed", "4jWlpz2sbgz1Ab56: removed", "3A2DEA28CAE: removed", "4jWlpz2sb@z13: to=<", "4j-lpz2sbgz13: removed", "4jWlpz2sbgz: removed", "4jWlpz2\xb1bgz13: removed", "4jWlpz2s\x11gz13: removed", "4jWlpz2sbgz13 : to=<\xb0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		n := 0
		for n < len(line) && (line[n]-'0' <= 9 || line[n]-'A' <= 'Z'-'A' || line[n]-'a' <= 'z'-'a') {
			n++
		}
		hex := len(bytes.Trim(line[:n], "0123456789ABCDEF")) == 0
		want := 0
		if n >= 6 && n <= 40 && bytes.HasPrefix(line[n:], []byte(": ")) && (hex || (n >= 12 && line[10] == 'z')) {
			want = n
		}
		if got := queueIDEnd(line, 0); got != want {
			t.Fatalf("got %d, want %d, of %q", got, want, line)
		}
	})
}

// A header that was logged as cleanup does reads back as the same name and value, whatever the value holds.
func FuzzHeaderRoundTrip(f *testing.F) {
	f.Add("X-Tenant", "acme", "s@example.com", true, "")
	f.Add("Subject", "x from local; from=<a@b> to=<c>: info: header X: y", "", false, "text of the table; from=<x>")
	f.Add("X", "; from=<", "a b@x", true, " from local")
	f.Fuzz(func(t *testing.T, name, value, sender string, local bool, note string) {
		name, sender = strings.Map(keepDomain, strings.ToLower(name)), strings.Map(keepDomain, sender)
		name = strings.ReplaceAll(name, ":", "")
		if name == "" || len(name)+len(": ")+len(value) > 200 || strings.ContainsAny(value, "\r\n") || strings.HasPrefix(value, " ") ||
			strings.Contains(note, "; from=<") {
			return
		}
		client := "client.example.com[192.0.2.2]"
		if local {
			client = "local"
		}
		line := []byte("4jWlpz2sbgz13: info: header " + name + ": " + value + " from " + client + "; from=<" + sender + "> to=<u@example.net>")
		if note != "" {
			line = append(line, ": "+note...)
		}
		var m message
		if scanMessage(line, 0, &m); m.shape != shapeHeader || string(m.header.of(line)) != name || string(m.value.of(line)) != value {
			t.Fatalf("shape %d, %q: %q of %q", m.shape, m.header.of(line), m.value.of(line), line)
		}
	})
}

// external quotes a local part as Postfix does (RFC 5321, section 4.1.2).
func external(local string) string {
	local = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(local, ""))
	if local != "" && strings.Trim(local, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-=_.") == "" {
		return local
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
}

func keepDomain(r rune) rune {
	if r-'a' <= 'z'-'a' && r >= 'a' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == ':' {
		return r
	}
	return -1
}

// seconds3 writes milliseconds as seconds.
func seconds3(ms uint32) string {
	s := strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64)
	return s
}
