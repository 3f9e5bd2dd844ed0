package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// GroupConfig names a membership.
type GroupConfig struct {
	ID     string // consumer group id
	Topic  string
	Member string // stable name of this replica; decides which partitions come back to it
	Logger *slog.Logger
	Joined func(partitions int) // told of every new generation; may be nil
}

// Assignment is one partition handed to this member for one generation of the group.
type Assignment struct {
	Partition int32
	Committed int64 // the group's offset, -1 if there is none; a hint, never the truth
	// Commit stores the hint. It fails when the generation is over, which is harmless.
	Commit func(next int64) error
}

// noGenerationFor is how long membership may be missing before Run gives up: a member that is caught in a join
// livelock is healed by a new process only.
const noGenerationFor = 2 * time.Minute

// Run joins the group and calls work for every partition that it is given, each in a goroutine of its own, until ctx
// ends. work has to return soon after its context is done. When it returns earlier it is called again after a pause:
// a worker's failure must not end the generation for its neighbours.
//
// A member that was silent for longer than the session timeout may still be working on a partition while another
// member has it already. Nothing here prevents that; writers have to be such that it does no harm.
func (c *Client) Run(ctx context.Context, cfg GroupConfig, work func(context.Context, Assignment) error) error {
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: cfg.ID, Topics: []string{cfg.Topic}, Brokers: c.cfg.addrs(), Dialer: c.dialer,
		GroupBalancers:   []kafka.GroupBalancer{rendezvous{member: cfg.Member}},
		SessionTimeout:   c.cfg.SessionTimeout,
		RebalanceTimeout: c.cfg.RebalanceTimeout,
		// Generous against the rebalance timeout: a client that gives up a join and comes back as a new member restarts
		// the coordinator's timer, and several of them can keep a group from ever forming.
		Timeout:           2*c.cfg.RebalanceTimeout + 5*time.Second,
		HeartbeatInterval: min(3*time.Second, c.cfg.SessionTimeout/4),
		JoinGroupBackoff:  time.Second,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("consumer group %s: %w", cfg.ID, err)
	}
	log := cfg.Logger.With("group", cfg.ID, "topic", cfg.Topic)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	defer closeGroup(group, cfg)
	defer workers.Wait() // they finish their batch before the membership ends

	var generations atomic.Int32 // live ones: 0 or 1
	workers.Go(func() { watchMembership(ctx, cancel, &generations) })
	orphans := &orphans{client: c, cfg: cfg, log: log, rejoin: make(chan struct{}, 1)}
	workers.Go(func() { orphans.watch(ctx) })
	for {
		gen, err := group.Next(ctx)
		switch {
		case errors.Is(context.Cause(ctx), errNoGeneration):
			return fmt.Errorf("consumer group %s on %s: %w", cfg.ID, cfg.Topic, errNoGeneration)
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafka.ErrGroupClosed), refused(err):
			return fmt.Errorf("consumer group %s: %w", cfg.ID, err)
		case err != nil:
			log.Warn("joining the group", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		assigned := gen.Assignments[cfg.Topic]
		log.Info("partitions assigned", "generation", gen.ID, "partitions", partitionIDs(assigned))
		if cfg.Joined != nil {
			cfg.Joined(len(assigned))
		}
		generations.Add(1)
		workers.Add(1)
		gen.Start(func(genCtx context.Context) {
			defer workers.Done()
			defer generations.Add(-1)
			select {
			case <-genCtx.Done():
			case <-ctx.Done():
			case <-orphans.rejoin: // returning ends the generation
			}
		})
		for _, a := range assigned {
			committed := a.Offset
			if committed < 0 {
				committed = -1
			}
			as := Assignment{
				Partition: int32(a.ID), Committed: committed,
				Commit: func(offset int64) error {
					return gen.CommitOffsets(map[string]map[int]int64{cfg.Topic: {a.ID: offset}})
				},
			}
			workers.Add(1)
			gen.Start(func(genCtx context.Context) {
				defer workers.Done()
				supervise(ctx, genCtx, as, work, log)
			})
		}
	}
}

// refused says that the broker will give the same answer to every attempt: the settings or the rights are wrong.
func refused(err error) bool {
	for _, e := range []kafka.Error{
		kafka.InvalidSessionTimeout, // outside the broker's group.min.session.timeout.ms and max
		kafka.InconsistentGroupProtocol, kafka.InvalidGroupId,
		kafka.GroupAuthorizationFailed, kafka.TopicAuthorizationFailed, kafka.SASLAuthenticationFailed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

var errNoGeneration = fmt.Errorf("no membership for %s", noGenerationFor)

// watchMembership cancels ctx when no generation has been alive for too long.
func watchMembership(ctx context.Context, cancel context.CancelCauseFunc, generations *atomic.Int32) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if generations.Load() > 0 {
				last = time.Now()
			} else if time.Since(last) > noGenerationFor {
				cancel(errNoGeneration)
				return
			}
		}
	}
}

// supervise keeps one partition's worker running until its generation or the process ends.
func supervise(ctx, genCtx context.Context, a Assignment, work func(context.Context, Assignment) error, log *slog.Logger) {
	workCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(genCtx, cancel)()
	log = log.With("partition", a.Partition)
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		started := time.Now()
		err := work(workCtx, a)
		if workCtx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				log.Warn("partition worker stopped", "err", err)
			}
			return
		}
		log.Error("partition worker failed; it starts again", "err", err, "pause", pause)
		if time.Since(started) > time.Minute {
			pause = time.Second
		}
		select {
		case <-workCtx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func partitionIDs(as []kafka.PartitionAssignment) []int {
	out := make([]int, len(as))
	for i, a := range as {
		out[i] = a.ID
	}
	return out
}

// closeGroup leaves the group, but does not wait for ever: Close was seen to hang during a rebalance
// (segmentio/kafka-go issue 1248), and the session timeout ends the membership anyway.
func closeGroup(g *kafka.ConsumerGroup, cfg GroupConfig) {
	done := make(chan error, 1)
	go func() { done <- g.Close() }()
	select {
	case err := <-done:
		if err != nil {
			cfg.Logger.Warn("leaving the group", "group", cfg.ID, "err", err)
		}
	case <-time.After(5 * time.Second):
		cfg.Logger.Warn("leaving the group took too long; its session times out", "group", cfg.ID)
	}
}
