package dsn

import (
	"errors"
	"fmt"
)

// Limits bound what is read of one mail. A zero field stands for its default. All sizes are counted with line ends of one byte, so
// that a mail is cut at the same place however its lines end.
type Limits struct {
	BodyBytes    int // of the body, headers of parts included; default 1 MB; what is beyond is not read
	HeaderBytes  int // of one header block; default 256 KB
	HeaderFields int // in one header block; default 1000
	LineBytes    int // of one header field with its folds, or one line of text; default 16 KB; the rest of it is not read
	TextLines    int // of the text that a person would read; default 20,000
	Depth        int // of nested multiparts; default 10
	Parts        int // default 100
	Recipients   int // default 1000
	TextBytes    int // of each returned string; default 4096
}

// DefaultLimits are the limits that zero fields stand for.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 1 << 20, HeaderBytes: 256 << 10, HeaderFields: 1000, LineBytes: 16 << 10, TextLines: 20_000,
		Depth: 10, Parts: 100, Recipients: 1000, TextBytes: 4096,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	set := func(v *int, standard int) {
		if *v <= 0 {
			*v = standard
		}
	}
	set(&l.BodyBytes, d.BodyBytes)
	set(&l.HeaderBytes, d.HeaderBytes)
	set(&l.HeaderFields, d.HeaderFields)
	set(&l.LineBytes, d.LineBytes)
	set(&l.TextLines, d.TextLines)
	set(&l.Depth, d.Depth)
	set(&l.Parts, d.Parts)
	set(&l.Recipients, d.Recipients)
	set(&l.TextBytes, d.TextBytes)
	return l
}

// The limits that a LimitError names: a closed set, fit for a metric's label.
const (
	LimitHeaderBytes  = "header bytes"
	LimitHeaderFields = "header fields"
	LimitBodyBytes    = "body bytes"
	LimitLineBytes    = "line bytes"
	LimitTextLines    = "text lines"
	LimitDepth        = "depth"
	LimitParts        = "parts"
	LimitRecipients   = "recipients"
)

// LimitError tells that a limit was reached. Parse returns it for a mail whose own header is too big to be believed; a
// cut further inside leaves a report, with the error in Report.Cut. That a returned string was cut at TextBytes is not told.
type LimitError struct {
	What  string // one of the Limit constants
	Limit int
}

func (e *LimitError) Error() string { return fmt.Sprintf("mail exceeds %d %s", e.Limit, e.What) }

// ErrNotMail is returned for bytes that do not begin with a header field. RFC 5322, section 2.2.
var ErrNotMail = errors.New("not a mail: no header field at the beginning")
