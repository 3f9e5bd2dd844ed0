package intake

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"

	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/service"
)

// Bounds of the HTTP server that are no settings.
const (
	feedsPath         = "/v1/feeds/"
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	answerTimeout     = 10 * time.Second // to write an answer
	maxHeaderBytes    = 32 << 10
	maxStreams        = 32       // of an HTTP/2 connection
	streamBuffer      = 64 << 10 // received and not read yet, of an HTTP/2 stream and of a connection
)

// Retry-After, in seconds. The status is 503 throughout and never 429: SNS and others take other 4xx for good, and the
// bounds are the server's, not one client's.
const (
	retryBusy   = 1
	retryBroker = 10
)

// httpDoor takes webhooks: POST /v1/feeds/<name>.
type httpDoor struct {
	sink      *sink
	listener  net.Listener
	server    *http.Server
	endpoints map[string]*endpoint
	bodies    bodies
	slots     *semaphore.Weighted // bodies that are complete and not answered yet
	sns       *snsClient
	maxRecord int
	log       *slog.Logger
	notices   *notices
}

func openHTTP(ctx context.Context, cfg Config, s *sink, log *slog.Logger) (*httpDoor, error) {
	h := cfg.HTTP
	d := &httpDoor{
		sink: s, endpoints: map[string]*endpoint{}, maxRecord: cfg.MaxRecordBytes, log: log, notices: newNotices(log), sns: h.sns,
		bodies: bodies{max: h.MaxBodyBytes, budget: semaphore.NewWeighted(h.MaxInFlightBytes)},
		slots:  semaphore.NewWeighted(int64(h.MaxInFlight)),
	}
	if d.sns == nil {
		d.sns = newSNSClient()
	}
	for _, e := range cfg.Endpoints {
		d.endpoints[e.Name] = newEndpoint(e)
	}
	var tlsConfig *tls.Config
	if h.TLSCertFile != "" {
		files, err := newTLSFiles(h, log)
		if err != nil {
			return nil, err
		}
		tlsConfig = files.config()
	}
	d.server = &http.Server{
		Handler:           d,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: min(readHeaderTimeout, h.ReadTimeout),
		ReadTimeout:       h.ReadTimeout,
		WriteTimeout:      h.ReadTimeout + snsTimeout + 2*cfg.Timeout + answerTimeout, // counted from the end of the header
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: streamBuffer, MaxReceiveBufferPerStream: streamBuffer},
		// Anybody who connects and leaves makes it speak.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", h.Addr)
	if err != nil {
		return nil, fmt.Errorf("-intake.http-addr: %w", err)
	}
	d.listener = netutil.LimitListener(l, h.MaxConnections)
	if tcp, ok := l.Addr().(*net.TCPAddr); tlsConfig == nil && ok && !tcp.IP.IsLoopback() {
		log.Warn("webhooks are taken without TLS beyond this machine: their secrets can be read on the way unless a proxy ends TLS", service.KeyAddr, l.Addr())
	}
	return d, nil
}

func (d *httpDoor) serve() error {
	var err error
	if d.server.TLSConfig != nil {
		err = d.server.ServeTLS(d.listener, "", "")
	} else {
		err = d.server.Serve(d.listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("webhooks at %s: %w", d.listener.Addr(), err)
	}
	return nil
}

// shutdown takes no more requests and waits for those under way until ctx ends; then it cuts them off.
func (d *httpDoor) shutdown(ctx context.Context) error {
	defer d.listener.Close() // the server knows its listener only once serve has begun
	if err := d.server.Shutdown(ctx); err != nil {
		d.server.Close()
		return err
	}
	return nil
}

// answer is what a request is answered with.
type answer struct {
	status  int
	result  result
	text    string // what to do; empty with 200
	retry   int    // seconds; 0: no Retry-After
	records int
	err     error // for debugging; it may not hold secrets, text or addresses
}

// ServeHTTP implements http.Handler.
func (d *httpDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.sink.meters.inFlight.Add(context.Background(), 1, doorOption(doorHTTP))
	defer d.sink.meters.inFlight.Add(context.Background(), -1, doorOption(doorHTTP))

	name := ""
	defer func() {
		if p := recover(); p != nil { // net/http would catch it too, and say so where nobody looks
			d.log.Error("webhook failed on a broken invariant", "feed", name, service.KeyErr, fmt.Sprint(p), "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler)
		}
	}()
	var a answer
	if e := d.find(r.URL.Path); e == nil {
		a = answer{status: http.StatusNotFound, result: resultNotFound, text: "no such feed: POST to /v1/feeds/ and a name that is configured"}
	} else {
		name = e.Name
		a = d.handle(w, r, e)
	}
	d.sink.meters.request(doorHTTP, name, a.result)
	if a.err != nil {
		d.log.Debug("webhook refused", "feed", name, "result", string(a.result), service.Err(a.err))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if a.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(a.retry))
	}
	var body any = struct {
		Records int `json:"records"`
	}{a.records}
	if a.text != "" {
		body = struct {
			Error string `json:"error"`
		}{a.text}
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone does not hear it
}

func (d *httpDoor) find(path string) *endpoint {
	name, ok := strings.CutPrefix(path, feedsPath)
	if !ok {
		return nil
	}
	return d.endpoints[name]
}

// handle takes a body and writes it. What is cheap is checked first, and what the Authorization header says before a byte of
// the body is read.
func (d *httpDoor) handle(w http.ResponseWriter, r *http.Request, e *endpoint) answer {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return answer{status: http.StatusMethodNotAllowed, result: resultMethod, text: "use POST"}
	}
	if !e.authorized(r) {
		return d.unauthorized(w, e, nil)
	}
	body, release, err := d.bodies.read(w, r)
	defer release()
	if err != nil {
		return d.unread(w, err)
	}
	if len(body) == 0 {
		return answer{status: http.StatusBadRequest, result: resultEmpty, text: "the body is empty: send the events"}
	}
	if !d.slots.TryAcquire(1) {
		return answer{status: http.StatusServiceUnavailable, result: resultBusy, retry: retryBusy, text: "too many requests at a time: send it again"}
	}
	defer d.slots.Release(1)

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), snsTimeout)
	defer cancel()
	p, err := e.verify(ctx, r, body, d.sns)
	switch {
	case errors.Is(err, errUnauthorized):
		return d.unauthorized(w, e, err)
	case errors.Is(err, errTokenBusy):
		return answer{status: http.StatusServiceUnavailable, result: resultBusy, retry: retryBusy, text: "the same body is being written: send it again", err: err}
	case err != nil:
		d.notices.warn(e.Name, "certificate", "webhook cannot be checked", service.Err(err))
		return answer{status: http.StatusServiceUnavailable, result: resultCertificate, retry: retryBroker, text: "the signature cannot be checked now: send it again", err: err}
	}
	if p.token == nil {
		return d.write(r, e, body, p)
	}
	if p.token.over {
		d.sink.meters.forgotten.Add(context.Background(), 1, feedOption(doorHTTP, e.Name))
	}
	if p.token.kept { // the brokers have it, only the sender does not know yet
		return answer{status: http.StatusOK, result: resultRepeated}
	}
	// A token counts as used only when its body is written: or the sender's next try would be refused.
	a := d.write(r, e, body, p)
	if a.status == http.StatusOK {
		e.tokens.keep(p.token)
	} else {
		e.tokens.drop(p.token)
	}
	return a
}

func (d *httpDoor) unauthorized(w http.ResponseWriter, e *endpoint, err error) answer {
	for _, c := range e.challenges() {
		w.Header().Add("WWW-Authenticate", c)
	}
	d.notices.warn(e.Name, "unauthorized", "webhook is not authentic: its secret or key is another than configured, or it is forged")
	return answer{status: http.StatusUnauthorized, result: resultUnauthorized, text: "not authentic: check the token, password or signing key of this feed", err: err}
}

// unread answers for a body that was not read.
func (d *httpDoor) unread(w http.ResponseWriter, err error) answer {
	switch {
	case errors.Is(err, errTooLarge):
		return answer{
			status: http.StatusRequestEntityTooLarge, result: resultTooLarge, err: err,
			text: fmt.Sprintf("the body has more than %d bytes: send fewer events at a time", d.bodies.max),
		}
	case errors.Is(err, errEncoding):
		w.Header().Set("Accept-Encoding", "gzip") // RFC 9110, section 12.5.3
		return answer{status: http.StatusUnsupportedMediaType, result: resultEncoding, text: "this content encoding is not known: send it plain or as gzip", err: err}
	case errors.Is(err, errMalformed):
		return answer{status: http.StatusBadRequest, result: resultMalformed, text: "the body is not the gzip that its Content-Encoding says", err: err}
	case errors.Is(err, errFull):
		return answer{status: http.StatusServiceUnavailable, result: resultBusy, retry: retryBusy, text: "too many bytes at a time: send it again", err: err}
	case errors.Is(err, errTimeout):
		w.Header().Set("Connection", "close")
		return answer{status: http.StatusRequestTimeout, result: resultTimeout, text: "the body did not come in time: send it again", err: err}
	}
	w.Header().Set("Connection", "close")
	return answer{status: http.StatusBadRequest, result: resultAborted, text: "the body did not come to its end: send it again", err: err}
}

// write puts a body that is believed into the log, and confirms a subscription.
func (d *httpDoor) write(r *http.Request, e *endpoint, body []byte, p proof) answer {
	parts, err := split(e.Format, body, d.maxRecord)
	if err != nil {
		d.notices.warn(e.Name, "too large", "webhook is larger than a record and cannot be split", "size", len(body), service.Err(err))
		return answer{
			status: http.StatusRequestEntityTooLarge, result: resultElement, err: err,
			text: fmt.Sprintf("one event has more than %d bytes, or the body is broken: send it without that event", d.maxRecord),
		}
	}
	// A client that goes away does not stop the write: nothing is gained, and what is half written comes again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), d.sink.timeout)
	defer cancel()
	leave, err := e.order.enter(ctx, len(parts))
	if err == nil {
		err = d.sink.write(ctx, doorHTTP, e.Name, feedRecords(&e.Endpoint, parts)...)
		leave()
	}
	if err != nil {
		d.notices.warn(e.Name, "broker", "webhook cannot be written", service.KeyTopic, d.sink.topic, service.Err(err))
		return answer{status: http.StatusServiceUnavailable, result: resultBroker, retry: retryBroker, text: "it cannot be kept now: send it again", err: err}
	}
	if p.sns.SubscribeURL != "" {
		if a := d.subscription(r, e, p.sns); a != nil {
			return *a
		}
	}
	return answer{status: http.StatusOK, result: resultOK, records: len(parts)}
}

// subscription deals with a message that asks to confirm a subscription or its end; nil if it is dealt with.
func (d *httpDoor) subscription(r *http.Request, e *endpoint, m feed.SNSMessage) *answer {
	switch {
	case m.Type == "UnsubscribeConfirmation":
		d.log.Warn("the subscription was ended: SNS sends no more", "feed", e.Name, "sns-topic", m.TopicARN)
		return nil
	case !e.ConfirmSubscriptions:
		d.log.Warn("a subscription waits for its confirmation; this feed does not confirm by itself", "feed", e.Name, "sns-topic", m.TopicARN)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), snsTimeout)
	defer cancel()
	if err := d.sns.confirm(ctx, m.SubscribeURL, m.TopicARN); err != nil {
		d.notices.warn(e.Name, "subscription", "the subscription was not confirmed", "sns-topic", m.TopicARN, service.Err(err))
		return &answer{status: http.StatusServiceUnavailable, result: resultCertificate, retry: retryBroker, text: "the subscription cannot be confirmed now: send it again", err: err}
	}
	d.log.Info("subscription confirmed", "feed", e.Name, "sns-topic", m.TopicARN)
	return nil
}
