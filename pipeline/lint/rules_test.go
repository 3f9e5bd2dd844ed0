package lint

import (
	"fmt"
	"slices"
	"strings"
)

const module = "carom.dev/carom"

// clients are the modules with one owner: whoever else wants what they give goes through that package.
var clients = []struct {
	module string
	owner  string // the only importer, sub-packages included
	tests  bool   // whether tests of any package may import it too
	why    string
}{
	{"github.com/segmentio/kafka-go", "pipeline/broker", false, "offsets, acks and retries are decided in one place"},
	{"github.com/ClickHouse/clickhouse-go", "pipeline/warehouse", false, "the writer's idempotence is decided in one place"},
	{"github.com/ClickHouse/ch-go", "pipeline/warehouse", false, "the writer's idempotence is decided in one place"},
	{"github.com/ebitengine/purego", "pipeline/embedded", false, "it makes a binary dynamically linked"},
	{"github.com/twmb/franz-go", "pipeline/embedded", true, "it is the development broker, and the yardstick of benchmarks"},
	{"github.com/peterbourgon/ff", "pipeline/service", false, "precedence of flag, environment and file is the same everywhere"},
}

var (
	stages   = []string{"pipeline/ingest", "pipeline/classify", "pipeline/aggregate", "pipeline/detect"}
	services = []string{"cmd/ingest", "cmd/classify", "cmd/aggregate"}
	testOnly = []string{"pipeline/e2e", "pipeline/lint", "pipeline/embedded/embeddedtest"}
	// embedders may import pipeline/embedded in their own code; everybody's tests may.
	embedders = []string{"cmd/carom", "pipeline/embedded/embeddedtest", "pipeline/local"}
	// compositions put stages together: the third service, the system on one machine, the demonstration. Only cmd, tests
	// and each other import them.
	compositions = []string{"pipeline/assembly", "pipeline/local", "pipeline/demo"}
	// unreachable is what no service may depend on, directly or not.
	unreachable = []string{module + "/pipeline/embedded", "github.com/ebitengine/purego", "github.com/twmb/franz-go"}
)

// arrows are the imports from leaf to leaf, tests left out. The list is exact: an import that is not listed fails, and so
// does an entry whose import is gone. Entries for packages that are not in the tree are ignored.
var arrows = map[string][]string{
	"pipeline/cells":          {"pipeline/state"},
	"pipeline/control":        {"pipeline/broker"},
	"pipeline/embedded":       {"pipeline/warehouse"},
	"pipeline/eventjson":      {"pipeline/smtpreply"},
	"pipeline/feed":           {"pipeline/address", "pipeline/site", "pipeline/smtpreply"},
	"pipeline/fold":           {"pipeline/broker", "pipeline/service"},
	"pipeline/intake":         {"pipeline/address", "pipeline/broker", "pipeline/feed", "pipeline/intake/lmtp", "pipeline/service"},
	"pipeline/report":         {"pipeline/address", "pipeline/alert", "pipeline/warehouse"},
	"pipeline/source":         {"pipeline/dsn", "pipeline/feed", "pipeline/mtalog", "pipeline/site", "pipeline/state"},
	"pipeline/survey":         {"pipeline/address", "pipeline/envelope", "pipeline/eventjson", "pipeline/feed", "pipeline/mtalog", "pipeline/provider", "pipeline/report", "pipeline/rules", "pipeline/site", "pipeline/source"},
	"pipeline/mtalog":         {"pipeline/address", "pipeline/site", "pipeline/smtpreply"},
	"pipeline/rules/accuracy": {"pipeline/eventjson", "pipeline/provider", "pipeline/rules"},
	"pipeline/rules":          {"pipeline/provider", "pipeline/rules/automaton", "pipeline/smtpreply"},
	"pipeline/dsn":            {"pipeline/address", "pipeline/smtpreply"},
	"pipeline/recipient":      {},
}

// pkg is what the rules see of a package. Names are relative to the module for its own packages, full for others.
type pkg struct {
	name    string
	imports []string // of the package itself
	tests   []string // of its tests, those in package x_test included
	empty   bool     // it has no code of its own yet
}

// violations returns every breach of the rules, sorted.
func violations(own []pkg, deps map[string][]string) []string {
	var out []string
	report := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	known := map[string]bool{}
	for _, p := range own {
		known[p.name] = known[p.name] || !p.empty
	}

	for _, p := range own {
		for _, c := range clients {
			if within(p.name, c.owner) {
				continue
			}
			if i := find(p.imports, c.module); i != "" {
				report("%s imports %s; only %s may: %s", p.name, i, c.owner, c.why)
			}
			if i := find(p.tests, c.module); i != "" && !c.tests {
				report("%s imports %s in a test; only %s may: %s", p.name, i, c.owner, c.why)
			}
		}
		for _, i := range p.imports {
			if within(i, "pipeline/embedded") && !within(p.name, "pipeline/embedded") && !slices.Contains(embedders, p.name) {
				report("%s imports %s; only cmd/carom and tests may", p.name, i)
			}
			if oneOf(i, testOnly) {
				report("%s imports %s, which is for tests", p.name, i)
			}
			if isLeaf(p.name) && isLeaf(i) && !within(i, "pipeline/embedded") && !slices.Contains(arrows[p.name], i) {
				report("%s imports %s: this arrow from leaf to leaf is not listed", p.name, i)
			}
		}
		if within(p.name, "cmd") || oneOf(p.name, testOnly) || oneOf(p.name, compositions) {
			continue // they may import everything of Carom
		}
		for _, i := range slices.Concat(p.imports, p.tests) {
			switch {
			case within(i, "cmd"):
				report("%s imports %s: cmd is at the top", p.name, i)
			case within(p.name, "schema") && isOwn(i) && !within(i, "schema"):
				report("%s imports %s: schema is at the bottom", p.name, i)
			case oneOf(i, compositions):
				report("%s imports %s: only cmd and tests import a composition", p.name, i)
			case stageOf(i) != "" && stageOf(i) != stageOf(p.name):
				report("%s imports %s: stages meet in schema, and only cmd imports a stage", p.name, i)
			}
		}
	}

	for from, tos := range arrows {
		for _, to := range tos {
			if known[from] && known[to] && !slices.ContainsFunc(own, func(p pkg) bool { return p.name == from && slices.Contains(p.imports, to) }) {
				report("%s no longer imports %s: remove the arrow from the list", from, to)
			}
		}
	}

	for _, s := range services {
		for _, u := range unreachable {
			u = strings.TrimPrefix(u, module+"/")
			if path := reach(deps, s, u); path != nil {
				report("%s reaches %s: %s", s, path[len(path)-1], strings.Join(path, " -> "))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// within reports whether name is the package or module root or below it. A version suffix (/v2) is below.
func within(name, root string) bool { return name == root || strings.HasPrefix(name, root+"/") }

func oneOf(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return within(name, root) })
}

func find(imports []string, root string) string {
	for _, i := range imports {
		if within(i, root) {
			return i
		}
	}
	return ""
}

func isOwn(name string) bool {
	return within(name, "cmd") || within(name, "pipeline") || within(name, "schema")
}

// stageOf returns the stage that a package belongs to, or "".
func stageOf(name string) string {
	for _, s := range stages {
		if within(name, s) {
			return s
		}
	}
	return ""
}

func isLeaf(name string) bool {
	return within(name, "pipeline") && name != "pipeline" && stageOf(name) == "" && !oneOf(name, testOnly) && !oneOf(name, compositions)
}

// reach returns the shortest chain of imports from a package to one within root, or nil.
func reach(deps map[string][]string, from, root string) []string {
	via := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if within(at, root) {
			var path []string
			for ; at != ""; at = via[at] {
				path = append(path, at)
			}
			slices.Reverse(path)
			return path
		}
		for _, next := range deps[at] {
			if _, seen := via[next]; !seen {
				via[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}
