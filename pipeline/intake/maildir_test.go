package intake

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// maildirConfig has a reader of one Maildir.
func maildirConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Maildir.Dirs, cfg.Maildir.Interval = []string{dir}, time.Second
	return cfg
}

// Mails in new/ come into the log and then move to cur/, marked as seen; what is no mail stays where it is and holds up
// nothing.
func TestMaildir(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	cfg := maildirConfig(dir)
	cfg.KeepBytes = 8 << 10
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "new/1.a", "Subject: a\n\nline\n.\r\n\x00")
	put(t, dir, "new/2.b:2,FT", "b")
	put(t, dir, "new/3.large", strings.Repeat("x", 100<<10))
	put(t, dir, "new/4.empty", "")
	put(t, dir, "new/.hidden", "not a mail")
	put(t, dir, "cur/5.c:2,", "cur is not asked for")
	for name, err := range map[string]error{
		"link":        os.Symlink(outside, filepath.Join(dir, "new", "link")),
		"broken link": os.Symlink("nowhere", filepath.Join(dir, "new", "broken")),
		"directory":   os.Mkdir(filepath.Join(dir, "new", "directory"), 0o700),
		"pipe":        syscall.Mkfifo(filepath.Join(dir, "new", "pipe"), 0o600),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "tmp", "half"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.open(cfg)
	within(t, "all is moved", func() bool { return ls(t, dir+"/cur") == "1.a:2,S 2.b:2,FST 3.large:2,S 4.empty:2,S 5.c:2," })
	if got := ls(t, dir+"/new"); got != ".hidden broken directory link pipe" {
		t.Errorf("in new/: %s", got)
	}
	if got := ls(t, dir+"/tmp"); got != "half" {
		t.Errorf("in tmp/: %s", got)
	}
	r.want("Subject: a\n\nline\n.\r\n\x00", "b", strings.Repeat("x", 8<<10), "")
	for _, rec := range r.records() {
		want := "carom-format=mail carom-feed=maildir"
		if len(rec.Value) == 8<<10 {
			want += fmt.Sprintf(" carom-cut=%d", 100<<10)
		}
		if headers(rec) != want || string(rec.Key) != mailKey(string(rec.Value)) {
			t.Errorf("key %s, headers %s; want %s", rec.Key, headers(rec), want)
		}
	}
	// The next looks find nothing new to say about what is no mail.
	time.Sleep(2500 * time.Millisecond)
	for result, n := range map[string]float64{"ok": 4, "irregular": 4} {
		if got := r.count("carom_intake_requests_total", "door=maildir", "result="+result); got != n {
			t.Errorf("%v counted as %s, want %v", got, result, n)
		}
	}
	if n := r.count("carom_intake_maildir_backlog", "maildir=0"); n != 0 {
		t.Errorf("backlog %v", n)
	}
	if strings.Contains(r.log.String(), "1.a") {
		t.Error("the log shows a file's name")
	}
}

func TestMaildirReadsCurAndDeletes(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	put(t, dir, "new/1", "one")
	put(t, dir, "cur/2:2,", "two")
	put(t, dir, "cur/3:2,R", "three")
	put(t, dir, "cur/4:2,RS", "a person has seen it")
	put(t, dir, "cur/5", "five")
	cfg := maildirConfig(dir)
	cfg.Maildir.ReadCur = true
	r.open(cfg)
	within(t, "all is marked", func() bool { return ls(t, dir+"/cur") == "1:2,S 2:2,S 3:2,RS 4:2,RS 5:2,S" && ls(t, dir+"/new") == "" })
	r.want("five", "one", "three", "two")
	r.stop()
	cfg.Maildir.Delete = true
	put(t, dir, "new/6", "six")
	put(t, dir, "cur/7:2,R", "seven")
	r.open(cfg)
	within(t, "all is gone", func() bool { return ls(t, dir+"/cur") == "1:2,S 2:2,S 3:2,RS 4:2,RS 5:2,S" && ls(t, dir+"/new") == "" })
	r.want("five", "one", "seven", "six", "three", "two")
}

// The oldest mails are taken first, in bounded looks; the rest is counted.
func TestMaildirTakesTheOldestFirst(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	const n = 2*maxLook + 100
	now := time.Now()
	for i := range n {
		path := filepath.Join(dir, "new", fmt.Sprint(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := now.Add(-time.Duration((i*7919)%n) * time.Second)
		if err := os.Chtimes(path, at, at); err != nil { // 7919 and n have no divisor in common
			t.Fatal(err)
		}
	}
	r.open(maildirConfig(maildir(t)))
	work, total, err := r.doors.maildir.look(filepath.Join(dir, "new"), false, nil)
	if err != nil || total != n || len(work) > 2*maxLook {
		t.Fatalf("%d of %d, err %v", len(work), total, err)
	}
	work = oldest(work, maxLook)
	for i, p := range work {
		number := 0
		fmt.Sscan(filepath.Base(p.path), &number)
		if want := n - 1 - i; (number*7919)%n != want {
			t.Fatalf("at %d: a mail of age %d, want %d", i, (number*7919)%n, want)
		}
	}
	r.doors.maildir.measure(0, total, work)
	if got := r.count("carom_intake_maildir_backlog"); got != n {
		t.Errorf("backlog %v", got)
	}
	if got := r.count("carom_intake_maildir_oldest_seconds"); got < n-1 || got > n+100 {
		t.Errorf("oldest %v s", got)
	}
}

// What cannot be moved is written once, not with each look; when it can be moved again, it is.
func TestMaildirThatCannotBeMoved(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	put(t, dir, "new/1", "one")
	r.open(maildirConfig(maildir(t)))
	d, err := newMaildirDoor(maildirConfig(dir), r.doors.maildir.sink, r.process.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "cur"), filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	sweep := func() {
		t.Helper()
		if _, err := d.sweep(t.Context(), 1, dir, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		sweep()
	}
	r.want("one")
	if n := r.count("carom_intake_requests_total", "result=move"); n != 1 || len(d.unmoved) != 1 {
		t.Errorf("%v counted, %d remembered", n, len(d.unmoved))
	}
	if err := os.Rename(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "cur")); err != nil {
		t.Fatal(err)
	}
	sweep()
	if got := ls(t, dir+"/cur"); got != "1:2,S" || len(d.unmoved) != 0 {
		t.Errorf("in cur/: %s; %d remembered", got, len(d.unmoved))
	}
	// Another mail's name in cur/ is not taken from it.
	put(t, dir, "new/1", "another one")
	sweep()
	if text, err := os.ReadFile(filepath.Join(dir, "cur", "1:2,S")); err != nil || string(text) != "one" {
		t.Errorf("the first mail is %q, err %v", text, err)
	}
	if got := ls(t, dir+"/cur"); got != "1:2,S 1_1:2,S" {
		t.Errorf("in cur/: %s", got)
	}
	r.want("another one", "one")
	// The memory is bounded: then nothing more is written, and what has gone makes room.
	for i := range maxUnmoved {
		d.unmoved[filepath.Join(dir, "new", fmt.Sprint("gone", i))] = true
	}
	put(t, dir, "new/2", "two")
	sweep()
	r.want("another one", "one", "two")
	if len(d.unmoved) != 0 {
		t.Errorf("%d remembered", len(d.unmoved))
	}
	for i := range maxUnmoved {
		d.unmoved[filepath.Join(dir, "cur", "1:2,S")+strings.Repeat("/", i)] = true
	}
	put(t, dir, "new/3", "three")
	if _, err := d.sweep(t.Context(), 1, dir, func() {}); err == nil {
		t.Error("more than the bound was written")
	}
	r.want("another one", "one", "two")
}

// Files that go away or change into something else between the look and the reading are left alone.
func TestReadMail(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if _, _, why := readMail(path, 10); why != resultVanished {
		t.Errorf("nothing there: %s", why)
	}
	if err := os.WriteFile(path, []byte("0123456789abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, size, why := readMail(path, 10); string(text) != "0123456789" || size != 13 || why != resultOK {
		t.Errorf("%q, %d, %s", text, size, why)
	}
	for name, make := range map[string]func(string) error{
		"link": func(p string) error { return os.Symlink(path, p) }, "directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"pipe": func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		p := filepath.Join(dir, name)
		if err := make(p); err != nil {
			t.Fatal(err)
		}
		if _, _, why := readMail(p, 10); why != resultIrregular {
			t.Errorf("%s: %s", name, why)
		}
	}
	// The superuser may read everything, so the file is one that nobody can: a path through a file.
	if _, _, why := readMail(filepath.Join(path, "x"), 10); why != resultUnreadable {
		t.Errorf("unreadable: %s", why)
	}
}

// A Maildir that goes away is a warning, and its mails are read when it is back.
func TestMaildirThatGoesAway(t *testing.T) {
	r := newRig(t)
	dir := maildir(t)
	r.open(maildirConfig(dir))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	put(t, dir+".away", "new/1", "one")
	within(t, "it is said", func() bool { return strings.Contains(r.log.String(), "Maildir was not read to its end") })
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	within(t, "the mail is read", func() bool { return ls(t, dir+"/cur") == "1:2,S" })
	r.want("one")
	cfg := maildirConfig(t.TempDir())
	if _, err := Open(r.process, cfg, r.client); err == nil || !strings.Contains(err.Error(), "no directory new") {
		t.Errorf("no Maildir: %v", err)
	}
}
