package embedded_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"carom.dev/carom/pipeline/embedded"
)

func startBroker(t *testing.T, o embedded.BrokerOptions) *embedded.Broker {
	t.Helper()
	b, err := embedded.StartBroker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func client(t *testing.T, b *embedded.Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(b.Addr()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func topicConfig(t *testing.T, b *embedded.Broker, topic, key string) string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName, res.ConfigNames = kmsg.ConfigResourceTypeTopic, topic, []string{key}
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(t.Context(), client(t, b))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Configs {
			if c.Name == key && c.Value != nil {
				return *c.Value
			}
		}
	}
	return ""
}

func TestBrokerKeepsRecordsAndChangesConfigs(t *testing.T) {
	o := embedded.BrokerOptions{Dir: t.TempDir(), Topics: []embedded.Topic{
		{Name: "mail.events", Partitions: 3, Configs: map[string]string{"retention.ms": "600000"}},
		{Name: "mail.suppressions", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}},
	}}
	b := startBroker(t, o)
	if !strings.HasPrefix(b.Addr(), "127.0.0.1:") {
		t.Errorf("listens on %s", b.Addr())
	}
	producer := client(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "mail.events", Partition: 2, Value: []byte("kept")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.Close()

	o.Topics[0].Configs["retention.ms"] = "1200000"
	b = startBroker(t, o)
	if got := topicConfig(t, b, "mail.events", "retention.ms"); got != "1200000" {
		t.Errorf("retention.ms is %q", got)
	}
	if got := topicConfig(t, b, "mail.suppressions", "cleanup.policy"); got != "compact" {
		t.Errorf("cleanup.policy is %q", got)
	}
	consumer := client(t, b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"mail.events": {2: kgo.NewOffset().AtStart()}}))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	fetches := consumer.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		t.Fatal(err)
	}
	if r := fetches.Records(); len(r) != 1 || string(r[0].Value) != "kept" {
		t.Errorf("after the restart: %v", r)
	}
}

func TestBrokerRefusesWhatCannotBe(t *testing.T) {
	o := embedded.BrokerOptions{Dir: t.TempDir(), Topics: []embedded.Topic{{Name: "a", Partitions: 2}}}
	b := startBroker(t, o)
	if _, err := embedded.StartBroker(o); err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second on the directory: %v", err)
	}
	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.StartBroker(embedded.BrokerOptions{Dir: t.TempDir(), Port: taken}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("taken port: %v", err)
	}
	b.Close()
	o.Topics[0].Partitions = 4
	if _, err := embedded.StartBroker(o); err == nil || !strings.Contains(err.Error(), "topic a: exists with 2 partitions, not 4") {
		t.Errorf("other partition count: %v", err)
	}
	// The refusal gave the directory back.
	o.Topics[0].Partitions = 2
	startBroker(t, o)
}
