package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"carom.dev/carom/pipeline/demo"
	"carom.dev/carom/pipeline/service"
)

// What README shows is what comes out.
func TestDemoShowsTheMainJob(t *testing.T) {
	requireClickHouse(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := demo.Run(ctx, demo.Config{
		Sample: "../mtalog/testdata/postfix/mail.log.gz", Seed: 1, DSN: databaseOf(t.Name()),
		Log: service.LogOptions{Format: service.LogFormatText, Level: slog.LevelError},
	}, &out, os.Stderr)
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"A real Postfix log of", "remote.rate_limited", "[PAGE] apple: recipient.unknown", "held from", "again after 24 h",
		`"type": "incident.opened"`, "incident.resolved",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the demonstration does not show %q", want)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colours in a pipe")
	}
}
