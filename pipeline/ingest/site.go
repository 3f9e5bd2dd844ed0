package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/intake"
	"carom.dev/carom/pipeline/site"
	"carom.dev/carom/schema"
)

const (
	maxKeys     = 10_000
	maxKeyBytes = 16 << 10 // a public key in PEM is some hundred bytes
)

// LoadSite reads a site file and the secrets that it names from a directory, a file each. Either may be empty. What the
// file names and the directory lacks is an error.
func LoadSite(file, keysDir string) (*site.Site, site.Keys, error) {
	keys, err := loadKeys(keysDir)
	if err != nil || file == "" {
		return nil, keys, err
	}
	text, err := readBounded(file, site.MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	s, err := site.Parse(text)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	var missing []string
	for _, name := range s.AllKeyNames() {
		if _, ok := keys[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, nil, fmt.Errorf("%s names keys that are not in the directory %q: %s", file, keysDir, strings.Join(missing, ", "))
	}
	return s, keys, nil
}

// loadKeys reads every file of a directory; line ends at the end of a file are no part of its secret.
func loadKeys(dir string) (site.Keys, error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > maxKeys {
		return nil, fmt.Errorf("%s: %d files, at most %d are allowed", dir, len(entries), maxKeys)
	}
	keys := site.Keys{}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // a mounted secret is a symbolic link
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		b, err := readBounded(path, maxKeyBytes)
		if err != nil {
			return nil, err
		}
		keys[e.Name()] = []byte(strings.TrimRight(string(b), "\r\n"))
	}
	return keys, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// announce writes the site file into every partition of the raw topics, where the folds meet it in the order of the log.
// Each start of each replica does so: a fold ignores a revision that is not above its own.
func announce(ctx context.Context, client *broker.Client, topics []string, s *site.Site) error {
	if s == nil {
		return nil
	}
	var out []broker.Message
	for _, topic := range topics {
		n, err := client.Partitions(ctx, topic)
		if err != nil {
			return err
		}
		for p := range int32(n) {
			out = append(out, broker.Message{
				Topic: topic, Partition: p, Value: []byte(s.Text()),
				Headers: []broker.Header{{Key: schema.HeaderControl, Value: []byte(schema.ControlSite)}},
			})
		}
	}
	if err := client.Produce(ctx, out); err != nil {
		return errors.Join(errors.New("write the site file into the raw topics"), err)
	}
	return nil
}

// endpoints makes the doors' endpoints of the site's feeds.
func endpoints(s *site.Site, keys site.Keys) []intake.Endpoint {
	var out []intake.Endpoint
	for _, f := range s.Feeds() {
		e := intake.Endpoint{Name: f.Name, Format: f.Format, SNSTopics: f.TopicARNs, ConfirmSubscriptions: f.Confirm}
		if f.Bearer != "" {
			e.Bearer = [][]byte{keys[f.Bearer]}
		}
		if f.Password != "" {
			e.Basic = []intake.BasicAuth{{User: f.User, Password: keys[f.Password]}}
		}
		switch {
		case f.Signature == "":
		case f.Format == feed.SendGrid:
			e.SendGridKey = string(keys[f.Signature])
		default:
			e.MailgunKey = keys[f.Signature]
		}
		out = append(out, e)
	}
	return out
}
