// Package incident finds broken mail delivery in counts: a provider that refuses good recipients, one that does not
// answer, an address of ours that is blocked, a list of addresses nobody has ever mailed.
//
// A Detector is a fold over complete minutes. It knows no clock, does no I/O, draws no random numbers, and nothing it
// returns depends on the order of a map or of its input: the same minutes give the same incidents with the same ids,
// whether folded in one run, continued from saved state, or repeated by another process.
//
// # Method
//
// For each provider and failure class the failures k among n attempts of the last 5, 15 and 60 minutes are compared
// with the expectation mu = n * r. The rate r is learned per provider, class and acceptance of the recipient, shrunk to
// the rate of the class over all providers; it forgets with a half-life of days. Failures vary more than a Poisson
// count: the variance is mu + phi * mu^2, with a learned phi to which the uncertainty of r itself is added, so that a
// provider known for an hour needs a larger burst than one known for a month. The test value z is the signed root of the
// negative binomial deviance. A finding needs z above a bar that follows from a budget of false alerts, a minimum share
// of attempts, a minimum number of failures, and persistence. Its scope comes from comparing it with the same class at
// other providers in the same minutes (if the same mail fails elsewhere, it is the mail) and with our other source
// addresses at the same provider. Learning lags an hour, goes by blocks of 15 minutes, caps outliers and stops while
// an incident covers the series, so that an outage does not become the norm.
//
// # Acceptance
//
// Whether a recipient took mail before separates a provider that lies from a list that is bad: among recipients that
// accepted mail in the last 90 days "user unknown" is rare, among strangers it is common. The classes that speak about
// the recipient are therefore counted for three exposures of their own: accepted, unknown (history too short to say) and
// not accepted. The kind that holds suppressions, provider_false_unknown, needs an excess among accepted recipients; or
// among unknown ones, provided that accepted recipients do not contradict (where there are enough of them to tell), that
// other providers do not show the same, and that it is not confined to one source address. An excess among recipients
// that never accepted mail holds nothing.
//
// # What it does not do
//
// Samples carry no tenant, so a single tenant is told apart only by its dedicated source address. There are no volume
// rules, no weekly profile and no drill-down by MX host or recipient domain. Raw replies as evidence are added by the
// caller.
package incident
