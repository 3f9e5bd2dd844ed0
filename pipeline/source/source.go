// Package source turns what comes in - log lines, the records of feeds, bounce mails - into delivery events, whatever the
// mixture: each line, record or mail tells by itself what it is, unless its carrier or the site file says so.
//
// Reader is the fold of one raw partition, and of a file on the command line: pipeline/mtalog's queue table, the header
// rows of accounting files, and the site are its state, which can be written out after any item and read back. It is a
// pure function of what it was given: no clock, no randomness, no I/O.
//
// It promises that every item - a line, a feed's record, a mail - is told once as an event, as known, or as unparsed with
// a reason from a closed set; that whatever is hostile or broken costs only itself; and that memory is bounded. It does
// not remove repeats, and does not know positions in Kafka.
package source

import (
	"errors"
	"fmt"
	"time"

	"carom.dev/carom/pipeline/dsn"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/mtalog"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

// The formats beside those of mtalog and feed.
const (
	FormatMail  = schema.FormatMail  // one raw mail
	FormatLines = schema.FormatLines // log lines, each of which tells
)

// Formats returns the names of all formats, "auto" first: the MTAs', the feeds', "mail". The slice is the caller's.
func Formats() []string {
	return append(append(mtalog.Formats(), feed.Formats()...), FormatMail)
}

// Config of a Reader.
type Config struct {
	Lines  mtalog.Config
	Mail   dsn.Limits
	Keys   site.Keys         // what Site.KeyNames names
	Files  feed.FilesConfig  // header rows of accounting files
	Memory feed.MemoryConfig // last failures behind KumoMTA's expiries
}

// DefaultConfig returns the bounds of the parts.
func DefaultConfig() Config {
	return Config{Lines: mtalog.DefaultConfig(), Mail: dsn.DefaultLimits(), Files: feed.DefaultFilesConfig(), Memory: feed.DefaultMemoryConfig()}
}

// Validate names the first field that cannot work.
func (c Config) Validate() error {
	return errors.Join(c.Lines.Validate(), c.Files.Validate(), c.Memory.Validate())
}

// Fate tells what became of an item.
type Fate struct {
	Kind   mtalog.Kind
	Format string // "postfix", "sendgrid", "mail"; empty where nobody can tell
	Reason string // refines Kind; of a closed set for each format
	Daemon string // of Postfix, where the line says it
	Host   string // that wrote it; empty where it is not known
	At     time.Time
}

// Emit is what takes events. An event and its parts belong to it until it returns and are then used again; strings stay
// valid.
type Emit = func(*schema.DeliveryEvent)

// Reader reads items. It is not safe for concurrent use; make one with New.
type Reader struct {
	cfg   Config
	site  *site.Site
	lines *mtalog.Correlator
	feeds *feed.Parser
	files *feed.Files
	kumo  *feed.Memory

	// Of the feed's record at hand.
	emit Emit
	fate Fate
	each func(Fate, int, []byte)
	take feed.Handler

	ev  schema.DeliveryEvent // of mails
	raw schema.RawPosition
}

// New returns a Reader with an empty state. It panics if cfg does not pass Validate.
func New(cfg Config) *Reader {
	if err := cfg.Validate(); err != nil {
		panic("source: " + err.Error())
	}
	r := &Reader{cfg: cfg, lines: mtalog.NewCorrelator(cfg.Lines), feeds: feed.New(), kumo: feed.NewMemory(cfg.Memory)}
	r.files = feed.NewFiles(r.feeds, cfg.Files)
	r.take = feed.Handler{Event: r.feedEvent, Fault: r.feedFault}
	return r
}

// Site returns the site in force, nil before the first.
func (r *Reader) Site() *site.Site { return r.site }

// SetSite puts a site into force, from the next item on.
func (r *Reader) SetSite(s *site.Site) {
	r.site = s
	r.lines.SetSite(s)
	r.feeds.SetSite(s)
}

// MissingKeys returns an error if the site in force names keys that Config.Keys lacks. Mail must not be read then: signed
// bounces would silently be taken for forged ones.
func (r *Reader) MissingKeys() error {
	for _, name := range r.site.KeyNames() {
		if len(r.cfg.Keys[name]) < site.MinKeyBytes {
			return fmt.Errorf("the site file, revision %d, names the key %q, which is not there or has less than %d bytes", r.site.Revision(), name, site.MinKeyBytes)
		}
	}
	return nil
}

// Stats returns the counters of the queue table.
func (r *Reader) Stats() mtalog.Stats { return r.lines.Stats() }
