package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root returns the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// output runs a command in the module's root.
func output(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, &stderr)
	}
	return out
}

// tree reads the packages of the module and the imports of everything they depend on. A package that does not compile is
// seen all the same (-e): other checks report that.
func tree(t *testing.T) (own []pkg, deps map[string][]string) {
	t.Helper()
	out := output(t, "go", "list", "-e", "-deps",
		"-json=ImportPath,Standard,GoFiles,Imports,TestImports,XTestImports", "./...")
	deps = map[string][]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath                                  string
			Standard                                    bool
			GoFiles, Imports, TestImports, XTestImports []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Standard {
			continue
		}
		name, isOwn := strings.CutPrefix(p.ImportPath, module+"/")
		deps[name] = relative(p.Imports)
		if isOwn || p.ImportPath == module {
			own = append(own, pkg{
				name: name, imports: deps[name], tests: relative(slices.Concat(p.TestImports, p.XTestImports)), empty: len(p.GoFiles) == 0,
			})
		}
	}
	if len(own) == 0 {
		t.Fatal("go list shows no package of the module")
	}
	return own, deps
}

func relative(imports []string) []string {
	out := make([]string, len(imports))
	for i, path := range imports {
		out[i] = strings.TrimPrefix(path, module+"/")
	}
	return out
}

func TestImportsPointOneWay(t *testing.T) {
	own, deps := tree(t)
	for _, v := range violations(own, deps) {
		t.Error(v)
	}
}

// Each rule is broken once in a small tree made for it; a rule that does not notice is no rule.
func TestRulesSeeTheirViolation(t *testing.T) {
	for _, tc := range []struct {
		name string
		own  []pkg
		deps map[string][]string
		want string // the only violation; empty if there is none
	}{
		{name: "nothing there"},
		{
			name: "everything in order",
			own: []pkg{
				{name: "schema"},
				{name: "pipeline/broker", imports: []string{"github.com/segmentio/kafka-go/sasl"}, tests: []string{"github.com/twmb/franz-go/pkg/kgo", "pipeline/embedded"}},
				{name: "pipeline/classify", imports: []string{"pipeline/broker", "schema"}, tests: []string{"pipeline/embedded/embeddedtest"}},
				{name: "pipeline/embedded", imports: []string{"github.com/ebitengine/purego", "github.com/twmb/franz-go/pkg/kfake"}},
				{name: "pipeline/embedded/embeddedtest", imports: []string{"pipeline/embedded"}},
				{name: "pipeline/e2e", tests: []string{"pipeline/ingest", "pipeline/classify", "cmd/carom/demo"}},
				{name: "cmd/carom", imports: []string{"pipeline/embedded", "pipeline/ingest"}},
				{name: "cmd/classify", imports: []string{"pipeline/classify"}},
			},
			deps: map[string][]string{"cmd/classify": {"pipeline/classify"}, "cmd/carom": {"pipeline/embedded"}},
		},
		{
			name: "second importer of a client",
			own:  []pkg{{name: "pipeline/ingest", imports: []string{"github.com/segmentio/kafka-go"}}},
			want: "pipeline/ingest imports github.com/segmentio/kafka-go; only pipeline/broker may: offsets, acks and retries are decided in one place",
		},
		{
			name: "second importer in a test",
			own:  []pkg{{name: "pipeline/e2e", tests: []string{"github.com/ClickHouse/clickhouse-go/v2"}}},
			want: "pipeline/e2e imports github.com/ClickHouse/clickhouse-go/v2 in a test; only pipeline/warehouse may: the writer's idempotence is decided in one place",
		},
		{
			name: "development broker in production",
			own:  []pkg{{name: "pipeline/broker", imports: []string{"github.com/twmb/franz-go/pkg/kgo"}}},
			want: "pipeline/broker imports github.com/twmb/franz-go/pkg/kgo; only pipeline/embedded may: it is the development broker, and the yardstick of benchmarks",
		},
		{
			name: "stage imports embedded",
			own:  []pkg{{name: "pipeline/ingest", imports: []string{"pipeline/embedded"}}},
			want: "pipeline/ingest imports pipeline/embedded; only cmd/carom and tests may",
		},
		{
			name: "production imports test support",
			own:  []pkg{{name: "cmd/carom", imports: []string{"pipeline/embedded/embeddedtest"}}},
			want: "cmd/carom imports pipeline/embedded/embeddedtest, which is for tests",
		},
		{
			name: "stage imports stage",
			own:  []pkg{{name: "pipeline/classify", imports: []string{"pipeline/ingest"}}},
			want: "pipeline/classify imports pipeline/ingest: stages meet in schema, and only cmd imports a stage",
		},
		{
			name: "test of a stage imports a stage",
			own:  []pkg{{name: "pipeline/classify", tests: []string{"pipeline/ingest/internal"}}},
			want: "pipeline/classify imports pipeline/ingest/internal: stages meet in schema, and only cmd imports a stage",
		},
		{
			name: "leaf imports stage",
			own:  []pkg{{name: "pipeline/fold", imports: []string{"pipeline/aggregate"}}},
			want: "pipeline/fold imports pipeline/aggregate: stages meet in schema, and only cmd imports a stage",
		},
		{
			name: "leaf imports cmd",
			own:  []pkg{{name: "pipeline/fold", imports: []string{"cmd/carom"}}},
			want: "pipeline/fold imports cmd/carom: cmd is at the top",
		},
		{
			name: "schema imports leaf",
			own:  []pkg{{name: "schema", imports: []string{"pipeline/address"}}},
			want: "schema imports pipeline/address: schema is at the bottom",
		},
		{
			name: "arrow not listed",
			own:  []pkg{{name: "pipeline/smtpreply", imports: []string{"pipeline/mtalog"}}},
			want: "pipeline/smtpreply imports pipeline/mtalog: this arrow from leaf to leaf is not listed",
		},
		{
			name: "arrow listed and gone",
			own:  []pkg{{name: "pipeline/control"}, {name: "pipeline/broker"}},
			want: "pipeline/control no longer imports pipeline/broker: remove the arrow from the list",
		},
		{
			name: "arrow to a package that does not exist yet",
			own:  []pkg{{name: "pipeline/control"}},
		},
		{
			name: "service reaches the development broker",
			own:  []pkg{{name: "cmd/ingest"}},
			deps: map[string][]string{"cmd/ingest": {"pipeline/ingest"}, "pipeline/ingest": {"x.dev/y"}, "x.dev/y": {"github.com/twmb/franz-go/pkg/kfake"}},
			want: "cmd/ingest reaches github.com/twmb/franz-go/pkg/kfake: cmd/ingest -> pipeline/ingest -> x.dev/y -> github.com/twmb/franz-go/pkg/kfake",
		},
		{
			name: "service reaches embedded",
			own:  []pkg{{name: "cmd/aggregate"}},
			deps: map[string][]string{"cmd/aggregate": {"pipeline/api"}, "pipeline/api": {"pipeline/embedded"}},
			want: "cmd/aggregate reaches pipeline/embedded: cmd/aggregate -> pipeline/api -> pipeline/embedded",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := strings.Join(violations(tc.own, tc.deps), "\n"); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
