package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/segmentio/kafka-go/compress"
)

// Header is a record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record read from a partition. Key, Value and Headers are views into the fetched bytes: they are valid
// until the next Fetch of the same Reader.
type Record struct {
	Offset  int64
	TimeMs  int64 // the broker's or producer's time of writing, Unix milliseconds; never the event's time
	Key     []byte
	Value   []byte
	Headers []Header
}

// Header returns the value of the first header with this key, nil if there is none.
func (r *Record) Header(key string) []byte {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value
		}
	}
	return nil
}

// The record batch format, version 2: https://kafka.apache.org/documentation/#recordbatch
const (
	batchHeaderBytes  = 61
	crcFrom           = 21 // the checksum covers everything after itself
	attrCompression   = 0x07
	attrLogAppendTime = 0x08
	attrControl       = 0x20
	maxInflatedBytes  = 64 << 20 // bound on one decompressed batch
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBatch appends a record batch of msgs to dst. Compression is lz4 when compressed is set.
func appendBatch(dst []byte, msgs []Message, nowMs int64, compressed bool, scratch *bytes.Buffer) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeaderBytes)...)
	body := len(dst)
	for i := range msgs {
		dst = appendRecord(dst, i, &msgs[i])
	}
	attributes := int16(0)
	if compressed {
		scratch.Reset()
		w := compress.Lz4.Codec().NewWriter(scratch)
		if _, err := w.Write(dst[body:]); err != nil {
			return nil, fmt.Errorf("compress batch: %w", err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("compress batch: %w", err)
		}
		if scratch.Len() < len(dst)-body {
			dst = append(dst[:body], scratch.Bytes()...)
			attributes = int16(compress.Lz4)
		}
	}
	b := dst[start:]
	be := binary.BigEndian
	be.PutUint64(b[0:], 0)                    // base offset: the broker sets it
	be.PutUint32(b[8:], uint32(len(b)-12))    // length after this field
	be.PutUint32(b[12:], 0xffffffff)          // leader epoch: unknown
	b[16] = 2                                 // magic
	be.PutUint16(b[21:], uint16(attributes))  //
	be.PutUint32(b[23:], uint32(len(msgs)-1)) // last offset delta
	be.PutUint64(b[27:], uint64(nowMs))       // first timestamp
	be.PutUint64(b[35:], uint64(nowMs))       // last timestamp
	be.PutUint64(b[43:], ^uint64(0))          // no producer id
	be.PutUint16(b[51:], 0xffff)              // no producer epoch
	be.PutUint32(b[53:], 0xffffffff)          // no sequence
	be.PutUint32(b[57:], uint32(len(msgs)))   //
	be.PutUint32(b[17:], crc32.Checksum(b[crcFrom:], castagnoli))
	return dst, nil
}

func varintLen(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}

func recordBodyBytes(i int, m *Message) int {
	n := 1 + 1 + varintLen(int64(i)) // attributes, timestamp delta 0, offset delta
	n += bytesLen(m.Key) + bytesLen(m.Value) + varintLen(int64(len(m.Headers)))
	for _, h := range m.Headers {
		n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
	}
	return n
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func appendRecord(dst []byte, i int, m *Message) []byte {
	dst = binary.AppendVarint(dst, int64(recordBodyBytes(i, m)))
	dst = append(dst, 0, 0) // attributes, timestamp delta
	dst = binary.AppendVarint(dst, int64(i))
	dst = appendBytes(dst, m.Key)
	dst = appendBytes(dst, m.Value)
	dst = binary.AppendVarint(dst, int64(len(m.Headers)))
	for _, h := range m.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	dst = binary.AppendVarint(dst, int64(len(b)))
	return append(dst, b...)
}

// errShort is an incomplete batch at the end of a fetch response: brokers cut there, the rest comes with the next fetch.
var errShort = errors.New("incomplete record batch")

// appendRecords decodes the batches of one fetch response and appends the records at or after from. next is the offset
// to fetch next: behind the last whole batch, which may hold no record of ours (control batches, compaction).
//
// markers are the offsets of transaction markers: they hold places in the log and are no records.
func appendRecords(dst []Record, data []byte, from int64) (records []Record, markers []Range, next int64, err error) {
	next = from
	for len(data) > 0 {
		var rest []byte
		var batch Range
		var control bool
		dst, rest, batch, control, err = appendOneBatch(dst, data, from)
		if errors.Is(err, errShort) {
			return dst, markers, next, nil
		}
		if err != nil {
			return dst, markers, next, err
		}
		if control {
			markers = append(markers, batch)
		}
		data = rest
		next = max(next, batch.Last+1)
	}
	return dst, markers, next, nil
}

// Range is a range of offsets, both ends included.
type Range struct{ First, Last int64 }

func appendOneBatch(dst []Record, data []byte, from int64) (records []Record, rest []byte, batch Range, control bool, err error) {
	be := binary.BigEndian
	if len(data) < 17 {
		return dst, nil, Range{}, false, errShort
	}
	size := int(int32(be.Uint32(data[8:])))
	if size < 0 {
		return dst, nil, Range{}, false, fmt.Errorf("record batch with length %d", size)
	}
	if len(data) < 12+size {
		return dst, nil, Range{}, false, errShort
	}
	base := int64(be.Uint64(data))
	b := data[:12+size]
	if b[16] != 2 {
		return dst, nil, Range{}, false, fmt.Errorf("record batch at offset %d has format version %d, only 2 (Kafka 0.11 and later) is read", base, b[16])
	}
	if len(b) < batchHeaderBytes {
		return dst, nil, Range{}, false, fmt.Errorf("record batch at offset %d of %d bytes is too short", base, len(b))
	}
	if got, want := crc32.Checksum(b[crcFrom:], castagnoli), be.Uint32(b[17:]); got != want {
		return dst, nil, Range{}, false, fmt.Errorf("record batch at offset %d: checksum %08x, want %08x", base, got, want)
	}
	attributes := int(be.Uint16(b[21:]))
	last := base + int64(int32(be.Uint32(b[23:])))
	if attributes&attrControl != 0 || last < from {
		return dst, data[12+size:], Range{base, last}, attributes&attrControl != 0, nil
	}
	body := b[batchHeaderBytes:]
	if c := attributes & attrCompression; c != 0 {
		if body, err = inflate(compress.Compression(c), body); err != nil {
			return dst, nil, Range{}, false, fmt.Errorf("record batch at offset %d: %w", base, err)
		}
	}
	first, maxTime := int64(be.Uint64(b[27:])), int64(be.Uint64(b[35:]))
	count := int(int32(be.Uint32(b[57:])))
	d := decoder{b: body}
	for i := 0; i < count; i++ {
		r, err := d.record(base, first)
		if err != nil {
			return dst, nil, Range{}, false, fmt.Errorf("record %d of the batch at offset %d: %w", i, base, err)
		}
		if attributes&attrLogAppendTime != 0 {
			r.TimeMs = maxTime
		}
		if r.Offset >= from {
			dst = append(dst, r)
		}
	}
	return dst, data[12+size:], Range{base, last}, false, nil
}

func inflate(c compress.Compression, body []byte) ([]byte, error) {
	codec := c.Codec()
	if codec == nil {
		return nil, fmt.Errorf("unknown compression %d", c)
	}
	r := codec.NewReader(bytes.NewReader(body))
	defer r.Close()
	buf := bytes.NewBuffer(make([]byte, 0, 4*len(body)))
	n, err := io.Copy(buf, io.LimitReader(r, maxInflatedBytes+1))
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", c, err)
	}
	if n > maxInflatedBytes {
		return nil, fmt.Errorf("decompresses to more than %d bytes", maxInflatedBytes)
	}
	return buf.Bytes(), nil
}

var errRecord = errors.New("malformed record")

type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.varint()
	if n < 0 {
		return nil
	}
	if n > int64(len(d.b)) {
		d.bad, d.b = true, nil
		return nil
	}
	out := d.b[:n:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) record(base, first int64) (Record, error) {
	size := d.varint()
	if d.bad || size < 1 || size > int64(len(d.b)) {
		return Record{}, errRecord
	}
	in := decoder{b: d.b[1:size]} // the attributes byte carries nothing
	d.b = d.b[size:]
	var r Record
	r.TimeMs = first + in.varint()
	r.Offset = base + in.varint()
	r.Key = in.bytes()
	r.Value = in.bytes()
	headers := in.varint()
	if in.bad || headers < 0 || headers > int64(len(in.b)) {
		return Record{}, errRecord
	}
	if headers > 0 {
		r.Headers = make([]Header, headers)
		for i := range r.Headers {
			r.Headers[i] = Header{Key: string(in.bytes()), Value: in.bytes()}
		}
	}
	if in.bad {
		return Record{}, errRecord
	}
	return r, nil
}
