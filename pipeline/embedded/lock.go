package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const lockPoll = 100 * time.Millisecond

// errLocked says that another process holds the lock.
var errLocked = errors.New("locked by another process")

// openLock takes the exclusive lock of the file name in dir without waiting and writes this process's id into it. The
// lock belongs to the open file: it ends when the last copy is closed, the copy of a child process included.
func openLock(dir, name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner := lockOwner(f)
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &lockedError{dir: dir, owner: owner}
		}
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, strconv.Itoa(os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock file: %w", err)
	}
	return f, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// lockOwner returns the process id in a lock file, 0 where there is none.
func lockOwner(f *os.File) int {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}

// lockedError names the directory and the process that has it.
type lockedError struct {
	dir   string
	owner int // process id, 0 unknown
}

func (e *lockedError) Error() string {
	if e.owner == 0 {
		return fmt.Sprintf("directory %s is in use by another process", e.dir)
	}
	return fmt.Sprintf("directory %s is in use by process %d", e.dir, e.owner)
}

func (e *lockedError) Is(target error) bool { return target == errLocked }

// ownerGone reports whether the process that wrote the lock has ended. Its child may still hold the lock for the moment
// that it needs to end as well.
func (e *lockedError) ownerGone() bool {
	return e.owner != 0 && errors.Is(syscall.Kill(e.owner, 0), syscall.ESRCH)
}

// waitLock takes the lock, waiting while keepWaiting says so.
func waitLock(ctx context.Context, dir, name string, keepWaiting func(*lockedError) bool) (*os.File, error) {
	for {
		f, err := openLock(dir, name)
		var locked *lockedError
		if err == nil || !errors.As(err, &locked) || !keepWaiting(locked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(lockPoll):
		}
	}
}
