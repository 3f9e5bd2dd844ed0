package intake

import (
	"log/slog"
	"sync"
	"time"
)

// noticeEvery is how often one kind of trouble is logged.
const noticeEvery = time.Minute

// notices logs each kind of trouble once a minute and says how much of it was left out: strangers must not fill the log.
type notices struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*notice // bounded by the doors, endpoints and kinds there are
}

type notice struct {
	at   time.Time
	more int
}

func newNotices(log *slog.Logger) *notices { return &notices{log: log, last: map[string]*notice{}} }

// warn logs a message about a feed, whose args must hold no address, secret or text of a body.
func (n *notices) warn(feed, kind, message string, args ...any) {
	n.mu.Lock()
	last := n.last[feed+" "+kind]
	if last == nil {
		last = &notice{}
		n.last[feed+" "+kind] = last
	}
	now := time.Now()
	quiet := now.Sub(last.at) < noticeEvery
	more := last.more
	if quiet {
		last.more++
	} else {
		last.at, last.more = now, 0
	}
	n.mu.Unlock()
	if !quiet {
		n.log.Warn(message, append([]any{"feed", feed, "kind", kind, "unreported", more}, args...)...)
	}
}
