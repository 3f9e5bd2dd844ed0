package fold

import (
	"fmt"
	"strings"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/schema"
)

// maxDeadLetterBytes bounds what of a bad record is kept.
const maxDeadLetterBytes = 16 << 10

// DeadLetter sends a record that cannot be folded to mail.dead-letter, with the reason and where it came from. The fold
// goes on.
func DeadLetter(out *Outbox, stage, topic string, partition int32, r *broker.Record, cause error) error {
	return SendDeadLetter(out, &schema.DeadLetter{
		Stage: stage, Reason: cause.Error(), Topic: topic, Partition: partition, Offset: r.Offset, Value: r.Value,
	})
}

// SendDeadLetter sends d, its value cut to the bound.
func SendDeadLetter(out *Outbox, d *schema.DeadLetter) error {
	d.Reason = strings.ToValidUTF8(d.Reason, "\uFFFD")
	d.ValueBytes = int64(len(d.Value))
	d.Value = d.Value[:min(len(d.Value), maxDeadLetterBytes)]
	value := out.Alloc(d.SizeVT())
	if _, err := d.MarshalToSizedBufferVT(value); err != nil {
		return fmt.Errorf("encode dead letter: %w", err)
	}
	out.Send(schema.TopicDeadLetter, 0, nil, value)
	return nil
}
