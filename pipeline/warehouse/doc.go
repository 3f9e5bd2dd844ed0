// Package warehouse keeps Carom's numbers in ClickHouse: migrations, batch writers and the queries that services need. It
// is the only importer of the ClickHouse driver.
//
// Every write may be repeated. Cells and progress are absolute rows in ReplacingMergeTree, and the highest version wins;
// failures, decisions and incidents replace themselves by id. A writer that got an error, or died, sends the same rows
// again until there is none: the tables then hold each row once, whatever happened before. Nothing is promised about how
// many times a row is stored until the server merges, so readers use FINAL, as all queries and views here do.
//
// One call is one insert, one block, within one deadline. Inserts are synchronous (async_insert is off): a nil error
// means that the server has written the rows, to its page cache at least. Retryable tells whether to send again.
//
// Values never become part of an SQL text: rows travel as columns, arguments as server-side parameters. Hostile text
// stays text.
package warehouse
