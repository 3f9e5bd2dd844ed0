package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// receiver stands in for on-call: a webhook on this machine that keeps what it is sent.
type receiver struct {
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	notes []note
}

// note is one request.
type note struct {
	headers []string
	body    string // indented JSON
	fields  struct {
		Type string `json:"type"`
		Data struct {
			ID       string `json:"id"`
			Revision int    `json:"revision"`
			Kind     string `json:"kind"`
			Provider string `json:"provider"`
			Summary  string `json:"summary"`
		} `json:"data"`
	}
}

// line says a notification in one line.
func (n note) line() string {
	d := n.fields.Data
	return fmt.Sprintf("%-18s %s r%d  %s", n.fields.Type, d.ID, d.Revision, d.Summary)
}

const maxNote = 1 << 20

func listen() (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("webhook receiver: %w", err)
	}
	r := &receiver{listener: l}
	r.server = &http.Server{Handler: http.HandlerFunc(r.take), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second}
	go func() {
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // a listener of our own that nobody else closes
		}
	}()
	return r, nil
}

func (r *receiver) url() string { return "http://" + r.listener.Addr().String() + "/on-call" }

func (r *receiver) close() error { return r.server.Close() }

func (r *receiver) take(w http.ResponseWriter, q *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, q.Body, maxNote))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	n := note{}
	for _, h := range []string{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"} {
		n.headers = append(n.headers, h+": "+q.Header.Get(h))
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, b, "", "  ") != nil || json.Unmarshal(b, &n.fields) != nil {
		http.Error(w, "not JSON", http.StatusBadRequest)
		return
	}
	n.body = pretty.String()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, n)
}

// received returns the notifications, waiting a little for the last of at least so many incidents.
func (r *receiver) received(ctx context.Context, incidents int) []note {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		r.mu.Lock()
		notes := slices.Clone(r.notes)
		r.mu.Unlock()
		ids := map[string]bool{}
		for _, n := range notes {
			ids[n.fields.Data.ID] = true
		}
		if len(ids) >= incidents {
			return notes
		}
		select {
		case <-ctx.Done():
			return notes
		case <-time.After(50 * time.Millisecond):
		}
	}
}
