package envelope

import (
	"bytes"
	"time"
)

// slot is what a field of a document means.
type slot uint8

const (
	slotNone     slot = iota
	slotMessage       // the line, or the message behind its syslog header
	slotHost          // where it was written
	slotTag           // syslog tag: "postfix/smtp[314]:"
	slotProgram       // the tag's name alone: "postfix/smtp"
	slotPID           // process id
	slotReported      // time by the program or its syslog daemon
	slotReceived      // time by the shipper
	slotPiece         // "P" or true: the line goes on in the next record
	numSlots
)

// where is a field's meaning. Of several fields with one meaning that with the lowest rank counts, then the first.
type where struct {
	slot    slot
	rank    uint8
	marks   bool // only shippers write it: a document with it and without a message is an envelope all the same
	foreign bool // no shipper writes it: the document is whole, whatever its other fields are called
}

var nowhere = where{}

// find knows a field by its path: names joined by dots, in lower case, as some shippers write them so.
//
// Sources: the documentation of Vector (sources file, journald, kubernetes_logs, syslog), Fluent Bit (inputs systemd,
// syslog, tail; parsers docker, cri, syslog-rfc3164; output kafka), Elastic Common Schema (log.syslog, process, host) and
// Beats' journald input, Logstash (inputs syslog, beats), rsyslog (properties, jsonmesg), syslog-ng (macros, format-json),
// systemd.journal-fields(7), Docker's json-file and fluentd drivers, GELF, OpenTelemetry's semantic conventions (host,
// k8s), NXLog (xm_syslog, core fields), Cribl's and Splunk's internal fields.
func find(path []byte) where {
	switch string(path) {
	case "message", "msg", "syslog_message":
		return where{slot: slotMessage}
	case "log", "short_message", "_raw":
		return where{slot: slotMessage, rank: 1}
	case "rawmsg", "event.original", "syslog_raw":
		return where{slot: slotMessage, rank: 2}
	case "logtag", "_partial", "partial_message":
		return where{slot: slotPiece}

	// A program in a pod writes for the pod; the shipper beside it names its own node.
	case "kubernetes.pod_name", "kubernetes.pod.name", "k8s.pod.name":
		return where{slot: slotHost, marks: true}
	case "_hostname":
		return where{slot: slotHost, rank: 1, marks: true}
	case "hostname", "syslog_hostname", "sysloghost", "logsource", "log.syslog.hostname", "syslog.hostname", "host.hostname":
		return where{slot: slotHost, rank: 1}
	case "host", "host.name":
		return where{slot: slotHost, rank: 2}
	case "fromhost", "source_host":
		return where{slot: slotHost, rank: 3}
	case "agent.hostname", "agent.name", "beat.hostname", "kubernetes.host", "kubernetes.pod_node_name", "kubernetes.node.name", "k8s.node.name":
		return where{slot: slotHost, rank: 4, marks: true}

	case "syslogtag":
		return where{slot: slotTag, marks: true}
	case "legacy_msghdr", "tag":
		return where{slot: slotTag, rank: 1}

	case "syslog_identifier", "log.syslog.appname", "syslog.identifier", "syslog_program":
		return where{slot: slotProgram}
	case "appname", "app_name", "app-name", "ident", "program", "process.program", "sourcename", "_program":
		return where{slot: slotProgram, rank: 1}
	case "programname", "process.name": // rsyslog's ends at the first slash
		return where{slot: slotProgram, rank: 2}
	case "_comm":
		return where{slot: slotProgram, rank: 3, marks: true}

	case "syslog_pid", "log.syslog.procid", "syslog.pid":
		return where{slot: slotPID}
	case "_pid", "pid", "procid", "proc_id", "process.pid", "processid":
		return where{slot: slotPID, rank: 1}

	case "__realtime_timestamp":
		return where{slot: slotReported, marks: true}
	case "timereported", "s_isodate", "isodate", "syslog_timestamp", "eventtime":
		return where{slot: slotReported, rank: 1}
	case "_source_realtime_timestamp", "s_date":
		return where{slot: slotReported, rank: 2}
	case "timestamp", "time", "date":
		return where{slot: slotReported, rank: 3}

	case "@timestamp":
		return where{slot: slotReceived, marks: true}
	case "eventreceivedtime", "observedtimeunixnano":
		return where{slot: slotReceived, rank: 1, marks: true}
	case "timegenerated", "r_isodate", "ingest_timestamp", "_time":
		return where{slot: slotReceived, rank: 1}

	case "@version", "source_type", "agent.type", "beat.name":
		return where{marks: true}

	// Amazon SNS, SendGrid (whose customers add fields of their own), Postmark: webhooks.
	case "topicarn", "sg_event_id", "recordtype":
		return where{foreign: true}
	}
	return nowhere
}

// fields are the fields of one document that say something about its line.
type fields struct {
	at      [numSlots][]byte
	rank    [numSlots]uint8 // 1 + the rank of what is set
	shipper bool
	foreign bool
	otlp    int // where the array of an OpenTelemetry export stands; 0 is nowhere
}

func (f *fields) of(s slot) []byte { return f.at[s] }

// wants reports whether a value at w would count.
func (f *fields) wants(w where) bool {
	return w.slot != slotNone && (f.rank[w.slot] == 0 || w.rank+1 < f.rank[w.slot])
}

// The parts of a header, RFC 5424, section 6: HOSTNAME has up to 255 characters, PROCID up to 128.
const (
	maxHostBytes = 255
	maxTagBytes  = 128
)

// set takes a value that can be what its field means. The parts of a header must not break the header.
func (f *fields) set(w where, v []byte) {
	switch w.slot {
	case slotHost:
		if !printable(v, maxHostBytes) || v[len(v)-1] == ':' {
			return
		}
	case slotTag:
		tag := bytes.TrimRight(v, " ")
		if w.rank > 0 && !bytes.HasSuffix(tag, []byte(":")) { // "tag" is a routing word elsewhere
			return
		}
		if v = bytes.TrimRight(tag, ":"); !printable(v, maxTagBytes) {
			return
		}
	case slotProgram:
		if !printable(v, maxTagBytes) || v[len(v)-1] == ':' {
			return
		}
	case slotPID:
		if !wordLike(v, maxTagBytes) {
			return
		}
	case slotReported, slotReceived:
		if len(v) > 40 {
			return
		}
		if _, ok := parseTime(v); !ok && traditional(v) == 0 {
			return
		}
	}
	f.at[w.slot], f.rank[w.slot] = v, w.rank+1
}

// printable reports whether b can stand in a header: not empty, nor "-", which says that there is none, and without
// blanks and control characters.
func printable(b []byte, most int) bool {
	if len(b) == 0 || len(b) > most || len(b) == 1 && b[0] == '-' {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// wordLike reports whether b is letters, digits, dots, dashes and underscores. dma writes its queue id where others have
// a process id.
func wordLike(b []byte, most int) bool {
	for _, c := range b {
		if c-'0' > 9 && c|0x20-'a' > 'z'-'a' && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return printable(b, most)
}

func (f *fields) message() ([]byte, bool) { return f.at[slotMessage], f.rank[slotMessage] > 0 }

// tagged reports whether the document names the program that wrote the line.
func (f *fields) tagged() bool { return f.rank[slotTag] > 0 || f.rank[slotProgram] > 0 }

// piece reports whether the line is known to go on in another record.
func (f *fields) piece() bool {
	return string(f.at[slotPiece]) == "P" || string(f.at[slotPiece]) == "true"
}

// carried is the shipper's time, else the program's.
func (f *fields) carried() time.Time {
	if t, ok := parseTime(f.at[slotReceived]); ok {
		return t
	}
	t, _ := parseTime(f.at[slotReported])
	return t
}

// putTogether writes the syslog line whose parts the document holds: "STAMP HOST TAG: MESSAGE", and RFC 5424 where the
// document has no time, because there a header may say so (section 6.2.3).
func (r *Reader) putTogether(f *fields, message []byte) []byte {
	from := len(r.buf)
	b := r.buf
	tag, pid := f.at[slotTag], f.at[slotPID]
	if len(tag) == 0 {
		tag = f.at[slotProgram]
	}
	stamp := f.at[slotReported]
	if len(stamp) == 0 {
		stamp = f.at[slotReceived]
	}
	if len(stamp) == 0 {
		b = append(b, "<22>1 - "...) // mail.info
		b = orNil(b, f.at[slotHost])
		b = append(append(b, ' '), tag...)
		b = append(b, " - - - "...)
	} else {
		b = appendStamp(b, stamp)
		b = append(b, ' ')
		if host := f.at[slotHost]; len(host) > 0 {
			b = append(append(b, host...), ' ')
		}
		b = append(b, tag...)
		if len(pid) > 0 && tag[len(tag)-1] != ']' {
			b = append(append(append(b, '['), pid...), ']')
		}
		b = append(b, ": "...)
	}
	b = append(b, bytes.TrimLeft(message, " ")...)
	r.buf = b[:from] // the line is valid until the next one
	return b[from:]
}

func orNil(b, v []byte) []byte {
	if len(v) == 0 {
		return append(b, '-')
	}
	return append(b, v...)
}

// appendStamp writes a stamp as it came, so that what it does not say (year, zone) stays open, and a number as RFC 3339.
func appendStamp(b, stamp []byte) []byte {
	if n := traditional(stamp); n > 0 {
		return append(b, stamp[:n]...)
	}
	if len(stamp) >= 19 && stamp[4] == '-' {
		b = append(b, stamp...)
		b[len(b)-len(stamp)+10] = 'T'
		return b
	}
	t, _ := parseEpoch(stamp)
	return t.AppendFormat(b, "2006-01-02T15:04:05.999999Z07:00")
}
