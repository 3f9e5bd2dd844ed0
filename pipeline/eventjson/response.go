package eventjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"carom.dev/carom/schema"
)

// The kinds of [Response].
const (
	KindResponse = "response" // the words of a server, or of a mail program about it
	KindDSN      = "dsn"      // a whole mail
)

// Response is one answer to be judged.
type Response struct {
	ID           json.RawMessage // whatever the caller put there, to be given back; nil if nothing
	Kind         string          // KindResponse, also where the line names none, or KindDSN
	SMTPCode     int32           // 200 to 599; 0 where not given
	Enhanced     string          // as given; may be none at all
	Text         string
	ProviderHint string // a provider's id or alias, or a domain; others are ignored
}

// ParseResponse reads a line
//
//	{"id":..,"kind":"response","smtp_code":550,"enhanced":"5.1.1","text":"..","provider_hint":"..","mail":".."}
//
// in which all but kind "dsn" or a text, a code or an enhanced code may be missing or null. smtp_code may be a number or
// a string. Unknown names are ignored; the mail of a DSN is not looked at.
func ParseResponse(line []byte) (Response, error) {
	var o struct {
		ID           json.RawMessage `json:"id"`
		Kind         string          `json:"kind"`
		SMTPCode     json.RawMessage `json:"smtp_code"`
		Enhanced     string          `json:"enhanced"`
		Text         string          `json:"text"`
		ProviderHint string          `json:"provider_hint"`
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return Response{}, err
	}
	r := Response{ID: o.ID, Kind: o.Kind, Enhanced: strings.TrimSpace(o.Enhanced), Text: o.Text, ProviderHint: o.ProviderHint}
	switch r.Kind {
	case "":
		r.Kind = KindResponse
	case KindResponse, KindDSN:
	default:
		return Response{}, fmt.Errorf("kind %q: want response or dsn", r.Kind)
	}
	var err error
	if r.SMTPCode, err = parseCode(o.SMTPCode); err != nil {
		return Response{}, err
	}
	if r.Kind == KindResponse && r.Text == "" && r.SMTPCode == 0 && r.Enhanced == "" {
		return Response{}, errors.New("neither text nor smtp_code nor enhanced")
	}
	return r, nil
}

// parseCode reads 550, "550" or null; 0 stands for none, too. RFC 5321, section 4.2.
func parseCode(raw json.RawMessage) (int32, error) {
	s := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if s == "" || s == "null" || s == "0" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n < 200 || n > 599 {
		return 0, fmt.Errorf("smtp_code %.20s: want 200 to 599", raw)
	}
	return int32(n), nil
}

// AppendVerdict appends the verdict on what id names, without a newline. All twelve names are always there; an axis
// that the verdict leaves open is the empty string. The class behind an expiry or a postponement follows as a thirteenth, cause_class.
func AppendVerdict(b []byte, id json.RawMessage, v *schema.Verdict) []byte {
	b = append(b, `{"id":`...)
	b = appendRawJSON(b, id)
	for _, f := range [...]struct{ key, value string }{
		{`,"class":`, v.Class},
		{`,"permanence":`, v.Permanence.Name()},
		{`,"scope":`, v.Scope.Name()},
		{`,"origin":`, v.Origin.Name()},
		{`,"phase":`, v.Phase.Name()},
		{`,"provider":`, v.Provider},
		{`,"retry":`, v.Retry.Name()},
		{`,"suppress":`, v.Suppress.Name()},
		{`,"rule":`, v.Rule},
		{`,"ruleset":`, v.Ruleset},
		{`,"confidence":`, v.Confidence.Name()},
	} {
		b = AppendString(append(b, f.key...), f.value)
	}
	b = appendField(b, `,"cause_class":`, v.CauseClass)
	return append(b, '}')
}

// appendRawJSON appends a value that json.Unmarshal has accepted; its line breaks and blanks go.
func appendRawJSON(b []byte, raw json.RawMessage) []byte {
	buf := bytes.NewBuffer(b)
	if len(raw) == 0 || json.Compact(buf, raw) != nil {
		return append(b, "null"...)
	}
	return buf.Bytes()
}
