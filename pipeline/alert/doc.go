// Package alert tells people about incidents: through Alertmanager (API v2) and through signed webhooks (Standard
// Webhooks, https://www.standardwebhooks.com).
//
// A Dispatcher takes the revisions of incidents in the order in which they were published and owes each of them to each
// channel until that channel has acknowledged it. Delivery is at least once, in order per incident and channel, with an id that stays
// the same over retries; what is owed can be taken out (Pending) and put back (Restore), so that a restart loses nothing.
// A channel that is down delays nobody else. Between the opening and the resolution of an incident only the latest
// revision is owed: older undelivered updates are dropped, openings and resolutions never.
//
// Everything in an incident that came from a remote server is hostile text. It leaves this package without control,
// direction and other invisible characters, cut to a bound, with the local parts of addresses masked; HTML and Slack
// markup are escaped where text may be rendered.
package alert
