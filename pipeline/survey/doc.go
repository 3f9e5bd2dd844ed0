// Package survey reads a log on its own, without Kafka, ClickHouse or any history, and says what it holds: outcomes,
// providers, reasons, failures without a code, words that no rule knows, and which recipients a list that suppresses after
// every final failure would have lost for nothing. It also gives verdicts on single responses (Judge, Explain).
//
// Log turns lines into events, Survey adds them up, Report is the result, for people (WriteText) and as JSON. All are pure
// functions of the lines: no clock, no randomness, no dependence on map order; the same log gives the same report byte by
// byte.
//
// Memory is bounded whatever the log holds; what goes beyond a bound is counted, and the report says so. Text from the log
// comes out as text: control and direction characters never reach a terminal. Local parts of addresses are masked unless
// asked for.
//
// It promises no more than one log can tell. It does not know who was accepted before the log begins, does not see
// provider outages as the detector does, and keeps no state for a next run.
package survey
