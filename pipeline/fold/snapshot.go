package fold

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A snapshot file: magic, length of the header, header (JSON), state, CRC-32C of all before. It is written to a
// temporary name, synced, renamed, and the directory is synced: a crash leaves the old file or the new one.

const (
	magic        = "CAROMSNAP1\n"
	keepFiles    = 2
	snapshotMode = 0o600
)

type header struct {
	Stage      string `json:"stage"`
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	Partitions int    `json:"partitions"`
	Next       int64  `json:"next"`
	Last       int64  `json:"last"` // offset of the last record folded, and its checksum
	LastCRC    uint32 `json:"last_crc"`
}

type snapshots struct {
	dir, stage, topic string
	partition         int32
}

func (s snapshots) prefix() string {
	return fmt.Sprintf("%s-%s-%d.", s.stage, s.topic, s.partition)
}

func (s snapshots) write(h header, m Machine) (int, error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return 0, fmt.Errorf("snapshot directory: %w", err)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return 0, fmt.Errorf("snapshot header: %w", err)
	}
	b := append([]byte(nil), magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	b = m.AppendState(b)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))

	name := filepath.Join(s.dir, fmt.Sprintf("%s%020d.snap", s.prefix(), h.Next))
	if err := writeSynced(name, b); err != nil {
		return 0, fmt.Errorf("write snapshot: %w", err)
	}
	return len(b), s.prune()
}

func writeSynced(name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, snapshotMode)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s snapshots) prune() error {
	files, err := s.list()
	if err != nil {
		return err
	}
	for _, f := range files[min(keepFiles, len(files)):] {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("remove old snapshot: %w", err)
		}
	}
	return nil
}

// list returns this partition's snapshots, the newest first.
func (s snapshots) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), s.prefix()) && strings.HasSuffix(e.Name(), ".snap") {
			out = append(out, filepath.Join(s.dir, e.Name()))
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out, nil
}

func (s snapshots) putAside(name string) error {
	if err := os.Rename(name, name+".damaged"); err != nil {
		return fmt.Errorf("put a damaged snapshot aside: %w", err)
	}
	return nil
}

func (s snapshots) read(name string, m Machine) (header, error) {
	var h header
	b, err := os.ReadFile(name)
	if err != nil {
		return h, err
	}
	if len(b) < len(magic)+8 || !bytes.HasPrefix(b, []byte(magic)) {
		return h, errors.New("not a snapshot")
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return h, fmt.Errorf("checksum %08x, want %08x", got, sum)
	}
	n := int(binary.BigEndian.Uint32(body[len(magic):]))
	rest := body[len(magic)+4:]
	if n > len(rest) {
		return h, errors.New("header is longer than the file")
	}
	if err := json.Unmarshal(rest[:n], &h); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	if h.Stage != s.stage || h.Topic != s.topic || h.Partition != s.partition {
		return h, fmt.Errorf("belongs to %s %s/%d", h.Stage, h.Topic, h.Partition)
	}
	if err := m.LoadState(rest[n:]); err != nil {
		return h, fmt.Errorf("state: %w", err)
	}
	return h, nil
}
