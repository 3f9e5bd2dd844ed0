package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxMailLine bounds a line of JSON that holds a mail in base64.
const maxMailLine = 4*maxMailBytes/3 + 64<<10

// jsonLines reads the objects that carom classify takes, {"id":..,"mail":BASE64} a line; a mail goes by its id. Lines
// without a mail are responses, which hold nothing to read here.
func (d *dsnReader) jsonLines(ctx context.Context, name string, r *bufio.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxMailLine)
	n := 0
	for lines.Scan() {
		n++
		if len(lines.Bytes()) == 0 {
			continue
		}
		where := fmt.Sprintf("%s: line %d", name, n)
		var o struct{ ID, Mail string }
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			if err := d.fail(where, err); err != nil {
				return err
			}
			continue
		}
		if o.Mail == "" {
			continue
		}
		if o.ID == "" {
			o.ID = where
		}
		if err := d.mail(ctx, o.ID, base64.NewDecoder(base64.StdEncoding, strings.NewReader(o.Mail))); err != nil {
			return err
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("line %d: longer than %d bytes", n+1, maxMailLine)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return d.fail(name, err)
	}
	return nil
}
