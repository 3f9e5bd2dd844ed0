package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// Client holds the connections to one cluster. It is safe for concurrent use.
type Client struct {
	cfg       Config
	transport *kafka.Transport
	dialer    *kafka.Dialer
	addr      net.Addr
	admin     *kafka.Client
}

// Open prepares a client; it does not connect yet.
func Open(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	d, err := cfg.dialer()
	if err != nil {
		return nil, err
	}
	addr := kafka.TCP(cfg.addrs()...)
	return &Client{
		cfg: cfg, transport: t, dialer: d, addr: addr,
		admin: &kafka.Client{Addr: addr, Transport: t, Timeout: 15 * time.Second},
	}, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Topic is what a topic has to look like.
type Topic struct {
	Name       string
	Partitions int               // exact; an existing topic with another number is an error
	Replicas   int               // when it is made; 0 leaves it to the broker
	Config     map[string]string // when it is made: cleanup.policy, retention.ms, ...
}

// EnsureTopics makes the topics that do not exist and checks the partition count of those that do.
func (c *Client) EnsureTopics(ctx context.Context, topics []Topic) error {
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		k := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replicas}
		if t.Replicas == 0 {
			k.ReplicationFactor = -1
		}
		for _, name := range sortedKeys(t.Config) {
			k.ConfigEntries = append(k.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: t.Config[name]})
		}
		req.Topics = append(req.Topics, k)
	}
	err := retry(ctx, func() error {
		res, err := c.admin.CreateTopics(ctx, req)
		if err != nil {
			return fmt.Errorf("create topics: %w", err)
		}
		for topic, err := range res.Errors {
			if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
				return fmt.Errorf("create topic %s: %w", topic, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range topics {
		n, err := c.Partitions(ctx, t.Name)
		if err != nil {
			return err
		}
		if n != t.Partitions {
			return fmt.Errorf("topic %s has %d partitions, want %d: the count is fixed for an epoch of the log", t.Name, n, t.Partitions)
		}
	}
	return nil
}

// Partitions returns the number of partitions of a topic. It asks a broker, not a cache.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	n := 0
	err := retry(ctx, func() error {
		conn, err := c.dial(ctx)
		if err != nil {
			return fmt.Errorf("metadata of %s: %w", topic, err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
			return err
		}
		ps, err := conn.ReadPartitions(topic)
		if err != nil {
			return fmt.Errorf("metadata of %s: %w", topic, err)
		}
		n = len(ps)
		return nil
	})
	return n, err
}

func (c *Client) dial(ctx context.Context) (*kafka.Conn, error) {
	var last error
	for _, a := range c.cfg.addrs() {
		conn, err := c.dialer.DialContext(ctx, "tcp", a)
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

// Offsets returns the first offset of a partition and the one behind its last record.
func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (first, last int64, err error) {
	err = retry(ctx, func() error {
		res, err := c.admin.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
			topic: {kafka.FirstOffsetOf(int(partition)), kafka.LastOffsetOf(int(partition))},
		}})
		if err != nil {
			return fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
		}
		for _, p := range res.Topics[topic] {
			if p.Partition == int(partition) {
				if p.Error != nil {
					return fmt.Errorf("list offsets of %s/%d: %w", topic, partition, p.Error)
				}
				first, last = p.FirstOffset, p.LastOffset
				if first < 0 || last < 0 { // a dead pooled connection was seen to answer so
					return fmt.Errorf("list offsets of %s/%d: %w", topic, partition, kafka.LeaderNotAvailable)
				}
				return nil
			}
		}
		return fmt.Errorf("list offsets of %s/%d: %w", topic, partition, kafka.UnknownTopicOrPartition)
	})
	return first, last, err
}

// Committed returns what a group has committed for each of the topic's first n partitions, -1 where nothing.
func (c *Client) Committed(ctx context.Context, group, topic string, n int) ([]int64, error) {
	ids := make([]int, n)
	out := make([]int64, n)
	for i := range ids {
		ids[i], out[i] = i, -1
	}
	err := retry(ctx, func() error {
		res, err := c.admin.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: ids}})
		if err == nil {
			err = res.Error
		}
		if err != nil {
			return fmt.Errorf("offsets of group %s: %w", group, err)
		}
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return fmt.Errorf("offsets of group %s, partition %d: %w", group, p.Partition, p.Error)
			}
			out[p.Partition] = p.CommittedOffset
		}
		return nil
	})
	return out, err
}

// retry runs f until it succeeds, fails for good, or ctx ends; then f's last error is returned.
func retry(ctx context.Context, f func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 3*time.Second) {
		err := f()
		if err == nil || !retryable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up: %w)", err, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
