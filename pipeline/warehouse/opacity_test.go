package warehouse_test

import (
	"testing"
	"time"

	"carom.dev/carom/pipeline/warehouse"
	"carom.dev/carom/schema"
)

// The view counts what a feed hides, as its columns say: codes of the remote server only, phases but "by mail".
func TestFeedOpacity(t *testing.T) {
	db := open(t)
	n := int64(0)
	row := func(change func(*schema.DeliveryEvent, *schema.Verdict)) warehouse.FailureRow {
		f := failure(n)
		n++
		change(f.Event, f.Verdict)
		return f
	}
	bare := func(ev *schema.DeliveryEvent, v *schema.Verdict) {
		ev.SmtpCode, ev.EnhancedCode, ev.EnhancedSource, v.Phase = 0, "", schema.EnhancedSource_ENHANCED_NONE, 0
	}
	rows := []warehouse.FailureRow{
		// A log: all told, a timeout with its phase, an expiry with its cause, one without.
		row(func(*schema.DeliveryEvent, *schema.Verdict) {}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) { bare(ev, v); v.Phase = schema.Phase_CONNECT }),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Outcome, ev.Cause, v.Phase = schema.Outcome_EXPIRED, &schema.Cause{SmtpCode: 451}, schema.Phase_RCPT
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Outcome, v.Phase = schema.Outcome_EXPIRED, schema.Phase_QUEUE
		}),
		// A feed: words only; a code that it made up; a code of the remote; one that came by mail; what is no failure.
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) { bare(ev, v); ev.Feed = "api" }),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Feed, ev.EnhancedCode, ev.EnhancedSource = "api", "5.0.0", schema.EnhancedSource_ENHANCED_MTA
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Feed, ev.EnhancedCode, ev.EnhancedSource = "api", "5.1.1", schema.EnhancedSource_ENHANCED_REMOTE
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			ev.Feed, ev.Outcome, v.Phase = "api", schema.Outcome_ASYNC_BOUNCE, schema.Phase_ASYNC
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Feed, ev.Outcome, ev.Joined = "api", schema.Outcome_ASYNC_BOUNCE, true
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Feed, ev.Outcome = "api", schema.Outcome_COMPLAINT
		}),
		row(func(ev *schema.DeliveryEvent, v *schema.Verdict) {
			bare(ev, v)
			ev.Feed, ev.Outcome = "api", schema.Outcome_SUSPENDED
		}),
	}
	insertFailures(t, db, "t", rows...)
	got, err := db.Text(t.Context(), `SELECT arrayStringConcat(groupArray(concat(toString(day), ' ', feed, ' ', toString(failures), ' ', toString(no_code), ' ',
		toString(no_phase), ' ', toString(neither), ' ', toString(no_code_share), ' ', toString(neither_share))), '|') FROM (SELECT * FROM feed_opacity ORDER BY feed)`)
	day := epoch.Format(time.DateOnly)
	if want := day + " api 4 2 4 2 0.5 0.5|" + day + " postfix 4 2 1 1 0.5 0.25"; err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	const cookbook = `SELECT feed, sum(failures) AS n, sum(no_code) AS code, sum(no_phase) AS phase, sum(neither) AS both
    FROM feed_opacity WHERE day >= today() - 7 GROUP BY feed ORDER BY both / n DESC` // docs/clickhouse.md
	got, err = db.Text(t.Context(), "SELECT toString(groupArray(tuple(*))) FROM ("+cookbook+")")
	if want := "[('api',4,2,4,2),('postfix',4,2,1,1)]"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
