package warehouse

import (
	"context"
	"io/fs"
)

// MigrateFiles is Migrate with other files.
func (db *DB) MigrateFiles(ctx context.Context, files fs.FS) error { return db.migrate(ctx, files) }

// Exec runs a statement.
func (db *DB) Exec(ctx context.Context, statement string) error { return db.exec(ctx, statement) }

// Text runs a query of one string.
func (db *DB) Text(ctx context.Context, query string, args ...any) (string, error) {
	conn, err := db.pool(ctx)
	if err != nil {
		return "", err
	}
	var s string
	err = conn.QueryRow(ctx, query, args...).Scan(&s)
	return s, err
}

// Enums lists the names that the writers use, by table and column.
func Enums() map[string]map[string][]string {
	return map[string]map[string][]string{
		"outcomes_1m": {"outcome": outcomes, "acceptance": acceptances},
		"failures": {
			"outcome": outcomes, "enhanced_source": enhancedSources, "phase": phases, "origin": origins, "permanence": permanences,
			"scope": scopes, "confidence": confidences, "retry": retries, "suppress": suppresses, "trust": trusts,
		},
		"decisions":    {"state": recipientStates, "previous": recipientStates, "acceptance": acceptances},
		"suppressions": {"state": recipientStates},
		"incidents":    {"state": incidentStates},
	}
}
