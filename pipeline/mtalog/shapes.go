package mtalog

import "bytes"

// The lines of Postfix that say nothing about a delivery, by their first words. They are listed so that what is not
// listed can be counted as unparsed: a new version's new form is noticed, not lost. The words are those of the message
// formats in Postfix's sources (src/smtp, src/smtpd, src/qmgr, src/cleanup, src/bounce, src/postscreen, src/postsuper,
// src/master, src/global).

// daemonClass says what lines a daemon may write.
type daemonClass uint8

const (
	daemonUnknown  daemonClass = iota
	daemonUnnamed              // the line does not name the daemon
	daemonDelivers             // may write delivery lines: agents, and those that bounce or defer by themselves
	daemonQueues               // handles queue entries, delivers nothing
	daemonOther                // none of its lines matters
)

func classOf(daemon []byte) daemonClass {
	switch string(daemon) {
	case "":
		return daemonUnnamed
	case "smtp", "lmtp", "local", "virtual", "pipe", "error", "discard", "qmgr", "oqmgr", "nqmgr", "cleanup", "bounce":
		return daemonDelivers
	case "smtpd", "pickup", "postsuper", "qmqpd":
		return daemonQueues
	case "postscreen", "anvil", "scache", "tlsproxy", "tlsmgr", "trivial-rewrite", "master", "postfix-script", "postlog",
		"postlogd", "dnsblog", "proxymap", "proxywrite", "verify", "flush", "showq", "spawn", "sendmail", "postdrop",
		"postqueue", "postmap", "postalias", "postconf", "postmulti", "postkick", "postlock", "postcat", "fsstone",
		"smtp-sink", "smtp-source", "qmqp-sink", "qmqp-source", "nbdb_reindexd", "postfix-non-bdb-script", "post-install",
		"postfix-install", "posttls-finger", "postfix-tls-script", "postfix-wrapper", "postmulti-script", "postfix":
		return daemonOther
	}
	return daemonUnknown
}

// bareShape judges a message that does not begin with a queue id.
func bareShape(b []byte) shape {
	if len(b) == 0 {
		return shapeUnknown
	}
	known := false
	switch b[0] {
	case 'A':
		known = hasPrefix(b, "Anonymous TLS connection ") || hasPrefix(b, "ALLOWLIST")
	case 'B':
		known = hasPrefix(b, "BDAT ") || hasPrefix(b, "BLACKLIST") || hasPrefix(b, "BARE ")
	case 'C':
		known = hasPrefix(b, "CONNECT ") || hasPrefix(b, "COMMAND ") || hasPrefix(b, "Cannot start TLS: ")
	case 'D':
		known = hasPrefix(b, "DISCONNECT ") || hasPrefix(b, "DNSBL rank ") || hasPrefix(b, "DENYLIST") ||
			hasPrefix(b, "DATA ") || hasPrefix(b, "Deleted: ")
	case 'F':
		known = hasPrefix(b, "Force-expired: ")
	case 'H':
		known = hasPrefix(b, "HANGUP ") || hasPrefix(b, "Host offered STARTTLS: ")
	case 'I':
		known = hasPrefix(b, "Issuing session ticket")
	case 'M':
		known = hasPrefix(b, "MX name ") || hasPrefix(b, "Matched ")
	case 'N':
		known = hasPrefix(b, "NOQUEUE: ") || hasPrefix(b, "NON-SMTP COMMAND ")
	case 'P':
		known = hasPrefix(b, "PASS ") || hasPrefix(b, "Postfix is ") || hasPrefix(b, "Proactively reindexing ") || hasPrefix(b, "PREGREET ") || hasPrefix(b, "Placed on hold: ")
	case 'R':
		known = hasPrefix(b, "Removed: ") || hasPrefix(b, "Requeued: ") || hasPrefix(b, "Released from hold: ") ||
			hasPrefix(b, "Renamed ")
	case 'S':
		known = hasPrefix(b, "SSL_connect error ") || hasPrefix(b, "SSL_accept error ") || hasPrefix(b, "SSL_accept:") ||
			hasPrefix(b, "SSL_connect:") || hasPrefix(b, "SSL3 alert ") || hasPrefix(b, "Server certificate not ") ||
			hasPrefix(b, "See http")
	case 'T':
		known = hasPrefix(b, "Trusted TLS connection ") || hasPrefix(b, "TLS ") || hasPrefix(b, "TLSRPT: ") ||
			hasPrefix(b, "To disable backwards compatibility ")
	case 'U':
		known = hasPrefix(b, "Untrusted TLS connection ")
	case 'V':
		known = hasPrefix(b, "Verified TLS connection ")
	case 'W':
		known = hasPrefix(b, "WHITELIST")
	case 'a':
		known = hasPrefix(b, "auto_clnt") || hasPrefix(b, "aborting the Postfix ") || hasPrefix(b, "address syntax error ") || hasPrefix(b, "addr ")
	case 'b':
		known = hasPrefix(b, "begin ")
	case 'c':
		known = hasPrefix(b, "connect from ") || hasPrefix(b, "connect to ") || hasPrefix(b, "cache ") ||
			hasPrefix(b, "certificate verification ") || hasPrefix(b, "certificate peer ") || hasPrefix(b, "clos") ||
			hasPrefix(b, "conversation with ") || hasPrefix(b, "client certificate ")
	case 'd':
		known = hasPrefix(b, "disconnect from ") || hasPrefix(b, "daemon started ") || hasPrefix(b, "dict_") ||
			hasPrefix(b, "discarding EHLO keywords: ") || hasPrefix(b, "database ") || hasPrefix(b, "disabling input ") || hasPrefix(b, "delete ")
	case 'e':
		known = hasPrefix(b, "error: ") || hasPrefix(b, "entering ") || hasPrefix(b, "exiting ") || hasPrefix(b, "end ")
	case 'f':
		known = hasPrefix(b, "fatal: ") || hasPrefix(b, "flushing the Postfix mail queue")
	case 'h':
		known = hasPrefix(b, "host ") || hasPrefix(b, "hostname ")
	case 'i':
		known = hasPrefix(b, "improper command pipelining ") || hasPrefix(b, "initializing the ") || hasPrefix(b, "input attribute ") ||
			hasPrefix(b, "ignoring ") || hasPrefix(b, "info: ")
	case 'l':
		known = hasPrefix(b, "lost connection ") || hasPrefix(b, "look") || hasPrefix(b, "leaving STRESS ")
	case 'm':
		if hasPrefix(b, "message repeated ") {
			return shapeRepeated
		}
		known = hasPrefix(b, "mapping DSN status ") || hasPrefix(b, "milter ") || hasPrefix(b, "milter-") || hasPrefix(b, "master exit ")
	case 'o':
		known = hasPrefix(b, "open ")
	case 'p':
		known = hasPrefix(b, "panic: ") || hasPrefix(b, "premature end-of-input ") || hasPrefix(b, "proxy-") || hasPrefix(b, "pref ") || hasPrefix(b, "put ")
	case 'r':
		known = hasPrefix(b, "reload ") || hasPrefix(b, "refreshing the Postfix ") || hasPrefix(b, "redirecting ") || hasPrefix(b, "read ") ||
			hasPrefix(b, "rewrite stream ") || hasPrefix(b, "reject: ") || hasPrefix(b, "reloaded session ") || hasPrefix(b, "remove session ")
	case 's':
		known = hasPrefix(b, "statistics: ") || hasPrefix(b, "starting the Postfix mail system") ||
			hasPrefix(b, "stopping the Postfix mail system") || hasPrefix(b, "setting up TLS connection ") ||
			hasPrefix(b, "setting the ") || hasPrefix(b, "stopped the ") || hasPrefix(b, "smtp_") || hasPrefix(b, "save session ") ||
			hasPrefix(b, "server certificate ") || hasPrefix(b, "skipping ") || hasPrefix(b, "subject") || hasPrefix(b, "successfully executed ")
	case 't':
		known = hasPrefix(b, "terminating on signal ") || hasPrefix(b, "timeout after ") || hasPrefix(b, "the Postfix mail system ") || hasPrefix(b, "table ") ||
			hasPrefix(b, "too many errors after ") || hasPrefix(b, "too many mail delivery requests")
	case 'u':
		known = hasPrefix(b, "using ") || hasPrefix(b, "user ") ||
			hasPrefix(b, "unknown command ")
	case 'w':
		known = hasPrefix(b, "warning: ") || hasPrefix(b, "write ") || hasPrefix(b, "waiting for the Postfix mail system")
	}
	if known || debugging(b) {
		return shapeNoise
	}
	return shapeUnknown
}

// debugging tells what daemons write with -v (master(5)) or for debug_peer_list: the name of a C function, attributes of
// their protocols, the SMTP conversation. There are thousands of forms, and no delivery among them.
func debugging(b []byte) bool {
	underscore := false
	for k, c := range b {
		switch {
		case c-'a' <= 'z'-'a' || c-'0' <= 9:
			continue
		case c == '_':
			underscore = true
			continue
		case c == '[' && underscore:
			return true // of a recursive one
		case c == ':' && underscore:
			return k+1 < len(b) && b[k+1] == ' '
		case c == ' ' && underscore:
			return bytes.HasPrefix(b[k:], []byte(" = ")) // a parameter
		}
		underscore = false
		break
	}
	for _, words := range [...]string{
		"> ", "< ", ">>> ", "<<< ", "=== ", "send attr ", "private/", "public/", "connection established", "connection closed",
		"initial envelope ", "extracted envelope ", "start sorted ", "end sorted ", "fd=", "event: ", "trying... ", "Using ", "server features: ",
		"cleanup flags = ", "before input_transp_cleanup: ", "after input_transp_cleanup: ", "request: ", "request ignored",
		"done ", "fsspace: ", "connecting to ", "reply: SMFIR_", "process generation: ", "master disconnect ", "global TLS level: ",
		"wakeup ", "proxymap stream disconnect", "idle timeout ", "abort all milters", "free ", "report ", "send ", "receive ",
		"disconnect event ", "defer site ", "PUSH boundary ", "POP boundary ", "header: ", "smtpd_", "rewrite ", "resolve ",
	} {
		if hasPrefix(b, words) {
			return true
		}
	}
	return bytes.Contains(b[:min(len(b), 80)], []byte(": wanted attribute: "))
}

// queueNoise judges what follows a queue id. A failure at one of several MX hosts is logged once with the queue id and
// no recipient; the delivery line that follows repeats the last one.
func queueNoise(b []byte) bool {
	switch b[0] {
	case 'B':
		return hasPrefix(b, "BCC ")
	case 'C':
		return hasPrefix(b, "Cannot start TLS: ")
	case 'D':
		return hasPrefix(b, "Domain ")
	case 'M':
		return hasPrefix(b, "MX name ")
	case 'H':
		return hasPrefix(b, "Host or domain name not found. ")
	case 'N':
		return hasPrefix(b, "Name service error for ") || hasPrefix(b, "Name server loop for ") || hasPrefix(b, "No ")
	case 'P':
		return hasPrefix(b, "Protocol error: ")
	case 'R':
		return hasPrefix(b, "REQUIRETLS ")
	case 'S':
		return hasPrefix(b, "SASL ") || hasPrefix(b, "Sender requested REQUIRETLS, ") || hasPrefix(b, "SMTPUTF8 is required, ") ||
			hasPrefix(b, "Server c")
	case 'T':
		return hasPrefix(b, "TLS ") || hasPrefix(b, "TLSA lookup ") || hasPrefix(b, "TLSRPT: ") || hasPrefix(b, "Too many ")
	case 'a':
		return hasPrefix(b, "addr") || hasPrefix(b, "all network protocols ")
	case 'b':
		return hasPrefix(b, "breaking ") || hasPrefix(b, "body ") || hasPrefix(b, "bcc: ")
	case 'c':
		return hasPrefix(b, "connect to ") || hasPrefix(b, "conversation with ") || hasPrefix(b, "copied ") ||
			hasPrefix(b, "certificate verification ") || hasPrefix(b, "client TLS ")
	case 'd':
		return hasPrefix(b, "discard: ") || hasPrefix(b, "delivery ") || hasPrefix(b, "disabling ")
	case 'e':
		return hasPrefix(b, "enabling ") || hasPrefix(b, "error: ") || string(b) == "expired" // postsuper -e: qmgr's line follows
	case 'f':
		return hasPrefix(b, "filter: ") || hasPrefix(b, "fatal: ") || hasPrefix(b, "failed ")
	case 'h':
		return hasPrefix(b, "host ") || hasPrefix(b, "hold: ")
	case 'i':
		return hasPrefix(b, "info: ")
	case 'l':
		return hasPrefix(b, "lost connection ")
	case 'm':
		return hasPrefix(b, "milter-") || hasPrefix(b, "message ") || hasPrefix(b, "mail ")
	case 'n':
		return hasPrefix(b, "non-delivery ") || hasPrefix(b, "non DNSSEC destination") || hasPrefix(b, "no") // "no MX host for", "not sending trace", "notify:"
	case 'o':
		return hasPrefix(b, "ok: ")
	case 'p':
		return hasPrefix(b, "postmaster ") || hasPrefix(b, "placed ") || hasPrefix(b, "prepend: ") ||
			hasPrefix(b, "pass: ") || hasPrefix(b, "passing ")
	case 'r':
		return hasPrefix(b, "resent-message-id=") || hasPrefix(b, "reject: ") || hasPrefix(b, "replac") ||
			hasPrefix(b, "redirect: ") || hasPrefix(b, "reply ") || hasPrefix(b, "recipient limit ") || hasPrefix(b, "read") || hasPrefix(b, "released from hold") || hasPrefix(b, "renamed ") ||
			hasPrefix(b, "reject_warning: ")
	case 's':
		return hasPrefix(b, "sender ") || hasPrefix(b, "skipped, still being delivered") || hasPrefix(b, "strip: ") ||
			hasPrefix(b, "server ") || hasPrefix(b, "status=deferred (")
	case 't':
		return hasPrefix(b, "trigger: ") || hasPrefix(b, "timeout ") || hasPrefix(b, "too ")
	case 'u':
		return hasPrefix(b, "unable to ") || hasPrefix(b, "using ") || hasPrefix(b, "unknown ") || hasPrefix(b, "uncompress")
	case 'w':
		return hasPrefix(b, "warning: ") || hasPrefix(b, "warn: ")
	}
	return false
}
