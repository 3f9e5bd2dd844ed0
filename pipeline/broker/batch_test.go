package broker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func encodeBatch(t testing.TB, base int64, msgs []Message, compressed bool) []byte {
	t.Helper()
	var scratch bytes.Buffer
	b, err := appendBatch(nil, msgs, 1_700_000_000_000, compressed, &scratch)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(b, uint64(base)) // not covered by the checksum: the broker sets it
	return b
}

func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		msgs := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) Message {
			m := Message{
				Key:   rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(rt, "key"),
				Value: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(rt, "value"),
			}
			for range rapid.IntRange(0, 2).Draw(rt, "headers") {
				m.Headers = append(m.Headers, Header{Key: rapid.String().Draw(rt, "name"), Value: []byte(rapid.String().Draw(rt, "v"))})
			}
			return m
		}), 1, 40).Draw(rt, "msgs")
		base := rapid.Int64Range(0, 1<<40).Draw(rt, "base")
		from := base + int64(rapid.IntRange(0, len(msgs)).Draw(rt, "from"))
		data := encodeBatch(t, base, msgs, rapid.Bool().Draw(rt, "lz4"))
		got, _, next, err := appendRecords(nil, data, from)
		if err != nil {
			rt.Fatal(err)
		}
		if want := base + int64(len(msgs)); next != max(want, from) {
			rt.Fatalf("next %d, want %d", next, want)
		}
		if want := int(base + int64(len(msgs)) - from); len(got) != want {
			rt.Fatalf("%d records from %d, want %d", len(got), from, want)
		}
		for i := range got {
			m := msgs[got[i].Offset-base]
			if got[i].Offset != from+int64(i) || !bytes.Equal(got[i].Key, m.Key) || !bytes.Equal(got[i].Value, m.Value) || len(got[i].Headers) != len(m.Headers) {
				rt.Fatalf("record %d differs", i)
			}
			for j, h := range m.Headers {
				if got[i].Headers[j].Key != h.Key || !bytes.Equal(got[i].Headers[j].Value, h.Value) {
					rt.Fatalf("header %d of record %d differs", j, i)
				}
			}
		}
		// A broker cuts its answer anywhere: a cut never invents, loses or reorders what stands before it.
		cut := rapid.IntRange(0, len(data)-1).Draw(rt, "cut")
		if got, _, next, err := appendRecords(nil, data[:cut], from); err != nil || len(got) != 0 || next != from {
			rt.Fatalf("cut at %d: %d records, next %d, err %v", cut, len(got), next, err)
		}
	})
}

func TestDamagedBatchIsRefused(t *testing.T) {
	data := encodeBatch(t, 5, []Message{{Key: []byte("k"), Value: []byte("some value")}}, false)
	for i := crcFrom; i < len(data); i++ {
		damaged := bytes.Clone(data)
		damaged[i] ^= 0x10
		if _, _, _, err := appendRecords(nil, damaged, 5); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Fatalf("byte %d flipped: err = %v, want a checksum error", i, err)
		}
	}
}

func TestControlBatchesCarryNoRecords(t *testing.T) {
	data := encodeBatch(t, 5, []Message{{Key: []byte("k"), Value: []byte("v")}}, false)
	data[22] |= attrControl
	binary.BigEndian.PutUint32(data[17:], crc32.Checksum(data[crcFrom:], castagnoli))
	got, markers, next, err := appendRecords(nil, data, 5)
	if len(markers) != 1 || markers[0] != (Range{5, 5}) {
		t.Errorf("markers %v, want offset 5", markers)
	}
	if err != nil || len(got) != 0 || next != 6 {
		t.Fatalf("got %d records, next %d, err %v; want none and 6", len(got), next, err)
	}
}

func FuzzAppendRecords(f *testing.F) {
	f.Add(encodeBatch(f, 0, []Message{{Key: []byte("a"), Value: []byte("b"), Headers: []Header{{"h", []byte("v")}}}}, false))
	f.Add(encodeBatch(f, 9, []Message{{Value: bytes.Repeat([]byte("x"), 2000)}}, true))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= batchHeaderBytes {
			binary.BigEndian.PutUint32(data[17:], crc32.Checksum(data[crcFrom:], castagnoli)) // get past the checksum
		}
		got, _, next, err := appendRecords(nil, data, 0)
		if err == nil && len(data) < 1<<20 && len(got) > len(data) && next >= 0 {
			n := 0
			for _, r := range got {
				n += len(r.Key) + len(r.Value)
			}
			if n > maxInflatedBytes {
				t.Fatalf("%d bytes out of %d", n, len(data))
			}
		}
	})
}

func BenchmarkAppendRecords(b *testing.B) {
	msgs := make([]Message, 1000)
	for i := range msgs {
		msgs[i] = Message{Key: []byte("someone@example.com"), Value: bytes.Repeat([]byte("v"), 490)}
	}
	data := encodeBatch(b, 0, msgs, false)
	var dst []Record
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		dst, _, _, _ = appendRecords(dst[:0], data, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
