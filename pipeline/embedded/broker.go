package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanerBackoff is how often retention and compaction run; kfake's own default is an hour.
const cleanerBackoff = "60000"

// Topic is one topic of the broker.
type Topic struct {
	Name       string
	Partitions int32
	// Configs are Kafka's topic settings (cleanup.policy, retention.ms, retention.bytes, ...). Retention has to be set
	// here: a broker-wide one is not applied, and without it a topic grows for ever.
	Configs map[string]string
}

// BrokerOptions say where the broker runs and what it holds.
type BrokerOptions struct {
	Dir    string  // the log; made when missing
	Port   int     // 0 picks a free one
	Topics []Topic // made when missing; those that exist get the configs
}

// Broker is a running one-node broker. Its methods are safe for concurrent use.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
	lock    *os.File
	close   sync.Once
}

// StartBroker opens the log in o.Dir and listens on 127.0.0.1. A directory that another process uses, a port that is
// taken, and a topic that exists with another number of partitions are errors.
func StartBroker(o BrokerOptions) (*Broker, error) {
	if o.Dir == "" {
		return nil, errors.New("start broker: directory is needed")
	}
	// The log stands below the lock, so that the broker's own files never meet ours.
	data := filepath.Join(o.Dir, "log")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	lock, err := openLock(o.Dir, lockName)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	cluster, err := kfake.NewCluster(
		kfake.Ports(o.Port),
		kfake.DataDir(data),
		kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": cleanerBackoff}),
	)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("start broker in %s: %w", o.Dir, err)
	}
	b := &Broker{cluster: cluster, addr: cluster.ListenAddrs()[0], lock: lock}
	for _, t := range o.Topics {
		if err := b.ensure(t); err != nil {
			b.Close()
			return nil, fmt.Errorf("start broker: topic %s: %w", t.Name, err)
		}
	}
	return b, nil
}

func (b *Broker) ensure(t Topic) error {
	if t.Partitions < 1 {
		return fmt.Errorf("%d partitions", t.Partitions)
	}
	info := b.cluster.TopicInfo(t.Name)
	if info == nil {
		return b.cluster.CreateTopic(t.Name, t.Partitions, t.Configs)
	}
	partitions := int32(0)
	for b.cluster.PartitionInfo(t.Name, partitions) != nil {
		partitions++
	}
	if partitions != t.Partitions {
		return fmt.Errorf("exists with %d partitions, not %d", partitions, t.Partitions)
	}
	changed := make(map[string]string)
	for k, v := range t.Configs {
		if have := info.Configs[k]; have == nil || *have != v {
			changed[k] = v
		}
	}
	if len(changed) == 0 {
		return nil
	}
	return b.alter(t.Name, changed)
}

// alter sets topic configs through the protocol, the only way that the cluster offers.
func (b *Broker) alter(topic string, configs map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return fmt.Errorf("alter configs: %w", err)
	}
	defer client.Close()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	for k, v := range configs {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = k, kmsg.IncrementalAlterConfigOpSet, kmsg.StringPtr(v)
		res.Configs = append(res.Configs, c)
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("alter configs: %w", err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return fmt.Errorf("alter configs: %w", err)
		}
	}
	return nil
}

// Addr is host:port for clients.
func (b *Broker) Addr() string { return b.addr }

// Close ends the broker and writes what it holds to disk. Closing twice is harmless.
func (b *Broker) Close() {
	b.close.Do(func() {
		b.cluster.Close()
		b.lock.Close()
	})
}
