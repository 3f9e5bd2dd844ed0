package state

import (
	"encoding/binary"
	"errors"
	"testing"
)

func sample() []byte {
	b := binary.AppendVarint(nil, -7)
	b = binary.AppendUvarint(b, 1<<40)
	b = AppendString(b, "größe")
	b = AppendBytes(b, []byte{0, 1})
	b = AppendFloat(b, -0.25)
	b = binary.BigEndian.AppendUint64(b, 1<<63)
	return append(b, 1, 9)
}

func TestWhatWasWrittenReadsBack(t *testing.T) {
	r := NewReader(sample())
	if a, b, c, d := r.Varint(), r.Uvarint(), r.String(), r.Bytes(); a != -7 || b != 1<<40 || c != "größe" || string(d) != "\x00\x01" {
		t.Errorf("%d %d %q %q", a, b, c, d)
	}
	if a, b, c := r.Float(), r.Uint64(), r.Bool(); a != -0.25 || b != 1<<63 || !c {
		t.Errorf("%v %d %v", a, b, c)
	}
	if r.Len() != 1 || r.Byte() != 9 || r.Err() != nil || len(r.Rest()) != 0 {
		t.Errorf("%d left, err %v", r.Len(), r.Err())
	}
}

func TestEveryCutIsAnError(t *testing.T) {
	whole := sample()
	for n := range whole {
		r := NewReader(whole[:n])
		_, _, _, _, _, _, _, _ = r.Varint(), r.Uvarint(), r.String(), r.Bytes(), r.Float(), r.Uint64(), r.Bool(), r.Byte()
		if !errors.Is(r.Err(), ErrShort) {
			t.Errorf("cut at %d: err = %v", n, r.Err())
		}
	}
}

func TestFalseLengthsAllocateNothing(t *testing.T) {
	r := NewReader(binary.AppendUvarint(nil, 1<<60))
	if n := r.Count(1); n != 0 || r.Err() == nil {
		t.Errorf("count %d, err %v", n, r.Err())
	}
}
