package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// files returns the files of the working tree that git tracks or would track, relative to the root.
func files(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root(t), ".git")); err != nil {
		t.Skip("not a git checkout: cannot tell source files from others")
	}
	out := output(t, "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	var names []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(root(t), name)); err == nil && info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("git lists no file")
	}
	return names
}

// A kafka-go Writer made as a literal asks for no acknowledgement unless told otherwise: with the broker dead, it returns
// nil and the messages are gone. Carom produces with RawProduce; nothing but a benchmark, which says what it waits for,
// may make a Writer.
func TestNoWriterWithoutAcknowledgement(t *testing.T) {
	for _, name := range files(t) {
		if filepath.Ext(name) != ".go" {
			continue
		}
		src, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range writers(name, src) {
			t.Error(v)
		}
	}
}

// writers returns the uses of kafka.Writer in a Go file that could lose messages.
func writers(name string, src []byte) []string {
	if !bytes.Contains(src, []byte("segmentio/kafka-go")) {
		return nil
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil // the compiler says so better
	}
	local := ""
	for _, i := range file.Imports {
		if path, _ := strconv.Unquote(i.Path.Value); path == "github.com/segmentio/kafka-go" {
			local = "kafka"
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	isWriter := func(e ast.Expr, names ...string) bool {
		if local == "." {
			id, ok := e.(*ast.Ident)
			return ok && slices.Contains(names, id.Name)
		}
		s, ok := e.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, s.Sel.Name) {
			return false
		}
		id, ok := s.X.(*ast.Ident)
		return ok && id.Name == local
	}
	var out []string
	report := func(n ast.Node, what string) {
		out = append(out, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	inTest := strings.HasSuffix(name, "_test.go")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if isWriter(n.Type, "Writer", "WriterConfig") && !(inTest && setsAcks(n)) {
				report(n, "kafka.Writer literal: produce through pipeline/broker")
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "new" && len(n.Args) == 1 && isWriter(n.Args[0], "Writer", "WriterConfig") {
				report(n, "new(kafka.Writer): produce through pipeline/broker")
			}
		case *ast.ValueSpec:
			if n.Type != nil && isWriter(n.Type, "Writer", "WriterConfig") {
				report(n, "kafka.Writer variable: produce through pipeline/broker")
			}
		}
		return true
	})
	return out
}

func setsAcks(lit *ast.CompositeLit) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := kv.Key.(*ast.Ident)
		return ok && key.Name == "RequiredAcks"
	})
}

func TestWritersAreSeen(t *testing.T) {
	const head = "package x\nimport %s\"github.com/segmentio/kafka-go\"\n%s"
	for _, tc := range []struct {
		file, alias, code string
		want              int
	}{
		{"a.go", "", "var w = kafka.Writer{}", 1},
		{"a.go", "", "var w = &kafka.Writer{RequiredAcks: kafka.RequireAll}", 1},
		{"a.go", "k ", "var w = &k.Writer{}", 1},
		{"a.go", ". ", "var w = Writer{}", 1},
		{"a.go", "", "var w = new(kafka.Writer)", 1},
		{"a.go", "", "var w kafka.Writer", 1},
		{"a.go", "", "var w = kafka.NewWriter(kafka.WriterConfig{})", 1},
		{"a.go", "", "var w = kafka.Reader{}", 0},
		{"a.go", "k ", "type T struct{ kafka struct{ Writer int } }", 0},
		{"a_test.go", "", "var w = kafka.Writer{}", 1},
		{"a_test.go", "", "var w = kafka.Writer{RequiredAcks: kafka.RequireAll}", 0},
	} {
		src := fmt.Sprintf(head, tc.alias, tc.code)
		if got := writers(tc.file, []byte(src)); len(got) != tc.want {
			t.Errorf("%s in %s: %q, want %d", tc.code, tc.file, got, tc.want)
		}
	}
	if got := writers("a.go", []byte("package x\ntype Writer struct{}\nvar w = Writer{}")); got != nil {
		t.Errorf("a Writer of one's own: %q", got)
	}
}

// unfinished matches what people leave to come back to. It is put together so that this file does not match.
var unfinished = regexp.MustCompile(`\b(?:TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK|TB` + `D)\b|(?:panic|errors\.New)\("(?:not (?:yet )?|un)implemented`)

func TestNothingIsMarkedUnfinished(t *testing.T) {
	for _, name := range files(t) {
		if isData(name) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			if m := unfinished.Find(line); m != nil && name != "pipeline/lint/source_test.go" {
				t.Errorf("%s:%d: %q: finish it, or say in plain words what is not done and why", name, i+1, m)
			}
		}
	}
}

// isData reports whether the words in a file are not ours.
func isData(name string) bool {
	return slices.Contains(strings.Split(name, "/"), "testdata") || strings.HasSuffix(name, ".pb.go") ||
		slices.Contains([]string{"go.sum", "package-lock.json"}, filepath.Base(name))
}

func TestUnfinishedMarksAreSeen(t *testing.T) {
	for text, want := range map[string]bool{
		"// TO" + "DO: later": true, "# FIX" + "ME": true, "-- XX" + "X why": true, "return errors.New(\"not implemented\")": true,
		"// METHO" + "DO": false, "mktemp -d x.XXX" + "XXX": false, "502 command not implemented": false,
	} {
		if got := unfinished.MatchString(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
