package feed

import (
	"encoding/binary"
	"errors"
)

// ErrState is wrapped by the errors of LoadState.
var ErrState = errors.New("not a state of this version")

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads back what appendString and encoding/binary wrote. After the first fault bad is set, and every method returns
// its zero value.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) uvarint() uint64 {
	n, k := binary.Uvarint([]byte(d.s[:min(len(d.s), binary.MaxVarintLen64)]))
	if d.bad || k <= 0 {
		d.bad = true
		return 0
	}
	d.s = d.s[k:]
	return n
}

func (d *decoder) varint() int64 {
	n, k := binary.Varint([]byte(d.s[:min(len(d.s), binary.MaxVarintLen64)]))
	if d.bad || k <= 0 {
		d.bad = true
		return 0
	}
	d.s = d.s[k:]
	return n
}

func (d *decoder) string() string {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.s)) {
		d.bad = true
		return ""
	}
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

// count reads a number of things of at least that many bytes each; more than can follow is a fault.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if d.bad || n > uint64(len(d.s)/least) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	if d.bad || d.s == "" {
		d.bad = true
		return 0
	}
	c := d.s[0]
	d.s = d.s[1:]
	return c
}
