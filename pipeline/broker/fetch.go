package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// Reader reads one partition from an explicit offset. It belongs to one goroutine.
type Reader struct {
	client    *Client
	topic     string
	partition int32
	next      int64
	buf       []byte
	records   []Record
	markers   []Range
}

// NewReader returns a reader that begins at offset next.
func (c *Client) NewReader(topic string, partition int32, next int64) *Reader {
	return &Reader{client: c, topic: topic, partition: partition, next: next}
}

// Next is the offset that the next Fetch asks for.
func (r *Reader) Next() int64 { return r.next }

// Markers returns the places that transaction markers hold among what the last Fetch read: offsets without a record,
// written by a producer's transaction and not by anybody's loss.
func (r *Reader) Markers() []Range { return r.markers }

// Fetch returns the records at and after Next, in order. It waits up to wait for the first of them; none within that
// time is an empty slice and no error. end is the offset behind the last record of the partition. The records are valid
// until the next call. An offset outside the log is an *OffsetError. Errors for which Retryable is true leave the
// reader usable.
func (r *Reader) Fetch(ctx context.Context, wait time.Duration) (records []Record, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait+15*time.Second)
	defer cancel()
	req := &fetchRequest{
		Request: fetch.Request{Topics: []fetch.RequestTopic{{
			Topic: r.topic, Partitions: []fetch.RequestPartition{{Partition: r.partition}},
		}}},
		topic: r.topic, partition: r.partition, offset: r.next,
		waitMs: int32(wait.Milliseconds()), maxBytes: int32(r.client.cfg.FetchBytes),
		clientID: r.client.cfg.ClientID, buf: r.buf,
	}
	r.buf = nil // a request that is given up may still be filling it
	m, err := r.client.transport.RoundTrip(ctx, r.client.addr, req)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch %s/%d at %d: %w", r.topic, r.partition, r.next, err)
	}
	res := m.(*fetchResponse)
	r.buf = res.buf
	if res.code == int16(kafka.OffsetOutOfRange) {
		first, last, err := r.client.Offsets(ctx, r.topic, r.partition)
		if err != nil {
			return nil, 0, err
		}
		return nil, last, &OffsetError{Topic: r.topic, Partition: r.partition, Offset: r.next, First: first, Last: last}
	}
	if res.code != 0 {
		return nil, 0, fmt.Errorf("fetch %s/%d at %d: %w", r.topic, r.partition, r.next, kafka.Error(res.code))
	}
	clear(r.records)
	r.records, r.markers, r.next, err = appendRecords(r.records[:0], res.records, r.next)
	if err != nil {
		return nil, 0, fmt.Errorf("fetch %s/%d: %w", r.topic, r.partition, err)
	}
	return r.records, res.highWatermark, nil
}

// Retryable reports whether the operation that returned err may succeed when it is simply tried again.
func Retryable(err error) bool { return retryable(err) }

// fetchRequest is a Fetch request, version 5 (Kafka 1.0 and later), that reads the answer itself: kafka-go's own
// decoder neither compares checksums nor hands out raw batches. It embeds kafka-go's request for its routing to the
// partition's leader.
type fetchRequest struct {
	fetch.Request
	topic     string
	partition int32
	offset    int64
	waitMs    int32
	maxBytes  int32
	clientID  string
	buf       []byte
}

type fetchResponse struct {
	fetch.Response
	buf           []byte
	code          int16
	highWatermark int64
	records       []byte
}

const fetchVersion = 5

func (*fetchRequest) Required(map[protocol.ApiKey]int16) bool { return true }

func (q *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	be := binary.BigEndian
	b := make([]byte, 4, 128)
	b = be.AppendUint16(b, uint16(protocol.Fetch))
	b = be.AppendUint16(b, fetchVersion)
	b = be.AppendUint32(b, 1) // correlation id: one request at a time on a connection
	b = appendString(b, q.clientID)
	b = be.AppendUint32(b, 0xffffffff) // not a replica
	b = be.AppendUint32(b, uint32(q.waitMs))
	b = be.AppendUint32(b, 1) // min bytes
	b = be.AppendUint32(b, uint32(q.maxBytes))
	b = append(b, 0)          // read uncommitted: nothing here writes in transactions
	b = be.AppendUint32(b, 1) // topics
	b = appendString(b, q.topic)
	b = be.AppendUint32(b, 1) // partitions
	b = be.AppendUint32(b, uint32(q.partition))
	b = be.AppendUint64(b, uint64(q.offset))
	b = be.AppendUint64(b, ^uint64(0)) // log start offset: for replicas only
	b = be.AppendUint32(b, uint32(q.maxBytes))
	be.PutUint32(b, uint32(len(b)-4))
	if _, err := rw.Write(b); err != nil {
		return nil, err
	}

	var head [8]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := int(int32(be.Uint32(head[:]))) - 4
	if id := be.Uint32(head[4:]); id != 1 {
		return nil, fmt.Errorf("answer to request %d, want 1", id)
	}
	// A broker may exceed the asked bytes by one batch, never by more than its message.max.bytes; 256 MiB is no answer to us.
	if size < 0 || size > 256<<20 {
		return nil, fmt.Errorf("answer of %d bytes", size)
	}
	if cap(q.buf) < size {
		q.buf = make([]byte, size+size/4)
	}
	buf := q.buf[:size]
	if _, err := io.ReadFull(rw, buf); err != nil {
		return nil, err
	}
	return decodeFetch(buf, q.buf)
}

func decodeFetch(b, buf []byte) (*fetchResponse, error) {
	d := fixedDecoder{b: b}
	res := &fetchResponse{buf: buf}
	d.skip(4) // throttle time
	if topics := d.int32(); topics != 1 {
		return nil, fmt.Errorf("answer for %d topics, want 1", topics)
	}
	d.skip(int(d.int16()))
	if partitions := d.int32(); partitions != 1 {
		return nil, fmt.Errorf("answer for %d partitions, want 1", partitions)
	}
	d.skip(4)
	res.code = d.int16()
	res.highWatermark = d.int64()
	d.skip(16) // last stable offset, log start offset
	if aborted := d.int32(); aborted > 0 {
		d.skip(16 * int(aborted))
	}
	n := d.int32()
	if d.bad {
		return nil, errors.New("truncated answer")
	}
	if n > 0 {
		res.records = d.take(int(n))
	}
	if d.bad {
		return nil, errors.New("truncated answer")
	}
	return res, nil
}

type fixedDecoder struct {
	b   []byte
	bad bool
}

func (d *fixedDecoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *fixedDecoder) skip(n int) { d.take(n) }

func (d *fixedDecoder) int16() int16 {
	if b := d.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *fixedDecoder) int32() int32 {
	if b := d.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *fixedDecoder) int64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}
