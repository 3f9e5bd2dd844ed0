// Package rules judges the answer that one recipient of one message got: class, permanence, scope, whether to retry the
// message and whether the answer is evidence against the recipient.
//
// Rules are data: the files under data/, read by parse.go, whose comment gives their form. They are asked in layers, and
// the first layer that knows the words decides:
//
//	local     the sending MTA's own words (no reply at all): DNS, connect, TLS, timeouts, queue
//	provider  the words of the provider that answered, or of the filter in front of it
//	text      words known in general
//	enhanced  the enhanced status code (RFC 3463), if the remote wrote it
//	code      the basic reply code (RFC 5321, section 4.2)
//
// Words come before codes because codes lie in both directions: rate limits under 550 5.1.1, closed mailboxes under 4xx.
// An enhanced code that the sending MTA made up is no evidence. What nothing knows is "undetermined" and carries a
// template id under which like texts can be grouped.
//
// A rule is one or more RE2 patterns over the subject, a single line made from the answer (subject.go): reply code,
// enhanced code and phase as a header, then the words in lower case. A condition on code or phase is part of the
// pattern, so a layer is an ordered list of patterns of which the first that matches wins; a matcher needs no other
// notion.
//
// A Set is immutable and safe for concurrent use. The package reads no clock and keeps no history: what a recipient did
// before is the recipient package's business.
package rules

import (
	"embed"
	"io/fs"

	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/schema"
)

//go:embed data/*.rules
var embedded embed.FS

// Input is one answer, as a log line or a delivery status notification gave it. The zero value of a field means unknown.
type Input struct {
	Outcome        schema.Outcome
	Code           int32  // basic reply code, 0 without a reply
	Enhanced       string // "5.1.1"
	EnhancedSource schema.EnhancedSource
	Text           string // the reply, or the MTA's own words; may still wear the MTA's wrapper ("host H said: ...")
	Phase          schema.Phase
	Origin         schema.Origin
	RemoteHost     string // host that spoke; with Domain it names the provider
	Domain         string // recipient's domain
	Provider       string // a provider's id, if the caller knows better than the names say; empty: look it up
	MTA            string // "postfix", ...
	Cause          *Input // of an expiry: the last real failure
}

func (in *Input) provider() string {
	if in.Provider != "" {
		return in.Provider
	}
	return provider.Lookup(in.RemoteHost, in.Domain)
}

// Load returns the embedded set. An error means a broken build.
func Load() (*Set, error) {
	data, err := fs.Sub(embedded, "data")
	if err != nil {
		return nil, err
	}
	return LoadFS(data)
}
