package service

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Attribute keys, the same in every record of every package.
const (
	KeyStage     = "stage"
	KeyTopic     = "topic"
	KeyPartition = "partition"
	KeyOffset    = "offset"
	KeyBatch     = "batch"
	KeyErr       = "err"
	KeyAddr      = "addr"
	KeyTook      = "took"
	KeyName      = "name"
)

// Err returns the attribute for an error.
func Err(err error) slog.Attr { return slog.Any(KeyErr, err) }

// LogFormat is how log records are written. It implements [encoding.TextUnmarshaler].
type LogFormat string

// The formats.
const (
	LogFormatAuto LogFormat = "auto" // text if the writer is a terminal, else JSON; the zero value does the same
	LogFormatJSON LogFormat = "json"
	LogFormatText LogFormat = "text"
)

// UnmarshalText refuses what is no format.
func (f *LogFormat) UnmarshalText(text []byte) error {
	switch v := LogFormat(text); v {
	case LogFormatAuto, LogFormatJSON, LogFormatText:
		*f = v
		return nil
	default:
		return fmt.Errorf("log format %q: want auto, json or text", text)
	}
}

// MarshalText returns the format's name.
func (f LogFormat) MarshalText() ([]byte, error) { return []byte(f), nil }

// LogOptions says how to log. The zero value logs info and above in the automatic format.
type LogOptions struct {
	Format LogFormat
	Level  slog.Level
}

// maxLogText bounds the text of one attribute, in bytes.
const maxLogText = 2048

// NewLogger returns a logger that writes to w, usually standard error.
//
// Texts from outside end up in logs: replies of foreign servers, lines of foreign logs. Characters that act on a
// terminal or reorder a line (control, escape, bidirectional) and invalid UTF-8 are replaced by U+FFFD and each text is
// cut at 2,048 bytes, whoever logs it.
func NewLogger(w io.Writer, o LogOptions) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: cleanAttr}
	if o.Format == LogFormatText || (o.Format != LogFormatJSON && isTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func cleanAttr(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cleanText(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(cleanText(v.Error()))
		case fmt.Stringer:
			a.Value = slog.StringValue(cleanText(v.String()))
		case []string:
			texts := make([]string, len(v))
			for i := range v {
				texts[i] = cleanText(v[i])
			}
			a.Value = slog.AnyValue(texts)
		}
	}
	return a
}

// cleanText returns s without what could act on a reader's terminal, cut to maxLogText bytes.
func cleanText(s string) string {
	const replacement = string(utf8.RuneError)
	if len(s) > maxLogText {
		cut := maxLogText
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = fmt.Sprintf("%s... (%d bytes)", s[:cut], len(s))
	}
	s = strings.ToValidUTF8(s, replacement)
	return strings.Map(func(r rune) rune {
		// Cc has the controls, ESC and the C1 set included; Cf the bidirectional overrides and zero-width characters; Zl
		// and Zp end a line for some readers. The handlers write \n and \t as escapes.
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return utf8.RuneError
		}
		return r
	}, s)
}
