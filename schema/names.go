package schema

import "strings"

// Names for people and JSON: the protobuf enum names in lower case, without their prefix. The zero value of each enum
// has the empty name, because absent in the log is absent in the output.

func slug(name, prefix string, number int32) string {
	if number == 0 {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}

// Name returns "delivered", "async_bounce", ...
func (x Outcome) Name() string { return slug(x.String(), "", int32(x)) }

// Name returns "dns", "rcpt", ...
func (x Phase) Name() string { return slug(x.String(), "", int32(x)) }

// Name returns "remote_reply", "local_mta", ...
func (x Origin) Name() string { return slug(x.String(), "", int32(x)) }

// Name returns "remote", "mta" or "none".
func (x EnhancedSource) Name() string { return slug(x.String(), "ENHANCED_", int32(x)) }

// Name returns "transient", "permanent" or "unknown", the zero value.
func (x Permanence) Name() string {
	if x == Permanence_PERMANENCE_UNKNOWN {
		return "unknown"
	}
	return slug(x.String(), "", int32(x))
}

// Name returns "recipient", "sender_ip", ...
func (x Scope) Name() string { return slug(x.String(), "SCOPE_", int32(x)) }

// Name returns "default", "code", "enhanced", "text" or "provider_text".
func (x Confidence) Name() string { return slug(x.String(), "CONFIDENCE_", int32(x)) }

// Name returns "yes", "later" or "no".
func (x Retry) Name() string { return slug(x.String(), "RETRY_", int32(x)) }

// Name returns "never", "windowed", "candidate" or "domain".
func (x Suppress) Name() string { return slug(x.String(), "SUPPRESS_", int32(x)) }

// Name returns "unknown", the zero value, "accepted" or "not_accepted".
func (x Acceptance) Name() string {
	if x == Acceptance_ACCEPTANCE_UNKNOWN {
		return "unknown"
	}
	return slug(x.String(), "", int32(x))
}

// Name returns "ok", the zero value, "pending", "suppressed", ...
func (x RecipientState) Name() string {
	return strings.ToLower(strings.TrimPrefix(x.String(), "STATE_"))
}

// Name returns "open", "updated" or "resolved".
func (x IncidentState) Name() string { return slug(x.String(), "", int32(x)) }

// PhaseByName is the reverse of Phase.Name; false for a name that is none.
func PhaseByName(name string) (Phase, bool) {
	v, ok := Phase_value[strings.ToUpper(name)]
	return Phase(v), ok && v != 0
}

// Name returns "none", "known" or "signed"; empty for what is no bounce mail.
func (x Trust) Name() string { return slug(x.String(), "TRUST_", int32(x)) }
