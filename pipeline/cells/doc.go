// Package cells counts what happened to mail, per minute and a few dimensions, exactly.
//
// Counting takes two folds. A Source belongs to one partition of mail.classified: it adds events to cells and emits each
// changed cell as an absolute count. A Merge belongs to one partition of mail.cells: it adds up the cells of all sources and
// emits rows, absolute again, for ClickHouse.
//
// Both are pure: no clock, no I/O, and outputs in sorted order. State is saved together with the offset it reflects
// (AppendState, LoadState); after a restart the same log gives the same output again, and repeats do no harm:
//
//   - A cell is identified by its key, its source partition and OpenedAt, the offset of the event that opened it. A cell that
//     was closed (emitted final, and forgotten) is never written to again: a late event of that minute opens a new one, with
//     another OpenedAt.
//   - The records of one source partition come in the order of (offset, index), perhaps again from an earlier point. The
//     Merge keeps one high-water mark per source partition and drops what is not above it.
//   - A row is identified by its key and OpenedAt, the offset in mail.cells of the record that opened it. It leaves memory only
//     when each of its contributions is final, so no later record can belong to it; one that comes late opens a new row.
//     Readers add rows up.
//
// Closing and pruning happen when the caller says so (Source.Close) or at progress records (Merge), both positions of the log:
// a timer must not decide them, or a replay would cut the rows elsewhere.
//
// Not promised: dimensions are not bounded here one by one. The number of open cells is (Source.Full).
package cells
