package intake

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/schema"
)

// sink writes records to the raw topic. It is safe for concurrent use.
type sink struct {
	client     *broker.Client
	topic      string
	partitions int
	timeout    time.Duration
	meters     *meters
	acked      func() // called between the brokers' acknowledgement and the door's own; nil but in tests
}

// record is what a door writes.
type record struct {
	key     []byte
	value   []byte
	headers []broker.Header
}

// write returns nil when every in-sync replica has every record. They go to one partition, in order, if they have one key.
// On an error any number of them, the first ones of each partition, may have been written: the door does not acknowledge,
// and its client sends all of them again.
func (s *sink) write(ctx context.Context, door, feed string, records ...record) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	msgs := make([]broker.Message, len(records))
	size := 0
	for i, r := range records {
		msgs[i] = broker.Message{
			Topic: s.topic, Partition: broker.PartitionOf(r.key, s.partitions), Key: r.key, Value: r.value, Headers: r.headers,
		}
		size += len(r.value)
	}
	begin := time.Now()
	if err := s.client.Produce(ctx, msgs); err != nil {
		return err
	}
	s.meters.written(door, feed, len(records), size, time.Since(begin))
	if s.acked != nil {
		s.acked()
	}
	return nil
}

// feedRecords returns the records of a body, which has been split if it had to be.
func feedRecords(e *Endpoint, parts [][]byte) []record {
	headers := []broker.Header{{Key: schema.HeaderFormat, Value: []byte(e.Format)}, {Key: schema.HeaderFeed, Value: []byte(e.Name)}}
	records := make([]record, len(parts))
	for i, p := range parts {
		records[i] = record{key: []byte(e.Name), value: p, headers: headers}
	}
	return records
}

// envelope is what SMTP says about a mail besides the mail.
type envelope struct {
	from string
	to   []string
}

// mailRecord returns the record of a mail, of which text is the begin and size the whole. Without an envelope, none is known.
func mailRecord(feed string, text []byte, size int64, env *envelope) record {
	headers := []broker.Header{{Key: schema.HeaderFormat, Value: []byte(schema.FormatMail)}, {Key: schema.HeaderFeed, Value: []byte(feed)}}
	if env != nil {
		headers = append(headers,
			broker.Header{Key: schema.HeaderReturnPath, Value: []byte(env.from)},
			broker.Header{Key: schema.HeaderRcpt, Value: []byte(strings.Join(env.to, "\n"))})
	}
	if size > int64(len(text)) {
		headers = append(headers, broker.Header{Key: schema.HeaderCut, Value: strconv.AppendInt(nil, size, 10)})
	}
	sum := binary.BigEndian.AppendUint64(nil, xxhash.Sum64(text))
	return record{key: hex.AppendEncode(nil, sum), value: text, headers: headers}
}
