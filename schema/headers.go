package schema

// Kafka headers of records on raw topics. All are optional: what a record is can be told from its value and the site file.
const (
	HeaderFormat     = "carom-format"      // what the value is: one of FeedFormats, "mail", "lines"
	HeaderFeed       = "carom-feed"        // name of the feed or door by which it came
	HeaderReturnPath = "carom-return-path" // of a mail: its own envelope sender (SMTP MAIL FROM), usually empty
	HeaderRecipient  = "carom-rcpt"        // of a mail: the address to which it came (SMTP RCPT TO); several joined by newlines
	HeaderCut        = "carom-cut"         // of a mail that was cut: its whole size in bytes
	HeaderControl    = "carom-control"     // the record steers the fold: ControlSite
)

// ControlSite is the HeaderControl of a record whose value is a site file (pipeline/site).
const ControlSite = "site"

// FeedFormats returns the formats of structured feeds (pipeline/feed), in alphabetical order.
func FeedFormats() []string {
	return []string{"kumomta", "mailgun", "postmark", "powermta", "sendgrid", "ses", "sparkpost"}
}
