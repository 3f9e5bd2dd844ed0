package service

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// Exit statuses of every Carom program.
const (
	ExitOK      = 0 // done, or help or version was asked for
	ExitFailure = 1 // it was tried and did not work
	ExitUsage   = 2 // the command line, the environment or the configuration file is wrong; nothing was tried
)

// ErrVersion says that -version was given and answered. It is a success.
var ErrVersion = errors.New("version asked for")

// UsageError marks a mistake of the caller: in a flag, a variable, a configuration file or an argument. Programs end
// with [ExitUsage] on it.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef returns a [UsageError]; format and args are those of [fmt.Errorf].
func Usagef(format string, args ...any) error {
	return &UsageError{Err: fmt.Errorf(format, args...)}
}

// ExitCode returns the exit status that err stands for; a nil error is success.
func ExitCode(err error) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp), errors.Is(err, ErrVersion):
		return ExitOK
	case errors.As(err, &usage):
		return ExitUsage
	default:
		return ExitFailure
	}
}

// Exit writes err, if it is a failure, as one line "name: err" to stderr and returns the exit status.
func Exit(stderr io.Writer, name string, err error) int {
	code := ExitCode(err)
	if code != ExitOK {
		fmt.Fprintf(stderr, "%s: %v\n", name, err)
	}
	if code == ExitUsage {
		fmt.Fprintf(stderr, "%s -help lists the flags\n", name)
	}
	return code
}
