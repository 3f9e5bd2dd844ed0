package intake

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/feed"
)

// Each format's body comes into the log exactly as it was sent, whatever it holds, under its feed's name.
func TestBodyBecomesARecord(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	bodies := map[string]string{}
	for i, f := range feed.Formats() {
		name := f + "-1"
		body := fmt.Sprintf("no %s at all \x00\xff\r\n %d", f, i) // the fold says what it thinks of it
		if a := r.post(name, []byte(body)); a.status != http.StatusOK || a.count != 1 {
			t.Fatalf("%s: %+v", name, a)
		}
		bodies[name] = body
	}
	got, seen := r.records(), map[string]bool{}
	for _, rec := range got {
		name := string(rec.Key)
		format := strings.TrimSuffix(name, "-1")
		if string(rec.Value) != bodies[name] || headers(rec) != "carom-format="+format+" carom-feed="+name {
			t.Errorf("record %s: %q, headers %s", name, rec.Value, headers(rec))
		}
		seen[name] = true
	}
	if len(got) != len(feed.Formats()) || len(seen) != len(bodies) {
		t.Errorf("%d records of %d feeds", len(got), len(seen))
	}
	if n := r.count("carom_intake_requests_total", "door=http", "result=ok", "feed=ses-1"); n != 1 {
		t.Errorf("%v requests counted", n)
	}
	if n, b := r.count("carom_intake_records_total", "door=http"), r.count("carom_intake_written_bytes_total", "feed=ses-1"); n != 7 || b != float64(len(bodies["ses-1"])) {
		t.Errorf("%v records, %v bytes counted", n, b)
	}
	if n := r.count("carom_intake_ack_duration_seconds", "door=http"); n != 7 {
		t.Errorf("%v acknowledgements measured", n)
	}
}

// A 200 is sent when the brokers have the record: whoever asks the log after it finds it there.
func TestAcknowledgedIsInTheLog(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	var mu sync.Mutex
	var want []string
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			body := fmt.Sprintf(`[{"event":"bounce","n":%d}]`, i)
			if a := r.post("sendgrid-1", []byte(body)); a.status != http.StatusOK {
				t.Errorf("%+v", a)
				return
			}
			found := false
			for _, v := range r.values() {
				found = found || v == body
			}
			if !found {
				t.Errorf("%s was acknowledged and is not in the log", body)
			}
			mu.Lock()
			defer mu.Unlock()
			want = append(want, body)
		})
	}
	wg.Wait()
	r.want(want...)
}

// Whoever cannot say the token or password is turned away before a byte of the body is read.
func TestUnauthorized(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	basic := func(user, password string) string {
		req, _ := http.NewRequest(http.MethodPost, "/", nil)
		req.SetBasicAuth(user, password)
		return req.Header.Get("Authorization")
	}
	for _, tc := range []struct {
		authorization string
		want          int
	}{
		{"Bearer " + testToken, 200},
		{"bearer  " + testToken, 200},
		{"Bearer another-token-of-sixteen-bytes", 200},
		{basic("carom", testPassword), 200},
		{"", 401},
		{"Bearer", 401},
		{"Bearer ", 401},
		{"Bearer " + testToken + "x", 401},
		{"Bearer " + testToken[:len(testToken)-1], 401},
		{"Bearer " + strings.ToUpper(testToken), 401},
		{"Basic " + testToken, 401},
		{"Basic carom:" + testPassword, 401},
		{"Bearer carom:" + testPassword, 401},
		{basic("carom", testToken), 401},
		{basic("carom", ""), 401},
		{basic("carom", testPassword+"\x00"), 401},
		{basic("other", testPassword), 401},
		{basic("carom:"+testPassword, ""), 401},
		{basic("", testToken), 401},
	} {
		a := r.do(r.request("postmark-1", []byte("{}"), "Authorization", tc.authorization))
		if a.status != tc.want {
			t.Errorf("%q: status %d, want %d", tc.authorization, a.status, tc.want)
		}
		if got := strings.Join(a.header.Values("WWW-Authenticate"), ", "); tc.want == 401 && got != `Basic realm="carom", charset="UTF-8", Bearer realm="carom"` {
			t.Errorf("%q: challenge %s", tc.authorization, got)
		}
	}
	if n := len(r.records()); n != 4 {
		t.Errorf("%d records, want 4", n)
	}
	if n := r.count("carom_intake_requests_total", "result=unauthorized", "feed=postmark-1"); n != 15 {
		t.Errorf("%v counted", n)
	}
	for _, secret := range []string{testToken, testPassword, "another-token"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
	// The answer comes although the body does not.
	conn, err := net.Dial("tcp", r.doors.HTTPAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /v1/feeds/postmark-1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 401"))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != "HTTP/1.1 401" {
		t.Errorf("%q, err %v", line, err)
	}
}

func compressed(t *testing.T, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every refusal has its status, says what to do, is counted under its name and leaves nothing in the log.
func TestAnswers(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.HTTP.MaxBodyBytes = 1 << 20
	r.open(cfg)
	zeros := compressed(t, make([]byte, 1<<20+1))
	var deflated bytes.Buffer
	z, _ := flate.NewWriter(&deflated, 9)
	z.Close()
	// Blocks without content: however many come, nothing comes out.
	hollow := append(compressed(t, nil)[:10], bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<18)...)
	valid := compressed(t, []byte("{}"))
	for _, tc := range []struct {
		name, method, path, encoding string
		body                         []byte
		want                         int
		result                       string
	}{
		{"no such feed", "POST", "none", "", []byte("x"), 404, "not_found"},
		{"no feed", "POST", "", "", []byte("x"), 404, "not_found"},
		{"below a feed", "POST", "ses-1/x", "", []byte("x"), 404, "not_found"},
		{"escaped name", "POST", "ses%2D1", "", []byte("x"), 200, "ok"},
		{"dots", "POST", "../feeds/ses-1", "", []byte("x"), 404, "not_found"},
		{"PUT", "PUT", "ses-1", "", []byte("x"), 405, "method"},
		{"GET", "GET", "ses-1", "", nil, 405, "method"},
		{"DELETE", "DELETE", "ses-1", "", nil, 405, "method"},
		{"empty", "POST", "ses-1", "", nil, 400, "empty"},
		{"empty gzip", "POST", "ses-1", "gzip", compressed(t, nil), 400, "empty"},
		{"too large", "POST", "ses-1", "", make([]byte, 1<<20+1), 413, "too_large"},
		{"a bomb", "POST", "ses-1", "gzip", zeros, 413, "too_large"},
		{"much of nothing", "POST", "ses-1", "gzip", hollow, 413, "too_large"},
		{"an event too large", "POST", "ses-1", "", append([]byte(`{"x":"`), bytes.Repeat([]byte("y"), 1000<<10)...), 413, "element"},
		{"deflate", "POST", "ses-1", "deflate", deflated.Bytes(), 415, "encoding"},
		{"brotli", "POST", "ses-1", "br", []byte("x"), 415, "encoding"},
		{"twice", "POST", "ses-1", "gzip, gzip", compressed(t, valid), 415, "encoding"},
		{"no gzip", "POST", "ses-1", "gzip", []byte("{}"), 400, "malformed"},
		{"half a gzip", "POST", "ses-1", "gzip", valid[:len(valid)-5], 400, "malformed"},
		{"gzip with another sum", "POST", "ses-1", "gzip", append(bytes.Clone(valid[:len(valid)-8]), 1, 2, 3, 4, 2, 0, 0, 0), 400, "malformed"},
		{"gzip", "POST", "ses-1", "GZIP", valid, 200, "ok"},
		{"plain", "POST", "ses-1", "identity", []byte("{}"), 200, "ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, records := r.count("carom_intake_requests_total", "result="+tc.result), len(r.records())
			req := r.request(tc.path, tc.body, "Authorization", "Bearer "+testToken, "Content-Encoding", tc.encoding, "Content-Type", "text/nonsense")
			req.Method = tc.method
			if tc.encoding == "" {
				req.Header.Del("Content-Encoding")
			} else {
				req.ContentLength = -1 // chunked: its size is not announced
			}
			a := r.do(req)
			if a.status != tc.want || r.count("carom_intake_requests_total", "result="+tc.result) != before+1 {
				t.Errorf("got %+v, want status %d, counted as %s", a, tc.want, tc.result)
			}
			if n := len(r.records()) - records; (tc.want == 200) != (n == 1) || n > 1 {
				t.Errorf("%d records more", n)
			}
			if tc.want == 405 && a.header.Get("Allow") != "POST" || tc.want == 415 && a.header.Get("Accept-Encoding") != "gzip" {
				t.Errorf("headers %v", a.header)
			}
		})
	}
	r.want("x", "{}", "{}")
}

// A body larger than a record comes as several, in order, in one partition; together they are the body.
func TestLargeBodyIsSplitInOrder(t *testing.T) {
	r := newRig(t)
	r.open(testConfig())
	var events []json.RawMessage
	for i := range 400 {
		events = append(events, json.RawMessage(fmt.Sprintf(`{"event":"bounce","sg_event_id":"%d","reason":"%0*d"}`, i, 10_000, i)))
	}
	body, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	a := r.post("sendgrid-1", body)
	if a.status != http.StatusOK || a.count < 4 {
		t.Fatalf("%+v", a)
	}
	var got []json.RawMessage
	records := byOffset(r.records())
	for _, rec := range records {
		var part []json.RawMessage
		if err := json.Unmarshal(rec.Value, &part); err != nil || len(rec.Value) > DefaultConfig().MaxRecordBytes {
			t.Fatalf("record of %d bytes: %v", len(rec.Value), err)
		}
		got = append(got, part...)
	}
	if len(records) != a.count || len(got) != len(events) {
		t.Fatalf("%d records, %d events; want %d, %d", len(records), len(got), a.count, len(events))
	}
	for i := range events {
		if !bytes.Equal(got[i], events[i]) {
			t.Fatalf("event %d is %.60s", i, got[i])
		}
	}
}

// The records of a CSV body that was split stand together, although others come at the same time: its header is in the
// first alone.
func TestSplitRowsStandTogether(t *testing.T) {
	r := newRig(t)
	cfg := testConfig()
	cfg.MaxRecordBytes, cfg.KeepBytes = 128<<10, 64<<10
	r.open(cfg)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for j := range 3 {
				// Larger than what goes to the broker at a time.
				rows := strings.Repeat(fmt.Sprintf("d,%d.%d,%01000d\n", i, j, 0), 2500)
				if i%2 == 0 {
					rows = rows[:20_000]
				}
				if a := r.post("powermta-1", []byte(fmt.Sprintf("type,x%d.%d,y\n", i, j)+rows)); a.status != http.StatusOK {
					t.Errorf("%+v", a)
				}
			}
		})
	}
	wg.Wait()
	header, rows := "", 0
	for _, rec := range byOffset(r.records()) {
		for line := range strings.Lines(string(rec.Value)) {
			f := strings.Split(line, ",")
			if f[0] == "type" {
				header = f[1]
				continue
			}
			rows++
			if "x"+f[1] != header {
				t.Fatalf("row of %s under the header of %s", f[1], header)
			}
		}
	}
	if rows < 3*3*2500 {
		t.Errorf("%d rows", rows)
	}
}

// A message that the broker does not take although a record may be so large is the operator's mistake: it is kept by its
// sender and not thrown away.
func TestTopicSmallerThanARecord(t *testing.T) {
	r := newRig(t)
	if err := r.client.EnsureTopics(t.Context(), []broker.Topic{{Name: "small", Partitions: 1, Config: map[string]string{"max.message.bytes": "2000"}}}); err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.Topic = "small"
	r.open(cfg)
	body := make([]byte, 20_000)
	rand.NewChaCha8([32]byte{}).Read(body) // it does not compress
	if a := r.post("ses-1", body); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "10" {
		t.Errorf("%+v", a)
	}
	if !strings.Contains(r.log.String(), "max.message.bytes") {
		t.Error("the log does not say why")
	}
	r.want()
}
