package embedded

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// The two files pin the library: version and sha512 of the package, checked by npm itself.
var (
	//go:embed chdb/package.json
	packageJSON []byte
	//go:embed chdb/package-lock.json
	packageLockJSON []byte
)

const (
	libPackage = "@chdb/lib-linux-x64-gnu"
	libModule  = "node_modules/" + libPackage
	// doneFile says that npm finished: it unpacks in place, so a killed run leaves a library that is too short.
	doneFile = "carom-complete"
	npmTail  = 4 << 10
)

// ErrNoClickHouse says that this machine cannot run the embedded ClickHouse: unsupported platform, or the library is not
// there and cannot be fetched.
var ErrNoClickHouse = errors.New("no embedded clickhouse")

// CacheDir returns the directory that keeps the ClickHouse library: CAROM_CACHE where it is set, else .cache/clickhouse
// below the Go module that the working directory belongs to, else below the working directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("CAROM_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find cache directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache", "clickhouse"), nil
		}
		if dir == filepath.Dir(dir) {
			return filepath.Join(wd, ".cache", "clickhouse"), nil
		}
	}
}

// FetchClickHouse makes sure that dir holds the pinned ClickHouse library and returns its path. Where it is there already
// nothing is written, so dir may be read-only. Otherwise `npm ci` fetches about 150 MB (540 MB unpacked) and checks them
// against the pinned sha512; several processes may do so at once, one of them works and the others wait. What happens
// is told to progress, which may be nil. An error of the kind ErrNoClickHouse says what to do instead.
func FetchClickHouse(ctx context.Context, dir string, progress io.Writer) (libPath string, err error) {
	if progress == nil {
		progress = io.Discard
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%w for %s/%s: set CAROM_CLICKHOUSE_DSN to a running server", ErrNoClickHouse, runtime.GOOS, runtime.GOARCH)
	}
	pin, err := readPin(packageLockJSON)
	if err != nil {
		return "", err
	}
	libPath = filepath.Join(dir, libModule, "libchdb.so")
	if pin.installed(dir) {
		return libPath, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	lock, err := waitLock(ctx, dir, "fetch.lock", func(*lockedError) bool { return true })
	if err != nil {
		return "", fmt.Errorf("wait for another fetch of clickhouse: %w", err)
	}
	defer lock.Close()
	if pin.installed(dir) {
		return libPath, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w in %s and no npm to fetch it: install Node.js with npm or set CAROM_CLICKHOUSE_DSN to a running server", ErrNoClickHouse, dir)
	}
	fmt.Fprintf(progress, "fetching ClickHouse (%s %s, 540 MB unpacked) into %s\n", libPackage, pin.Version, dir)
	start := time.Now()
	if err := pin.install(ctx, npm, dir); err != nil {
		return "", err
	}
	fmt.Fprintf(progress, "fetched ClickHouse in %s\n", time.Since(start).Round(time.Second))
	return libPath, nil
}

// pin is the library's entry in package-lock.json.
type pin struct {
	Version   string `json:"version"`
	Integrity string `json:"integrity"`
}

func readPin(lockfile []byte) (pin, error) {
	var lock struct {
		Packages map[string]pin `json:"packages"`
	}
	if err := json.Unmarshal(lockfile, &lock); err != nil {
		return pin{}, fmt.Errorf("parse package-lock.json: %w", err)
	}
	p, ok := lock.Packages[libModule]
	if !ok || p.Version == "" || p.Integrity == "" {
		return pin{}, fmt.Errorf("package-lock.json pins no version and integrity of %s", libPackage)
	}
	return p, nil
}

// mark is the content of doneFile: what was installed and how long the library is.
func (p pin) mark(dir string) (string, error) {
	info, err := os.Stat(filepath.Join(dir, libModule, "libchdb.so"))
	if err != nil {
		return "", err
	}
	return p.Version + "\n" + p.Integrity + "\n" + strconv.FormatInt(info.Size(), 10) + "\n", nil
}

// installed reports whether a finished installation of exactly this pin is in dir.
func (p pin) installed(dir string) bool {
	want, err := p.mark(dir)
	if err != nil {
		return false
	}
	got, err := os.ReadFile(filepath.Join(dir, doneFile))
	return err == nil && string(got) == want
}

func (p pin) install(ctx context.Context, npm, dir string) error {
	if err := os.Remove(filepath.Join(dir, doneFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove old mark: %w", err)
	}
	for name, data := range map[string][]byte{"package.json": packageJSON, "package-lock.json": packageLockJSON} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	// Scripts stay off: the package is data, and nothing of it runs before its hash was checked.
	cmd := exec.CommandContext(ctx, npm, "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error")
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		words := bytes.TrimSpace(out.Bytes())
		return fmt.Errorf("%w: npm ci in %s: %w: %s", ErrNoClickHouse, dir, err, words[max(0, len(words)-npmTail):])
	}
	mark, err := p.mark(dir)
	if err != nil {
		return fmt.Errorf("npm ci brought no library: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, doneFile), []byte(mark), 0o644); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	return nil
}
