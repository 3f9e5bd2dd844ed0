package schema

// Headers of a record of a raw topic whose value is not log lines under a host's key: a webhook's body, a piece of an
// accounting file, a mail, or what steers the fold. All are optional: without them the site file says what a topic's
// records are, or each record tells.
const (
	// HeaderFormat says what the value is: one of FeedFormats, FormatMail or FormatLines.
	HeaderFormat = "carom-format"
	// HeaderFeed is the name of the endpoint or door by which it came: 1 to 64 of a-z, 0-9 and -.
	HeaderFeed = "carom-feed"
	// HeaderReturnPath is a mail's envelope sender, SMTP's MAIL FROM without its angle brackets: RFC 5321, section 4.1.1.2.
	// Empty is the null reverse-path, which reports have; absent, no envelope is known (a mail from a Maildir).
	HeaderReturnPath = "carom-return-path"
	// HeaderRcpt is a mail's envelope recipient, SMTP's RCPT TO without its angle brackets, as it came; several are joined
	// by newlines, which no address has. Absent, no envelope is known.
	HeaderRcpt = "carom-rcpt"
	// HeaderCut is there if the value is only the begin of a mail: its original size in bytes, in decimal digits.
	HeaderCut = "carom-cut"
	// HeaderControl says that the record steers the fold: ControlSite.
	HeaderControl = "carom-control"
)

const (
	// FormatMail is the HeaderFormat of a mail as it came: RFC 5322, with CRLF line ends by LMTP and any by Maildir.
	FormatMail = "mail"
	// FormatLines is the HeaderFormat of log lines, plain or as shippers wrap them.
	FormatLines = "lines"
	// ControlSite is the HeaderControl of a record whose value is a site file (pipeline/site).
	ControlSite = "site"
)

// FeedFormats returns the formats of structured feeds (pipeline/feed), in alphabetical order.
func FeedFormats() []string {
	return []string{"kumomta", "mailgun", "postmark", "powermta", "sendgrid", "ses", "sparkpost"}
}
