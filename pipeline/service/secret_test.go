package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const password = "hunter2"

func TestSecretIsHiddenInEveryForm(t *testing.T) {
	s := NewSecret(password)
	holder := struct {
		User string
		Pass Secret
	}{"carom", s}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	for _, format := range []LogFormat{LogFormatJSON, LogFormatText} {
		NewLogger(&log, LogOptions{Format: format}).Info("x", "a", s, "b", holder, "c", &holder)
	}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%s %q %x %#v %d", s, s, s, s, s), fmt.Sprintf("%v %+v %#v", holder, holder, holder),
		string(asJSON), log.String(), fmt.Errorf("login with %v", s).Error(),
	} {
		if strings.Contains(text, password) || strings.Contains(text, fmt.Sprintf("%x", password)) {
			t.Errorf("secret in %s", text)
		}
	}
	if !strings.Contains(string(asJSON), hidden) {
		t.Errorf("JSON %s does not tell that there is a secret", asJSON)
	}
	if s.Reveal() != password {
		t.Error("Reveal lost the secret")
	}
	if s := (Secret{}); s.String() != "" || !s.IsZero() {
		t.Errorf("zero value is %q", s)
	}
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct{ path, want, err string }{
		{write("unix", password+"\n"), password, ""},
		{write("windows", password+"\r\n"), password, ""},
		{write("blanks", " a b "), " a b ", ""},
		{write("empty", "\n"), "", "empty"},
		{write("large", strings.Repeat("x", maxSecretBytes+1)), "", "more than 65536 bytes"},
		{filepath.Join(dir, "none"), "", "no such file"},
		{dir, "", "is a directory"},
		{"", "", ""},
	} {
		t.Run(filepath.Base(tc.path), func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			var secret Secret
			SecretFileVar(fs, &secret, "kafka-password-file", "")
			err := Parse(fs, []string{"-kafka-password-file", tc.path})
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if secret.Reveal() != tc.want {
				t.Errorf("secret %q, want %q", secret.Reveal(), tc.want)
			}
		})
	}
}

func TestLogConfigHidesSecrets(t *testing.T) {
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	var secret Secret
	SecretFileVar(fs, &secret, "password-file", "")
	fs.String("dsn", "", "")
	fs.String("unset", "", "")
	fs.String("url", "", "")
	fs.Int("workers", 4, "")
	path := writeFile(t, password)
	err := Parse(fs, []string{"-password-file", path, "-dsn", "carom/" + password, "-url", "http://carom:" + password + "@h:1/p"})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	LogConfig(NewLogger(&out, LogOptions{Format: LogFormatJSON}), fs, "dsn", "unset")
	if strings.Contains(out.String(), password) {
		t.Errorf("password in %s", &out)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d records", n)
	}
	var record struct{ Config map[string]string }
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"dsn": hidden, "unset": "", "url": "http://carom:xxxxx@h:1/p", "password-file": path, "workers": "4", "config": "",
	} {
		if got, ok := record.Config[key]; !ok || got != want {
			t.Errorf("%s = %q, %v; want %q", key, got, ok, want)
		}
	}
	if _, ok := record.Config["version"]; ok {
		t.Error("-version is no configuration")
	}
	defer func() {
		if recover() == nil {
			t.Error("a misspelt secret hid nothing and nobody noticed")
		}
	}()
	LogConfig(slog.New(slog.DiscardHandler), fs, "dns")
}

func TestPasswordsInURLsAreHidden(t *testing.T) {
	for value, want := range map[string]string{
		"plain":                              "plain",
		"127.0.0.1:9000":                     "127.0.0.1:9000",
		"http://h:4318":                      "http://h:4318",
		"clickhouse://u:hunter2@h:9000/db":   "clickhouse://u:xxxxx@h:9000/db",
		"clickhouse://u:hunter2@a:1,b:2/db":  "clickhouse://u:xxxxx@a:1,b:2/db",
		"clickhouse://h/d?Password=hunter2":  "clickhouse://h/d?Password=xxxxx",
		"http://u:hunter2@a,http://u:p@b":    "http://u:xxxxx@a,http://u:xxxxx@b",
		"http://u:hun,ter2@a,http://u:p@b":   hidden,
		"http://u:hunter2%@a":                hidden,
		"clickhouse://u:hunter2/with@h:9000": hidden,
	} {
		if got := hidePasswords(value); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}

func TestLogTextCannotActOnTheReader(t *testing.T) {
	hostile := "550 \x1b[2Jgone\u202e\u2066\x00\u0085\u2028 \xff\u200b ok\n"
	for _, format := range []LogFormat{LogFormatJSON, LogFormatText} {
		var out bytes.Buffer
		log := NewLogger(&out, LogOptions{Format: format})
		log.Info("reply", "text", hostile, Err(errors.New(hostile)), "list", []string{hostile}, "long", strings.Repeat("é", maxLogText))
		if i := strings.IndexAny(out.String(), "\x1b\u202e\u2066\x00\u0085\u2028\u200b"); i >= 0 {
			t.Errorf("%s: hostile character at %d of %q", format, i, &out)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 {
			t.Errorf("%s: %d lines from one record", format, n)
		}
		if strings.Count(out.String(), "gone") != 3 {
			t.Errorf("%s: text lost: %q", format, &out)
		}
		if out.Len() > maxLogText+1000 || !strings.Contains(out.String(), "(4096 bytes)") {
			t.Errorf("%s: %d bytes: the long text is not cut or does not say so", format, out.Len())
		}
	}
}

func TestLoggerFormatAndLevel(t *testing.T) {
	var out bytes.Buffer
	NewLogger(&out, LogOptions{}).Debug("not this")
	NewLogger(&out, LogOptions{}).Info("this", KeyPartition, 3)
	if got := out.String(); !strings.HasPrefix(got, "{") || !strings.Contains(got, `"level":"INFO","msg":"this","partition":3}`) {
		t.Errorf("zero options to a buffer: %q", got)
	}
	out.Reset()
	NewLogger(&out, LogOptions{Format: LogFormatText, Level: slog.LevelDebug}).Debug("this")
	if !strings.Contains(out.String(), "level=DEBUG msg=this") {
		t.Errorf("text at debug: %q", &out)
	}
	if err := new(LogFormat).UnmarshalText([]byte("xml")); err == nil {
		t.Error("format xml was taken")
	}
}
