package warehouse

import (
	"context"
	"errors"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// RowError is a row that no table can hold. Without that row the batch may be inserted.
type RowError struct {
	Index int // of the row in the call's slice
	Field string
	Value any
}

func (e *RowError) Error() string {
	return fmt.Sprintf("row %d: %s %v cannot be stored", e.Index, e.Field, e.Value)
}

// ErrTooManyRows says that a call has more than MaxRows rows: split it.
var ErrTooManyRows = errors.New("too many rows for one insert")

// Server error codes, from ClickHouse's src/Common/ErrorCodes.cpp.
const (
	codeNoSuchColumn      = 16
	codeColumnCount       = 20
	codeParse             = 27
	codeIllegalType       = 43
	codeUnknownIdentifier = 47
	codeTypeMismatch      = 53
	codeTableExists       = 57
	codeUnknownTable      = 60
	codeSyntax            = 62
	codeUnknownDatabase   = 81
	codeDatabaseExists    = 82
	codeUnknownSetting    = 115
	codeReadonly          = 164
	codeUnknownUser       = 192
	codeWrongPassword     = 193
	codePasswordRequired  = 194
	codeConstraint        = 469
	codeAccessDenied      = 497
	codeAuthentication    = 516
	codeUnknownEnum       = 691
)

// Retryable reports whether sending the same rows again may succeed. What it does not know is retried: a repeat is
// harmless here, and a row given up is lost.
func Retryable(err error) bool {
	var row *RowError
	var ex *proto.Exception
	var conversion *column.ColumnConverterError
	var block *proto.BlockError
	switch {
	case err == nil:
		return false
	case errors.As(err, &row), errors.Is(err, ErrTooManyRows):
		return false // the same rows fail again
	case errors.Is(err, ErrMigrationChanged), errors.Is(err, ErrNoDatabase):
		return false // needs another binary, or Migrate
	case errors.Is(err, context.Canceled):
		return false // the caller is stopping
	case errors.Is(err, context.DeadlineExceeded):
		return true // the server is slow or hangs
	case errors.Is(err, clickhouse.ErrConnectionClosed):
		return false // DB.Close was called
	case errors.Is(err, clickhouse.ErrUnsupportedServerRevision):
		return false // another server is needed
	case errors.As(err, &conversion), errors.As(err, &block), errors.Is(err, clickhouse.ErrBatchInvalid), errors.Is(err, clickhouse.ErrBatchAlreadySent):
		return false // a table that this binary does not know, or a defect of it
	case errors.As(err, &ex):
		switch ex.Code {
		case codeNoSuchColumn, codeColumnCount, codeParse, codeIllegalType, codeUnknownIdentifier, codeTypeMismatch, codeTableExists,
			codeUnknownTable, codeSyntax, codeUnknownDatabase, codeDatabaseExists, codeUnknownSetting, codeConstraint, codeUnknownEnum:
			return false // tables and binary do not fit together
		case codeReadonly, codeUnknownUser, codeWrongPassword, codePasswordRequired, codeAccessDenied, codeAuthentication:
			return false // needs a person
		}
		return true // memory, too many parts, too many queries, replication, disk: may pass
	}
	return true // connection refused, reset, ended, no connection free: the server is away
}

// isCode reports whether the server answered with this code.
func isCode(err error, code int32) bool {
	var ex *proto.Exception
	return errors.As(err, &ex) && ex.Code == code
}
