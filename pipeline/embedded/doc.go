// Package embedded runs a real ClickHouse and a Kafka-protocol broker without installing either: for development, tests,
// the demo and small single-node use. Production points the same services at Apache Kafka and a ClickHouse cluster.
//
// ClickHouse is the engine itself (libchdb.so, 540 MB unpacked, fetched through npm with its sha512 pinned), started as a
// child process: the running binary executes itself again and MaybeRunChild, the first call in main and in TestMain,
// turns that copy into the server. The child lives as long as the write end of its standard input: Stop closes it, and so
// does the parent's death, a kill -9 included, so nothing is left behind. One data directory belongs to one process.
//
// QUIRK: in this build (26.7.3-stable.1) an exception that leaves the handler of a native connection ends the whole
// server. Clients therefore reach the native port through a relay, behind which a client that is killed does no harm
// (relay.go). What remains is a login that the server refuses: a wrong password, a database that does not exist, garbage
// on the port. It is a server for processes that trust each other, and warehouse.Open asks for the database before it
// logs in to it. The end is reported by Done and Err, and nothing that was answered is lost.
//
// The broker is kfake, in this process, on a real port, with its log on disk. Both listen on 127.0.0.1 only and are not
// protected against power loss: what a kill -9 leaves in the page cache survives, what the machine loses does not.
//
// Importing this package links the binary against libc (purego). The three services must stay static and never reach it.
package embedded
