// Package broker reads and writes Kafka topics. It is the only importer of the Kafka client (segmentio/kafka-go).
//
// It promises less than a usual consumer and says so: a consumer group hands out partitions and nothing else; where to
// read from is the caller's to know (pipeline/fold keeps it with its state), and a committed offset is a hint. Reads are
// explicit fetches from an offset, with the batch checksum compared, offsets outside the log reported as
// *OffsetError and never corrected. Writes wait for all in-sync replicas, keep the order of messages within a
// partition, and repeat a batch until it is acknowledged: a repeat may appear twice in the log, in order, which the
// reader of that log has to expect.
package broker
