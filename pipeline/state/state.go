// Package state holds the few encodings that snapshots are made of: varints, strings, chunks, floats. A snapshot is read
// by the program that wrote it, under a checksum, so the format is bare; what remains to guard against is a file of
// another version, and memory: a length is never believed beyond the bytes that are there.
package state

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrShort says that a state ends before all of it is read.
var ErrShort = errors.New("state ends early")

// AppendString appends the length of s and s. It reads back with String, or with Bytes.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendBytes appends the length of chunk and chunk. It reads back with Bytes, or with String.
func AppendBytes(b, chunk []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(chunk)))
	return append(b, chunk...)
}

// AppendFloat appends the bits of f.
func AppendFloat(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

// Reader takes a state apart. After the first fault every read gives a zero value and Err tells it.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a reader of b. What it returns as bytes are views into b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Err returns ErrShort if something was missing.
func (r *Reader) Err() error { return r.err }

// Len returns how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

// Rest returns the bytes that are left.
func (r *Reader) Rest() []byte { return r.b }

// Fail makes the reader faulty, for a value that cannot be.
func (r *Reader) Fail() { r.err, r.b = ErrShort, nil }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Fail()
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

// Bool reads a byte as a truth value.
func (r *Reader) Bool() bool { return r.Byte() != 0 }

// Varint reads what binary.AppendVarint wrote.
func (r *Reader) Varint() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

// Uvarint reads what binary.AppendUvarint wrote.
func (r *Reader) Uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return x
}

// Count reads the number of items that follow, each of at least size bytes: a false number allocates nothing.
func (r *Reader) Count(size int) int {
	n := r.Uvarint()
	if n > uint64(len(r.b)/size) {
		r.Fail()
		return 0
	}
	return int(n)
}

// Bytes reads a chunk; it is a view.
func (r *Reader) Bytes() []byte {
	n := r.Count(1)
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

// String reads a string of its own.
func (r *Reader) String() string { return string(r.Bytes()) }

// Uint64 reads what binary.BigEndian.AppendUint64 wrote.
func (r *Reader) Uint64() uint64 {
	if len(r.b) < 8 {
		r.Fail()
		return 0
	}
	x := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return x
}

// Float reads what AppendFloat wrote.
func (r *Reader) Float() float64 {
	if len(r.b) < 8 {
		r.Fail()
		return 0
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return f
}
