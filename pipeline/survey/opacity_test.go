package survey

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"carom.dev/carom/schema"
)

// A feed is measured by what the remote server said and the feed passed on; what is no failure does not count, and names
// from the input are bounded.
func TestFeedsThatHideAreMeasured(t *testing.T) {
	f := feeds{}
	for _, ev := range []*schema.DeliveryEvent{
		{Mta: "postfix", Outcome: schema.Outcome_BOUNCED, SmtpCode: 550, Phase: schema.Phase_RCPT},
		{Mta: "postfix", Outcome: schema.Outcome_DEFERRED, Phase: schema.Phase_CONNECT, EnhancedCode: "4.4.1", EnhancedSource: schema.EnhancedSource_ENHANCED_MTA},
		{Mta: "postfix", Outcome: schema.Outcome_EXPIRED, Phase: schema.Phase_QUEUE, Cause: &schema.Cause{SmtpCode: 451, Phase: schema.Phase_RCPT}},
		{Mta: "postfix", Outcome: schema.Outcome_EXPIRED, Phase: schema.Phase_QUEUE},
		{Mta: "ses", Feed: "eu", Outcome: schema.Outcome_BOUNCED, Text: "timeout"},
		{Mta: "ses", Feed: "eu", Outcome: schema.Outcome_BOUNCED, Phase: schema.Phase_ASYNC, EnhancedCode: "5.1.1", EnhancedSource: schema.EnhancedSource_ENHANCED_REMOTE},
		{Mta: "ses", Feed: "eu", Outcome: schema.Outcome_ASYNC_BOUNCE, Joined: true},
		{Mta: "ses", Feed: "eu", Outcome: schema.Outcome_COMPLAINT},
		{Mta: "ses", Feed: "us", Outcome: schema.Outcome_DELIVERED},
		{Mta: "ses", Feed: "us", Outcome: schema.Outcome_SUSPENDED},
		{Mta: "ses", Feed: "us", Outcome: schema.Outcome_OPENED},
	} {
		f.add(ev)
	}
	want := []FeedCount{{Feed: "eu", Failures: 2, NoCode: 1, NoPhase: 2, Neither: 1}, {Feed: "postfix", Failures: 4, NoCode: 2, NoPhase: 1, Neither: 1}}
	if got := f.list(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var b bytes.Buffer
	if err := (Stats{Feeds: f.list()}).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if want := "Feeds that hide: failures without a code of the server, without a phase, without both\n" +
		"  feed     failures     no code     no phase     neither\n" +
		"  eu              2  1 (50.0 %)  2 (100.0 %)  1 (50.0 %)\n" +
		"  postfix         4  2 (50.0 %)   1 (25.0 %)  1 (25.0 %)\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("got\n%s\nwant at its end\n%s", b.String(), want)
	}
	for i := range 10 * maxFeeds {
		f.add(&schema.DeliveryEvent{Feed: fmt.Sprint(i), Outcome: schema.Outcome_BOUNCED})
	}
	sum := int64(0)
	for _, n := range f.list() {
		sum += n.Failures
	}
	if len(f) != maxFeeds+1 || sum != 6+10*maxFeeds {
		t.Errorf("%d feeds with %d failures are kept", len(f), sum)
	}
}
