package embedded

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// lineBytes bounds a line; the rest of a longer one is dropped.
const lineBytes = 4 << 10

// tail keeps the last words of the server's log and passes every line on at debug level. Its zero value needs log.
type tail struct {
	log *slog.Logger

	mu        sync.Mutex
	open      []byte // the line that has no end yet
	line      string // the last whole line
	exception string // the last line that tells an exception
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := p
	for {
		line, after, found := bytes.Cut(rest, []byte{'\n'})
		t.open = append(t.open, line[:min(len(line), max(0, lineBytes-len(t.open)))]...)
		if !found {
			return len(p), nil
		}
		rest = after
		if len(t.open) > 0 {
			t.line = string(t.open)
			t.log.Debug("server log", "line", t.line)
			if strings.Contains(t.line, "DB::Exception") {
				t.exception = t.line
			}
		}
		t.open = t.open[:0]
	}
}

// last returns what explains an end best: the last exception, which stack traces may long have pushed out of the lines,
// and the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := string(t.open)
	if line == "" {
		line = t.line
	}
	switch {
	case line == "":
		return "it said nothing"
	case t.exception == "" || t.exception == line:
		return line
	}
	return fmt.Sprintf("last exception: %s; last line: %s", t.exception, line)
}
