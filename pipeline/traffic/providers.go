package traffic

import "strconv"

// provider is what the generator knows of one place of mailboxes.
type provider struct {
	id      string
	share   int // of the recipients, in percent
	domains []domain

	accept  []reply
	unknown []reply // said of a recipient that does not exist
	full    []reply // said of a recipient whose mailbox is full
	trouble []trouble

	trusted    bool  // their certificates are signed by an authority that we know
	connectMS  int64 // mean time to connect and negotiate
	transmitMS int64 // mean time to take the message
}

// domain is one recipient domain and the hosts that take its mail.
type domain struct {
	name      string
	weight    int
	mx        []host
	greylists bool // the first attempt to each recipient is put off
}

type host struct{ name, ip string }

// trouble is a reply that comes by chance, whoever the recipient is.
type trouble struct {
	chance float64 // of an attempt
	reply  reply
}

// reply is the end of an attempt. In text, $r stands for the recipient, $i for our address, $h for their host, $d for the
// sender's domain, $D for the recipient's, $t for a token, $n for a number, $a for their address in the log's own brackets.
type reply struct {
	dsn   string
	where where
	text  string
}

// where tells what Postfix writes around the words, and what it was doing.
type where uint8

const (
	atRcpt    where = iota // host H[A] said: ... (in reply to RCPT TO command)
	atData                 // host H[A] said: ... (in reply to end of DATA command)
	atMail                 // host H[A] said: ... (in reply to MAIL FROM command)
	atBanner               // host H[A] refused to talk to me: ...
	atConnect              // connect to H[A]:25: ..., and the same as a line of its own; half a minute if it timed out
	atSession              // Postfix's own words, relay=H[A]:25
	atLookup               // Postfix's own words, relay=none
)

// permanent reports whether the message is given up.
func (r *reply) permanent() bool { return r.dsn[0] == '5' }

// Providers returns the names that Burst and Recipient use, those of pipeline/provider. "other" is all small domains.
func Providers() []string {
	all := providers()
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].id
	}
	return names
}

func providerIndex(id string) int {
	for i, name := range Providers() {
		if name == id {
			return i
		}
	}
	return -1
}

func providers() []provider {
	return []provider{apple(), google(), yahoo(), microsoft(), unitedInternet(), small()}
}

func apple() provider {
	mx := []host{{"mx01.mail.icloud.com", "203.0.113.11"}, {"mx02.mail.icloud.com", "203.0.113.12"}}
	return provider{
		id: "apple", share: 15, trusted: true, connectMS: 90, transmitMS: 350,
		domains: []domain{{name: "icloud.com", weight: 7, mx: mx}, {name: "me.com", weight: 2, mx: mx}, {name: "mac.com", weight: 1, mx: mx}},
		accept:  []reply{{dsn: "2.0.0", text: "250 2.0.0 Ok: queued as $t"}},
		unknown: []reply{{"5.1.1", atRcpt, "550 5.1.1 <$r>: user does not exist"}},
		full:    []reply{{"4.2.2", atRcpt, "452 4.2.2 <$r>: user is overquota"}},
		trouble: []trouble{
			{0.004, reply{"4.7.1", atRcpt, "421 4.7.1 Messages to $r deferred due to excessive volume. Try again later - https://support.apple.com/en-us/HT204137"}},
			{0.001, reply{"4.4.2", atSession, "lost connection with $h[$a] while sending RCPT TO"}},
			{0.001, reply{"5.7.1", atData, "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137"}},
		},
	}
}

func google() provider {
	mx := []host{
		{"gmail-smtp-in.l.google.com", "203.0.113.21"},
		{"alt1.gmail-smtp-in.l.google.com", "203.0.113.22"},
		{"alt2.gmail-smtp-in.l.google.com", "203.0.113.23"},
	}
	return provider{
		id: "google", share: 40, trusted: true, connectMS: 110, transmitMS: 420,
		domains: []domain{{name: "gmail.com", weight: 19, mx: mx}, {name: "googlemail.com", weight: 1, mx: mx}},
		accept:  []reply{{dsn: "2.0.0", text: "250 2.0.0 OK  $n $t - gsmtp"}},
		unknown: []reply{{"5.1.1", atRcpt, "550-5.1.1 The email account that you tried to reach does not exist. Check the 550-5.1.1 address for typos and blanks, then send again. Details: 550 5.1.1  https://support.google.com/mail/?p=NoSuchUser $t - gsmtp"}},
		full:    []reply{{"4.2.2", atRcpt, "452-4.2.2 The recipient's inbox is out of storage space. Details: 452 4.2.2  https://support.google.com/mail/?p=OverQuotaTemp $t - gsmtp"}},
		trouble: []trouble{
			{0.003, reply{"4.7.28", atData, "421-4.7.28 Gmail has detected an unusual rate of unsolicited mail from 421-4.7.28 your IP address [$i      19] and slows it down for now. Details: 421 4.7.28  https://support.google.com/mail/?p=UnsolicitedRateLimitError $t - gsmtp"}},
			{0.0005, reply{"4.3.0", atData, "451 4.3.0 Mail server temporarily rejected message. $t - gsmtp"}},
			{0.0015, reply{"5.7.1", atData, "550-5.7.1 [$i      12] Gmail has detected that this message is likely 550-5.7.1 unsolicited mail and has blocked it. Details: 550 5.7.1  https://support.google.com/mail/?p=UnsolicitedMessageError $t - gsmtp"}},
		},
	}
}

func yahoo() provider {
	mx := []host{{"mta5.am0.yahoodns.net", "203.0.113.31"}, {"mta6.am0.yahoodns.net", "203.0.113.32"}, {"mta7.am0.yahoodns.net", "203.0.113.33"}}
	aol := []host{{"mx-aol.mail.gm0.yahoodns.net", "203.0.113.36"}}
	return provider{
		id: "yahoo", share: 15, trusted: true, connectMS: 130, transmitMS: 380,
		domains: []domain{{name: "yahoo.com", weight: 7, mx: mx}, {name: "ymail.com", weight: 1, mx: mx}, {name: "aol.com", weight: 2, mx: aol}},
		accept:  []reply{{dsn: "2.0.0", text: "250 ok dirdel"}},
		unknown: []reply{
			{"5.0.0", atRcpt, "554 delivery error: dd This user doesn't have a $D account ($r) [0] - $h"},
			{"5.0.0", atRcpt, "552 1 Requested mail action aborted, mailbox not found"},
		},
		full: []reply{{"4.2.2", atData, "451 4.2.2 mailbox full: $r is over quota"}},
		trouble: []trouble{
			{0.004, reply{"4.7.0", atMail, "421 4.7.0 [TSS04] Messages from $i temporarily deferred due to unexpected volume or user complaints - 4.16.55.1; see https://postmaster.yahooinc.com/error-codes"}},
			{0.001, reply{"4.3.2", atData, "451 4.3.2 Internal error reading data"}},
			{0.001, reply{"5.7.9", atData, "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.yahooinc.com/error-codes"}},
		},
	}
}

func microsoft() provider {
	mx := func(label, ip string) []host {
		return []host{{label + ".olc.protection.outlook.com", ip}}
	}
	return provider{
		id: "microsoft", share: 15, trusted: true, connectMS: 150, transmitMS: 700,
		domains: []domain{
			{name: "outlook.com", weight: 4, mx: mx("outlook-com", "203.0.113.41")},
			{name: "hotmail.com", weight: 5, mx: mx("hotmail-com", "203.0.113.42")},
			{name: "live.com", weight: 1, mx: mx("live-com", "203.0.113.43")},
		},
		accept:  []reply{{dsn: "2.6.0", text: "250 2.6.0 <$t@$d> [InternalId=$n, Hostname=DB9P191MB1234.EURP191.PROD.OUTLOOK.COM] 9876 bytes in 0.112, 85.611 KB/sec Queued mail for delivery -> 250 2.1.5"}},
		unknown: []reply{{"5.5.0", atRcpt, "550 5.5.0 Requested action not taken: mailbox unavailable ($t). [$h]"}},
		full:    []reply{{"5.2.2", atData, "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded [$h]"}},
		trouble: []trouble{
			{0.004, reply{"4.7.500", atRcpt, "451 4.7.500 Server busy. Please try again later from [$i]. (AS77712021) [$h]"}},
			{0.001, reply{"4.7.650", atRcpt, "451 4.7.650 The mail server [$i] has been temporarily rate limited due to IP reputation. For e-mail delivery information, see https://postmaster.live.com (S775) [$h]"}},
			{0.0008, reply{"5.7.1", atMail, "550 5.7.1 Unfortunately, messages from [$i] weren't sent. Part of their network is on our block list (S3140). [$h]"}},
		},
	}
}

func unitedInternet() provider {
	gmx := []host{{"mx00.emig.gmx.net", "203.0.113.51"}, {"mx01.emig.gmx.net", "203.0.113.52"}}
	webde := []host{{"mx-ha02.web.de", "203.0.113.53"}, {"mx-ha03.web.de", "203.0.113.54"}}
	return provider{
		id: "united-internet", share: 6, trusted: true, connectMS: 60, transmitMS: 180,
		domains: []domain{{name: "gmx.de", weight: 4, mx: gmx}, {name: "gmx.net", weight: 2, mx: gmx}, {name: "web.de", weight: 4, mx: webde}},
		accept:  []reply{{dsn: "2.0.0", text: "250 Requested mail action okay, completed: id=$t"}},
		unknown: []reply{{"5.0.0", atRcpt, "550-Requested action not taken: mailbox unavailable 550 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=$i&c=rcpt"}},
		full:    []reply{{"5.2.2", atData, "552-Requested mail action aborted: exceeded storage allocation 552-Quota exceeded. The recipient mailbox is full. 552 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=$i&c=quot"}},
		trouble: []trouble{
			{0.003, reply{"4.0.0", atRcpt, "450-Requested mail action not taken: mailbox unavailable 450-Mail send limit exceeded. 450 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=$i&c=ratelimit"}},
			{0.0008, reply{"5.0.0", atData, "554-Transaction failed 554-Reject due to policy restrictions. 554 For explanation visit https://postmaster.gmx.net/en/error-messages?ip=$i&c=hi"}},
		},
	}
}

func small() provider {
	names := []string{
		"alder-books", "brightworks", "cedarlab", "dockside-print", "elmtree-school", "fjordline", "gasthof-linde",
		"harbour-optics", "inkwell-press", "juniper-law", "kestrel-bikes", "lakeview-clinic",
	}
	domains := make([]domain, len(names))
	for i, n := range names {
		name := n + ".example"
		domains[i] = domain{name: name, weight: 1, greylists: i%3 == 1, mx: []host{{"mail." + name, "203.0.113." + strconv.Itoa(100+i)}}}
	}
	return provider{
		id: "other", share: 9, connectMS: 70, transmitMS: 120,
		domains: domains,
		accept:  []reply{{dsn: "2.0.0", text: "250 2.0.0 Ok: queued as $t"}, {dsn: "2.0.0", text: "250 OK id=$t"}},
		unknown: []reply{
			{"5.1.1", atRcpt, "550 5.1.1 <$r>: Recipient address rejected: User unknown in virtual mailbox table"},
			{"5.0.0", atRcpt, "550 No such user here"},
		},
		full: []reply{{"4.2.2", atRcpt, "452 4.2.2 <$r>: Recipient address rejected: mailbox is over quota"}},
		trouble: []trouble{
			{0.006, reply{"4.4.1", atConnect, "Connection timed out"}},
			{0.002, reply{"4.4.1", atConnect, "Connection refused"}},
			{0.002, reply{"4.4.3", atLookup, "Host or domain name not found. Name service error for name=$D type=MX: Host not found, try again"}},
			{0.001, reply{"4.7.5", atSession, "Cannot start TLS: handshake failure"}},
			{0.001, reply{"4.4.2", atSession, "conversation with $h[$a] timed out while sending end of data -- message may be sent more than once"}},
			{0.002, reply{"4.3.2", atBanner, "421 4.3.2 $h Service not available, try again later"}},
			{0.003, reply{"5.7.0", atData, "554 5.7.0 Reject, id=$t - spam"}},
		},
	}
}

// greylisted is what the domains that greylist say at first.
func greylisted() reply {
	return reply{"4.7.1", atRcpt, "451 4.7.1 <$r>: Recipient address rejected: Greylisting in action, please come back in 00:04:00"}
}
