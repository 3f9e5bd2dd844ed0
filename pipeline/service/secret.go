package service

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
)

const (
	hidden         = "[hidden]"
	maxSecretBytes = 64 << 10
)

// Secret is a text that must not reach a log, an error or a page: formatting, logging and marshalling it yield
// "[hidden]". The zero value is no secret. Reveal returns the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: text} }

// Reveal returns the text itself.
func (s Secret) Reveal() string { return s.text }

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns "[hidden]", or "" for the zero value.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return hidden
}

// Format hides the secret from every verb, %x and %#v included.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, s.String()) }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoding/json and the like.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretFileVar defines the flag -name, whose value is the path of a file that holds the secret. It is read when the
// flag is set; line ends at its end are no part of the secret. A file that is missing, empty or larger than 64 KiB is an
// error. The path is no secret and appears in [LogConfig].
func SecretFileVar(fs *flag.FlagSet, p *Secret, name, usage string) {
	fs.Var(&secretFile{secret: p}, name, usage)
}

type secretFile struct {
	path   string
	secret *Secret
}

func (f *secretFile) String() string { return f.path }

func (f *secretFile) Set(path string) error {
	if path == "" { // the way to say "none" on a command line that has to say something
		f.path, *f.secret = "", Secret{}
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretBytes+1))
	if err != nil {
		return err
	}
	if len(text) > maxSecretBytes {
		return fmt.Errorf("%s has more than %d bytes", path, maxSecretBytes)
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return fmt.Errorf("%s is empty", path)
	}
	f.path, *f.secret = path, NewSecret(secret)
	return nil
}

// LogConfig logs the value of every flag of fs, in one record and by name. The flags named in secret show only whether
// they are set, and passwords within URLs are always hidden; still, a secret is better kept in a file ([SecretFileVar])
// than in a flag, where the process list and the environment show it. A name in secret that is no flag panics: it
// would hide nothing.
func LogConfig(log *slog.Logger, fs *flag.FlagSet, secret ...string) {
	hide := make(map[string]bool, len(secret))
	for _, name := range secret {
		if fs.Lookup(name) == nil {
			panic(fmt.Sprintf("service: secret flag -%s is not defined", name))
		}
		hide[name] = true
	}
	var attrs []any
	fs.VisitAll(func(f *flag.Flag) {
		value := f.Value.String()
		switch {
		case f.Name == flagVersion:
			return
		case hide[f.Name] && value != "":
			value = hidden
		default:
			value = hidePasswords(value)
		}
		attrs = append(attrs, slog.String(f.Name, value))
	})
	log.Info("configuration", slog.Group("config", attrs...))
}

// hidePasswords hides the password of a URL, and of each URL in a comma-separated list. What looks like a URL and cannot
// be read as one is hidden as a whole.
func hidePasswords(value string) string {
	urls := strings.Count(value, "://")
	if urls == 0 {
		return value
	}
	parts := []string{value} // one URL may have a comma: in its password, between several hosts
	if urls > 1 {
		parts = strings.Split(value, ",")
		if len(parts) != urls {
			return hidden
		}
	}
	for i, part := range parts {
		u, err := url.Parse(part)
		if err != nil || u.Host == "" {
			return hidden
		}
		query, masked := u.Query(), false
		for key := range query {
			switch strings.ToLower(key) {
			case "password", "secret", "token":
				query.Set(key, "xxxxx") // the mask that Redacted uses
				masked = true
			}
		}
		if masked {
			u.RawQuery = query.Encode()
		}
		parts[i] = u.Redacted()
	}
	return strings.Join(parts, ",")
}
