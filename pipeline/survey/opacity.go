package survey

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"carom.dev/carom/schema"
)

// FeedCount says what a feed does not tell of its failures. Failures are deferred, bounced, expired and asynchronous bounces.
type FeedCount struct {
	Feed     string `json:"feed"` // its name, else that of the mail server program
	Failures int64  `json:"failures"`
	NoCode   int64  `json:"no_code"`  // without a code of the remote server, basic or enhanced; of an expiry, of its last real failure
	NoPhase  int64  `json:"no_phase"` // that do not say where in the conversation they happened; "by mail" and an expiry's "queue" are no answer
	Neither  int64  `json:"neither"`  // nothing but words
}

const (
	maxFeeds   = 64 // names may come from the input
	otherFeeds = "(others)"
)

// feeds adds up what feeds hide. The view feed_opacity in ClickHouse counts the same, but takes a phase that the words tell for told.
type feeds map[string]*FeedCount

func (f feeds) add(ev *schema.DeliveryEvent) {
	phase := ev.Phase
	switch ev.Outcome {
	case schema.Outcome_DEFERRED, schema.Outcome_BOUNCED, schema.Outcome_ASYNC_BOUNCE:
	case schema.Outcome_EXPIRED:
		if ev.Cause != nil {
			phase = ev.Cause.Phase
		}
		if phase == schema.Phase_QUEUE {
			phase = schema.Phase_PHASE_UNSPECIFIED
		}
	default:
		return
	}
	if ev.Joined {
		return
	}
	n := f.of(cmp.Or(ev.Feed, ev.Mta))
	n.Failures++
	noCode := ev.SmtpCode == 0 && ev.GetCause().GetSmtpCode() == 0 &&
		(ev.EnhancedCode == "" || ev.EnhancedSource != schema.EnhancedSource_ENHANCED_REMOTE)
	noPhase := phase == schema.Phase_PHASE_UNSPECIFIED || phase == schema.Phase_ASYNC
	if noCode {
		n.NoCode++
	}
	if noPhase {
		n.NoPhase++
	}
	if noCode && noPhase {
		n.Neither++
	}
}

func (f feeds) of(name string) *FeedCount {
	if f[name] == nil && len(f) >= maxFeeds {
		name = otherFeeds
	}
	if f[name] == nil {
		f[name] = &FeedCount{Feed: name}
	}
	return f[name]
}

// list returns the counts, the feed that hides most first.
func (f feeds) list() []FeedCount {
	out := make([]FeedCount, 0, len(f))
	for _, n := range f {
		out = append(out, *n)
	}
	slices.SortFunc(out, func(a, b FeedCount) int {
		return cmp.Or(cmp.Compare(b.Neither, a.Neither), cmp.Compare(b.NoCode+b.NoPhase, a.NoCode+a.NoPhase), cmp.Compare(a.Feed, b.Feed))
	})
	return out
}

func writeFeeds(w io.Writer, list []FeedCount) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w, "Feeds that hide: failures without a code of the server, without a phase, without both"); err != nil {
		return err
	}
	t := table{head: []string{"feed", "failures", "no code", "no phase", "neither"}, right: []int{1, 2, 3, 4}}
	for _, n := range list {
		row := []string{cmp.Or(n.Feed, "-"), fmt.Sprint(n.Failures)}
		for _, part := range []int64{n.NoCode, n.NoPhase, n.Neither} {
			row = append(row, fmt.Sprintf("%d (%s)", part, percent(share(part, n.Failures))))
		}
		t.rows = append(t.rows, row)
	}
	return t.write(w, 0)
}
