package rules

import (
	"strings"

	"carom.dev/carom/pipeline/smtpreply"
	"carom.dev/carom/schema"
)

// answer is an Input without the MTA's wrapper: what the remote said, or the MTA's own words.
type answer struct {
	text     string // without codes
	code     int32
	enhanced string // only if it is evidence
	phase    schema.Phase
	remote   bool // the words are a reply, by the wrapper's witness
	local    bool // the words are the MTA's own, although they carry a code
	// the MTA made no attempt: the words are those of an earlier one
	suspended bool
}

// Wrappers that mail programs put before a reply.
const (
	wrapSaid    = " said: "                              // Postfix, qmail
	wrapRefused = " refused to talk to me: "             // Postfix: the greeting
	wrapExim    = "error from remote mail server after " // Exim: "SMTP error from ... after RCPT TO:<a>: 550 ..."
	wrapSusp    = "delivery temporarily suspended: "     // Postfix: the text before a postponement
	wrapLMTP    = "LMTP error after "                    // Exim
	wrapDMA     = " failed after "                       // dma: "HOST [IP] failed after RCPT TO: 550 ..."
	wrapKumo    = "KumoMTA internal: "                   // KumoMTA: a code of its own before it
	wrapPostfix = " (in reply to "                       // Postfix, at the end
	wrapEnd     = " command)"
	maxWrapper  = 600 // bytes within which a wrapper ends: two host names and an address
)

// unwrap finds the reply in in.Text. It never allocates.
func unwrap(in *Input) answer {
	a := answer{text: in.Text, code: in.Code, phase: in.Phase, remote: in.Origin == schema.Origin_REMOTE_REPLY, local: in.Origin == schema.Origin_LOCAL_MTA}
	if len(a.text) > maxText {
		a.text = a.text[:maxText]
	}
	if in.EnhancedSource != schema.EnhancedSource_ENHANCED_MTA && smtpreply.ValidEnhanced(in.Enhanced) {
		a.enhanced = in.Enhanced
	}
	if _, bare := code(a.text); !bare {
		a.strip()
	}
	if strings.HasSuffix(a.text, wrapEnd) {
		if i := strings.LastIndex(a.text, wrapPostfix); i >= 0 {
			a.setPhase(phaseOf(a.text[i+len(wrapPostfix):]))
			a.text = a.text[:i]
		}
	}
	if rest, ok := strings.CutPrefix(trimCode(a.text), wrapKumo); ok && !a.remote {
		a.text, a.local = rest, true
	}
	a.takeCodes()
	return a
}

// strip takes off what stands before a reply. What begins with a reply code has nothing there.
func (a *answer) strip() {
	if rest, ok := strings.CutPrefix(a.text, wrapSusp); ok {
		a.text, a.suspended = rest, true
	}
	// A DSN's Diagnostic-Code starts with its type (RFC 3464, section 2.3.6).
	if i := strings.IndexByte(a.text[:min(len(a.text), len("x-postfix ;"))], ';'); i >= 0 {
		switch kind := strings.TrimSpace(a.text[:i]); {
		case strings.EqualFold(kind, "smtp"):
			a.text, a.remote = strings.TrimSpace(a.text[i+1:]), true
		case strings.EqualFold(kind, "x-postfix"), strings.EqualFold(kind, "x-unix"), strings.EqualFold(kind, "lmtp"):
			a.text = strings.TrimSpace(a.text[i+1:])
		}
	}
	if _, bare := code(a.text); bare {
		return
	}
	// The first wrapper is the MTA's; a further one would be the remote's own words, which may be forged.
	front := a.text[:min(len(a.text), maxWrapper)]
	wrapper, at := "", len(front)
	for _, w := range [...]string{wrapRefused, wrapSaid, wrapExim, wrapLMTP, wrapDMA} {
		if i := strings.Index(front[:at], w); i >= 0 {
			wrapper, at = w, i
		}
	}
	rest := a.text[at+len(wrapper):]
	switch wrapper {
	case "":
		return
	case wrapRefused:
		a.text, a.remote = rest, true
		a.setPhase(schema.Phase_BANNER)
	case wrapSaid:
		a.text, a.remote = rest, true
	default:
		a.afterCommand(rest)
	}
	a.local = a.local && !a.remote
}

// trimCode cuts a reply code from the start of s.
func trimCode(s string) string {
	if _, ok := code(s); ok {
		return strings.TrimLeft(s[3:], " -")
	}
	return s
}

func (a *answer) setPhase(p schema.Phase) {
	if a.phase == schema.Phase_PHASE_UNSPECIFIED || a.phase == schema.Phase_ASYNC {
		a.phase = p
	}
}

// afterCommand reads Exim's and dma's "RCPT TO:<a>: 550 ...", or "initial connection: 554 ...". Without a reply code
// there was no reply, and the words stay the MTA's own.
func (a *answer) afterCommand(text string) {
	for rest := text; ; {
		i := strings.Index(rest, ": ")
		if i < 0 {
			return
		}
		rest = rest[i+2:]
		if _, ok := code(rest); ok {
			a.setPhase(phaseOf(text))
			a.text, a.remote = rest, true
			return
		}
	}
}

// phaseOf reads the command that a wrapper names.
func phaseOf(s string) schema.Phase {
	s = strings.TrimPrefix(s, "pipelined ")
	for _, c := range [...]struct {
		prefix string
		phase  schema.Phase
	}{
		{"RCPT TO", schema.Phase_RCPT},
		{"MAIL FROM", schema.Phase_MAIL},
		{"end of DATA", schema.Phase_EOM},
		{"end of data", schema.Phase_EOM},
		{"sending data block", schema.Phase_EOM},
		{"DATA", schema.Phase_DATA},
		{"EHLO", schema.Phase_EHLO},
		{"HELO", schema.Phase_EHLO},
		{"LHLO", schema.Phase_EHLO},
		{"STARTTLS", schema.Phase_TLS},
		{"AUTH", schema.Phase_AUTH},
		{"initial connection", schema.Phase_BANNER},
		{"connect", schema.Phase_BANNER},
		{"final DATA", schema.Phase_EOM},
		{"QUIT", schema.Phase_QUIT},
	} {
		if strings.HasPrefix(s, c.prefix) {
			return c.phase
		}
	}
	return schema.Phase_PHASE_UNSPECIFIED
}

// code reads a basic reply code at the start of s.
func code(s string) (int32, bool) {
	c, _ := smtpreply.Codes(s[:min(len(s), len("550-5.7.1234"))])
	return int32(c), c != 0
}

// takeCodes reads the codes at the start of the reply and cuts them off. What the caller already knows wins.
func (a *answer) takeCodes() {
	text := a.text
	for text != "" && (isSpace(text[0]) || text[0] == '"' || text[0] == '\'' || text[0] == ':') {
		text = text[1:]
	}
	if hashed := strings.TrimPrefix(text, "#"); len(hashed) < len(text) {
		if _, ok := code(hashed); ok {
			text = hashed
		}
	}
	var found int
	var enhanced string
	if _, ok := code(text); ok && strings.HasPrefix(text[3:], "-") && !runTogether(text) {
		// The lines are apart: appendWords drops the codes while it reads the words, and nothing is copied.
		found, enhanced = smtpreply.Codes(text)
	} else {
		r := smtpreply.Parse(text)
		found, enhanced, text = r.Code, r.Enhanced, r.Text
		if a.code == 0 || found == 0 || int32(found) == a.code {
			a.text = text
		}
	}
	if a.code == 0 {
		a.code = int32(found)
	}
	if a.enhanced == "" {
		a.enhanced = enhanced
	}
}

// runTogether reports whether a multi-line reply needs smtpreply to be taken apart: some MTAs join the lines with
// escapes or with nothing.
func runTogether(text string) bool {
	if strings.Contains(text, `\n`) || strings.Contains(text, "#012") {
		return true
	}
	prefix := text[:4] // "550-"
	for rest := text[4:]; ; {
		i := strings.Index(rest, prefix)
		if i < 0 {
			return false
		}
		if i > 0 && !isSpace(rest[i-1]) {
			return true
		}
		rest = rest[i+len(prefix):]
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
