package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"carom.dev/carom/pipeline/service"
)

// Bounds of the reader.
const (
	maxLook     = 8192             // mails taken from one look at a Maildir
	maxUnmoved  = 8192             // mails that were written and could not be moved
	maxSkipped  = 1024             // files that were counted as no mails
	fileWriters = 8                // mails written at a time
	lookChunk   = 1024             // directory entries read at a time
	touchEvery  = 30 * time.Second // while it waits
	stuckAfter  = 2 * time.Minute
)

// maildirDoor reads Maildirs: https://cr.yp.to/proto/maildir.html. What stands in new/ is complete, by that contract; tmp/ is
// never touched. A mail is moved (or removed) after the brokers have it. If the process dies in between, it is written
// again. A file that cannot be read stays where it is and holds up no other.
//
// It looks at an interval instead of asking the kernel for changes: that works on network file systems too, and a report
// that is some seconds late is none the worse.
type maildirDoor struct {
	cfg     MaildirConfig
	keep    int
	sink    *sink
	log     *slog.Logger
	notices *notices

	mu      sync.Mutex
	unmoved map[string]bool // paths; written, and to be moved only
	skipped map[string]bool // paths; counted once
}

func newMaildirDoor(cfg Config, s *sink, log *slog.Logger) (*maildirDoor, error) {
	for _, dir := range cfg.Maildir.Dirs {
		for _, sub := range []string{"new", "cur"} {
			if info, err := os.Stat(filepath.Join(dir, sub)); err != nil || !info.IsDir() {
				return nil, fmt.Errorf("-intake.maildir-dirs %q: has no directory %s, so it is no Maildir: %w", dir, sub, err)
			}
		}
	}
	return &maildirDoor{
		cfg: cfg.Maildir, keep: cfg.KeepBytes, sink: s, log: log, notices: newNotices(log),
		unmoved: map[string]bool{}, skipped: map[string]bool{},
	}, nil
}

// run reads until ctx ends; the mails that are being written then are finished. touch is called at least every touchEvery,
// or once a mail.
func (d *maildirDoor) run(ctx context.Context, touch func()) error {
	for {
		more := false
		for i, dir := range d.cfg.Dirs {
			m, err := d.sweep(ctx, i, dir, touch)
			if err != nil && ctx.Err() == nil {
				d.notices.warn(doorMaildir, "sweep", "Maildir was not read to its end; it is tried again", "maildir", i, service.Err(err))
			}
			more = more || (m && err == nil)
		}
		wait := d.cfg.Interval
		if more {
			wait = 0
		}
		for begin := time.Now(); ; {
			touch()
			left := wait - time.Since(begin)
			if left <= 0 && ctx.Err() == nil {
				break
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(min(left, touchEvery)):
			}
		}
	}
}

// pending is a mail to be written.
type pending struct {
	path string
	time time.Time // of its last change, which is its delivery
}

// sweep looks at a Maildir once and writes what it finds, the oldest first; more reports that there was more than it took.
func (d *maildirDoor) sweep(ctx context.Context, number int, dir string, touch func()) (more bool, err error) {
	var work []pending
	total := 0
	subs := []string{"new"}
	if d.cfg.ReadCur {
		subs = append(subs, "cur")
	}
	for _, sub := range subs {
		n := 0
		if work, n, err = d.look(filepath.Join(dir, sub), sub == "cur", work); err != nil {
			return false, err
		}
		total += n
	}
	work = oldest(work, maxLook)
	d.measure(number, total, work)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fileWriters)
	for _, p := range work {
		touch()
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return d.take(ctx, p.path) })
	}
	return total > len(work), group.Wait()
}

// look adds the mails in a directory to work, and forgets the newest of them when they are too many.
func (d *maildirDoor) look(dir string, unseen bool, work []pending) ([]pending, int, error) {
	f, err := os.Open(dir)
	if err != nil {
		return work, 0, err
	}
	defer f.Close()
	total := 0
	for {
		entries, err := f.ReadDir(lookChunk)
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), ".") || (unseen && isSeen(e.Name())) {
				continue
			}
			if !e.Type().IsRegular() {
				d.skip(path, resultIrregular)
				continue
			}
			info, err := e.Info()
			if err != nil {
				continue // gone since
			}
			total++
			work = append(work, pending{path, info.ModTime()})
		}
		if len(work) >= 2*maxLook {
			work = oldest(work, maxLook)
		}
		if errors.Is(err, io.EOF) {
			return work, total, nil
		}
		if err != nil {
			return work, total, err
		}
	}
}

// oldest sorts and cuts.
func oldest(work []pending, n int) []pending {
	slices.SortFunc(work, func(a, b pending) int { return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.path, b.path)) })
	return work[:min(len(work), n)]
}

func (d *maildirDoor) measure(number, total int, work []pending) {
	o := metric.WithAttributeSet(attribute.NewSet(attribute.String("maildir", strconv.Itoa(number))))
	age := 0.0
	if len(work) > 0 {
		age = max(0, time.Since(work[0].time).Seconds())
	}
	d.sink.meters.backlog.Record(context.Background(), int64(total), o)
	d.sink.meters.oldest.Record(context.Background(), age, o)
}

// take writes one mail and then moves it. An error is Kafka's: it ends the look, for the next mail would fare no better.
func (d *maildirDoor) take(ctx context.Context, path string) error {
	if ctx.Err() != nil {
		return nil // another has failed, or it is the end
	}
	if d.isUnmoved(path) {
		d.move(path)
		return nil
	}
	text, size, why := readMail(path, d.keep)
	if why != resultOK {
		if why == resultVanished {
			d.sink.meters.request(doorMaildir, doorMaildir, why)
		} else {
			d.skip(path, why)
		}
		return nil
	}
	if !d.mayMove() {
		return fmt.Errorf("%d mails were written and cannot be moved", maxUnmoved)
	}
	d.sink.meters.inFlight.Add(ctx, 1, doorOption(doorMaildir))
	// What is begun is finished, also at the end.
	err := d.sink.write(context.WithoutCancel(ctx), doorMaildir, doorMaildir, mailRecord(doorMaildir, text, size, nil))
	d.sink.meters.inFlight.Add(ctx, -1, doorOption(doorMaildir))
	if err != nil {
		d.sink.meters.request(doorMaildir, doorMaildir, resultBroker)
		return err
	}
	d.sink.meters.request(doorMaildir, doorMaildir, resultOK)
	d.move(path)
	return nil
}

// readMail reads the begin of a regular file. Links are not followed, and nothing is waited for.
func readMail(path string, keep int) (text []byte, size int64, why result) {
	link, err := os.Lstat(path)
	if err != nil {
		return nil, 0, unread(err)
	}
	if !link.Mode().IsRegular() {
		return nil, 0, resultIrregular
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, unread(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !os.SameFile(link, info) { // replaced by a link or a pipe in between
		return nil, 0, resultIrregular
	}
	text, err = io.ReadAll(io.LimitReader(f, int64(keep)))
	if err != nil {
		return nil, 0, resultUnreadable
	}
	return text, max(info.Size(), int64(len(text))), resultOK
}

func unread(err error) result {
	if errors.Is(err, fs.ErrNotExist) {
		return resultVanished
	}
	return resultUnreadable
}

// move takes a written mail out of the way. If it cannot, the mail is remembered, so that only this is tried again.
func (d *maildirDoor) move(path string) {
	err := d.moveFile(path)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil || gone(path) { // or somebody else has moved it
		delete(d.unmoved, path)
		return
	}
	if !d.unmoved[path] {
		d.unmoved[path] = true
		d.sink.meters.request(doorMaildir, doorMaildir, resultMove)
	}
	// The error names the path, in which some programs put addresses.
	var link *os.LinkError
	var file *fs.PathError
	if errors.As(err, &link) {
		err = link.Err
	} else if errors.As(err, &file) {
		err = file.Err
	}
	d.notices.warn(doorMaildir, "move", "mail was written and cannot be moved; it will be written again after a restart", service.Err(err))
}

func (d *maildirDoor) moveFile(path string) error {
	if d.cfg.Delete {
		return os.Remove(path)
	}
	dir, name := filepath.Split(path)
	cur := filepath.Join(filepath.Dir(filepath.Clean(dir)), "cur")
	for i := range 10 {
		to := filepath.Join(cur, seenName(name, i))
		if _, err := os.Lstat(to); err == nil {
			continue // another mail has that name; names should be unique
		}
		return os.Rename(path, to)
	}
	return fs.ErrExist
}

// seenName marks a name as seen; i > 0 makes it another one. The flags stand behind ":2,", in ASCII order.
func seenName(name string, i int) string {
	base, flags, _ := strings.Cut(name, ":2,")
	if i > 0 {
		base += "_" + strconv.Itoa(i)
	}
	all := []byte(flags)
	if !slices.Contains(all, 'S') {
		all = append(all, 'S')
	}
	slices.Sort(all)
	return base + ":2," + string(all)
}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func isSeen(name string) bool {
	_, flags, ok := strings.Cut(name, ":2,")
	return ok && strings.Contains(flags, "S")
}

func (d *maildirDoor) isUnmoved(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unmoved[path]
}

// mayMove reports whether there is room to remember one more mail that cannot be moved.
func (d *maildirDoor) mayMove() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unmoved) >= maxUnmoved {
		maps.DeleteFunc(d.unmoved, func(path string, _ bool) bool { return gone(path) })
	}
	return len(d.unmoved) < maxUnmoved
}

// skip counts a file that is no mail, or none that can be read, once.
func (d *maildirDoor) skip(path string, why result) {
	d.mu.Lock()
	known := d.skipped[path]
	if !known {
		if len(d.skipped) >= maxSkipped {
			clear(d.skipped)
		}
		d.skipped[path] = true
	}
	d.mu.Unlock()
	if !known {
		d.sink.meters.request(doorMaildir, doorMaildir, why)
		d.notices.warn(doorMaildir, string(why), "file in a Maildir is left alone")
	}
}
