package intake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"carom.dev/carom/pipeline/broker"
	"carom.dev/carom/pipeline/embedded"
	"carom.dev/carom/pipeline/embedded/embeddedtest"
	"carom.dev/carom/pipeline/feed"
	"carom.dev/carom/pipeline/service"
	"carom.dev/carom/schema"
)

// openBench opens doors on a broker in this process. What it costs is part of every number here.
func openBench(b *testing.B, cfg Config) *Doors {
	b.Helper()
	c := broker.DefaultConfig()
	c.Brokers = embeddedtest.Broker(b, embedded.Topic{Name: schema.TopicRaw, Partitions: partitions}).Addr()
	client, err := broker.Open(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	shell := service.DefaultConfig()
	shell.HTTPAddr = "127.0.0.1:0"
	p, err := service.Start(context.Background(), "intake", shell, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(p, cfg, client)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		p.Lifecycle.Stop()
		if err := p.Lifecycle.Wait(); err != nil {
			b.Error(err)
		}
	})
	return d
}

// A webhook of one event, from its connection to its acknowledgement; eight senders at a time for each processor.
func BenchmarkWebhook(b *testing.B) {
	d := openBench(b, testConfig())
	body := fmt.Appendf(nil, `{"RecordType":"Bounce","ID":42,"Description":"%01000d"}`, 0)
	url := "http://" + d.HTTPAddr().String() + "/v1/feeds/postmark-1"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	b.SetBytes(int64(len(body)))
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+testToken)
			a, err := send(client, req)
			if err != nil || a.status != http.StatusOK {
				b.Errorf("%+v, %v", a, err)
				return
			}
		}
	})
}

// A bounce mail of 8 KiB by LMTP, many on a connection; eight connections for each processor.
func BenchmarkMail(b *testing.B) {
	d := openBench(b, lmtpConfig())
	text := bytes.Repeat([]byte("0123456789abcdef0123456789abcde\n"), 256)
	said := fmt.Appendf(nil, "MAIL FROM:<>\r\nRCPT TO:<a@bounces.example>\r\nBDAT %d LAST\r\n%s", len(text), text)
	answers := make([]byte, len("250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 ok\r\n"))
	b.SetBytes(int64(len(text)))
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", d.LMTPAddr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		answers := bytes.Clone(answers)
		fmt.Fprint(c, "LHLO mx.example\r\n")
		for n := 0; n < 8; { // the greeting and seven lines for LHLO
			one := make([]byte, 1)
			if _, err := io.ReadFull(c, one); err != nil {
				b.Error(err)
				return
			}
			if one[0] == '\n' {
				n++
			}
		}
		for pb.Next() {
			if _, err := c.Write(said); err != nil {
				b.Error(err)
				return
			}
			if _, err := io.ReadFull(c, answers); err != nil || !bytes.HasSuffix(answers, []byte("\r\n250 2.0.0 ok\r\n")) {
				b.Errorf("%q, %v", answers, err)
				return
			}
		}
	})
}

// A body of 8 MiB with 8,000 events.
func BenchmarkSplit(b *testing.B) {
	body := bytes.Repeat(fmt.Appendf(nil, `{"event":"bounce","reason":"550 \"5.1.1\" %0980d"},`, 0), 8000)
	body = append(append([]byte{'['}, body[:len(body)-1]...), ']')
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		parts, err := split(feed.SendGrid, body, 900<<10)
		if err != nil || len(parts) < 8 {
			b.Fatalf("%d parts, %v", len(parts), err)
		}
	}
}
