package embedded

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// relay stands before the server's native port. In this build an exception that leaves a connection's handler ends the
// whole server, and a client that is killed causes one: the server writes to a socket that was reset. Behind the relay
// the server never sees a reset: a client that breaks is an orderly end of input, and what the server still has to say
// is read and dropped. It also lets the server stop at once, which takes 5 s while a client is connected.
type relay struct {
	ln     net.Listener
	target string // set before serve
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	clients map[net.Conn]bool
}

func newRelay(addr string) (*relay, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errPortTaken, addr, err)
	}
	return &relay{ln: ln, clients: make(map[net.Conn]bool)}, nil
}

// serve accepts until the listener is closed.
func (r *relay) serve() {
	for {
		client, err := r.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // of one connection, or out of files for a moment
		}
		if !r.add(client) {
			client.Close()
			continue
		}
		go func() {
			defer r.remove(client)
			r.pass(client)
		}()
	}
}

func (r *relay) add(client net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.clients[client] = true
	r.wg.Add(1)
	return true
}

func (r *relay) remove(client net.Conn) {
	client.Close()
	r.mu.Lock()
	delete(r.clients, client)
	r.mu.Unlock()
	r.wg.Done()
}

// pass copies both ways until the server closes its side.
func (r *relay) pass(client net.Conn) {
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// However the client ended, the server sees an end of input.
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.Copy(client, server); err != nil {
		_, _ = io.Copy(io.Discard, server)
	}
	client.Close()
	<-done
}

// close refuses new clients and cuts off those that are there.
func (r *relay) close() {
	r.ln.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for c := range r.clients {
		c.Close()
	}
}

// wait waits for the last connection, after close and the server's end.
func (r *relay) wait() { r.wg.Wait() }
