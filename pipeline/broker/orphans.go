package broker

import (
	"context"
	"log/slog"
	"time"
)

// orphans looks for partitions that nobody reads: records wait in them and the group's offset does not move. A rebalance
// can leave one so (segmentio/kafka-go issues 1276 and 1308; a coordinator that keeps a member whose connection died while
// it waited to join), and without a new rebalance nobody ever takes it. The remedy is to join again. A partition whose
// worker waits for something else, a warehouse that is down, looks the same from here, so each attempt waits longer.
type orphans struct {
	client *Client
	cfg    GroupConfig
	log    *slog.Logger
	rejoin chan struct{}
}

const (
	orphanChecks  = 3 // looks without progress before joining again
	orphanMaxWait = 20 * time.Minute
)

func (o *orphans) watch(ctx context.Context) {
	every := o.client.cfg.SessionTimeout
	n, err := o.client.Partitions(ctx, o.cfg.Topic)
	if err != nil {
		return // ctx has ended: everything else is tried again
	}
	still := make([]int, n) // looks in a row without progress
	before := make([]int64, n)
	needed := orphanChecks
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		committed, ends, err := o.look(ctx, n)
		if err != nil {
			continue // the next look tells
		}
		worst := 0
		for p := range n {
			if committed[p] != before[p] || max(0, committed[p]) >= ends[p] {
				still[p] = 0
			} else {
				still[p]++
			}
			before[p] = committed[p]
			worst = max(worst, still[p])
		}
		if worst == 0 {
			needed = orphanChecks
		}
		if worst < needed {
			continue
		}
		o.log.Warn("a partition with records waiting makes no progress; joining the group again", "looks", worst)
		clear(still)
		needed = min(2*needed, max(orphanChecks, int(orphanMaxWait/every)))
		select {
		case o.rejoin <- struct{}{}:
		default:
		}
	}
}

func (o *orphans) look(ctx context.Context, n int) (committed, ends []int64, err error) {
	if committed, err = o.client.Committed(ctx, o.cfg.ID, o.cfg.Topic, n); err != nil {
		return nil, nil, err
	}
	ends = make([]int64, n)
	for p := range n {
		if _, ends[p], err = o.client.Offsets(ctx, o.cfg.Topic, int32(p)); err != nil {
			return nil, nil, err
		}
	}
	return committed, ends, nil
}
