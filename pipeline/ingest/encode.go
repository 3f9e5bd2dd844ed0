package ingest

import (
	"encoding/binary"
	"fmt"

	"carom.dev/carom/schema"
)

// An Envelope with an event is field 1, length-delimited, around the encoded DeliveryEvent. Written by hand to spare a
// copy: the event is encoded straight into its place.
const envelopeEventTag = 1<<3 | 2

func envelopeSize(ev *schema.DeliveryEvent) int {
	n := ev.SizeVT()
	return 1 + uvarintLen(uint64(n)) + n
}

func marshalEnvelope(dst []byte, ev *schema.DeliveryEvent) error {
	n := ev.SizeVT()
	dst[0] = envelopeEventTag
	k := binary.PutUvarint(dst[1:], uint64(n))
	if _, err := ev.MarshalToSizedBufferVT(dst[1+k:]); err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return nil
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
