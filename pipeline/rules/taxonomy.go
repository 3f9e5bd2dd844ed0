package rules

import "carom.dev/carom/schema"

// TaxonomyVersion names the set of classes. Slugs are never renamed or reused; a new class or a changed default raises
// it, and the change log says what moved.
const TaxonomyVersion = "1"

// Class is one kind of failure, with the axes that an answer of this class has unless its rule says otherwise.
type Class struct {
	Slug  string
	Scope schema.Scope
	// Permanence of the condition; PERMANENCE_UNKNOWN takes the reply code's word (4xx transient, 5xx permanent).
	Permanence schema.Permanence
	// Retry of the message; RETRY_UNSPECIFIED follows from permanence: permanent no, else yes.
	Retry schema.Retry
	// Suppress is what one answer says about the recipient.
	Suppress schema.Suppress
}

const (
	byCode    = schema.Permanence_PERMANENCE_UNKNOWN
	transient = schema.Permanence_TRANSIENT
	permanent = schema.Permanence_PERMANENT

	follow = schema.Retry_RETRY_UNSPECIFIED
	yes    = schema.Retry_RETRY_YES
	later  = schema.Retry_RETRY_LATER
	no     = schema.Retry_RETRY_NO

	never     = schema.Suppress_SUPPRESS_NEVER
	windowed  = schema.Suppress_SUPPRESS_WINDOWED
	candidate = schema.Suppress_SUPPRESS_CANDIDATE
	perDomain = schema.Suppress_SUPPRESS_DOMAIN
)

// Slugs that the code itself assigns; all others come from rules.
const (
	classExpired      = "queue.expired"
	classSuspended    = "queue.suspended"
	classDelayed      = "notice.delayed"
	classComplaint    = "notice.complaint"
	classUnsubscribe  = "notice.unsubscribe"
	classUndetermined = "undetermined"
)

// taxonomy returns every class, in the order in which people list them.
func taxonomy() []Class {
	const (
		recipient    = schema.Scope_SCOPE_RECIPIENT
		domain       = schema.Scope_SCOPE_DOMAIN
		senderIP     = schema.Scope_SCOPE_SENDER_IP
		senderDomain = schema.Scope_SCOPE_SENDER_DOMAIN
		content      = schema.Scope_SCOPE_CONTENT
		remote       = schema.Scope_SCOPE_REMOTE
		network      = schema.Scope_SCOPE_NETWORK
		local        = schema.Scope_SCOPE_LOCAL
		unspecified  = schema.Scope_SCOPE_UNSPECIFIED
	)
	return []Class{
		{"recipient.unknown", recipient, permanent, no, candidate},
		{"recipient.disabled", recipient, permanent, no, candidate},
		{"recipient.inactive", recipient, byCode, follow, windowed},
		{"recipient.syntax", recipient, permanent, no, candidate},
		{"recipient.moved", recipient, permanent, no, candidate},
		{"recipient.restricted", recipient, byCode, follow, windowed},
		{"recipient.relay_denied", domain, byCode, follow, windowed},

		{"mailbox.full", recipient, transient, yes, windowed},
		{"mailbox.rate_limited", recipient, transient, later, never},
		{"mailbox.temp_unavailable", recipient, transient, yes, windowed},

		{"domain.not_found", domain, byCode, follow, perDomain},
		{"domain.null_mx", domain, permanent, no, perDomain},
		{"domain.routing_loop", domain, byCode, follow, perDomain},

		{"dns.timeout", network, transient, yes, perDomain},
		{"dns.servfail", network, transient, yes, perDomain},

		{"net.connect_timeout", network, transient, yes, perDomain},
		{"net.connect_refused", network, transient, yes, perDomain},
		{"net.unreachable", network, transient, yes, perDomain},
		{"net.banner_timeout", network, transient, yes, never},
		{"net.banner_refused", remote, transient, yes, never},
		{"net.tls_failure", network, transient, yes, never},
		{"net.command_timeout", network, transient, yes, never},
		{"net.conn_lost", network, transient, yes, never},
		{"net.eom_timeout", network, transient, yes, never},
		{"net.timeout_unspecified", network, transient, yes, never},

		{classExpired, unspecified, transient, no, never},
		{classSuspended, local, transient, yes, never},
		{"queue.throttled", local, transient, yes, never},

		{"local.config", local, byCode, follow, never},
		{"local.admin", local, byCode, follow, never},
		{"local.suppressed", local, permanent, no, never},

		{"remote.temp_error", remote, transient, yes, never},
		{"remote.greylisted", remote, transient, yes, never},
		{"remote.system_full", remote, transient, yes, never},
		{"remote.config_error", remote, byCode, follow, never},
		{"remote.rate_limited", senderIP, transient, later, never},

		{"block.ip_blocklist", senderIP, transient, later, never},
		{"block.domain_blocklist", senderDomain, transient, later, never},
		{"block.reputation_ip", senderIP, transient, later, never},
		{"block.reputation_domain", senderDomain, transient, later, never},
		{"block.complaints", senderIP, transient, later, never},
		{"block.policy", senderDomain, byCode, follow, never},

		{"auth.spf", senderDomain, byCode, follow, never},
		{"auth.dkim", senderDomain, byCode, follow, never},
		{"auth.dmarc", senderDomain, byCode, follow, never},
		{"auth.unauthenticated", senderDomain, byCode, follow, never},
		{"auth.ptr", senderIP, byCode, follow, never},
		{"auth.sender_rejected", senderDomain, byCode, follow, never},
		{"auth.smtp_auth", local, byCode, follow, never},

		{"content.spam", content, byCode, follow, never},
		{"content.phishing", content, byCode, follow, never},
		{"content.virus", content, byCode, follow, never},
		{"content.url", content, byCode, follow, never},
		{"content.attachment", content, byCode, follow, never},
		{"content.too_large", content, permanent, no, never},
		{"content.malformed", content, byCode, follow, never},

		{"protocol.error", remote, byCode, follow, never},
		{"protocol.too_many_recipients", remote, transient, yes, never},

		{"notice.auto_reply", unspecified, transient, no, never},
		{"notice.challenge", recipient, transient, no, never},
		{classDelayed, unspecified, transient, yes, never},
		{"notice.relayed", unspecified, transient, no, never},
		{classComplaint, recipient, permanent, no, never},
		{classUnsubscribe, recipient, permanent, no, never},
		{"notice.subscribe", recipient, transient, no, never},

		{classUndetermined, unspecified, byCode, follow, never},
	}
}

// Classes returns the taxonomy, a fresh slice of the caller's own.
func Classes() []Class { return taxonomy() }
