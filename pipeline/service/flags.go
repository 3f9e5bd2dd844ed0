package service

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/peterbourgon/ff/v3"
)

// EnvPrefix begins the name of every environment variable that is read: -http-addr is CAROM_HTTP_ADDR. A variable of
// that prefix that names no flag is ignored, because Kubernetes itself sets such variables for a Service called carom
// (CAROM_SERVICE_HOST, CAROM_PORT).
const EnvPrefix = "CAROM"

// Limits of a configuration file.
const (
	maxConfigBytes = 1 << 20
	flagConfig     = "config"
	flagVersion    = "version"
)

// Help is what a program says about itself besides its flags.
type Help struct {
	// Synopsis follows the program's name on the first line, such as "[flags] [FILE]". Empty means "[flags]".
	Synopsis string
	// Summary says in one or two sentences what the program does.
	Summary string
	// Examples are shown last; without them the section is left out.
	Examples []Example
}

// Example is one way to use a program.
type Example struct{ Command, Explanation string }

// Describe makes the help of fs; call it before [Parse].
func Describe(fs *flag.FlagSet, h Help) {
	fs.Usage = func() { printHelp(fs, h) }
}

func printHelp(fs *flag.FlagSet, h Help) {
	w := fs.Output()
	synopsis := h.Synopsis
	if synopsis == "" {
		synopsis = "[flags]"
	}
	fmt.Fprintf(w, "Usage: %s %s\n", fs.Name(), synopsis)
	if h.Summary != "" {
		fmt.Fprintf(w, "\n%s\n", h.Summary)
	}
	fmt.Fprintf(w, "\nFlags:\n")
	fs.PrintDefaults()
	fmt.Fprintf(w, "\nA flag outranks its environment variable (-some-flag is %s_SOME_FLAG), and that the file of -config.\n", EnvPrefix)
	if len(h.Examples) > 0 {
		fmt.Fprintf(w, "\nExamples:\n")
	}
	for _, e := range h.Examples {
		fmt.Fprintf(w, "  %s\n        %s\n", e.Command, e.Explanation)
	}
}

// Parse fills the flags of fs from args, then the environment ([EnvPrefix]), then the file named by -config; the first
// that speaks of a flag wins. It adds the flags -config and -version to fs.
//
// The file is JSON if its first character is "{" (one object, keys are flag names; an array sets the flag once for each
// element), else lines "key value", where # begins a comment. A key that no flag has is an error, so is a file that
// cannot be read.
//
// Help and version are printed to standard output, or to what fs.SetOutput was given, and reported as [flag.ErrHelp]
// and [ErrVersion]. Every other error is a [UsageError] that names the flag, variable, or file and line. fs has to be
// made with [flag.ContinueOnError].
func Parse(fs *flag.FlagSet, args []string) error {
	out := fs.Output()
	if out == io.Writer(os.Stderr) {
		out = os.Stdout // help that was asked for is data; flag's own default is meant for complaints
	}
	var config string
	var version versionFlag
	fs.StringVar(&config, flagConfig, "", "read the `file` for flags that neither command line nor environment set")
	fs.Var(&version, flagVersion, "print the version and exit")

	// On a mistake, package flag prints the mistake and all flags; here the error says it once.
	fs.SetOutput(io.Discard)
	usage := fs.Usage
	fs.Usage = func() {}
	err := ff.Parse(fs, args,
		ff.WithEnvVarPrefix(EnvPrefix),
		ff.WithConfigFileVia(&config),
		ff.WithConfigFileParser(func(r io.Reader, set func(name, value string) error) error {
			return parseConfigFile(r, func(name, value string) error {
				switch {
				case name == flagConfig || name == flagVersion:
					return fmt.Errorf("key %q belongs on the command line", name)
				case fs.Lookup(name) == nil:
					return fmt.Errorf("unknown key %q", name)
				}
				return set(name, value)
			})
		}))
	fs.Usage = usage
	fs.SetOutput(out)

	switch {
	case errors.Is(err, flag.ErrHelp):
		if usage != nil {
			usage()
		} else {
			printHelp(fs, Help{})
		}
		return flag.ErrHelp
	case version.asked:
		fmt.Fprintf(out, "%s %s\n", fs.Name(), Version())
		return ErrVersion
	case err == nil:
		return nil
	}
	// The configuration file is read last: if it was, the error is its.
	var fileErr *configFileError
	var pathErr *os.PathError
	if errors.As(err, &fileErr) {
		err = fmt.Errorf("config file %s: %w", config, fileErr)
	} else if errors.As(err, &pathErr) {
		err = fmt.Errorf("config file: %w", err)
	}
	return &UsageError{Err: err}
}

// versionFlag is a boolean flag that only the command line can set: container images tend to carry a variable such as
// CAROM_VERSION=1.2.3, which must not turn a service into a version printer.
type versionFlag struct{ asked bool }

func (v *versionFlag) IsBoolFlag() bool { return true }
func (v *versionFlag) String() string   { return "" }

// Set is called with "true" for a bare -version; any other text comes from elsewhere and means nothing.
func (v *versionFlag) Set(s string) error {
	v.asked = v.asked || s == "true"
	return nil
}

// configFileError says where in the configuration file the mistake is.
type configFileError struct {
	line int // 1-based; 0 in JSON, where the key has to do
	err  error
}

func (e *configFileError) Unwrap() error { return e.err }
func (e *configFileError) Error() string {
	if e.line == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("line %d: %v", e.line, e.err)
}

// parseConfigFile is an [ff.ConfigFileParser] for both formats. The plain one is ff.PlainParser's, written anew because
// that one tells no line numbers, splits at blanks only and takes a line that is too long for the end of the file.
func parseConfigFile(r io.Reader, set func(name, value string) error) error {
	text, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return &configFileError{err: err}
	}
	if len(text) > maxConfigBytes {
		return &configFileError{err: fmt.Errorf("more than %d bytes", maxConfigBytes)}
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		if err := ff.JSONParser(bytes.NewReader(text), set); err != nil {
			return &configFileError{err: err}
		}
		return nil
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxConfigBytes+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		name, value := line, "true" // a bare key sets a boolean flag
		if i := strings.IndexFunc(line, unicode.IsSpace); i >= 0 {
			name, value = line[:i], strings.TrimSpace(line[i:])
		}
		if i := strings.Index(value, " #"); i >= 0 {
			value = strings.TrimSpace(value[:i])
		}
		if err := set(strings.TrimLeft(name, "-"), value); err != nil {
			return &configFileError{line: n, err: err}
		}
	}
	return lines.Err()
}
