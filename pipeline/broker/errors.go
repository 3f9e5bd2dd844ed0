package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// OffsetError says that an offset lies outside the log: records before First are gone (retention), and none exist at or
// after Last. It is never corrected here: reading on from elsewhere would skip or repeat records without a word.
type OffsetError struct {
	Topic       string
	Partition   int32
	Offset      int64
	First, Last int64
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("offset %d of %s/%d is outside the log [%d, %d)", e.Offset, e.Topic, e.Partition, e.First, e.Last)
}

// TooLargeError says that a single message is larger than the broker takes.
type TooLargeError struct {
	Topic     string
	Partition int32
	Bytes     int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("a message of %d bytes for %s/%d is larger than the broker takes (max.message.bytes)", e.Bytes, e.Topic, e.Partition)
}

// retryable decides whether the same request may succeed later.
func retryable(err error) bool {
	var ke kafka.Error
	if errors.As(err, &ke) {
		switch ke {
		case kafka.UnknownTopicOrPartition, // just created, or metadata behind
			kafka.LeaderNotAvailable, kafka.NotLeaderForPartition, kafka.ReplicaNotAvailable, // failover
			kafka.RequestTimedOut, kafka.NetworkException, kafka.BrokerNotAvailable,
			kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend, // the batch may be in: a repeat is expected
			kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup,
			kafka.OffsetNotAvailable, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.KafkaStorageError:
			return true
		}
		return false
	}
	var oe *OffsetError
	var te *TooLargeError
	switch {
	case errors.As(err, &oe), errors.As(err, &te):
		return false
	case errors.Is(err, context.Canceled):
		return false
	case errors.Is(err, context.DeadlineExceeded): // one attempt's deadline; the caller's own is checked by the loop
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return true
	}
	// kafka-go's own routing found no leader or topic: the next metadata refresh may bring it.
	if errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) || errors.Is(err, protocol.ErrNoLeader) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne)
}
