package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Message is one message to write. Partition is chosen by the writer, usually with PartitionOf.
type Message struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte
	Headers   []Header
}

// PartitionOf spreads keys over n partitions by xxhash64.
func PartitionOf(key []byte, n int) int32 {
	return int32(xxhash.Sum64(key) % uint64(n))
}

// Produce writes msgs and returns when every in-sync replica has every one of them. Messages of one partition keep
// their order; different partitions are written side by side. A batch whose acknowledgement is lost is sent again
// until ctx ends, so a batch may appear twice, but a message never appears before the one that stands before it in its
// partition has appeared. After an error any prefix of each partition's messages may have been written.
func (c *Client) Produce(ctx context.Context, msgs []Message) error {
	if len(msgs) == 0 {
		return nil
	}
	type target struct {
		topic     string
		partition int32
	}
	groups := make(map[target][]Message)
	var order []target
	for _, m := range msgs {
		t := target{m.Topic, m.Partition}
		if _, ok := groups[t]; !ok {
			order = append(order, t)
		}
		groups[t] = append(groups[t], m)
	}
	if len(order) == 1 {
		return c.producePartition(ctx, groups[order[0]])
	}
	errs := make([]error, len(order))
	var wg sync.WaitGroup
	for i, t := range order {
		wg.Go(func() { errs[i] = c.producePartition(ctx, groups[t]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

var encodeBuffers = sync.Pool{New: func() any { return &encodeBuffer{} }}

type encodeBuffer struct {
	batch   []byte
	scratch bytes.Buffer
}

func (c *Client) producePartition(ctx context.Context, msgs []Message) error {
	for len(msgs) > 0 {
		n, size := 0, 0
		for n < len(msgs) {
			s := recordBodyBytes(n, &msgs[n]) + 5
			if n > 0 && size+s > c.cfg.MaxBatchBytes {
				break
			}
			size += s
			n++
		}
		if err := c.produceBatch(ctx, msgs[:n], size); err != nil {
			return err
		}
		msgs = msgs[n:]
	}
	return nil
}

func (c *Client) produceBatch(ctx context.Context, msgs []Message, size int) error {
	topic, partition := msgs[0].Topic, msgs[0].Partition
	e := encodeBuffers.Get().(*encodeBuffer)
	err := retry(ctx, func() error {
		var err error
		// The 4-byte size of the record set stands in front of the batch.
		e.batch, err = appendBatch(append(e.batch[:0], 0, 0, 0, 0), msgs, time.Now().UnixMilli(), size > 1024, &e.scratch)
		if err != nil {
			return err
		}
		n := len(e.batch) - 4
		e.batch[0], e.batch[1], e.batch[2], e.batch[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		attempt, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		res, err := c.admin.RawProduce(attempt, &kafka.RawProduceRequest{
			Topic: topic, Partition: int(partition), RequiredAcks: kafka.RequireAll,
			RawRecords: protocol.RawRecordSet{Reader: bytes.NewReader(e.batch)},
		})
		if err == nil {
			err = res.Error // kafka-go reports a refused batch here, beside a nil error
		}
		if err != nil {
			if ctx.Err() == nil && attempt.Err() != nil {
				e = &encodeBuffer{} // the abandoned request may still read the old one
			}
			return fmt.Errorf("produce %d messages to %s/%d: %w", len(msgs), topic, partition, err)
		}
		return nil
	})
	if errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) {
		if len(msgs) == 1 {
			return &TooLargeError{Topic: topic, Partition: partition, Bytes: size}
		}
		half := len(msgs) / 2
		if err := c.produceBatch(ctx, msgs[:half], size/2); err != nil {
			return err
		}
		return c.produceBatch(ctx, msgs[half:], size/2)
	}
	if err == nil {
		encodeBuffers.Put(e)
	}
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
