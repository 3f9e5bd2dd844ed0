package survey

import (
	"strings"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// EventInput is what the rules look at in an event. It shares nothing with ev but strings.
func EventInput(ev *schema.DeliveryEvent) rules.Input {
	in := rules.Input{
		Outcome: ev.Outcome, Code: ev.SmtpCode, Enhanced: ev.EnhancedCode, EnhancedSource: ev.EnhancedSource, Text: ev.Text,
		Phase: ev.Phase, Origin: ev.Origin, RemoteHost: ev.RemoteHost, Domain: ev.Domain, MTA: ev.Mta,
	}
	if at := strings.LastIndexByte(ev.Recipient, '@'); in.Domain == "" && at >= 0 {
		in.Domain = ev.Recipient[at+1:]
	}
	if c := ev.Cause; c != nil {
		in.Cause = &rules.Input{
			Outcome: schema.Outcome_DEFERRED, Code: c.SmtpCode, Enhanced: c.EnhancedCode, EnhancedSource: c.EnhancedSource, Text: c.Text,
			Phase: c.Phase, Origin: c.Origin, RemoteHost: c.RemoteHost, Domain: in.Domain, MTA: ev.Mta,
		}
	}
	return in
}

// ResponseInput is what the rules look at in a response. Codes that were not given stand in the text, where the rules
// find them; an enhanced code that was given counts as the remote's own.
func ResponseInput(r *eventjson.Response) rules.Input {
	in := rules.Input{Outcome: schema.Outcome_BOUNCED, Code: r.SMTPCode, Enhanced: r.Enhanced, Text: r.Text}
	if in.Enhanced != "" {
		in.EnhancedSource = schema.EnhancedSource_ENHANCED_REMOTE
	}
	if id, ok := provider.ByName(r.ProviderHint); ok {
		in.Provider = id
	} else if strings.Contains(r.ProviderHint, ".") {
		in.Domain = r.ProviderHint
	}
	return in
}
