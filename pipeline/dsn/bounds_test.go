package dsn

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cpuTime is what the process has used so far, on all processors, its garbage collection included: wall time says nothing on a machine that
// others use too.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// unlimited lets everything through, so that what is not linear shows.
var unlimited = Limits{
	BodyBytes: 1 << 30, HeaderBytes: 1 << 30, HeaderFields: 1 << 30, LineBytes: 1 << 30, TextLines: 1 << 30, Depth: 10, Parts: 1 << 30, Recipients: 1 << 30, TextBytes: 4096,
}

const bounceHead = "From: MAILER-DAEMON@mx.example\nTo: bounces+4711@shop.example\nSubject: Undelivered Mail Returned to Sender\n"

// attacks are mails of about n bytes, made to be expensive.
var attacks = map[string]func(n int) string{
	"recipients in fields": func(n int) string {
		return bounceHead + "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n" + numbered(n, "\nFinal-Recipient: rfc822; r%d@client.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 no\n")
	},
	"recipients in fields and text": func(n int) string {
		return bounceHead + "Content-Type: multipart/report; boundary=b\n\n--b\n\n" + numbered(n/2, "<r%d@client.example>: host mx said: 550 no\n\n") + "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n" +
			numbered(n/2, "\nFinal-Recipient: rfc822; r%d@client.example\nAction: failed\n")
	},
	"recipients without blank lines": func(n int) string { return report(numbered(n, "Final-Recipient: rfc822; r%d@client.example\n")) },
	"recipients that repeat": func(n int) string {
		return report(repeated(n, "Final-Recipient: rfc822; r@client.example\nAction: failed\n\n"))
	},
	"recipients with aliases": func(n int) string {
		return text(numbered(n, "  r%d@client.example\n    (generated from a@client.example)\n    gone\n"))
	},
	"recipients with folded aliases": func(n int) string {
		return text(numbered(n, "<r%d@client.example> (expanded from\n    <a@client.example>): gone\n\n"))
	},
	"recipients that share words": func(n int) string {
		return text(numbered(n/2, "<r%d@client.example>\n\n") + "Reason:\n" + repeated(n/2, "550 5.1.1 no "))
	},
	"recipients of the header": func(n int) string {
		return "X-Failed-Recipients: " + numbered(n, "r%d@client.example, ") + "\n" + text("gone\n")
	},
	"torn groups": func(n int) string {
		return report("Final-Recipient: rfc822; r@client.example\n\n" + repeated(n, "X-Field: y\n\n"))
	},
	"strays in a status": func(n int) string {
		return report("Final-Recipient: rfc822; r@client.example\n" + repeated(n, "550 stray\n"))
	},
	"no fields in a status": func(n int) string { return report(repeated(n, "no field\n\n")) },
	"comments": func(n int) string {
		return report("Final-Recipient: rfc822; " + repeated(n, "(") + "r@client.example\n")
	},
	"typed for ever": func(n int) string {
		return report("Final-Recipient: rfc822; " + repeated(n, "rfc822;") + "r@client.example\n")
	},
	"escapes": func(n int) string {
		return report("Final-Recipient: utf-8; " + repeated(n, `\x{41}`) + "@client.example\n")
	},
	"open escapes": func(n int) string {
		return report("Final-Recipient: utf-8; " + repeated(n, `\x{`) + "@client.example\n")
	},
	"delimiters":              func(n int) string { return mixed(repeated(n, "--b\n\n")) },
	"hyphens":                 func(n int) string { return mixed(repeated(n, "--")) },
	"lines of hyphens":        func(n int) string { return mixed(repeated(n, "--\n")) },
	"delimiters of another":   func(n int) string { return mixed(repeated(n, "--bb\n")) },
	"delimiters within lines": func(n int) string { return mixed(repeated(n, "x--b")) },
	"boundaries to guess": func(n int) string {
		return bounceHead + "Content-Type: multipart/mixed; boundary=zzz\n\n" + repeated(n, "--x\nContent-")
	},
	"nested parts": func(n int) string { return nested(n/64) + repeated(n/2, "a@b.example\n") },
	"parameters without value": func(n int) string {
		return bounceHead + "Content-Type: multipart/mixed" + repeated(n, "; a") + "; boundary=b\n\n--b\n"
	},
	"parameters in pieces": func(n int) string {
		return bounceHead + "Content-Type: multipart/mixed" + repeated(n, "; boundary*0*") + "\n\n--b\n"
	},
	"headers of parts":              func(n int) string { return mixed("--b\n" + repeated(n, "A: b\n")) },
	"base64 without end":            func(n int) string { return encoded("base64", repeated(n, "YUBiLmV4YW1wbGUK")) },
	"base64 of nothing":             func(n int) string { return encoded("base64", repeated(n, "=")) },
	"soft line breaks":              func(n int) string { return encoded("quoted-printable", repeated(n, "=\n")) },
	"blanks behind equals signs":    func(n int) string { return encoded("quoted-printable", repeated(n, "=   ")) },
	"encoded words":                 func(n int) string { return "Subject: " + repeated(n, "=?utf-8?q?a?= ") + "\n" + text("") },
	"encoded words that do not end": func(n int) string { return "Subject: " + repeated(n, "=?utf-8?b?x") + "\n" + text("") },
	"encoded words within": func(n int) string {
		return "Subject: " + repeated(n, "=?utf-8?q?=3D?utf-8?q?a?=3D?= ") + "\n" + text("")
	},
	"encoded words of the original": func(n int) string { return returned(repeated(n, "Subject: =?utf-8?b?=?utf-8?b?\n")) },
	"trace fields": func(n int) string {
		return returned(repeated(n, "Received: from a by b id c for <d@e.example>; now\n"))
	},
	"folds":                  func(n int) string { return returned("Received: a\n" + repeated(n, " b\n")) },
	"signatures":             func(n int) string { return returned(numbered(n, "DKIM-Signature: v=1; d=s%d.example; b=x\n")) },
	"signature of many tags": func(n int) string { return returned("DKIM-Signature: " + repeated(n, "a=b;") + "\n") },
	"addresses in To":        func(n int) string { return returned("To: " + numbered(n, "r%d@client.example, ") + "\n") },
	"no addresses in To":     func(n int) string { return returned("To: " + repeated(n, `"<,`) + "\n") },
	"links": func(n int) string {
		return complaint("List-Unsubscribe: " + repeated(n, "<https://a.example/?a=b%40c.example>, ") + "\n")
	},
	"link of many parts": func(n int) string {
		return complaint("List-Unsubscribe: <https://a.example/" + repeated(n, "?a=b") + ">\n")
	},
	"fields of the sender":      func(n int) string { return complaint(numbered(n, "X-F%d: r@client.example\n")) },
	"complainants":              func(n int) string { return feedback(numbered(n, "Original-Rcpt-To: r%d@client.example\n")) },
	"return path of many marks": func(n int) string { return complaint("Return-Path: <" + repeated(n, "a-") + "=b.example@c.example>\n") },
	"page of tags":              func(n int) string { return page2(repeated(n, "<p>")) },
	"page of open tags":         func(n int) string { return page2(repeated(n, "<p ")) },
	"page of comments":          func(n int) string { return page2(repeated(n, "<!--")) },
	"page of styles":            func(n int) string { return page2(repeated(n, "<style>x")) },
	"page of entities":          func(n int) string { return page2(repeated(n, "&amp;&#64;")) },
	"page of line ends":         func(n int) string { return page2("<br>" + repeated(n, "\n")) },
	"dialogue of commands":      func(n int) string { return text(numbered(n, ">>> RCPT To:<r%d@client.example>\n<<< 550 no\n")) },
	"dialogue of one reply": func(n int) string {
		return text(">>> DATA\n" + repeated(n/2, "<<< 550-no\n") + "<<< 550 no\n" + numbered(n/2, "<r%d@client.example>\n"))
	},
	"dialogue of replies":     func(n int) string { return text(repeated(n, "<<< 550-no\n")) },
	"dialogue of verdicts":    func(n int) string { return text(numbered(n, "550 5.1.1 <r%d@client.example>... unknown\n")) },
	"dialogue of hosts":       func(n int) string { return text(repeated(n, "... while talking to mx.example.:\n")) },
	"words of one recipient":  func(n int) string { return text("<r@client.example>:\n" + repeated(n, "no words to speak of\n")) },
	"words with underscores":  func(n int) string { return text(numbered(n, "<r%d@client.example>: a_b_c_d_e\n\n")) },
	"words that may be codes": func(n int) string { return text("<r@client.example>: " + repeated(n, "550 ")) },
	"words that may be hosts": func(n int) string { return text("<r@client.example>: " + repeated(n, "host ")) },
	"words of blanks":         func(n int) string { return text("<r@client.example>: x" + repeated(n, "    550")) },
	"cues":                    func(n int) string { return text(repeated(n, "The reason:\n\n")) },
	"lines with an address":   func(n int) string { return text(repeated(n, "to a@b.example\n")) },
	"words with an address":   func(n int) string { return text(repeated(n, "a@b.example ")) },
	"fields within a text":    func(n int) string { return text("<r@client.example>\n" + repeated(n, "From: x\nTo: y\nDate: z\n")) },
	"status within a text":    func(n int) string { return text(repeated(n, "A: b\n") + "Final-Recipient: rfc822; r@client.example\n") },
	"feedback within a text": func(n int) string {
		return text("Feedback-Type: abuse\n" + repeated(n, "Original-Rcpt-To: r@client.example\n"))
	},
	"carriage returns":              func(n int) string { return text(repeated(n, "\r")) },
	"line ends of carriage returns": func(n int) string { return text(repeated(n, "\r\r\r\n")) },
	"escape sequences":              func(n int) string { return encodedIn("iso-2022-jp", repeated(n, "\x1b$B%(\x1b(B")) },
	"utf-16":                        func(n int) string { return encodedIn("utf-16", repeated(n, "\x00a\xd8")) },
	"gb18030":                       func(n int) string { return encodedIn("gb18030", repeated(n, "\x81\x30\x81\x30")) },
	"report within a report": func(n int) string {
		return mixed("--b\nContent-Type: message/rfc822\n\n" + repeated(n/100, mixed("--b\nContent-Type: message/rfc822\n\n")))
	},
	"paths":         func(n int) string { return numbered(n, "Delivered-To: d%d@shop.example\n") + text("") },
	"empty lines":   func(n int) string { return text(repeated(n, "\n")) },
	"ruled lines":   func(n int) string { return text(repeated(n, "-=-=-=-\n")) },
	"one long line": func(n int) string { return text(repeated(n, "lorem ipsum ")) },
	"original without end": func(n int) string {
		return text("<r@client.example>: no\n\n--- Below this line is a copy of the message.\n\n" + repeated(n, "Received: x\n"))
	},
	"boundary of many lines": func(n int) string {
		return bounceHead + "Content-Type: multipart/mixed; boundary=\"" + repeated(n/2, "-") + "\"\n\n" + repeated(n/2, "-")
	},
	"quoted boundary that goes on": func(n int) string {
		return bounceHead + "Content-Type: multipart/mixed; boundary=\"" + repeated(n, `\"`) + "\n\nx"
	},
	"names of files": func(n int) string {
		return mixed(repeated(n, "--b\nContent-Type: application/zip; name=\"a!b!c!d\"\n\n"))
	},
	"attached text that is no status": func(n int) string {
		return mixed(repeated(n, "--b\nContent-Type: application/octet-stream\n\nReporting-MTA: dns; x\n"))
	},
}

func repeated(n int, s string) string { return strings.Repeat(s, n/len(s)) }

func numbered(n int, format string) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func text(s string) string  { return bounceHead + "\n" + s }
func mixed(s string) string { return bounceHead + "Content-Type: multipart/mixed; boundary=b\n\n" + s }
func page2(s string) string { return bounceHead + "Content-Type: text/html\n\n" + s }

func encoded(encoding, s string) string {
	return bounceHead + "Content-Type: text/plain\nContent-Transfer-Encoding: " + encoding + "\n\n" + s
}

func encodedIn(charset, s string) string {
	return bounceHead + "Content-Type: text/plain; charset=" + charset + "\n\n" + s
}

func report(s string) string {
	return bounceHead + "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n" + s
}

func returned(s string) string {
	return report("Final-Recipient: rfc822; r@client.example\nAction: failed\n\n--b\nContent-Type: text/rfc822-headers\n\n" + s)
}

func feedback(s string) string {
	return "From: fbl@client.example\nSubject: complaint\nContent-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n" + s
}

func complaint(s string) string {
	return feedback("\n--b\nContent-Type: message/rfc822\n\nFrom: Shop <news@shop.example>\n" + s)
}

func nested(depth int) string {
	var b strings.Builder
	b.WriteString(bounceHead)
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
	}
	return b.String()
}

// cost is what parsing takes: the least CPU time of a few runs, and the bytes allocated.
func cost(t *testing.T, mail []byte, lim Limits) (cpu time.Duration, allocated uint64) {
	t.Helper()
	cpu = time.Hour
	var before, behind runtime.MemStats
	for range 2 {
		runtime.GC()
		runtime.ReadMemStats(&before)
		started := cpuTime(t)
		if _, err := Parse(mail, lim); err != nil {
			t.Fatal(err)
		}
		cpu = min(cpu, cpuTime(t)-started)
		runtime.ReadMemStats(&behind)
		allocated = behind.TotalAlloc - before.TotalAlloc
	}
	return cpu, allocated
}

// Eight times the mail costs about eight times as much, in time and in memory; what grows with the square of its size would cost 64 times
// as much.
func TestCostIsLinearInTheMail(t *testing.T) {
	const size = 64 << 10
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			small, large := []byte(attack(size)), []byte(attack(8*size))
			grown := float64(len(large)) / float64(len(small))
			var ratio float64
			for range 8 { // others who use the machine can only add to a measurement
				cpu1, bytes1 := cost(t, small, unlimited)
				cpu8, bytes8 := cost(t, large, unlimited)
				if ratio := float64(bytes8) / float64(bytes1); ratio > 2*grown {
					t.Fatalf("%d bytes allocated for %d, %d for %d: %.1f times", bytes1, len(small), bytes8, len(large), ratio)
				}
				// Below a millisecond or two the clock and the garbage collector tell more than the parser.
				if ratio = float64(cpu8) / float64(max(cpu1, 2*time.Millisecond)); ratio <= 3*grown {
					return
				}
			}
			t.Errorf("%d bytes cost %.1f times what %d cost", len(large), ratio, len(small))
		})
	}
}

// With the standard limits no mail of any size costs much more than the plainest of that size, which is a few milliseconds.
func TestNoMailCostsMuch(t *testing.T) {
	plain, _ := cost(t, []byte(text(repeated(3<<19, "lorem ipsum dolor sit amet\n"))), Limits{})
	var worst time.Duration
	var most uint64
	for name, attack := range attacks {
		mail := []byte(attack(3 << 19))
		if _, err := Parse(mail, Limits{}); err != nil {
			continue // refused
		}
		cpu, allocated := cost(t, mail, Limits{})
		for range 8 { // others who use the machine can only add to a measurement
			if cpu <= 15*plain {
				break
			}
			cpu, _ = cost(t, mail, Limits{})
		}
		worst, most = max(worst, cpu), max(most, allocated)
		if cpu > 15*plain || allocated > 16<<20 {
			t.Errorf("%s: %s, %d MB; plain text %s", name, cpu, allocated>>20, plain)
		}
	}
	t.Logf("at most %s and %d MB; plain text of that size %s", worst, most>>20, plain)
}

// What is behind the limits is neither read nor copied: 50 MB cost what the first megabyte costs.
func TestWhatIsBehindTheLimitsCostsNothing(t *testing.T) {
	for _, filler := range []string{"a@b.example\n", "--b\n\n", "a@b.example\r\n", "\r", "\n", "<a@b.example>: 550 no\n"} {
		short := append([]byte(mixed("a@b.example\n\n")), bytes.Repeat([]byte(filler), (4<<20)/len(filler))...)
		long := append([]byte(mixed("a@b.example\n\n")), bytes.Repeat([]byte(filler), (50<<20)/len(filler))...)
		_, bytes1 := cost(t, short, Limits{})
		cpu, bytes2 := cost(t, long, Limits{})
		if bytes2 > bytes1+bytes1/10+64<<10 || cpu > 500*time.Millisecond {
			t.Errorf("%q: %d bytes for 4 MB, %d for 50 MB in %s", filler, bytes1, bytes2, cpu)
		}
	}
}
