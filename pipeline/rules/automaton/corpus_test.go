package automaton

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// The reply corpus is made up: replies put together from phrases that servers of any make could say, with random
// queue ids, addresses and hosts, and rules for those phrases. It is close to production in size and shape only.

var replyReasons = []string{
	"mailbox for %m does not exist", "the account %m that you tried to reach is disabled", "no such recipient %m here",
	"user %m unknown in virtual mailbox table", "recipient %m rejected, address not found", "mailbox of %m is over its quota",
	"the inbox of %m is out of storage space", "insufficient system storage for message from %i", "too many connections from %i, try again later",
	"message rate from %i exceeds what we allow, slow down", "your network %i has been temporarily deferred after user complaints",
	"the address %i is listed by a block list we consult, entry %q", "connections from %i are refused on reputation grounds",
	"message %q looks like bulk mail and was not accepted", "content of %q was judged to be unsolicited", "attachment type in %q not permitted",
	"message size of %n bytes exceeds the fixed limit", "sender domain %h failed its DMARC policy", "SPF check of %i for %h did not pass",
	"DKIM signature of %h could not be verified", "reverse lookup of %i gave no name", "the name %h does not resolve to %i",
	"greylisted, please come back in %n seconds", "temporary lookup failure for %m", "local configuration error, ask the postmaster of %h",
	"relaying to %m denied", "you must authenticate before sending to %m", "TLS is required by the policy of %h", "protocol error after %n bytes",
	"mailbox %m is inactive since day %n", "recipient %m moved to another domain", "delivery to %m suspended by an administrator",
	"this list only takes mail of its members, not of %m", "too many recipients in transaction %q", "system %h is shutting down, session %q closed",
	"timeout while waiting for data in session %q", "resources of %h are exhausted at the moment", "duplicate message %q discarded by policy",
	"header From of %q is missing or malformed", "bad address syntax in %m", "virus signature %q found in the message", "link in message %q leads to a phishing site",
}

var replyOpenings = []string{
	"host mx%n.%h[%i] said: ", "%h ", "[%i] ", "", "SMTP error from remote mail server after RCPT TO:<%m>: host %h [%i]: ",
	"delivery temporarily suspended: host %h[%i] refused to talk to me: ",
}

var replyClosings = []string{
	" (in reply to RCPT TO command)", ". For details see https://support.%h/mail/errors?id=%q", " %q", " - %h [%q %n]",
	". Contact postmaster@%h and give reference %q %n", " (in reply to end of DATA command)", "; session %q.%q ended",
}

var replyCodes = []string{"550 5.1.1", "550-5.7.1", "421 4.7.0", "451 4.3.2", "452 4.2.2", "552 5.2.2", "554 5.7.1", "450 4.2.1", "553 5.1.3", "571 5.7.26"}

type replyTemplates []string

func newReplyTemplates(rnd *rand.Rand, n int) replyTemplates {
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	templates := make(replyTemplates, n)
	for i := range templates {
		reason := replyReasons[i%len(replyReasons)]
		if i >= len(replyReasons) { // another maker's wording: a second remark, and other words in the first
			words := strings.Fields(reason)
			words = append(words[:len(words)-1], fmt.Sprintf("kind%c%c", 'a'+i%26, 'a'+i/26), words[len(words)-1])
			reason = strings.Join(words, " ") + "; " + pick(replyReasons)
		}
		templates[i] = pick(replyOpenings) + pick(replyCodes) + " " + reason + pick(replyClosings)
	}
	return templates
}

func (t replyTemplates) text(rnd *rand.Rand, i int) []byte {
	letters := func(n int, from string) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = from[rnd.IntN(len(from))]
		}
		return string(b)
	}
	const lower, ids = "abcdefghijklmnopqrstuvwxyz", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	var out []byte
	s := t[i]
	for {
		at := strings.IndexByte(s, '%')
		if at < 0 {
			return append(out, s...)
		}
		out = append(out, s[:at]...)
		switch s[at+1] {
		case 'm':
			out = fmt.Appendf(out, "%s.%s@%s.example", letters(3+rnd.IntN(6), lower), letters(2+rnd.IntN(8), lower), letters(3+rnd.IntN(9), lower))
		case 'h':
			out = fmt.Appendf(out, "%s%d.%s.example", letters(2+rnd.IntN(4), lower), rnd.IntN(100), letters(4+rnd.IntN(8), lower))
		case 'i':
			out = fmt.Appendf(out, "%d.%d.%d.%d", 1+rnd.IntN(223), rnd.IntN(256), rnd.IntN(256), rnd.IntN(256))
		case 'q':
			out = append(out, letters(8+rnd.IntN(12), ids)...)
		case 'n':
			out = fmt.Appendf(out, "%d", rnd.IntN(100000))
		}
		s = s[at+2:]
	}
}

// replyPatterns makes n rules: bare phrases, phrases behind a code, and phrases with gaps.
func replyPatterns(rnd *rand.Rand, n int) []string {
	patterns := make([]string, 0, n)
	for i := 0; len(patterns) < n; i++ {
		reason := replyReasons[i%len(replyReasons)]
		var words []string
		for _, w := range strings.Fields(strings.NewReplacer(",", "", ";", "").Replace(reason)) {
			if !strings.Contains(w, "%") {
				words = append(words, regexp.QuoteMeta(w))
			}
		}
		if i >= len(replyReasons) { // mostly rules for wordings that this corpus does not have
			words[rnd.IntN(len(words))] += fmt.Sprintf("%c%c", 'a'+rnd.IntN(26), 'a'+rnd.IntN(26))
		}
		cut := 1 + rnd.IntN(len(words)-1)
		head, tail := strings.Join(words[:cut], " "), strings.Join(words[cut:], " ")
		code := replyCodes[rnd.IntN(len(replyCodes))]
		switch i % 12 {
		case 0, 1, 2, 3, 4:
			patterns = append(patterns, `(?i)`+tail)
		case 5, 6, 7:
			patterns = append(patterns, `(?i)^`+code[:1]+`\d\d[ -].*`+tail)
		case 8:
			patterns = append(patterns, `(?i)\b`+head+`\b`)
		case 9:
			patterns = append(patterns, `(?i)`+head+`.*`+tail)
		case 10:
			patterns = append(patterns, `(?i)`+regexp.QuoteMeta(code[4:])+`.{1,30}`+tail)
		case 11:
			patterns = append(patterns, `(?i)(?:`+head+`|`+tail+`)[^.]*$`)
		}
	}
	return patterns
}

// replyCorpus is the same for the same size, everywhere.
type replyCorpus struct {
	patterns     []string
	texts, fresh [][]byte // drawn from the same templates
	bytes        int      // of texts
}

func newReplyCorpus(size int) replyCorpus {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := replyCorpus{patterns: replyPatterns(rnd, 380)}
	templates := newReplyTemplates(rnd, 262)
	for range size {
		text := templates.text(rnd, rnd.IntN(len(templates)))
		c.texts = append(c.texts, text)
		c.fresh = append(c.fresh, templates.text(rnd, rnd.IntN(len(templates))))
		c.bytes += len(text)
	}
	return c
}

func (c *replyCorpus) compile(t testing.TB, maxTableBytes int) *Set {
	t.Helper()
	set, err := Compile(c.patterns, Options{MaxTableBytes: maxTableBytes})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (c *replyCorpus) oracle() []*regexp.Regexp {
	oracle := make([]*regexp.Regexp, len(c.patterns))
	for i, p := range c.patterns {
		oracle[i] = regexp.MustCompile(p)
	}
	return oracle
}

// answers are the oracle's, for texts.
func (c *replyCorpus) answers() []int {
	oracle := c.oracle()
	want := make([]int, len(c.texts))
	for i, text := range c.texts {
		want[i] = firstMatch(oracle, text)
	}
	return want
}
