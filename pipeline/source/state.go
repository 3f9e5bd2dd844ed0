package source

import (
	"fmt"

	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/pipeline/state"
)

// AppendState appends the state to b: the site, the accounting files, KumoMTA's last failures, the queue table. Equal states give equal bytes.
func (r *Reader) AppendState(b []byte) []byte {
	b = state.AppendString(b, r.site.Text())
	b = state.AppendBytes(b, r.files.AppendState(nil))
	b = state.AppendBytes(b, r.kumo.AppendState(nil))
	return r.lines.AppendState(b)
}

// LoadState replaces the state by one that AppendState wrote. b is not kept. After an error the Reader is not to be used.
func (r *Reader) LoadState(b []byte) error {
	in := state.NewReader(b)
	text, files, kumo := in.String(), in.Bytes(), in.Bytes()
	if err := in.Err(); err != nil {
		return err
	}
	if text != "" {
		s, err := site.Parse([]byte(text))
		if err != nil {
			return fmt.Errorf("the state's site file: %w", err)
		}
		r.SetSite(s)
	}
	if err := r.files.LoadState(files); err != nil {
		return fmt.Errorf("accounting files: %w", err)
	}
	if err := r.kumo.LoadState(kumo); err != nil {
		return fmt.Errorf("last failures of KumoMTA: %w", err)
	}
	if err := r.lines.LoadState(in.Rest()); err != nil {
		return fmt.Errorf("queue table: %w", err)
	}
	return nil
}
