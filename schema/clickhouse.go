package schema

import "embed"

// ClickHouseMigrations holds the ClickHouse tables and views as numbered files, clickhouse/NNNN_name.sql. A file that has
// been released never changes: a later one alters what it made. Every statement can be run twice, and ends with a
// semicolon at the end of a line. pipeline/warehouse applies them.
//
//go:embed clickhouse/*.sql
var ClickHouseMigrations embed.FS
