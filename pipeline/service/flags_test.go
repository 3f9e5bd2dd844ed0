package service

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// listFlag collects the values it is set to, as flags that may be given several times do.
type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(s string) error { *l = append(*l, s); return nil }

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "carom.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A flag outranks the environment, the environment the file, the file the default.
func TestParsePrecedence(t *testing.T) {
	const env, file = "CAROM_TOPIC", "# where from\ntopic from-file\n"
	for _, tc := range []struct {
		name, env, file string
		args            []string
		want            string
	}{
		{name: "default", want: "from-default"},
		{name: "file", file: file, want: "from-file"},
		{name: "environment over file", file: file, env: "from-env", want: "from-env"},
		{name: "flag over all", file: file, env: "from-env", args: []string{"-topic", "from-flag"}, want: "from-flag"},
		{name: "flag over file", file: file, args: []string{"-topic", "from-flag"}, want: "from-flag"},
		{name: "empty variable is no value", file: file, env: "", want: "from-file"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			topic := fs.String("topic", "from-default", "")
			t.Setenv(env, tc.env)
			if tc.file != "" {
				tc.args = append([]string{"-config", writeFile(t, tc.file)}, tc.args...)
			}
			if err := Parse(fs, tc.args); err != nil {
				t.Fatal(err)
			}
			if *topic != tc.want {
				t.Errorf("got %q, want %q", *topic, tc.want)
			}
		})
	}
}

func TestParseConfigFileFormats(t *testing.T) {
	for name, text := range map[string]string{
		"plain":          "name  a b # rest is comment\n\n# comment\nverbose\nbroker k1:9092\nbroker k2:9092\nwait 5s\n",
		"plain, tabs":    "name\ta b\r\nverbose\ttrue\r\nbroker\tk1:9092\nbroker\tk2:9092\n-wait 5s",
		"json":           `{"name": "a b", "verbose": true, "broker": ["k1:9092", "k2:9092"], "wait": "5s"}`,
		"json, indented": "\n  {\n\t\"name\": \"a b\", \"verbose\": true, \"broker\": [\"k1:9092\", \"k2:9092\"], \"wait\": \"5s\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			var brokers listFlag
			fs.Var(&brokers, "broker", "")
			label := fs.String("name", "", "")
			verbose := fs.Bool("verbose", false, "")
			wait := fs.Duration("wait", 0, "")
			// The file may come by the environment as well.
			t.Setenv("CAROM_CONFIG", writeFile(t, text))
			if err := Parse(fs, nil); err != nil {
				t.Fatal(err)
			}
			if *label != "a b" || !*verbose || *wait != 5*time.Second {
				t.Errorf("name %q, verbose %v, wait %v", *label, *verbose, *wait)
			}
			if want := (listFlag{"k1:9092", "k2:9092"}); !reflect.DeepEqual(brokers, want) {
				t.Errorf("brokers %v, want %v", brokers, want)
			}
		})
	}
}

// Every mistake is a UsageError (exit status 2) and says what is wrong and where.
func TestParseMistakesNameTheirPlace(t *testing.T) {
	for _, tc := range []struct {
		name, env, file string
		args            []string
		want            []string
	}{
		{name: "unknown flag", args: []string{"-nope"}, want: []string{"-nope"}},
		{name: "bad flag", args: []string{"-wait", "5"}, want: []string{"-wait", `"5"`}},
		{name: "bad variable", env: "5", want: []string{"CAROM_WAIT"}},
		{name: "unknown key", file: "wait 5s\nnope 1\n", want: []string{"carom.conf", "line 2", `"nope"`}},
		{name: "unknown key in JSON", file: `{"wait":"5s","nope":1}`, want: []string{"carom.conf", `"nope"`}},
		{name: "bad value in file", file: "\n\nwait 5", want: []string{"carom.conf", "line 3", "wait"}},
		{name: "broken JSON", file: `{"wait":`, want: []string{"carom.conf"}},
		{name: "version in file", file: "version true", want: []string{"line 1", "version"}},
		{name: "too large", file: "# " + strings.Repeat("x", maxConfigBytes), want: []string{"more than 1048576 bytes"}},
		{name: "no file", args: []string{"-config", "no/such/file"}, want: []string{"config file", "no/such/file"}},
		{name: "key of a variable's form", file: "CAROM_WAIT 5s", want: []string{`"CAROM_WAIT"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			var out bytes.Buffer
			fs.SetOutput(&out)
			fs.Duration("wait", 0, "")
			t.Setenv("CAROM_WAIT", tc.env)
			if tc.file != "" {
				tc.args = append([]string{"-config", writeFile(t, tc.file)}, tc.args...)
			}
			err := Parse(fs, tc.args)
			if ExitCode(err) != ExitUsage {
				t.Fatalf("error %v, exit status %d, want %d", err, ExitCode(err), ExitUsage)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if out.Len() > 0 {
				t.Errorf("printed besides the error: %q", &out)
			}
		})
	}
}

func TestHelpShowsFlagsAndExamples(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		fs := flag.NewFlagSet("carom-test", flag.ContinueOnError)
		var out bytes.Buffer
		fs.SetOutput(&out)
		fs.Duration("wait", 5*time.Second, "wait this `duration`")
		Describe(fs, Help{
			Synopsis: "[flags] [FILE]", Summary: "Tests things.",
			Examples: []Example{{"carom-test -wait 1s a.log", "test a.log, but not for long"}},
		})
		err := Parse(fs, []string{arg})
		if !errors.Is(err, flag.ErrHelp) || ExitCode(err) != ExitOK {
			t.Errorf("%s: error %v, exit status %d", arg, err, ExitCode(err))
		}
		for _, want := range []string{
			"Usage: carom-test [flags] [FILE]\n", "Tests things.", "-wait duration", "(default 5s)", "-config file",
			"-version", "CAROM_SOME_FLAG", "  carom-test -wait 1s a.log\n        test a.log, but not for long\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: help lacks %q:\n%s", arg, want, &out)
			}
		}
	}
}

func TestVersionIsAnsweredFromTheCommandLineOnly(t *testing.T) {
	t.Setenv("CAROM_VERSION", "1.2.3") // as set in many container images
	fs := flag.NewFlagSet("carom-test", flag.ContinueOnError)
	if err := Parse(fs, nil); err != nil {
		t.Errorf("CAROM_VERSION in the environment: %v", err)
	}
	fs = flag.NewFlagSet("carom-test", flag.ContinueOnError)
	var out bytes.Buffer
	fs.SetOutput(&out)
	if err := Parse(fs, []string{"-version"}); !errors.Is(err, ErrVersion) || ExitCode(err) != ExitOK {
		t.Errorf("-version: %v", err)
	}
	if got, want := out.String(), "carom-test "+Version()+"\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestExit(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
		out  string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{errors.New("broken"), 1, "x: broken\n"},
		{errors.Join(errors.New("a"), Usagef("b %d", 1)), 2, "x: a\nb 1\nx -help lists the flags\n"},
	} {
		var out bytes.Buffer
		if code := Exit(&out, "x", tc.err); code != tc.code || out.String() != tc.out {
			t.Errorf("%v: status %d, %q; want %d, %q", tc.err, code, &out, tc.code, tc.out)
		}
	}
}

func TestConfigFlagsReachTheConfig(t *testing.T) {
	cfg := DefaultConfig()
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	cfg.RegisterFlags(fs)
	err := Parse(fs, []string{
		"-http-addr", "127.0.0.1:0", "-admin-addr", "127.0.0.1:1", "-stop-timeout", "3s", "-log-format", "text",
		"-log-level", "debug", "-otlp-endpoint", "http://127.0.0.1:4318", "-trace-sample-ratio", "0.5",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		HTTPAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:1", StopTimeout: 3 * time.Second,
		Log:   LogOptions{Format: LogFormatText, Level: slog.LevelDebug},
		Trace: TraceOptions{Endpoint: "http://127.0.0.1:4318", SampleRatio: 0.5},
	}
	if cfg != want {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
}

func TestValidateNamesEveryBadField(t *testing.T) {
	err := Config{
		HTTPAddr: "8080", AdminAddr: "x", StopTimeout: -time.Second,
		Trace: TraceOptions{Endpoint: "collector:4318?token=hunter2", SampleRatio: 1.5},
	}.Validate()
	if ExitCode(err) != ExitUsage {
		t.Fatalf("error %v is no usage error", err)
	}
	for _, want := range []string{`-http-addr "8080"`, `-admin-addr "x"`, "-stop-timeout -1s", "-otlp-endpoint", "-trace-sample-ratio 1.5"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error shows the token: %v", err)
	}
}

// FuzzParseConfigFile holds that every pair the plain format yields is a word and a trimmed text from one line.
func FuzzParseConfigFile(f *testing.F) {
	f.Add("topic mta.raw\n# x\nverbose\nbroker\tk1:9092 # first\n")
	f.Add(`{"topic":"mta.raw","n":[1,2,3.5],"b":true}`)
	f.Add("{\"a\":")
	f.Fuzz(func(t *testing.T, text string) {
		total := 0
		err := parseConfigFile(strings.NewReader(text), func(name, value string) error {
			total += len(name) + len(value)
			return nil
		})
		if err != nil || strings.HasPrefix(strings.TrimSpace(text), "{") {
			return
		}
		// A bare key yields "true", four bytes that the text does not have.
		if lines := strings.Count(text, "\n") + 1; total > len(text)+4*lines {
			t.Errorf("%d bytes of pairs from %d bytes", total, len(text))
		}
		unknown := errors.New("unknown")
		err = parseConfigFile(strings.NewReader(text), func(name, value string) error {
			if value != strings.TrimSpace(value) || strings.ContainsAny(name, " \t\n") {
				t.Errorf("pair %q %q", name, value)
			}
			return unknown
		})
		if err != nil && !errors.Is(err, unknown) && !errors.Is(err, io.EOF) {
			t.Errorf("error %v instead of the one of set", err)
		}
	})
}
