// Package eventjson is the JSON that the command line reads and writes, one object a line: delivery events, responses to
// be judged, and verdicts. The names are a contract with the people who pipe them on.
//
// Events are written by [Append], which allocates nothing and is built for whole logs. What the log did not tell is absent,
// not empty: a null sender (RFC 5321, section 4.5.5) is "sender":"", an unknown one has no key. [ParseEvent] reads an
// event back; what it returns is written again byte by byte the same. An event's JSON holds less than
// schema.DeliveryEvent: fields that the contract does not name are lost.
//
// Output is always valid JSON in valid UTF-8 (RFC 8259, section 8.1), whatever bytes a log or a remote server put into a
// string, and never holds a line break outside its end.
package eventjson
