package embedded_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"carom.dev/carom/pipeline/embedded"
)

// fakeNPM is an npm that writes a small library, counts its calls in ran, and takes its time.
const fakeNPM = `#!/bin/sh
echo run >> ran
sleep 0.2
mkdir -p node_modules/@chdb/lib-linux-x64-gnu
echo library > node_modules/@chdb/lib-linux-x64-gnu/libchdb.so
`

func withNPM(t *testing.T, script string) {
	t.Helper()
	bin := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	if script == "" {
		t.Setenv("PATH", bin)
	}
}

func runs(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "ran"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(b), "run")
}

func TestConcurrentFetchesRunOnce(t *testing.T) {
	withNPM(t, fakeNPM)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			lib, err := embedded.FetchClickHouse(t.Context(), dir, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := os.ReadFile(lib); err != nil || string(b) != "library\n" {
				t.Errorf("%s: %q %v", lib, b, err)
			}
		})
	}
	wg.Wait()
	if n := runs(t, dir); n != 1 {
		t.Errorf("npm ran %d times", n)
	}
}

func TestDamagedOrOtherLibraryIsFetchedAgain(t *testing.T) {
	withNPM(t, fakeNPM)
	dir := t.TempDir()
	fetch := func(want int) {
		t.Helper()
		if _, err := embedded.FetchClickHouse(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
		if n := runs(t, dir); n != want {
			t.Errorf("npm ran %d times, want %d", n, want)
		}
	}
	fetch(1)
	fetch(1)
	lib := filepath.Join(dir, "node_modules/@chdb/lib-linux-x64-gnu/libchdb.so")
	if err := os.Truncate(lib, 3); err != nil {
		t.Fatal(err)
	}
	fetch(2)
	if err := os.WriteFile(filepath.Join(dir, "carom-complete"), []byte("26.6.0\nsha512-other\n8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fetch(3)
}

func TestFetchErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"no npm":      {"", "install Node.js with npm or set CAROM_CLICKHOUSE_DSN"},
		"npm fails":   {"#!/bin/sh\necho EINTEGRITY sha512 mismatch >&2\nexit 1\n", "EINTEGRITY sha512 mismatch"},
		"no library":  {"#!/bin/sh\nexit 0\n", "npm ci brought no library"},
		"much output": {"#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8 9; do printf '%01000d' 0; done\necho the end\nexit 1\n", "the end"},
	} {
		t.Run(name, func(t *testing.T) {
			withNPM(t, c.script)
			_, err := embedded.FetchClickHouse(t.Context(), t.TempDir(), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 6000 {
				t.Fatalf("got %v", err)
			}
			if name != "no library" && !errors.Is(err, embedded.ErrNoClickHouse) {
				t.Errorf("kind of %v", err)
			}
		})
	}
}

func TestCancelledFetchLeavesNothingBehind(t *testing.T) {
	withNPM(t, "#!/bin/sh\nexec sleep 30\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by the test")
	cancel(stop)
	dir := t.TempDir()
	if _, err := embedded.FetchClickHouse(ctx, dir, nil); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	withNPM(t, fakeNPM)
	if _, err := embedded.FetchClickHouse(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
}

// The lock file goes into git: it has to pin a hash, and no registry.
func TestLockFilePinsHashAndNoHost(t *testing.T) {
	data, err := os.ReadFile("chdb/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Resolved, Integrity string }
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		t.Fatal(err)
	}
	libraries := 0
	for name, p := range lock.Packages {
		if name == "" {
			continue
		}
		libraries++
		if p.Version == "" || p.Resolved != "" || !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if libraries == 0 {
		t.Error("no library")
	}
}

func TestCacheDirIsBelowTheModule(t *testing.T) {
	t.Setenv("CAROM_CACHE", "")
	dir, err := embedded.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "..", "go.mod")); err != nil {
		t.Error(err)
	}
	t.Setenv("CAROM_CACHE", "/elsewhere")
	if dir, err := embedded.CacheDir(); err != nil || dir != "/elsewhere" {
		t.Errorf("%s %v", dir, err)
	}
}
