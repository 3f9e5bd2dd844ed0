package survey

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"carom.dev/carom/pipeline/eventjson"
	"carom.dev/carom/pipeline/provider"
	"carom.dev/carom/pipeline/rules"
	"carom.dev/carom/schema"
)

// maxJSONBytes bounds a line of responses; a DSN may carry its whole mail.
const maxJSONBytes = 64 << 20

var errTooLong = fmt.Errorf("longer than %d MB", maxJSONBytes>>20)

// Judge gives verdicts on lines of JSON. It is not safe for concurrent use; make one with NewJudge.
type Judge struct {
	set       *rules.Set
	verdict   schema.Verdict
	buf, id   []byte
	mails     int // lines of kind dsn
	malformed int
}

// NewJudge returns a Judge that asks set.
func NewJudge(set *rules.Set) *Judge { return &Judge{set: set} }

// Lines judges every line of r, a response or an event, and writes a line to w for each. A line that is neither gets none and is
// handed to malformed with its number, from 1. Empty lines are skipped.
func (j *Judge) Lines(ctx context.Context, r io.Reader, w io.Writer, malformed func(line int, err error)) error {
	b := bufio.NewReaderSize(r, 256<<10)
	var long []byte
	for n := 1; ; n++ {
		line, err := readJSONLine(b, &long)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, errTooLong) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if line = bytes.TrimSpace(line); err == nil && len(line) == 0 {
			continue
		}
		if err == nil {
			j.buf, err = j.appendVerdict(j.buf[:0], line)
		}
		if err != nil {
			j.malformed++
			malformed(n, err)
			continue
		}
		if _, err := w.Write(append(j.buf, '\n')); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// Complaint returns what has to be said at the end, nil if every line got a proper verdict.
func (j *Judge) Complaint() error {
	var mails, malformed error
	if j.mails > 0 {
		mails = fmt.Errorf("%d lines of kind dsn are undetermined: whole mails are not read in this version", j.mails)
	}
	switch {
	case j.malformed > 0 && mails != nil:
		return fmt.Errorf("%d malformed lines got no verdict, and %w", j.malformed, mails)
	case j.malformed > 0:
		malformed = fmt.Errorf("%d malformed lines got no verdict", j.malformed)
	}
	return errors.Join(malformed, mails)
}

func (j *Judge) appendVerdict(b, line []byte) ([]byte, error) {
	if bytes.Contains(line, []byte(`"event_id"`)) {
		ev, err := eventjson.ParseEvent(line)
		if err == nil {
			in := EventInput(ev)
			j.set.Classify(&in, &j.verdict)
			j.id = eventjson.AppendString(j.id[:0], ev.EventId)
			return eventjson.AppendVerdict(b, j.id, &j.verdict), nil
		}
		if isEvent(line) {
			return b, err
		}
	}
	response, err := eventjson.ParseResponse(line)
	if err != nil {
		return b, err
	}
	in := ResponseInput(&response)
	if response.Kind == eventjson.KindDSN {
		j.mails++
		j.unread(&in)
	} else {
		j.set.Classify(&in, &j.verdict)
	}
	return eventjson.AppendVerdict(b, response.ID, &j.verdict), nil
}

// isEvent tells an event from a response whose words happen to name it.
func isEvent(line []byte) bool {
	var o struct {
		EventID json.RawMessage `json:"event_id"`
	}
	return json.Unmarshal(line, &o) == nil && len(o.EventID) > 0
}

// unread is the verdict on a mail that nobody has read.
func (j *Judge) unread(in *rules.Input) {
	v := &j.verdict
	v.Reset()
	v.Class, v.Provider, v.Ruleset = "undetermined", in.Provider, j.set.Version()
	if v.Provider == "" {
		v.Provider = provider.Lookup("", in.Domain)
	}
	v.Origin, v.Phase = schema.Origin_ASYNC_DSN, schema.Phase_ASYNC
	v.Confidence = schema.Confidence_CONFIDENCE_DEFAULT
	v.Retry, v.Suppress = schema.Retry_RETRY_NO, schema.Suppress_SUPPRESS_NEVER
}

// readJSONLine returns the next line. What does not fit into b is gathered in *long, which is used again; of a line beyond
// maxJSONBytes the rest is skipped.
func readJSONLine(b *bufio.Reader, long *[]byte) ([]byte, error) {
	line, err := b.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		*long = (*long)[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(*long) <= maxJSONBytes {
				*long = append(*long, line...)
			}
			line, err = b.ReadSlice('\n')
		}
		line = append(*long, line...)
		*long = line
		if len(line) > maxJSONBytes && (err == nil || errors.Is(err, io.EOF)) {
			return nil, errTooLong
		}
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return line, err
}
